//! Recent broadcasts of one stream, as read, bounded in bytes: what a client that comes back
//! missed is found here, without asking Redis.

use std::collections::VecDeque;
use std::sync::Arc;

use super::EntryId;
use crate::engine::wire::{BroadcastHead, Data, Judgement, Room};

/// Bookkeeping per entry, roughly, on top of its data.
const OVERHEAD: usize = 256;

/// The broadcasts of a stretch of the stream without a gap, up to where reading stands.
pub struct History {
    /// `None` while nobody needs it.
    covered_from: Option<EntryId>,
    entries: VecDeque<Remembered>,
    bytes: usize,
    bound: usize,
}

struct Remembered {
    id: EntryId,
    nsp: Arc<str>,
    data: Data,
    /// `None` when the head cannot be read here.
    head: Option<BroadcastHead>,
}

/// A packet that a client missed: to be sent with the entry's ID as its offset.
#[derive(Debug, Clone)]
pub struct Missed {
    /// The entry.
    pub id: EntryId,
    /// Its data, decoded by JS, which also has the last word on whether it matches.
    pub data: Data,
}

impl History {
    /// Remembers nothing until [`History::start`].
    pub fn new(bound: usize) -> Self {
        Self { covered_from: None, entries: VecDeque::new(), bytes: 0, bound }
    }

    /// Remembers what comes after `position`. Does nothing when it does so already.
    pub fn start(&mut self, position: EntryId) {
        self.covered_from.get_or_insert(position);
    }

    /// Forgets everything: the stream went on without us.
    pub fn restart(&mut self, position: EntryId) {
        self.entries.clear();
        self.bytes = 0;
        if self.covered_from.is_some() {
            self.covered_from = Some(position);
        }
    }

    /// Everything after this entry is here; `None` when nothing is remembered.
    pub fn covered_from(&self) -> Option<EntryId> {
        self.covered_from
    }

    /// Whether the broadcast with this ID is here.
    pub fn contains(&self, id: EntryId) -> bool {
        self.entries.binary_search_by_key(&id, |entry| entry.id).is_ok()
    }

    /// Adds a broadcast that was just read; drops the oldest ones over the bound.
    pub fn push(&mut self, id: EntryId, nsp: &Arc<str>, data: &Data) {
        if self.covered_from.is_none() {
            return;
        }
        let head = BroadcastHead::decode(data);
        self.bytes += OVERHEAD + data.len();
        self.entries.push_back(Remembered { id, nsp: nsp.clone(), data: data.clone(), head });
        while self.bytes > self.bound
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= OVERHEAD + oldest.data.len();
            self.covered_from = Some(oldest.id);
        }
    }

    /// What a client of `nsp` in `rooms` missed after `offset`, in order.
    pub fn missed(&self, nsp: &str, offset: EntryId, rooms: &[Room]) -> Vec<Missed> {
        let first = self.entries.partition_point(|entry| entry.id <= offset);
        self.entries
            .range(first..)
            .filter(|entry| &*entry.nsp == nsp && is_missed(entry.head.as_ref(), rooms))
            .map(|entry| Missed { id: entry.id, data: entry.data.clone() })
            .collect()
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Whether JS is to see the broadcast: unless it is sure that it was not missed.
pub fn is_missed(head: Option<&BroadcastHead>, rooms: &[Room]) -> bool {
    head.is_none_or(|head| head.missed_by(rooms) != Judgement::No)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    fn to(room: &str) -> Data {
        let rooms = if room.is_empty() { String::new() } else { format!("{room:?}") };
        let json = format!(
            r#"{{"opts":{{"rooms":[{rooms}],"except":[]}},"packet":{{"type":2,"data":[]}}}}"#
        );
        Data::Json(json.into())
    }

    fn missed(history: &History, offset: u64) -> Vec<u64> {
        let rooms = [Room::Name("mine".into())];
        history.missed("/", id(offset), &rooms).iter().map(|missed| missed.id.ms).collect()
    }

    #[test]
    fn finds_what_was_missed_in_order() {
        let mut history = History::new(1 << 20);
        let (root, other) = ("/".into(), "/other".into());
        history.push(id(1), &root, &to(""));
        assert!(!history.contains(id(1)), "remembers nothing before it is started");
        history.start(id(1));
        history.push(id(2), &root, &to(""));
        history.push(id(3), &root, &to("mine"));
        history.push(id(4), &root, &to("theirs"));
        history.push(id(5), &other, &to(""));
        history.push(id(6), &root, &Data::Json("{broken".into()));
        assert_eq!(missed(&history, 1), [2, 3, 6]);
        assert_eq!(missed(&history, 2), [3, 6]);
        assert_eq!(missed(&history, 6), [0u64; 0]);
        assert!(history.contains(id(3)) && !history.contains(id(7)));
    }

    #[test]
    fn drops_the_oldest_over_its_bound_and_says_from_where_it_covers() {
        let mut history = History::new(3 * (OVERHEAD + to("").len()));
        history.start(id(0));
        for ms in 1..=5 {
            history.push(id(ms), &"/".into(), &to(""));
        }
        assert_eq!(history.covered_from(), Some(id(2)));
        assert_eq!(missed(&history, 2), [3, 4, 5]);
        assert!(history.bytes() <= history.bound);
    }
}
