//! Reads one stream, on a connection of its own, from an explicit position from the first read on.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{
    Cursor, EntryId, Local, PageEntry, Progress, Step, Stream, last_before, page, read_entries,
    server_time, tail,
};
use crate::engine::error::Result;
use crate::engine::inbox::{Event, Inbox, Loss};
use crate::engine::namespaces::{Namespace, Namespaces};
use crate::engine::redis::{Backoff, Connector, RawConnection, Route};
use crate::engine::stats::Stats;
use crate::engine::warnings::Warnings;
use crate::engine::wire::{BROADCAST, BroadcastHead, Entry, EntryError, Packet, Room, parse_entry};

/// How much later than asked an XREAD may answer before the connection counts as dead.
const GRACE: Duration = Duration::from_secs(5);
/// A reader that is behind asks for up to this many entries at a time, where the option asks for
/// less: XADD trims what it leaves.
const LARGEST_READ: u32 = 1_000;
/// It does not ask for more than the option says when replies are larger than this already.
const LARGEST_REPLY: usize = 1 << 20;
/// Longer reads, and those without limit, are asked for again after this: a dead server is noticed.
const LONGEST_BLOCK: Duration = Duration::from_secs(30);
/// Messages that nodes of this protocol handle; heartbeats of the 0.2 protocol are no business
/// of ours here.
const HANDLED: std::ops::RangeInclusive<u32> = 3..=12;
const HEARTBEATS: [u32; 3] = [1, 2, 13];

const TASK: &str = "reader";

/// What a reader has reached once and for all.
#[derive(Default)]
struct Life {
    connected: bool,
    /// The first position is known. It is never asked for again: what came meanwhile would be
    /// left out.
    started: bool,
}

/// Reads a stream and hands its entries on.
pub struct Reader {
    /// This node.
    pub uid: Arc<str>,
    /// The stream.
    pub stream: Arc<Stream>,
    /// Makes the connection.
    pub connector: Arc<Connector>,
    /// Where entries go.
    pub inbox: Arc<Inbox>,
    /// Which entries are wanted.
    pub namespaces: Arc<Namespaces>,
    /// Counters.
    pub stats: Arc<Stats>,
    /// For refusals and outages.
    pub warnings: Arc<Warnings>,
    /// Entries per read.
    pub count: u32,
    /// How long one read waits; zero is without limit.
    pub block: Duration,
    /// When this node was started: what is written from then on is read, however long it takes to
    /// connect.
    pub started: Instant,
}

impl Reader {
    /// Runs until it is dropped.
    pub async fn run(self) {
        let mut backoff = self.connector.backoff();
        let mut life = Life::default();
        let mut route = Route::new(self.connector.clone(), self.stream.key.clone());
        loop {
            let read = self.read(&mut route, &mut backoff, &mut life).await;
            let Err(error) = read else { continue };
            if !route.heed(&error) {
                self.warnings.warn(TASK, &error);
            }
            if error.is_refusal() {
                self.refused();
            }
            backoff.wait().await;
        }
    }

    /// Connects and reads until something fails, or the position was moved under the reader.
    async fn read(&self, route: &mut Route, backoff: &mut Backoff, life: &mut Life) -> Result<()> {
        let mut connection = route.connect_raw().await?;
        if std::mem::replace(&mut life.connected, true) {
            self.stats.reconnects.add(1);
        }
        if !life.started {
            self.find_start(&mut connection).await?;
            life.started = true;
        }
        let mut count = self.count;
        loop {
            self.inbox.has_space().await;
            let (position, moves) = {
                let cursor = self.stream.cursor();
                (cursor.position, cursor.moves)
            };
            let reply = tokio::select! {
                reply = self.next_page(&mut connection, position, count) => reply?,
                // The read that is under way would not end: a new connection starts over.
                () = self.stream.moved.notified() => return Ok(()),
            };
            backoff.reset();
            self.warnings.clear(TASK);
            let entries = page(&reply)?;
            let is_behind = entries.len() as u64 >= u64::from(count);
            let is_small = reply.len() < LARGEST_REPLY;
            count = if is_behind && is_small {
                count.saturating_mul(2).min(LARGEST_READ)
            } else {
                self.count
            };
            count = count.max(self.count);
            if is_behind && self.was_outrun(&mut connection, position, &entries).await? {
                self.stream.cursor().trimmed = true;
            }
            self.hand_on(&entries, moves);
        }
    }

    /// The first position is where the stream's tail was when this node was started: clients may
    /// have come since. Where the server's clock cannot be asked for it is the tail as it is now. It
    /// is not read with `$`: between two reads with `$`, entries vanish.
    async fn find_start(&self, connection: &mut RawConnection) -> Result<()> {
        let key = &self.stream.key;
        let start = match server_time(connection).await {
            Ok(now) => {
                let then = now.saturating_sub(self.started.elapsed().as_millis() as u64);
                last_before(connection, key, then).await?
            }
            Err(error) if error.connection_survives() => {
                tracing::debug!("reading {key} from its tail: {error}");
                tail(connection, key).await?
            }
            Err(error) => return Err(error),
        };
        let start = start.unwrap_or(EntryId::ZERO);
        let mut cursor = self.stream.cursor();
        cursor.position = start;
        cursor.history.restart(start);
        drop(cursor);
        tracing::debug!("reading {key} from {start}");
        Ok(())
    }

    /// XREAD's reply.
    async fn next_page(
        &self,
        connection: &mut RawConnection,
        position: EntryId,
        count: u32,
    ) -> Result<Vec<u8>> {
        self.stream.progress.send_if_modified(|progress| {
            let now = Progress::At(position);
            std::mem::replace(progress, now) != now
        });
        let block =
            if self.block.is_zero() { LONGEST_BLOCK } else { self.block.min(LONGEST_BLOCK) };
        let mut command = redis::cmd("XREAD");
        command
            .arg("BLOCK")
            .arg(block.as_millis() as u64)
            .arg("COUNT")
            .arg(count)
            .arg("STREAMS")
            .arg(&self.stream.key)
            .arg(position.to_string());
        connection.send_within(block + GRACE, "XREAD", &self.stream.key, &command).await
    }

    /// Whether entries may have been trimmed between our position and a full page: when the last
    /// entry that we had read has gone, and the page's own entries cannot show what is missing.
    async fn was_outrun(
        &self,
        connection: &mut RawConnection,
        position: EntryId,
        page: &[PageEntry<'_>],
    ) -> Result<bool> {
        let tells = |entry: &PageEntry<'_>| entry.fields().any(|(name, _)| name == b"seq");
        if position == EntryId::ZERO || page.iter().all(tells) {
            return Ok(false);
        }
        let key = &self.stream.key;
        Ok(read_entries(connection, key, position, Some(position), 1).await?.is_empty())
    }

    /// Hands a batch on, all of it under the cursor's lock, so that restores see whole batches.
    pub(crate) fn hand_on(&self, page: &[PageEntry<'_>], moves: u64) {
        let remembers = self.stream.cursor().history.is_on();
        let entries: Vec<Decoded> =
            page.iter().map(|entry| self.decode(entry, remembers)).collect();
        let mut events = Vec::with_capacity(entries.len());
        let mut cursor = self.stream.cursor();
        if cursor.moves != moves {
            // Read from a position that does not count any more: it is read again.
            return;
        }
        let before = cursor.position;
        let mut gap = GapBefore::default();
        for Decoded { id, entry } in entries {
            self.stats.read.add(1);
            match entry {
                Ok((entry, head)) => self.sort(entry, head, &mut cursor, &mut events, &mut gap),
                Err(EntryError::Foreign) => self.stats.skipped.add(1),
                Err(EntryError::Malformed(what)) => {
                    self.stats.malformed.add(1);
                    tracing::debug!("entry {id} skipped: {what}");
                }
            }
            cursor.position = id;
        }
        cursor.read += page.len() as u64;
        let position = cursor.position;
        if !page.is_empty() {
            let may_have_lost = std::mem::take(&mut cursor.trimmed) && gap.unknown;
            if gap.missing > 0 || may_have_lost {
                cursor.hole_behind = cursor.hole_behind.max(before);
                self.stats.lost.add(gap.missing);
                let entries = (gap.missing > 0).then_some(gap.missing);
                let stream = self.stream.index;
                events.insert(0, Event::Lost { stream, loss: Loss::Trimmed, entries });
            }
        }
        events.extend(cursor.own.passed(position).into_iter().map(Event::Published));
        let released = cursor.held.release(position);
        self.inbox.push_all(events);
        self.stats.dropped.add(self.inbox.offer_all(released));
        drop(cursor);
        self.stream.progress.send_replace(Progress::At(position));
    }

    /// Decodes an entry as far as somebody needs it: before the cursor is locked, for which others
    /// wait.
    fn decode(&self, raw: &PageEntry<'_>, remembers: bool) -> Decoded {
        let entry = parse_entry(raw.id, raw.fields()).map(|entry| {
            let is_needed = remembers || self.namespaces.get(&entry.nsp).is_some();
            let head = if is_needed { Head::of(&entry) } else { Head::NotRead };
            (entry, head)
        });
        Decoded { id: raw.id, entry }
    }

    /// Decides what becomes of an entry.
    fn sort(
        &self,
        entry: Entry,
        head: Head,
        cursor: &mut Cursor,
        events: &mut Vec<Event>,
        gap: &mut GapBefore,
    ) {
        if self.is_old(&entry, cursor) {
            self.stats.skipped.add(1);
            return;
        }
        match entry.origin.map(|origin| cursor.marks.step(origin)) {
            Some(Step::Double) => {
                self.stats.doubled.add(1);
                tracing::debug!("entry {} dropped: it doubles an earlier one", entry.id);
                return;
            }
            Some(Step::Gap(missing)) => {
                // What a client that comes back has missed cannot be told across a hole.
                cursor.hole_behind = cursor.position;
                gap.missing = gap.missing.saturating_add(missing);
            }
            Some(Step::Next) => {}
            Some(Step::First) | None => gap.unknown = true,
        }
        let namespace = self.namespaces.get(&entry.nsp);
        let head = match head {
            Head::Read(head) => head,
            // The namespace was opened meanwhile.
            Head::NotRead if namespace.is_some() => Head::read(&entry),
            Head::NotRead => None,
        };
        if let Some(data) = entry.broadcast() {
            cursor.history.push(entry.id, &entry.nsp, data, head.as_ref());
        }
        if let Some(origin) = entry.origin
            && origin.writer == self.stream.writer_id
        {
            let is_idle = events.is_empty() && self.inbox.is_idle();
            let local = || local_part(&entry, head, namespace.as_deref(), is_idle);
            let done = cursor.own.read(origin.seq, entry.id, local);
            events.extend(done.into_iter().map(Event::Published));
        } else {
            let is_idle = events.is_empty() && self.inbox.is_idle();
            events.extend(self.delivery(entry, head, namespace, is_idle));
        }
    }

    /// While the stream is read again from its start: whether the entry is from before, as far as
    /// its writer's mark does not tell.
    fn is_old(&self, entry: &Entry, cursor: &mut Cursor) -> bool {
        let Some(limit) = cursor.read_again_to else { return false };
        if entry.id > limit {
            cursor.read_again_to = None;
            return false;
        }
        !entry.origin.is_some_and(|origin| cursor.marks.knows(origin.writer))
    }

    /// Another node's entry: for the namespace that it is for, when somebody there wants it. While
    /// something waits for JS, whether somebody does is seen when JS comes to it.
    fn delivery(
        &self,
        entry: Entry,
        head: Option<BroadcastHead>,
        namespace: Option<Arc<Namespace>>,
        is_idle: bool,
    ) -> Option<Event> {
        if !HANDLED.contains(&entry.kind) {
            if HEARTBEATS.contains(&entry.kind) {
                self.stats.skipped.add(1);
            } else {
                self.stats.malformed.add(1);
                tracing::debug!("entry {} skipped: unknown type {}", entry.id, entry.kind);
            }
            return None;
        }
        let is_wanted = |namespace: &Arc<Namespace>| {
            let may_be = |head| !is_idle || namespace.wants(entry.id, head);
            *entry.uid != *self.uid && head.as_ref().is_none_or(may_be)
        };
        let Some(namespace) = namespace.filter(is_wanted) else {
            self.stats.skipped.add(1);
            return None;
        };
        self.stats.delivered.add(1);
        let packet = packet_of(&entry, head.as_ref(), &namespace);
        if let (Some(head), Some(packet)) = (head, packet) {
            return Some(Event::Broadcast { namespace, id: entry.id, head, packet });
        }
        Some(Event::Entry {
            namespace: namespace.handle,
            uid: entry.uid,
            kind: entry.kind,
            id: entry.id,
            data: entry.data,
            hold: (entry.kind != BROADCAST).then(|| namespace.hold()),
        })
    }

    /// Redis does not let us read: what is written is delivered at the reply from now on.
    fn refused(&self) {
        let mut cursor = self.stream.cursor();
        self.stream.progress.send_replace(Progress::Refused);
        let done = cursor.own.take_acknowledged();
        self.inbox.push_all(done.into_iter().map(Event::Published));
    }
}

/// The local part of one of our own broadcasts; everything else is done by JS. `is_idle`: nothing
/// waits for JS that may be for a socket before this is.
fn local_part(
    entry: &Entry,
    head: Option<BroadcastHead>,
    namespace: Option<&Namespace>,
    is_idle: bool,
) -> Local {
    let (Some(head), Some(namespace)) = (head, namespace) else { return Local::Js };
    if is_idle && !namespace.wants(entry.id, &head) {
        return Local::Nothing;
    }
    packet_of(entry, Some(&head), namespace).map_or(Local::Js, Local::Packet)
}

/// The packet that clients get, where it can be made here.
fn packet_of(entry: &Entry, head: Option<&BroadcastHead>, namespace: &Namespace) -> Option<Packet> {
    if !namespace.encodes {
        return None;
    }
    let (head, Some(data)) = (head?, &entry.data) else { return None };
    let rooms = head.rooms().iter().chain(head.except());
    if rooms.map(Room::name).any(|name| name.is_none()) || !entry.id.fits_doubles() {
        return None;
    }
    let has_offset = namespace.recovery && head.is_sent_again();
    Packet::of(head, data, &entry.nsp, has_offset.then_some(entry.id))
}

/// An entry of a page.
struct Decoded {
    id: EntryId,
    entry: std::result::Result<(Entry, Head), EntryError>,
}

/// The head of a broadcast.
enum Head {
    /// Nobody needed it.
    NotRead,
    /// `None` for what is no broadcast, and for one that cannot be read here.
    Read(Option<BroadcastHead>),
}

impl Head {
    fn of(entry: &Entry) -> Self {
        Self::Read(Self::read(entry))
    }

    fn read(entry: &Entry) -> Option<BroadcastHead> {
        BroadcastHead::decode(entry.broadcast()?)
    }
}

/// What a batch shows to be missing before its entries.
#[derive(Default)]
struct GapBefore {
    /// Entries, by the sequences of their writers.
    missing: u64,
    /// There are entries that cannot show what is missing before them.
    unknown: bool,
}
