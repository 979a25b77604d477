//! The counters and the state of a node, as a JS object.

use napi_derive::napi;

use crate::engine::Engine;
use crate::engine::latency::{Latencies, LatencySnapshot};
use crate::engine::stats::Counter;
use crate::engine::stream::{ConnectedTo, Progress};

/// See `AdapterStats` in `index.d.ts`.
#[napi(object, object_from_js = false)]
pub struct NativeStats {
    /// Entries read.
    pub read: f64,
    /// Entries and messages handed to JS.
    pub delivered: f64,
    /// Entries without a recipient here.
    pub skipped: f64,
    /// Entries not understood.
    pub malformed: f64,
    /// Duplicates dropped.
    pub doubled: f64,
    /// Entries known to be lost.
    pub lost: f64,
    /// Losses reported.
    pub losses: f64,
    /// Times the stream was deleted, replaced, or fell back.
    pub resets: f64,
    /// Entries written.
    pub published: f64,
    /// Publishes failed.
    pub failed: f64,
    /// Publishes sent again in doubt.
    pub doubtful: f64,
    /// PUB/SUB messages dropped.
    pub dropped: f64,
    /// Connections made again.
    pub reconnects: f64,
    /// Sessions restored.
    pub restores: f64,
    /// Restores refused.
    pub restores_refused: f64,
    /// Sessions saved.
    pub sessions_saved: f64,
    /// From a publish to the acknowledgement.
    pub publish_latency: NativeLatency,
    /// From JS's call for a session to its answer.
    pub restore_latency: NativeLatency,
    /// The stream's key.
    pub stream: String,
    /// Whether all connections are open.
    pub connected: bool,
    /// What the reader is connected to: "master" or "replica".
    pub read_from: Option<String>,
    /// The address of that server.
    pub read_from_address: Option<String>,
    /// For how long the reader has heard nothing, in ms.
    pub silent_ms: f64,
    /// The reader's position.
    pub position: Option<String>,
    /// Entries not read yet.
    pub lag_entries: Option<f64>,
    /// How much older the reader's position is than the stream's end, in ms.
    pub lag_ms: Option<f64>,
    /// Entries in the stream.
    pub stream_length: Option<f64>,
    /// Publishes that have not ended.
    pub queue_length: f64,
    /// Bytes of the publishes that are not in a batch yet.
    pub queue_bytes: f64,
    /// Events not drained.
    pub inbox_length: f64,
    /// Bytes of the events not drained.
    pub inbox_bytes: f64,
    /// How long the oldest event has been waiting, in ms.
    pub inbox_age_ms: f64,
    /// Broadcasts kept for recovery.
    pub history_length: f64,
    /// Bytes of the broadcasts kept for recovery.
    pub history_bytes: f64,
    /// Nodes, this one included.
    pub members: f64,
}

/// A histogram.
#[napi(object, object_from_js = false)]
pub struct NativeLatency {
    /// How many durations.
    pub count: f64,
    /// Their sum, in ms.
    pub sum_ms: f64,
    /// Pairs of an upper bound in ms and the number of durations up to it.
    pub buckets: Vec<Vec<f64>>,
}

impl NativeStats {
    /// The counters of an engine, and the state of a namespace's stream.
    pub(crate) fn of(engine: &Engine, nsp: &str) -> Self {
        let stats = engine.stats();
        let count = |counter: &Counter| counter.get() as f64;
        let stream = engine.stream(nsp);
        let (queue_length, queue_bytes) = stream.queue.len_and_bytes();
        let (inbox_length, inbox_bytes) = engine.inbox().len_and_bytes();
        let progress = *stream.progress.borrow();
        let reached = match progress {
            Progress::At(id) => Some(id),
            Progress::Starting | Progress::Refused | Progress::Unread => None,
        };
        let members = engine.members(nsp);
        // Locked last: the control task locks a cursor while it holds the lock of the members.
        let cursor = stream.cursor();
        let reads = reached.map(|_| (cursor.position, cursor.read));
        let lag_entries = reads.and_then(|(position, read)| cursor.lag.entries(position, read));
        let connected_to = cursor.connected_to.as_ref();
        let role = |to: &ConnectedTo| if to.shares.is_some() { "replica" } else { "master" };
        let lag = reads.and_then(|(position, _)| cursor.lag.time(position));
        Self {
            read: count(&stats.read),
            delivered: count(&stats.delivered),
            skipped: count(&stats.skipped),
            malformed: count(&stats.malformed),
            doubled: count(&stats.doubled),
            lost: count(&stats.lost),
            losses: count(&stats.losses),
            resets: count(&stats.resets),
            published: count(&stats.published),
            failed: count(&stats.failed),
            doubtful: count(&stats.doubtful),
            dropped: count(&stats.dropped),
            reconnects: stats.reconnects.get() as f64,
            restores: count(&stats.restores),
            restores_refused: count(&stats.restores_refused),
            sessions_saved: count(&stats.sessions_saved),
            publish_latency: NativeLatency::of(&stats.publish_latency),
            restore_latency: NativeLatency::of(&stats.restore_latency),
            stream: stream.key.clone(),
            connected: engine.is_connected(nsp),
            read_from: connected_to.map(|to| role(to).to_owned()),
            read_from_address: connected_to.map(|to| to.address.to_string()),
            silent_ms: cursor.lag.silence().as_millis() as f64,
            position: reached.map(|id| id.to_string()),
            lag_entries: lag_entries.map(|entries| entries as f64),
            lag_ms: lag.map(|lag| lag.as_millis() as f64),
            stream_length: cursor.lag.length().map(|length| length as f64),
            queue_length: queue_length as f64,
            queue_bytes: queue_bytes as f64,
            inbox_length: inbox_length as f64,
            inbox_bytes: inbox_bytes as f64,
            inbox_age_ms: engine.inbox().age().as_millis() as f64,
            history_length: cursor.history.len() as f64,
            history_bytes: cursor.history.bytes() as f64,
            members: members as f64,
        }
    }
}

impl NativeLatency {
    fn of(latencies: &Latencies) -> Self {
        let LatencySnapshot { count, sum_ms, buckets } = latencies.snapshot();
        let buckets = buckets.into_iter().map(|(bound, count)| vec![bound, count as f64]);
        Self { count: count as f64, sum_ms, buckets: buckets.collect() }
    }
}
