//! Notices what XREAD does not tell: that the stream was trimmed past us, deleted, or fell back.
//!
//! After a DEL, entries with lower IDs stay invisible to XREAD, and trimming leaves no trace. So
//! the stream's first and last entry are compared with our position about once a second.

use super::EntryId;

/// What is known of a stream between two looks.
#[derive(Debug, Default)]
pub struct Watch {
    /// Our position at the last look: an entry that was there then.
    anchor: Option<EntryId>,
    /// How many entries had been read by then.
    read: u64,
}

/// What a look has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Nothing that was not expected.
    Sound,
    /// The first entry lies behind our position: what was between is gone, if there was anything.
    Trimmed,
    /// The stream has gone, or holds other entries than before.
    Deleted,
    /// The last entry lies before our position: a replica without the latest took over, or the
    /// clock went back.
    FellBack,
}

impl Watch {
    /// Compares the stream's first and last entry, `None` when it is empty, with our position and
    /// the number of entries read so far, both from the same moment.
    pub fn look(
        &mut self,
        ends: Option<(EntryId, EntryId)>,
        position: EntryId,
        read: u64,
        max_len: u64,
    ) -> Finding {
        let anchor = self.anchor.replace(position);
        let read_since = read - std::mem::replace(&mut self.read, read);
        let Some((first, last)) = ends else {
            self.anchor = None;
            return if position == EntryId::ZERO { Finding::Sound } else { Finding::Deleted };
        };
        if last < position {
            return Finding::FellBack;
        }
        if first > position && position != EntryId::ZERO {
            return Finding::Trimmed;
        }
        // What was the latest entry a second ago is trimmed only when `maxLen` entries came since.
        let lost_anchor = anchor.is_some_and(|anchor| anchor != EntryId::ZERO && first > anchor);
        if lost_anchor && read_since < max_len { Finding::Deleted } else { Finding::Sound }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    fn ends(first: u64, last: u64) -> Option<(EntryId, EntryId)> {
        Some((id(first), id(last)))
    }

    #[test]
    fn a_stream_that_grows_and_is_trimmed_is_sound() {
        let mut watch = Watch::default();
        assert_eq!(watch.look(None, EntryId::ZERO, 0, 100), Finding::Sound);
        assert_eq!(watch.look(ends(1, 5), id(5), 5, 100), Finding::Sound);
        assert_eq!(watch.look(ends(1, 9), id(7), 7, 100), Finding::Sound);
        assert_eq!(watch.look(ends(50, 200), id(200), 200, 100), Finding::Sound);
    }

    #[test]
    fn what_went_wrong_is_told_apart() {
        let mut watch = Watch::default();
        watch.look(ends(1, 5), id(5), 5, 100);
        assert_eq!(watch.look(None, id(5), 5, 100), Finding::Deleted);
        assert_eq!(watch.look(ends(6, 7), id(7), 7, 100), Finding::Sound);
        // Deleted and written again between two looks.
        assert_eq!(watch.look(ends(8, 9), id(9), 9, 100), Finding::Deleted);
        assert_eq!(watch.look(ends(1, 3), id(9), 9, 100), Finding::FellBack);
        assert_eq!(watch.look(ends(20, 30), id(9), 9, 100), Finding::Trimmed);
    }
}
