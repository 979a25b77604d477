//! Who else is in a namespace, where requests travel in the stream (`requestsVia: "stream"`), as in
//! upstream 0.1 and 0.2: nodes say it in the namespace's stream when they open it, when they have
//! written nothing there for a while, and when they close it. Whatever a node writes shows that it
//! is alive.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::inbox::{Event, Inbox};
use super::membership::Changes;
use super::namespaces::{Namespace, Namespaces};
use super::options::Options;
use super::stream::{Publish, Stream};
use super::wire::{ADAPTER_CLOSE, EMITTER, HEARTBEAT, MessageType};

/// Not more often than this is looked who has to speak and who is silent, whatever the options.
const SHORTEST_LOOK: Duration = Duration::from_millis(50);
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// How often, how long: by the heartbeats' options.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    interval: Duration,
    timeout: Duration,
}

impl Pace {
    /// As the options say.
    pub fn of(options: &Options) -> Self {
        Self { interval: options.heartbeat_interval(), timeout: options.heartbeat_timeout() }
    }

    /// How often it is looked who has to speak and who is silent. Also the longest XREAD: each
    /// answer shows that we can listen.
    pub fn look(&self) -> Duration {
        let slack = self.timeout.saturating_sub(self.interval);
        (self.interval / 2).min(slack / 8).clamp(SHORTEST_LOOK, LONGEST_LOOK)
    }

    /// A longer pause in listening starts the clocks again. A shorter one cannot make a node look
    /// dead that speaks every [`Options::heartbeat_interval`].
    fn longest_pause(&self) -> Duration {
        (self.timeout.saturating_sub(self.interval) / 2).max(4 * SHORTEST_LOOK)
    }
}

/// When one stream was listened to. A moment counts when XREAD, sent then or later, has given all
/// that there was: whatever stopped Redis, the reader or the whole process shows as a pause.
#[derive(Debug, Clone, Copy, Default)]
pub struct Listening {
    since: Option<Instant>,
    until: Option<Instant>,
}

impl Listening {
    /// The connection broke: the clocks start again with the next one.
    pub fn interrupted(&mut self) {
        self.until = None;
    }

    /// Everything that was in the stream at this moment has been read.
    pub fn heard_all(&mut self, moment: Instant, pace: Pace) {
        let goes_on = |until| moment.saturating_duration_since(until) <= pace.longest_pause();
        if !self.until.is_some_and(goes_on) {
            self.since = Some(moment);
        }
        self.until = Some(moment);
    }

    /// How long somebody was silent while we listened.
    fn silence(&self, heard: Instant) -> Duration {
        let (Some(since), Some(until)) = (self.since, self.until) else { return Duration::ZERO };
        until.saturating_duration_since(heard.max(since))
    }
}

/// The nodes in a namespace: the others, and whether we have spoken.
#[derive(Debug)]
pub struct Presence {
    heard: HashMap<Box<str>, Instant>,
    spoke: Instant,
    has_left: bool,
}

impl Presence {
    /// Nobody was heard.
    pub fn new() -> Self {
        Self { heard: HashMap::new(), spoke: Instant::now(), has_left: false }
    }

    /// A node has written a message of this type: whether it came or left by that.
    pub fn hear(&mut self, uid: &str, kind: MessageType) -> Changes {
        let mut changes = Changes::default();
        // It writes, but is no node.
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

    /// How many are there.
    pub fn count(&self) -> usize {
        self.heard.len()
    }

    /// Whether this node may write something, which then shows that it is alive: not when it has
    /// left, or it would be taken for one that is back.
    pub fn speaks(&mut self) -> bool {
        self.spoke = Instant::now();
        !self.has_left
    }

    /// Those who are there.
    pub fn uids(&self) -> Vec<String> {
        self.heard.keys().map(|uid| uid.to_string()).collect()
    }

    /// Says who has gone.
    fn forget_silent(&mut self, listening: &Listening, pace: Pace) -> Changes {
        let is_silent = |heard: &mut Instant| listening.silence(*heard) > pace.timeout;
        let gone = self.heard.extract_if(|_, heard| is_silent(heard));
        Changes { silent: gone.map(|(uid, _)| uid.into()).collect(), ..Changes::default() }
    }

    /// True when the others have to hear of us before it is looked again.
    fn has_to_speak(&self, pace: Pace) -> bool {
        self.spoke.elapsed() + pace.look() > pace.interval
    }
}

impl Default for Presence {
    fn default() -> Self {
        Self::new()
    }
}

/// Says to the other nodes that we come, are there, or leave. Nobody here waits for it: that we are
/// there is said again, and who does not hear that we leave hears no more of us.
pub fn say(stream: &Stream, namespace: &Arc<Namespace>, kind: MessageType) {
    let mut presence = namespace.presence();
    if !presence.speaks() {
        return;
    }
    presence.has_left = kind == ADAPTER_CLOSE;
    // Before the lock is let go: nothing is to come behind the last word.
    let at = Instant::now();
    let publish = Publish { ticket: None, namespace: namespace.clone(), kind, data: None, at };
    if let Err(error) = stream.queue.push(publish) {
        tracing::debug!("not said in {} that we are there: {error}", namespace.name);
    }
}

/// Speaks where we have been silent, and forgets those who are: one task for all namespaces, on
/// tokio, so that a blocked event loop does not look dead.
pub struct Heartbeats {
    /// The namespaces to look at.
    pub namespaces: Arc<Namespaces>,
    /// All streams.
    pub streams: Vec<Arc<Stream>>,
    /// Which namespace is in which stream, and the pace.
    pub options: Arc<Options>,
    /// Is told who has gone.
    pub inbox: Arc<Inbox>,
}

impl Heartbeats {
    /// Runs until it is dropped.
    pub async fn run(self) {
        let pace = Pace::of(&self.options);
        let mut ticks = interval(pace.look());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Up to which publish of each stream we have spoken last.
        let mut spoken = vec![0; self.streams.len()];
        loop {
            ticks.tick().await;
            self.look(pace, &mut spoken);
        }
    }

    fn look(&self, pace: Pace, spoken: &mut [u64]) {
        let listening: Vec<Listening> =
            self.streams.iter().map(|stream| stream.cursor().listening).collect();
        // While Redis is away, no more than one round of heartbeats waits.
        let may_speak: Vec<bool> = self
            .streams
            .iter()
            .zip(&*spoken)
            .map(|(stream, count)| stream.queue.has_ended(*count))
            .collect();
        for namespace in self.namespaces.all() {
            let index = self.options.stream_of(&namespace.name);
            let (changes, has_to_speak) = {
                let mut presence = namespace.presence();
                let changes = presence.forget_silent(&listening[index], pace);
                (changes, presence.has_to_speak(pace))
            };
            changes.say();
            self.inbox.push_all(Event::members_changed(Some(namespace.handle), changes));
            if has_to_speak && may_speak[index] {
                say(&self.streams[index], &namespace, HEARTBEAT);
                spoken[index] = self.streams[index].queue.accepted();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::engine::options;
    use crate::engine::wire::{BROADCAST, INITIAL_HEARTBEAT};

    const INTERVAL: Duration = Duration::from_secs(5);
    const TIMEOUT: Duration = Duration::from_secs(10);
    const PACE: Pace = Pace { interval: INTERVAL, timeout: TIMEOUT };
    const SECOND: Duration = Duration::from_secs(1);

    /// Listens for so many seconds, with an answer in each.
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
        // An answer to what was asked before the pause, and the first one after it.
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

    /// The longest pauses that do not show, and a heartbeat that comes at the last moment.
    #[test]
    fn the_pace_fits_any_options() {
        for (interval, timeout) in [(5_000, 10_000), (150, 900), (500, 600), (60_000, 120_000)] {
            let [interval, timeout] = [interval, timeout].map(Duration::from_millis);
            let pace = Pace { interval, timeout };
            assert!(pace.look() < interval && pace.look() < pace.longest_pause(), "{pace:?}");
            assert!(pace.look() <= LONGEST_LOOK && pace.look() >= SHORTEST_LOOK, "{pace:?}");
            if timeout > interval + 8 * SHORTEST_LOOK {
                assert!(interval + pace.longest_pause() + pace.look() < timeout, "{pace:?}");
            }
        }
    }

    fn said(stream: &Stream) -> Vec<MessageType> {
        stream.queue.take_batch().iter().map(|publish| publish.kind).collect()
    }

    fn heartbeats() -> (Heartbeats, Arc<Namespace>) {
        let namespaces = Arc::new(Namespaces::default());
        let namespace = namespaces.open("/", false, true);
        let heartbeats = Heartbeats {
            namespaces,
            streams: vec![Arc::new(Stream::new(0, "key".to_owned(), 1 << 20, 0))],
            options: Arc::new(options::defaults()),
            inbox: Arc::new(Inbox::new(1 << 20, || {})),
        };
        (heartbeats, namespace)
    }

    #[tokio::test(start_paused = true)]
    async fn speaks_before_the_interval_ends_unless_something_else_was_written() {
        let (heartbeats, namespace) = heartbeats();
        let stream = &heartbeats.streams[0];
        let mut spoken = vec![0];
        advance(3 * SECOND).await;
        heartbeats.look(PACE, &mut spoken);
        assert!(namespace.presence().speaks());
        advance(4 * SECOND).await;
        heartbeats.look(PACE, &mut spoken);
        assert!(said(stream).is_empty());
        advance(SECOND).await;
        heartbeats.look(PACE, &mut spoken);
        assert_eq!(said(stream), [HEARTBEAT]);
        advance(INTERVAL).await;
        heartbeats.look(PACE, &mut spoken);
        assert!(said(stream).is_empty(), "the last one was not written yet");
        stream.queue.end(1);
        heartbeats.look(PACE, &mut spoken);
        assert_eq!(said(stream), [HEARTBEAT]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_comes_behind_the_last_word() {
        let (heartbeats, namespace) = heartbeats();
        let stream = &heartbeats.streams[0];
        say(stream, &namespace, ADAPTER_CLOSE);
        say(stream, &namespace, HEARTBEAT);
        advance(INTERVAL).await;
        heartbeats.look(PACE, &mut [0]);
        assert!(!namespace.presence().speaks());
        assert_eq!(said(stream), [ADAPTER_CLOSE]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_gone_is_said() {
        let (heartbeats, namespace) = heartbeats();
        let stream = &heartbeats.streams[0];
        namespace.presence().hear("a", HEARTBEAT);
        // The first of these starts the clocks.
        for _ in 0..=11 {
            assert!(heartbeats.inbox.drain(1).is_none());
            advance(SECOND).await;
            stream.cursor().listening.heard_all(Instant::now(), PACE);
            heartbeats.look(PACE, &mut [0]);
        }
        let said = heartbeats.inbox.drain(1).unwrap();
        let [Event::MembersChanged { namespace: handle, changes }] = &said[..] else {
            panic!("{said:?}")
        };
        assert_eq!((*handle, changes.silent.join(" ")), (Some(namespace.handle), "a".to_owned()));
    }
}
