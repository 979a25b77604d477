//! Clients with a save that can be done now, by the server that their keys are at. Each server gets
//! one round of saves at a time: one that hangs holds up its own only.

use std::collections::{HashMap, VecDeque};

use crate::engine::redis::Target;

/// Names a server; `None` while nobody knows which one has a key.
pub(super) type Lane = Option<Target>;

pub(super) struct Lanes {
    lane_of: Box<dyn Fn(&str) -> Lane + Send>,
    /// The clients, oldest first.
    waiting: HashMap<Lane, VecDeque<String>>,
    /// How many saves of each are under way.
    busy: HashMap<Lane, usize>,
}

impl Lanes {
    pub(super) fn new(lane_of: Box<dyn Fn(&str) -> Lane + Send>) -> Self {
        Self { lane_of, waiting: HashMap::new(), busy: HashMap::new() }
    }

    pub(super) fn push(&mut self, key: String) {
        self.waiting.entry((self.lane_of)(&key)).or_default().push_back(key);
    }

    /// The servers that may get their next round.
    pub(super) fn free(&self) -> Vec<Lane> {
        let is_free = |lane: &&Lane| !self.busy.contains_key(*lane);
        self.waiting.keys().filter(is_free).cloned().collect()
    }

    /// The next client of a server.
    pub(super) fn pop(&mut self, lane: &Lane) -> Option<String> {
        let waiting = self.waiting.get_mut(lane)?;
        let key = waiting.pop_front();
        if waiting.is_empty() {
            self.waiting.remove(lane);
        }
        key
    }

    /// Puts a client back that was popped.
    pub(super) fn put_back(&mut self, lane: &Lane, key: String) {
        self.waiting.entry(lane.clone()).or_default().push_front(key);
    }

    /// A save has begun.
    pub(super) fn begin(&mut self, lane: &Lane) {
        *self.busy.entry(lane.clone()).or_default() += 1;
    }

    /// A save has ended.
    pub(super) fn end(&mut self, lane: &Lane) {
        if let Some(count) = self.busy.get_mut(lane) {
            *count -= 1;
            if *count == 0 {
                self.busy.remove(lane);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> VecDeque<String> {
        self.waiting.values().flatten().cloned().collect()
    }
}
