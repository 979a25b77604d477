//! Counters of one engine.

use std::sync::atomic::{AtomicU64, Ordering};

use super::latency::Latencies;

/// A counter that only rises.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the engine has seen and done since it was started.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// Entries read from the streams.
    pub(crate) read: Counter,
    /// Entries and PUB/SUB messages handed to JS.
    pub(crate) delivered: Counter,
    /// Entries that nobody here wants.
    pub(crate) skipped: Counter,
    /// Entries that could not be understood.
    pub(crate) malformed: Counter,
    /// Entries dropped because a resend had doubled them.
    pub(crate) doubled: Counter,
    /// Entries that are known to have been lost: trimmed before they were read, or in a failover.
    pub(crate) lost: Counter,
    /// Losses that were said, whether or not it is known how many entries.
    pub(crate) losses: Counter,
    /// Times that the stream was deleted, replaced, or fell back.
    pub(crate) resets: Counter,
    /// Entries written and acknowledged.
    pub(crate) published: Counter,
    /// Publishes that failed.
    pub(crate) failed: Counter,
    /// Publishes that were sent again without proof that the first time was lost.
    pub(crate) doubtful: Counter,
    /// PUB/SUB messages dropped because the inbox was full.
    pub(crate) dropped: Counter,
    /// Connections made again after one broke.
    pub(crate) reconnects: Counter,
    /// Sessions given back to clients.
    pub(crate) restores: Counter,
    /// Sessions that were asked for and not given back.
    pub(crate) restores_refused: Counter,
    /// Sessions kept for clients that have gone.
    pub(crate) sessions_saved: Counter,
    /// From a publish to Redis's acknowledgement.
    pub(crate) publish_latency: Latencies,
    /// From the question for a session to its answer, of those that were given back.
    pub(crate) restore_latency: Latencies,
}
