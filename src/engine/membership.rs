//! Which nodes of our own kind there are, by their heartbeats.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// A node unheard of for this long is forgotten. Until then it is known as dead, so that the
/// subscriptions of a stopped process are not taken for those of an upstream node.
const FORGOTTEN: Duration = Duration::from_secs(3600);

/// The nodes heard of.
#[derive(Debug)]
pub struct Members {
    timeout: Duration,
    heard: HashMap<String, Instant>,
    /// How many were alive when it was last asked.
    alive: usize,
}

impl Members {
    /// Nobody was heard of. A node is dead after `timeout` of silence.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, heard: HashMap::new(), alive: 0 }
    }

    /// A node has said something.
    pub fn hear(&mut self, uid: String) {
        self.heard.insert(uid, Instant::now());
    }

    /// A node has left.
    pub fn leave(&mut self, uid: &str) {
        self.heard.remove(uid);
    }

    /// We could not listen until now: nobody is blamed for a silence that was ours.
    pub fn listen_again(&mut self) {
        let now = Instant::now();
        self.heard.values_mut().for_each(|heard| *heard = now);
    }

    /// Forgets the long silent; true when somebody came or went since the last time.
    pub fn look(&mut self) -> bool {
        let now = Instant::now();
        self.heard.retain(|_, heard| now.duration_since(*heard) < FORGOTTEN);
        let alive = self.heard.values().filter(|heard| self.is_alive(**heard)).count();
        std::mem::replace(&mut self.alive, alive) != alive
    }

    /// All nodes heard of, and whether each is alive.
    pub fn all(&self) -> Vec<(String, bool)> {
        self.heard.iter().map(|(uid, heard)| (uid.clone(), self.is_alive(*heard))).collect()
    }

    fn is_alive(&self, heard: Instant) -> bool {
        heard.elapsed() <= self.timeout
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

    #[tokio::test(start_paused = true)]
    async fn silence_means_dead_and_a_word_alive_again() {
        let mut members = Members::new(TIMEOUT);
        members.hear("a".into());
        members.hear("b".into());
        assert!(members.look() && !members.look());
        advance(TIMEOUT).await;
        members.hear("b".into());
        advance(Duration::from_millis(1)).await;
        assert_eq!(alive(&members), ["b"]);
        assert!(members.look());
        assert_eq!(members.all().len(), 2, "the dead one stays known");
        members.hear("a".into());
        assert_eq!(alive(&members), ["a", "b"]);
        advance(FORGOTTEN).await;
        members.look();
        assert!(members.all().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_silence_kills_nobody() {
        let mut members = Members::new(TIMEOUT);
        members.hear("a".into());
        advance(TIMEOUT * 3).await;
        members.listen_again();
        assert_eq!(alive(&members), ["a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_is_forgotten() {
        let mut members = Members::new(TIMEOUT);
        members.hear("a".into());
        members.look();
        members.leave("a");
        assert!(members.look() && members.all().is_empty());
    }
}
