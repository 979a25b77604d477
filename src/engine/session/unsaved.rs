//! The queue of what is not in Redis yet about sessions, and what waits for it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::restore::Restore;
use super::save::Save;
use crate::engine::event::CallId;

/// The most that is written at a time: keys, and bytes of sessions. A larger session goes alone.
const AT_A_TIME: usize = 4_096;
const BYTES_AT_A_TIME: usize = 256 << 10;

/// Approximate bytes of bookkeeping per session.
const OVERHEAD: usize = 1_024;

/// What waits until a client's session is in Redis.
pub(super) enum Waiting {
    Restore(Restore),
    /// A call of JS.
    Call(CallId),
}

/// Sessions that are not in Redis yet. Saves of one client are done in their order, one at a time.
pub(super) struct Unsaved {
    clients: HashMap<String, Client>,
    /// The clients with a save that is to be done, oldest first.
    order: VecDeque<String>,
    /// The clients whose last save has failed.
    failed: HashSet<String>,
    pub(super) of_gone: OfGone,
}

/// Counts the sessions of clients that have gone and that are not in Redis yet. What is kept for
/// connected clients does not count: it is no more than they take themselves.
pub(super) struct OfGone {
    /// How many. The engine reads it when it gives them up.
    pub(super) count: Arc<AtomicU64>,
    bytes: usize,
    /// The most bytes that they may take.
    pub(super) bound: usize,
}

impl OfGone {
    pub(super) fn has_room_for(&self, save: &Save) -> bool {
        !save.is_of_gone() || self.bytes.saturating_add(cost(save)) <= self.bound
    }

    fn add(&mut self, save: &Save) {
        if save.is_of_gone() {
            self.count.fetch_add(1, Ordering::Relaxed);
            self.bytes += cost(save);
        }
    }

    fn remove(&mut self, save: &Save) {
        if save.is_of_gone() {
            self.count.fetch_sub(1, Ordering::Relaxed);
            self.bytes -= cost(save);
        }
    }
}

fn cost(save: &Save) -> usize {
    save.size() + OVERHEAD
}

#[derive(Default)]
struct Client {
    saves: VecDeque<Save>,
    is_being_saved: bool,
    waiting: Vec<Waiting>,
}

impl Unsaved {
    /// `bound` is the most bytes that sessions of clients that have gone may take.
    pub(super) fn new(bound: usize) -> Self {
        Self {
            clients: HashMap::new(),
            order: VecDeque::new(),
            failed: HashSet::new(),
            of_gone: OfGone { count: Arc::default(), bytes: 0, bound },
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    pub(super) fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Whether something about a client's session is not in Redis yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.clients.contains_key(key)
    }

    /// Adds a save, behind those of the same client.
    pub(super) fn push(&mut self, mut save: Save) {
        let key = save.keys.ended.clone();
        self.of_gone.add(&save);
        let client = self.clients.entry(key.clone()).or_default();
        if let Some(last) = client.saves.back_mut()
            && last.is_replaced_by(&save)
        {
            save.replaces(last);
            *last = save;
            return;
        }
        client.saves.push_back(save);
        if !client.is_being_saved && client.saves.len() == 1 {
            self.order.push_back(key);
        }
    }

    /// Takes saves that may be done together, at most one of each client, oldest first. Clients
    /// whose last save has failed come last: in a cluster, keys whose master is away delay no
    /// others. The second list is of clients that nothing is left of: all their saves have expired.
    pub(super) fn take(&mut self) -> (Vec<Save>, Vec<Vec<Waiting>>) {
        let now = Instant::now();
        let (mut saves, mut released, mut bytes) = (Vec::new(), Vec::new(), 0);
        let failed = std::mem::take(&mut self.failed);
        let (late, first): (VecDeque<_>, VecDeque<_>) =
            self.order.drain(..).partition(|key| failed.contains(key));
        self.order = first.into_iter().chain(late).collect();
        while saves.len() < AT_A_TIME
            && let Some(key) = self.order.pop_front()
        {
            let Some(client) = self.clients.get_mut(&key) else { continue };
            client.saves.retain(|save| {
                let is_needed = now <= save.until;
                if !is_needed {
                    self.of_gone.remove(save);
                }
                is_needed
            });
            let Some(save) = client.saves.pop_front() else {
                released.extend(self.clients.remove(&key).map(|client| client.waiting));
                continue;
            };
            bytes += save.size();
            if bytes > BYTES_AT_A_TIME && !saves.is_empty() {
                client.saves.push_front(save);
                self.order.push_front(key);
                break;
            }
            client.is_being_saved = true;
            saves.push(save);
        }
        (saves, released)
    }

    /// A save was done, or given up. Returns what has waited, if it was the client's last.
    pub(super) fn done(&mut self, save: &Save) -> Vec<Waiting> {
        self.of_gone.remove(save);
        let key = &save.keys.ended;
        let Some(client) = self.clients.get_mut(key) else { return Vec::new() };
        client.is_being_saved = false;
        if !client.saves.is_empty() {
            self.order.push_back(key.clone());
            return Vec::new();
        }
        self.clients.remove(key).map(|client| client.waiting).unwrap_or_default()
    }

    /// A save has failed and is to be tried again, before later ones of the same client.
    pub(super) fn failed(&mut self, mut save: Save) {
        save.tries += 1;
        let key = save.keys.ended.clone();
        let client = self.clients.entry(key.clone()).or_default();
        client.is_being_saved = false;
        match client.saves.front_mut() {
            Some(next) if save.is_replaced_by(next) => next.replaces(&save),
            _ => client.saves.push_front(save),
        }
        self.failed.insert(key.clone());
        self.order.push_back(key);
    }

    /// Keeps `waiting` until the client's session is in Redis; gives it back if it is.
    pub(super) fn wait(&mut self, key: &str, waiting: Waiting) -> Option<Waiting> {
        match self.clients.get_mut(key) {
            Some(client) => {
                client.waiting.push(waiting);
                None
            }
            None => Some(waiting),
        }
    }

    /// The restores of a client that have waited for as long as `patience`: they wait no longer.
    pub(super) fn impatient(&mut self, key: &str, patience: Duration) -> Vec<Restore> {
        let Some(client) = self.clients.get_mut(key) else { return Vec::new() };
        let is_over = |waiting: &mut Waiting| match waiting {
            Waiting::Restore(restore) => restore.asked.elapsed() >= patience,
            Waiting::Call(_) => false,
        };
        let over = client.waiting.extract_if(.., is_over);
        over.filter_map(|waiting| match waiting {
            Waiting::Restore(restore) => Some(restore),
            Waiting::Call(_) => None,
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::session::keys::SessionKeys;
    use crate::engine::session::save::{LARGE, What};

    const KEEP: Duration = Duration::from_secs(60);

    fn save(pid: &str, what: What) -> Save {
        Save::new(SessionKeys::new("sio:session:", "/", pid), 1, what, KEEP)
    }

    fn ended(pid: &str, size: usize) -> Save {
        save(pid, What::Ended { session: vec![0; size], keep: KEEP })
    }

    fn live(pid: &str, size: usize) -> Save {
        save(pid, What::Live { namespace: 0, session: vec![0; size], keep: KEEP, is_new: false })
    }

    fn waiting(unsaved: &Unsaved) -> u64 {
        unsaved.of_gone.count.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn a_large_session_goes_alone_and_the_others_in_parts() {
        let mut unsaved = Unsaved::new(1 << 30);
        for (pid, size) in [("a", 100_000), ("b", 100_000), ("c", 3 << 20), ("d", 10), ("e", 10)] {
            unsaved.push(ended(pid, size));
        }
        let mut parts = Vec::new();
        while !unsaved.is_empty() {
            let (saves, _) = unsaved.take();
            saves.iter().for_each(|save| assert!(unsaved.done(save).is_empty()));
            parts.push(saves.iter().map(|save| save.keys.pid.clone()).collect::<String>());
        }
        assert_eq!(parts, ["ab", "c", "de"]);
        assert_eq!(waiting(&unsaved), 0);
    }

    #[tokio::test]
    async fn a_session_that_changes_again_and_again_is_given_up_all_the_same() {
        let mut unsaved = Unsaved::new(1 << 30);
        unsaved.push(live("a", LARGE));
        for _ in 0..3 {
            let (mut saves, _) = unsaved.take();
            unsaved.push(live("a", LARGE));
            let tried = saves.pop().unwrap();
            assert!(!tried.is_too_large());
            tried.breaks.fetch_add(1, Ordering::Relaxed);
            unsaved.failed(tried);
        }
        let (saves, _) = unsaved.take();
        assert!(saves[0].is_too_large());
        assert_eq!(waiting(&unsaved), 0, "its client is connected");
    }

    #[tokio::test(start_paused = true)]
    async fn counts_the_sessions_of_clients_that_have_gone() {
        let mut unsaved = Unsaved::new(1 << 30);
        unsaved.push(live("a", 1));
        unsaved.push(ended("a", 1));
        unsaved.push(ended("b", 1));
        assert_eq!(waiting(&unsaved), 2);
        let (saves, _) = unsaved.take();
        saves.into_iter().for_each(|save| unsaved.failed(save));
        assert_eq!(waiting(&unsaved), 2);
        tokio::time::advance(2 * KEEP).await;
        unsaved.take();
        assert!(unsaved.is_empty());
        assert_eq!(waiting(&unsaved), 0, "nobody needs them any more");
    }
}
