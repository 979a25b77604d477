//! Starts, connects and stops the parts of an engine.

mod publishing;
mod sessions;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber;

use super::control::Control;
use super::credentials::CredentialRequests;
use super::error::{Error, Outage, Result};
use super::event::{Answer, CallId, Notice, StreamEvent, SubscriberCount};
use super::heartbeats::Heartbeats;
use super::inbox::Inbox;
use super::left_out::Turn;
use super::log;
use super::namespaces::{Namespace, NamespaceHandle, Namespaces};
use super::node_services::{NodeServices, NodeTasks};
use super::options::{Options, Role};
use super::presence::Pace;
use super::random::random_name;
use super::redis::{Connector, Credentials, SentinelWatch, Settings};
use super::runtime::SharedRuntime;
use super::stats::Stats;
use super::stream::{FLUSH_LIMIT, LARGEST_READ, PageSize, Progress, Reader, Stream, Writer};
use super::warnings::Warnings;
use super::wire::{EMITTER, EntryId};

/// The engine of a node (its streams, PUB/SUB and sessions), or that of an emitter, which only
/// writes.
pub(crate) struct Engine {
    uid: Arc<str>,
    options: Arc<Options>,
    settings: Settings,
    inbox: Arc<Inbox>,
    stats: Arc<Stats>,
    namespaces: Arc<Namespaces>,
    streams: Vec<Arc<Stream>>,
    /// `None` for an emitter.
    services: Option<NodeServices>,
    credentials: Arc<CredentialRequests>,
    next_ticket: AtomicU32,
    closing: AtomicBool,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    dispatch: Dispatch,
    runtime: Arc<SharedRuntime>,
}

impl Engine {
    /// Starts an engine, which connects in the background and retries until it succeeds. The engine
    /// calls `wake`, on any thread, when JS must drain the inbox. `debug` turns log lines on.
    ///
    /// # Errors
    /// [`Error::Settings`] if certificates or keys cannot be used.
    pub(crate) fn start(
        settings: Settings,
        options: Options,
        debug: bool,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<Arc<Self>> {
        let runtime = SharedRuntime::get()?;
        let uid: Arc<str> = match options.role {
            Role::Node => format!("{:016x}", random_name()).into(),
            Role::Emitter => EMITTER.into(),
        };
        let inbox = Arc::new(Inbox::new(options.inbox_bytes, wake));
        let warnings = Arc::new(Warnings::new(inbox.clone()));
        let credentials = Arc::new(CredentialRequests::new(inbox.clone(), warnings.clone()));
        let source = settings.ask_credentials.then(|| credentials.clone().source());
        let connector = Arc::new(Connector::new(settings.clone(), source, warnings.clone())?);
        let options = Arc::new(options);
        let stats = Arc::new(Stats::default());
        let queue_bytes = options.publish_queue_bytes / options.stream_count as usize;
        let history_bytes = options.history_bytes / options.stream_count as usize;
        let names = options.stream_names().into_iter();
        let streams: Vec<_> = (0..)
            .zip(names)
            .map(|(index, name)| {
                Arc::new(Stream::new(
                    index,
                    settings.key(&name),
                    queue_bytes,
                    history_bytes,
                    options.retention(),
                    &inbox,
                ))
            })
            .collect();
        let namespaces = Arc::default();
        let (services, node_tasks) = match options.role {
            Role::Node => Some(NodeServices::new(
                &uid,
                &options,
                &connector,
                &inbox,
                &stats,
                &warnings,
                &namespaces,
            )),
            Role::Emitter => None,
        }
        .unzip();
        let engine = Arc::new(Self {
            uid,
            dispatch: log::dispatch(&inbox, debug),
            options,
            settings,
            inbox,
            stats,
            namespaces,
            streams,
            services,
            credentials,
            next_ticket: AtomicU32::new(0),
            closing: AtomicBool::new(false),
            tasks: Mutex::default(),
            runtime,
        });
        engine.spawn(SentinelWatch::new(connector.clone()).run());
        engine.spawn(connector.clone().renew_late_slots());
        if let Some(tasks) = node_tasks {
            engine.spawn_services(tasks);
        }
        for stream in &engine.streams {
            match engine.options.role {
                Role::Node => engine.spawn(engine.reader(stream, &connector, &warnings).run()),
                Role::Emitter => drop(stream.progress.send_replace(Progress::Unread)),
            }
            engine.spawn(engine.writer(stream, &connector, &warnings).run());
        }
        Ok(engine)
    }

    fn spawn_services(&self, tasks: NodeTasks) {
        match tasks.control {
            Some((control_task, order_task)) => {
                self.spawn(control_task.run());
                self.spawn(order_task.run());
            }
            None => self.spawn(self.heartbeats().run()),
        }
        self.spawn(tasks.sessions.run());
    }

    fn heartbeats(&self) -> Heartbeats {
        Heartbeats {
            namespaces: self.namespaces.clone(),
            streams: self.streams.clone(),
            options: self.options.clone(),
            inbox: self.inbox.clone(),
        }
    }

    fn reader(
        &self,
        stream: &Arc<Stream>,
        connector: &Arc<Connector>,
        warnings: &Arc<Warnings>,
    ) -> Reader {
        Reader {
            uid: self.uid.clone(),
            stream: stream.clone(),
            connector: connector.clone(),
            inbox: self.inbox.clone(),
            namespaces: self.namespaces.clone(),
            stats: self.stats.clone(),
            warnings: warnings.of_stream(stream.index),
            read_from: self.options.read_from,
            count: self.options.read_count,
            pages: PageSize::new(self.options.read_count.max(LARGEST_READ) as usize),
            block: Duration::from_millis(self.options.block_time_in_ms),
            started: Instant::now(),
            pace: self.control().is_none().then(|| Pace::of(&self.options)),
        }
    }

    fn writer(
        &self,
        stream: &Arc<Stream>,
        connector: &Arc<Connector>,
        warnings: &Arc<Warnings>,
    ) -> Writer {
        Writer::new(
            self.uid.clone(),
            stream.clone(),
            connector.clone(),
            self.inbox.clone(),
            self.stats.clone(),
            warnings.of_stream(stream.index),
        )
    }

    /// The node's uid: 16 hex digits, the same in all its namespaces. An emitter has [`EMITTER`].
    pub(crate) fn uid(&self) -> &str {
        &self.uid
    }

    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Opens a namespace. With `recovery` the engine keeps the stream's history for it. With
    /// `encodes` the engine encodes its packets.
    pub(crate) fn open(&self, nsp: &str, recovery: bool, encodes: bool) -> Arc<Namespace> {
        let Some(services) = &self.services else {
            // An emitter reads nothing: the namespace is only a name to write under.
            return Arc::new(Namespace::new(0, nsp, false, false));
        };
        let namespace = self.namespaces.open(nsp, recovery, encodes);
        if recovery {
            let mut cursor = self.stream(nsp).cursor();
            let position = cursor.position;
            cursor.history.start(position);
        }
        services.open(&namespace, self.stream(nsp));
        namespace
    }

    /// Publishes a request to the other nodes of a namespace; `payload` is msgpack of the whole
    /// message. With a `call`, it counts the nodes as well; see [`Control::request`].
    ///
    /// # Errors
    /// [`Error::QueueFull`].
    pub(crate) fn request(&self, nsp: &str, payload: Vec<u8>, call: Option<CallId>) -> Result<()> {
        self.pub_sub()?.request(nsp, payload, call, self.stream(nsp))
    }

    /// Publishes an answer to one node; `payload` is msgpack of the whole message.
    ///
    /// # Errors
    /// [`Error::QueueFull`].
    pub(crate) fn respond(&self, nsp: &str, uid: &str, payload: Vec<u8>) -> Result<()> {
        self.pub_sub()?.respond(nsp, uid, payload)
    }

    /// Counts the nodes that listen in a namespace; see [`Answer::Subscribers`].
    pub(crate) fn count_subscribers(&self, call: CallId, nsp: &str, asked: Vec<String>) {
        if let Some(control) = self.control() {
            return control.count_subscribers(call, nsp, asked);
        }
        let result = self.count_by_presence(nsp, &asked).map(Answer::Subscribers);
        self.inbox.push(Notice::Answered { call, result });
    }

    fn count_by_presence(&self, nsp: &str, asked: &[String]) -> Result<SubscriberCount> {
        if *self.stream(nsp).progress.borrow() == Progress::Starting {
            let reason = "the stream is not read yet".to_owned();
            return Err(Error::Unavailable { command: "XREAD", reason, outage: Outage::Passing });
        }
        let namespace = self.namespaces.get(nsp);
        let known = namespace.map(|namespace| namespace.presence().uids()).unwrap_or_default();
        let present = asked.iter().map(|uid| known.contains(uid)).collect();
        Ok(SubscriberCount { known, others: 0, present })
    }

    fn pub_sub(&self) -> Result<&Control> {
        self.control().ok_or_else(|| Error::Settings {
            what: "requestsVia",
            reason: "with \"stream\" there is no PUB/SUB".to_owned(),
        })
    }

    fn control(&self) -> Option<&Control> {
        self.services.as_ref()?.control.as_ref()
    }

    /// Whether this node shows in the streams that it is alive: it does if requests travel there.
    fn speaks_in_streams(&self) -> bool {
        self.services.as_ref().is_some_and(|services| services.control.is_none())
    }

    /// A room has got its first local member, or lost its last one. Returns the ID of the entry up
    /// to which JS gets no broadcasts to the room: that of the last broadcast that was left out,
    /// or, if JS has handled everything, the reader's position if that is later.
    pub(crate) fn set_room(
        &self,
        namespace: &Namespace,
        room: &str,
        has_members: bool,
        turn: Turn,
    ) -> EntryId {
        if !namespace.recovery {
            return namespace.set_room(room, has_members);
        }
        let cursor = self.stream(&namespace.name).cursor();
        let left_out = namespace.set_room(room, has_members);
        let left_out = self.inbox.left_out_before(namespace, turn).unwrap_or(left_out);
        if self.inbox.is_idle() { left_out.max(cursor.position) } else { left_out }
    }

    /// Closes a namespace, and answers the call when what the namespace has published is written,
    /// or after `FLUSH_LIMIT`.
    pub(crate) fn close_namespace(
        self: &Arc<Self>,
        call: CallId,
        nsp: &str,
        handle: NamespaceHandle,
    ) {
        if let Some(namespace) = self.namespaces.close(nsp, handle)
            && let Some(services) = &self.services
        {
            services.close(&namespace, self.stream(nsp));
        }
        let (engine, stream) = (self.clone(), self.stream(nsp).clone());
        self.spawn(async move {
            if !stream.flushed(FLUSH_LIMIT).await {
                tracing::debug!("a namespace closes with publishes still on their way");
            }
            engine.inbox.push(Notice::Answered { call, result: Ok(Answer::Done) });
        });
    }

    /// Ends the engine: waits, within a time limit, until what it has accepted is written, closes
    /// all connections, and answers the call.
    pub(crate) fn close(self: &Arc<Self>, call: CallId) {
        self.closing.store(true, Ordering::Relaxed);
        if let Some(services) = self.services.as_ref().filter(|_| self.speaks_in_streams()) {
            for namespace in self.namespaces.all() {
                services.close(&namespace, self.stream(&namespace.name));
            }
        }
        let engine = self.clone();
        let work = async move {
            let flushes = engine.streams.iter().map(|stream| stream.flushed(FLUSH_LIMIT));
            let is_flushed = join_all(flushes).await.into_iter().all(|is_flushed| is_flushed);
            if !is_flushed {
                tracing::debug!("closed with publishes still on their way");
            }
            // If Redis did not take the publishes in time, the rest does not wait for it again.
            let limit = if is_flushed { FLUSH_LIMIT } else { Duration::ZERO };
            if let Some(services) = &engine.services
                && !services.stop(limit).await
            {
                tracing::debug!("closed with something still to be said");
            }
            let unsaved = engine.services.as_ref().map(|services| services.sessions.unsaved());
            let clients = unsaved.unwrap_or_default();
            for task in engine.abort() {
                // The abort has ended the task: its result is of no use.
                let _ = task.await;
            }
            let packets = engine.complete_rest();
            if packets > 0 && engine.options.role == Role::Node {
                engine.inbox.push(Notice::Warning(Error::ClosedEarly { packets }));
            }
            if clients > 0 {
                engine.inbox.push(Notice::Warning(Error::ClosedUnsaved { clients }));
            }
            engine.inbox.push(Notice::Answered { call, result: Ok(Answer::Done) });
        };
        // Spawned here, so that it is not among the tasks that it ends.
        drop(self.runtime.handle().spawn(work.with_subscriber(self.dispatch.clone())));
    }

    /// Aborts all tasks at once; their connections close with them. Returns the tasks, so that the
    /// caller can wait for their end.
    pub(crate) fn abort(&self) -> Vec<JoinHandle<()>> {
        self.closing.store(true, Ordering::Relaxed);
        let tasks = std::mem::take(&mut *self.tasks());
        tasks.iter().for_each(JoinHandle::abort);
        tasks
    }

    /// Passes on JS's answer to [`Notice::CredentialsWanted`].
    pub(crate) fn provide_credentials(&self, request: u32, credentials: Result<Credentials>) {
        self.credentials.provide(request, credentials);
    }

    /// The credentials have changed: authenticates open connections again with the new ones.
    pub(crate) fn renew_credentials(&self, credentials: Credentials) {
        self.credentials.renew(credentials);
    }

    /// The provider of the credentials has failed while no connection attempt waited for it.
    pub(crate) fn credentials_failed(&self, reason: String) {
        self.credentials.failed(reason);
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The stream that a namespace is routed to.
    pub(crate) fn stream(&self, nsp: &str) -> &Arc<Stream> {
        &self.streams[self.options.stream_of(nsp)]
    }

    /// The number of nodes in a namespace, this one included.
    pub(crate) fn members(&self, nsp: &str) -> usize {
        let others = match self.control() {
            Some(control) => control.members(),
            None => self.namespaces.get(nsp).map_or(0, |namespace| namespace.presence().count()),
        };
        1 + others
    }

    /// Whether all connections that a namespace needs are open.
    pub(crate) fn is_connected(&self, nsp: &str) -> bool {
        let stream = self.stream(nsp);
        !self.closing.load(Ordering::Relaxed)
            && stream.reader_health.is_connected()
            && stream.writer_health.is_connected()
            && self.control().is_none_or(Control::is_connected)
    }

    /// Completes what is left. Returns how many publishes were not written.
    fn complete_rest(&self) -> u64 {
        let mut all_failed = 0;
        for stream in &self.streams {
            let mut cursor = stream.cursor();
            let done = stream.end_rest(&mut cursor);
            let failed = done.iter().filter(|done| done.outcome.is_err()).count() as u64;
            self.stats.failed.add(failed);
            all_failed += failed;
            cursor.inbox.push_all(done.into_iter().map(StreamEvent::Published));
        }
        all_failed
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let task = self.runtime.handle().spawn(work.with_subscriber(self.dispatch.clone()));
        let mut tasks = self.tasks();
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.abort();
    }
}
