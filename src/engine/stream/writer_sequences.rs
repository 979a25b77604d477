//! The highest sequence that the reader has met of each writer of our kind. An entry whose sequence
//! is not above it is a duplicate. If it is more than one above it, entries are missing before it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::wire::Origin;

/// A writer may be forgotten after this silence, since it resends within seconds or never.
const IDLE: Duration = Duration::from_secs(3600);
/// If this many writers are known, a new one makes the reader forget the idle ones.
const KEPT: usize = 256;

/// What the sequence of an entry shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// This is the first entry of its writer that we meet: earlier ones may be missing.
    First,
    /// This is the next entry of its writer.
    Next,
    /// This number of entries of its writer is missing before it.
    Gap(u64),
    /// We have met this sequence before.
    Duplicate,
}

#[derive(Debug, Default)]
pub(crate) struct WriterSequences {
    sequences: HashMap<u64, (u64, Instant)>,
}

impl WriterSequences {
    /// Compares an entry's sequence with the highest one of its writer, and takes note of it.
    pub(crate) fn step(&mut self, origin: Origin) -> Step {
        let now = Instant::now();
        let Some((mark, heard)) = self.sequences.get_mut(&origin.writer) else {
            if self.sequences.len() >= KEPT {
                self.sequences.retain(|_, (_, heard)| now.duration_since(*heard) < IDLE);
            }
            self.sequences.insert(origin.writer, (origin.seq, now));
            return Step::First;
        };
        *heard = now;
        if origin.seq <= *mark {
            return Step::Duplicate;
        }
        let missing = origin.seq - *mark - 1;
        *mark = origin.seq;
        if missing == 0 { Step::Next } else { Step::Gap(missing) }
    }

    /// Whether we have met an entry of this writer.
    pub(crate) fn knows(&self, writer: u64) -> bool {
        self.sequences.contains_key(&writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn doubles_and_gaps_are_known_by_writer_and_sequence() {
        let mut sequences = WriterSequences::default();
        let mut step = |writer, seq| sequences.step(Origin { writer, seq });
        assert_eq!(step(1, 5), Step::First);
        assert_eq!(step(1, 6), Step::Next);
        assert_eq!(step(1, 5), Step::Duplicate);
        assert_eq!(step(1, 6), Step::Duplicate);
        assert_eq!(step(2, 1), Step::First);
        assert_eq!(step(1, 9), Step::Gap(2));
        assert_eq!(step(1, 10), Step::Next);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_writers_go_when_many_came_and_the_others_stay() {
        let mut sequences = WriterSequences::default();
        let mut step = |writer, seq| sequences.step(Origin { writer, seq });
        step(1, 1);
        step(2, 1);
        tokio::time::advance(IDLE).await;
        step(2, 2);
        for writer in 10..10 + KEPT as u64 {
            step(writer, 1);
        }
        assert!(sequences.knows(2) && !sequences.knows(1));
    }
}
