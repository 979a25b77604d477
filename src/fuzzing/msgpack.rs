//! Which msgpack the engine passes to a decoder: all that JS decodes, and nothing that makes the
//! decoder allocate much.
//! much.

use super::js::{Parsed, parse_msgpack};
use crate::engine::wire::is_msgpack;

/// The input is a message's msgpack.
pub(crate) fn run(input: &[u8]) {
    let is_taken = is_msgpack(input);
    match parse_msgpack(input) {
        Parsed::Value(_) => assert!(is_taken, "JS decodes it"),
        // JS refuses some messages that are complete, such as maps with objects as keys.
        Parsed::Throws | Parsed::Unjudged => {}
    }
    if is_taken {
        assert!(room(input) <= input.len(), "a decoder would make more room than that");
    }
}

/// The number of elements for which a decoder makes room before it finds that one is missing: the
/// sum of all lengths in the headers of containers.
fn room(input: &[u8]) -> usize {
    let (mut at, mut room) = (0, 0);
    while let Some(first) = input.get(at) {
        let number = |size: usize| {
            let bytes = input.get(at + 1..).unwrap_or_default().iter().chain(std::iter::repeat(&0));
            bytes.take(size).fold(0, |number, byte| number << 8 | usize::from(*byte))
        };
        let (length, elements) = match first {
            0x80..=0x9f => (1, usize::from(first & 0xf)),
            0xdc | 0xde => (3, number(2)),
            0xdd | 0xdf => (5, number(4)),
            0xa0..=0xbf => (1 + usize::from(first & 0x1f), 0),
            0xc4 | 0xd9 => (2 + number(1), 0),
            0xc5 | 0xda => (3 + number(2), 0),
            0xc6 | 0xdb => (5 + number(4), 0),
            0xc7 => (3 + number(1), 0),
            0xc8 => (4 + number(2), 0),
            0xc9 => (6 + number(4), 0),
            0xcc | 0xd0 => (2, 0),
            0xcd | 0xd1 | 0xd4 => (3, 0),
            0xd5 => (4, 0),
            0xca | 0xce | 0xd2 => (5, 0),
            0xd6 => (6, 0),
            0xcb | 0xcf | 0xd3 => (9, 0),
            0xd7 => (10, 0),
            0xd8 => (18, 0),
            _ => (1, 0),
        };
        at += length;
        room += elements;
    }
    room
}
