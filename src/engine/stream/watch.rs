//! Notices what XREAD does not show: that the stream was trimmed past us, was deleted, or fell
//! back.
//!
//! XREAD returns no entries with lower IDs, which new entries may have after a DEL, and trimming
//! leaves no trace. So the writer asks for the stream's ends about once a second and compares them
//! with our position. Redis also reports how many entries were ever added to the stream. When the
//! reader gets to the end that the writer has seen, that number shows whether any were lost.

use std::collections::VecDeque;

use redis::{FromRedisValue, Value};

use super::{read_entries, tail};
use crate::engine::error::{Error, Result};
use crate::engine::redis::RawConnection;
use crate::engine::wire::EntryId;

/// A stream's state as the server sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The first entry. If the stream exists and has no entry, the ID behind `last`.
    pub(crate) first: EntryId,
    /// The highest ID that the stream has had. All entries up to it have been there, even if they
    /// are gone.
    pub(crate) last: EntryId,
    /// How many entries the stream has; `None` if Redis refuses XINFO.
    pub(crate) length: Option<u64>,
    /// How many entries were ever added to the stream; `None` if the server does not report it (it
    /// does since Redis 7.0).
    pub(crate) added: Option<u64>,
}

/// The most counts that wait for the reader.
const WAITING: usize = 8;

/// Compares how many entries were added to the stream with how many the reader has read. When the
/// reader has just read all entries up to the end that a check has seen, the difference is the
/// number of entries that it never read. While it is the same stream, this number does not fall,
/// unless entries that are gone with their master were written again. If it rises, entries were lost.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// At the last check.
    added: Option<u64>,
    /// What checks have seen, for when the reader gets there, in order.
    waiting: VecDeque<Count>,
    /// How many entries were not read, at the last comparison.
    not_read: Option<i64>,
    /// How many entries were reported since then because sequences have shown that they are missing.
    told: u64,
    /// How many entries were reported that sequences have not shown yet, and may show later.
    ahead: u64,
    /// How many entries since then doubled earlier ones. The earlier ones may have been read from a
    /// master that another server has replaced: the number that it reports does not count them.
    doubled: u64,
}

/// What a check has seen.
#[derive(Debug, Clone, Copy)]
struct Count {
    last: EntryId,
    added: u64,
    /// The reader's position at the first check that has seen this.
    position: EntryId,
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
    /// The stream has ended before our position: a replica without the latest entries took over, or
    /// the clock went back.
    FellBack,
}

/// What a comparison of numbers has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// This many entries were lost, beside those that sequences have shown. Zero if none were.
    Lost(u64),
    /// It is another stream.
    OtherStream,
}

impl Watch {
    /// Whether the next comparison shows a loss: the server reports how many entries were added, and
    /// there was a first comparison.
    pub(crate) fn counts(&self) -> bool {
        self.added.is_some() && self.not_read.is_some()
    }

    /// Starts over, since it is another stream, or since the reader has changed its position.
    pub(crate) fn start_over(&mut self) {
        self.waiting.clear();
        self.not_read = None;
        (self.told, self.ahead, self.doubled) = (0, 0, 0);
    }

    /// Compares the stream (`None` if it does not exist) with the position that the reader had
    /// before Redis was asked.
    pub(crate) fn compare(&mut self, ends: Option<Ends>, position: EntryId) -> Finding {
        let finding = self.judge(ends, position);
        if matches!(finding, Finding::Deleted | Finding::FellBack) {
            self.start_over();
        }
        finding
    }

    fn judge(&mut self, ends: Option<Ends>, position: EntryId) -> Finding {
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
        if first > position && last > position && position != EntryId::ZERO {
            return Finding::Trimmed;
        }
        Finding::Sound
    }

    /// Takes what a check has seen, for when the reader gets to the end that it saw. `position` and
    /// `read` (a number of entries) are how far the reader has read by now.
    pub(crate) fn expect(&mut self, ends: Ends, position: EntryId, read: u64) -> Counted {
        let Ends { first, last, added: Some(added), .. } = ends else {
            return Counted::Lost(0);
        };
        if last == position {
            return self.count(added, read);
        }
        // The same as a check of a second ago, and the reader has not got any further: what it has
        // not read is gone, and nothing comes that would take it further.
        let is_same =
            |count: &Count| (count.last, count.added, count.position) == (last, added, position);
        if first > last && self.waiting.back().is_some_and(is_same) {
            self.waiting.clear();
            return self.count(added, read);
        }
        if last > position
            && self.waiting.len() < WAITING
            && self.waiting.back().is_none_or(|count| count.last < last)
        {
            self.waiting.push_back(Count { last, added, position });
        }
        Counted::Lost(0)
    }

    /// Tells that the reader has read `read` entries, all before `id`, which comes next.
    pub(crate) fn comes_to(&mut self, id: EntryId, read: u64) -> Counted {
        let mut counted = Counted::Lost(0);
        while let Some(count) = self.waiting.pop_front_if(|count| count.last < id) {
            counted = counted.and(self.count(count.added, read));
        }
        counted
    }

    /// Notes a gap in a writer's sequences. Returns how many of these entries were not reported yet.
    pub(crate) fn gap(&mut self, missing: u64) -> u64 {
        let known = self.ahead.min(missing);
        self.ahead -= known;
        let new = missing - known;
        self.told = self.told.saturating_add(new);
        new
    }

    /// Notes that the reader has read an entry which doubles an earlier one.
    pub(crate) fn doubled(&mut self) {
        self.doubled += 1;
    }

    fn count(&mut self, added: u64, read: u64) -> Counted {
        let not_read = added as i64 - read as i64;
        let (told, doubled) = (std::mem::take(&mut self.told), std::mem::take(&mut self.doubled));
        let Some(before) = self.not_read.replace(not_read) else { return Counted::Lost(0) };
        let lost = match u64::try_from(not_read - before) {
            Ok(lost) => lost,
            Err(_) if (before - not_read).unsigned_abs() <= doubled => 0,
            Err(_) => {
                self.start_over();
                return Counted::OtherStream;
            }
        };
        let lost = lost.saturating_sub(told);
        self.ahead += lost;
        Counted::Lost(lost)
    }
}

impl Counted {
    /// How many entries were lost.
    pub(crate) fn lost(self) -> u64 {
        match self {
            Self::Lost(lost) => lost,
            Self::OtherStream => 0,
        }
    }

    /// Both of two comparisons.
    pub(crate) fn and(self, later: Self) -> Self {
        match (self, later) {
            (Self::Lost(before), Self::Lost(lost)) => Self::Lost(before + lost),
            _ => Self::OtherStream,
        }
    }
}

/// A stream's state, and about how many bytes the answer had: it holds the first and the last entry
/// whole.
pub(crate) type Answer = (Option<Ends>, usize);

/// Asks for a stream's state; `None` if it does not exist.
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
    let (mut first, mut last, mut generated) = (None, None, None);
    let (mut length, mut added) = (None, None);
    for pair in fields.chunks_exact(2) {
        let [Value::BulkString(name), value] = pair else { return Err(odd("no name")) };
        match name.as_slice() {
            b"first-entry" => first = entry_id(value),
            b"last-entry" => last = entry_id(value),
            b"last-generated-id" => generated = string_id(value),
            b"length" => length = u64::from_redis_value_ref(value).ok(),
            b"entries-added" => added = u64::from_redis_value_ref(value).ok(),
            _ => {}
        }
    }
    let last = last.max(generated);
    Ok(last.map(|last| Ends { first: first.unwrap_or(last.next()), last, length, added }))
}

fn entry_id(entry: &Value) -> Option<EntryId> {
    let Value::Array(entry) = entry else { return None };
    string_id(entry.first()?)
}

fn string_id(id: &Value) -> Option<EntryId> {
    let Value::BulkString(id) = id else { return None };
    EntryId::from_bytes(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    fn ends(first: u64, last: u64, added: u64) -> Ends {
        Ends { first: id(first), last: id(last), length: Some(2), added: Some(added) }
    }

    /// A watch of a reader that has read all of five entries.
    fn at_five() -> Watch {
        let mut watch = Watch::default();
        assert_eq!(watch.compare(Some(ends(1, 5, 5)), id(5)), Finding::Sound);
        assert_eq!(watch.expect(ends(1, 5, 5), id(5), 5), Counted::Lost(0));
        watch
    }

    #[test]
    fn a_stream_that_grows_and_is_trimmed_is_sound() {
        let mut watch = Watch::default();
        let mut compare = |ends, position| watch.compare(ends, id(position));
        assert_eq!(compare(None, 0), Finding::Sound);
        assert_eq!(compare(Some(ends(1, 5, 5)), 5), Finding::Sound);
        assert_eq!(compare(Some(ends(1, 9, 9)), 7), Finding::Sound);
        assert_eq!(compare(Some(ends(50, 200, 200)), 60), Finding::Sound);
        assert_eq!(compare(Some(ends(50, 200, 200)), 200), Finding::Sound);
        assert_eq!(compare(Some(ends(201, 200, 200)), 200), Finding::Sound, "it is empty");
    }

    #[test]
    fn what_went_wrong_is_told_apart() {
        let compare = |ends, position| at_five().compare(ends, id(position));
        assert_eq!(compare(None, 5), Finding::Deleted);
        assert_eq!(compare(Some(ends(6, 7, 2)), 5), Finding::Deleted);
        assert_eq!(compare(Some(ends(1, 3, 20)), 5), Finding::FellBack);
        assert_eq!(compare(Some(ends(8, 9, 9)), 5), Finding::Trimmed);
        assert_eq!(compare(Some(ends(10, 9, 9)), 5), Finding::Trimmed, "it is empty");
    }

    #[test]
    fn what_was_never_read_is_counted_when_the_reader_gets_there() {
        let mut watch = at_five();
        // The stream goes on to 20, and 3 of its entries are gone before they were read.
        assert_eq!(watch.expect(ends(1, 20, 20), id(7), 7), Counted::Lost(0));
        assert_eq!(watch.comes_to(id(15), 9), Counted::Lost(0));
        assert_eq!(watch.comes_to(id(20), 16), Counted::Lost(0));
        assert_eq!(watch.comes_to(id(21), 17), Counted::Lost(3));
        // Nothing more was lost up to 30.
        watch.expect(ends(1, 25, 25), id(21), 18);
        watch.expect(ends(1, 30, 30), id(21), 18);
        assert_eq!(watch.comes_to(id(26), 22), Counted::Lost(0));
        assert_eq!(watch.comes_to(id(31), 27), Counted::Lost(0));
        // Then everything up to 40, and two checks are counted at once.
        watch.expect(ends(1, 35, 35), id(30), 27);
        watch.expect(ends(1, 40, 40), id(30), 27);
        assert_eq!(watch.comes_to(id(41), 27), Counted::Lost(10));
    }

    #[test]
    fn another_stream_shows_by_its_number_too() {
        let mut watch = at_five();
        // The stream was deleted after its fifth entry, and has had ten others since.
        watch.expect(ends(6, 15, 10), id(8), 8);
        assert_eq!(watch.comes_to(id(16), 15), Counted::OtherStream);
        watch.expect(ends(6, 20, 15), id(16), 16);
        assert_eq!(
            watch.comes_to(id(21), 20),
            Counted::Lost(0),
            "from here on it is compared anew"
        );
        watch.expect(ends(6, 22, 17), id(21), 21);
        assert_eq!(watch.comes_to(id(23), 21), Counted::Lost(1));
    }

    #[test]
    fn what_was_written_again_by_another_master_is_no_sign_of_another_stream() {
        let mut watch = at_five();
        // Two entries of a master that is gone were read as 6 and 7, and come again as 8 and 9.
        (0..2).for_each(|_| watch.doubled());
        assert_eq!(watch.expect(ends(1, 9, 7), id(9), 9), Counted::Lost(0));
        watch.expect(ends(1, 12, 10), id(9), 9);
        assert_eq!(
            watch.comes_to(id(13), 11),
            Counted::Lost(1),
            "from then on it counts as before"
        );
        // One that is doubled explains one.
        watch.doubled();
        watch.expect(ends(1, 15, 11), id(15), 13);
        watch.doubled();
        assert_eq!(watch.expect(ends(1, 16, 11), id(16), 15), Counted::OtherStream);
        // Those of before a comparison explain nothing behind it.
        let mut watch = at_five();
        watch.doubled();
        assert_eq!(watch.expect(ends(1, 7, 7), id(7), 7), Counted::Lost(0));
        assert_eq!(watch.expect(ends(1, 8, 7), id(8), 8), Counted::OtherStream);
    }

    #[test]
    fn what_sequences_have_told_is_not_reported_again() {
        let mut watch = at_five();
        assert_eq!(watch.gap(2), 2);
        watch.expect(ends(1, 20, 20), id(8), 6);
        assert_eq!(watch.comes_to(id(21), 17), Counted::Lost(1), "3 are missing");
        // The one that was reported may be of a writer that writes again only now.
        assert_eq!((watch.gap(1), watch.gap(1)), (0, 1));
        watch.expect(ends(1, 30, 30), id(25), 21);
        assert_eq!(watch.comes_to(id(31), 26), Counted::Lost(0), "1 more is missing");
    }

    #[test]
    fn what_is_missing_of_an_emptied_stream_is_known_with_the_second_check() {
        let mut watch = at_five();
        assert_eq!(watch.expect(ends(10, 9, 9), id(5), 5), Counted::Lost(0));
        assert_eq!(watch.expect(ends(10, 9, 9), id(5), 5), Counted::Lost(4));
        assert_eq!(watch.expect(ends(10, 9, 9), id(5), 5), Counted::Lost(0));
        assert_eq!(watch.expect(ends(10, 9, 9), id(5), 5), Counted::Lost(0));
        // Its entries were on their way.
        let mut watch = at_five();
        watch.expect(ends(10, 9, 9), id(5), 5);
        assert_eq!(watch.expect(ends(10, 9, 9), id(9), 9), Counted::Lost(0));
    }

    #[test]
    fn servers_that_do_not_count_raise_no_alarm() {
        let mut watch = Watch::default();
        let old = |first, last| Ends { added: None, ..ends(first, last, 0) };
        for ends in [old(1, 5), old(8, 9)] {
            assert_eq!(watch.compare(Some(ends), ends.last), Finding::Sound);
            assert_eq!(watch.expect(ends, ends.last, 1), Counted::Lost(0));
        }
        assert!(!watch.counts());
    }

    #[test]
    fn replies_of_xinfo() {
        let string = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let entry = |id: &str| Value::Array(vec![string(id), Value::Array(vec![])]);
        let reply = |generated: &str, first: Value, last: Value| {
            let fields = [
                [string("length"), Value::Int(2)],
                [string("last-generated-id"), string(generated)],
                [string("entries-added"), Value::Int(7)],
                [string("first-entry"), first],
                [string("last-entry"), last],
            ];
            parse_info(Value::Array(fields.concat())).unwrap()
        };
        assert_eq!(reply("5-0", entry("1-0"), entry("5-0")), Some(ends(1, 5, 7)));
        assert_eq!(reply("6-0", entry("1-0"), entry("5-0")), Some(ends(1, 6, 7)), "6 was deleted");
        let empty = Ends { first: id(5).next(), ..ends(0, 5, 7) };
        assert_eq!(reply("5-0", Value::Nil, Value::Nil), Some(empty));
        let none = Value::Array(vec![string("first-entry"), Value::Nil]);
        assert_eq!(parse_info(none).unwrap(), None);
        assert!(parse_info(Value::Okay).is_err());
    }
}
