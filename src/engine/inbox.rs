//! What waits for the JS thread: bounded in bytes, in the order in which it is to be handled.
//!
//! The owner is woken once when something comes into an empty inbox and drains it in slices until
//! it is empty again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::error::Error;
use super::link::LinkName;
use super::membership::Changes;
use super::namespaces::{Hold, Namespace};
use super::stream::{Completion, EntryId, Local, Missed};
use super::wire::{BroadcastHead, Data, MessageType, Packet};

/// Names an open namespace between JS and the engine.
pub type NamespaceHandle = u32;

/// Names a question of JS to the engine.
pub type CallId = u32;

/// How exactly the age of what waits is known.
const AGE_STEP: Duration = Duration::from_millis(50);

/// What JS is handed at once: handling more of it would keep the event loop from everything else.
const SLICE_BYTES: usize = 512 * 1024;

/// Something for JS to handle.
#[derive(Debug)]
pub enum Event {
    /// An entry that another node wrote.
    Entry {
        /// For which namespace.
        namespace: NamespaceHandle,
        /// Who wrote it.
        uid: Arc<str>,
        /// Type of the message.
        kind: MessageType,
        /// The entry's ID.
        id: EntryId,
        /// Data of the message.
        data: Option<Data>,
        /// Whatever it is, it may change rooms.
        hold: Option<Hold>,
    },
    /// A broadcast of another node, ready to be sent to local sockets.
    Broadcast {
        /// For which namespace.
        namespace: Arc<Namespace>,
        /// The entry's ID; fits doubles.
        id: EntryId,
        /// Who gets it, and how; all rooms have names.
        head: BroadcastHead,
        /// The Socket.IO packet, its offset included.
        packet: Packet,
    },
    /// One of our own publishes has ended: it is its turn.
    Published(Completion),
    /// A PUB/SUB message: msgpack of a whole message.
    Message {
        /// For which namespace.
        namespace: NamespaceHandle,
        /// The payload as it came.
        payload: Vec<u8>,
        /// The user's handlers may change rooms.
        hold: Option<Hold>,
    },
    /// The answer to a call.
    Answer {
        /// Which call.
        call: CallId,
        /// The answer.
        result: Result<Answer, Error>,
        /// The socket of a restored session joins its rooms.
        hold: Option<Hold>,
    },
    /// Entries of a stream were lost, or may have been.
    Lost {
        /// Which of the engine's streams.
        stream: u32,
        /// What happened.
        loss: Loss,
        /// How many entries, where that is known.
        entries: Option<u64>,
    },
    /// Nodes of our own kind have come or gone: whoever waits for answers looks again.
    MembersChanged {
        /// In which namespace; `None` where nodes are heard in all of them at once.
        namespace: Option<NamespaceHandle>,
        /// Who.
        changes: Changes,
    },
    /// A connection that was broken stands again.
    Reconnected {
        /// Whose.
        link: LinkName,
        /// Of which of the engine's streams.
        stream: Option<u32>,
        /// How long it was away.
        away: Duration,
    },
    /// The credentials are wanted for a new connection.
    CredentialsWanted {
        /// To be given back with them.
        request: u32,
    },
    /// Something that the operator has to know.
    Warning {
        /// What it is.
        error: Error,
    },
    /// A line for `DEBUG=`.
    Debug {
        /// The text.
        line: String,
    },
}

/// How entries were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// They were trimmed before we came by, or lost in a failover.
    Trimmed,
    /// The stream was deleted, or replaced by another one.
    Deleted,
    /// The stream fell back behind what we had read.
    FellBack,
    /// Something else stands at the stream's key.
    WrongType,
}

impl Loss {
    /// The name that JS gets.
    pub fn name(self) -> &'static str {
        match self {
            Loss::Trimmed => "trimmed",
            Loss::Deleted => "deleted",
            Loss::FellBack => "fell back",
            Loss::WrongType => "wrong type",
        }
    }
}

/// What a call gets.
#[derive(Debug)]
pub enum Answer {
    /// It is done.
    Done,
    /// Who listens in a namespace.
    Census(Census),
    /// A session that was restored, with everything up to here: what comes behind this event in
    /// the inbox is live.
    Session {
        /// msgpack of `{sid, pid, rooms, data}`.
        session: Vec<u8>,
        /// What the client missed, in order.
        missed: Vec<Missed>,
        /// The position up to which that is.
        position: EntryId,
    },
}

/// Who listens to a namespace's requests, besides this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// Nodes of our own kind that are alive.
    pub known: Vec<String>,
    /// How many further ones there are: upstream nodes, and those not heard of yet.
    pub others: u32,
    /// For each uid that was asked about: whether it is among those.
    pub present: Vec<bool>,
}

impl Event {
    /// What is to be said of nodes that have come or gone; nothing when nobody has.
    pub fn members_changed(namespace: Option<NamespaceHandle>, changes: Changes) -> Option<Self> {
        (!changes.is_empty()).then_some(Self::MembersChanged { namespace, changes })
    }

    /// Takes what holds the namespace open out of the event: to be dropped when it was handled.
    pub fn take_hold(&mut self) -> Option<Hold> {
        match self {
            Event::Entry { hold, .. }
            | Event::Message { hold, .. }
            | Event::Answer { hold, .. }
            | Event::Published(Completion { hold, .. }) => hold.take(),
            _ => None,
        }
    }

    /// Rough size in bytes, for the bound.
    pub fn size(&self) -> usize {
        const OVERHEAD: usize = 128;
        OVERHEAD
            + match self {
                Event::Entry { data, .. } => data.as_ref().map_or(0, Data::len),
                Event::Broadcast { packet, .. } => OVERHEAD + packet.len(),
                Event::Published(Completion { local: Local::Packet(packet), .. }) => packet.len(),
                Event::Message { payload, .. } => payload.len(),
                Event::Answer { result: Ok(Answer::Session { session, missed, .. }), .. } => {
                    session.len() + missed.iter().map(|m| OVERHEAD + m.len()).sum::<usize>()
                }
                Event::Debug { line } => line.len(),
                _ => 0,
            }
    }
}

type Wake = Box<dyn Fn() + Send + Sync>;

/// The queue between the engine's tasks and the JS thread.
pub struct Inbox {
    state: Mutex<State>,
    bound: usize,
    wake: Mutex<Option<Wake>>,
    space: Notify,
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    bytes: usize,
    /// What was drained last is being handled.
    is_handling: bool,
    /// How many events were drained.
    taken: u64,
    /// When events came in: those from this number on, by their count since the start.
    came: VecDeque<(u64, Instant)>,
}

impl State {
    /// Events come in. Those that come within `AGE_STEP` count as of the same age.
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
        }
        while self.came.get(1).is_some_and(|(number, _)| *number <= self.taken) {
            self.came.pop_front();
        }
        Some(event)
    }
}

impl Inbox {
    /// `wake` is called when the first event comes into an empty inbox.
    pub fn new(bound: usize, wake: impl Fn() + Send + Sync + 'static) -> Self {
        let wake: Wake = Box::new(wake);
        Self { state: Mutex::default(), bound, wake: Mutex::new(Some(wake)), space: Notify::new() }
    }

    /// Adds events, over the bound if need be: the reader waits for space before it reads on.
    pub fn push_all(&self, events: impl IntoIterator<Item = Event>) {
        let mut state = self.lock();
        let was_empty = state.events.is_empty();
        for (i, event) in events.into_iter().enumerate() {
            if i == 0 {
                state.mark();
            }
            state.bytes += event.size();
            state.events.push_back(event);
        }
        let wake = was_empty && !state.events.is_empty();
        drop(state);
        if wake && let Some(wake) = &*self.wake() {
            wake();
        }
    }

    /// Lets go of `wake`, and so of whoever it wakes: nobody drains any more.
    pub fn release(&self) {
        self.wake().take();
    }

    fn wake(&self) -> MutexGuard<'_, Option<Wake>> {
        self.wake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one event.
    pub fn push(&self, event: Event) {
        self.push_all([event]);
    }

    /// Adds an event unless the inbox is full; false when it was dropped.
    #[must_use]
    pub fn offer(&self, event: Event) -> bool {
        if self.is_full() {
            return false;
        }
        self.push(event);
        true
    }

    /// Adds events as long as the inbox is not full; returns how many were dropped.
    pub fn offer_all(&self, events: Vec<Event>) -> u64 {
        events.into_iter().map(|event| u64::from(!self.offer(event))).sum()
    }

    /// The bound in bytes.
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// Waits until the inbox is below its bound.
    pub async fn has_space(&self) {
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

    /// Whether so many bytes fit.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.lock().bytes.saturating_add(bytes) < self.bound
    }

    /// Takes up to `most` events and about `SLICE_BYTES`, and ends behind a restored session: the
    /// socket joins its rooms before the next slice is handled. Nothing means that the next event
    /// wakes again.
    pub fn drain(&self, most: usize) -> Option<Vec<Event>> {
        let mut state = self.lock();
        let mut taken = Vec::with_capacity(most.min(state.events.len()));
        let mut bytes = 0;
        while taken.len() < most
            && bytes < SLICE_BYTES
            && let Some(event) = state.take()
        {
            bytes += event.size();
            state.bytes -= event.size();
            let ends = matches!(event, Event::Answer { result: Ok(Answer::Session { .. }), .. });
            taken.push(event);
            if ends {
                break;
            }
        }
        state.is_handling = !taken.is_empty();
        drop(state);
        if taken.is_empty() {
            return None;
        }
        self.space.notify_waiters();
        // By the rooms of this moment: those of the moment at which it was read do not count.
        taken.retain(|event| match event {
            Event::Broadcast { namespace, id, head, .. } => namespace.wants(*id, head),
            _ => true,
        });
        Some(taken)
    }

    /// True when JS has handled everything.
    pub fn is_idle(&self) -> bool {
        let state = self.lock();
        state.events.is_empty() && !state.is_handling
    }

    /// Number and bytes of what waits.
    pub fn len_and_bytes(&self) -> (usize, usize) {
        let state = self.lock();
        (state.events.len(), state.bytes)
    }

    /// How long the oldest of what waits has been waiting.
    pub fn age(&self) -> Duration {
        self.lock().came.front().map_or(Duration::ZERO, |(_, came)| came.elapsed())
    }

    fn is_full(&self) -> bool {
        self.lock().bytes >= self.bound
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn message(bytes: usize) -> Event {
        Event::Message { namespace: 0, payload: vec![0; bytes], hold: None }
    }

    #[test]
    fn wakes_once_per_filling() {
        let wakes = Arc::new(AtomicUsize::new(0));
        let counted = wakes.clone();
        let inbox = Inbox::new(1 << 20, move || {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        inbox.push(message(1));
        inbox.push(message(1));
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        assert_eq!(inbox.drain(1).unwrap().len(), 1);
        inbox.push(message(1));
        assert_eq!(wakes.load(Ordering::Relaxed), 1, "the owner has not seen it empty yet");
        assert_eq!(inbox.drain(10).unwrap().len(), 2);
        inbox.push(message(1));
        assert_eq!(wakes.load(Ordering::Relaxed), 2);
        assert_eq!(inbox.len_and_bytes(), (1, 129));
    }

    #[tokio::test(start_paused = true)]
    async fn full_drops_offers_and_holds_the_reader() {
        let inbox = Arc::new(Inbox::new(1000, || {}));
        inbox.push(message(2000));
        assert!(!inbox.offer(message(1)));
        let waiting = tokio::spawn({
            let inbox = inbox.clone();
            async move { inbox.has_space().await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!waiting.is_finished());
        inbox.drain(1).unwrap();
        waiting.await.unwrap();
        assert!(inbox.offer(message(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_age_is_that_of_the_oldest_that_waits() {
        let inbox = Inbox::new(1 << 20, || {});
        assert_eq!(inbox.age(), Duration::ZERO);
        for _ in 0..3 {
            inbox.push_all([message(1), message(1)]);
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
        inbox.push(message(1));
        assert_eq!(inbox.age(), Duration::ZERO);
    }

    #[test]
    fn large_events_make_small_slices() {
        let inbox = Inbox::new(1 << 30, || {});
        inbox.push_all((0..5).map(|_| message(SLICE_BYTES / 2)));
        let slices: Vec<usize> = std::iter::from_fn(|| inbox.drain(100)).map(|s| s.len()).collect();
        assert_eq!(slices, [2, 2, 1]);
    }

    #[test]
    fn a_slice_ends_behind_a_restored_session() {
        let inbox = Inbox::new(1 << 20, || {});
        let session = Answer::Session { session: vec![], missed: vec![], position: EntryId::ZERO };
        inbox.push(message(1));
        inbox.push(Event::Answer { call: 1, result: Ok(session), hold: None });
        inbox.push(message(1));
        assert_eq!(inbox.drain(10).unwrap().len(), 2);
        assert_eq!(inbox.drain(10).unwrap().len(), 1);
    }
}
