//! PUB/SUB messages: upstream's msgpack map `{uid, nsp, type, data}`, and two fields that our nodes
//! add to requests. Upstream ignores both.
//!
//! - `pos` is the sender's last entry in the namespace's stream. Our nodes handle a request only
//!   when they have read up to that entry. Otherwise the request would overtake joins and
//!   broadcasts that were made before it.
//! - `stream` is the identity of the sender's streams. PUB/SUB knows neither databases nor key
//!   prefixes, so applications that share no stream may still share the channel. Our nodes ignore
//!   requests from other streams.

use serde::Deserialize;

use super::EntryId;
use super::shape::from_msgpack;

const POSITION: &[u8] = b"\xa3pos";
const STREAM: &[u8] = b"\xa6stream";

/// What the engine reads of a message. The fields that our nodes add are missing in messages of
/// upstream nodes and in answers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestHead<'a> {
    /// The sender.
    pub(crate) uid: Option<&'a str>,
    pub(crate) position: Option<EntryId>,
    pub(crate) stream: Option<&'a str>,
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(default, borrow)]
    uid: Option<&'a str>,
    #[serde(default, borrow)]
    pos: Option<&'a str>,
    #[serde(default, borrow)]
    stream: Option<&'a str>,
}

/// Reads these fields of a message. One that is no string hides the others too: only a node that is
/// not ours writes such a message.
pub(crate) fn request_head(message: &[u8]) -> RequestHead<'_> {
    let Some(Fields { uid, pos, stream }) = from_msgpack(message) else {
        return RequestHead::default();
    };
    RequestHead { uid, position: pos.and_then(|pos| pos.parse().ok()), stream }
}

/// Adds our fields to a message. Returns the message unchanged if it is not a msgpack map of up to
/// 13 fields.
pub(crate) fn with_request_head(mut message: Vec<u8>, position: EntryId, stream: &str) -> Vec<u8> {
    match message.first().copied() {
        // The first byte counts up to 15 fields, so up to 13 leave space for two more.
        Some(head @ 0x80..=0x8d) => message[0] = head + 2,
        _ => return message,
    }
    for (name, value) in [(POSITION, &*position.to_string()), (STREAM, stream)] {
        message.extend_from_slice(name);
        // Marker of a string of up to 4 GiB.
        message.push(0xdb);
        message.extend_from_slice(&(value.len() as u32).to_be_bytes());
        message.extend_from_slice(value.as_bytes());
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let position = EntryId { ms: u64::MAX, seq: u64::MAX };
        // {uid: "a", data: {pos: "1-1", stream: "x"}}
        let message = b"\x82\xa3uid\xa1a\xa4data\x82\xa3pos\xa31-1\xa6stream\xa1x".to_vec();
        let plain = RequestHead { uid: Some("a"), ..RequestHead::default() };
        assert_eq!(request_head(&message), plain);
        let stream = format!("1/{}:é/1", "long".repeat(100));
        let extended = with_request_head(message.clone(), position, &stream);
        let head = RequestHead { position: Some(position), stream: Some(&stream), ..plain };
        assert_eq!(request_head(&extended), head);
        assert_eq!(extended[1..message.len()], message[1..]);
    }

    #[test]
    fn what_is_no_small_map_stays_as_it_is() {
        for odd in [&b""[..], b"\xc0", b"\x93\x01\x02\x03", b"\x8e", b"\xde\x00\x10"] {
            assert_eq!(with_request_head(odd.to_vec(), EntryId::ZERO, "0/s/1"), odd);
            assert_eq!(request_head(odd), RequestHead::default());
        }
    }
}
