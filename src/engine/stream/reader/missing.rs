//! What is missing of a page: by the sequences of its writers, and by the numbers of entries that
//! Redis has reported.

use crate::engine::stream::{Counted, Cursor, Watch};
use crate::engine::wire::EntryId;

/// What is missing before or within a page that the reader hands on.
pub(super) struct Missing {
    /// How many entries, by the sequences of their writers.
    by_sequences: u64,
    /// What numbers show beside.
    by_numbers: Counted,
    /// Some entries cannot show whether others are missing before them.
    is_unsure: bool,
    /// Numbers were compared before this page, so the next comparison shows a loss.
    is_counted: bool,
}

/// A loss of entries that Redis has trimmed.
pub(super) struct Lost {
    /// How many; `None` if nobody knows.
    pub(super) entries: Option<u64>,
}

impl Missing {
    /// Nothing so far.
    pub(super) fn none(watch: &Watch) -> Self {
        let is_counted = watch.counts();
        Self { by_sequences: 0, by_numbers: Counted::Lost(0), is_unsure: false, is_counted }
    }

    /// An entry comes without a sequence that would show what is missing before it.
    pub(super) fn unsure(&mut self) {
        self.is_unsure = true;
    }

    pub(super) fn is_unsure(&self) -> bool {
        self.is_unsure
    }

    /// So many entries are missing before the next one, by its sequence.
    pub(super) fn gap(&mut self, missing: u64, cursor: &mut Cursor) {
        // A client with an earlier offset cannot get all that it missed.
        cursor.hole_behind = cursor.position;
        self.by_sequences = self.by_sequences.saturating_add(cursor.watch.gap(missing));
    }

    /// Compares the numbers, since the reader has come to the entry `id` after `read` others.
    pub(super) fn compare(&mut self, id: EntryId, read: u64, cursor: &mut Cursor) {
        self.by_numbers = self.by_numbers.and(cursor.watch.comes_to(id, read));
    }

    /// Whether numbers have shown that it is another stream.
    pub(super) fn is_of_another_stream(&self) -> bool {
        self.by_numbers == Counted::OtherStream
    }

    /// Notes where the hole is. Returns the loss, one for the whole page, if there was one. `before`
    /// is the position before the page. `may_have_lost` is true if Redis has trimmed the stream past
    /// it, and sequences may not show how many entries are missing.
    pub(super) fn note(
        &self,
        before: EntryId,
        may_have_lost: bool,
        cursor: &mut Cursor,
    ) -> Option<Lost> {
        if self.by_sequences > 0 || may_have_lost {
            cursor.hole_behind = cursor.hole_behind.max(before);
        }
        let by_numbers = self.by_numbers.lost();
        if by_numbers > 0 {
            cursor.hole_behind = cursor.hole_behind.max(cursor.position);
        }
        let lost = self.by_sequences.saturating_add(by_numbers);
        let is_unknown = may_have_lost && !self.is_counted;
        (lost > 0 || is_unknown).then_some(Lost { entries: (lost > 0).then_some(lost) })
    }
}
