//! What a node has and an emitter does not: the exchange with the other nodes, and the sessions of
//! its clients.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::control::{Control, ControlTask, OrderTask};
use super::inbox::Inbox;
use super::namespaces::{Namespace, Namespaces};
use super::options::{Options, RequestsVia};
use super::redis::Connector;
use super::session::{SessionTask, Sessions};
use super::stats::Stats;
use super::stream::Stream;
use super::warnings::Warnings;
use super::wire::{ADAPTER_CLOSE, INITIAL_HEARTBEAT};

/// The services of one node.
pub(crate) struct NodeServices {
    /// `None` if requests travel in the stream.
    pub(crate) control: Option<Control>,
    /// The sessions of connection state recovery.
    pub(crate) sessions: Sessions,
}

/// The tasks behind [`NodeServices`]; the engine runs them.
pub(crate) struct NodeTasks {
    /// `None` if requests travel in the stream.
    pub(crate) control: Option<(ControlTask, OrderTask)>,
    pub(crate) sessions: SessionTask,
}

impl NodeServices {
    /// Makes the services and their tasks; nothing runs yet.
    pub(crate) fn new(
        uid: &Arc<str>,
        options: &Arc<Options>,
        connector: &Arc<Connector>,
        inbox: &Arc<Inbox>,
        stats: &Arc<Stats>,
        warnings: &Arc<Warnings>,
        namespaces: &Arc<Namespaces>,
    ) -> (Self, NodeTasks) {
        let (control, control_tasks) = match options.requests_via {
            RequestsVia::PubSub => {
                let (control, task, order_task) = Control::new(
                    uid.clone(),
                    options.clone(),
                    connector.clone(),
                    inbox.clone(),
                    stats.clone(),
                    warnings.clone(),
                );
                (Some(control), Some((task, order_task)))
            }
            RequestsVia::Stream => (None, None),
        };
        let (sessions, session_task) = Sessions::new(
            uid,
            options,
            connector.clone(),
            inbox.clone(),
            stats.clone(),
            warnings.clone(),
            namespaces.clone(),
        );
        let tasks = NodeTasks { control: control_tasks, sessions: session_task };
        (Self { control, sessions }, tasks)
    }

    /// Lets the other nodes know that a namespace is open here.
    pub(crate) fn open(&self, namespace: &Arc<Namespace>, stream: &Arc<Stream>) {
        match &self.control {
            Some(control) => control.open(&namespace.name, namespace, stream),
            None => stream.say(namespace, INITIAL_HEARTBEAT),
        }
    }

    /// Lets the other nodes know that a namespace is closed here.
    pub(crate) fn close(&self, namespace: &Arc<Namespace>, stream: &Arc<Stream>) {
        match &self.control {
            Some(control) => control.close(&namespace.name),
            None => stream.say(namespace, ADAPTER_CLOSE),
        }
    }

    /// Finishes all its jobs, at the end of the engine. If one part makes no progress for as long
    /// as `limit`, it gives up and returns false.
    pub(crate) async fn stop(&self, limit: Duration) -> bool {
        if !self.sessions.stop(limit).await {
            return false;
        }
        match &self.control {
            Some(control) if control.has_something_to_say() => {
                timeout(limit, control.stop()).await.is_ok()
            }
            _ => true,
        }
    }
}
