//! Counts the subscribers of a namespace's channels, on all nodes of a cluster.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Value};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::instrument::WithSubscriber;

use super::{COUNTING, Shared};
use crate::engine::error::{Error, Result};
use crate::engine::event::{Answer, CallId, Notice, SubscriberCount};
use crate::engine::redis::{ChannelCommand, Connector, Kind, Pool, Target};

/// How long one node of a cluster may take to answer. After that, the count does without it.
const ONE_OF_MANY: Duration = Duration::from_secs(1);

/// Asks all servers of a cluster which nodes are subscribed.
#[derive(Clone)]
pub(super) struct SubscriberCounter {
    connector: Arc<Connector>,
    /// Connections to the nodes of a cluster.
    pool: Arc<Pool>,
}

/// Asks for a count of the nodes that listen to a namespace's requests.
pub(super) struct CountQuery {
    /// The calls that it answers.
    pub(super) calls: Vec<CallId>,
    pub(super) nsp: String,
    /// The uids for which the count reports whether they listen.
    asked: Vec<String>,
    /// The nodes of this package, and whether they are alive.
    members: Vec<(String, bool)>,
    /// The request channel; the answer channels of this node, of the members, and of `asked`.
    channels: Vec<String>,
    name: &'static str,
}

impl CountQuery {
    pub(super) fn command(&self) -> ChannelCommand<'_> {
        let mut command = redis::cmd("PUBSUB");
        command.arg(self.name).arg(&self.channels);
        ChannelCommand { name: "PUBSUB", channel: &self.channels[0], command }
    }
}

/// Subscriptions per channel.
pub(super) struct Counts {
    counts: Vec<u32>,
    /// Whether a server did not answer, so that its subscriptions are missing.
    is_incomplete: bool,
}

impl Counts {
    /// Reads the reply of the only server.
    pub(super) fn parse(reply: &[u8]) -> Result<Self> {
        let reply = redis::parse_redis_value(reply).map_err(|_| unexpected("no reply"))?;
        Ok(Self { counts: parse_counts(reply)?, is_incomplete: false })
    }
}

impl SubscriberCounter {
    pub(super) fn new(connector: Arc<Connector>) -> Self {
        Self { pool: Pool::new(connector.clone()), connector }
    }

    /// Whether a count asks several servers.
    pub(super) fn asks_many(&self) -> bool {
        self.connector.settings().kind == Kind::Cluster
    }

    /// Asks all nodes of a cluster, replicas too, since a subscriber may be connected to any of
    /// them, also to one that the slots do not name at the moment.
    pub(super) async fn count(&self, query: &CountQuery) -> Result<Counts> {
        let ChannelCommand { channel, command, .. } = query.command();
        let mut answers = JoinSet::new();
        let named = self.connector.all_targets().await?;
        let mut unnamed = self.connector.unnamed().recent();
        unnamed.retain(|target| !named.contains(target));
        for target in named.iter().chain(&unnamed) {
            let (target, is_named) = (target.clone(), !unnamed.contains(target));
            let (counter, channel, command) = (self.clone(), channel.to_owned(), command.clone());
            let count = async move {
                match counter.count_at(&target, &channel, &command).await {
                    Err(_) if !is_named => {
                        counter.connector.unnamed().has_gone(&target);
                        Ok(None)
                    }
                    counts => counts.map(Some),
                }
            };
            answers.spawn(count.with_current_subscriber());
        }
        let (mut sum, mut failure) = (None, None);
        while let Some(answer) = answers.join_next().await {
            match answer {
                Ok(Ok(Some(counts))) => sum = Some(added(sum, counts)),
                Ok(Err(error)) => failure = Some(error),
                Ok(Ok(None)) | Err(_) => {}
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
    /// Nodes of this package are known by uid, since each of them has its answer channel. Of other
    /// nodes only the number is known.
    pub(super) fn count_query(
        &self,
        nsp: &str,
        asked: Vec<String>,
        calls: Vec<CallId>,
    ) -> CountQuery {
        let members = self.members().all();
        let uids = members.iter().map(|(uid, _)| uid.as_str());
        let uids = [&*self.uid].into_iter().chain(uids).chain(asked.iter().map(String::as_str));
        let answers = uids.map(|uid| self.options.answer_channel(nsp, uid));
        let requests = self.options.request_channel(nsp);
        let channels = [requests].into_iter().chain(answers);
        let channels = channels.map(|channel| self.on_wire(channel)).collect();
        let name = if self.options.use_sharded_pub_sub { "SHARDNUMSUB" } else { "NUMSUB" };
        CountQuery { calls, nsp: nsp.to_owned(), asked, members, channels, name }
    }

    /// Answers the calls of a count. If Redis refuses to count, the nodes whose heartbeats arrive
    /// count.
    pub(super) fn answer(&self, query: CountQuery, counts: Result<Counts>) {
        let count = counts.and_then(|counts| self.by_channels(&query, &counts));
        let count = count.or_else(|error| self.by_heartbeats(&query, error));
        for call in query.calls {
            let result = count.clone().map(Answer::Subscribers);
            self.inbox.push(Notice::Answered { call, result });
        }
    }

    fn by_channels(&self, query: &CountQuery, counts: &Counts) -> Result<SubscriberCount> {
        let Counts { counts, is_incomplete } = counts;
        let CountQuery { members, asked, .. } = query;
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
            members.iter().zip(of_members).filter(|(_, count)| **count > 0 || *is_incomplete);
        Ok(SubscriberCount {
            known: listening
                .filter(|((_, alive), _)| *alive)
                .map(|((uid, _), _)| uid.clone())
                .collect(),
            others: total.saturating_sub(*ourselves).saturating_sub(known_total),
            present: of_asked.iter().map(|count| *count > 0 || *is_incomplete).collect(),
        })
    }

    fn by_heartbeats(&self, query: &CountQuery, error: Error) -> Result<SubscriberCount> {
        if !error.is_refusal() {
            return Err(error);
        }
        self.warnings.warn(COUNTING, &error);
        let alive = query.members.iter().filter(|(_, alive)| *alive);
        let known: Vec<String> = alive.map(|(uid, _)| uid.clone()).collect();
        let present = query.asked.iter().map(|uid| known.contains(uid)).collect();
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
