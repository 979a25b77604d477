//! What the tasks of one engine share. A test can start each task by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{ScriptedRedis, reply, within};
use crate::engine::error::{Error, Result};
use crate::engine::event::{Broadcast, Event, Loss, Notice, StreamEvent, Ticket};
use crate::engine::inbox::Inbox;
use crate::engine::namespaces::{Namespace, Namespaces};
use crate::engine::options::{ReadFrom, Retention, defaults};
use crate::engine::redis::{Connector, CredentialsSource};
use crate::engine::stats::Stats;
use crate::engine::stream::{PageSize, Progress, Publish, Reader, Stream, Writer};
use crate::engine::warnings::Warnings;
use crate::engine::wire::{BROADCAST, Data, EntryId};

/// A node with one stream and the namespace `/`.
pub(crate) struct TestNode {
    pub(crate) uid: Arc<str>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) warnings: Arc<Warnings>,
    pub(crate) namespaces: Arc<Namespaces>,
    pub(crate) namespace: Arc<Namespace>,
    pub(crate) stream: Arc<Stream>,
    pub(crate) connector: Arc<Connector>,
    woken: Arc<Notify>,
}

/// The stream's key.
pub(crate) const KEY: &str = "stream";

impl TestNode {
    /// With a single server.
    pub(crate) fn new(redis: &ScriptedRedis) -> Self {
        Self::with_settings(redis, "{}")
    }

    /// With the servers of these settings, in JSON.
    pub(crate) fn with_settings(redis: &ScriptedRedis, settings: &str) -> Self {
        Self::with(redis, settings, defaults().retention(), None)
    }

    /// With a stream that keeps its entries for so long.
    pub(crate) fn with_retention(redis: &ScriptedRedis, retention: Retention) -> Self {
        Self::with(redis, "{}", retention, None)
    }

    /// With a single server and a credentials provider.
    pub(crate) fn with_provider(redis: &ScriptedRedis, provider: CredentialsSource) -> Self {
        Self::with(redis, "{}", defaults().retention(), Some(provider))
    }

    fn with(
        redis: &ScriptedRedis,
        settings: &str,
        retention: Retention,
        provider: Option<CredentialsSource>,
    ) -> Self {
        let woken = Arc::new(Notify::new());
        let on_wake = woken.clone();
        let inbox = Arc::new(Inbox::new(4 << 20, move || on_wake.notify_one()));
        let warnings = Arc::new(Warnings::new(inbox.clone()));
        let settings = serde_json::from_str(settings).expect("settings");
        let (data, sentinels) = (redis.dialer(), redis.dialer());
        let connector = Connector::over(data, sentinels, settings, provider, warnings.clone());
        let namespaces = Arc::new(Namespaces::default());
        let namespace = namespaces.open("/", true, true);
        namespace.set_has_sockets(true);
        Self {
            uid: "ours".into(),
            stream: Arc::new(Stream::new(0, KEY.to_owned(), 1 << 20, 1 << 20, retention, &inbox)),
            inbox,
            stats: Arc::default(),
            warnings,
            namespaces,
            namespace,
            connector: Arc::new(connector),
            woken,
        }
    }

    /// Publishes a broadcast to everyone.
    pub(crate) fn publish(&self, ticket: Ticket) {
        self.publish_data(ticket, reply::DATA);
    }

    /// Publishes a broadcast with this data.
    pub(crate) fn publish_data(&self, ticket: Ticket, data: &str) {
        let publish = Publish {
            ticket: Some(ticket),
            namespace: self.namespace.clone(),
            kind: BROADCAST,
            data: Some(Data::Json(data.into())),
            kept_by_js: 0,
            at: Instant::now(),
        };
        self.stream.queue.push(publish).expect("space in the queue");
    }

    /// Starts the writer, as if the reader were at `position`.
    pub(crate) fn start_writer_at(&self, position: EntryId) -> JoinHandle<()> {
        self.stream.cursor().position = position;
        self.stream.progress.send_replace(Progress::At(position));
        self.start_writer()
    }

    /// Starts the writer. It waits until it learns the reader's position, or that nobody reads.
    pub(crate) fn start_writer(&self) -> JoinHandle<()> {
        let writer = Writer::new(
            self.uid.clone(),
            self.stream.clone(),
            self.connector.clone(),
            self.inbox.clone(),
            self.stats.clone(),
            self.warnings.clone(),
        );
        tokio::spawn(writer.run())
    }

    /// A reader of the stream.
    pub(crate) fn reader(&self) -> Reader {
        Reader {
            uid: self.uid.clone(),
            stream: self.stream.clone(),
            connector: self.connector.clone(),
            inbox: self.inbox.clone(),
            namespaces: self.namespaces.clone(),
            stats: self.stats.clone(),
            warnings: self.warnings.clone(),
            read_from: ReadFrom::Master,
            count: 100,
            pages: PageSize::new(1_000),
            block: Duration::from_secs(5),
            started: Instant::now(),
            pace: None,
        }
    }

    /// Starts the reader.
    pub(crate) fn start_reader(&self) -> JoinHandle<()> {
        tokio::spawn(self.reader().run())
    }

    /// The next event for JS. Reconnects, which `stats` counts, and ends of outages are left out.
    pub(crate) async fn event(&self) -> Event {
        within("an event", async {
            loop {
                match self.inbox.drain(1) {
                    Some(mut events) => {
                        if let Some(event) = events.pop().filter(is_no_recovery) {
                            return event;
                        }
                    }
                    None => self.woken.notified().await,
                }
            }
        })
        .await
    }

    /// The events that have come so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        let all = std::iter::from_fn(|| self.inbox.drain(usize::MAX)).flatten();
        all.filter(is_no_recovery).collect()
    }

    /// The next event, which must be the end of a publish.
    pub(crate) async fn published(&self) -> (Ticket, Result<Option<EntryId>>) {
        match self.event().await {
            Event::Stream(StreamEvent::Published(done)) => (done.ticket, done.outcome),
            other => panic!("the end of a publish expected, {other:?} came"),
        }
    }

    /// The next event, which must be a warning.
    pub(crate) async fn warning(&self) -> Error {
        match self.event().await {
            Event::Notice(Notice::Warning(error)) => error,
            other => panic!("a warning expected, {other:?} came"),
        }
    }

    /// The next event, which must be a loss.
    pub(crate) async fn lost(&self) -> (Loss, Option<u64>) {
        match self.event().await {
            Event::Stream(StreamEvent::Lost { loss, entries, .. }) => (loss, entries),
            other => panic!("a loss expected, {other:?} came"),
        }
    }

    /// The ID of the next event, which must be an entry of another node.
    pub(crate) async fn delivered(&self) -> EntryId {
        match self.event().await {
            Event::Stream(
                StreamEvent::Broadcast(Broadcast { id, .. }) | StreamEvent::Entry { id, .. },
            ) => id,
            other => panic!("an entry expected, {other:?} came"),
        }
    }
}

/// False for the news that a connection, or everything, works again.
fn is_no_recovery(event: &Event) -> bool {
    !matches!(event, Event::Notice(Notice::Reconnected { .. } | Notice::OutageOver))
}
