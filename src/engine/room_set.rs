//! The rooms that have a local member, by the hashes of their names: JS has the names already, and a
//! node may have many rooms.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

/// May hold more rooms than were inserted, if names have the same hash, and never fewer. The hashes
/// have 64 bits and a random key, so a client cannot make up such names.
#[derive(Debug, Default)]
pub(crate) struct RoomSet {
    hasher: RandomState,
    /// Twice the same hash for two names that share it, so that one of them may leave.
    hashes: HashTable<u64>,
}

impl RoomSet {
    /// Adds a room that is not there.
    pub(crate) fn insert(&mut self, room: &str) {
        let hash = self.hash(room);
        self.hashes.insert_unique(hash, hash, |hash| *hash);
    }

    /// Removes a room, if it is there.
    pub(crate) fn remove(&mut self, room: &str) {
        let hash = self.hash(room);
        if let Ok(entry) = self.hashes.find_entry(hash, |other| *other == hash) {
            entry.remove();
        }
        // A crowd that has left leaves no memory behind.
        if self.hashes.len() < self.hashes.capacity() / 8 {
            self.hashes.shrink_to(2 * self.hashes.len(), |hash| *hash);
        }
    }

    /// Whether a room is there.
    pub(crate) fn contains(&self, room: &str) -> bool {
        let hash = self.hash(room);
        self.hashes.find(hash, |other| *other == hash).is_some()
    }

    fn hash(&self, room: &str) -> u64 {
        self.hasher.hash_one(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_come_and_go() {
        let mut rooms = RoomSet::default();
        let name = |i: u32| format!("room {i}");
        (0..10_000).for_each(|i| rooms.insert(&name(i)));
        (0..10_000).filter(|i| i % 100 > 0).for_each(|i| rooms.remove(&name(i)));
        rooms.remove("never there");
        assert!((0..10_000).all(|i| rooms.contains(&name(i)) == (i % 100 == 0)));
        assert!(rooms.hashes.capacity() < 1_000);
    }

    #[test]
    fn of_two_names_with_one_hash_either_may_leave() {
        let mut rooms = RoomSet::default();
        rooms.insert("a");
        let hash = rooms.hash("a");
        rooms.hashes.insert_unique(hash, hash, |hash| *hash);
        rooms.remove("a");
        assert!(rooms.contains("a"));
        rooms.remove("a");
        assert!(!rooms.contains("a"));
    }
}
