//! Sessions of connection state recovery.

use std::collections::BTreeMap;

use super::js::{Js, Parsed, parse_msgpack};
use crate::engine::wire::{EntryId, SessionHead, decode_session, encode_session, is_msgpack};

/// The input is a session's msgpack.
pub(crate) fn run(input: &[u8]) {
    let decoded = decode_session(encode_session(input).as_bytes());
    assert_eq!(decoded.as_deref(), is_msgpack(input).then_some(input));
    if let Some(decoded) = decode_session(input) {
        assert_eq!(encode_session(&decoded).as_bytes(), input, "one way to write a session");
    }
    let head = SessionHead::decode(input);
    let Parsed::Value(session) = parse_msgpack(input) else { return };
    let rooms = session.get("rooms").and_then(Js::elements);
    assert!(head.is_none() || rooms.is_some(), "JS finds no rooms in it");
    let Some(rooms) = rooms.filter(|_| is_usual(&session)) else { return };
    let head = head.expect("a usual session was not read");

    let since = session.get("since").and_then(Js::elements).unwrap_or_default();
    let since = |place: usize| -> EntryId {
        let id = since.get(place).and_then(Js::as_text);
        id.and_then(|id| id.parse().ok()).unwrap_or(EntryId::ZERO)
    };
    let mut named = BTreeMap::new();
    for (place, room) in rooms.iter().enumerate() {
        if let Some(name) = room.as_text() {
            let earliest = named.entry(name).or_insert_with(|| since(place));
            *earliest = since(place).min(*earliest);
        }
    }
    let ours = head.rooms.named().map(|(name, since)| (name.to_owned(), since));
    assert_eq!(ours.collect::<BTreeMap<_, _>>(), named);
    let own = session.get("sid").filter(|sid| matches!(sid, Js::Text(_)));
    let own = own.and_then(|sid| rooms.iter().position(|room| room.same(sid)));
    assert_eq!(head.began, own.map_or(EntryId::ZERO, since));
}

/// Whether a node may have written this session.
fn is_usual(session: &Js) -> bool {
    let is_text = |value: &Js| matches!(value, Js::Text(_));
    let has_since = match session.get("since") {
        None => true,
        Some(Js::Array(since)) => since.iter().all(is_text),
        Some(_) => false,
    };
    session.is_plain() && has_since && session.get("sid").is_none_or(is_text)
}
