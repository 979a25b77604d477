//! A batch on its way to the stream: publishes and the sequences of their entries.

use std::ops::Range;

use super::{OwnEntries, Publish, ReaderAt};
use crate::engine::wire::EntryId;

pub(crate) struct Batch {
    pub(crate) publishes: Vec<Publish>,
    /// One sequence for each publish.
    pub(crate) seqs: Range<u64>,
}

impl Batch {
    /// A batch whose first entry gets the sequence `first`.
    pub(crate) fn new(first: u64, publishes: Vec<Publish>) -> Self {
        let seqs = first..first + publishes.len() as u64;
        Self { publishes, seqs }
    }

    /// Gives the first entry the sequence `first`, and the others those behind it.
    pub(crate) fn renumber(&mut self, first: u64) {
        self.seqs = first..first + self.publishes.len() as u64;
    }

    /// Drops the first `count` publishes, and returns their sequences.
    pub(crate) fn forget_first(&mut self, count: usize) -> Range<u64> {
        self.publishes.drain(..count);
        let first = self.seqs.start;
        self.seqs.start += count as u64;
        first..self.seqs.start
    }

    /// Keeps the publishes that Redis did not take; those that it took have an ID in `ids`. A
    /// publish before one that Redis took moves to the end and gets a new sequence: readers drop an
    /// entry whose sequence is below the highest one that they have met. `reader` is how far our
    /// reader has come.
    pub(crate) fn keep_rest(
        &mut self,
        ids: &[Option<EntryId>],
        own: &mut OwnEntries,
        reader: ReaderAt,
    ) {
        let Some(last) = ids.iter().rposition(Option::is_some) else { return };
        let (mut kept, mut moved) = (Vec::new(), Vec::new());
        let publishes = std::mem::take(&mut self.publishes);
        for (place, (seq, publish)) in self.seqs.clone().zip(publishes).enumerate() {
            match ids.get(place).copied().flatten() {
                Some(id) => own.acknowledged(seq, &[id], reader),
                None if place < last => {
                    own.moved(seq, self.seqs.end + moved.len() as u64, &publish);
                    moved.push(publish);
                }
                None => kept.push(publish),
            }
        }
        self.seqs = self.seqs.start + last as u64 + 1..self.seqs.end + moved.len() as u64;
        kept.append(&mut moved);
        self.publishes = kept;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;
    use crate::engine::namespaces::Namespace;
    use crate::engine::wire::BROADCAST;

    /// The tickets and the sequences that are left of a batch of four.
    fn rest_of(taken: [bool; 4]) -> (Vec<u32>, Range<u64>) {
        let namespace = Arc::new(Namespace::new(0, "/", false, true));
        let publish = |ticket| Publish {
            ticket: Some(ticket),
            namespace: namespace.clone(),
            kind: BROADCAST,
            data: None,
            kept_by_js: 0,
            at: Instant::now(),
        };
        let mut own = OwnEntries::default();
        let mut batch = Batch::new(5, (0..4).map(publish).collect());
        own.sent(5, &batch.publishes);
        let ids = taken.map(|taken| taken.then_some(EntryId { ms: 1, seq: 1 }));
        let reader = ReaderAt { position: EntryId::ZERO, met: None };
        batch.keep_rest(&ids, &mut own, reader);
        assert!(batch.seqs.clone().all(|seq| own.is_waiting_for(seq)));
        (batch.publishes.iter().filter_map(|publish| publish.ticket).collect(), batch.seqs)
    }

    #[test]
    fn what_was_not_taken_keeps_its_sequence_or_goes_behind() {
        assert_eq!(rest_of([false; 4]), (vec![0, 1, 2, 3], 5..9));
        assert_eq!(rest_of([true, true, false, false]), (vec![2, 3], 7..9));
        assert_eq!(rest_of([false, true, false, false]), (vec![2, 3, 0], 7..10));
        assert_eq!(rest_of([false, true, false, true]), (vec![0, 2], 9..11));
        assert_eq!(rest_of([true; 4]), (vec![], 9..9));
    }
}
