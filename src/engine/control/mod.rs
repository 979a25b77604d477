//! The PUB/SUB side: requests and answers of the namespaces, heartbeats, who listens where.
//!
//! One connection does it all. Commands are sent in the order in which they were asked for, so a
//! census counts our own subscription. Payloads are upstream's msgpack and pass through whole.

mod census;
mod inbound;
mod order;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::{Pipeline, PushKind, Value};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::error::{Error, Result};
use super::inbox::{Answer, CallId, Event, Inbox};
use super::membership::Members;
use super::namespaces::Namespace;
use super::options::Options;
use super::redis::{Backoff, Connection, Connector};
use super::stats::Stats;
use super::stream::Stream;
use super::warnings::Warnings;
use super::wire::{MemberMessage, MemberNews};
use census::Registers;
#[cfg(any(test, fuzzing))]
pub(crate) use census::parse_counts;
pub use order::OrderTask;
use order::{Order, Outgoing};

/// How often silent nodes are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// How late that may be before we take ourselves for stopped, and nobody else for dead.
const OWN_PAUSE: Duration = Duration::from_secs(2);
/// Most commands in one pipeline.
const BATCH: usize = 500;

/// Causes of warnings, each cleared by itself.
const TASK: &str = "control";
const SUBSCRIBING: &str = "control, subscriptions";
const PUBLISHING: &str = "control, requests";
const HEARTBEAT: &str = "control, heartbeat";
const COUNTING: &str = "control, number of servers";

/// Everything that the control task is asked to do.
enum Job {
    Subscribe { channels: [String; 2] },
    Unsubscribe { channels: [String; 2] },
    Publish(Message),
    Census { call: CallId, nsp: String, asked: Vec<String> },
    SayAlive,
    Stop { done: oneshot::Sender<()> },
}

/// Where the messages of a channel go.
#[derive(Clone)]
struct Route {
    namespace: Arc<Namespace>,
    stream: Arc<Stream>,
}

/// What the task, its callers and the connection's push handler share.
struct Shared {
    uid: Arc<str>,
    options: Arc<Options>,
    prefix: String,
    inbox: Arc<Inbox>,
    stats: Arc<Stats>,
    warnings: Arc<Warnings>,
    /// Channel, as on the wire, to the namespace that gets its messages.
    routes: Mutex<HashMap<String, Route>>,
    members: Mutex<Members>,
    queued_bytes: AtomicUsize,
    connected: AtomicBool,
}

/// A message to be published.
struct Message {
    channel: String,
    payload: Vec<u8>,
    /// Bytes that it counts for in the queue.
    counted: usize,
}

/// Asks the control task to do things; callers never wait.
pub struct Control {
    shared: Arc<Shared>,
    jobs: mpsc::UnboundedSender<Job>,
    outgoing: mpsc::UnboundedSender<Order>,
}

/// The control task's side.
pub struct ControlTask {
    shared: Arc<Shared>,
    connector: Arc<Connector>,
    jobs: mpsc::UnboundedReceiver<Job>,
    own_jobs: mpsc::WeakUnboundedSender<Job>,
    /// Taken from `jobs` too early.
    held: Option<Job>,
    /// Channels that Redis does not let us subscribe to; tried again with each heartbeat.
    refused: Vec<String>,
    censuses: JoinSet<()>,
    registers: Registers,
    connected_before: bool,
}

impl Control {
    /// Makes the handle and its tasks; nothing runs yet.
    pub fn new(
        uid: Arc<str>,
        options: Arc<Options>,
        connector: Arc<Connector>,
        inbox: Arc<Inbox>,
        stats: Arc<Stats>,
        warnings: Arc<Warnings>,
    ) -> (Self, ControlTask, OrderTask) {
        let settings = connector.settings();
        let prefix = if options.use_sharded_pub_sub && settings.prefix_sharded_channels {
            settings.key_prefix.clone()
        } else {
            String::new()
        };
        let members = Mutex::new(Members::new(options.heartbeat_timeout()));
        let shared = Arc::new(Shared {
            uid,
            options,
            prefix,
            inbox,
            stats,
            warnings,
            routes: Mutex::default(),
            members,
            queued_bytes: AtomicUsize::new(0),
            connected: AtomicBool::new(false),
        });
        let (sender, jobs) = mpsc::unbounded_channel();
        let task = ControlTask {
            shared: shared.clone(),
            registers: Registers::new(connector.clone()),
            connector,
            jobs,
            own_jobs: sender.downgrade(),
            held: None,
            refused: Vec::new(),
            censuses: JoinSet::new(),
            connected_before: false,
        };
        let (outgoing, orders) = mpsc::unbounded_channel();
        let order_task = OrderTask::new(orders, sender.clone());
        (Self { shared, jobs: sender, outgoing }, task, order_task)
    }

    /// Listens for a namespace's requests and answers.
    pub fn open(&self, nsp: &str, namespace: &Arc<Namespace>, stream: &Arc<Stream>) {
        let channels = self.channels(nsp);
        let mut routes = self.shared.routes();
        for channel in &channels {
            routes.insert(
                channel.clone(),
                Route { namespace: namespace.clone(), stream: stream.clone() },
            );
        }
        drop(routes);
        self.ask(Job::Subscribe { channels });
    }

    /// Stops listening for a namespace.
    pub fn close(&self, nsp: &str) {
        let channels = self.channels(nsp);
        let mut routes = self.shared.routes();
        for channel in &channels {
            routes.remove(channel);
        }
        drop(routes);
        self.ask(Job::Unsubscribe { channels });
    }

    /// Publishes a request to the other nodes of a namespace, behind what was published to its
    /// stream before.
    ///
    /// # Errors
    /// [`Error::QueueFull`]
    pub fn request(&self, nsp: &str, payload: Vec<u8>, stream: &Arc<Stream>) -> Result<()> {
        let channel = self.shared.options.request_channel(nsp);
        let message = self.message(channel, payload)?;
        let behind = (stream.clone(), stream.queue.accepted());
        let until = Instant::now() + order::LIMIT;
        // The task ends only with the engine: nobody is left to be told.
        let _ = self.outgoing.send(Order::Send(Outgoing { message, behind, until }));
        Ok(())
    }

    /// Publishes an answer to one node.
    ///
    /// # Errors
    /// [`Error::QueueFull`]
    pub fn respond(&self, nsp: &str, uid: &str, payload: Vec<u8>) -> Result<()> {
        let channel = self.shared.options.answer_channel(nsp, uid);
        let message = self.message(channel, payload)?;
        self.ask(Job::Publish(message));
        Ok(())
    }

    /// Counts who listens to a namespace's requests; `asked` are uids of which it is to be said
    /// whether they are among them. The answer comes through the inbox.
    pub fn census(&self, call: CallId, nsp: &str, asked: Vec<String>) {
        self.ask(Job::Census { call, nsp: nsp.to_owned(), asked });
    }

    /// Says goodbye and ends once everything asked for before has been sent.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        let _ = self.outgoing.send(Order::Stop { done });
        // An error means that the task has ended already.
        let _ = stopped.await;
    }

    /// True when the engine's end has to wait for [`Control::stop`]: somebody can be told, or
    /// something waits to be sent.
    pub fn has_something_to_say(&self) -> bool {
        self.shared.connected.load(Ordering::Relaxed)
            || self.shared.queued_bytes.load(Ordering::Relaxed) > 0
    }

    /// A message that has its place in the queue.
    fn message(&self, channel: String, payload: Vec<u8>) -> Result<Message> {
        let (bound, counted) = (self.shared.options.publish_queue_bytes, payload.len());
        let queued = self.shared.queued_bytes.fetch_add(counted, Ordering::Relaxed);
        if queued + counted > bound {
            self.shared.queued_bytes.fetch_sub(counted, Ordering::Relaxed);
            return Err(Error::QueueFull { queued, bound });
        }
        Ok(Message { channel: self.shared.on_wire(channel), payload, counted })
    }

    fn channels(&self, nsp: &str) -> [String; 2] {
        let options = &self.shared.options;
        [options.request_channel(nsp), options.answer_channel(nsp, &self.shared.uid)]
            .map(|channel| self.shared.on_wire(channel))
    }

    fn ask(&self, job: Job) {
        // The task ends only with the engine: nobody is left to be told.
        let _ = self.jobs.send(job);
    }
}

#[cfg(any(test, fuzzing))]
impl Control {
    /// As if the connection had pushed it.
    pub(crate) fn receive(&self, push: redis::PushInfo) {
        self.shared.receive(push);
    }

    /// As after an entry was read.
    pub(crate) fn release_held(&self) {
        self.shared.release_held();
    }
}

impl ControlTask {
    /// Runs until it is stopped: connects, and connects again.
    pub async fn run(mut self) {
        let mut backoff = self.connector.backoff();
        loop {
            let ended = self.serve(&mut backoff).await;
            self.shared.connected.store(false, Ordering::Relaxed);
            match ended {
                Ok(done) => {
                    let _ = done.send(());
                    return;
                }
                Err(error) => self.shared.warnings.warn(TASK, &error),
            }
            backoff.wait().await;
        }
    }

    /// One connection's life. `Ok` when the engine stops.
    async fn serve(&mut self, backoff: &mut Backoff) -> Result<oneshot::Sender<()>> {
        let broken = Arc::new(Notify::new());
        let (shared, own_jobs, on_break) =
            (self.shared.clone(), self.own_jobs.clone(), broken.clone());
        let place = self.connector.any_place().await?;
        let mut connection = self
            .connector
            .connect_push(&place, move |push| {
                if push.kind == PushKind::Disconnection {
                    on_break.notify_one();
                } else if let Some(job) = shared.receive(push)
                    && let Some(jobs) = own_jobs.upgrade()
                {
                    let _ = jobs.send(job);
                }
            })
            .await?;
        if std::mem::replace(&mut self.connected_before, true) {
            self.shared.stats.reconnects.add(1);
        }
        self.subscribe_all(&mut connection).await?;
        backoff.reset();
        self.shared.warnings.clear(TASK);
        self.shared.members().listen_again();
        self.shared.connected.store(true, Ordering::Relaxed);
        self.say(&mut connection, MemberNews::Hello).await?;

        let mut heartbeat = ticks(self.shared.options.heartbeat_interval());
        let mut look = ticks(LOOK);
        let mut looked = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = broken.notified() => {
                    let address = connection.address().to_owned();
                    return Err(Error::Connection { address, reason: "connection lost".into() });
                }
                _ = heartbeat.tick() => {
                    self.say(&mut connection, MemberNews::Alive).await?;
                    self.subscribe_refused(&mut connection).await?;
                }
                _ = look.tick() => self.look(&mut looked),
                Some(job) = next_job(&mut self.held, &mut self.jobs) => {
                    if let Some(done) = self.work(job, &mut connection).await? {
                        return Ok(done);
                    }
                }
                Some(_) = self.censuses.join_next() => {}
            }
        }
    }

    async fn subscribe_all(&mut self, connection: &mut Connection) -> Result<()> {
        self.refused.clear();
        let mut channels: Vec<String> = self.shared.routes().keys().cloned().collect();
        channels.push(self.shared.members_channel());
        for channels in channels.chunks(BATCH) {
            self.subscription(connection, true, channels).await?;
        }
        Ok(())
    }

    async fn subscribe_refused(&mut self, connection: &mut Connection) -> Result<()> {
        if self.refused.is_empty() {
            return Ok(());
        }
        let mut channels = std::mem::take(&mut self.refused);
        {
            // A namespace may have been closed meanwhile.
            let (routes, members) = (self.shared.routes(), self.shared.members_channel());
            channels.retain(|channel| *channel == members || routes.contains_key(channel));
        }
        self.subscription(connection, true, &channels).await?;
        if self.refused.is_empty() {
            self.shared.warnings.clear(SUBSCRIBING);
        }
        Ok(())
    }

    /// Subscribes or unsubscribes. A refusal is said; the rest goes on without.
    async fn subscription(
        &mut self,
        connection: &mut Connection,
        on: bool,
        channels: &[String],
    ) -> Result<()> {
        let name = match (on, self.shared.options.use_sharded_pub_sub) {
            (true, false) => "SUBSCRIBE",
            (true, true) => "SSUBSCRIBE",
            (false, false) => "UNSUBSCRIBE",
            (false, true) => "SUNSUBSCRIBE",
        };
        let mut pipeline = Pipeline::with_capacity(channels.len());
        pipeline.ignore_errors();
        for channel in channels {
            pipeline.cmd(name).arg(channel);
        }
        let key = channels.first().map_or("", String::as_str);
        let replies = connection.send_all(name, key, &pipeline).await?;
        for (channel, reply) in channels.iter().zip(replies) {
            if let Value::ServerError(error) = reply {
                let error = connection.error_reply(name, channel, error);
                self.shared.warnings.warn(SUBSCRIBING, &error);
                if on {
                    self.refused.push(channel.clone());
                }
            }
        }
        Ok(())
    }

    /// Does one job, and with it the ones of the same kind that stand right behind it.
    async fn work(
        &mut self,
        job: Job,
        connection: &mut Connection,
    ) -> Result<Option<oneshot::Sender<()>>> {
        match job {
            Job::Subscribe { channels } => {
                let more = self.take_behind(|job| match job {
                    Job::Subscribe { channels } => Ok(channels),
                    other => Err(other),
                });
                let channels: Vec<String> = [channels].into_iter().chain(more).flatten().collect();
                self.subscription(connection, true, &channels).await?;
            }
            Job::Unsubscribe { channels } => {
                self.subscription(connection, false, &channels).await?;
            }
            Job::Publish(message) => {
                let mut messages = vec![message];
                messages.append(&mut self.take_behind(|job| match job {
                    Job::Publish(message) => Ok(message),
                    other => Err(other),
                }));
                self.publish(connection, messages).await?;
            }
            Job::Census { call, nsp, asked } => {
                let (shared, registers, commands) =
                    (self.shared.clone(), self.registers.clone(), connection.commands());
                self.censuses.spawn(async move {
                    let counted = shared.count(&registers, commands, &nsp, &asked).await;
                    let result = counted.or_else(|error| shared.count_by_heartbeats(error, &asked));
                    let result = result.map(Answer::Census);
                    shared.inbox.push(Event::Answer { call, result, hold: None });
                });
            }
            Job::SayAlive => {
                // It may be connected to a node of the cluster that is new.
                self.connector.forget();
                self.say(connection, MemberNews::Alive).await?;
            }
            Job::Stop { done } => {
                self.say(connection, MemberNews::Bye).await?;
                return Ok(Some(done));
            }
        }
        Ok(None)
    }

    /// Takes jobs as long as `pick` wants them; the first other one is held for later.
    fn take_behind<T>(&mut self, pick: impl Fn(Job) -> std::result::Result<T, Job>) -> Vec<T> {
        let mut taken = Vec::new();
        while taken.len() < BATCH
            && let Ok(job) = self.jobs.try_recv()
        {
            match pick(job) {
                Ok(wanted) => taken.push(wanted),
                Err(other) => {
                    self.held = Some(other);
                    break;
                }
            }
        }
        taken
    }

    /// PUBLISH is at most once: what was on its way when the connection broke is not sent again.
    async fn publish(&self, connection: &mut Connection, messages: Vec<Message>) -> Result<()> {
        let name = self.shared.publish_command();
        let mut pipeline = Pipeline::with_capacity(messages.len());
        pipeline.ignore_errors();
        for Message { channel, payload, counted } in &messages {
            self.shared.queued_bytes.fetch_sub(*counted, Ordering::Relaxed);
            pipeline.cmd(name).arg(channel).arg(payload);
        }
        let key = messages.first().map_or("", |message| message.channel.as_str());
        let replies = connection.send_all(name, key, &pipeline).await.inspect_err(|_| {
            self.shared.stats.dropped.add(messages.len() as u64);
        })?;
        let mut refused = false;
        for (message, reply) in messages.iter().zip(replies) {
            if let Value::ServerError(error) = reply {
                refused = true;
                self.shared.stats.dropped.add(1);
                let error = connection.error_reply(name, &message.channel, error);
                self.shared.warnings.warn(PUBLISHING, &error);
            }
        }
        if !refused {
            self.shared.warnings.clear(PUBLISHING);
        }
        Ok(())
    }

    async fn say(&self, connection: &mut Connection, news: MemberNews) -> Result<()> {
        let message = MemberMessage { uid: self.shared.uid.to_string(), news };
        let Ok(json) = serde_json::to_vec(&message) else { return Ok(()) };
        let (name, channel) = (self.shared.publish_command(), self.shared.members_channel());
        let mut command = redis::cmd(name);
        command.arg(&channel).arg(json);
        match connection.send(name, &channel, &command).await {
            Ok(_) => {
                self.shared.warnings.clear(HEARTBEAT);
                Ok(())
            }
            Err(error) if error.connection_survives() => {
                self.shared.warnings.warn(HEARTBEAT, &error);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn look(&self, looked: &mut Instant) {
        let mut members = self.shared.members();
        if looked.elapsed() > LOOK + OWN_PAUSE {
            members.listen_again();
        }
        *looked = Instant::now();
        self.shared.release_held();
        if members.look() {
            self.shared.inbox.push(Event::MembersChanged);
        }
    }
}

async fn next_job(held: &mut Option<Job>, jobs: &mut mpsc::UnboundedReceiver<Job>) -> Option<Job> {
    match held.take() {
        Some(job) => Some(job),
        None => jobs.recv().await,
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
