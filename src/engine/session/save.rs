//! What is to be written about a client's session.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use redis::Value;
use tokio::time::Instant;

use super::keys::SessionKeys;
use super::record::{Generation, NOT_OURS, RECORD_LIFE};
use crate::engine::namespaces::NamespaceHandle;

/// A session is large from this many bytes on: it goes alone, and Redis's own limits are not below
/// 1 MB.
pub(super) const LARGE: usize = 512 << 10;
/// A large session fails after this many connections broke over it.
const MOST_BREAKS: u32 = 3;

/// A change of the keys of one client's session.
#[derive(Debug)]
pub(crate) struct Save {
    pub(crate) keys: SessionKeys,
    pub(crate) generation: Generation,
    pub(crate) what: What,
    /// Nobody needs it any more after this moment. `None` while the client is connected: what is
    /// written later replaces it.
    until: Option<Instant>,
    /// Whether Redis may hold a record of this generation.
    pub(super) has_record: AtomicBool,
    /// How often it was tried without success.
    pub(super) tries: u32,
    /// Whether Redis has refused it.
    pub(super) was_refused: bool,
    /// How often a connection that had just worked broke over it.
    pub(super) breaks: AtomicU32,
}

/// The session of a client that is connected here.
pub(crate) struct LiveSession {
    pub(crate) pid: String,
    pub(crate) generation: Generation,
    /// Whether it has no record yet.
    pub(crate) is_new: bool,
    /// msgpack.
    pub(crate) session: Vec<u8>,
}

/// What has become of a session.
#[derive(Debug)]
pub(crate) enum What {
    /// Its client has gone: any node may restore it, for the time `keep`.
    Ended { session: Vec<u8>, keep: Duration },
    /// Its client is connected here.
    Live {
        namespace: NamespaceHandle,
        session: Vec<u8>,
        /// How long it is honoured if this node dies.
        keep: Duration,
        /// Whether it has no record yet.
        is_new: bool,
    },
    /// Its client is gone for good.
    Left,
    /// A restore has taken the session and failed.
    Returned(Taken),
}

/// A session that a restore has taken, to put it back.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(super) session: Vec<u8>,
    pub(super) keep: Duration,
    /// The generation that the restore has begun.
    pub(super) claimed: Generation,
    /// What stood in the session's record.
    pub(super) record: Vec<u8>,
    pub(super) is_ended: bool,
}

impl Save {
    pub(crate) fn new(
        keys: SessionKeys,
        generation: Generation,
        what: What,
        keep: Duration,
    ) -> Self {
        let until = match what {
            What::Live { .. } => None,
            What::Ended { .. } | What::Returned(_) => Some(Instant::now() + keep),
            // As long as the record that it takes away may be there.
            What::Left => Some(Instant::now() + keep + RECORD_LIFE),
        };
        let has_record = AtomicBool::new(!matches!(what, What::Live { is_new: true, .. }));
        let (tries, was_refused, breaks) = (0, false, AtomicU32::new(0));
        Self { keys, generation, what, until, has_record, tries, was_refused, breaks }
    }

    pub(super) fn is_needed(&self, now: Instant) -> bool {
        let has_nothing_to_do = self.is_left() && !self.has_record.load(Ordering::Relaxed);
        !has_nothing_to_do && self.until.is_none_or(|until| now <= until)
    }

    pub(super) fn size(&self) -> usize {
        match &self.what {
            What::Ended { session, .. } | What::Live { session, .. } => session.len(),
            What::Returned(taken) => taken.session.len(),
            What::Left => 0,
        }
    }

    /// Whether it is the session of a client that has gone.
    pub(super) fn is_of_gone(&self) -> bool {
        matches!(self.what, What::Ended { .. })
    }

    /// Whether it only takes a record away.
    pub(super) fn is_left(&self) -> bool {
        matches!(self.what, What::Left)
    }

    /// Takes the place of an earlier one, and what its attempts have shown.
    pub(super) fn replaces(&mut self, earlier: &Self) {
        if let What::Live { is_new: true, .. } = earlier.what
            && let What::Live { is_new, .. } = &mut self.what
        {
            *is_new = true;
        }
        self.has_record = AtomicBool::new(earlier.has_record.load(Ordering::Relaxed));
        self.tries = self.tries.max(earlier.tries);
        self.was_refused |= earlier.was_refused;
        self.breaks.fetch_max(earlier.breaks.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether connections broke over it alone because it is large: the server, or something before
    /// it, has a limit.
    pub(super) fn is_too_large(&self) -> bool {
        self.size() >= LARGE && self.breaks.load(Ordering::Relaxed) >= MOST_BREAKS
    }

    /// After it was given up: the save that takes the session's record away, which shows an earlier
    /// state. The client must not be recovered into that.
    pub(super) fn left(&self) -> Option<Self> {
        let (What::Ended { keep, .. } | What::Live { keep, .. }) = self.what else { return None };
        let has_record = self.generation != NOT_OURS && self.has_record.load(Ordering::Relaxed);
        has_record.then(|| Self::new(self.keys.clone(), self.generation, What::Left, keep))
    }

    /// Whether it can be written together with others: it takes a record away, or is the record of a
    /// connected client, unless an earlier attempt has failed.
    pub(super) fn is_simple(&self) -> bool {
        self.is_left() || matches!(self.what, What::Live { .. }) && self.tries == 0
    }

    /// Whether the record of a connected client was gone when it was written, as Redis's answers
    /// show: it has expired, or a later generation has replaced it.
    pub(super) fn was_gone(&self, answers: &[Value]) -> bool {
        matches!(self.what, What::Live { is_new: false, .. })
            && answers.first() == Some(&Value::Int(1))
    }

    /// Whether `next` makes this one needless.
    pub(super) fn is_replaced_by(&self, next: &Self) -> bool {
        let is_superseding = !matches!(next.what, What::Returned(_));
        matches!(self.what, What::Live { .. })
            && is_superseding
            && self.generation == next.generation
    }
}
