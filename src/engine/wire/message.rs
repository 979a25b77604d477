//! PUB/SUB messages: upstream's msgpack map `{uid, nsp, type, data}`, and our field `pos`, the
//! sender's last entry in the namespace's stream. Our nodes handle a request only when they have
//! read up to that entry. Otherwise the request would overtake joins and broadcasts that were made
//! before it. Upstream ignores the field.

use serde::Deserialize;

use super::EntryId;
use super::shape::from_msgpack;

const FIELD: &[u8] = b"\xa3pos";

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(default, borrow)]
    pos: Option<&'a str>,
}

/// Adds the position to a message. Returns the message unchanged if it is not a msgpack map of up
/// to 14 fields.
pub(crate) fn with_position(mut message: Vec<u8>, position: EntryId) -> Vec<u8> {
    match message.first().copied() {
        // The first byte counts up to 15 fields, so up to 14 leave space for one more.
        Some(head @ 0x80..=0x8e) => message[0] = head + 1,
        _ => return message,
    }
    let text = position.to_string();
    message.extend_from_slice(FIELD);
    // Marker of a string of up to 255 bytes. Two 64-bit numbers take 41 bytes at most.
    message.extend_from_slice(&[0xd9, text.len() as u8]);
    message.extend_from_slice(text.as_bytes());
    message
}

/// The sender's position; `None` for messages of upstream nodes, and if it cannot be read.
pub(crate) fn position(message: &[u8]) -> Option<EntryId> {
    from_msgpack::<Head<'_>>(message)?.pos?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let id = EntryId { ms: u64::MAX, seq: u64::MAX };
        // {uid: "a", data: {pos: "1-1"}}
        let message = b"\x82\xa3uid\xa1a\xa4data\x81\xa3pos\xa31-1".to_vec();
        assert_eq!(position(&message), None);
        let extended = with_position(message.clone(), id);
        assert_eq!(position(&extended), Some(id));
        assert_eq!(extended[1..message.len()], message[1..]);
    }

    #[test]
    fn what_is_no_small_map_stays_as_it_is() {
        for odd in [&b""[..], b"\xc0", b"\x93\x01\x02\x03", b"\xde\x00\x10"] {
            assert_eq!(with_position(odd.to_vec(), EntryId::ZERO), odd);
            assert_eq!(position(odd), None);
        }
    }
}
