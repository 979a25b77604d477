//! Sessions of connection state recovery: base64 of msgpack `{sid, pid, rooms, data}`, and of ours
//! `since`, which upstream ignores: for each room the last entry from before it was joined. JS
//! makes and reads the msgpack; here only the rooms are looked at.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Membership, Room};
use crate::engine::stream::EntryId;

#[derive(Deserialize)]
struct SessionHead {
    rooms: Vec<Room>,
    /// Absent in sessions of upstream nodes.
    #[serde(default)]
    since: Vec<String>,
}

/// The value of a session key.
pub fn encode_session(msgpack: &[u8]) -> String {
    STANDARD.encode(msgpack)
}

/// The msgpack of a session key's value, when it is base64.
pub fn decode_session(value: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(value).ok()
}

/// The rooms in a session's msgpack.
pub fn session_rooms(msgpack: &[u8]) -> Option<Vec<Membership>> {
    let SessionHead { rooms, since } = rmp_serde::from_slice(msgpack).ok()?;
    let mut since = since.iter().map(|id| id.parse().unwrap_or(EntryId::ZERO));
    let membership = |room| Membership { room, since: since.next().unwrap_or(EntryId::ZERO) };
    Some(rooms.into_iter().map(membership).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_rooms() {
        let msgpack = b"\x84\xa3sid\xa1s\xa3pid\xa1p\xa5rooms\x92\xa1s\xa1r\xa4data\x80";
        let value = encode_session(msgpack);
        assert_eq!(decode_session(value.as_bytes()).unwrap(), msgpack);
        let rooms = session_rooms(msgpack).unwrap();
        assert_eq!(rooms.len(), 2);
        assert_eq!(rooms[1].room.name(), Some("r"));
        assert_eq!(rooms[1].since, EntryId::ZERO);
        let ours = b"\x82\xa5rooms\x92\xa1s\xa1r\xa5since\x92\xa30-0\xa37-1";
        assert_eq!(session_rooms(ours).unwrap()[1].since, EntryId { ms: 7, seq: 1 });
    }

    #[test]
    fn garbage_is_no_session() {
        assert!(decode_session(b"***").is_none());
        assert!(session_rooms(b"\xc1").is_none());
        assert!(session_rooms(b"\x81\xa3sid\xa1s").is_none());
    }
}
