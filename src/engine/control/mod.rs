//! PUB/SUB: requests and answers of the namespaces, heartbeats, and counts of subscribers.
//!
//! The control task sends commands in the order in which it gets them, so a count of subscribers
//! includes this node's own subscription. Payloads are upstream's msgpack and pass through whole.

mod subscribers;
mod inbound;
mod pub_sub_connection;
mod pub_sub_connections;
mod order;
mod task;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::connection_health::ConnectionHealth;
use super::error::{Error, Result};
use super::event::{CallId, ConnectionName};
use super::inbox::Inbox;
use super::membership::Members;
use super::namespaces::Namespace;
use super::options::Options;
#[cfg(any(test, fuzzing))]
use super::redis::Push;
use super::redis::{Connector, Settings};
use super::stats::Stats;
use super::stream::Stream;
use super::warnings::Warnings;
pub(crate) use order::OrderTask;
use order::{Order, Outgoing};
#[cfg(any(test, fuzzing))]
pub(crate) use subscribers::parse_counts;
pub(crate) use task::ControlTask;

/// Names in warnings, each cleared by itself.
const TASK: &str = "control";
const SUBSCRIBING: &str = "control, subscriptions";
const PUBLISHING: &str = "control, requests";
const HEARTBEAT: &str = "control, heartbeat";
const COUNTING: &str = "control, number of servers";

/// The jobs of the control task.
enum ControlJob {
    Subscribe {
        channels: [String; 2],
    },
    Unsubscribe {
        channels: [String; 2],
    },
    /// The server has ended the subscription: the channel's slot has moved.
    SubscribeAgain {
        channel: String,
    },
    Publish(Message),
    CountSubscribers {
        call: CallId,
        nsp: String,
        asked: Vec<String>,
    },
    /// Another node has said hello, and waits to hear from us.
    AnswerHello,
    Stop {
        done: oneshot::Sender<()>,
    },
}

/// The namespace that gets the messages of a channel, and its stream.
#[derive(Clone)]
struct ChannelTarget {
    namespace: Arc<Namespace>,
    stream: Arc<Stream>,
}

/// What the task, its callers and the connection's push handler share.
struct Shared {
    uid: Arc<str>,
    options: Arc<Options>,
    /// Tells this node's streams from those of other applications that use the same channels.
    stream_identity: Arc<str>,
    prefix: String,
    inbox: Arc<Inbox>,
    stats: Arc<Stats>,
    warnings: Arc<Warnings>,
    /// By channel, prefix included: the namespace that gets its messages.
    routes: Mutex<HashMap<String, ChannelTarget>>,
    members: Mutex<Members>,
    queued_bytes: AtomicUsize,
    health: ConnectionHealth,
}

struct Message {
    channel: String,
    payload: Vec<u8>,
    /// Bytes that it counts for in the queue.
    counted: usize,
    /// The count that goes out together with a request.
    count: Option<Count>,
}

/// A count of the nodes that listen to a namespace's requests.
struct Count {
    call: CallId,
    nsp: String,
}

/// Gives jobs to the control task; callers never wait.
pub(crate) struct Control {
    shared: Arc<Shared>,
    jobs: mpsc::UnboundedSender<ControlJob>,
    outgoing: mpsc::UnboundedSender<Order>,
}

impl Control {
    /// Makes the handle and its tasks; nothing runs yet.
    pub(crate) fn new(
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
        let stream_identity: Arc<str> = stream_identity(&options, settings).into();
        let members = Mutex::new(Members::new(options.heartbeat_timeout()));
        let shared = Arc::new(Shared {
            uid,
            options,
            stream_identity: stream_identity.clone(),
            prefix,
            inbox,
            stats,
            warnings,
            routes: Mutex::default(),
            members,
            queued_bytes: AtomicUsize::new(0),
            health: ConnectionHealth::new(ConnectionName::PubSub, None),
        });
        let (sender, jobs) = mpsc::unbounded_channel();
        let task = ControlTask::new(shared.clone(), connector, jobs, sender.downgrade());
        let (outgoing, orders) = mpsc::unbounded_channel();
        let order_task = OrderTask::new(orders, sender.clone(), stream_identity);
        (Self { shared, jobs: sender, outgoing }, task, order_task)
    }

    /// Subscribes to a namespace's requests and answers.
    pub(crate) fn open(&self, nsp: &str, namespace: &Arc<Namespace>, stream: &Arc<Stream>) {
        let channels = self.channels(nsp);
        let mut routes = self.shared.routes();
        for channel in &channels {
            routes.insert(
                channel.clone(),
                ChannelTarget { namespace: namespace.clone(), stream: stream.clone() },
            );
        }
        drop(routes);
        self.enqueue(ControlJob::Subscribe { channels });
    }

    /// Unsubscribes from a namespace's requests and answers.
    pub(crate) fn close(&self, nsp: &str) {
        let channels = self.channels(nsp);
        let mut routes = self.shared.routes();
        for channel in &channels {
            routes.remove(channel);
        }
        drop(routes);
        self.enqueue(ControlJob::Unsubscribe { channels });
    }

    /// Publishes a request to the other nodes of a namespace, after what this node published to the
    /// stream before. With a `call`, it counts the nodes that listen as well: see
    /// [`Control::count_subscribers`].
    ///
    /// # Errors
    /// [`Error::QueueFull`]
    pub(crate) fn request(
        &self,
        nsp: &str,
        payload: Vec<u8>,
        call: Option<CallId>,
        stream: &Arc<Stream>,
    ) -> Result<()> {
        let channel = self.shared.options.request_channel(nsp);
        let mut message = self.message(channel, payload)?;
        message.count = call.map(|call| Count { call, nsp: nsp.to_owned() });
        let behind = (stream.clone(), stream.queue.accepted());
        let until = Instant::now() + order::LIMIT;
        // The task ends only with the engine: then nobody waits for the message.
        let _ = self.outgoing.send(Order::Send(Outgoing { message, behind, until }));
        Ok(())
    }

    /// Publishes an answer to one node.
    ///
    /// # Errors
    /// [`Error::QueueFull`]
    pub(crate) fn respond(&self, nsp: &str, uid: &str, payload: Vec<u8>) -> Result<()> {
        let channel = self.shared.options.answer_channel(nsp, uid);
        let message = self.message(channel, payload)?;
        self.enqueue(ControlJob::Publish(message));
        Ok(())
    }

    /// Counts the nodes that listen to a namespace's requests. The answer comes through the inbox.
    /// It also tells for each uid in `asked` whether that node listens.
    pub(crate) fn count_subscribers(&self, call: CallId, nsp: &str, asked: Vec<String>) {
        self.enqueue(ControlJob::CountSubscribers { call, nsp: nsp.to_owned(), asked });
    }

    /// Announces that this node leaves, and ends the task, once everything asked for before was
    /// sent.
    pub(crate) async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        let _ = self.outgoing.send(Order::Stop { done });
        // An error means that the task has ended already.
        let _ = stopped.await;
    }

    /// Whether requests, answers and heartbeats can be sent and heard.
    pub(crate) fn is_connected(&self) -> bool {
        self.shared.health.is_connected()
    }

    /// How many nodes of this package are alive, this one not included.
    pub(crate) fn members(&self) -> usize {
        self.shared.members().alive()
    }

    /// Whether the engine's end must wait for [`Control::stop`]: the connection is open, or
    /// messages wait to be sent.
    pub(crate) fn has_something_to_say(&self) -> bool {
        self.is_connected() || self.shared.queued_bytes.load(Ordering::Relaxed) > 0
    }

    /// Makes a message and reserves its bytes in the queue.
    fn message(&self, channel: String, payload: Vec<u8>) -> Result<Message> {
        let (bound, counted) = (self.shared.options.publish_queue_bytes, payload.len());
        let queued = self.shared.queued_bytes.fetch_add(counted, Ordering::Relaxed);
        if queued + counted > bound {
            self.shared.queued_bytes.fetch_sub(counted, Ordering::Relaxed);
            return Err(Error::QueueFull { size: counted, queued, bound });
        }
        Ok(Message { channel: self.shared.on_wire(channel), payload, counted, count: None })
    }

    fn channels(&self, nsp: &str) -> [String; 2] {
        let options = &self.shared.options;
        [options.request_channel(nsp), options.answer_channel(nsp, &self.shared.uid)]
            .map(|channel| self.shared.on_wire(channel))
    }

    fn enqueue(&self, job: ControlJob) {
        // The task ends only with the engine: then nobody waits for the job.
        let _ = self.jobs.send(job);
    }
}

/// Equal for nodes whose streams are the same: the database, the name with the key prefix, and the
/// number of streams.
fn stream_identity(options: &Options, settings: &Settings) -> String {
    let name = settings.key(&options.stream_name);
    format!("{}/{name}/{}", settings.database, options.stream_count)
}

#[cfg(any(test, fuzzing))]
impl Control {
    /// Handles a push as if the connection had received it.
    pub(crate) fn receive(&self, push: Push<'_>) {
        self.shared.receive(push);
    }

    /// Delivers deferred messages, as the control task does once a second.
    pub(crate) fn release_deferred(&self) {
        self.shared.release_deferred();
    }
}
