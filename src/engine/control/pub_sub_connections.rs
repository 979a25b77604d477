//! The PUB/SUB connections: one that carries all channels, or, with sharded PUB/SUB in a cluster,
//! one to each master that serves a channel of ours.
//!
//! When one of them breaks, the control task makes all of them again, and all subscriptions.

use std::collections::HashMap;
use std::sync::Arc;

use redis::{Cmd, PushInfo, PushKind};
use tokio::sync::Notify;

use super::pub_sub_connection::PubSubConnection;
use crate::engine::error::{Error, Outage, Result};
use crate::engine::redis::{Commands, Connector, Kind, Target};
use crate::engine::warnings::Warnings;

/// The most times that a command follows MOVED.
const REDIRECTIONS: usize = 5;

/// Names the lack of RESP3 in warnings.
const GREETING: &str = "control, HELLO";

/// Open connections.
pub(super) struct PubSubConnections {
    connector: Arc<Connector>,
    warnings: Arc<Warnings>,
    on_push: Arc<dyn Fn(PushInfo) + Send + Sync>,
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
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<Self> {
        let broken = Arc::new(Notify::new());
        let on_break = broken.clone();
        let on_push = Arc::new(move |push: PushInfo| match push.kind {
            PushKind::Disconnection => on_break.notify_one(),
            _ => on_push(push),
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
                Some(connection) => connection.server().replaced().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.broken.notified() => {}
            () = replaced => return outdated("another server has taken over"),
        }
        let mut connections = self.open.values();
        let connection = connections
            .find(|connection| !connection.is_open())
            .or_else(|| self.open.values().next());
        let address =
            connection.map_or_else(String::new, |connection| connection.address().to_owned());
        Error::Connection { address, reason: "connection lost".to_owned() }
    }

    /// Sends commands in their order, each to the server of its channel. Returns for each command
    /// the server's refusal, if any.
    pub(super) async fn send(
        &mut self,
        name: &'static str,
        commands: &[(&str, Cmd)],
    ) -> Result<Vec<Option<Error>>> {
        let mut refusals: Vec<Option<Error>> = commands.iter().map(|_| None).collect();
        let mut by_target = HashMap::<Target, Vec<usize>>::new();
        for (index, (channel, _)) in commands.iter().enumerate() {
            by_target.entry(self.target_of(channel).await?).or_default().push(index);
        }
        for _ in 0..=REDIRECTIONS {
            for (target, indices) in std::mem::take(&mut by_target) {
                let some: Vec<_> = indices.iter().map(|index| &commands[*index]).collect();
                let sorted = self.at(&target).await?.send(name, &some).await?;
                for (index, refusal) in indices.into_iter().zip(sorted) {
                    let elsewhere = refusal.as_ref().and_then(|e| self.connector.redirection(e));
                    if let Some(elsewhere) = elsewhere {
                        self.connector.forget();
                        by_target.entry(elsewhere).or_default().push(index);
                    }
                    refusals[index] = refusal;
                }
            }
            if by_target.is_empty() {
                break;
            }
        }
        Ok(refusals)
    }

    /// Makes sure that the servers answer: if one of them hangs, its channels get no messages, and
    /// the other connections do not show that.
    pub(super) async fn check(&self) -> Result<()> {
        // A node that was removed from its cluster keeps its connections, but passes on no
        // messages.
        if let Some(target @ Target::Node { .. }) = &self.only
            && !self.connector.all_targets().await?.contains(target)
        {
            return Err(outdated("the node serves no slot of the cluster any more"));
        }
        for connection in self.open.values() {
            connection.check(self.only.is_none()).await?;
        }
        Ok(())
    }

    /// For PUBSUB; `None` while nothing is connected.
    pub(super) async fn commands(&mut self) -> Result<Option<Commands>> {
        let Some(target) = self.open.keys().next().cloned() else { return Ok(None) };
        Ok(Some(self.at(&target).await?.commands()))
    }

    async fn target_of(&self, channel: &str) -> Result<Target> {
        match &self.only {
            Some(target) => Ok(target.clone()),
            None => self.connector.target_of(channel).await,
        }
    }

    async fn at(&mut self, target: &Target) -> Result<&PubSubConnection> {
        let connection = match self.open.remove(target) {
            Some(PubSubConnection::Two { subscriber, commands }) if !commands.is_open() => {
                PubSubConnection::Two {
                    subscriber,
                    commands: self.connector.connect(target).await?,
                }
            }
            Some(connection) => connection,
            None => self.connect(target).await.inspect_err(|_| self.connector.forget())?,
        };
        Ok(self.open.entry(target.clone()).insert_entry(connection).into_mut())
    }

    async fn connect(&self, target: &Target) -> Result<PubSubConnection> {
        let on_push = self.on_push.clone();
        match self.connector.connect_push(target, move |push| on_push(push)).await {
            Ok(connection) => {
                self.warnings.clear(GREETING);
                Ok(PubSubConnection::One(connection))
            }
            // redis-rs has no sharded channels in RESP2, and all servers that have them know RESP3.
            Err(error @ Error::Refused { command: "HELLO", .. }) if self.only.is_some() => {
                self.warnings.warn(GREETING, &error);
                let on_push = self.on_push.clone();
                let on_push = move |push| on_push(push);
                let subscriber = self.connector.connect_subscriber(target, on_push).await?;
                Ok(PubSubConnection::Two {
                    subscriber,
                    commands: self.connector.connect(target).await?,
                })
            }
            Err(error) => Err(error),
        }
    }
}

fn outdated(reason: &str) -> Error {
    Error::Unavailable { command: "PUBLISH", reason: reason.to_owned(), outage: Outage::NotMaster }
}
