//! Sessions of connection state recovery: base64 of msgpack `{sid, pid, rooms, data}`, and of ours
//! `since`, which upstream ignores: for each room the last entry from before it was joined. JS
//! makes and reads the msgpack; here only sid, rooms and since are looked at.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::shape::{array, from_msgpack};
use super::{EntryId, Membership, Room, is_msgpack};

/// What is looked at in a session.
pub(crate) struct SessionHead {
    /// The client's rooms.
    pub(crate) rooms: Vec<Membership>,
    /// The last entry from before the session began, as far as it says so.
    pub(crate) began: EntryId,
}

/// As it is in the msgpack.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    sid: Option<String>,
    #[serde(deserialize_with = "array")]
    rooms: Vec<Room>,
    /// Absent in sessions of upstream nodes.
    #[serde(default, deserialize_with = "array")]
    since: Vec<String>,
}

impl SessionHead {
    /// Reads a session's msgpack.
    pub(crate) fn decode(msgpack: &[u8]) -> Option<Self> {
        let Fields { sid, rooms, since } = from_msgpack(msgpack)?;
        let mut since = since.iter().map(|id| id.parse().unwrap_or(EntryId::ZERO));
        let membership = |room| Membership { room, since: since.next().unwrap_or(EntryId::ZERO) };
        let rooms: Vec<Membership> = rooms.into_iter().map(membership).collect();
        // A socket's first room is the one that has its own name.
        let own = rooms.iter().find(|member| sid.is_some() && member.room.name() == sid.as_deref());
        let began = own.map_or(EntryId::ZERO, |own| own.since);
        Some(Self { rooms, began })
    }
}

/// The value of a session key.
pub(crate) fn encode_session(msgpack: &[u8]) -> String {
    STANDARD.encode(msgpack)
}

/// The msgpack of a session key's value; `None` when it is something else.
pub(crate) fn decode_session(value: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(value).ok().filter(|session| is_msgpack(session))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_rooms() {
        let msgpack = b"\x84\xa3sid\xa1s\xa3pid\xa1p\xa5rooms\x92\xa1s\xa1r\xa4data\x80";
        let value = encode_session(msgpack);
        assert_eq!(decode_session(value.as_bytes()).unwrap(), msgpack);
        let SessionHead { rooms, began } = SessionHead::decode(msgpack).unwrap();
        assert_eq!((rooms.len(), began), (2, EntryId::ZERO));
        assert_eq!(rooms[1].room.name(), Some("r"));
        assert_eq!(rooms[1].since, EntryId::ZERO);
        let ours = b"\x83\xa3sid\xa1s\xa5rooms\x92\xa1s\xa1r\xa5since\x92\xa35-0\xa37-1";
        let SessionHead { rooms, began } = SessionHead::decode(ours).unwrap();
        assert_eq!(rooms[1].since, EntryId { ms: 7, seq: 1 });
        assert_eq!(began, EntryId { ms: 5, seq: 0 });
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
