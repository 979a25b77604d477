//! Notices what XREAD does not show: that the stream was trimmed past us, was deleted, or fell
//! back.
//!
//! XREAD returns no entries with lower IDs, which new entries may have after a DEL, and trimming
//! leaves no trace. So the writer compares the stream's ends with our position about once a second.

use redis::{FromRedisValue, Value};

use super::{read_entries, tail};
use crate::engine::error::{Error, Result};
use crate::engine::redis::RawConnection;
use crate::engine::wire::EntryId;

/// A stream's state as the server sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) first: EntryId,
    pub(crate) last: EntryId,
    /// How many entries the stream has; `None` if Redis refuses XINFO.
    pub(crate) length: Option<u64>,
    /// How many entries were ever added to the stream; `None` if the server does not report it (it
    /// does since Redis 7.0).
    pub(crate) added: Option<u64>,
}

/// What is known of a stream between two checks.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    added: Option<u64>,
    /// How many entries the stream had that we did not read, at the last check at which we had read
    /// everything. While it is the same stream, this number does not fall.
    not_read: Option<i64>,
}

/// What a check has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nothing unexpected.
    Sound,
    /// The first entry is behind our position: if there were entries between, they are gone.
    Trimmed,
    /// The stream is gone, or it is another one than before.
    Deleted,
    /// The last entry is before our position: a replica without the latest entries took over, or
    /// the clock went back.
    FellBack,
}

impl Watch {
    /// Compares the stream (`None` if it is empty) with our position and with the number of entries
    /// that we have read. All of them must be of the same moment.
    pub(crate) fn compare(&mut self, ends: Option<Ends>, position: EntryId, read: u64) -> Finding {
        let finding = self.judge(ends, position, read);
        if finding != Finding::Sound {
            self.not_read = None;
        }
        finding
    }

    fn judge(&mut self, ends: Option<Ends>, position: EntryId, read: u64) -> Finding {
        let added_before = std::mem::replace(&mut self.added, ends.and_then(|ends| ends.added));
        let Some(Ends { first, last, added, .. }) = ends else {
            return if position == EntryId::ZERO { Finding::Sound } else { Finding::Deleted };
        };
        if last < position {
            return Finding::FellBack;
        }
        // While it is the same stream, this number does not fall.
        if added_before.zip(added).is_some_and(|(before, now)| now < before) {
            return Finding::Deleted;
        }
        if first > position && position != EntryId::ZERO {
            return Finding::Trimmed;
        }
        if let Some(added) = added
            && last == position
        {
            let not_read = added as i64 - read as i64;
            if self.not_read.replace(not_read).is_some_and(|before| not_read < before) {
                return Finding::Deleted;
            }
        }
        Finding::Sound
    }
}

/// A stream's state, and about how many bytes the answer had: it holds the first and the last entry
/// whole.
pub(crate) type Answer = (Option<Ends>, usize);

/// Asks for a stream's state; `None` if it is empty or does not exist.
pub(crate) async fn ends(connection: &mut RawConnection, key: &str) -> Result<Answer> {
    let mut info = redis::cmd("XINFO");
    info.arg("STREAM").arg(key);
    match connection.send("XINFO", key, &info).await {
        Err(Error::Refused { reason, .. }) if reason.contains("no such key") => Ok((None, 0)),
        reply => {
            let reply = reply?;
            let bytes = bytes_of(&reply);
            Ok((parse_info(reply)?, bytes))
        }
    }
}

/// Whether the key exists, by a command whose reply holds no entry: for a stream, XRANGE replies
/// with nil if it is asked for none, and without a key with an empty array. False if in doubt.
pub(crate) async fn exists(connection: &mut RawConnection, key: &str) -> Result<bool> {
    let mut none = redis::cmd("XRANGE");
    none.arg(key).arg("-").arg("+").arg("COUNT").arg(0);
    match connection.send("XRANGE", key, &none).await {
        Err(error) if error.connection_survives() => Ok(false),
        reply => Ok(reply? == Value::Nil),
    }
}

fn bytes_of(value: &Value) -> usize {
    match value {
        Value::BulkString(bytes) => bytes.len(),
        Value::Array(values) => values.iter().map(bytes_of).sum(),
        _ => 0,
    }
}

/// The same by XRANGE and XREVRANGE, without counts. For servers that refuse XINFO.
pub(crate) async fn ends_by_range(connection: &mut RawConnection, key: &str) -> Result<Answer> {
    let first = read_entries(connection, key, EntryId::ZERO, None, 1).await?;
    let last = tail(connection, key).await?;
    let ends = first.first().zip(last);
    let bytes: usize = first.iter().flat_map(|entry| &entry.fields).map(bytes_of).sum();
    let ends = ends.map(|(first, last)| Ends { first: first.id, last, length: None, added: None });
    // The last entry is likely to be as large.
    Ok((ends, 2 * bytes))
}

/// Parses `[name, value, …]`. The first and the last entry are `[id, fields]`, or nil.
pub(crate) fn parse_info(reply: Value) -> Result<Option<Ends>> {
    let odd = |reason: &str| Error::Protocol { command: "XINFO", reason: reason.to_owned() };
    let Value::Array(fields) = reply else { return Err(odd("no array")) };
    let (mut first, mut last) = (None, None);
    let (mut length, mut added) = (None, None);
    for pair in fields.chunks_exact(2) {
        let [Value::BulkString(name), value] = pair else { return Err(odd("no name")) };
        match name.as_slice() {
            b"first-entry" => first = entry_id(value),
            b"last-entry" => last = entry_id(value),
            b"length" => length = u64::from_redis_value_ref(value).ok(),
            b"entries-added" => added = u64::from_redis_value_ref(value).ok(),
            _ => {}
        }
    }
    Ok(first.zip(last).map(|(first, last)| Ends { first, last, length, added }))
}

fn entry_id(entry: &Value) -> Option<EntryId> {
    let Value::Array(entry) = entry else { return None };
    let Some(Value::BulkString(id)) = entry.first() else { return None };
    EntryId::from_bytes(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    fn ends(first: u64, last: u64, added: u64) -> Option<Ends> {
        Some(Ends { first: id(first), last: id(last), length: Some(2), added: Some(added) })
    }

    #[test]
    fn a_stream_that_grows_and_is_trimmed_is_sound() {
        let mut watch = Watch::default();
        assert_eq!(watch.compare(None, EntryId::ZERO, 0), Finding::Sound);
        assert_eq!(watch.compare(ends(1, 5, 5), id(5), 5), Finding::Sound);
        assert_eq!(watch.compare(ends(1, 9, 9), id(7), 7), Finding::Sound);
        assert_eq!(watch.compare(ends(50, 200, 200), id(60), 60), Finding::Sound);
        assert_eq!(watch.compare(ends(50, 200, 200), id(200), 200), Finding::Sound);
    }

    #[test]
    fn what_went_wrong_is_told_apart() {
        let mut watch = Watch::default();
        watch.compare(ends(1, 5, 5), id(5), 5);
        assert_eq!(watch.compare(None, id(5), 5), Finding::Deleted);
        assert_eq!(watch.compare(ends(6, 7, 2), id(7), 7), Finding::Sound);
        // Deleted and written again between two checks, with fewer entries and with more.
        assert_eq!(watch.compare(ends(8, 8, 1), id(8), 8), Finding::Deleted);
        assert_eq!(watch.compare(ends(8, 9, 2), id(9), 9), Finding::Sound);
        assert_eq!(watch.compare(ends(10, 30, 20), id(30), 29), Finding::Deleted);
        assert_eq!(watch.compare(ends(1, 3, 20), id(30), 29), Finding::FellBack);
        assert_eq!(watch.compare(ends(40, 50, 29), id(30), 29), Finding::Trimmed);
    }

    #[test]
    fn servers_that_do_not_count_raise_no_alarm() {
        let mut watch = Watch::default();
        let old = |first, last| {
            Some(Ends { first: id(first), last: id(last), length: Some(2), added: None })
        };
        assert_eq!(watch.compare(old(1, 5), id(5), 5), Finding::Sound);
        assert_eq!(watch.compare(old(8, 9), id(9), 9), Finding::Sound);
    }

    #[test]
    fn replies_of_xinfo() {
        let string = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let entry = |id: &str| Value::Array(vec![string(id), Value::Array(vec![])]);
        let reply = Value::Array(vec![
            string("length"),
            Value::Int(2),
            string("entries-added"),
            Value::Int(7),
            string("first-entry"),
            entry("1-0"),
            string("last-entry"),
            entry("5-0"),
        ]);
        assert_eq!(parse_info(reply).unwrap(), ends(1, 5, 7));
        let empty = Value::Array(vec![string("first-entry"), Value::Nil]);
        assert_eq!(parse_info(empty).unwrap(), None);
        assert!(parse_info(Value::Okay).is_err());
    }
}
