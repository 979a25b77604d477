//! The adapter's options. JS has checked them (`lib/options.js`).

use std::time::Duration;

use serde::Deserialize;

/// Whether an engine is a node's or an emitter's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// A Socket.IO server among others.
    Node,
    /// It only writes: it reads nothing, and other nodes neither know it nor send it requests.
    Emitter,
}

/// How requests, answers and heartbeats travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RequestsVia {
    /// Over PUB/SUB, as in upstream 0.3.
    PubSub,
    /// In the stream, as in upstream 0.1 and 0.2.
    Stream,
}

/// Which servers the reader reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ReadFrom {
    /// The master only.
    Master,
    /// A replica of the master, and the master while no replica is fit for it.
    Replica,
    /// The same, but one of the nearest replicas, and the master if no replica is about as near.
    Nearest,
}

/// How long a stream keeps its entries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// No more than about this many entries.
    pub(crate) max_len: u64,
    /// At least this many entries, however old they are.
    pub(crate) min_len: u64,
    /// Beyond `min_len`, only entries that are not older than this. `None`: age does not matter.
    pub(crate) max_age: Option<Duration>,
    /// How far back restores may have to reach. `None` without connection state recovery.
    pub(crate) needed: Option<Duration>,
}

/// Options of one engine. docs/options.md documents all fields but `role`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Options {
    pub(crate) role: Role,
    /// Name of the stream, or its prefix with several streams.
    pub(crate) stream_name: String,
    /// How many streams share the namespaces.
    pub(crate) stream_count: u32,
    /// Prefix of the PUB/SUB channels.
    pub(crate) channel_prefix: String,
    pub(crate) requests_via: RequestsVia,
    /// SSUBSCRIBE and SPUBLISH instead of SUBSCRIBE and PUBLISH.
    pub(crate) use_sharded_pub_sub: bool,
    /// Approximate length at which the stream is trimmed.
    pub(crate) max_len: u64,
    /// How many entries the stream keeps at least, however old they are.
    pub(crate) min_len: u64,
    /// How long the stream keeps the others, in ms; 0: their age does not matter.
    pub(crate) max_age: u64,
    /// How far back restores may have to reach, in ms; 0 without connection state recovery.
    pub(crate) needed_age: u64,
    pub(crate) read_from: ReadFrom,
    /// Entries per XREAD.
    pub(crate) read_count: u32,
    /// How long one XREAD waits, in ms; 0 is without limit.
    pub(crate) block_time_in_ms: u64,
    /// Prefix of the session keys.
    pub(crate) session_key_prefix: String,
    /// Time between two heartbeats of a node, in ms.
    pub(crate) heartbeat_interval: u64,
    /// Requests do not wait for a node that was silent for this long, in ms.
    pub(crate) heartbeat_timeout: u64,
    /// Whether the sessions of connected clients are kept in Redis.
    pub(crate) live_sessions: bool,
    /// Whether it is told when the client of a session has not come back in time.
    pub(crate) expired_sessions: bool,
    /// Bound of the publishes that wait for the streams, for all streams together, in bytes. The
    /// messages that wait for PUB/SUB have the same bound, on their own.
    pub(crate) publish_queue_bytes: usize,
    /// Bound of the inbox, in bytes.
    pub(crate) inbox_bytes: usize,
    /// Bound of the history kept for connection state recovery, in bytes.
    pub(crate) history_bytes: usize,
}

impl Options {
    /// Names of all streams, without any key prefix.
    pub(crate) fn stream_names(&self) -> Vec<String> {
        if self.stream_count == 1 {
            return vec![self.stream_name.clone()];
        }
        (0..self.stream_count).map(|i| format!("{}-{i}", self.stream_name)).collect()
    }

    /// The index of a namespace's stream in [`Options::stream_names`].
    pub(crate) fn stream_of(&self, nsp: &str) -> usize {
        stream_index(nsp, self.stream_count)
    }

    /// Channel of the requests of a namespace.
    pub(crate) fn request_channel(&self, nsp: &str) -> String {
        format!("{}#{nsp}#", self.channel_prefix)
    }

    /// Channel of the answers to one node in a namespace.
    pub(crate) fn answer_channel(&self, nsp: &str, uid: &str) -> String {
        format!("{}#{nsp}#{uid}#", self.channel_prefix)
    }

    /// Channel of the heartbeats among nodes of this package; upstream nodes do not listen here. No
    /// namespace's channel can be equal, since the names of namespaces start with a slash.
    pub(crate) fn members_channel(&self) -> String {
        format!("{}#members#", self.channel_prefix)
    }

    /// How long streams keep their entries.
    pub(crate) fn retention(&self) -> Retention {
        let some = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
        Retention {
            max_len: self.max_len,
            min_len: self.min_len,
            max_age: some(self.max_age),
            needed: some(self.needed_age),
        }
    }

    /// [`Options::heartbeat_interval`] as a duration.
    pub(crate) fn heartbeat_interval(&self) -> Duration {
        Duration::from_millis(self.heartbeat_interval)
    }

    /// [`Options::heartbeat_timeout`] as a duration.
    pub(crate) fn heartbeat_timeout(&self) -> Duration {
        Duration::from_millis(self.heartbeat_timeout)
    }
}

/// Which of `count` streams a namespace is routed to.
///
/// The hash is upstream's: multiplier 31 over UTF-16 units, in 32-bit signed arithmetic. The
/// remainder is never negative, unlike upstream's: upstream routes namespaces with a negative hash
/// to a stream that no node reads (see `docs/architecture.md`).
fn stream_index(nsp: &str, count: u32) -> usize {
    if count <= 1 {
        return 0;
    }
    let hash = nsp
        .encode_utf16()
        .fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    i64::from(hash).rem_euclid(i64::from(count)) as usize
}

/// The defaults in docs/options.md.
#[cfg(any(test, fuzzing))]
pub(crate) fn defaults() -> Options {
    Options {
        role: Role::Node,
        stream_name: "socket.io".into(),
        stream_count: 1,
        channel_prefix: "socket.io".into(),
        requests_via: RequestsVia::PubSub,
        use_sharded_pub_sub: false,
        max_len: 10_000,
        min_len: 0,
        max_age: 0,
        needed_age: 0,
        read_from: ReadFrom::Master,
        read_count: 100,
        block_time_in_ms: 5_000,
        session_key_prefix: "sio:session:".into(),
        heartbeat_interval: 5_000,
        heartbeat_timeout: 10_000,
        publish_queue_bytes: 64 << 20,
        inbox_bytes: 64 << 20,
        history_bytes: 64 << 20,
        live_sessions: true,
        expired_sessions: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stream_keeps_its_name_and_several_are_numbered() {
        let mut options = defaults();
        assert_eq!(options.stream_names(), ["socket.io"]);
        assert_eq!(options.stream_of("/notifications"), 0);
        options.stream_count = 3;
        assert_eq!(options.stream_names(), ["socket.io-0", "socket.io-1", "socket.io-2"]);
    }

    #[test]
    fn channels_are_upstreams() {
        let options = defaults();
        assert_eq!(options.request_channel("/chat"), "socket.io#/chat#");
        assert_eq!(options.answer_channel("/chat", "ab"), "socket.io#/chat#ab#");
    }

    #[test]
    fn agrees_with_upstream_where_its_hash_is_not_negative() {
        // 47 is the hash of "/".
        assert_eq!(stream_index("/", 4), 47 % 4);
        assert_eq!(stream_index("/", 1), 0);
        // What JS computes for "/chat".
        assert_eq!(stream_index("/chat", 5), 46_457_863 % 5);
    }

    #[test]
    fn a_negative_hash_still_gives_a_stream_that_is_read() {
        for nsp in ["/notifications", "/dashboard", "/é€😀"] {
            for count in 2..9 {
                assert!(stream_index(nsp, count) < count as usize);
            }
        }
    }
}
