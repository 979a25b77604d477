//! The highest sequence that the reader has met of each writer of our kind. An entry whose sequence
//! is not above it is a duplicate. If it is more than one above it, entries are missing before it,
//! unless the writer itself did not know whether they were written.

use std::collections::HashMap;

use crate::engine::wire::Origin;

/// A writer is known for as long as fewer other writers than this have written since. A writer
/// resends within seconds or never, and far fewer start in that time.
const KEPT: usize = 16_384;

/// What the sequence of an entry shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// This is the first entry of its writer that we meet: earlier ones may be missing.
    First,
    /// This is the next entry of its writer.
    Next,
    /// Sequences are missing before it of which the writer did not know whether they were written.
    Unconfirmed,
    /// This number of entries of its writer is missing before it.
    Gap(u64),
    /// We have met this sequence before.
    Duplicate,
}

/// Each writer's highest sequence, in two generations. When the young one is full, it becomes the
/// old one, and the one before that is forgotten: forgetting takes no search.
#[derive(Debug, Default)]
pub(crate) struct WriterSequences {
    young: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
}

impl WriterSequences {
    /// Compares an entry's sequence with the highest one of its writer, and takes note of it.
    pub(crate) fn step(&mut self, origin: Origin) -> Step {
        let Some(mark) = self.mark(origin.writer) else {
            self.add(origin.writer, origin.seq);
            return Step::First;
        };
        if origin.seq <= *mark {
            return Step::Duplicate;
        }
        let absent = origin.seq - *mark - 1;
        *mark = origin.seq;
        match absent.saturating_sub(origin.unconfirmed) {
            0 if absent == 0 => Step::Next,
            0 => Step::Unconfirmed,
            missing => Step::Gap(missing),
        }
    }

    /// Whether we have met an entry of this writer.
    pub(crate) fn knows(&self, writer: u64) -> bool {
        self.highest(writer).is_some()
    }

    /// The highest sequence of this writer that we have met.
    pub(crate) fn highest(&self, writer: u64) -> Option<u64> {
        self.young.get(&writer).or_else(|| self.old.get(&writer)).copied()
    }

    /// Takes over the sequences of writers that are not known here.
    pub(crate) fn learn(&mut self, from: &Self) {
        for (writer, seq) in from.old.iter().chain(&from.young) {
            if !self.knows(*writer) {
                self.add(*writer, *seq);
            }
        }
    }

    /// The highest sequence of a known writer, which becomes young.
    fn mark(&mut self, writer: u64) -> Option<&mut u64> {
        if let Some(seq) = self.old.remove(&writer) {
            self.add(writer, seq);
        }
        self.young.get_mut(&writer)
    }

    fn add(&mut self, writer: u64, seq: u64) {
        if self.young.len() >= KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(writer, seq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_and_gaps_are_known_by_writer_and_sequence() {
        let mut sequences = WriterSequences::default();
        let mut step = |writer, seq| sequences.step(Origin { writer, seq, unconfirmed: 0 });
        assert_eq!(step(1, 5), Step::First);
        assert_eq!(step(1, 6), Step::Next);
        assert_eq!(step(1, 5), Step::Duplicate);
        assert_eq!(step(1, 6), Step::Duplicate);
        assert_eq!(step(2, 1), Step::First);
        assert_eq!(step(1, 9), Step::Gap(2));
        assert_eq!(step(1, 10), Step::Next);
    }

    #[test]
    fn what_may_not_have_been_written_is_not_missing() {
        let mut sequences = WriterSequences::default();
        let mut step = |seq, unconfirmed| sequences.step(Origin { writer: 1, seq, unconfirmed });
        assert_eq!(step(5, 0), Step::First);
        assert_eq!(step(8, 2), Step::Unconfirmed);
        assert_eq!(step(12, 2), Step::Gap(1));
        assert_eq!(step(13, 0), Step::Next);
        assert_eq!(step(15, 3), Step::Unconfirmed, "some have come all the same");
        assert_eq!(step(16, 3), Step::Next, "all have come");
    }

    #[test]
    fn what_is_learnt_does_not_replace_what_is_known() {
        let (mut sequences, mut other) = (WriterSequences::default(), WriterSequences::default());
        let origin = |writer, seq| Origin { writer, seq, unconfirmed: 0 };
        sequences.step(origin(1, 5));
        for (writer, seq) in [(1, 4), (2, 8)] {
            other.step(origin(writer, seq));
        }
        sequences.learn(&other);
        assert_eq!((sequences.highest(1), sequences.highest(2)), (Some(5), Some(8)));
    }

    #[test]
    fn a_writer_is_known_until_many_others_have_written() {
        let mut sequences = WriterSequences::default();
        let mut others = 10..;
        let mut step = |writer, seq| sequences.step(Origin { writer, seq, unconfirmed: 0 });
        step(1, 1);
        step(2, 1);
        for round in 2..9 {
            for writer in others.by_ref().take(KEPT - 1) {
                assert_eq!(step(writer, 1), Step::First);
            }
            assert_eq!(step(2, round), Step::Next);
        }
        assert_eq!(step(2, 8), Step::Duplicate);
        assert_eq!(step(1, 1), Step::First);
        assert!(sequences.young.len() <= KEPT && sequences.old.len() <= KEPT);
    }
}
