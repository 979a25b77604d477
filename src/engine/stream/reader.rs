//! Reads one stream, on a connection of its own, from an explicit position from the first read on.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Cursor, EntryId, Local, PageEntry, Progress, Step, Stream, page, read_entries, tail};
use crate::engine::error::{Error, Result};
use crate::engine::inbox::{Event, Inbox, Loss};
use crate::engine::namespaces::{Namespace, Namespaces};
use crate::engine::presence::{self, Pace};
use crate::engine::redis::{Backoff, Connector, RawConnection, Route};
use crate::engine::stats::Stats;
use crate::engine::warnings::Warnings;
use crate::engine::wire::{
    ADAPTER_CLOSE, ANSWERS, BROADCAST, BroadcastHead, Entry, EntryError, HEARTBEAT,
    INITIAL_HEARTBEAT, Packet, Room, parse_entry, request_of,
};

/// How much later than asked an XREAD may answer before the connection counts as dead.
const GRACE: Duration = Duration::from_secs(5);
/// A reader that is behind asks for up to this many entries at a time, where the option asks for
/// less: XADD trims what it leaves.
const LARGEST_READ: u32 = 1_000;
/// It does not ask for more than the option says when replies are larger than this already.
const LARGEST_REPLY: usize = 1 << 20;
/// Longer reads, and those without limit, are asked for again after this: a dead server is noticed.
const LONGEST_BLOCK: Duration = Duration::from_secs(30);
/// Messages that JS handles.
const HANDLED: std::ops::RangeInclusive<u32> = 3..=12;
/// Messages of the 0.1 and 0.2 protocol that say who is there.
const HEARTBEATS: [u32; 3] = [INITIAL_HEARTBEAT, HEARTBEAT, ADAPTER_CLOSE];

const TASK: &str = "reader";
/// A cause that is said once: it is never cleared.
const OLD_NODES: &str = "reader, nodes of 0.1 and 0.2";

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
    /// Where requests travel in the stream: how long a pause in reading may be.
    pub pace: Option<Pace>,
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
        self.stream.cursor().listening.interrupted();
        let mut count = self.count;
        loop {
            self.inbox.has_space().await;
            let (position, moves) = {
                let cursor = self.stream.cursor();
                (cursor.position, cursor.moves)
            };
            let sent = Instant::now();
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
            if let Some(pace) = self.pace.filter(|_| !is_behind) {
                let mut cursor = self.stream.cursor();
                if cursor.moves == moves {
                    cursor.listening.heard_all(sent, pace);
                }
            }
        }
    }

    /// The first position is the stream's tail as it is now. It is not read with `$`: between two
    /// reads with `$`, entries vanish.
    async fn find_start(&self, connection: &mut RawConnection) -> Result<()> {
        let tail = tail(connection, &self.stream.key).await?.unwrap_or(EntryId::ZERO);
        let mut cursor = self.stream.cursor();
        cursor.position = tail;
        cursor.history.restart(tail);
        drop(cursor);
        tracing::debug!("reading {} from {tail}", self.stream.key);
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
        let longest = self.pace.map_or(LONGEST_BLOCK, |pace| pace.look());
        let block = if self.block.is_zero() { longest } else { self.block.min(longest) };
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
        let mut found = Found::default();
        let mut cursor = self.stream.cursor();
        if cursor.moves != moves {
            // Read from a position that does not count any more: it is read again.
            return;
        }
        let before = cursor.position;
        for Decoded { id, entry } in entries {
            self.stats.read.add(1);
            match entry {
                Ok((entry, head)) => self.sort(entry, head, &mut cursor, &mut found),
                Err(EntryError::Foreign) => self.stats.skipped.add(1),
                Err(EntryError::Malformed(what)) => {
                    self.stats.malformed.add(1);
                    tracing::debug!("entry {id} skipped: {what}");
                }
            }
            cursor.position = id;
        }
        let Found { mut events, gap, members_changed } = found;
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
        if members_changed {
            events.push(Event::MembersChanged);
        }
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
            let head = if is_needed { Head::of(&entry, &self.uid) } else { Head::NotRead };
            (entry, head)
        });
        Decoded { id: raw.id, entry }
    }

    /// Decides what becomes of an entry.
    fn sort(&self, entry: Entry, head: Head, cursor: &mut Cursor, found: &mut Found) {
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
                found.gap.missing = found.gap.missing.saturating_add(missing);
            }
            Some(Step::Next) => {}
            Some(Step::First) | None => found.gap.unknown = true,
        }
        let namespace = self.namespaces.get(&entry.nsp);
        let is_for_others = matches!(head, Head::AnswerToOthers);
        let head = match head {
            Head::Read(head) => head,
            // The namespace was opened meanwhile.
            Head::NotRead if namespace.is_some() => Head::read(&entry),
            Head::NotRead | Head::AnswerToOthers => None,
        };
        if let Some(data) = entry.broadcast() {
            cursor.history.push(entry.id, &entry.nsp, data, head.as_ref());
        }
        if let Some(origin) = entry.origin
            && origin.writer == self.stream.writer_id
        {
            let is_idle = found.events.is_empty() && self.inbox.is_idle();
            let local = || local_part(&entry, head, namespace.as_deref(), is_idle);
            let done = cursor.own.read(origin.seq, entry.id, local);
            found.events.extend(done.into_iter().map(Event::Published));
            return;
        }
        if let Some(namespace) = namespace.as_ref().filter(|_| *entry.uid != *self.uid) {
            found.members_changed |= self.hear(&entry, namespace);
        }
        if is_for_others {
            self.stats.skipped.add(1);
            return;
        }
        let is_idle = found.events.is_empty() && self.inbox.is_idle();
        found.events.extend(self.delivery(entry, head, namespace, is_idle));
    }

    /// Who writes is there. Over PUB/SUB we learn that otherwise, and heartbeats in the stream are
    /// those of nodes that we cannot work with. True when a node has come or gone.
    fn hear(&self, entry: &Entry, namespace: &Arc<Namespace>) -> bool {
        if self.pace.is_none() {
            if HEARTBEATS.contains(&entry.kind) {
                let key = self.stream.key.clone();
                self.warnings.warn(OLD_NODES, &Error::OldNodes { key });
            }
            return false;
        }
        let changed = namespace.presence().hear(&entry.uid, entry.kind);
        if entry.kind == INITIAL_HEARTBEAT {
            presence::say(&self.stream, namespace, HEARTBEAT);
        }
        changed
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
            let may_be = |head: &BroadcastHead| {
                head.is_request() || !is_idle || namespace.wants(entry.id, head)
            };
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
    if head.is_request() {
        return None;
    }
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

/// What decides who gets an entry.
enum Head {
    /// Nobody needed it.
    NotRead,
    /// The answer to another node's request.
    AnswerToOthers,
    /// `None` for what is no broadcast, and for one that cannot be read here.
    Read(Option<BroadcastHead>),
}

impl Head {
    /// The IDs of our requests begin with our uid (`lib/requests.js`).
    fn of(entry: &Entry, uid: &str) -> Self {
        let data = entry.data.as_ref().filter(|_| ANSWERS.contains(&entry.kind));
        if data.and_then(request_of).is_some_and(|request| !request.starts_with(uid)) {
            return Self::AnswerToOthers;
        }
        Self::Read(Self::read(entry))
    }

    fn read(entry: &Entry) -> Option<BroadcastHead> {
        BroadcastHead::decode(entry.broadcast()?)
    }
}

/// What comes of a batch.
#[derive(Default)]
struct Found {
    events: Vec<Event>,
    gap: GapBefore,
    members_changed: bool,
}

/// What a batch shows to be missing before its entries.
#[derive(Default)]
struct GapBefore {
    /// Entries, by the sequences of their writers.
    missing: u64,
    /// There are entries that cannot show what is missing before them.
    unknown: bool,
}
