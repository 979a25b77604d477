//! Replies that the engine decodes itself: XRANGE, XINFO, PUBSUB, CLUSTER SLOTS, CLIENT INFO, INFO.

use redis::Value;

use super::{dice, strings};
use crate::engine::address::Address;
use crate::engine::control::parse_counts;
use crate::engine::redis::{Slots, parse_identity};
use crate::engine::stream::{Ends, page, parse_entries, parse_info};
use crate::engine::wire::{EntryId, fields_of};

/// The input is a reply. Its strings, separated by unit separators, also go into replies that this
/// test makes.
pub(crate) fn run(input: &[u8]) {
    if let Ok(value) = redis::parse_redis_value(input) {
        range(input, value.clone());
        slots(&value);
        let _ = parse_info(value.clone());
        counts(value);
    }
    let strings = strings(input);
    info(&strings);
    identity(&strings);
}

/// XRANGE's entries are the same as XREAD's.
fn range(reply: &[u8], value: Value) {
    let Ok(entries) = parse_entries("XRANGE", value) else { return };
    let in_place = [b"*1\r\n*2\r\n$3\r\nkey\r\n", reply].concat();
    // redis-rs accepts more: the page may refuse what Redis would not write.
    let Ok(page) = page(&in_place) else { return };
    assert_eq!(page.len(), entries.len());
    for (ours, theirs) in page.iter().zip(&entries) {
        assert_eq!(ours.id, theirs.id);
        let theirs: Vec<_> = fields_of(&theirs.fields).collect();
        assert_eq!(ours.fields().collect::<Vec<_>>(), theirs);
    }
}

/// The master of a key is one of the nodes.
fn slots(value: &Value) {
    let writer = Address::Tcp("writer".to_owned(), 1);
    let Ok(slots) = Slots::parse(value, &writer, |address| address) else { return };
    for key in ["socket.io", "socket.io-1", "{a}", ""] {
        assert!(slots.master_of(key).is_none_or(|master| slots.nodes().contains(master)));
    }
}

/// One count for each channel.
fn counts(value: Value) {
    let expected = match &value {
        Value::Array(flat) => flat.len() / 2,
        Value::Map(pairs) => pairs.len(),
        _ => return,
    };
    if let Ok(counts) = parse_counts(value) {
        assert_eq!(counts.len(), expected);
    }
}

/// Finds a stream's ends among any other fields of the reply.
fn info(strings: &[&[u8]]) {
    let mut dice = dice(&strings.concat());
    let mut id = || EntryId { ms: dice.u64(..) >> dice.u8(..64), seq: dice.u64(..9) };
    let (first, last, added, length) = (id(), id(), id().ms >> 1, id().ms >> 1);
    let known = [&b"first-entry"[..], b"last-entry", b"entries-added", b"length"];
    let is_known = |name: &[u8]| known.contains(&name);
    let others = strings.chunks_exact(2).filter(|pair| !is_known(pair[0]));
    let mut fields: Vec<Value> =
        others.flatten().map(|bytes| Value::BulkString(bytes.to_vec())).collect();
    let name = |name: &str| Value::BulkString(name.into());
    let entry = |id: EntryId| Value::Array(vec![name(&id.to_string()), Value::Array(vec![])]);
    for (key, value) in [
        ("first-entry", entry(first)),
        ("entries-added", Value::Int(added.cast_signed())),
        ("length", Value::Int(length.cast_signed())),
        ("last-entry", entry(last)),
    ] {
        let place = dice.usize(..=fields.len() / 2) * 2;
        fields.splice(place..place, [name(key), value]);
    }
    let ends = parse_info(Value::Array(fields)).expect("XINFO's reply");
    assert_eq!(ends, Some(Ends { first, last, length: Some(length), added: Some(added) }));
}

/// Finds the identity of a connection among any other fields of the replies.
fn identity(strings: &[&[u8]]) {
    let texts: Vec<_> = strings.iter().map(|text| String::from_utf8_lossy(text)).collect();
    let more = texts.first().expect("splitting gives one");
    let server = format!("# Server\r\nrun_id:ab12\r\n{}", texts.concat());
    let identity = parse_identity(&format!("id=7 addr=1.2.3.4:5 {more}"), &server);
    let identity = identity.expect("everything is there");
    assert_eq!((&*identity.client_id, &*identity.address), ("7", "1.2.3.4:5"));
    assert_eq!(identity.run_id, "ab12");
    let _ = parse_identity(more, &texts.concat());
}
