//! Counters of one engine.

use std::sync::atomic::{AtomicU64, Ordering};

use super::latency::Latencies;

/// A counter that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the engine has seen and done since it was started.
#[derive(Debug, Default)]
pub struct Stats {
    /// Entries read from the streams.
    pub read: Counter,
    /// Entries and PUB/SUB messages handed to JS.
    pub delivered: Counter,
    /// Entries that nobody here wants.
    pub skipped: Counter,
    /// Entries that could not be understood.
    pub malformed: Counter,
    /// Entries dropped because a resend had doubled them.
    pub doubled: Counter,
    /// Entries that are known to have been lost: trimmed before they were read, or in a failover.
    pub lost: Counter,
    /// Losses that were said, whether or not it is known how many entries.
    pub losses: Counter,
    /// Times that the stream was deleted, replaced, or fell back.
    pub resets: Counter,
    /// Entries written and acknowledged.
    pub published: Counter,
    /// Publishes that failed.
    pub failed: Counter,
    /// Publishes that were sent again without proof that the first time was lost.
    pub doubtful: Counter,
    /// PUB/SUB messages dropped because the inbox was full.
    pub dropped: Counter,
    /// Connections made again after one broke.
    pub reconnects: Counter,
    /// Sessions given back to clients.
    pub restores: Counter,
    /// Sessions that were asked for and not given back.
    pub restores_refused: Counter,
    /// Sessions kept for clients that have gone.
    pub sessions_saved: Counter,
    /// From a publish to Redis's acknowledgement.
    pub publish_latency: Latencies,
    /// From the question for a session to its answer, of those that were given back.
    pub restore_latency: Latencies,
}
