//! Counters of one engine.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio::time::Instant;

use super::latency::Latencies;

/// A counter that only rises.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts the connections that were made again after a break, and tells who has to know.
#[derive(Debug, Default)]
pub(crate) struct Reconnects(watch::Sender<Reconnected>);

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Reconnected {
    count: u64,
    /// When the last one was.
    pub(crate) at: Option<Instant>,
}

impl Reconnects {
    pub(crate) fn add(&self) {
        self.0.send_modify(|Reconnected { count, at }| {
            *count += 1;
            *at = Some(Instant::now());
        });
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.borrow().count
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Reconnected> {
        self.0.subscribe()
    }
}

/// What the engine has seen and done since it was started.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// Entries read from the streams.
    pub(crate) read: Counter,
    /// Entries and PUB/SUB messages handed to JS.
    pub(crate) delivered: Counter,
    /// Entries without a recipient here.
    pub(crate) skipped: Counter,
    /// Entries and sessions that could not be understood.
    pub(crate) malformed: Counter,
    /// Duplicates dropped: entries that their writer had sent twice.
    pub(crate) doubled: Counter,
    /// Entries known to be lost: trimmed before this node read them, or lost in a failover.
    pub(crate) lost: Counter,
    /// Losses that were reported, with or without a known number of entries.
    pub(crate) losses: Counter,
    /// Times that the stream was deleted, replaced, or fell back.
    pub(crate) resets: Counter,
    /// Entries written and acknowledged.
    pub(crate) published: Counter,
    /// Publishes that failed.
    pub(crate) failed: Counter,
    /// Publishes that the writer sent again without proof that the first attempt was lost.
    pub(crate) doubtful: Counter,
    /// PUB/SUB messages dropped because the inbox was full.
    pub(crate) dropped: Counter,
    /// Connections made again after one broke.
    pub(crate) reconnects: Reconnects,
    /// Sessions that were restored.
    pub(crate) restores: Counter,
    /// Restores that were refused.
    pub(crate) restores_refused: Counter,
    /// Sessions that were saved for disconnected clients.
    pub(crate) sessions_saved: Counter,
    /// From a publish to Redis's acknowledgement.
    pub(crate) publish_latency: Latencies,
    /// From JS's call for a session to its answer, for sessions that were restored.
    pub(crate) restore_latency: Latencies,
}
