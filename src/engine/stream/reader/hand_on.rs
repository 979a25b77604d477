//! Decides for each entry of a page whether the reader leaves it out, adds it to the history, gives
//! it to JS, or completes a publish with it.

use std::sync::Arc;

use super::Reader;
use super::missing::{Lost, Missing};
use crate::engine::error::Error;
use crate::engine::event::{Broadcast, Local, Loss, Notice, StreamEvent};
use crate::engine::namespaces::{Namespace, Namespaces};
use crate::engine::stream::{Counted, Cursor, PageEntry, Progress, Step};
use crate::engine::wire::{
    ADAPTER_CLOSE, ANSWERS, BroadcastHead, Entry, EntryData, EntryError, EntryId, HAND_OVERS,
    HEARTBEAT, INITIAL_HEARTBEAT, MessageType, Packet, parse_entry, request_of,
};

/// Upstream's types of messages that JS handles.
const HANDLED: std::ops::RangeInclusive<u32> = 3..=12;
/// Messages of the 0.1 and 0.2 protocol that tell which nodes are alive.
const HEARTBEATS: [u32; 3] = [INITIAL_HEARTBEAT, HEARTBEAT, ADAPTER_CLOSE];

/// Cause of a warning that is given only once, since nothing clears it.
const OLD_NODES: &str = "reader, nodes of 0.1 and 0.2";

impl Reader {
    /// Hands a page on. Holds the cursor's lock for the whole page, so that restores see whole
    /// pages. `was_outrun` is true if Redis has trimmed entries before the page, and sequences may
    /// not show how many.
    pub(crate) fn hand_on(&self, page: &[PageEntry<'_>], moves: u64, was_outrun: bool) {
        let remembers = self.stream.cursor().history.is_on();
        let entries = self.decode(page, remembers);
        let mut cursor = self.stream.cursor();
        cursor.lag.hear();
        if cursor.moves != moves {
            // Somebody has changed the position since this page was asked for.
            return;
        }
        let before = cursor.position;
        // Nobody else pushes events of this stream while the cursor is locked.
        let is_idle = self.inbox.is_idle();
        if is_idle {
            cursor.handled_all();
        }
        let mut sorting = Sorting {
            reader: self,
            namespaces: Open::new(&self.namespaces),
            events: Vec::new(),
            is_idle,
            may_change_rooms: self.inbox.may_change_rooms(),
            missing: Missing::none(&cursor.watch),
            changes: Vec::new(),
            skipped: 0,
        };
        let read_before = cursor.read;
        for (read, Decoded { id, entry }) in (read_before..).zip(entries) {
            sorting.missing.compare(id, read, &mut cursor);
            match entry {
                Ok((entry, head)) => sorting.sort(entry, head, &mut cursor),
                Err(EntryError::Foreign) => sorting.skipped += 1,
                Err(EntryError::Malformed(what)) => {
                    self.stats.malformed.add(1);
                    tracing::debug!("entry {id} skipped: {what}");
                }
            }
            cursor.position = id;
        }
        let Sorting { mut events, mut missing, changes, skipped, .. } = sorting;
        cursor.read += page.len() as u64;
        let (after, read) = (cursor.position.next(), cursor.read);
        missing.compare(after, read, &mut cursor);
        self.stats.read.add(page.len() as u64);
        self.stats.skipped.add(skipped);
        let may_be_trimmed = !page.is_empty() && std::mem::take(&mut cursor.may_be_trimmed);
        let may_have_lost = was_outrun || (may_be_trimmed && missing.is_unsure());
        if let Some(Lost { entries }) = missing.note(before, may_have_lost, &mut cursor) {
            self.stats.lost.add(entries.unwrap_or(0));
            self.stats.losses.add(1);
            let stream = self.stream.index;
            events.insert(0, StreamEvent::Lost { stream, loss: Loss::Trimmed, entries });
        }
        let position = cursor.position;
        events.extend(cursor.own.passed(position).into_iter().map(StreamEvent::Published));
        let released = cursor.deferred.release(position);
        cursor.inbox.push_all(events);
        if missing.is_of_another_stream() {
            self.stream.report_counted(&mut cursor, Counted::OtherStream, &self.stats);
        }
        self.stats.dropped.add(cursor.inbox.offer_all(released));
        changes.into_iter().for_each(|notice| self.inbox.push(notice));
        drop(cursor);
        self.stream.progress.send_replace(Progress::At(position));
    }

    /// Decodes entries as far as somebody needs them. Done before the cursor is locked, since
    /// others wait for that lock.
    fn decode<'a>(&self, page: &[PageEntry<'a>], remembers: bool) -> Vec<Decoded<'a>> {
        let mut namespaces = Open::new(&self.namespaces);
        let decode = |raw: &PageEntry<'a>| {
            let entry = parse_entry(raw.id, raw.fields()).map(|entry| {
                let is_needed = remembers || namespaces.get(entry.nsp).is_some();
                let head = if is_needed { Head::of(&entry, &self.uid) } else { Head::NotRead };
                (entry, head)
            });
            Decoded { id: raw.id, entry }
        };
        page.iter().map(decode).collect()
    }

    /// If requests travel in the stream, notes that the node that wrote this entry is alive.
    /// Returns what JS must be told if a node has come or has left. If requests travel over
    /// PUB/SUB, only warns of heartbeats in the stream: they are from nodes that this one cannot
    /// work with.
    fn hear(&self, entry: &Entry<'_>, namespace: &Arc<Namespace>) -> Option<Notice> {
        if self.pace.is_none() {
            if HEARTBEATS.contains(&entry.kind) {
                let key = self.stream.key.clone();
                self.warnings.warn(OLD_NODES, &Error::OldNodes { key });
            }
            return None;
        }
        let changes = namespace.presence().hear(entry.uid, entry.kind);
        changes.say();
        if entry.kind == INITIAL_HEARTBEAT {
            self.stream.say(namespace, HEARTBEAT);
        }
        Notice::members_changed(Some(namespace.handle), changes)
    }
}

/// An entry of a page.
struct Decoded<'a> {
    id: EntryId,
    entry: std::result::Result<(Entry<'a>, Head), EntryError>,
}

/// The part of an entry that decides who gets it.
enum Head {
    /// Not decoded, since nobody needed it.
    NotRead,
    /// The answer to another node's request.
    AnswerToOthers,
    /// `None` if the entry is no broadcast, or if Rust cannot parse it.
    Read(Option<BroadcastHead>),
}

impl Head {
    /// Tells answers to our own requests by the request's ID: it begins with our uid
    /// (`lib/requests.js`).
    fn of(entry: &Entry<'_>, uid: &str) -> Self {
        let data = entry.data.as_ref().filter(|_| ANSWERS.contains(&entry.kind));
        let request = data.and_then(|data| request_of(data.view()));
        if request.is_some_and(|request| !request.starts_with(uid)) {
            return Self::AnswerToOthers;
        }
        Self::Read(Self::read(entry))
    }

    fn read(entry: &Entry<'_>) -> Option<BroadcastHead> {
        BroadcastHead::decode(entry.broadcast()?.view())
    }
}

/// Looks up open namespaces. Keeps the last one, since neighbouring entries often share theirs.
struct Open<'a, 'n> {
    namespaces: &'n Namespaces,
    last: Option<(&'a str, Option<Arc<Namespace>>)>,
}

impl<'a, 'n> Open<'a, 'n> {
    fn new(namespaces: &'n Namespaces) -> Self {
        Self { namespaces, last: None }
    }

    fn get(&mut self, nsp: &'a str) -> Option<&Arc<Namespace>> {
        let last = self.last.take().filter(|(name, _)| *name == nsp);
        let (_, namespace) =
            self.last.insert(last.unwrap_or_else(|| (nsp, self.namespaces.get(nsp))));
        namespace.as_ref()
    }
}

/// A page while the reader sorts it.
struct Sorting<'a, 'n> {
    reader: &'n Reader,
    namespaces: Open<'a, 'n>,
    /// For JS, in order.
    events: Vec<StreamEvent>,
    /// JS has handled everything that came before this page.
    is_idle: bool,
    /// JS has yet to handle something that may change rooms.
    may_change_rooms: bool,
    missing: Missing,
    /// Which nodes have come or have left.
    changes: Vec<Notice>,
    /// How many entries nobody here wants.
    skipped: u64,
}

impl<'a> Sorting<'a, '_> {
    /// Decides what to do with an entry, and does it.
    fn sort(&mut self, entry: Entry<'a>, head: Head, cursor: &mut Cursor) {
        if is_old(&entry, cursor) {
            self.skipped += 1;
            return;
        }
        match entry.origin.map(|origin| (origin, cursor.sequences.step(origin))) {
            Some((origin, Step::Duplicate)) => {
                self.reader.stats.doubled.add(1);
                cursor.met_double(origin, entry.id);
                tracing::debug!("entry {} dropped: it doubles an earlier one", entry.id);
                return;
            }
            Some((_, Step::Gap(missing))) => self.missing.gap(missing, cursor),
            Some((_, Step::Next)) => {}
            Some((_, Step::First | Step::Unconfirmed)) | None => self.missing.unsure(),
        }
        if let Some(origin) = entry.origin.filter(|_| cursor.history.is_on()) {
            cursor.doubles.read(origin, entry.id);
        }
        let namespace = self.namespaces.get(entry.nsp);
        let is_for_others = matches!(head, Head::AnswerToOthers);
        let head = match head {
            Head::Read(head) => head,
            // The namespace was opened after `decode` looked for it.
            Head::NotRead if namespace.is_some() => Head::read(&entry),
            Head::NotRead | Head::AnswerToOthers => None,
        };
        if let Some(data) = entry.broadcast() {
            cursor.history.push(entry.id, entry.nsp, data, head.as_ref());
        }
        // What waits for JS may change rooms. Then `Inbox::drain` decides whether this entry is
        // wanted.
        let is_idle = self.is_idle && self.events.is_empty();
        if let Some(origin) = entry.origin
            && origin.writer == self.reader.stream.writer_id
        {
            let may_change_rooms = self.may_change_rooms;
            let local = || local_part(&entry, head, namespace.map(|n| &**n), may_change_rooms);
            let done = cursor.own.read(origin.seq, entry.id, local);
            done.into_iter().map(StreamEvent::Published).for_each(|event| self.push(event));
            return;
        }
        let namespace = namespace.filter(|_| *entry.uid != *self.reader.uid);
        if let Some(namespace) = namespace {
            self.changes.extend(self.reader.hear(&entry, namespace));
        }
        if !is_handled(entry.kind) {
            return self.leave_out(&entry);
        }
        let is_wanted = |namespace: &&Arc<Namespace>| {
            let is_wanted = |head| is_wanted(namespace, entry.id, head, is_idle);
            !is_for_others && head.as_ref().is_none_or(is_wanted)
        };
        match namespace.filter(is_wanted) {
            Some(namespace) => {
                self.reader.stats.delivered.add(1);
                let event = delivery(&entry, head, namespace);
                self.push(event);
            }
            None => self.skipped += 1,
        }
    }

    fn push(&mut self, event: StreamEvent) {
        self.may_change_rooms |= event.may_change_rooms();
        self.events.push(event);
    }

    /// Counts an entry of a type that JS does not handle.
    fn leave_out(&mut self, entry: &Entry<'_>) {
        if HEARTBEATS.contains(&entry.kind) {
            self.skipped += 1;
        } else {
            self.reader.stats.malformed.add(1);
            tracing::debug!("entry {} skipped: unknown type {}", entry.id, entry.kind);
        }
    }
}

fn is_handled(kind: MessageType) -> bool {
    HANDLED.contains(&kind) || HAND_OVERS.contains(&kind)
}

/// While the reader reads the stream from its start again: whether the entry counts as read before.
/// If the reader knows the entry's writer, this is false, and its sequence decides.
fn is_old(entry: &Entry<'_>, cursor: &mut Cursor) -> bool {
    let Some(limit) = cursor.read_again_to else { return false };
    if entry.id > limit {
        cursor.read_again_to = None;
        return false;
    }
    !entry.origin.is_some_and(|origin| cursor.sequences.knows(origin.writer))
}

/// The event for another node's entry.
fn delivery(
    entry: &Entry<'_>,
    head: Option<BroadcastHead>,
    namespace: &Arc<Namespace>,
) -> StreamEvent {
    let packet = packet_of(entry, head.as_ref(), namespace);
    if let (Some(head), Some(packet)) = (head, packet) {
        let namespace = namespace.clone();
        return StreamEvent::Broadcast(Broadcast { namespace, id: entry.id, head, packet });
    }
    StreamEvent::Entry {
        namespace: namespace.handle,
        uid: entry.uid.into(),
        kind: entry.kind,
        id: entry.id,
        data: entry.data.as_ref().map(EntryData::keep),
    }
}

/// The local part of one of our own entries. Rust prepares it only for broadcasts.
///
/// If rooms may change before JS comes to this entry, JS gets the packet in any case. Otherwise JS
/// gets it only if somebody wants it by now: most are for rooms without a member here. If a socket
/// joins all the same, JS notices that, and makes the packet from what it published.
fn local_part(
    entry: &Entry<'_>,
    head: Option<BroadcastHead>,
    namespace: Option<&Namespace>,
    may_change_rooms: bool,
) -> Local {
    let (Some(head), Some(namespace)) = (head, namespace) else { return Local::Js };
    if !may_change_rooms && !head.is_request() && !namespace.wants(&head) {
        return Local::Nothing;
    }
    packet_of(entry, Some(&head), namespace).map_or(Local::Js, Local::Packet)
}

/// Whether JS gets the broadcast `id` of another node. While events wait for JS (`is_idle` is false) it
/// does: their handlers may change the rooms, and `Inbox::drain` checks the interest again then.
fn is_wanted(namespace: &Namespace, id: EntryId, head: &BroadcastHead, is_idle: bool) -> bool {
    head.is_request() || !is_idle || namespace.check_interest(id, head)
}

/// The packet that clients get; `None` if JS must make it.
fn packet_of(
    entry: &Entry<'_>,
    head: Option<&BroadcastHead>,
    namespace: &Namespace,
) -> Option<Packet> {
    if !namespace.encodes {
        return None;
    }
    let (head, Some(data)) = (head?, &entry.data) else { return None };
    if head.is_request() {
        return None;
    }
    if !head.rooms().are_names() || !head.except().are_names() || !entry.id.fits_doubles() {
        return None;
    }
    let has_offset = namespace.recovery && head.is_sent_again();
    Packet::of(head, data.view(), entry.nsp, has_offset.then_some(entry.id))
}
