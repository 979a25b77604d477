//! Which other nodes are in a namespace, when requests travel in the stream (`requestsVia: "stream"`),
//! as in upstream 0.1 and 0.2. A node writes to the namespace's stream when it opens the namespace,
//! when it has written nothing there for a while, and when it closes the namespace. Every entry of a
//! node shows that the node is alive.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::membership::Changes;
use super::options::Options;
use super::wire::{ADAPTER_CLOSE, EMITTER, MessageType};

/// The bounds of [`Pace::check_interval`], whatever the options.
const SHORTEST_CHECK: Duration = Duration::from_millis(50);
const LONGEST_CHECK: Duration = Duration::from_secs(1);

/// The intervals of heartbeats, from the options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    interval: Duration,
    timeout: Duration,
}

impl Pace {
    pub(crate) fn of(options: &Options) -> Self {
        Self { interval: options.heartbeat_interval(), timeout: options.heartbeat_timeout() }
    }

    /// The time between two checks of which namespaces need a heartbeat and which nodes are silent.
    /// An XREAD blocks no longer than that either: each reply shows that this node can listen.
    pub(crate) fn check_interval(&self) -> Duration {
        let slack = self.timeout.saturating_sub(self.interval);
        (self.interval / 2).min(slack / 8).clamp(SHORTEST_CHECK, LONGEST_CHECK)
    }

    /// A longer pause in listening starts the clocks of all nodes again. A shorter one cannot make
    /// a node look dead if it writes every [`Options::heartbeat_interval`].
    fn longest_pause(&self) -> Duration {
        (self.timeout.saturating_sub(self.interval) / 2).max(4 * SHORTEST_CHECK)
    }
}

/// The time during which this node could listen to one stream. A moment counts if an XREAD that was
/// sent then or later has returned everything in the stream. So a stop of Redis, of the reader or
/// of the whole process shows as a pause.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Listening {
    since: Option<Instant>,
    until: Option<Instant>,
}

impl Listening {
    /// The connection broke: the clocks start again with the next connection.
    pub(crate) fn interrupted(&mut self) {
        self.until = None;
    }

    /// The reader has read everything that was in the stream at `moment`.
    pub(crate) fn heard_all(&mut self, moment: Instant, pace: Pace) {
        let goes_on = |until| moment.saturating_duration_since(until) <= pace.longest_pause();
        if !self.until.is_some_and(goes_on) {
            self.since = Some(moment);
        }
        self.until = Some(moment);
    }

    /// How long a node that was last heard at `heard` was silent while this node listened.
    fn silence(&self, heard: Instant) -> Duration {
        let (Some(since), Some(until)) = (self.since, self.until) else { return Duration::ZERO };
        until.saturating_duration_since(heard.max(since))
    }
}

/// The other nodes in a namespace, and when this node last wrote there.
#[derive(Debug)]
pub(crate) struct Presence {
    heard: HashMap<Box<str>, Instant>,
    spoke: Instant,
    has_left: bool,
}

impl Presence {
    pub(crate) fn new() -> Self {
        Self { heard: HashMap::new(), spoke: Instant::now(), has_left: false }
    }

    /// A node has written a message of this type. Returns whether the node came or left by that.
    pub(crate) fn hear(&mut self, uid: &str, kind: MessageType) -> Changes {
        let mut changes = Changes::default();
        // An emitter writes, but is no node.
        if uid == EMITTER {
            return changes;
        }
        if kind == ADAPTER_CLOSE {
            if self.heard.remove(uid).is_some() {
                changes.left.push(uid.to_owned());
            }
        } else if let Some(heard) = self.heard.get_mut(uid) {
            *heard = Instant::now();
        } else {
            self.heard.insert(uid.into(), Instant::now());
            changes.came.push(uid.to_owned());
        }
        changes
    }

    /// This node leaves: it writes nothing more.
    pub(crate) fn leave(&mut self) {
        self.has_left = true;
    }

    /// The number of other nodes.
    pub(crate) fn count(&self) -> usize {
        self.heard.len()
    }

    /// Whether this node may write; what it writes shows that it is alive. After it has left it may
    /// not, or the other nodes would think that it is back.
    pub(crate) fn may_write(&mut self) -> bool {
        self.spoke = Instant::now();
        !self.has_left
    }

    /// The uids of the other nodes.
    pub(crate) fn uids(&self) -> Vec<String> {
        self.heard.keys().map(|uid| uid.to_string()).collect()
    }

    /// Removes the nodes that were silent for too long, and returns them.
    pub(crate) fn forget_silent(&mut self, listening: &Listening, pace: Pace) -> Changes {
        let is_silent = |heard: &mut Instant| listening.silence(*heard) > pace.timeout;
        let gone = self.heard.extract_if(|_, heard| is_silent(heard));
        Changes { silent: gone.map(|(uid, _)| uid.into()).collect(), ..Changes::default() }
    }

    /// Whether this node must write a heartbeat before the next check.
    pub(crate) fn has_to_speak(&self, pace: Pace) -> bool {
        self.spoke.elapsed() + pace.check_interval() > pace.interval
    }
}

impl Default for Presence {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::engine::wire::{BROADCAST, HEARTBEAT, INITIAL_HEARTBEAT};

    const INTERVAL: Duration = Duration::from_secs(5);
    const TIMEOUT: Duration = Duration::from_secs(10);
    const PACE: Pace = Pace { interval: INTERVAL, timeout: TIMEOUT };
    const SECOND: Duration = Duration::from_secs(1);

    /// Listens for this many seconds, with a reply in each.
    async fn listen(listening: &mut Listening, seconds: u32) {
        for _ in 0..seconds {
            advance(SECOND).await;
            listening.heard_all(Instant::now(), PACE);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_writes_comes_and_who_says_so_or_is_silent_goes() {
        let (mut presence, mut listening) = (Presence::new(), Listening::default());
        listening.heard_all(Instant::now(), PACE);
        assert!(presence.hear(EMITTER, BROADCAST).is_empty());
        assert!(!presence.hear("a", INITIAL_HEARTBEAT).is_empty());
        assert!(
            !presence.hear("b", BROADCAST).is_empty() && presence.hear("b", HEARTBEAT).is_empty()
        );
        assert!(
            !presence.hear("b", ADAPTER_CLOSE).is_empty()
                && presence.hear("b", ADAPTER_CLOSE).is_empty()
        );
        assert_eq!(presence.uids(), ["a"]);
        listen(&mut listening, 10).await;
        assert!(presence.forget_silent(&listening, PACE).is_empty());
        listen(&mut listening, 1).await;
        assert!(!presence.forget_silent(&listening, PACE).is_empty() && presence.uids().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_silence_kills_nobody() {
        let (mut presence, mut listening) = (Presence::new(), Listening::default());
        presence.hear("a", HEARTBEAT);
        listening.heard_all(Instant::now(), PACE);
        advance(3 * TIMEOUT).await;
        assert!(presence.forget_silent(&listening, PACE).is_empty(), "nothing was read meanwhile");
        // A reply to an XREAD from before the pause, and the first one after it.
        listening.heard_all(Instant::now() - 3 * TIMEOUT, PACE);
        listening.heard_all(Instant::now(), PACE);
        assert!(presence.forget_silent(&listening, PACE).is_empty());
        listen(&mut listening, 10).await;
        assert!(
            presence.forget_silent(&listening, PACE).is_empty(),
            "from then on it has the whole time"
        );
        listen(&mut listening, 1).await;
        assert!(!presence.forget_silent(&listening, PACE).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_starts_the_clocks_again() {
        let (mut presence, mut listening) = (Presence::new(), Listening::default());
        listening.heard_all(Instant::now(), PACE);
        presence.hear("a", HEARTBEAT);
        listen(&mut listening, 9).await;
        listening.interrupted();
        listen(&mut listening, 11).await;
        assert!(presence.forget_silent(&listening, PACE).is_empty());
        listen(&mut listening, 1).await;
        assert!(!presence.forget_silent(&listening, PACE).is_empty());
    }

    /// No node looks dead, even with the longest pause that does not count and a heartbeat at the
    /// last moment.
    #[test]
    fn the_pace_fits_any_options() {
        for (interval, timeout) in [(5_000, 10_000), (150, 900), (500, 600), (60_000, 120_000)] {
            let [interval, timeout] = [interval, timeout].map(Duration::from_millis);
            let pace = Pace { interval, timeout };
            assert!(
                pace.check_interval() < interval && pace.check_interval() < pace.longest_pause(),
                "{pace:?}"
            );
            assert!(
                pace.check_interval() <= LONGEST_CHECK && pace.check_interval() >= SHORTEST_CHECK,
                "{pace:?}"
            );
            if timeout > interval + 8 * SHORTEST_CHECK {
                assert!(
                    interval + pace.longest_pause() + pace.check_interval() < timeout,
                    "{pace:?}"
                );
            }
        }
    }
}
