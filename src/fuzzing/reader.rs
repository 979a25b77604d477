//! How the reader handles pages: it leaves out no entry that a client here gets, or that a client
//! that comes back has missed, and it makes no difference where a page ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::js::{Broadcast, Js, parse_json, parse_msgpack};
use super::{BETWEEN_ENTRIES, dice, resp, strings};
use crate::engine::event::{Event, StreamEvent};
use crate::engine::inbox::Inbox;
use crate::engine::missed::Missed;
use crate::engine::namespaces::Namespaces;
use crate::engine::options;
use crate::engine::redis::Connector;
use crate::engine::stats::Stats;
use crate::engine::stream::{PageSize, Reader, Returning, Stream, page};
use crate::engine::warnings::Warnings;
use crate::engine::wire::{
    ANSWERS, BROADCAST, Entry, EntryData, EntryId, Membership, Memberships, Room, parse_entry,
};

/// This node.
const UID: &str = "0123456789abcdef";
/// The room that has a local member.
const ROOM: &str = "r";

/// The input is entries, each with names and values in turn.
pub(crate) fn run(input: &[u8]) {
    let entries: Vec<Vec<&[u8]>> = input.split(|b| *b == BETWEEN_ENTRIES).map(strings).collect();
    let mut dice = dice(input);
    let at_once = read(&entries, || entries.len());
    let in_pages = read(&entries, || dice.usize(1..=5));
    assert_eq!(at_once.delivered, in_pages.delivered);
    assert_eq!(at_once.missed, in_pages.missed);

    let last = id(entries.len() - 1);
    assert_eq!(at_once.position, last);
    for (place, strings) in entries.iter().enumerate() {
        let fields = strings.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        if let Ok(entry) = parse_entry(id(place), fields) {
            not_left_out(&entry, &at_once);
        }
    }
}

fn id(place: usize) -> EntryId {
    EntryId { ms: 1 + place as u64, seq: 0 }
}

/// The result of reading entries.
struct Outcome {
    /// Entries and broadcasts for JS, in order.
    delivered: Vec<EntryId>,
    /// What a client in [`ROOM`] has missed, unless JS decides otherwise.
    missed: Vec<EntryId>,
    position: EntryId,
}

fn read(entries: &[Vec<&[u8]>], mut size: impl FnMut() -> usize) -> Outcome {
    let reader = reader();
    reader.stream.cursor().history.start(EntryId::ZERO);
    for name in ["/", "/n"] {
        let namespace = reader.namespaces.open(name, name == "/n", true);
        namespace.set_has_sockets(true);
        namespace.set_room(ROOM, true);
    }
    let encoded: Vec<Vec<u8>> =
        (0..).zip(entries).map(|(i, e)| resp::entry(&id(i).to_string(), e)).collect();
    let mut rest = &encoded[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(size().min(rest.len()));
        reader.hand_on(&page(&resp::page(now)).expect("a page"), 0, false);
        rest = later;
    }
    let stats = &reader.stats;
    let told: u64 = [&stats.delivered, &stats.skipped, &stats.malformed, &stats.doubled]
        .map(|counter| counter.get())
        .iter()
        .sum();
    assert_eq!((stats.read.get(), told), (entries.len() as u64, entries.len() as u64));
    let cursor = reader.stream.cursor();
    let room = Membership { room: Room::Name(ROOM.into()), since: EntryId::ZERO };
    let rooms = Memberships::from_iter([room]);
    let bytes = Arc::default();
    let missed = ["/", "/n"].map(|nsp| {
        let client = Returning { nsp, rooms: &rooms, encodes: false, bytes: &bytes };
        cursor.history.missed(&client, EntryId::ZERO)
    });
    Outcome {
        delivered: delivered(&reader.inbox),
        missed: missed.iter().flatten().map(Missed::id).collect(),
        position: cursor.position,
    }
}

fn reader() -> Reader {
    let inbox = Arc::new(Inbox::new(usize::MAX, || {}));
    let warnings = Arc::new(Warnings::new(inbox.clone()));
    let settings = serde_json::from_str("{}").expect("settings");
    Reader {
        uid: UID.into(),
        stream: Arc::new(Stream::new(
            0,
            "key".to_owned(),
            1 << 20,
            1 << 20,
            options::defaults().retention(),
            &inbox,
        )),
        connector: Arc::new(
            Connector::new(settings, None, warnings.clone()).expect("no certificates"),
        ),
        namespaces: Arc::new(Namespaces::default()),
        stats: Arc::new(Stats::default()),
        warnings,
        inbox,
        read_from: options::ReadFrom::Master,
        count: 100,
        pages: PageSize::new(1_000),
        block: Duration::ZERO,
        started: Instant::now(),
        pace: None,
    }
}

/// The delivered entries: each once, in the order of the stream.
fn delivered(inbox: &Inbox) -> Vec<EntryId> {
    let events = inbox.drain(usize::MAX).unwrap_or_default();
    let ids: Vec<EntryId> = events
        .iter()
        .filter_map(|event| match event {
            Event::Stream(StreamEvent::Entry { id, .. }) => Some(*id),
            Event::Stream(StreamEvent::Broadcast(broadcast)) => Some(broadcast.id),
            _ => None,
        })
        .collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    ids
}

fn not_left_out(entry: &Entry<'_>, outcome: &Outcome) {
    // The reader drops duplicates; see `engine::stream::WriterSequences`.
    if entry.origin.is_some() || !["/", "/n"].contains(&entry.nsp) {
        return;
    }
    let is_other = entry.uid != UID;
    let is_delivered = outcome.delivered.binary_search(&entry.id).is_ok();
    let data = match &entry.data {
        Some(EntryData::Json(text)) => parse_json(text).value(),
        Some(EntryData::Msgpack(bytes)) => parse_msgpack(bytes).value(),
        None => None,
    };
    let request = data.as_ref().and_then(|data| data.get("requestId"));
    if entry.kind != BROADCAST {
        let is_handled = is_other && (4..=12).contains(&entry.kind);
        let id = request.and_then(Js::as_text);
        // The reader may leave out answers to requests of other nodes.
        if is_handled && ANSWERS.contains(&entry.kind) && !id.is_some_and(|id| id.starts_with(UID))
        {
            return;
        }
        return assert_eq!(is_delivered, is_handled, "{entry:?}");
    }
    let Some(broadcast) = data.as_ref().and_then(Broadcast::new) else { return };
    let is_ours = |room: &Js| room.same(&Js::text(ROOM));
    let is_wanted =
        request.is_some() || broadcast.rooms.is_empty() || broadcast.rooms.iter().any(is_ours);
    assert!(is_delivered || !is_wanted || !is_other, "not delivered: {entry:?}");
    let is_missed = broadcast.missed_by(entry.id, &[(Js::text(ROOM), EntryId::ZERO)]);
    assert!(outcome.missed.contains(&entry.id) || !is_missed, "not missed: {entry:?}");
}
