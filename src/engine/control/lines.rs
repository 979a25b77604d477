//! The PUB/SUB connections: one that carries all channels, or, with sharded PUB/SUB in a cluster,
//! one to each master that serves a channel of ours.
//!
//! They live and end together: when one breaks, all are made again, and all subscriptions with them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use redis::{Cmd, Pipeline, PushInfo, PushKind, Value};
use tokio::sync::Notify;

use crate::engine::error::{Error, Result};
use crate::engine::redis::{Commands, Connection, Connector, Kind, Place};

/// How often a command follows MOVED.
const REDIRECTIONS: usize = 5;

/// Open connections.
pub(super) struct Lines {
    connector: Arc<Connector>,
    on_push: Arc<dyn Fn(PushInfo) + Send + Sync>,
    broken: Arc<Notify>,
    /// Where all channels are; `None` where each is at its slot's master.
    only: Option<Place>,
    open: HashMap<Place, Connection>,
}

impl Lines {
    /// Connects; with `sharded` channels in a cluster when the first command for one is sent.
    pub(super) async fn open(
        connector: Arc<Connector>,
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
        let only = if is_spread { None } else { Some(connector.any_place().await?) };
        let mut lines = Self { connector, on_push, broken, only, open: HashMap::new() };
        if let Some(place) = lines.only.clone() {
            lines.at(&place).await?;
        }
        Ok(lines)
    }

    /// Ends when a connection has broken.
    pub(super) async fn broken(&self) -> Error {
        self.broken.notified().await;
        let mut lines = self.open.values();
        let line = lines.find(|line| !line.is_open()).or_else(|| self.open.values().next());
        let address = line.map_or_else(String::new, |line| line.address().to_owned());
        Error::Connection { address, reason: "connection lost".to_owned() }
    }

    /// Sends commands, each to the server of its channel, in their order. What a server refuses
    /// stands at the command's place.
    pub(super) async fn send(
        &mut self,
        name: &'static str,
        commands: &[(&str, Cmd)],
    ) -> Result<Vec<Option<Error>>> {
        let mut refusals: Vec<Option<Error>> = commands.iter().map(|_| None).collect();
        let mut by_place = HashMap::<Place, Vec<usize>>::new();
        for (index, (channel, _)) in commands.iter().enumerate() {
            by_place.entry(self.place_of(channel).await?).or_default().push(index);
        }
        for _ in 0..=REDIRECTIONS {
            for (place, indices) in std::mem::take(&mut by_place) {
                let mut pipeline = Pipeline::with_capacity(indices.len());
                pipeline.ignore_errors();
                for index in &indices {
                    pipeline.add_command(commands[*index].1.clone());
                }
                let line = self.at(&place).await?;
                let key = indices.first().map_or("", |index| commands[*index].0);
                let replies = line.send_all(name, key, &pipeline).await?;
                let sort = |index: usize, reply| match reply {
                    Value::ServerError(e) => Some(line.error_reply(name, commands[index].0, e)),
                    _ => None,
                };
                let sorted = indices.into_iter().zip(replies);
                let sorted: Vec<_> = sorted.map(|(i, reply)| (i, sort(i, reply))).collect();
                for (index, refusal) in sorted {
                    let elsewhere = refusal.as_ref().and_then(|e| self.connector.redirection(e));
                    if let Some(elsewhere) = elsewhere {
                        self.connector.forget();
                        by_place.entry(elsewhere).or_default().push(index);
                    }
                    refusals[index] = refusal;
                }
            }
            if by_place.is_empty() {
                break;
            }
        }
        Ok(refusals)
    }

    /// Makes sure that the servers answer: one that hangs would keep its channels' messages, while
    /// the others are at work.
    pub(super) async fn check(&mut self) -> Result<()> {
        if self.only.is_none() {
            // A question for which the user has the right.
            let mut command = redis::cmd("PUBSUB");
            command.arg("SHARDNUMSUB");
            for line in self.open.values_mut() {
                match line.send("PUBSUB", "connection", &command).await {
                    Err(error) if !error.connection_survives() => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// For questions; `None` while nothing is connected.
    pub(super) fn commands(&self) -> Option<Commands> {
        self.open.values().next().map(Connection::commands)
    }

    async fn place_of(&self, channel: &str) -> Result<Place> {
        match &self.only {
            Some(place) => Ok(place.clone()),
            None => self.connector.place_of(channel).await,
        }
    }

    async fn at(&mut self, place: &Place) -> Result<&mut Connection> {
        match self.open.entry(place.clone()) {
            Entry::Occupied(line) => Ok(line.into_mut()),
            Entry::Vacant(vacant) => {
                let on_push = self.on_push.clone();
                let connected = self.connector.connect_push(place, move |push| on_push(push));
                let line = connected.await.inspect_err(|_| self.connector.forget())?;
                Ok(vacant.insert(line))
            }
        }
    }
}
