//! Counts the subscribers of a namespace's channels, on all nodes of a cluster.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Value};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::instrument::WithSubscriber;

use super::{COUNTING, Shared};
use crate::engine::error::{Error, Result};
use crate::engine::event::SubscriberCount;
use crate::engine::redis::{Commands, Connector, Kind, Pool, Target};

/// How long one node of a cluster may take to answer. After that, the count does without it.
const ONE_OF_MANY: Duration = Duration::from_secs(1);

/// Asks the servers that know which nodes are subscribed.
#[derive(Clone)]
pub(super) struct SubscriberCounter {
    connector: Arc<Connector>,
    /// Connections to the nodes of a cluster.
    pool: Arc<Pool>,
}

/// Subscriptions per channel.
struct Counts {
    counts: Vec<u32>,
    /// Whether a server did not answer, so that its subscriptions are missing.
    is_incomplete: bool,
}

impl SubscriberCounter {
    pub(super) fn new(connector: Arc<Connector>) -> Self {
        Self { pool: Pool::new(connector.clone()), connector }
    }

    /// Asks all nodes of a cluster, replicas too, since a subscriber may be connected to any of
    /// them. A single server is asked on our own PUB/SUB connection.
    async fn count(&self, own: Option<Commands>, channel: &str, command: Cmd) -> Result<Counts> {
        if let Some(mut own) = own.filter(|_| self.connector.settings().kind != Kind::Cluster) {
            let reply = own.send("PUBSUB", channel, &command).await?;
            return Ok(Counts { counts: parse_counts(reply)?, is_incomplete: false });
        }
        let mut answers = JoinSet::new();
        for target in self.connector.all_targets().await? {
            let (counter, channel, command) = (self.clone(), channel.to_owned(), command.clone());
            let count = async move { counter.count_at(&target, &channel, &command).await };
            answers.spawn(count.with_current_subscriber());
        }
        let (mut sum, mut failure) = (None, None);
        while let Some(answer) = answers.join_next().await {
            match answer {
                Ok(Ok(counts)) => sum = Some(added(sum, counts)),
                Ok(Err(error)) => failure = Some(error),
                Err(_) => {}
            }
        }
        match (sum, failure) {
            (Some(counts), failure) => Ok(Counts { counts, is_incomplete: failure.is_some() }),
            (None, failure) => Err(failure.unwrap_or_else(|| unexpected("no node to ask"))),
        }
    }

    async fn count_at(&self, target: &Target, channel: &str, command: &Cmd) -> Result<Vec<u32>> {
        let counted = timeout(ONE_OF_MANY, async {
            let mut commands = self.pool.at(target).await?;
            parse_counts(commands.send("PUBSUB", channel, command).await?)
        });
        let counted = counted.await.unwrap_or(Err(Error::Timeout {
            command: "PUBSUB",
            address: String::new(),
            after: ONE_OF_MANY,
        }));
        if let Err(error) = &counted {
            tracing::debug!("subscriptions not counted at {target:?}: {error}");
            self.pool.failed(target, error).await;
            self.connector.forget();
        }
        counted
    }
}

impl Shared {
    /// Counts the nodes that listen to a namespace's requests. Nodes of this package are known by
    /// uid, since each of them has its answer channel. Of other nodes only the number is known.
    pub(super) async fn count(
        &self,
        counter: &SubscriberCounter,
        own: Option<Commands>,
        nsp: &str,
        asked: &[String],
    ) -> Result<SubscriberCount> {
        let members = self.members().all();
        let uids = members.iter().map(|(uid, _)| uid.as_str());
        let uids: Vec<&str> =
            [&*self.uid].into_iter().chain(uids).chain(asked.iter().map(String::as_str)).collect();
        let sharded = self.options.use_sharded_pub_sub;
        let mut command = redis::cmd("PUBSUB");
        command.arg(if sharded { "SHARDNUMSUB" } else { "NUMSUB" });
        let requests = self.on_wire(self.options.request_channel(nsp));
        command.arg(&requests);
        for uid in &uids {
            command.arg(self.on_wire(self.options.answer_channel(nsp, uid)));
        }
        let Counts { counts, is_incomplete } = counter.count(own, &requests, command).await?;
        let [total, ourselves, rest @ ..] = counts.as_slice() else {
            return Err(unexpected("too few counts"));
        };
        if rest.len() != members.len() + asked.len() {
            return Err(unexpected("too few counts"));
        }
        self.warnings.clear(COUNTING);
        let (of_members, of_asked) = rest.split_at(members.len());
        let known_total: u32 = of_members.iter().sum();
        // A node whose heartbeats arrive may be subscribed at the server that did not answer.
        let listening =
            members.iter().zip(of_members).filter(|(_, count)| **count > 0 || is_incomplete);
        Ok(SubscriberCount {
            known: listening
                .filter(|((_, alive), _)| *alive)
                .map(|((uid, _), _)| uid.clone())
                .collect(),
            others: total.saturating_sub(*ourselves).saturating_sub(known_total),
            present: of_asked.iter().map(|count| *count > 0 || is_incomplete).collect(),
        })
    }

    /// If Redis refuses PUBSUB, counts the nodes whose heartbeats arrive.
    pub(super) fn count_by_heartbeats(
        &self,
        error: Error,
        asked: &[String],
    ) -> Result<SubscriberCount> {
        if !error.is_refusal() {
            return Err(error);
        }
        self.warnings.warn(COUNTING, &error);
        let alive = self.members().all().into_iter().filter(|(_, alive)| *alive);
        let known: Vec<String> = alive.map(|(uid, _)| uid).collect();
        let present = asked.iter().map(|uid| known.contains(uid)).collect();
        Ok(SubscriberCount { known, others: 0, present })
    }
}

fn added(sum: Option<Vec<u32>>, counts: Vec<u32>) -> Vec<u32> {
    match sum {
        Some(sum) => sum.into_iter().zip(counts).map(|(a, b)| a + b).collect(),
        None => counts,
    }
}

/// Reads `[channel, count, …]`, which may be a map in RESP3.
pub(crate) fn parse_counts(reply: Value) -> Result<Vec<u32>> {
    let counts: Vec<Value> = match reply {
        Value::Array(flat) => flat.into_iter().skip(1).step_by(2).collect(),
        Value::Map(pairs) => pairs.into_iter().map(|(_, count)| count).collect(),
        _ => return Err(unexpected("no array")),
    };
    let count =
        |value| u32::from_redis_value(value).map_err(|_| unexpected("a count is no number"));
    counts.into_iter().map(count).collect()
}

fn unexpected(reason: &str) -> Error {
    Error::Protocol { command: "PUBSUB", reason: reason.to_owned() }
}
