//! PUB/SUB messages: the sender adds its position, and the receiver reads it.

use super::dice;
use super::js::{Js, parse_msgpack};
use crate::engine::wire::{EntryId, position, with_position};

/// The input is a message as it was published.
pub(crate) fn run(input: &[u8]) {
    let mut dice = dice(input);
    let id = EntryId { ms: dice.u64(..) >> dice.u8(..64), seq: dice.u64(..) >> dice.u8(..64) };
    let read = position(input);
    let extended = with_position(input.to_vec(), id);
    if !matches!(input.first(), Some(0x80..=0x8e)) {
        assert_eq!(extended, input, "no map of up to 14 fields");
    }
    let Some(message) = parse_msgpack(input).value() else { return };
    let stated = message.get("pos").map(|pos| pos.as_text().and_then(|pos| pos.parse().ok()));
    let Js::Object(mut fields) = message.clone() else {
        return assert_eq!(read, None, "no object");
    };
    if !message.is_plain() || matches!(message.get("pos"), Some(Js::Bytes(_))) {
        // No node writes such a message. `position` reads a position in bytes all the same.
        return;
    }
    assert_eq!(read, stated.flatten());
    if extended == input || stated.is_some() {
        return;
    }
    assert_eq!(position(&extended), Some(id), "what was added is read");
    fields.push(("pos".encode_utf16().collect(), Js::text(&id.to_string())));
    assert_eq!(parse_msgpack(&extended).value(), Some(Js::Object(fields)));
}
