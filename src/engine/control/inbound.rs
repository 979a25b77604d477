//! Handles PUB/SUB messages: requests and answers go to their namespace, heartbeats to the members.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::{ChannelTarget, ControlJob, Shared};
use crate::engine::event::{Notice, StreamEvent};
use crate::engine::membership::Members;
use crate::engine::redis::{ChannelCommand, Push};
use crate::engine::stream::{Progress, Stream};
use crate::engine::wire::{EntryId, MemberMessage, MemberNews, is_msgpack, request_head};

impl Shared {
    /// Delivers deferred messages that have waited long enough.
    pub(super) fn release_deferred(&self) {
        let routes = self.routes();
        let mut streams: Vec<&Arc<Stream>> = routes.values().map(|route| &route.stream).collect();
        streams.sort_unstable_by_key(|stream| stream.index);
        streams.dedup_by_key(|stream| stream.index);
        for stream in streams {
            let mut cursor = stream.cursor();
            let position = cursor.position;
            let released = cursor.deferred.release(position);
            self.stats.dropped.add(cursor.inbox.offer_all(released));
        }
    }

    /// Handles what Redis has pushed. Returns a job if the control task must do something about it.
    pub(super) fn receive(&self, push: Push<'_>) -> Option<ControlJob> {
        let (channel, payload) = match push {
            Push::Message { channel, payload } => (channel, payload),
            Push::Unsubscribed { channel } => return self.subscription_ended(channel),
            Push::Ended => return None,
        };
        let route = self.routes().get(channel).cloned();
        if let Some(route) = route {
            self.take_in(channel, &route, payload);
            return None;
        }
        if channel == self.members_channel() {
            return self.hear(payload);
        }
        None
    }

    /// A subscription has ended. If the channel is still ours, the server has ended it, since the
    /// channel's slot has moved. Otherwise this node has unsubscribed.
    fn subscription_ended(&self, channel: &str) -> Option<ControlJob> {
        let is_ours = channel == self.members_channel() || self.routes().contains_key(channel);
        is_ours.then(|| ControlJob::SubscribeAgain { channel: channel.to_owned() })
    }

    /// Passes a message to its namespace, or defers it until the reader has reached the position
    /// that the sender has added to the message. Ignores requests from other streams, and this node's
    /// own ones, which the channel brings back.
    pub(super) fn take_in(&self, channel: &str, route: &ChannelTarget, payload: &[u8]) {
        if !is_msgpack(payload) {
            self.stats.malformed.add(1);
            tracing::debug!("PUB/SUB message on {channel} dropped: no msgpack, or too deep");
            return;
        }
        let head = request_head(payload);
        let is_own = head.uid.is_some_and(|uid| *uid == *self.uid);
        if is_own || head.stream.is_some_and(|stream| self.is_other_stream(stream)) {
            return;
        }
        let until = head.position.unwrap_or(EntryId::ZERO);
        let namespace = &route.namespace;
        let event = StreamEvent::Message { namespace: namespace.handle, payload: payload.to_vec() };
        let mut cursor = route.stream.cursor();
        let is_reading = matches!(*route.stream.progress.borrow(), Progress::At(_));
        let has_to_wait = until > cursor.position || !cursor.deferred.is_empty();
        let taken = if !is_reading || !has_to_wait {
            cursor.inbox.offer(event)
        } else if cursor.deferred.bytes() + event.size() <= self.inbox.bound() {
            cursor.deferred.defer(until, event);
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

    pub(super) fn hear(&self, payload: &[u8]) -> Option<ControlJob> {
        let message: MemberMessage = serde_json::from_slice(payload).ok()?;
        if message.uid == *self.uid {
            return None;
        }
        let is_stranger = message.stream.is_some_and(|stream| self.is_other_stream(&stream));
        let mut members = self.members();
        match message.news {
            MemberNews::Bye => members.leave(&message.uid),
            MemberNews::Hello | MemberNews::Alive if is_stranger => {
                members.hear_stranger(message.uid);
            }
            MemberNews::Hello | MemberNews::Alive => members.hear(message.uid),
        }
        if let Some(notice) = Notice::members_changed(None, members.refresh()) {
            self.inbox.push(notice);
        }
        (message.news == MemberNews::Hello).then_some(ControlJob::AnswerHello)
    }

    /// Whether this is the identity of other streams than this node's.
    fn is_other_stream(&self, identity: &str) -> bool {
        *identity != *self.stream_identity
    }

    pub(super) fn on_wire(&self, channel: String) -> String {
        if self.prefix.is_empty() { channel } else { format!("{}{channel}", self.prefix) }
    }

    pub(super) fn members_channel(&self) -> String {
        self.on_wire(self.options.members_channel())
    }

    /// The command that publishes a message.
    pub(super) fn publish<'a>(&self, channel: &'a str, payload: &[u8]) -> ChannelCommand<'a> {
        let name = if self.options.use_sharded_pub_sub { "SPUBLISH" } else { "PUBLISH" };
        let mut publish = ChannelCommand::new(name, channel);
        publish.command.arg(payload);
        publish
    }

    pub(super) fn routes(&self) -> MutexGuard<'_, HashMap<String, ChannelTarget>> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
