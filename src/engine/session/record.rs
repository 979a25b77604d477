//! The records of a client's session: fields of a hash, by generation. Each restore begins a new
//! generation, so a node that did not notice the restore can only write under an older one, and
//! nobody reads that any more.
//!
//! A record is a line of text and the session, msgpack; a generation whose client has gone has an
//! empty one.

use std::time::Duration;

use redis::Value;

use crate::engine::wire::{EntryId, is_msgpack};

/// Numbers the restores of a session; a session begins with 1.
pub(crate) type Generation = u32;
/// Nothing that a node of ours saves has an earlier one.
pub(super) const FIRST: Generation = 1;
/// Of a session that upstream, or the user's own code, has saved.
pub(super) const NOT_OURS: Generation = 0;

/// How long the records of a session live without being written again, beyond the time for which
/// the session is honoured. A node writes them again in half of this time.
pub(super) const RECORD_LIFE: Duration = Duration::from_secs(60 * 60);

/// A session whose client is connected to a node, or was when the node died.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The uid of the node.
    pub(super) owner: String,
    /// Set while the node restores the session: the offset with which the client came. If the
    /// node dies now, nobody knows what it has sent to a client that comes back with this offset.
    pub(super) restoring_from: Option<EntryId>,
    /// msgpack of `{sid, pid, rooms, data, …}`.
    pub(super) session: Vec<u8>,
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { owner, restoring_from, session } = self;
        let line = match restoring_from {
            None => format!("connected {owner}\n"),
            Some(offset) => format!("restoring {owner} {offset}\n"),
        };
        [line.as_bytes(), session].concat()
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let end = value.iter().position(|byte| *byte == b'\n')?;
        let (line, session) = (std::str::from_utf8(&value[..end]).ok()?, &value[end + 1..]);
        let mut words = line.split(' ');
        let (state, owner) = (words.next()?, words.next()?.to_owned());
        let restoring_from = match state {
            "connected" => None,
            "restoring" => Some(words.next()?.parse().ok()?),
            _ => return None,
        };
        is_msgpack(session).then(|| Self { owner, restoring_from, session: session.to_vec() })
    }
}

/// The record of a session whose client has gone. Kept only to tell when the session expires.
pub(super) fn ended(session: &[u8]) -> Vec<u8> {
    [b"ended\n", session].concat()
}

/// The record of a session that has expired. The node `uid` tells so.
pub(super) fn expired(uid: &str, session: &[u8]) -> Vec<u8> {
    [b"expired ", uid.as_bytes(), b"\n", session].concat()
}

/// The record of a restore that has claimed a session, if the sessions of connected clients are not
/// kept. `restore` names it.
pub(super) fn claimed(restore: &str) -> Vec<u8> {
    format!("claimed {restore}\n").into_bytes()
}

/// What has become of the session of one generation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Last {
    Connected(Record),
    Ended(Vec<u8>),
    /// This node has claimed the session, and has not told so yet.
    Claimed(Vec<u8>),
    Other,
}

/// The same, by a reply to HGETALL. `uid` is this node's.
pub(super) fn last_of(reply: &Value, generation: Generation, uid: &str) -> Last {
    let Some((newest, value)) = fields_of(reply).max_by_key(|(generation, _)| *generation) else {
        return Last::Other;
    };
    let behind = |line: &[u8]| value.strip_prefix(line).map(<[u8]>::to_vec);
    if newest == generation {
        let record = Record::decode(value).map(Last::Connected);
        record.or_else(|| behind(b"ended\n").map(Last::Ended)).unwrap_or(Last::Other)
    } else if newest == generation + 1 {
        behind(&expired(uid, b"")).map_or(Last::Other, Last::Claimed)
    } else {
        Last::Other
    }
}

/// The newest generation in a reply to HGETALL, and its record; `None` for the record if the client
/// has gone. Without any generation it is 0.
pub(super) fn newest(reply: &Value) -> (Generation, Option<Record>) {
    let newest = fields_of(reply).max_by_key(|(generation, _)| *generation);
    newest.map_or((0, None), |(generation, value)| (generation, Record::decode(value)))
}

/// Who has the client of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// No node has begun a later generation.
    ThisNode,
    /// One has.
    AnotherNode,
    /// It has expired, as another node has told: this node showed no sign of life for long.
    Nobody,
}

/// Who has the client that this node had in `generation`, by a reply to HGETALL.
pub(super) fn holder(reply: &Value, generation: Generation) -> Holder {
    match fields_of(reply).max_by_key(|(generation, _)| *generation) {
        Some((newest, value)) if newest > generation => {
            if value.starts_with(b"expired ") {
                Holder::Nobody
            } else {
                Holder::AnotherNode
            }
        }
        _ => Holder::ThisNode,
    }
}

/// Whether the newest generation in a reply to HGETALL has this value.
pub(super) fn is_newest(reply: &Value, value: &[u8]) -> bool {
    let newest = fields_of(reply).max_by_key(|(generation, _)| *generation);
    newest.is_some_and(|(_, newest)| newest == value)
}

fn fields_of<'a>(reply: &'a Value) -> impl Iterator<Item = (Generation, &'a [u8])> {
    let pairs: Vec<(&Value, &Value)> = match reply {
        Value::Map(pairs) => pairs.iter().map(|(field, value)| (field, value)).collect(),
        Value::Array(flat) => flat.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect(),
        _ => Vec::new(),
    };
    let field = |(field, value): (&'a Value, &'a Value)| match value {
        Value::BulkString(bytes) => Some((generation(field)?, bytes.as_slice())),
        _ => None,
    };
    pairs.into_iter().filter_map(field)
}

fn generation(field: &Value) -> Option<Generation> {
    match field {
        Value::BulkString(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::id;

    fn bulk(bytes: &[u8]) -> Value {
        Value::BulkString(bytes.to_vec())
    }

    #[test]
    fn round_trip() {
        for restoring_from in [None, Some(id(7))] {
            let record =
                Record { owner: "0123".into(), restoring_from, session: b"\x81\xa3sid\x0a".into() };
            assert_eq!(Record::decode(&record.encode()), Some(record));
        }
        for odd in [&b""[..], b"\n", b"connected\n\x80", b"gone a\n\x80", b"connected a\n\xc1"] {
            assert_eq!(Record::decode(odd), None);
        }
    }

    #[test]
    fn what_has_become_of_a_generation() {
        let field = |generation: &str, value: &[u8]| [bulk(generation.as_bytes()), bulk(value)];
        let last = |fields: &[[Value; 2]]| last_of(&Value::Array(fields.concat()), 2, "me");
        let ended = field("2", &ended(b"\x80"));
        assert_eq!(last(std::slice::from_ref(&ended)), Last::Ended(b"\x80".into()));
        assert!(matches!(last(&[field("2", b"connected a\n\x80")]), Last::Connected(_)));
        let claimed = [ended.clone(), field("3", &expired("me", b"\x80"))];
        assert_eq!(last(&claimed), Last::Claimed(b"\x80".into()));
        for other in [expired("other", b"\x80"), b"".to_vec(), b"connected a\n\x80".to_vec()] {
            assert_eq!(last(&[ended.clone(), field("3", &other)]), Last::Other);
        }
        for odd in [vec![], vec![field("1", b"ended\n\x80")], vec![field("2", b"")]] {
            assert_eq!(last(&odd), Last::Other);
        }
        assert_eq!(last(&[field("4", &expired("me", b"\x80"))]), Last::Other);
    }

    #[test]
    fn who_has_the_client_of_a_generation() {
        let of = |fields: &[(&str, &[u8])]| {
            let fields =
                fields.iter().flat_map(|(field, value)| [bulk(field.as_bytes()), bulk(value)]);
            holder(&Value::Array(fields.collect()), 2)
        };
        assert_eq!(of(&[]), Holder::ThisNode);
        assert_eq!(of(&[("1", b""), ("2", b"connected a\n\x80")]), Holder::ThisNode);
        assert_eq!(of(&[("2", b""), ("3", b"restoring a 7-0\n\x80")]), Holder::AnotherNode);
        assert_eq!(of(&[("10", b"")]), Holder::AnotherNode);
        assert_eq!(of(&[("3", &expired("a", b"\x80"))]), Holder::Nobody);
    }

    #[test]
    fn the_newest_generation_counts_by_number() {
        let record = Record { owner: "b".into(), restoring_from: None, session: b"\x80".into() };
        let pairs =
            [(bulk(b"9"), bulk(b"connected a\n\x80")), (bulk(b"10"), bulk(&record.encode()))];
        let flat = pairs.iter().flat_map(|(field, value)| [field.clone(), value.clone()]);
        let flat = Value::Array(flat.collect());
        assert_eq!(newest(&flat), (10, Some(record)));
        assert_eq!(newest(&Value::Map(pairs.into())).0, 10);
        let gone = Value::Array(vec![bulk(b"3"), bulk(b""), bulk(b"x"), bulk(b"y")]);
        assert_eq!(newest(&gone), (3, None));
        assert_eq!(newest(&Value::Array(Vec::new())), (0, None));
    }
}
