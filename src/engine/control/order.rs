//! Lets requests wait for what was published before them: a request by PUB/SUB must not overtake
//! the joins and broadcasts that the same node made before it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::{ControlJob, Message};
use crate::engine::stream::Stream;
use crate::engine::wire::with_position;

/// How long a request waits for the publishes before it.
pub(super) const LIMIT: Duration = Duration::from_secs(1);

/// A message on its way to the control task.
pub(super) struct Outgoing {
    /// The message.
    pub(crate) message: Message,
    /// How many publishes of this stream have to be written before.
    pub(crate) behind: (Arc<Stream>, u64),
    /// It is not held up longer than until then.
    pub(crate) until: Instant,
}

/// What the task is asked to do.
pub(super) enum Order {
    Send(Outgoing),
    Stop { done: oneshot::Sender<()> },
}

/// Lets requests wait for what was published before them, then hands them to the control task.
pub(crate) struct OrderTask {
    orders: mpsc::UnboundedReceiver<Order>,
    jobs: mpsc::UnboundedSender<ControlJob>,
}

impl OrderTask {
    /// Takes orders, and gives jobs to the control task.
    pub(super) fn new(
        orders: mpsc::UnboundedReceiver<Order>,
        jobs: mpsc::UnboundedSender<ControlJob>,
    ) -> Self {
        Self { orders, jobs }
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
                    // How far the stream was then, so that the others can wait for it.
                    let position = stream.cursor().written;
                    message.payload = with_position(message.payload, position);
                    ControlJob::Publish(message)
                }
                Order::Stop { done } => ControlJob::Stop { done },
            };
            // The control task ends only with the engine.
            let _ = self.jobs.send(job);
        }
    }
}
