//! Which nodes of this package are alive, by their heartbeats.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

/// `Members` forgets a node after this long without a heartbeat. Until then it knows the node as
/// dead, so that the subscriptions of a stopped process do not count as those of an upstream node.
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// The bounds of [`Members::check_interval`], whatever the timeout.
const SHORTEST_CHECK: Duration = Duration::from_millis(50);
const LONGEST_CHECK: Duration = Duration::from_secs(1);

/// Which nodes have come and gone.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Nodes that were heard for the first time, or again.
    pub(crate) came: Vec<String>,
    /// Nodes that have announced that they leave.
    pub(crate) left: Vec<String>,
    /// Nodes that are not heard any more.
    pub(crate) silent: Vec<String>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.came.is_empty() && self.left.is_empty() && self.silent.is_empty()
    }

    /// Logs the changes.
    pub(crate) fn say(&self) {
        self.came.iter().for_each(|uid| tracing::debug!("node {uid} is there"));
        self.left.iter().for_each(|uid| tracing::debug!("node {uid} has left"));
        self.silent.iter().for_each(|uid| tracing::debug!("node {uid} is not heard any more"));
    }
}

/// The last heartbeat of a node.
#[derive(Debug, Clone, Copy)]
struct Heard {
    at: Instant,
    /// Whether the node has other streams than this one, so that it belongs to another application.
    /// A stranger never counts as alive. It is known so that its subscriptions do not count as those
    /// of an upstream node.
    is_stranger: bool,
}

/// The nodes that this node has heard.
#[derive(Debug)]
pub(crate) struct Members {
    timeout: Duration,
    heard: HashMap<String, Heard>,
    /// The nodes that were alive at the last refresh.
    alive: HashSet<String>,
    /// The moment of the last refresh.
    refreshed: Instant,
}

impl Members {
    /// A node is dead after `timeout` of silence.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, heard: HashMap::new(), alive: HashSet::new(), refreshed: Instant::now() }
    }

    /// How often [`Members::refresh`] must be called. If a call is late, this process was stopped: the
    /// time that it is late counts as nobody's silence.
    pub(crate) fn check_interval(&self) -> Duration {
        (self.timeout / 4).clamp(SHORTEST_CHECK, LONGEST_CHECK)
    }

    /// A node has sent a heartbeat.
    pub(crate) fn hear(&mut self, uid: String) {
        self.heard.insert(uid, Heard { at: Instant::now(), is_stranger: false });
    }

    /// A node with other streams has sent a heartbeat.
    pub(crate) fn hear_stranger(&mut self, uid: String) {
        self.heard.insert(uid, Heard { at: Instant::now(), is_stranger: true });
    }

    /// A node has left.
    pub(crate) fn leave(&mut self, uid: &str) {
        self.heard.remove(uid);
    }

    /// Restarts the clocks of living nodes, since this node could not listen until now. Nodes that
    /// were dead before stay dead.
    pub(crate) fn listen_again(&mut self) {
        let now = Instant::now();
        for (uid, heard) in &mut self.heard {
            if self.alive.contains(uid) || heard.at >= self.refreshed {
                heard.at = now;
            }
        }
        self.refreshed = now;
    }

    /// Forgets nodes that were silent for `FORGOTTEN`, and returns which nodes came or went since
    /// the last refresh.
    pub(crate) fn refresh(&mut self) -> Changes {
        let now = Instant::now();
        let not_listened = now - self.listened_until();
        self.heard.values_mut().for_each(|heard| heard.at = now.min(heard.at + not_listened));
        self.refreshed = now;
        self.heard.retain(|_, heard| now.duration_since(heard.at) < FORGOTTEN);
        let is_alive = |uid: &str| self.heard.get(uid).is_some_and(|heard| self.is_alive(heard));
        let gone = self.alive.iter().filter(|uid| !is_alive(uid));
        let (silent, left) = gone.cloned().partition(|uid| self.heard.contains_key(uid));
        let came = self.heard.keys().filter(|uid| !self.alive.contains(*uid) && is_alive(uid));
        let changes = Changes { came: came.cloned().collect(), left, silent };
        changes.left.iter().chain(&changes.silent).for_each(|uid| {
            self.alive.remove(uid);
        });
        self.alive.extend(changes.came.iter().cloned());
        changes.say();
        changes
    }

    /// How many nodes were alive at the last refresh.
    pub(crate) fn alive(&self) -> usize {
        self.alive.len()
    }

    /// How many nodes are known, dead ones included.
    pub(crate) fn known(&self) -> usize {
        self.heard.len()
    }

    /// All known nodes, and whether each is alive. Strangers are not.
    pub(crate) fn all(&self) -> Vec<(String, bool)> {
        self.heard.iter().map(|(uid, heard)| (uid.clone(), self.is_alive(heard))).collect()
    }

    fn is_alive(&self, heard: &Heard) -> bool {
        let silence = self.listened_until().saturating_duration_since(heard.at);
        !heard.is_stranger && silence <= self.timeout
    }

    /// Until when this node has certainly listened. After it was stopped, this is long ago, although
    /// its connections may stand.
    fn listened_until(&self) -> Instant {
        Instant::now().min(self.refreshed + self.check_interval())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn alive(members: &Members) -> Vec<String> {
        let mut alive: Vec<String> =
            members.all().into_iter().filter(|(_, alive)| *alive).map(|(uid, _)| uid).collect();
        alive.sort();
        alive
    }

    /// The uids of nodes that came, that left, and that are not heard any more.
    fn changes(members: &mut Members) -> (String, String, String) {
        let Changes { mut came, left, silent } = members.refresh();
        came.sort();
        (came.join(" "), left.join(" "), silent.join(" "))
    }

    /// Lets time go by while this node listens. Returns what changed meanwhile.
    async fn listen(members: &mut Members, time: Duration) -> Vec<Changes> {
        let (end, mut changes) = (Instant::now() + time, Vec::new());
        while Instant::now() < end {
            advance(members.check_interval().min(end - Instant::now())).await;
            changes.push(members.refresh());
        }
        changes.retain(|change| !change.is_empty());
        changes
    }

    fn silent(uid: &str) -> Changes {
        Changes { silent: vec![uid.to_owned()], ..Changes::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_means_dead_and_a_word_alive_again() {
        let mut members = Members::new(TIMEOUT);
        members.hear("a".into());
        members.hear("b".into());
        assert_eq!(changes(&mut members), ("a b".into(), String::new(), String::new()));
        assert!(members.refresh().is_empty());
        assert!(listen(&mut members, TIMEOUT).await.is_empty());
        members.hear("b".into());
        assert_eq!(listen(&mut members, Duration::from_millis(1)).await, [silent("a")]);
        assert_eq!(alive(&members), ["b"]);
        assert_eq!(members.all().len(), 2, "the dead one stays known");
        members.hear("a".into());
        assert_eq!(alive(&members), ["a", "b"]);
        assert_eq!((changes(&mut members).0.as_str(), members.alive()), ("a", 2));
        listen(&mut members, FORGOTTEN).await;
        assert!(members.all().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_silence_kills_nobody() {
        for timeout in [Duration::from_millis(900), TIMEOUT, TIMEOUT * 60] {
            let mut members = Members::new(timeout);
            members.hear("a".into());
            members.refresh();
            for _ in 0..3 {
                // Stopped, with connections that stand: nothing says so but the clock.
                advance(timeout * 3).await;
                assert_eq!(alive(&members), ["a"]);
                assert!(members.refresh().is_empty());
                members.hear("a".into());
            }
            advance(timeout * 3).await;
            members.listen_again();
            assert_eq!(alive(&members), ["a"]);
            assert!(listen(&mut members, timeout).await.is_empty());
            assert_eq!(listen(&mut members, Duration::from_millis(1)).await, [silent("a")]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_dead_before_our_silence_stays_dead() {
        let mut members = Members::new(TIMEOUT);
        members.hear("a".into());
        members.hear("b".into());
        members.refresh();
        listen(&mut members, TIMEOUT).await;
        members.hear("b".into());
        assert_eq!(listen(&mut members, Duration::from_millis(1)).await, [silent("a")]);
        advance(TIMEOUT * 2).await;
        assert!(members.refresh().is_empty());
        members.listen_again();
        assert!(members.refresh().is_empty());
        assert_eq!((alive(&members), members.alive()), (vec!["b".to_owned()], 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_is_known_and_never_alive() {
        let mut members = Members::new(TIMEOUT);
        members.hear_stranger("a".into());
        assert!(members.refresh().is_empty());
        members.listen_again();
        assert_eq!((members.all(), members.alive()), (vec![("a".to_owned(), false)], 0));
        members.leave("a");
        assert!(members.all().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_is_forgotten() {
        let mut members = Members::new(TIMEOUT);
        members.hear("a".into());
        members.refresh();
        members.leave("a");
        members.hear("b".into());
        assert_eq!(changes(&mut members), ("b".into(), "a".into(), String::new()));
        assert_eq!(alive(&members), ["b"]);
    }
}
