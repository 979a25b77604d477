//! When saves that have failed are tried again: in growing intervals, or as soon as something shows
//! that they would work.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::redis::Backoff;

/// How long failed saves wait at the most once others work.
const SOON: Duration = Duration::from_millis(50);

/// The clients whose saves have failed for one kind of reason.
pub(super) struct Retries {
    keys: VecDeque<String>,
    backoff: Backoff,
    /// When the next ones are tried.
    at: Option<Instant>,
}

impl Retries {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { keys: VecDeque::new(), backoff, at: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> &VecDeque<String> {
        &self.keys
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.at
    }

    /// A client's save has failed.
    pub(super) fn push(&mut self, key: String) {
        self.keys.push_back(key);
        self.at.get_or_insert_with(|| Instant::now() + self.backoff.delay());
    }

    /// If it is time, those that are tried now, first those that have waited longest. `has_room` is
    /// asked before each. The others wait for another interval.
    pub(super) fn take_due(&mut self, mut has_room: impl FnMut(&str) -> bool) -> Vec<String> {
        let now = Instant::now();
        let mut taken = Vec::new();
        if self.at.is_none_or(|at| now < at) {
            return taken;
        }
        while self.keys.front().is_some_and(|key| has_room(key)) {
            taken.extend(self.keys.pop_front());
        }
        self.at = (!self.keys.is_empty()).then(|| now + self.backoff.delay());
        taken
    }

    /// Forgets the clients that are not `needed`.
    pub(super) fn retain(&mut self, needed: impl FnMut(&String) -> bool) {
        self.keys.retain(needed);
        if self.keys.is_empty() {
            self.at = None;
        }
    }

    /// Other saves work.
    pub(super) fn hurry(&mut self) {
        self.backoff.reset();
        self.at = self.at.map(|at| at.min(Instant::now() + SOON));
    }

    /// All are tried now.
    pub(super) fn release(&mut self) -> VecDeque<String> {
        self.backoff.reset();
        self.at = None;
        std::mem::take(&mut self.keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retries(keys: &[&str]) -> Retries {
        let mut retries = Retries::new(Backoff::new(None, Duration::from_secs(2)));
        keys.iter().for_each(|key| retries.push((*key).to_owned()));
        retries
    }

    #[tokio::test(start_paused = true)]
    async fn some_at_a_time_in_turn_and_less_and_less_often() {
        let mut retries = retries(&["a", "b", "c"]);
        assert!(retries.take_due(|_| true).is_empty(), "it is not time yet");
        let mut waits = Vec::new();
        let mut tried = String::new();
        for _ in 0..6 {
            let mut room = 2;
            let begun = Instant::now();
            tokio::time::sleep_until(retries.due().unwrap()).await;
            let taken = retries.take_due(|_| {
                room -= 1;
                room >= 0
            });
            waits.push(begun.elapsed());
            taken.iter().for_each(|key| tried += key);
            taken.into_iter().for_each(|key| retries.push(key));
        }
        assert_eq!(tried, "abcabcabcabc");
        assert!(waits[5] > 8 * waits[0], "{waits:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn soon_once_others_work_and_all_at_once_when_one_of_them_has() {
        let mut retries = retries(&["a", "b", "c"]);
        for _ in 0..8 {
            tokio::time::sleep_until(retries.due().unwrap()).await;
            retries.take_due(|_| true).into_iter().for_each(|key| retries.push(key));
        }
        assert!(retries.due().unwrap() > Instant::now() + SOON);
        retries.hurry();
        assert!(retries.due().unwrap() <= Instant::now() + SOON);
        assert_eq!(retries.release(), ["a", "b", "c"]);
        assert!(retries.is_empty() && retries.due().is_none());
    }
}
