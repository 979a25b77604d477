//! Makes requests wait for earlier publishes: a request over PUB/SUB must not overtake the joins
//! and broadcasts that the same node made before it. Then adds our fields to the request.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::{ControlJob, Message};
use crate::engine::stream::Stream;
use crate::engine::wire::with_request_head;

/// How long a request waits for the publishes before it.
pub(super) const LIMIT: Duration = Duration::from_secs(1);

/// A message on its way to the control task.
pub(super) struct Outgoing {
    pub(crate) message: Message,
    /// The stream, and how many of its publishes must have ended before.
    pub(crate) behind: (Arc<Stream>, u64),
    /// The message waits no longer than until this moment.
    pub(crate) until: Instant,
}

/// The jobs of the order task.
pub(super) enum Order {
    Send(Outgoing),
    Stop { done: oneshot::Sender<()> },
}

/// Makes requests wait for earlier publishes, then passes them to the control task.
pub(crate) struct OrderTask {
    orders: mpsc::UnboundedReceiver<Order>,
    jobs: mpsc::UnboundedSender<ControlJob>,
    /// The identity of this node's streams.
    stream_identity: Arc<str>,
}

impl OrderTask {
    /// Takes orders, and gives jobs to the control task.
    pub(super) fn new(
        orders: mpsc::UnboundedReceiver<Order>,
        jobs: mpsc::UnboundedSender<ControlJob>,
        stream_identity: Arc<str>,
    ) -> Self {
        Self { orders, jobs, stream_identity }
    }

    /// Runs until it is stopped.
    pub(crate) async fn run(mut self) {
        while let Some(order) = self.orders.recv().await {
            let job = match order {
                Order::Send(Outgoing { mut message, behind: (stream, count), until }) => {
                    let written = timeout_at(until, stream.queue.ended(count)).await;
                    if written.is_err() {
                        tracing::debug!("a request overtakes publishes that cannot be written");
                    }
                    // The stream's position at this moment: the other nodes wait until they have
                    // read up to it.
                    let position = stream.cursor().written;
                    message.payload =
                        with_request_head(message.payload, position, &self.stream_identity);
                    ControlJob::Publish(message)
                }
                Order::Stop { done } => ControlJob::Stop { done },
            };
            // The control task ends only with the engine.
            let _ = self.jobs.send(job);
        }
    }
}
