//! Entries that double earlier ones, and where those were. The reader drops a double.
//!
//! A restore that reads the stream must not drop each: the first of the two may be gone. A writer whose
//! connection broke sends again what it does not find at a master that has just taken over, and this
//! node may have read it from the one before.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use crate::engine::wire::{EntryId, Origin};

/// The most doubles to remember: those of many batches.
const MOST_DOUBLES: usize = 10_000;
/// The most runs to remember: what is sent again was written within the last seconds.
const MOST_RUNS: usize = 8_192;

/// The doubles in one stream.
#[derive(Debug, Default)]
pub(crate) struct Doubles {
    /// By the ID of the double: that of the first entry. Zero if it is not known: it was read long
    /// ago, so that a master that takes over has it.
    firsts: BTreeMap<EntryId, EntryId>,
    /// What the reader has read of late.
    runs: VecDeque<Run>,
}

/// Entries of one writer in a row, such as those of a batch.
#[derive(Debug)]
struct Run {
    writer: u64,
    /// The first sequence and the first ID. Both rise by one with each entry.
    seq: u64,
    id: EntryId,
    count: u64,
}

impl Run {
    fn is_followed_by(&self, origin: Origin, id: EntryId) -> bool {
        (origin.writer, id.ms) == (self.writer, self.id.ms)
            && origin.seq.checked_sub(self.seq) == Some(self.count)
            && id.seq.checked_sub(self.id.seq) == Some(self.count)
    }

    fn id_of(&self, origin: Origin) -> Option<EntryId> {
        let place = origin.seq.checked_sub(self.seq)?;
        let is_here = origin.writer == self.writer && place < self.count;
        is_here.then(|| EntryId { ms: self.id.ms, seq: self.id.seq.saturating_add(place) })
    }
}

impl Doubles {
    /// Notes an entry that the reader has read, and that doubles none.
    pub(crate) fn read(&mut self, origin: Origin, id: EntryId) {
        let last = self.runs.back_mut().filter(|run| run.is_followed_by(origin, id));
        if let Some(run) = last {
            run.count += 1;
            return;
        }
        if self.runs.len() >= MOST_RUNS {
            self.runs.pop_front();
        }
        self.runs.push_back(Run { writer: origin.writer, seq: origin.seq, id, count: 1 });
    }

    /// Notes an entry that doubles one which the reader has read.
    pub(crate) fn met(&mut self, origin: Origin, id: EntryId) {
        let first = self.runs.iter().rev().find_map(|run| run.id_of(origin));
        self.note(id, first.unwrap_or(EntryId::ZERO));
    }

    /// Notes an entry that doubles the entry `first`. If there are more than two, the earliest counts.
    pub(crate) fn note(&mut self, id: EntryId, first: EntryId) {
        let known = self.firsts.entry(id).or_insert(first);
        *known = first.min(*known);
        if self.firsts.len() > MOST_DOUBLES {
            self.firsts.pop_first();
        }
    }

    /// Forgets everything: the IDs of the stream have fallen.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn contains(&self, id: EntryId) -> bool {
        self.firsts.contains_key(&id)
    }

    /// The doubles behind `after`, up to `end`, each with the ID of its first entry.
    pub(crate) fn between(&self, after: EntryId, end: EntryId) -> BTreeMap<EntryId, EntryId> {
        let range = (Bound::Excluded(after), Bound::Included(end.max(after.next())));
        self.firsts.range(range).map(|(id, first)| (*id, *first)).collect()
    }

    /// Behind which entry a history is whole that holds what was read behind `from`. It holds no
    /// doubles, so those are missing whose first entries it has dropped, unless the client has them
    /// (`has`).
    pub(crate) fn whole_behind(&self, from: EntryId, has: impl Fn(EntryId) -> bool) -> EntryId {
        let behind = self.firsts.range((Bound::Excluded(from), Bound::Unbounded));
        behind.fold(
            from,
            |from, (id, first)| {
                if *first <= from && !has(*first) { *id } else { from }
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> EntryId {
        EntryId { ms, seq }
    }

    fn origin(writer: u64, seq: u64) -> Origin {
        Origin { writer, seq, unconfirmed: 0 }
    }

    #[test]
    fn the_first_entry_is_known_for_a_while() {
        let mut doubles = Doubles::default();
        for place in 0..3 {
            doubles.read(origin(1, 5 + place), id(10, place));
        }
        doubles.read(origin(2, 8), id(10, 3));
        doubles.read(origin(1, 8), id(10, 4));
        doubles.read(origin(1, 9), id(12, 0));
        assert_eq!(doubles.runs.len(), 4, "a batch takes little");
        for (place, seq) in (0..5).zip(5..) {
            doubles.met(origin(1, seq), id(20, place));
        }
        doubles.met(origin(2, 7), id(20, 5));
        let firsts: Vec<_> = doubles.between(id(10, 0), id(30, 0)).into_values().collect();
        let known = [id(10, 0), id(10, 1), id(10, 2), id(10, 4), id(12, 0)];
        assert_eq!(firsts, [&known[..], &[EntryId::ZERO]].concat());

        for seq in 0..MOST_RUNS as u64 {
            doubles.read(origin(3, seq), id(100 + seq, 0));
        }
        doubles.met(origin(1, 9), id(99_999, 0));
        assert_eq!(
            doubles.between(id(99_000, 0), EntryId::MAX).into_values().next(),
            Some(EntryId::ZERO)
        );
    }

    #[test]
    fn a_history_lacks_doubles_whose_first_entries_it_has_dropped() {
        let mut doubles = Doubles::default();
        for (double, first) in [(20, 10), (21, 11), (22, 12), (40, 0)] {
            doubles.note(id(double, 0), id(first, 0));
        }
        let whole = |from, has_up_to| {
            doubles.whole_behind(id(from, 0), |first| first <= id(has_up_to, 0)).ms
        };
        assert_eq!(whole(9, 5), 9, "all of them are there");
        assert_eq!(whole(10, 5), 22, "what is behind the first double may be missing as well");
        assert_eq!(whole(10, 10), 10, "the client has the first entry");
        assert_eq!(whole(11, 10), 22);
        assert_eq!(whole(22, 5), 22, "the doubles are in what is read from the stream");
    }
}
