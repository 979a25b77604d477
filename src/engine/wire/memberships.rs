//! The rooms that a client was in, and since when: which broadcasts it missed.

use std::collections::HashMap;

use super::room::Rooms;
use super::{EntryId, Room};

/// Whether a client that comes back gets a broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    Yes,
    No,
    /// JS has to decide: the head holds something that cannot be compared here.
    Unknown,
}

/// A room that a client is in, and since which entry. The client does not get what was sent to the
/// room up to that entry.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    pub(crate) room: Room,
    /// The last entry before the client joined.
    pub(crate) since: EntryId,
}

/// All rooms of a client. A room is found by its name, since both a client and a broadcast may have
/// thousands.
#[derive(Debug, Default)]
pub(crate) struct Memberships {
    /// By name, the last entry before the client joined.
    named: HashMap<Box<str>, EntryId>,
    /// When the client joined the first of its rooms that are [`Room::Unreadable`].
    unreadable: Option<EntryId>,
    /// When the client joined the first of its rooms that are [`Room::Other`].
    other: Option<EntryId>,
    /// When the client joined the first of all its rooms.
    first: Option<EntryId>,
}

impl Memberships {
    /// The rooms with names, and the last entry before the client joined each.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&str, EntryId)> {
        self.named.iter().map(|(name, since)| (&**name, *since))
    }

    /// Whether the client was in one of `rooms` when the entry `id` was written.
    pub(super) fn share(&self, id: EntryId, rooms: &Rooms) -> Judgement {
        let was_in = |since: Option<EntryId>| since.is_some_and(|since| since < id);
        if rooms.names().any(|name| was_in(self.named.get(name).copied())) {
            return Judgement::Yes;
        }
        let is_unknown = !rooms.is_empty() && was_in(self.unreadable)
            || rooms.has_unreadable() && was_in(self.first)
            || rooms.has_other() && was_in(self.other);
        if is_unknown { Judgement::Unknown } else { Judgement::No }
    }
}

impl FromIterator<Membership> for Memberships {
    fn from_iter<I: IntoIterator<Item = Membership>>(rooms: I) -> Self {
        let earlier = |known: Option<EntryId>, since| known.map_or(since, |known| known.min(since));
        let mut all = Self::default();
        for Membership { room, since } in rooms {
            all.first = Some(earlier(all.first, since));
            match room {
                Room::Name(name) => {
                    let since = earlier(all.named.get(&name).copied(), since);
                    all.named.insert(name, since);
                }
                Room::Unreadable => all.unreadable = Some(earlier(all.unreadable, since)),
                Room::Other => all.other = Some(earlier(all.other, since)),
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::engine::wire::BroadcastHead;

    const ID: EntryId = EntryId { ms: 9, seq: 9 };

    fn member(room: Room, since: u64) -> Membership {
        Membership { room, since: EntryId { ms: since, seq: 0 } }
    }

    fn to(rooms: &str) -> BroadcastHead {
        let packet = r#""packet":{"type":2,"data":["e"]}"#;
        let json = format!(r#"{{"opts":{{"rooms":[{rooms}],"except":[]}},{packet}}}"#);
        BroadcastHead::from_json(&json).unwrap()
    }

    #[test]
    fn of_a_room_that_was_joined_twice_the_earlier_join_counts() {
        let rooms = [member(Room::Name("r".into()), 9), member(Room::Name("r".into()), 10)];
        for order in [[0, 1], [1, 0]] {
            let client: Memberships =
                order.map(|place: usize| rooms[place].clone()).into_iter().collect();
            assert_eq!(to(r#""r""#).missed_by(ID, &client), Judgement::Yes);
        }
    }

    #[test]
    fn rooms_that_are_no_names_are_left_to_js_once_joined() {
        for (room, joined) in [(Room::Other, "5"), (Room::Unreadable, r#""r""#)] {
            let client = |since| Memberships::from_iter([member(room.clone(), since)]);
            assert_eq!(to(joined).missed_by(ID, &client(9)), Judgement::Unknown);
            assert_eq!(to(joined).missed_by(ID, &client(10)), Judgement::No);
        }
    }

    #[test]
    fn a_broadcast_to_many_rooms_costs_no_more_for_a_client_in_many() {
        let names: Vec<String> = (0..2_000).map(|room| format!(r#""theirs {room}""#)).collect();
        let head = to(&names.join(","));
        let cost = |rooms: usize| -> Duration {
            let room = |room| member(Room::Name(format!("mine {room}").into()), 0);
            let client: Memberships = (0..rooms).map(room).collect();
            let rounds = (0..5).map(|_| {
                let start = Instant::now();
                assert_eq!(head.missed_by(ID, &client), Judgement::No);
                start.elapsed()
            });
            rounds.min().unwrap()
        };
        let (few, many) = (cost(2), cost(5_000));
        assert!(many < few * 50, "{many:?} in 5,000 rooms, {few:?} in 2");
    }
}
