//! The reader's own decoder of XREAD's replies: its result is the same however the network cuts the
//! replies, and the same as that of redis-rs, also if a reply is split into parts.

use redis::Value;

use super::{dice, resp};
use crate::engine::stream::{PageEntry, page, take_part};
use crate::engine::wire::EntryId;

type Entries = Vec<(EntryId, Vec<Vec<u8>>)>;

/// The input is what a server sends.
pub(crate) fn run(input: &[u8]) {
    let whole = resp::replies([input].into_iter());
    let in_pieces = resp::replies(cut(input).into_iter());
    assert_eq!(format!("{whole:?}"), format!("{in_pieces:?}"));
    let in_bytes = resp::replies(input.chunks(1));
    assert_eq!(format!("{whole:?}"), format!("{in_bytes:?}"));
    let mut rest = input;
    // Behind an error reply, this test does not know where the next reply begins.
    for reply in whole.iter().map_while(|reply| reply.as_ref().ok()) {
        compare(reply);
        split(reply);
        assert!(rest.starts_with(reply), "nothing between the replies");
        rest = &rest[reply.len()..];
    }
}

/// Pieces of random sizes.
fn cut(mut input: &[u8]) -> Vec<&[u8]> {
    let mut dice = dice(input);
    let mut pieces = Vec::new();
    while !input.is_empty() {
        let (piece, rest) = input.split_at(dice.usize(1..=input.len().min(40)));
        pieces.push(piece);
        input = rest;
    }
    pieces
}

/// Takes a part out of the beginning of a page. The part and the rest hold the same entries.
fn split(reply: &[u8]) {
    let Ok(whole) = page(reply) else { return };
    let end = dice(reply).usize(0..=reply.len());
    let mut rest = reply[..end].to_vec();
    let Some(part) = take_part(&mut rest) else { return };
    rest.extend_from_slice(&reply[end..]);
    let (part, rest) = (page(&part).expect("a page"), page(&rest).expect("a page"));
    let fields =
        |entry: &PageEntry<'_>| (entry.id, format!("{:?}", entry.fields().collect::<Vec<_>>()));
    let parts: Vec<_> = part.iter().chain(&rest).map(fields).collect();
    assert_eq!(parts, whole.iter().map(fields).collect::<Vec<_>>());
}

/// Compares with redis-rs, which accepts more: the page may refuse what Redis would not write.
fn compare(reply: &[u8]) {
    let value = redis::parse_redis_value(reply);
    let theirs = value.as_ref().ok().and_then(entries);
    let is_canonical = value.as_ref().is_ok_and(|value| encode(value).as_deref() == Some(reply));
    match page(reply) {
        Ok(ours) => {
            let theirs = theirs.expect("redis-rs does not read a page in it");
            assert_eq!(ours.len(), theirs.len());
            for (ours, (id, strings)) in ours.iter().zip(&theirs) {
                let pairs: Vec<_> = strings.chunks_exact(2).map(|p| (&*p[0], &*p[1])).collect();
                assert_eq!(ours.id, *id);
                assert_eq!(ours.fields().collect::<Vec<_>>(), pairs);
            }
        }
        Err(error) => assert!(!is_canonical || theirs.is_none(), "refused: {error}"),
    }
}

/// The entries of a reply that is a page.
fn entries(reply: &Value) -> Option<Entries> {
    let Value::Array(streams) = reply else {
        return (*reply == Value::Nil).then(Vec::new);
    };
    let [Value::Array(stream)] = &streams[..] else { return None };
    let [Value::BulkString(_), Value::Array(entries)] = &stream[..] else { return None };
    let entry = |entry: &Value| {
        let Value::Array(pair) = entry else { return None };
        let [Value::BulkString(id), fields] = &pair[..] else { return None };
        let strings = match fields {
            Value::Array(fields) => fields.iter().map(bytes).collect::<Option<Vec<_>>>()?,
            Value::Nil => Vec::new(),
            _ => return None,
        };
        Some((std::str::from_utf8(id).ok()?.parse().ok()?, strings))
    };
    entries.iter().map(entry).collect()
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    if let Value::BulkString(bytes) = value { Some(bytes.clone()) } else { None }
}

/// Encodes a value as Redis does; `None` for a value that is no part of a page.
fn encode(value: &Value) -> Option<Vec<u8>> {
    Some(match value {
        Value::Nil => b"*-1\r\n".to_vec(),
        Value::BulkString(bytes) => resp::string(bytes),
        Value::Array(values) => {
            resp::array(&values.iter().map(encode).collect::<Option<Vec<_>>>()?)
        }
        _ => return None,
    })
}
