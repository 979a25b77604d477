//! Own entries that the writer has sent and the reader has not read back.
//!
//! The local part of a publish is due when the reader meets its entry, so each publish waits here
//! until then. Entries are written and read in the same order, so a queue is enough.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Publish;
use crate::engine::error::Error;
use crate::engine::event::{Completion, Local, Ticket};
use crate::engine::wire::EntryId;

/// The queue of own entries, in the order of their sequences.
#[derive(Debug, Default)]
pub(crate) struct OwnEntries {
    waiting: VecDeque<Waiting>,
    /// Sequence of the last own entry that the reader did not meet although it met a later one:
    /// Redis has trimmed it or refused it.
    passed_over: Option<u64>,
    /// The bytes that JS keeps for the publishes that wait here. [`WriteQueue`] counts them.
    ///
    /// [`WriteQueue`]: super::WriteQueue
    kept_by_js: Arc<AtomicUsize>,
}

/// How far the reader has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReaderAt {
    pub(crate) position: EntryId,
    /// The highest sequence of our own entries that it has met. If an entry is resent, it may have met
    /// the first one.
    pub(crate) met: Option<u64>,
}

/// Bytes that count in a total until this is dropped.
#[derive(Debug)]
struct Counted {
    total: Arc<AtomicUsize>,
    bytes: usize,
}

impl Counted {
    fn new(total: &Arc<AtomicUsize>, bytes: usize) -> Self {
        total.fetch_add(bytes, Ordering::Relaxed);
        Self { total: total.clone(), bytes }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Waiting {
    /// `None` if nobody waits for the publish.
    ticket: Option<Ticket>,
    /// The entry's sequence. A publish that failed has the sequence of the entry before it.
    seq: u64,
    /// The entry's ID, once Redis has replied. If `is_trimmed`, the ID of a later entry.
    id: Option<EntryId>,
    /// The entry was written, and Redis trimmed it before we knew its ID.
    is_trimmed: bool,
    /// When Redis replied, the reader was beyond the entry's ID and had not met it: it was trimmed, or
    /// the IDs of the stream have fallen, and the reader will meet it when it reads them again.
    is_unsure: bool,
    /// Set if the publish failed. It still waits for its turn.
    error: Option<Error>,
    _kept_by_js: Counted,
}

impl Waiting {
    /// The publish's completion; `None` if nobody waits for it.
    fn complete(self, id: Option<EntryId>) -> Option<Completion> {
        let ticket = self.ticket?;
        let outcome = match self.error {
            Some(error) => Err(error),
            None if self.is_trimmed => Ok(None),
            None => Ok(id.or(self.id)),
        };
        Some(Completion { ticket, outcome, local: Local::Js })
    }
}

impl OwnEntries {
    /// The bytes that JS keeps for the publishes that wait here.
    pub(crate) fn kept_by_js(&self) -> Arc<AtomicUsize> {
        self.kept_by_js.clone()
    }

    /// Adds entries. The writer calls this before it sends them, since the reader may meet them
    /// before the writer gets the reply.
    pub(crate) fn sent<'a>(
        &mut self,
        first_seq: u64,
        publishes: impl IntoIterator<Item = &'a Publish>,
    ) {
        for (seq, publish) in (first_seq..).zip(publishes) {
            self.waiting.push_back(Waiting {
                ticket: publish.ticket,
                seq,
                id: None,
                is_trimmed: false,
                is_unsure: false,
                error: None,
                _kept_by_js: Counted::new(&self.kept_by_js, publish.kept_by_js),
            });
        }
    }

    /// Notes the IDs that Redis gave to the entries from `first_seq` on. `reader` is how far our reader
    /// has come by now.
    pub(crate) fn acknowledged(&mut self, first_seq: u64, ids: &[EntryId], reader: ReaderAt) {
        for waiting in self.waiting.iter_mut().filter(|w| w.error.is_none()) {
            let place = waiting.seq.checked_sub(first_seq).map(|place| place as usize);
            if let Some(id) = place.and_then(|place| ids.get(place)) {
                waiting.id = Some(*id);
                let is_met = reader.met.is_some_and(|met| met >= waiting.seq);
                waiting.is_unsure = *id <= reader.position && !is_met;
            }
        }
    }

    /// Notes that these entries were written and trimmed. Their IDs are not known, so they complete
    /// without one when the reader has reached `behind`, which is a later entry.
    pub(crate) fn trimmed(&mut self, seqs: &Range<u64>, behind: EntryId) {
        for waiting in self.waiting.iter_mut().filter(|w| w.error.is_none()) {
            if seqs.contains(&waiting.seq) {
                waiting.id = Some(behind);
                waiting.is_trimmed = true;
            }
        }
    }

    /// Whether it is not known what has become of entries: a check of the stream must show it.
    pub(crate) fn are_unsure(&self) -> bool {
        self.waiting.iter().any(|w| w.is_unsure)
    }

    /// Notes that a check has shown whether the IDs of the stream have fallen.
    pub(crate) fn are_sure(&mut self) {
        self.waiting.iter_mut().for_each(|w| w.is_unsure = false);
    }

    /// Removes entries that were not written: the writer sends their publishes in other batches.
    pub(crate) fn take_back(&mut self, seqs: &Range<u64>) {
        self.waiting.retain(|w| w.error.is_some() || !seqs.contains(&w.seq));
    }

    /// Gives the last batch, which was not sent, the sequences from `first` on: those of a batch that
    /// has failed.
    pub(crate) fn renumber(&mut self, seqs: &Range<u64>, first: u64, publishes: &[Publish]) {
        self.take_back(seqs);
        for failed in self.waiting.iter_mut().filter(|w| w.error.is_some()) {
            failed.seq = failed.seq.min(first.saturating_sub(1));
        }
        self.sent(first, publishes);
    }

    /// Notes that Redis has refused the entries from `first_seq` on. Their publishes complete
    /// behind those that were published before them.
    pub(crate) fn refused(&mut self, first_seq: u64, error: &Error) -> Vec<Completion> {
        for waiting in self.waiting.iter_mut().filter(|w| w.error.is_none() && w.seq >= first_seq) {
            waiting.error = Some(error.clone());
            waiting.seq = first_seq.saturating_sub(1);
        }
        self.take_failed()
    }

    /// Notes that Redis did not take the entry `seq` although it took later ones. The writer sends
    /// it again as `new_seq`, behind everything else. If the reader has met a later one already,
    /// the publish has completed as trimmed; it then completes a second time, which JS ignores.
    pub(crate) fn moved(&mut self, seq: u64, new_seq: u64, publish: &Publish) {
        self.waiting.retain(|w| w.error.is_some() || w.seq != seq);
        self.sent(new_seq, [publish]);
    }

    /// Completes what the reader has passed by meeting our entry `seq`. Redis has trimmed the own
    /// entries before it that the reader did not meet: they complete as well. `local` makes the
    /// local part of this entry.
    pub(crate) fn read(
        &mut self,
        seq: u64,
        id: EntryId,
        local: impl FnOnce() -> Local,
    ) -> Vec<Completion> {
        let mut done = Vec::new();
        while let Some(waiting) = self.waiting.pop_front_if(|w| w.seq < seq) {
            if waiting.error.is_none() {
                self.passed_over = Some(waiting.seq);
            }
            done.extend(waiting.complete(None));
        }
        if let Some(waiting) = self.waiting.pop_front_if(|w| w.seq == seq) {
            let is_local = waiting.error.is_none();
            let mut completion = waiting.complete(Some(id));
            if let Some(completion) = completion.as_mut().filter(|_| is_local) {
                completion.local = local();
            }
            done.extend(completion);
        }
        done.append(&mut self.take_failed());
        done
    }

    /// Completes acknowledged entries up to `position`, which the reader has passed: it did not
    /// meet them, so Redis has trimmed them.
    pub(crate) fn passed(&mut self, position: EntryId) -> Vec<Completion> {
        let mut done = Vec::new();
        while let Some(waiting) = self.waiting.pop_front_if(|w| {
            w.error.is_some() || (!w.is_unsure && w.id.is_some_and(|id| id <= position))
        }) {
            done.extend(waiting.complete(None));
        }
        done
    }

    /// Completes all entries that Redis has acknowledged. For a stream that nobody reads.
    pub(crate) fn take_acknowledged(&mut self) -> Vec<Completion> {
        self.take_behind(None)
    }

    /// Completes the entries that Redis has acknowledged with IDs behind `end`, the end of the stream:
    /// they are gone. All of them without an end.
    pub(crate) fn take_behind(&mut self, end: Option<EntryId>) -> Vec<Completion> {
        let is_gone = |w: &Waiting| w.id.is_some_and(|id| end.is_none_or(|end| id > end));
        let mut done = Vec::new();
        while let Some(waiting) = self.waiting.pop_front_if(|w| w.error.is_some() || is_gone(w)) {
            done.extend(waiting.complete(None));
        }
        done
    }

    /// Completes all entries that Redis has acknowledged, without IDs, and returns the last of
    /// their IDs. This node delivers them before earlier entries that it cannot read, so clients
    /// must not get these IDs as offsets.
    pub(crate) fn take_unread(&mut self) -> (Vec<Completion>, EntryId) {
        let last = self.waiting.iter().filter_map(|w| w.id).max().unwrap_or(EntryId::ZERO);
        let mut done = self.take_acknowledged();
        for completion in &mut done {
            if let Ok(id) = &mut completion.outcome {
                *id = None;
            }
        }
        (done, last)
    }

    /// Completes everything, since the engine ends. Entries that Redis has not acknowledged fail.
    pub(crate) fn take_all(&mut self, error: &Error) -> Vec<Completion> {
        let fail = |mut waiting: Waiting| {
            if waiting.id.is_none() {
                waiting.error.get_or_insert_with(|| error.clone());
            }
            waiting.complete(None)
        };
        self.waiting.drain(..).filter_map(fail).collect()
    }

    /// True if the reader has met all entries of the last batch, whose sequences are `seqs`.
    pub(crate) fn has_read(&self, seqs: &Range<u64>) -> bool {
        !self.is_waiting_for(seqs.end - 1)
            && self.passed_over.is_none_or(|passed_over| passed_over < seqs.start)
    }

    /// True if the entry `seq` was neither read back nor refused so far.
    pub(crate) fn is_waiting_for(&self, seq: u64) -> bool {
        self.waiting.iter().any(|w| w.error.is_none() && w.seq == seq)
    }

    /// Whether publishes that failed still wait for their turn.
    pub(crate) fn has_failed(&self) -> bool {
        self.waiting.iter().any(|w| w.error.is_some())
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn take_failed(&mut self) -> Vec<Completion> {
        let mut done = Vec::new();
        while let Some(waiting) = self.waiting.pop_front_if(|w| w.error.is_some()) {
            done.extend(waiting.complete(None));
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;
    use crate::engine::namespaces::Namespace;
    use crate::engine::wire::BROADCAST;

    fn id(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    /// A reader that has met no own entry.
    fn at(ms: u64) -> ReaderAt {
        ReaderAt { position: id(ms), met: None }
    }

    fn publishes<const N: usize>(tickets: [Ticket; N]) -> [Publish; N] {
        let namespace = Arc::new(Namespace::new(0, "/", false, true));
        tickets.map(|ticket| Publish {
            ticket: Some(ticket),
            namespace: namespace.clone(),
            kind: BROADCAST,
            data: None,
            kept_by_js: 0,
            at: Instant::now(),
        })
    }

    fn outcomes(done: Vec<Completion>) -> Vec<(Ticket, Option<Option<EntryId>>)> {
        done.into_iter().map(|c| (c.ticket, c.outcome.ok())).collect()
    }

    #[test]
    fn completes_in_order_whether_the_answer_or_the_reader_comes_first() {
        let mut own = OwnEntries::default();
        own.sent(1, &publishes([10, 11, 12]));
        assert_eq!(outcomes(own.read(1, id(5), Local::default)), [(10, Some(Some(id(5))))]);
        own.acknowledged(1, &[id(5), id(6), id(7)], at(5));
        assert_eq!(outcomes(own.read(2, id(6), Local::default)), [(11, Some(Some(id(6))))]);
        assert_eq!(outcomes(own.read(3, id(7), Local::default)), [(12, Some(Some(id(7))))]);
        assert!(own.is_empty());
    }

    #[test]
    fn a_trimmed_entry_completes_when_the_reader_has_passed_it() {
        let mut own = OwnEntries::default();
        own.sent(1, &publishes([10, 11]));
        own.acknowledged(1, &[id(5), id(6)], at(1));
        assert!(own.passed(id(4)).is_empty());
        assert_eq!(outcomes(own.passed(id(5))), [(10, Some(Some(id(5))))]);
        own.sent(3, &publishes([12]));
        let done = outcomes(own.read(3, id(9), Local::default));
        assert_eq!(done, [(11, Some(Some(id(6)))), (12, Some(Some(id(9))))]);
    }

    #[test]
    fn an_entry_behind_the_position_waits_until_it_is_known_what_that_means() {
        let mut own = OwnEntries::default();
        own.sent(1, &publishes([10, 11]));
        own.acknowledged(1, &[id(5), id(6)], at(9));
        assert!(own.are_unsure() && own.passed(id(9)).is_empty());
        own.are_sure();
        // The IDs have fallen: it is read with those of others.
        assert_eq!(outcomes(own.read(1, id(5), Local::default)), [(10, Some(Some(id(5))))]);
        // Or it was trimmed.
        assert_eq!(outcomes(own.passed(id(9))), [(11, Some(Some(id(6))))]);
        // The reader has met the first one of two.
        own.sent(3, &publishes([12]));
        own.acknowledged(3, &[id(8)], ReaderAt { met: Some(3), ..at(9) });
        assert!(!own.are_unsure());
    }

    #[test]
    fn a_refused_publish_waits_for_its_turn() {
        let mut own = OwnEntries::default();
        own.sent(1, &publishes([10]));
        own.sent(2, &publishes([11]));
        assert!(own.refused(2, &Error::Closed).is_empty());
        assert_eq!(
            outcomes(own.read(1, id(5), Local::default)),
            [(10, Some(Some(id(5)))), (11, None)]
        );
        own.sent(2, &publishes([12]));
        assert_eq!(outcomes(own.refused(2, &Error::Closed)), [(12, None)]);
    }

    #[test]
    fn what_was_not_taken_completes_where_it_is_sent_again() {
        let mut own = OwnEntries::default();
        let published = publishes([10, 11, 12]);
        own.sent(1, &published);
        own.moved(1, 4, &published[0]);
        own.acknowledged(2, &[id(5)], at(1));
        assert_eq!(outcomes(own.read(2, id(5), Local::default)), [(11, Some(Some(id(5))))]);
        assert_eq!(outcomes(own.read(3, id(6), Local::default)), [(12, Some(Some(id(6))))]);
        assert_eq!(outcomes(own.read(4, id(7), Local::default)), [(10, Some(Some(id(7))))]);
    }

    #[test]
    fn a_batch_with_the_sequences_of_one_that_failed_completes_behind_it() {
        let mut own = OwnEntries::default();
        own.sent(1, &publishes([10]));
        own.sent(2, &publishes([11]));
        assert!(own.refused(2, &Error::Closed).is_empty());
        own.sent(3, &publishes([12]));
        assert!(own.refused(3, &Error::Closed).is_empty());
        let last = publishes([13]);
        own.sent(4, &last);
        own.renumber(&(4..5), 2, &last);
        // The reader meets none before it: 10 was trimmed.
        let done = outcomes(own.read(2, id(6), Local::default));
        assert_eq!(done, [(10, Some(None)), (11, None), (12, None), (13, Some(Some(id(6))))]);
        assert!(own.is_empty());
    }

    #[test]
    fn a_batch_was_read_when_each_entry_was_met() {
        let read = |met: &[u64]| {
            let mut own = OwnEntries::default();
            own.sent(1, &publishes([10]));
            own.sent(2, &publishes([11, 12, 13]));
            met.iter().for_each(|seq| drop(own.read(*seq, id(*seq), Local::default)));
            own.has_read(&(2..5))
        };
        assert!(read(&[1, 2, 3, 4]));
        assert!(read(&[2, 3, 4]), "what is missing was before it");
        assert!(!read(&[1, 2, 3]));
        assert!(!read(&[1, 3, 4]));
        assert!(!read(&[1, 4]));
    }

    #[test]
    fn what_nobody_waits_for_completes_without_a_word() {
        let mut own = OwnEntries::default();
        let mut published = publishes([10, 11]);
        published[0].ticket = None;
        own.sent(1, &published);
        assert!(own.is_waiting_for(1));
        assert_eq!(outcomes(own.read(2, id(6), Local::default)), [(11, Some(Some(id(6))))]);
        own.sent(3, &published[..1]);
        assert!(own.take_all(&Error::Closed).is_empty() && own.is_empty());
    }

    #[test]
    fn the_end_tells_what_was_written_from_what_was_not() {
        let mut own = OwnEntries::default();
        own.sent(1, &publishes([10, 11]));
        own.acknowledged(1, &[id(5)], at(1));
        assert_eq!(outcomes(own.take_all(&Error::Closed)), [(10, Some(Some(id(5)))), (11, None)]);
    }
}
