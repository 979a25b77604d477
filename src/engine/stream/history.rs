//! Recent broadcasts of one stream, as they were read, bounded in bytes. A restore finds here what
//! a client missed, without asking Redis.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::engine::memory::{allocated, buffer, shared, table};
use crate::engine::missed::{Missed, MissedBytes, SharedPacket};
use crate::engine::wire::{
    BroadcastHead, Data, EntryData, EntryId, Judgement, Memberships, Packet,
};

/// The broadcasts that restores may send, from `covered_from` to the position, without a gap.
pub(crate) struct History {
    /// Everything after this entry is here. `None` while nobody needs the history.
    covered_from: Option<EntryId>,
    entries: VecDeque<Remembered>,
    /// How many entries were dropped. It is also the place of the first entry in `entries`.
    dropped: u64,
    namespaces: HashMap<Arc<str>, Index>,
    /// What `entries` and the indexes take.
    bytes: usize,
    bound: usize,
}

struct Remembered {
    id: EntryId,
    nsp: Arc<str>,
    data: Data,
    /// `None` if Rust cannot parse the head.
    head: Option<Arc<BroadcastHead>>,
    /// What restores have made of it.
    packet: Arc<SharedPacket>,
}

/// Places of a namespace's entries, by the rooms that they are for. A place is counted from the
/// first entry ever kept, so it does not change when older entries are dropped.
#[derive(Default)]
struct Index {
    /// Entries for everyone, and entries whose rooms Rust cannot tell.
    everyone: VecDeque<u64>,
    rooms: HashMap<Box<str>, VecDeque<u64>>,
    /// What the names of the rooms and their places take.
    bytes: usize,
}

/// A broadcast that a client may have missed.
pub(crate) struct Candidate {
    pub(crate) id: EntryId,
    data: Data,
    head: Option<Arc<BroadcastHead>>,
    packet: Arc<SharedPacket>,
    /// True if it is for a room that the client was in.
    is_included: bool,
}

/// A client that comes back.
pub(crate) struct Returning<'a> {
    pub(crate) nsp: &'a str,
    /// The rooms that it was in.
    pub(crate) rooms: &'a Memberships,
    /// Whether Rust encodes the packets of its namespace.
    pub(crate) encodes: bool,
    /// Counts the packets that are made for it.
    pub(crate) bytes: &'a Arc<MissedBytes>,
}

impl Returning<'_> {
    /// What the client gets of the broadcast `id`, which is of its namespace. `None` if the client
    /// did not miss it. The client's rooms count as they were before the entry `judged_by`: another
    /// one if this one doubles it. `shared` is the packet that others get of it.
    pub(crate) fn missed(
        &self,
        id: EntryId,
        judged_by: EntryId,
        data: &Data,
        head: Option<&BroadcastHead>,
        shared: &SharedPacket,
    ) -> Option<Missed> {
        let judgement =
            head.map_or(Judgement::Unknown, |head| head.missed_by(judged_by, self.rooms));
        self.judged(judgement, id, data, head, shared)
    }

    /// What the client gets of a broadcast out of the history.
    pub(crate) fn missed_of(&self, candidate: &Candidate) -> Option<Missed> {
        let Candidate { id, data, head, packet, is_included } = candidate;
        match head.as_deref() {
            Some(head) if *is_included => {
                let judgement = head.unless_excepted(Judgement::Yes, *id, self.rooms);
                self.judged(judgement, *id, data, Some(head), packet)
            }
            head => self.missed(*id, *id, data, head, packet),
        }
    }

    fn judged(
        &self,
        judgement: Judgement,
        id: EntryId,
        data: &Data,
        head: Option<&BroadcastHead>,
        shared: &SharedPacket,
    ) -> Option<Missed> {
        let packet = match (judgement, head) {
            (Judgement::No, _) => return None,
            (Judgement::Yes, Some(head)) if self.encodes => {
                let make = || Packet::of(head, data.view(), self.nsp, Some(id));
                shared.get(self.bytes, make)
            }
            _ => None,
        };
        Some(match packet {
            Some(packet) => Missed::Packet { id, packet },
            None => Missed::Entry { id, data: data.clone() },
        })
    }
}

impl Remembered {
    /// The rooms to list it under; `None` if it belongs in `Index::everyone`.
    fn rooms(&self) -> Option<impl Iterator<Item = &str>> {
        let rooms = self.head.as_ref()?.rooms();
        (!rooms.is_empty() && rooms.are_names()).then(|| rooms.names())
    }

    /// The bytes that it takes.
    fn size(&self) -> usize {
        let head = self.head.as_ref();
        let head = head.map_or(0, |head| shared(size_of::<BroadcastHead>()) + head.heap());
        let packet = shared(size_of::<SharedPacket>());
        size_of::<Self>() + self.data.heap() + head + packet
    }
}

impl Index {
    fn add(&mut self, place: u64, entry: &Remembered) {
        let Some(rooms) = entry.rooms() else { return self.everyone.push_back(place) };
        for room in rooms {
            if let Some(places) = self.rooms.get_mut(room) {
                self.bytes -= buffer::<u64>(places.capacity());
                places.push_back(place);
                self.bytes += buffer::<u64>(places.capacity());
            } else {
                let mut places = VecDeque::with_capacity(1);
                places.push_back(place);
                self.bytes += allocated(room.len()) + buffer::<u64>(places.capacity());
                self.rooms.insert(room.into(), places);
            }
        }
    }

    /// Drops all places of an entry's rooms that are before `first`.
    fn remove(&mut self, first: u64, entry: &Remembered) {
        while self.everyone.pop_front_if(|place| *place < first).is_some() {}
        for room in entry.rooms().into_iter().flatten() {
            let Some(places) = self.rooms.get_mut(room) else { continue };
            self.bytes -= buffer::<u64>(places.capacity());
            while places.pop_front_if(|place| *place < first).is_some() {}
            if places.is_empty() {
                self.bytes -= allocated(room.len());
                self.rooms.remove(room);
                continue;
            }
            give_back(places);
            self.bytes += buffer::<u64>(places.capacity());
        }
        give_back(&mut self.everyone);
        if self.rooms.capacity() > 4 * self.rooms.len() + 64 {
            self.rooms.shrink_to(2 * self.rooms.len());
        }
    }

    /// The bytes that it takes, its own name included.
    fn size(&self, nsp: &str) -> usize {
        let rooms = table::<Box<str>, VecDeque<u64>>(self.rooms.capacity());
        let everyone = buffer::<u64>(self.everyone.capacity());
        shared(nsp.len()) + size_of::<(Arc<str>, Self)>() + everyone + rooms + self.bytes
    }
}

/// Gives back memory of which only a small part is still used.
fn give_back(places: &mut VecDeque<u64>) {
    if places.capacity() > 4 * places.len() + 16 {
        places.shrink_to(2 * places.len());
    }
}

impl History {
    /// An empty history, which keeps nothing until [`History::start`].
    pub(crate) fn new(bound: usize) -> Self {
        Self {
            covered_from: None,
            entries: VecDeque::new(),
            dropped: 0,
            namespaces: HashMap::new(),
            bytes: 0,
            bound,
        }
    }

    /// Keeps what comes after `position`. Does nothing if the history has already started.
    pub(crate) fn start(&mut self, position: EntryId) {
        self.covered_from.get_or_insert(position);
    }

    /// If the history has started, drops everything and starts again at `position`: entries before
    /// that may be missing.
    pub(crate) fn restart(&mut self, position: EntryId) {
        self.dropped += self.entries.len() as u64;
        self.entries.clear();
        self.namespaces.clear();
        self.bytes = 0;
        if self.covered_from.is_some() {
            self.covered_from = Some(position);
        }
    }

    /// Whether the history has started.
    pub(crate) fn is_on(&self) -> bool {
        self.covered_from.is_some()
    }

    /// Everything after this entry is here; `None` if the history has not started.
    pub(crate) fn covered_from(&self) -> Option<EntryId> {
        self.covered_from
    }

    /// Whether the broadcast with this ID is here.
    pub(crate) fn contains(&self, id: EntryId) -> bool {
        self.entries.binary_search_by_key(&id, |entry| entry.id).is_ok()
    }

    /// Adds a broadcast that was just read, unless no restore would send it. Drops the oldest
    /// broadcasts if the bound is exceeded.
    pub(crate) fn push(
        &mut self,
        id: EntryId,
        nsp: &str,
        data: &EntryData<'_>,
        head: Option<&BroadcastHead>,
    ) {
        if self.covered_from.is_none() || head.is_some_and(|head| !head.is_sent_again()) {
            return;
        }
        let known = self.namespaces.get_key_value(nsp);
        let nsp = known.map_or_else(|| nsp.into(), |(nsp, _)| nsp.clone());
        let (data, head) = (data.keep(), head.map(|head| Arc::new(head.clone())));
        let entry = Remembered { id, nsp, data, head, packet: Arc::default() };
        let place = self.dropped + self.entries.len() as u64;
        let index = self.namespaces.entry(entry.nsp.clone()).or_insert_with(|| {
            self.bytes += Index::default().size(&entry.nsp);
            Index::default()
        });
        self.bytes += entry.size();
        self.bytes -= index.size(&entry.nsp);
        index.add(place, &entry);
        self.bytes += index.size(&entry.nsp);
        self.entries.push_back(entry);
        while self.bytes > self.bound && !self.entries.is_empty() {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.entries.pop_front() else { return };
        self.dropped += 1;
        self.bytes -= oldest.size();
        self.covered_from = Some(oldest.id);
        let Some(index) = self.namespaces.get_mut(&oldest.nsp) else { return };
        self.bytes -= index.size(&oldest.nsp);
        index.remove(self.dropped, &oldest);
        if index.everyone.is_empty() && index.rooms.is_empty() {
            self.namespaces.remove(&oldest.nsp);
        } else {
            self.bytes += index.size(&oldest.nsp);
        }
    }

    /// What a client may have missed after `offset`, in order. The caller holds the cursor's lock,
    /// so this only collects; [`Returning::missed_of`] judges.
    pub(crate) fn candidates(&self, client: &Returning<'_>, offset: EntryId) -> Vec<Candidate> {
        let Some(index) = self.namespaces.get(client.nsp) else { return Vec::new() };
        let first_after =
            |id| self.dropped + self.entries.partition_point(|entry| entry.id <= id) as u64;
        let first = first_after(offset);
        let mut places: Vec<(u64, bool)> = Vec::new();
        let mut collect = |list: &VecDeque<u64>, first: u64, is_included| {
            let missed = list.range(list.partition_point(|place| *place < first)..);
            places.extend(missed.map(|place| (*place, is_included)));
        };
        collect(&index.everyone, first, false);
        for (room, since) in client.rooms.named() {
            if let Some(list) = index.rooms.get(room) {
                collect(list, if since > offset { first_after(since) } else { first }, true);
            }
        }
        places.sort_unstable();
        places.dedup();
        let candidate = |(place, is_included): (u64, bool)| {
            let entry = self.entries.get(usize::try_from(place - self.dropped).ok()?)?;
            let (id, data, head) = (entry.id, entry.data.clone(), entry.head.clone());
            let packet = entry.packet.clone();
            Some(Candidate { id, data, head, packet, is_included })
        };
        places.into_iter().filter_map(candidate).collect()
    }

    /// What a client missed after `offset`, in order.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn missed(&self, client: &Returning<'_>, offset: EntryId) -> Vec<Missed> {
        let candidates = self.candidates(client, offset);
        candidates.iter().filter_map(|candidate| client.missed_of(candidate)).collect()
    }

    /// How many broadcasts are here.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes in use.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::wire::{Membership, Room};

    fn id(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    fn to(rooms: &[&str]) -> String {
        format!(
            r#"{{"opts":{{"rooms":{rooms:?},"except":[]}},"packet":{{"type":2,"data":["e"]}}}}"#
        )
    }

    fn push(history: &mut History, ms: u64, nsp: &str, json: impl AsRef<str>) {
        let head = BroadcastHead::from_json(json.as_ref());
        history.push(id(ms), nsp, &EntryData::Json(json.as_ref()), head.as_ref());
    }

    fn member(room: &str, since: u64) -> Membership {
        Membership { room: Room::Name(room.into()), since: id(since) }
    }

    fn missed(history: &History, offset: u64, rooms: &[Membership]) -> Vec<u64> {
        let rooms = rooms.iter().cloned().collect();
        let bytes = Arc::default();
        let client = Returning { nsp: "/", rooms: &rooms, encodes: true, bytes: &bytes };
        history.missed(&client, id(offset)).iter().map(|missed| missed.id().ms).collect()
    }

    #[test]
    fn finds_what_was_missed_in_order_and_once() {
        let mut history = History::new(1 << 20);
        push(&mut history, 1, "/", to(&[]));
        assert!(!history.contains(id(1)), "remembers nothing before it is started");
        history.start(id(1));
        push(&mut history, 2, "/", to(&[]));
        push(&mut history, 3, "/", to(&["mine", "too"]));
        push(&mut history, 4, "/", to(&["theirs"]));
        push(&mut history, 5, "/other", to(&[]));
        push(&mut history, 6, "/", "{broken");
        push(&mut history, 7, "/", to(&["too"]));
        let rooms = [member("mine", 0), member("too", 0)];
        assert_eq!(missed(&history, 1, &rooms), [2, 3, 6, 7]);
        assert_eq!(missed(&history, 3, &rooms), [6, 7]);
        assert_eq!(missed(&history, 7, &rooms), [0u64; 0]);
        assert!(history.contains(id(3)) && !history.contains(id(8)));
    }

    #[test]
    fn what_went_to_a_room_before_the_client_was_in_it_was_not_missed() {
        let mut history = History::new(1 << 20);
        history.start(id(0));
        for ms in 1..=4 {
            push(&mut history, ms, "/", to(&["r"]));
        }
        assert_eq!(missed(&history, 0, &[member("r", 2)]), [3, 4]);
    }

    #[test]
    fn what_is_never_sent_again_is_not_kept() {
        let mut history = History::new(1 << 20);
        history.start(id(0));
        let volatile =
            r#"{"opts":{"rooms":[],"except":[],"flags":{"volatile":true}},"packet":{"type":2}}"#;
        push(&mut history, 1, "/", volatile);
        assert_eq!(history.bytes(), 0);
    }

    #[test]
    fn drops_the_oldest_over_its_bound_and_leaves_no_trace_of_them() {
        let mut three = History::new(usize::MAX);
        three.start(id(0));
        (1..=3).for_each(|ms| push(&mut three, ms, "/", to(&["b"])));
        let mut history = History::new(three.bytes());
        history.start(id(0));
        for ms in 1..=5 {
            push(&mut history, ms, "/", to(&[if ms < 3 { "a" } else { "b" }]));
        }
        assert_eq!(history.covered_from(), Some(id(2)));
        assert_eq!(missed(&history, 2, &[member("a", 0), member("b", 0)]), [3, 4, 5]);
        assert!(history.bytes() <= history.bound);
        assert!(!history.namespaces["/"].rooms.contains_key("a"));
        history.restart(id(9));
        assert!(history.namespaces.is_empty() && history.bytes() == 0);
        push(&mut history, 10, "/", to(&["b"]));
        assert_eq!(missed(&history, 9, &[member("b", 0)]), [10]);
        assert_eq!(history.covered_from(), Some(id(9)));
    }
}
