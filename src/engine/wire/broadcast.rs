//! The head of a broadcast: who gets it, and whether a client that was away gets it later. Of the
//! packet's data, the head only holds the range in the JSON.

use std::ops::Range;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::shape::{from_json, from_msgpack, object, object_or_null, present};
use super::{DataView, EntryId, Judgement, Memberships, Rooms};

/// Packet type 2 of the Socket.IO protocol.
const EVENT: f64 = 2.0;

/// The fields of a broadcast that decide who gets it.
#[derive(Debug, Clone)]
pub(crate) struct BroadcastHead {
    opts: TargetOptions,
    kind: f64,
    wants_ack: bool,
    /// True if each node must answer: with its number of clients, and later with their
    /// acknowledgements.
    is_request: bool,
    /// The range of the packet's data in the JSON; `None` for msgpack.
    data: Option<Range<usize>>,
}

/// A broadcast as a message holds it. `D` is the type that the packet's data is read as.
#[derive(Deserialize)]
#[serde(bound = "D: Deserialize<'de>")]
struct Message<D> {
    #[serde(deserialize_with = "object")]
    opts: TargetOptions,
    #[serde(deserialize_with = "object")]
    packet: Packet<D>,
    #[serde(rename = "requestId", default, deserialize_with = "present")]
    request_id: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Packet<D> {
    #[serde(rename = "type")]
    kind: f64,
    #[serde(default, deserialize_with = "present")]
    id: Option<IgnoredAny>,
    data: Option<D>,
}

#[derive(Debug, Clone, Deserialize)]
struct TargetOptions {
    rooms: Rooms,
    except: Rooms,
    #[serde(default, deserialize_with = "object_or_null")]
    flags: Option<Flags>,
}

/// Flags that decide how a packet is sent.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Flags {
    #[serde(default, deserialize_with = "present")]
    volatile: Option<bool>,
    compress: Option<bool>,
}

impl Flags {
    /// True if the packet may be dropped for clients that cannot take it at once.
    pub(crate) fn is_volatile(&self) -> bool {
        self.volatile == Some(true)
    }

    /// Whether to compress the packet, if the sender set that flag.
    pub(crate) fn compress(&self) -> Option<bool> {
        self.compress
    }
}

impl BroadcastHead {
    /// Reads the head; `None` if it cannot be read here. JS may be able to read it, for example
    /// with a duplicate key or a lone surrogate.
    pub(crate) fn decode(data: DataView<'_>) -> Option<Self> {
        match data {
            DataView::Json(text) => Self::from_json(text),
            DataView::Msgpack(bytes) => Some(Self::new::<IgnoredAny>(from_msgpack(bytes)?, None)),
        }
    }

    pub(crate) fn from_json(text: &str) -> Option<Self> {
        let message: Message<&RawValue> = from_json(text)?;
        let data = message.packet.data.map(|data| {
            // `data` is a part of `text`: its offset is the difference of the two addresses.
            let start = data.get().as_ptr().addr() - text.as_ptr().addr();
            start..start + data.get().len()
        });
        Some(Self::new(message, data))
    }

    fn new<D>(
        Message { opts, packet, request_id }: Message<D>,
        data: Option<Range<usize>>,
    ) -> Self {
        let is_request = request_id.is_some();
        let wants_ack = packet.id.is_some() || is_request;
        Self { opts, kind: packet.kind, wants_ack, is_request, data }
    }

    /// True for an event that asks for no acknowledgement.
    pub(crate) fn is_plain_event(&self) -> bool {
        self.kind == EVENT && !self.wants_ack
    }

    /// True if each node must answer, even one without a recipient.
    pub(crate) fn is_request(&self) -> bool {
        self.is_request
    }

    /// The packet's data. `json` must be the text that this head was read from.
    pub(crate) fn event_data<'a>(&self, json: &'a str) -> Option<&'a str> {
        json.get(self.data_place()?)
    }

    /// The range of the packet's data in the JSON.
    pub(crate) fn data_place(&self) -> Option<Range<usize>> {
        self.data.clone()
    }

    /// The rooms whose members do not get it.
    pub(crate) fn except(&self) -> &Rooms {
        &self.opts.except
    }

    pub(crate) fn flags(&self) -> Option<&Flags> {
        self.opts.flags.as_ref()
    }

    /// The rooms whose members get it; if there are none, everyone does.
    pub(crate) fn rooms(&self) -> &Rooms {
        &self.opts.rooms
    }

    /// True if a client that was away gets the broadcast when it comes back. False if it is
    /// volatile, asks for an acknowledgement, or is not an event.
    pub(crate) fn is_sent_again(&self) -> bool {
        let flags = self.opts.flags.as_ref();
        self.is_plain_event() && flags.is_none_or(|flags| flags.volatile.is_none())
    }

    /// Whether a client with these memberships missed this broadcast, the entry `id`, and gets it
    /// when it comes back.
    pub(crate) fn missed_by(&self, id: EntryId, memberships: &Memberships) -> Judgement {
        if !self.is_sent_again() {
            return Judgement::No;
        }
        let rooms = &self.opts.rooms;
        let included = if rooms.is_empty() { Judgement::Yes } else { memberships.share(id, rooms) };
        self.unless_excepted(included, id, memberships)
    }

    /// The same for a client that was in one of the rooms if `included` is `Yes`.
    pub(crate) fn unless_excepted(
        &self,
        included: Judgement,
        id: EntryId,
        memberships: &Memberships,
    ) -> Judgement {
        match (included, memberships.share(id, &self.opts.except)) {
            (Judgement::No, _) | (_, Judgement::Yes) => Judgement::No,
            (Judgement::Yes, Judgement::No) => Judgement::Yes,
            _ => Judgement::Unknown,
        }
    }

    /// The bytes that it takes on the heap.
    pub(crate) fn heap(&self) -> usize {
        self.opts.rooms.heap() + self.opts.except.heap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::wire::{Membership, Room};

    fn member(room: &str) -> Membership {
        Membership { room: Room::Name(room.into()), since: EntryId::ZERO }
    }

    fn missed_by(head: &BroadcastHead, id: EntryId, rooms: &[Membership]) -> Judgement {
        head.missed_by(id, &rooms.iter().cloned().collect())
    }

    fn judge(json: &str, rooms: &[&str]) -> Judgement {
        let rooms: Vec<Membership> = rooms.iter().map(|room| member(room)).collect();
        match BroadcastHead::from_json(json) {
            Some(head) => missed_by(&head, EntryId { ms: 9, seq: 9 }, &rooms),
            None => Judgement::Unknown,
        }
    }

    #[test]
    fn rooms_decide() {
        let packet = r#""packet":{"type":2,"data":["a",{"rooms":[1]}],"nsp":"/"}"#;
        let all = format!(r#"{{"opts":{{"rooms":[],"except":[],"flags":{{}}}},{packet}}}"#);
        assert_eq!(judge(&all, &["s1"]), Judgement::Yes);
        let some = format!(r#"{{"opts":{{"rooms":["r1","r2"],"except":["x"]}},{packet}}}"#);
        assert_eq!(judge(&some, &["s1", "r2"]), Judgement::Yes);
        assert_eq!(judge(&some, &["s1", "r2", "x"]), Judgement::No);
        assert_eq!(judge(&some, &["s1"]), Judgement::No);
        for odd in ["5", "[5]", "null", r#"{"a":1}"#, "true"] {
            let odd = format!(r#"{{"opts":{{"rooms":[{odd}],"except":[]}},{packet}}}"#);
            assert_eq!(judge(&odd, &["5"]), Judgement::No, "{odd}");
            let head = BroadcastHead::from_json(&odd).unwrap();
            let odd_member = Membership { room: Room::Other, since: EntryId::ZERO };
            assert_eq!(
                missed_by(&head, EntryId { ms: 9, seq: 9 }, &[odd_member]),
                Judgement::Unknown
            );
        }
    }

    #[test]
    fn what_must_not_be_sent_again() {
        let opts = r#""opts":{"rooms":[],"except":[]}"#;
        for json in [
            format!(r#"{{{opts},"packet":{{"type":2,"id":4,"data":["a"]}}}}"#),
            format!(r#"{{{opts},"packet":{{"type":2,"data":["a"]}},"requestId":"r"}}"#),
            format!(r#"{{{opts},"packet":{{"type":4,"data":["a"]}}}}"#),
            r#"{"opts":{"rooms":[],"except":[],"flags":{"volatile":true}},"packet":{"type":2}}"#
                .to_owned(),
        ] {
            assert_eq!(judge(&json, &["s1"]), Judgement::No, "{json}");
        }
    }

    #[test]
    fn what_cannot_be_read_here_is_left_to_js() {
        for json in [
            r#"{"opts":{"rooms":["\ud800"],"except":[]},"packet":{"type":2}}"#,
            r#"{"opts":{"rooms":[],"rooms":["a"],"except":[]},"packet":{"type":2}}"#,
            r#"{"packet":{"type":2}}"#,
            "{",
        ] {
            assert_eq!(judge(json, &["s1"]), Judgement::Unknown, "{json}");
        }
    }

    #[test]
    fn msgpack_heads() {
        // {opts:{rooms:["r"],except:[],flags:{}},packet:{type:2,data:["e",<bin 01>],nsp:"/"}}
        let bytes = [
            &[0x82][..],
            b"\xa4opts\x83\xa5rooms\x91\xa1r\xa6except\x90\xa5flags\x80",
            b"\xa6packet\x83\xa4type\x02\xa4data\x92\xa1e\xc4\x01\x01\xa3nsp\xa1/",
        ]
        .concat();
        let head = BroadcastHead::decode(DataView::Msgpack(&bytes)).unwrap();
        let id = EntryId { ms: 9, seq: 9 };
        assert_eq!(missed_by(&head, id, &[member("r")]), Judgement::Yes);
        assert_eq!(missed_by(&head, id, &[member("q")]), Judgement::No);
    }

    #[test]
    fn only_what_came_after_joining_counts_also_for_excepted_rooms() {
        let json = r#"{"opts":{"rooms":["r"],"except":["x"]},"packet":{"type":2}}"#;
        let head = BroadcastHead::from_json(json).unwrap();
        let id = |ms| EntryId { ms, seq: 0 };
        let since = |room: &str, ms| Membership { since: id(ms), ..member(room) };
        assert_eq!(missed_by(&head, id(5), &[since("r", 4)]), Judgement::Yes);
        assert_eq!(missed_by(&head, id(5), &[since("r", 5)]), Judgement::No);
        assert_eq!(missed_by(&head, id(5), &[since("r", 4), since("x", 4)]), Judgement::No);
        assert_eq!(missed_by(&head, id(5), &[since("r", 4), since("x", 5)]), Judgement::Yes);
    }
}
