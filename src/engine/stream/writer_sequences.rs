//! The highest sequence of each writer of our kind, by the entries that were read. An entry whose
//! sequence is not above it is a duplicate; one that is more than one above it has a gap before it.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::wire::Origin;

/// A writer unheard of for this long is forgotten. It resends within seconds or never.
const IDLE: Duration = Duration::from_secs(3600);
/// Idle writers are swept when there are more than this.
const KEPT: usize = 256;

/// What an entry is, by its writer's mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The first one of its writer that we see: what came before it cannot be told.
    First,
    /// The next one.
    Next,
    /// There are entries of this writer before it that we have not seen.
    Gap(u64),
    /// Seen before.
    Duplicate,
}

/// The highest sequence of each writer.
#[derive(Debug, Default)]
pub(crate) struct WriterSequences {
    sequences: HashMap<u64, (u64, Instant)>,
}

impl WriterSequences {
    /// Advances a writer's mark.
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

    /// Whether this writer was heard of.
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
