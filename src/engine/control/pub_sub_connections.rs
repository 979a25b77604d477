//! The PUB/SUB connections: one that carries all channels, or, with sharded PUB/SUB in a cluster,
//! one to each master that serves a channel of ours.
//!
//! When one of them breaks, the control task makes all of them again, and all subscriptions.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Notify;

use super::pub_sub_connection::PubSubConnection;
use crate::engine::error::{Error, Outage, Result};
use crate::engine::redis::{ChannelCommand, Connector, Kind, Push, PushConnection, Target};
use crate::engine::warnings::Warnings;

/// The most times that a command follows MOVED.
const REDIRECTIONS: usize = 5;

/// Names the lack of RESP3 in warnings.
const GREETING: &str = "control, HELLO";

/// Open connections.
pub(super) struct PubSubConnections {
    connector: Arc<Connector>,
    warnings: Arc<Warnings>,
    on_push: Arc<dyn Fn(Push<'_>) + Send + Sync>,
    broken: Arc<Notify>,
    /// The server of all channels; `None` if each channel is at its slot's master.
    only: Option<Target>,
    open: HashMap<Target, PubSubConnection>,
}

impl PubSubConnections {
    /// Connects. With `sharded` in a cluster, it connects to a master when the first command for
    /// one of the master's channels is sent.
    pub(super) async fn open(
        connector: Arc<Connector>,
        warnings: Arc<Warnings>,
        sharded: bool,
        on_push: impl Fn(Push<'_>) + Send + Sync + 'static,
    ) -> Result<Self> {
        let broken = Arc::new(Notify::new());
        let on_break = broken.clone();
        let on_push = Arc::new(move |push: Push<'_>| match push {
            Push::Ended => on_break.notify_one(),
            push => on_push(push),
        });
        let is_spread = sharded && connector.settings().kind == Kind::Cluster;
        let only = if is_spread { None } else { Some(connector.any_target().await?) };
        let open = HashMap::new();
        let mut connections = Self { connector, warnings, on_push, broken, only, open };
        if let Some(target) = connections.only.clone() {
            connections.at(&target).await?;
        }
        Ok(connections)
    }

    /// Returns when a connection has broken, or when another server has taken over.
    pub(super) async fn broken(&mut self) -> Error {
        let is_spread = self.only.is_none();
        let first = self.open.values_mut().next().filter(|_| !is_spread);
        let replaced = async {
            match first {
                Some(connection) => connection.subscriber().server().replaced().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.broken.notified() => {}
            () = replaced => return outdated("another server has taken over"),
        }
        let subscribers = self.open.values_mut().map(PubSubConnection::subscriber);
        let ended = subscribers.min_by_key(|connection| connection.is_open());
        let address = ended.map_or_else(String::new, |ended| ended.address().to_owned());
        Error::Connection { address, reason: "connection lost".to_owned() }
    }

    /// Sends commands in their order, each to the server of its channel. Returns the reply to each,
    /// or the server's refusal.
    pub(super) async fn send(
        &mut self,
        commands: &[ChannelCommand<'_>],
    ) -> Result<Vec<Result<Vec<u8>>>> {
        let mut replies: Vec<_> = commands.iter().map(|_| Ok(Vec::new())).collect();
        let mut by_target = HashMap::<Target, Vec<usize>>::new();
        for (index, ChannelCommand { channel, .. }) in commands.iter().enumerate() {
            by_target.entry(self.target_of(channel).await?).or_default().push(index);
        }
        for _ in 0..=REDIRECTIONS {
            for (target, indices) in std::mem::take(&mut by_target) {
                let some: Vec<_> = indices.iter().map(|index| &commands[*index]).collect();
                let sorted = self.at(&target).await?.send(&some).await?;
                for (index, reply) in indices.into_iter().zip(sorted) {
                    let refusal = reply.as_ref().err();
                    if let Some(elsewhere) = refusal.and_then(|e| self.connector.redirection(e)) {
                        self.connector.forget();
                        by_target.entry(elsewhere).or_default().push(index);
                    }
                    replies[index] = reply;
                }
            }
            if by_target.is_empty() {
                break;
            }
        }
        Ok(replies)
    }

    /// Makes sure that the servers answer: if one of them hangs, its channels get no messages, and
    /// the other connections do not show that.
    pub(super) async fn check(&mut self) -> Result<()> {
        // A node that was removed from its cluster keeps its connections, but passes on no
        // messages.
        if let Some(target @ Target::Node { .. }) = &self.only
            && !self.connector.all_targets().await?.contains(target)
        {
            return Err(outdated("the node serves no slot of the cluster any more"));
        }
        for connection in self.open.values_mut() {
            connection.check(self.only.is_none()).await?;
        }
        Ok(())
    }

    async fn target_of(&self, channel: &str) -> Result<Target> {
        match &self.only {
            Some(target) => Ok(target.clone()),
            None => self.connector.target_of(channel).await,
        }
    }

    async fn at(&mut self, target: &Target) -> Result<&mut PubSubConnection> {
        let connection = match self.open.remove(target) {
            Some(PubSubConnection::Two { subscriber, commands }) if !commands.is_open() => {
                let commands = PushConnection::commands(self.connector.connect_raw(target).await?);
                PubSubConnection::Two { subscriber, commands }
            }
            Some(connection) => connection,
            None => self.connect(target).await.inspect_err(|_| self.connector.forget())?,
        };
        Ok(self.open.entry(target.clone()).insert_entry(connection).into_mut())
    }

    async fn connect(&self, target: &Target) -> Result<PubSubConnection> {
        let on_push = self.on_push.clone();
        let connection = self.connector.connect_raw(target).await?;
        match PushConnection::in_resp3(connection, move |push| on_push(push)).await? {
            (connection, None) => {
                self.warnings.clear(GREETING);
                Ok(PubSubConnection::One(connection))
            }
            (subscriber, Some(refusal)) => {
                self.warnings.warn(GREETING, &refusal);
                let commands = PushConnection::commands(self.connector.connect_raw(target).await?);
                Ok(PubSubConnection::Two { subscriber, commands })
            }
        }
    }
}

fn outdated(reason: &str) -> Error {
    Error::Unavailable { command: "PUBLISH", reason: reason.to_owned(), outage: Outage::NotMaster }
}
