//! Sessions of connection state recovery: base64 of msgpack `{sid, pid, rooms, data}`. Our nodes
//! add what upstream ignores: `since`, for each room the last entry before the client joined,
//! `generation`, which numbers the restores of the session, `ahead` and `deliveredAhead` (see
//! `lib/doubt.js`), `lastSent` with `sentUpTo` (see [`Sent`]), and `localMark`. JS writes and reads the
//! msgpack. This module reads only what the engine needs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::shape::{array, from_msgpack};
use super::{EntryId, Membership, Memberships, Room, is_msgpack};

/// The fields of a session that the engine reads.
#[derive(Debug)]
pub(crate) struct SessionHead {
    pub(crate) rooms: Memberships,
    /// The namespace that the client was connected to; `None` if an upstream node has saved it.
    pub(crate) nsp: Option<String>,
    /// The last entry before the session began; [`EntryId::ZERO`] if the session does not have it.
    pub(crate) began: EntryId,
    /// Numbers the restores of the session; `None` if an upstream node has saved it.
    pub(crate) generation: Option<u32>,
    /// `None` if its node was not certain, or was an upstream node.
    pub(crate) sent: Option<Sent>,
    /// Stands for the packets without an entry that the client has got, if there were any.
    pub(crate) local_mark: Option<u64>,
}

/// What the client had been sent when its session was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The last entry that was sent to the client, or the last one before the session began.
    pub(crate) last: EntryId,
    /// Nothing between `last` and this entry was for the client.
    pub(crate) up_to: EntryId,
}

/// The fields in the msgpack.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    sid: Option<String>,
    #[serde(default)]
    nsp: Option<String>,
    #[serde(deserialize_with = "array")]
    rooms: Vec<Room>,
    /// Absent in sessions of upstream nodes.
    #[serde(default, deserialize_with = "array")]
    since: Vec<String>,
    #[serde(default)]
    generation: Option<u32>,
    #[serde(default, rename = "lastSent")]
    last_sent: Option<String>,
    #[serde(default, rename = "sentUpTo")]
    sent_up_to: Option<String>,
    #[serde(default, rename = "localMark")]
    local_mark: Option<String>,
}

impl SessionHead {
    pub(crate) fn decode(msgpack: &[u8]) -> Option<Self> {
        let Fields { sid, nsp, rooms, since, generation, last_sent, sent_up_to, local_mark } =
            from_msgpack(msgpack)?;
        let mut since = since.iter().map(|id| id.parse().unwrap_or(EntryId::ZERO));
        let membership = |room| Membership { room, since: since.next().unwrap_or(EntryId::ZERO) };
        let rooms: Vec<Membership> = rooms.into_iter().map(membership).collect();
        let is_own = |member: &&Membership| match (&member.room, &sid) {
            (Room::Name(name), Some(sid)) => **name == **sid,
            _ => false,
        };
        // A socket joins the room with its own ID first.
        let began = rooms.iter().find(is_own).map_or(EntryId::ZERO, |own| own.since);
        let id = |text: Option<String>| text?.parse().ok();
        let sent = id(last_sent).zip(id(sent_up_to)).map(|(last, up_to)| Sent { last, up_to });
        let local_mark = local_mark.and_then(|mark| mark.parse().ok());
        let rooms = rooms.into_iter().collect();
        Some(Self { rooms, nsp, began, generation, sent, local_mark })
    }
}

pub(crate) fn encode_session(msgpack: &[u8]) -> String {
    STANDARD.encode(msgpack)
}

/// The msgpack in a session key's value; `None` if the value is not a session.
pub(crate) fn decode_session(value: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(value).ok().filter(|session| is_msgpack(session))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn round_trip_and_rooms() {
        let msgpack = b"\x84\xa3sid\xa1s\xa3pid\xa1p\xa5rooms\x92\xa1s\xa1r\xa4data\x80";
        let value = encode_session(msgpack);
        assert_eq!(decode_session(value.as_bytes()).unwrap(), msgpack);
        let all = |rooms: &Memberships| {
            rooms.named().map(|(name, since)| (name.to_owned(), since)).collect::<BTreeMap<_, _>>()
        };
        let SessionHead { rooms, began, .. } = SessionHead::decode(msgpack).unwrap();
        assert_eq!(began, EntryId::ZERO);
        let zero = |name: &str| (name.to_owned(), EntryId::ZERO);
        assert_eq!(all(&rooms), BTreeMap::from([zero("s"), zero("r")]));
        let ours = b"\x83\xa3sid\xa1s\xa5rooms\x92\xa1s\xa1r\xa5since\x92\xa35-0\xa37-1";
        let SessionHead { rooms, began, .. } = SessionHead::decode(ours).unwrap();
        assert_eq!(all(&rooms)["r"], EntryId { ms: 7, seq: 1 });
        assert_eq!(began, EntryId { ms: 5, seq: 0 });
    }

    #[test]
    fn what_the_client_was_sent_counts_if_both_ids_are_there() {
        let sent = |fields: &[u8]| {
            let count = 0x81 + (fields.len() / 9) as u8;
            let msgpack = [&[count][..], b"\xa5rooms\x90", fields].concat();
            SessionHead::decode(&msgpack).unwrap().sent
        };
        let (last, up_to) = (b"\xa8lastSent\xa35-0", b"\xa8sentUpTo\xa37-1");
        assert_eq!(sent(b""), None);
        assert_eq!(sent(last), None);
        assert_eq!(sent(b"\xa8lastSent\xa1x\xa8sentUpTo\xa37-1"), None);
        let ids = Sent { last: EntryId { ms: 5, seq: 0 }, up_to: EntryId { ms: 7, seq: 1 } };
        assert_eq!(sent(&[&last[..], up_to].concat()), Some(ids));
    }

    #[test]
    fn the_mark_of_packets_without_an_entry() {
        let mark = |fields: &[u8]| {
            let msgpack = [b"\x82\xa5rooms\x90\xa9localMark", fields].concat();
            SessionHead::decode(&msgpack).unwrap().local_mark
        };
        assert_eq!(mark(b"\xb418446744073709551615"), Some(u64::MAX));
        assert_eq!(mark(b"\xa1x"), None);
        assert_eq!(SessionHead::decode(b"\x81\xa5rooms\x90").unwrap().local_mark, None);
    }

    #[test]
    fn garbage_is_no_session() {
        assert!(decode_session(b"***").is_none());
        // An array of 33,554,176 elements, of which none is there.
        assert!(decode_session(b"3QH//wA=").is_none());
        assert!(SessionHead::decode(b"\xc1").is_none());
        assert!(SessionHead::decode(b"\x81\xa3sid\xa1s").is_none());
    }
}
