//! The queue of what is not in Redis yet about sessions, and what waits for it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::lanes::{Lane, Lanes};
use super::restore::Restore;
use super::retries::Retries;
use super::save::Save;
use super::waits::{Waiting, Waits};
use crate::engine::redis::Backoff;

/// The most that is written at a time: keys, and bytes of sessions. A larger session goes alone.
const AT_A_TIME: usize = 4_096;
const BYTES_AT_A_TIME: usize = 256 << 10;

/// The longest time between two attempts to save what Redis refuses.
const REFUSED: Duration = Duration::from_secs(2);

/// The time between two looks for failed saves that nobody needs any more: only some of them are
/// tried at a time.
const LOOK: Duration = Duration::from_secs(1);

/// Approximate bytes of bookkeeping per session.
const OVERHEAD: usize = 1_024;

/// Sessions that are not in Redis yet. Saves of one client are done in their order, one at a time.
/// So a client's key is in no more than one list: the one that its [`Place`] names.
pub(super) struct Unsaved {
    clients: HashMap<String, Client>,
    /// The clients with a save that can be done now.
    lanes: Lanes,
    /// The clients whose last save has failed, since Redis was away.
    away: Retries,
    /// Those whose last save Redis has refused. That others work, which may be at another server, or
    /// need no memory, tells nothing about them.
    refused: Retries,
    pub(super) of_gone: OfGone,
    /// When failed saves were last looked through.
    looked_at: Instant,
    /// What waits for sessions of these clients, and of no others.
    pub(super) waits: Waits,
}

/// Counts the sessions of clients that have gone and that are not in Redis yet, and the records of
/// clients that are gone for good. What is kept for connected clients does not count: it is no more
/// than they take themselves.
pub(super) struct OfGone {
    /// How many sessions. The engine reads it when it gives them up.
    pub(super) count: Arc<AtomicU64>,
    bytes: usize,
    /// What the saves take that take a record away. They have a bound of their own, so that sessions
    /// and they do not displace each other.
    bytes_of_left: usize,
    /// The most bytes that each of the two may take.
    pub(super) bound: usize,
}

impl OfGone {
    pub(super) fn has_room_for(&self, save: &Save) -> bool {
        let bytes = if save.is_left() { self.bytes_of_left } else { self.bytes };
        let counts = save.is_left() || save.is_of_gone();
        !counts || bytes.saturating_add(cost(save)) <= self.bound
    }

    fn add(&mut self, save: &Save) {
        if save.is_of_gone() {
            self.count.fetch_add(1, Ordering::Relaxed);
            self.bytes += cost(save);
        } else if save.is_left() {
            self.bytes_of_left += cost(save);
        }
    }

    fn remove(&mut self, save: &Save) {
        if save.is_of_gone() {
            self.count.fetch_sub(1, Ordering::Relaxed);
            self.bytes -= cost(save);
        } else if save.is_left() {
            self.bytes_of_left -= cost(save);
        }
    }
}

fn cost(save: &Save) -> usize {
    save.size() + OVERHEAD
}

#[derive(Default)]
struct Client {
    saves: VecDeque<Save>,
    place: Place,
}

impl Client {
    /// Drops the saves that nobody needs any more. If none is left, the record from before is taken
    /// away, unless there is no room for that.
    fn drop_expired(&mut self, of_gone: &mut OfGone, now: Instant) {
        let mut left = None;
        while self.saves.front().is_some_and(|save| !save.is_needed(now))
            && let Some(expired) = self.saves.pop_front()
        {
            of_gone.remove(&expired);
            left = expired.left();
        }
        if self.saves.is_empty()
            && let Some(left) = left.filter(|left| of_gone.has_room_for(left))
        {
            of_gone.add(&left);
            self.saves.push_back(left);
        }
    }
}

/// Which list a client's key is in.
#[derive(Default, Debug)]
enum Place {
    #[default]
    Lanes,
    /// None: one of its saves is under way at this server.
    BeingSaved(Lane),
    Away,
    Refused,
}

impl Unsaved {
    /// `bound` is the most bytes that sessions of clients that have gone may take, `backoff` is for
    /// saves that fail while Redis is away.
    pub(super) fn new(bound: usize, backoff: Backoff, lanes: Lanes) -> Self {
        Self {
            clients: HashMap::new(),
            lanes,
            away: Retries::new(backoff),
            refused: Retries::new(Backoff::new(None, REFUSED)),
            of_gone: OfGone { count: Arc::default(), bytes: 0, bytes_of_left: 0, bound },
            looked_at: Instant::now(),
            waits: Waits::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Whether Redis has refused a save that waits for another attempt.
    pub(super) fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// When failed saves are to be tried again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.away.due().into_iter().chain(self.refused.due()).min()
    }

    /// Redis has answered something else: what failed since it was away is tried soon.
    pub(super) fn hurry(&mut self) {
        self.away.hurry();
    }

    /// Redis can be reached again: everything that has failed is tried now.
    pub(super) fn release(&mut self) {
        let released = self.away.release().into_iter().chain(self.refused.release());
        released.for_each(|key| self.line_up(key));
    }

    /// A client's first save is done in its turn.
    fn line_up(&mut self, key: String) {
        if let Some(client) = self.clients.get_mut(&key) {
            client.place = Place::Lanes;
            self.lanes.push(key);
        }
    }

    /// Adds a save, behind those of the same client. A record that is to be taken away stays until it
    /// expires if there is no room.
    pub(super) fn push(&mut self, mut save: Save) {
        if save.is_left() && !self.of_gone.has_room_for(&save) {
            return;
        }
        let key = save.keys.ended.clone();
        self.of_gone.add(&save);
        let is_new = !self.clients.contains_key(&key);
        let client = self.clients.entry(key.clone()).or_default();
        if let Some(last) = client.saves.back_mut()
            && last.is_replaced_by(&save)
        {
            save.replaces(last);
            *last = save;
            return;
        }
        client.saves.push_back(save);
        if is_new {
            self.lanes.push(key);
        }
    }

    /// Takes rounds of saves, each for a server to which none is under way. The second list is of
    /// clients that nothing is left of: all their saves have expired.
    pub(super) fn take(&mut self) -> (Vec<Vec<Save>>, Vec<Vec<Waiting>>) {
        let mut released = self.drop_expired(Instant::now());
        self.take_due();
        let free = self.lanes.free().into_iter();
        let rounds: Vec<_> = free.map(|lane| self.take_of(&lane, &mut released)).collect();
        (rounds, released)
    }

    /// Takes saves that may be done together, at most one of each client, oldest first.
    fn take_of(&mut self, lane: &Lane, released: &mut Vec<Vec<Waiting>>) -> Vec<Save> {
        let now = Instant::now();
        let (mut saves, mut bytes) = (Vec::new(), 0);
        while saves.len() < AT_A_TIME
            && let Some(key) = self.lanes.pop(lane)
        {
            let Some(client) = self.clients.get_mut(&key) else { continue };
            client.drop_expired(&mut self.of_gone, now);
            let Some(save) = client.saves.pop_front() else {
                self.clients.remove(&key);
                released.push(self.waits.take(&key));
                continue;
            };
            bytes += save.size();
            if bytes > BYTES_AT_A_TIME && !saves.is_empty() {
                client.saves.push_front(save);
                self.lanes.put_back(lane, key);
                break;
            }
            client.place = Place::BeingSaved(lane.clone());
            self.lanes.begin(lane);
            saves.push(save);
        }
        saves
    }

    /// Drops the failed saves that nobody needs any more: they make room, and are not lost when the
    /// node closes. Returns what has waited for clients that nothing is left of.
    fn drop_expired(&mut self, now: Instant) -> Vec<Vec<Waiting>> {
        let mut released = Vec::new();
        if now < self.looked_at + LOOK {
            return released;
        }
        self.looked_at = now;
        for retries in [&mut self.away, &mut self.refused] {
            retries.retain(|key| {
                let Some(client) = self.clients.get_mut(key) else { return false };
                client.drop_expired(&mut self.of_gone, now);
                let is_needed = !client.saves.is_empty();
                if !is_needed {
                    self.clients.remove(key);
                    released.push(self.waits.take(key));
                }
                is_needed
            });
        }
        released
    }

    /// Puts failed saves whose time has come into the order, no more than one part: if they fail
    /// again, little was in vain, and if one of them works, all others are tried.
    fn take_due(&mut self) {
        let mut due = Vec::new();
        for retries in [&mut self.away, &mut self.refused] {
            let (mut saves, mut bytes) = (0, 0);
            due.extend(retries.take_due(|key| {
                let has_room = saves < AT_A_TIME && bytes < BYTES_AT_A_TIME;
                let save = self.clients.get(key).and_then(|client| client.saves.front());
                (saves, bytes) = (saves + 1, bytes + save.map_or(0, Save::size));
                has_room
            }));
        }
        due.into_iter().for_each(|key| self.line_up(key));
    }

    /// A save was done. Returns what has waited, if it was the client's last.
    pub(super) fn done(&mut self, save: &Save) -> Vec<Waiting> {
        self.away.hurry();
        if save.tries > 0 {
            self.away.release().into_iter().for_each(|key| self.line_up(key));
        }
        if save.was_refused {
            self.refused.release().into_iter().for_each(|key| self.line_up(key));
        }
        self.end(save)
    }

    /// A save is given up. Unless a later one tells what has become of the session, its record is
    /// taken away.
    pub(super) fn give_up(&mut self, save: &Save) -> Vec<Waiting> {
        let is_last = self.clients.get(&save.keys.ended).is_none_or(|it| it.saves.is_empty());
        if is_last && let Some(left) = save.left() {
            self.push(left);
        }
        self.end(save)
    }

    fn end(&mut self, save: &Save) -> Vec<Waiting> {
        self.of_gone.remove(save);
        let key = &save.keys.ended;
        let Some(client) = self.clients.get_mut(key) else { return Vec::new() };
        if let Place::BeingSaved(lane) = &client.place {
            self.lanes.end(lane);
        }
        if !client.saves.is_empty() {
            self.line_up(key.clone());
            return Vec::new();
        }
        self.clients.remove(key);
        self.waits.take(key)
    }

    /// A save has failed and is to be tried again, before later ones of the same client.
    pub(super) fn failed(&mut self, mut save: Save, is_refused: bool) {
        save.tries += 1;
        save.was_refused |= is_refused;
        let key = save.keys.ended.clone();
        let client = self.clients.entry(key.clone()).or_default();
        if let Place::BeingSaved(lane) = &client.place {
            self.lanes.end(lane);
        }
        client.place = if is_refused { Place::Refused } else { Place::Away };
        match client.saves.front_mut() {
            Some(next) if save.is_replaced_by(next) => next.replaces(&save),
            _ => client.saves.push_front(save),
        }
        let retries = if is_refused { &mut self.refused } else { &mut self.away };
        retries.push(key);
    }

    /// Keeps `waiting` until the client's session is in Redis; gives it back if it is.
    pub(super) fn wait(&mut self, key: &str, waiting: Waiting) -> Option<Waiting> {
        if !self.clients.contains_key(key) {
            return Some(waiting);
        }
        self.waits.push(key, waiting);
        None
    }

    /// Takes the restores that are to wait no longer. `is_over` is told whether the client's last
    /// save has failed and is not about to be tried again.
    pub(super) fn take_restores(
        &mut self,
        is_over: impl Fn(&Restore, bool) -> bool,
    ) -> Vec<Restore> {
        self.waits.take_restores(|key, restore| {
            let place = self.clients.get(key).map(|client| &client.place);
            is_over(restore, matches!(place, Some(Place::Away | Place::Refused)))
        })
    }
}

#[cfg(test)]
mod tests;
