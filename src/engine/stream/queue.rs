//! The queue of publishes that wait for the writer. The writer takes them in batches.
//!
//! The queue's bound counts what all open publishes take: the memory of those that wait here, and
//! what JS keeps of each publish until it completes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::engine::error::{Error, Result};
use crate::engine::event::{Completion, Local, Ticket};
use crate::engine::namespaces::Namespace;
use crate::engine::options::Role;
use crate::engine::wire::{Data, MessageType};

/// The most publishes in one batch.
pub(crate) const BATCH_ENTRIES: usize = 1_000;
const BATCH_BYTES: usize = 512 << 10;
/// Approximate bytes of bookkeeping per publish, in a batch.
const OVERHEAD: usize = 128;
/// Approximate bytes of a publish beside its data while it waits: the place in the queue, which may
/// be half empty, and what the allocators lose.
const WAITING: usize = 384;
/// Approximate bytes that the JS side keeps for each open publish, beside the data: the callback,
/// the packet and its options, and the promise. An emitter keeps the callback only. Measured by
/// `__test__/fast-path/queue-memory.test.js`.
const KEPT_BY_NODE: usize = 1_408;
const KEPT_BY_EMITTER: usize = 128;

/// How many bytes the JS side keeps until a publish completes. A node keeps the packet, for the
/// local part.
pub(crate) fn kept_by_js(role: Role, data: Option<&Data>) -> usize {
    match role {
        Role::Node => KEPT_BY_NODE + data.map_or(0, Data::len),
        Role::Emitter => KEPT_BY_EMITTER,
    }
}

/// A message for the writer to write.
pub(crate) struct Publish {
    /// Names the publish in its completion. `None` for heartbeats, since nobody waits for them.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) namespace: Arc<Namespace>,
    /// The message's type.
    pub(crate) kind: MessageType,
    pub(crate) data: Option<Data>,
    /// How many bytes the JS side keeps until the publish completes.
    pub(crate) kept_by_js: usize,
    /// When it was published. Latencies count from here.
    pub(crate) at: Instant,
}

impl Publish {
    /// How many bytes of a batch it uses.
    pub(crate) fn size(&self) -> usize {
        OVERHEAD + self.namespace.name.len() + self.data.as_ref().map_or(0, Data::len)
    }

    /// How many bytes it takes in all while it waits in the queue.
    fn cost(&self) -> usize {
        WAITING + self.data.as_ref().map_or(0, Data::len) + self.kept_by_js
    }
}

/// The publishes that wait for the writer, bounded in bytes.
pub(crate) struct WriteQueue {
    state: Mutex<QueueState>,
    bound: usize,
    /// The bytes that JS keeps for publishes that have left this queue and have not completed.
    kept_by_js: Arc<AtomicUsize>,
    filled: Notify,
    /// How many of the accepted publishes have ended: they were written, or they failed.
    ended: watch::Sender<u64>,
}

#[derive(Default)]
struct QueueState {
    waiting: VecDeque<Publish>,
    bytes: usize,
    accepted: u64,
    /// How many were accepted up to the last one that has a ticket.
    awaited: u64,
}

impl WriteQueue {
    /// `kept_by_js` is what JS keeps for publishes that are not here any more ([`OwnEntries`]).
    ///
    /// [`OwnEntries`]: super::OwnEntries
    pub(crate) fn new(bound: usize, kept_by_js: Arc<AtomicUsize>) -> Self {
        Self {
            state: Mutex::default(),
            bound,
            kept_by_js,
            filled: Notify::new(),
            ended: watch::Sender::new(0),
        }
    }

    /// Adds a publish.
    ///
    /// # Errors
    /// [`Error::QueueFull`] if the publish would exceed the bound.
    pub(crate) fn push(&self, publish: Publish) -> Result<()> {
        let mut state = self.lock();
        let size = publish.cost();
        let queued = self.bytes(&state);
        if queued.saturating_add(size) > self.bound {
            return Err(Error::QueueFull { size, queued, bound: self.bound });
        }
        state.bytes += size;
        state.accepted += 1;
        if publish.ticket.is_some() {
            state.awaited = state.accepted;
        }
        state.waiting.push_back(publish);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Whether publishes that take `bytes` fit.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.bytes(&self.lock()).saturating_add(bytes) <= self.bound
    }

    /// The number of publishes that have not ended, and the bytes that count for the bound.
    pub(crate) fn len_and_bytes(&self) -> (u64, usize) {
        let state = self.lock();
        (state.accepted - *self.ended.borrow(), self.bytes(&state))
    }

    fn bytes(&self, state: &QueueState) -> usize {
        state.bytes + self.kept_by_js.load(Ordering::Relaxed)
    }

    /// How many publishes were accepted so far.
    pub(crate) fn accepted(&self) -> u64 {
        self.lock().accepted
    }

    /// How many publishes were accepted up to the last one that somebody waits for.
    pub(crate) fn awaited(&self) -> u64 {
        self.lock().awaited
    }

    /// Whether the first `count` publishes that were accepted have been written or have failed.
    pub(crate) fn has_ended(&self, count: u64) -> bool {
        *self.ended.borrow() >= count
    }

    /// Waits until the first `count` publishes that were accepted have been written or have failed.
    pub(crate) async fn ended(&self, count: u64) {
        // This cannot fail, since the sender lives as long as `self`.
        let _ = self.ended.subscribe().wait_for(|ended| *ended >= count).await;
    }

    /// The same. Returns false if none of them ends for `limit`.
    pub(crate) async fn ended_or_stuck(&self, count: u64, limit: Duration) -> bool {
        let mut ended = self.ended.subscribe();
        while *ended.borrow_and_update() < count {
            if timeout(limit, ended.changed()).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Fails every publish that no batch has taken, since the engine ends.
    pub(crate) fn take_rest(&self) -> Vec<Completion> {
        let mut state = self.lock();
        state.bytes = 0;
        self.ended.send_replace(state.accepted);
        let fail = |publish: Publish| {
            Some(Completion {
                ticket: publish.ticket?,
                outcome: Err(Error::Closed),
                local: Local::Js,
            })
        };
        state.waiting.drain(..).filter_map(fail).collect()
    }

    /// Waits for publishes and takes a batch of them, `most` at the most. Nothing is lost if the
    /// future is dropped.
    pub(crate) async fn next_batch(&self, most: usize) -> Vec<Publish> {
        loop {
            let batch = self.take_batch(most);
            if !batch.is_empty() {
                return batch;
            }
            self.filled.notified().await;
        }
    }

    /// Takes a batch, `most` at the most; an empty one if nothing waits.
    pub(crate) fn take_batch(&self, most: usize) -> Vec<Publish> {
        let mut state = self.lock();
        let mut batch = Vec::new();
        let (mut bytes, mut cost) = (0, 0);
        while batch.len() < most
            && let Some(publish) =
                state.waiting.pop_front_if(|p| bytes == 0 || bytes + p.size() <= BATCH_BYTES)
        {
            bytes += publish.size();
            cost += publish.cost();
            batch.push(publish);
        }
        state.bytes -= cost;
        batch
    }

    /// Puts a batch back in front of what waits: it was not written. The bound is not for these
    /// publishes, which were accepted.
    pub(crate) fn put_back(&self, batch: Vec<Publish>) {
        let mut state = self.lock();
        for publish in batch.into_iter().rev() {
            state.bytes += publish.cost();
            state.waiting.push_front(publish);
        }
    }

    /// Notes that the next `count` publishes have ended.
    pub(crate) fn end(&self, count: usize) {
        self.ended.send_modify(|ended| *ended += count as u64);
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::stream::OwnEntries;
    use crate::engine::wire::{BROADCAST, EntryId};

    fn publish(ticket: Ticket, bytes: usize) -> Publish {
        let data = Data::Json("x".repeat(bytes).into());
        let namespace = Arc::new(Namespace::new(0, "/", false, true));
        Publish {
            ticket: Some(ticket),
            namespace,
            kind: BROADCAST,
            data: Some(data),
            kept_by_js: 0,
            at: Instant::now(),
        }
    }

    #[test]
    fn batches_are_bounded_and_keep_the_order() {
        let queue = WriteQueue::new(64 << 20, Arc::default());
        for ticket in 0..1_500 {
            queue.push(publish(ticket, 1)).unwrap();
        }
        queue.push(publish(1_500, 2 * BATCH_BYTES)).unwrap();
        queue.push(publish(1_501, 1)).unwrap();
        let sizes: Vec<usize> = std::iter::repeat_with(|| queue.take_batch(BATCH_ENTRIES))
            .map(|batch| batch.len())
            .take_while(|len| *len > 0)
            .collect();
        assert_eq!(sizes, [1_000, 500, 1, 1]);
        assert_eq!(queue.len_and_bytes(), (1_502, 0));
    }

    #[test]
    fn over_the_bound_a_publish_fails_and_says_why() {
        let queue = WriteQueue::new(2_000, Arc::default());
        queue.push(publish(1, 1_000)).unwrap();
        let error = queue.push(publish(2, 1_000)).unwrap_err();
        assert_eq!(error.code(), "ERR_SIO_REDIS_QUEUE_FULL");
        assert!(error.to_string().contains("publishQueueBytes"));
        queue.push(publish(3, 10)).unwrap();
    }

    #[test]
    fn what_is_put_back_comes_first_and_counts_beyond_the_bound() {
        let queue = WriteQueue::new(6_000, Arc::default());
        (1..=3).for_each(|ticket| queue.push(publish(ticket, 1_000)).unwrap());
        let (_, bytes) = queue.len_and_bytes();
        let batch = queue.take_batch(2);
        (4..=5).for_each(|ticket| queue.push(publish(ticket, 1_000)).unwrap());
        queue.put_back(batch);
        assert_eq!(queue.len_and_bytes(), (5, bytes / 3 * 5));
        queue.push(publish(6, 1_000)).unwrap_err();
        let tickets: Vec<_> = queue.take_batch(9).iter().filter_map(|p| p.ticket).collect();
        assert_eq!(tickets, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn what_js_keeps_counts_until_the_publish_completes() {
        let mut own = OwnEntries::default();
        let queue = WriteQueue::new(10_000, own.kept_by_js());
        let kept = |ticket| Publish { kept_by_js: 4_000, ..publish(ticket, 1) };
        (1..=2).for_each(|ticket| queue.push(kept(ticket)).unwrap());
        queue.push(kept(3)).unwrap_err();
        let batch = queue.take_batch(BATCH_ENTRIES);
        own.sent(1, &batch);
        drop(batch);
        assert_eq!(queue.len_and_bytes(), (2, 8_000));
        queue.push(kept(3)).unwrap_err();
        own.take_back(&(2..3));
        assert_eq!(queue.len_and_bytes().1, 4_000);
        own.read(1, EntryId::ZERO, Local::default);
        assert_eq!(queue.len_and_bytes().1, 0);
        queue.push(kept(3)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_flush_goes_on_as_long_as_there_is_progress() {
        const LIMIT: Duration = Duration::from_secs(5);
        let queue = WriteQueue::new(1 << 20, Arc::default());
        (0..10).for_each(|ticket| queue.push(publish(ticket, 1)).unwrap());
        let slow = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(4)).await;
                queue.end(1);
            }
        };
        assert!(tokio::join!(queue.ended_or_stuck(10, LIMIT), slow).0);
        queue.push(publish(10, 1)).unwrap();
        assert!(!queue.ended_or_stuck(11, LIMIT).await);
        assert_eq!(queue.take_rest().len(), 11);
        assert_eq!(queue.len_and_bytes(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn ended_waits_for_what_was_taken_too() {
        let queue = WriteQueue::new(1_000, Arc::default());
        queue.push(publish(1, 1)).unwrap();
        assert_eq!(queue.next_batch(BATCH_ENTRIES).await.len(), 1);
        let late = tokio::time::timeout(Duration::from_secs(1), queue.ended(1)).await;
        assert!(late.is_err());
        queue.end(1);
        queue.ended(queue.accepted()).await;
    }
}
