//! PUB/SUB messages: the sender adds its position and the identity of its streams, and the receiver
//! reads them.

use super::dice;
use super::js::{Js, parse_msgpack};
use crate::engine::wire::{EntryId, request_head, with_request_head};

/// The input is a message as it was published.
pub(crate) fn run(input: &[u8]) {
    let mut dice = dice(input);
    let id = EntryId { ms: dice.u64(..) >> dice.u8(..64), seq: dice.u64(..) >> dice.u8(..64) };
    let stream = "0/é/1".repeat(dice.usize(..20));
    let (read, nothing) = (request_head(input), request_head(b""));
    let extended = with_request_head(input.to_vec(), id, &stream);
    if !matches!(input.first(), Some(0x80..=0x8d)) {
        assert_eq!(extended, input, "no map of up to 13 fields");
    }
    let Some(message) = parse_msgpack(input).value() else { return };
    let Js::Object(mut fields) = message.clone() else {
        return assert_eq!(read, nothing, "no object");
    };
    let stated = [message.get("uid"), message.get("pos"), message.get("stream")];
    if !message.is_plain() || stated.iter().any(|field| matches!(field, Some(Js::Bytes(_)))) {
        // No node writes such a message. `request_head` reads a string in bytes all the same.
        return;
    }
    let can_read = |field: &Option<&Js>| matches!(field, None | Some(Js::Null | Js::Text(_)));
    let [uid, pos, named] = stated.map(|field| field.and_then(Js::as_text));
    let is_readable = stated.iter().all(can_read);
    if is_readable {
        assert_eq!(read.uid, uid.as_deref());
        assert_eq!(read.position, pos.and_then(|pos| pos.parse().ok()));
        assert_eq!(read.stream, named.as_deref());
    } else {
        assert_eq!(read, nothing);
    }
    if extended == input || stated[1..].iter().any(Option::is_some) || !is_readable {
        return;
    }
    let added = request_head(&extended);
    assert_eq!((added.position, added.stream), (Some(id), Some(&*stream)));
    for (name, value) in [("pos", &*id.to_string()), ("stream", &stream)] {
        fields.push((name.encode_utf16().collect(), Js::text(value)));
    }
    assert_eq!(parse_msgpack(&extended).value(), Some(Js::Object(fields)));
}
