//! The queue of events for the JS thread: in order, and bounded in bytes.
//!
//! The inbox wakes JS once, when an event comes into the empty inbox. JS then drains it in slices
//! until it is empty again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::event::{Event, Notice, StreamEvent};
use super::left_out::{Late, LeftOut, Turn};
use super::namespaces::Namespace;
use super::wire::EntryId;

/// The precision of [`Inbox::age`].
const AGE_STEP: Duration = Duration::from_millis(50);

/// About the most bytes in one slice: handling more at once would keep the event loop from other
/// work.
const SLICE_BYTES: usize = 512 * 1024;

/// The most broadcasts that one slice leaves out. To pass over them takes about a millisecond.
const MOST_LEFT_OUT: usize = 4_096;

/// For how many events an empty inbox keeps memory.
const KEPT: usize = 1_024;

type Wake = Box<dyn Fn() + Send + Sync>;

/// The queue between the engine's tasks and the JS thread.
pub(crate) struct Inbox {
    state: Mutex<State>,
    bound: usize,
    /// What the slice that JS is handling leaves out. Locked before `state`.
    left_out: Mutex<LeftOut>,
    wake: Mutex<Option<Wake>>,
    space: Notify,
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    bytes: usize,
    /// Whether JS is still handling what it drained last.
    is_handling: bool,
    /// How many of the events may change rooms, those included that JS is still handling.
    changes: usize,
    /// How many of those that JS is still handling.
    changes_handled: usize,
    /// How many events were drained.
    taken: u64,
    /// Pairs of an event's number, counted from the start, and the time at which it came in. The
    /// time also holds for the events behind it, up to the next pair.
    came: VecDeque<(u64, Instant)>,
}

impl State {
    /// Notes when events come in. Events that come within `AGE_STEP` count as equally old.
    fn mark(&mut self) {
        let now = Instant::now();
        let number = self.taken + self.events.len() as u64;
        if self.came.back().is_none_or(|(_, last)| now - *last >= AGE_STEP) {
            self.came.push_back((number, now));
        }
    }

    fn take(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.taken += 1;
        if self.events.is_empty() {
            self.came.clear();
            // A burst leaves no memory behind that nobody counts.
            self.events.shrink_to(KEPT);
        }
        while self.came.get(1).is_some_and(|(number, _)| *number <= self.taken) {
            self.came.pop_front();
        }
        Some(event)
    }
}

impl Inbox {
    /// The inbox calls `wake` when an event comes into it while it is empty.
    pub(crate) fn new(bound: usize, wake: impl Fn() + Send + Sync + 'static) -> Self {
        let wake: Wake = Box::new(wake);
        Self {
            state: Mutex::default(),
            bound,
            left_out: Mutex::default(),
            wake: Mutex::new(Some(wake)),
            space: Notify::new(),
        }
    }

    /// Makes an [`OrderedInbox`], which takes events that have a place in a stream's order. Each
    /// stream keeps one behind the lock of its cursor.
    pub(crate) fn in_order(self: &Arc<Self>) -> OrderedInbox {
        OrderedInbox(self.clone())
    }

    /// Adds a notice, even over the bound: what waits for the notice would wait for ever.
    pub(crate) fn push(&self, notice: Notice) {
        self.push_all([Event::Notice(notice)]);
    }

    /// Adds a notice unless the inbox is full; false if it was dropped.
    #[must_use]
    pub(crate) fn offer(&self, notice: Notice) -> bool {
        let fits = !self.is_full();
        if fits {
            self.push(notice);
        }
        fits
    }

    fn push_all(&self, events: impl IntoIterator<Item = Event>) {
        let mut state = self.lock();
        let was_empty = state.events.is_empty();
        for (i, event) in events.into_iter().enumerate() {
            if i == 0 {
                state.mark();
            }
            state.bytes += event.size();
            state.changes += usize::from(event.may_change_rooms());
            state.events.push_back(event);
        }
        let wake = was_empty && !state.events.is_empty();
        drop(state);
        if wake && let Some(wake) = &*self.wake() {
            wake();
        }
    }

    /// Drops `wake`, which refers to the owner that it wakes. Nobody drains after this.
    pub(crate) fn release(&self) {
        self.wake().take();
    }

    fn wake(&self) -> MutexGuard<'_, Option<Wake>> {
        self.wake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bound in bytes.
    pub(crate) fn bound(&self) -> usize {
        self.bound
    }

    /// Waits until the inbox is below its bound.
    pub(crate) async fn has_space(&self) {
        loop {
            let space = self.space.notified();
            tokio::pin!(space);
            space.as_mut().enable();
            if !self.is_full() {
                return;
            }
            space.await;
        }
    }

    /// Whether this many bytes fit.
    pub(crate) fn has_room_for(&self, bytes: usize) -> bool {
        self.lock().bytes.saturating_add(bytes) < self.bound
    }

    /// Takes up to `most` events for JS and about `SLICE_BYTES`. Broadcasts that nobody here wants do
    /// not count: a node that is busy would fall behind by what is not for it. The slice ends behind
    /// a restored session, so that its socket joins its rooms before JS handles the next slice.
    /// `None` means that the inbox is empty, and that the next event wakes JS again.
    pub(crate) fn drain(&self, most: usize) -> Option<Vec<Event>> {
        let mut left_out = self.left_out();
        left_out.forget();
        let mut state = self.lock();
        state.changes -= std::mem::take(&mut state.changes_handled);
        let taken_before = state.taken;
        let mut slice = Vec::with_capacity(most.min(state.events.len()));
        let mut bytes = 0;
        while slice.len() < most
            && left_out.len() < MOST_LEFT_OUT
            && bytes < SLICE_BYTES
            && let Some(event) = state.take()
        {
            bytes += event.size();
            state.bytes -= event.size();
            state.changes_handled += usize::from(event.may_change_rooms());
            let ends = matches!(event, Event::Stream(StreamEvent::Restored { .. }));
            slice.extend(left_out.leave_out(event, slice.len()));
            if ends {
                break;
            }
        }
        state.is_handling = state.taken > taken_before;
        if !state.is_handling {
            return None;
        }
        drop(state);
        self.space.notify_waiters();
        Some(slice)
    }

    /// The broadcasts of the slice that come behind `turn` and that somebody wants by now, although
    /// nobody wanted them when JS took the slice. Each is returned once.
    pub(crate) fn take_late(&self, turn: Turn) -> Vec<Late> {
        self.left_out().take_late(turn)
    }

    /// The last broadcast of a namespace that the slice leaves out before `turn`.
    pub(crate) fn left_out_before(&self, namespace: &Namespace, turn: Turn) -> Option<EntryId> {
        self.left_out().last_before(namespace, turn)
    }

    /// True when JS has handled everything.
    pub(crate) fn is_idle(&self) -> bool {
        let state = self.lock();
        state.events.is_empty() && !state.is_handling
    }

    /// Whether JS has yet to handle something that may change rooms.
    pub(crate) fn may_change_rooms(&self) -> bool {
        self.lock().changes > 0
    }

    /// The number of events that wait, and their bytes.
    pub(crate) fn len_and_bytes(&self) -> (usize, usize) {
        let state = self.lock();
        (state.events.len(), state.bytes)
    }

    /// How long the oldest event has been waiting.
    pub(crate) fn age(&self) -> Duration {
        self.lock().came.front().map_or(Duration::ZERO, |(_, came)| came.elapsed())
    }

    fn is_full(&self) -> bool {
        self.lock().bytes >= self.bound
    }

    fn left_out(&self) -> MutexGuard<'_, LeftOut> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds events that have a place in a stream's order. Code can reach this only while it holds the
/// stream's cursor, so nothing else can push in between.
pub(crate) struct OrderedInbox(Arc<Inbox>);

impl OrderedInbox {
    /// Adds events, even over the bound: the reader waits for space before it reads on.
    pub(crate) fn push_all(&mut self, events: impl IntoIterator<Item = StreamEvent>) {
        self.0.push_all(events.into_iter().map(Event::Stream));
    }

    /// Adds one event, even over the bound.
    pub(crate) fn push(&mut self, event: StreamEvent) {
        self.push_all([event]);
    }

    /// Adds an event unless the inbox is full; false if it was dropped.
    #[must_use]
    pub(crate) fn offer(&mut self, event: StreamEvent) -> bool {
        let fits = !self.0.is_full();
        if fits {
            self.push(event);
        }
        fits
    }

    /// Adds events as long as the inbox is not full; returns how many were dropped.
    pub(crate) fn offer_all(&mut self, events: Vec<StreamEvent>) -> u64 {
        events.into_iter().map(|event| u64::from(!self.offer(event))).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::engine::missed::MissedList;
    use crate::engine::wire::EntryId;
    use crate::testing::broadcast;

    fn message(bytes: usize) -> StreamEvent {
        StreamEvent::Message { namespace: 0, payload: vec![0; bytes] }
    }

    #[test]
    fn wakes_once_per_filling() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counted = wakes.clone();
        let inbox = Arc::new(Inbox::new(1 << 20, move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        inbox.in_order().push(message(1));
        inbox.in_order().push(message(1));
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        assert_eq!(inbox.drain(1).unwrap().len(), 1);
        inbox.in_order().push(message(1));
        assert_eq!(wakes.load(Ordering::Relaxed), 1, "the owner has not seen it empty yet");
        assert_eq!(inbox.drain(10).unwrap().len(), 2);
        inbox.in_order().push(message(1));
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
        assert_eq!(inbox.len_and_bytes(), (1, message(1).size()));
    }

    #[tokio::test(start_paused = true)]
    async fn full_drops_offers_and_holds_the_reader() {
        let inbox = Arc::new(Inbox::new(1000, || {}));
        inbox.in_order().push(message(2000));
        assert!(!inbox.in_order().offer(message(1)));
        let waiting = tokio::spawn({
            let inbox = inbox.clone();
            async move { inbox.has_space().await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!waiting.is_finished());
        inbox.drain(1).unwrap();
        waiting.await.unwrap();
        assert!(inbox.in_order().offer(message(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_is_that_of_the_oldest_that_waits() {
        let inbox = Arc::new(Inbox::new(1 << 20, || {}));
        assert_eq!(inbox.age(), Duration::ZERO);
        for _ in 0..3 {
            inbox.in_order().push_all([message(1), message(1)]);
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(inbox.age().as_secs(), 3);
        inbox.drain(1).unwrap();
        assert_eq!(inbox.age().as_secs(), 3, "another one is as old");
        inbox.drain(1).unwrap();
        assert_eq!(inbox.age().as_secs(), 2);
        inbox.drain(3).unwrap();
        assert_eq!(inbox.age().as_secs(), 1);
        inbox.drain(3).unwrap();
        assert_eq!(inbox.age(), Duration::ZERO);
        inbox.in_order().push(message(1));
        assert_eq!(inbox.age(), Duration::ZERO);
    }

    #[test]
    fn large_events_make_small_slices() {
        let inbox = Arc::new(Inbox::new(1 << 30, || {}));
        inbox.in_order().push_all((0..5).map(|_| message(SLICE_BYTES / 2)));
        let slices: Vec<usize> = std::iter::from_fn(|| inbox.drain(100)).map(|s| s.len()).collect();
        assert_eq!(slices, [2, 2, 1]);
    }

    #[test]
    fn broadcasts_that_nobody_wants_do_not_make_slices_smaller() {
        let inbox = Arc::new(Inbox::new(1 << 30, || {}));
        let namespace = Arc::new(Namespace::new(0, "/", true, true));
        namespace.set_room("r", true);
        let to = |seq| broadcast(&namespace, if seq % 1_000 == 0 { "r" } else { "q" }, seq);
        inbox.in_order().push_all((1..=2_000).map(to));
        let slices: Vec<usize> = std::iter::from_fn(|| inbox.drain(1)).map(|s| s.len()).collect();
        assert_eq!(slices, [1, 1]);
        // Nor are they passed over all at once: that takes time, and memory until the next slice.
        let size = Event::Stream(to(1)).size();
        inbox.in_order().push_all((1..=20_000).map(|seq| broadcast(&namespace, "q", seq)));
        assert_eq!(inbox.drain(1).unwrap().len(), 0);
        let passed = 20_000 - inbox.len_and_bytes().0;
        assert_eq!(passed, MOST_LEFT_OUT.min(SLICE_BYTES.div_ceil(size)));
        while inbox.drain(1).is_some() {}
        assert_eq!(inbox.len_and_bytes(), (0, 0));
    }

    #[test]
    fn a_slice_ends_behind_a_restored_session() {
        let inbox = Arc::new(Inbox::new(1 << 20, || {}));
        let restored = StreamEvent::Restored {
            call: 1,
            session: vec![],
            generation: 1,
            missed: Arc::new(MissedList::new(Vec::new(), &Arc::default())),
            position: EntryId::ZERO,
        };
        inbox.in_order().push(message(1));
        inbox.in_order().push(restored);
        inbox.in_order().push(message(1));
        assert_eq!(inbox.drain(10).unwrap().len(), 2);
        assert_eq!(inbox.drain(10).unwrap().len(), 1);
    }
}
