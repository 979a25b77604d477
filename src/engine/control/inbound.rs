//! What comes in by PUB/SUB, and who listens: messages go to their namespace, heartbeats to the
//! members, and a census counts subscriptions.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use redis::{FromRedisValue, PushInfo, PushKind, Value};

use super::{COUNTING, Job, Route, Shared};
use crate::engine::error::{Error, Result};
use crate::engine::inbox::{Census, Event};
use crate::engine::membership::Members;
use crate::engine::redis::Commands;
use crate::engine::stream::{EntryId, Progress, Stream};
use crate::engine::wire::{MemberMessage, MemberNews, position};

impl Shared {
    /// Lets go of messages that were held long enough.
    pub(super) fn release_held(&self) {
        let routes = self.routes();
        let mut streams: Vec<&Arc<Stream>> = routes.values().map(|route| &route.stream).collect();
        streams.sort_unstable_by_key(|stream| stream.index);
        streams.dedup_by_key(|stream| stream.index);
        for stream in streams {
            let mut cursor = stream.cursor();
            let position = cursor.position;
            let released = cursor.held.release(position);
            self.stats.dropped.add(self.inbox.offer_all(released));
        }
    }

    /// A message was pushed. May ask for something to be done about it.
    pub(super) fn receive(&self, push: PushInfo) -> Option<Job> {
        if !matches!(push.kind, PushKind::Message | PushKind::SMessage) {
            return None;
        }
        let mut data = push.data.into_iter();
        let (Some(Value::BulkString(channel)), Some(Value::BulkString(payload))) =
            (data.next(), data.next())
        else {
            return None;
        };
        let channel = String::from_utf8(channel).ok()?;
        let route = self.routes().get(&channel).cloned();
        if let Some(route) = route {
            self.take_in(&channel, &route, payload);
            return None;
        }
        if channel == self.members_channel() {
            return self.hear(&payload);
        }
        None
    }

    /// Hands a message to its namespace, or holds it until the reader has come as far as the
    /// sender had when it was sent.
    pub(super) fn take_in(&self, channel: &str, route: &Route, payload: Vec<u8>) {
        let until = position(&payload).unwrap_or(EntryId::ZERO);
        let namespace = &route.namespace;
        let hold = Some(namespace.hold());
        let event = Event::Message { namespace: namespace.handle, payload, hold };
        let mut cursor = route.stream.cursor();
        let is_reading = matches!(*route.stream.progress.borrow(), Progress::At(_));
        let has_to_wait = until > cursor.position || !cursor.held.is_empty();
        let taken = if !is_reading || !has_to_wait {
            self.inbox.offer(event)
        } else if cursor.held.bytes() + event.size() <= self.inbox.bound() {
            cursor.held.hold(until, event);
            true
        } else {
            false
        };
        drop(cursor);
        if !taken {
            self.stats.dropped.add(1);
            tracing::debug!("too much waits: PUB/SUB message on {channel} dropped");
            return;
        }
        self.stats.delivered.add(1);
    }

    pub(super) fn hear(&self, payload: &[u8]) -> Option<Job> {
        let message: MemberMessage = serde_json::from_slice(payload).ok()?;
        if message.uid == *self.uid {
            return None;
        }
        let mut members = self.members();
        match message.news {
            MemberNews::Bye => members.leave(&message.uid),
            MemberNews::Hello | MemberNews::Alive => members.hear(message.uid),
        }
        if members.look() {
            self.inbox.push(Event::MembersChanged);
        }
        (message.news == MemberNews::Hello).then_some(Job::SayAlive)
    }

    /// Who listens to a namespace's requests: our own kind by the private channels that each node
    /// listens on, the rest by number.
    pub(super) async fn count(
        &self,
        mut commands: Commands,
        nsp: &str,
        asked: &[String],
    ) -> Result<Census> {
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
        let reply = commands.send("PUBSUB", &requests, &command).await?;
        let counts = parse_counts(reply)?;
        let [total, ourselves, rest @ ..] = counts.as_slice() else {
            return Err(unexpected("too few counts"));
        };
        if rest.len() != members.len() + asked.len() {
            return Err(unexpected("too few counts"));
        }
        self.warnings.clear(COUNTING);
        let (of_members, of_asked) = rest.split_at(members.len());
        let known_total: u32 = of_members.iter().sum();
        let listening = members.iter().zip(of_members).filter(|(_, count)| **count > 0);
        Ok(Census {
            known: listening
                .filter(|((_, alive), _)| *alive)
                .map(|((uid, _), _)| uid.clone())
                .collect(),
            others: total.saturating_sub(*ourselves).saturating_sub(known_total),
            present: of_asked.iter().map(|count| *count > 0).collect(),
        })
    }

    /// Where Redis does not let us count: the nodes that are heard.
    pub(super) fn count_by_heartbeats(&self, error: Error, asked: &[String]) -> Result<Census> {
        if !error.is_refusal() {
            return Err(error);
        }
        self.warnings.warn(COUNTING, &error);
        let alive = self.members().all().into_iter().filter(|(_, alive)| *alive);
        let known: Vec<String> = alive.map(|(uid, _)| uid).collect();
        let present = asked.iter().map(|uid| known.contains(uid)).collect();
        Ok(Census { known, others: 0, present })
    }

    pub(super) fn on_wire(&self, channel: String) -> String {
        if self.prefix.is_empty() { channel } else { format!("{}{channel}", self.prefix) }
    }

    pub(super) fn members_channel(&self) -> String {
        self.on_wire(self.options.members_channel())
    }

    pub(super) fn publish_command(&self) -> &'static str {
        if self.options.use_sharded_pub_sub { "SPUBLISH" } else { "PUBLISH" }
    }

    pub(super) fn routes(&self) -> MutexGuard<'_, HashMap<String, Route>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `[channel, count, …]`, also where RESP3 makes a map of it.
fn parse_counts(reply: Value) -> Result<Vec<u32>> {
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
