//! The streams: what the reader, the writer, requests and restores of one stream share, including
//! the cursor.

mod ages;
mod batch;
mod deferred;
mod doubles;
mod history;
mod lag;
mod local_only;
mod master;
mod writer_sequences;
mod own;
mod page;
mod page_size;
mod queue;
mod range;
mod reader;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use ages::Ages;
pub(crate) use batch::Batch;
pub(crate) use deferred::DeferredRequests;
use doubles::Doubles;
pub(crate) use history::{Candidate, History, Returning};
pub(crate) use lag::Lag;
use local_only::LocalOnly;
pub(crate) use master::{MasterSeen, ServerName};
pub(crate) use own::{OwnEntries, ReaderAt};
pub(crate) use page::{PageEntry, page, take_part};
pub(crate) use page_size::PageSize;
pub(crate) use queue::{BATCH_ENTRIES, Publish, WriteQueue, kept_by_js};
#[cfg(any(test, fuzzing))]
pub(crate) use range::parse_entries;
pub(crate) use range::{
    is_untrimmed, last_before, read_backwards, read_entries, server_time, tail,
};
pub(crate) use reader::{LARGEST_READ, Reader};
#[cfg(any(test, fuzzing))]
pub(crate) use watch::parse_info;
pub(crate) use watch::{Answer, Counted, Ends, Finding, Watch, ends, ends_by_range, exists};
pub(crate) use writer::{FLUSH_LIMIT, Writer};
pub(crate) use writer_sequences::{Step, WriterSequences};

use tokio::sync::{Notify, watch as channel};
use tokio::time::Instant;

use super::event::ConnectionName;
use crate::engine::connection_health::ConnectionHealth;
use crate::engine::error::Error;
use crate::engine::event::{Completion, Loss, StreamEvent};
use crate::engine::inbox::{Inbox, OrderedInbox};
use crate::engine::namespaces::Namespace;
use crate::engine::options::Retention;
use crate::engine::presence::Listening;
use crate::engine::random::random_name;
use crate::engine::stats::Stats;
use crate::engine::wire::{ADAPTER_CLOSE, EntryId, MessageType, Origin};

/// About the most bytes of a page, as far as the size of entries is known.
const PAGE_BYTES: usize = 8 << 20;
/// The most entries that a restore reads at a time.
const RESTORE_PAGE: usize = 500;

/// What the reader, the writer, requests and restores of one stream share.
pub(crate) struct Stream {
    /// Its place among the engine's streams.
    pub(crate) index: u32,
    /// The key in Redis, including the prefix.
    pub(crate) key: String,
    /// How long entries are kept.
    pub(crate) retention: Retention,
    /// Marks our entries in this stream. A random number, one per engine start and stream.
    pub(crate) writer_id: u64,
    /// The publishes that wait for the writer.
    pub(crate) queue: WriteQueue,
    /// The reader locks it while it hands a page on, so that nobody sees half of a page.
    cursor: Mutex<Cursor>,
    /// Follows the reader, for tasks that wait for it.
    pub(crate) progress: channel::Sender<Progress>,
    /// Tells the reader to connect again: somebody else has changed the position, or the reader may
    /// be connected to the wrong server.
    pub(crate) restart_reader: Notify,
    /// What the writer has last seen of the master's replication. `None` if the master does not report
    /// it.
    pub(crate) master: channel::Sender<Option<MasterSeen>>,
    pub(crate) reader_health: ConnectionHealth,
    pub(crate) writer_health: ConnectionHealth,
    /// How many entries restores read at a time.
    pub(crate) restore_pages: PageSize,
    /// When a restore last asked for the stream's tail and found it where it should be.
    pub(crate) tail_asked: tokio::sync::Mutex<Option<Instant>>,
    /// About how many bytes an entry has, as the reader has seen of late.
    entry_bytes: AtomicUsize,
}

/// The position, and everything that moves with it.
pub(crate) struct Cursor {
    /// ID of the last entry that the reader has read.
    pub(crate) position: EntryId,
    /// The position at which the reader began.
    pub(crate) read_since: EntryId,
    /// `run_id` of the server that the reader reads from, if it is known. On a replica, that of its
    /// master.
    pub(crate) read_from: Option<Arc<str>>,
    /// The server that the reader is connected to.
    pub(crate) connected_to: Option<ConnectedTo>,
    /// How often somebody other than the reader has changed the position.
    pub(crate) moves: u64,
    /// The position up to which JS had handled everything at some moment, and `moves` at that time.
    handled: (EntryId, u64),
    /// Our next entries are behind this one: the last entry that Redis has acknowledged or, if that
    /// is later, the position when the last batch was sent.
    pub(crate) written: EntryId,
    pub(crate) read: u64,
    /// Set while the reader reads the stream from its start again. Up to this entry, the reader
    /// takes an entry only if the sequences of a known writer show that it is new.
    pub(crate) read_again_to: Option<EntryId>,
    /// The last own entry that this node delivered while it could not read. A client that has not
    /// seen a later entry may or may not have received the own entries up to here.
    pub(crate) delivered_ahead: EntryId,
    /// The packets that only clients of this node get.
    pub(crate) local_only: LocalOnly,
    /// The last position behind which entries are missing here. A client whose offset is not after
    /// it cannot get everything that it missed.
    pub(crate) hole_behind: EntryId,
    /// IDs that may come a second time, since the IDs of the stream have fallen. An offset among them
    /// does not tell which entry it means.
    pub(crate) ambiguous: Option<RangeInclusive<EntryId>>,
    /// Redis may have trimmed entries that the reader has not read. With the next page that is a
    /// loss, unless each of its entries follows the last one of its writer.
    pub(crate) may_be_trimmed: bool,
    /// The highest sequence of each writer of our kind.
    pub(crate) sequences: WriterSequences,
    /// The last entries that doubled earlier ones. A restore that reads the stream from a place between
    /// the two cannot tell.
    pub(crate) doubles: Doubles,
    /// Own entries that the writer has sent and the reader has not read back.
    pub(crate) own: OwnEntries,
    /// When the reader had read everything. Used if requests travel in the stream.
    pub(crate) listening: Listening,
    /// Requests that arrived before the entries that their senders had written.
    pub(crate) deferred: DeferredRequests,
    /// Recent broadcasts. Empty unless connection state recovery is on.
    pub(crate) history: History,
    /// Notices losses by the number of entries.
    pub(crate) watch: Watch,
    /// How far the reader is behind.
    pub(crate) lag: Lag,
    /// Takes the events of this stream. It can be reached through this lock only, so events are
    /// pushed in the order in which the cursor moves.
    pub(crate) inbox: OrderedInbox,
}

/// The server that the reader is connected to.
#[derive(Debug, Clone)]
pub(crate) struct ConnectedTo {
    pub(crate) address: Arc<str>,
    /// Set on a replica: the history of writes that it shares with its master.
    pub(crate) shares: Option<Arc<str>>,
}

impl Cursor {
    /// The history of writes that the reader's server shares with its master; `None` if it is the
    /// master.
    pub(crate) fn replica_shares(&self) -> Option<&Arc<str>> {
        self.connected_to.as_ref()?.shares.as_ref()
    }

    /// Completes own entries that Redis has acknowledged, for a node that cannot read.
    pub(crate) fn complete_unread(&mut self) {
        let (done, last) = self.own.take_unread();
        self.delivered_ahead = self.delivered_ahead.max(last);
        self.inbox.push_all(done.into_iter().map(StreamEvent::Published));
    }

    /// Notes that clients of this node get a packet that has no entry in the stream.
    pub(crate) fn delivered_without_entry(&mut self) {
        self.local_only.delivered(self.position);
    }

    /// Notes that JS has handled everything that was pushed.
    pub(crate) fn handled_all(&mut self) {
        self.handled = (self.position, self.moves);
        if !self.own.has_failed() {
            self.local_only.has_delivered();
        }
    }

    /// The ID of the entry up to which the clients of this node were sent everything that was for
    /// them, if nothing is missing behind `after`.
    pub(crate) fn sent_up_to(&self, after: EntryId) -> Option<EntryId> {
        let (handled, moves) = self.handled;
        let is_whole = after > self.hole_behind || self.hole_behind == EntryId::ZERO;
        let is_known = moves == self.moves && !self.local_only.is_going_on();
        (is_whole && is_known && handled > after).then_some(handled)
    }

    /// Notes an entry that doubles an earlier one. One that is read again doubles none.
    pub(crate) fn met_double(&mut self, origin: Origin, id: EntryId) {
        if self.read_again_to.is_none() {
            self.doubles.met(origin, id);
            self.watch.doubled();
        }
    }

    /// The broadcasts in the history behind `after` that a client may have missed.
    pub(crate) fn candidates(&self, client: &Returning<'_>, after: EntryId) -> Vec<Candidate> {
        let mut candidates = self.history.candidates(client, after);
        candidates.retain(|candidate| !self.doubles.contains(candidate.id));
        candidates
    }

    /// How far the reader has come; `writer` is our own writer.
    pub(crate) fn reader_at(&self, writer: u64) -> ReaderAt {
        ReaderAt { position: self.position, met: self.sequences.highest(writer) }
    }

    /// Notes that from the position on, the reader reads another stream. Nobody can tell what was
    /// missed before.
    pub(crate) fn is_of_another_stream(&mut self) {
        self.lag.start_over();
        self.history.restart(self.position);
        self.hole_behind = self.hole_behind.max(self.position);
    }

    /// Notes that the stream ends at `end` now, and that its IDs may fall. `before` are those that it
    /// had.
    pub(crate) fn ids_fell(&mut self, before: RangeInclusive<EntryId>, end: EntryId) {
        let earlier = self.ambiguous.take().unwrap_or(before.clone());
        let first = *before.start().min(earlier.start());
        self.ambiguous = Some(first..=*before.end().max(earlier.end()));
        self.doubles.forget();
        // These were IDs of before as well.
        self.hole_behind = end;
        self.read_since = self.read_since.min(end);
        self.delivered_ahead = self.delivered_ahead.min(end);
        self.local_only.ids_fell(end);
    }

    /// Compares what was read with the stream's state, which Redis was asked for at `asked`.
    pub(crate) fn measure(&mut self, ends: Option<Ends>, asked: Instant) {
        self.lag.observe(ends, asked, self.position, self.read);
    }
}

/// The reader's state, for other tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The first position is not known yet: the writer must not write.
    Starting,
    /// The reader reads or tries to. It has handed on everything up to this entry.
    At(EntryId),
    /// Redis refuses to let us read: own entries are delivered when Redis acknowledges them.
    Refused,
    /// This is an emitter, which does not read.
    Unread,
}

impl Stream {
    pub(crate) fn new(
        index: u32,
        key: String,
        queue_bytes: usize,
        history_bytes: usize,
        retention: Retention,
        inbox: &Arc<Inbox>,
    ) -> Self {
        let (own, writer_id) = (OwnEntries::default(), random_name());
        let link = |name| ConnectionHealth::new(name, Some((index, Arc::from(key.as_str()))));
        Self {
            index,
            reader_health: link(ConnectionName::Reader),
            writer_health: link(ConnectionName::Writer),
            restore_pages: PageSize::new(RESTORE_PAGE),
            tail_asked: tokio::sync::Mutex::default(),
            entry_bytes: AtomicUsize::new(0),
            key,
            retention,
            writer_id,
            queue: WriteQueue::new(queue_bytes, own.kept_by_js()),
            cursor: Mutex::new(Cursor {
                position: EntryId::ZERO,
                read_since: EntryId::ZERO,
                read_from: None,
                connected_to: None,
                moves: 0,
                handled: (EntryId::ZERO, 0),
                written: EntryId::ZERO,
                read: 0,
                read_again_to: None,
                delivered_ahead: EntryId::ZERO,
                local_only: LocalOnly::new(writer_id),
                hole_behind: EntryId::ZERO,
                ambiguous: None,
                may_be_trimmed: false,
                sequences: WriterSequences::default(),
                doubles: Doubles::default(),
                own,
                listening: Listening::default(),
                deferred: DeferredRequests::default(),
                history: History::new(history_bytes),
                watch: Watch::default(),
                lag: Lag::new(),
                inbox: inbox.in_order(),
            }),
            progress: channel::Sender::new(Progress::Starting),
            restart_reader: Notify::new(),
            master: channel::Sender::new(None),
        }
    }

    /// How many entries a page may have: as `size` allows, and in about `PAGE_BYTES`.
    pub(crate) fn page_of(&self, size: &PageSize) -> usize {
        let fitting = PAGE_BYTES / self.entry_bytes.load(Ordering::Relaxed).max(1);
        size.now().min(fitting).max(1)
    }

    /// Notes the size of entries that were just read. Only the reader calls this. A few small ones
    /// between large ones do not make pages large again.
    pub(crate) fn has_read(&self, entries: usize, bytes: usize) {
        let before = self.entry_bytes.load(Ordering::Relaxed);
        let average = bytes / entries.max(1);
        self.entry_bytes.store(average.max(before - before / 4), Ordering::Relaxed);
    }

    /// Waits until every publish accepted so far is written or has failed. Returns false if there
    /// is no progress for `limit`. Without a connection, it does not wait for heartbeats behind the
    /// last publish that has a ticket.
    pub(crate) async fn flushed(&self, limit: Duration) -> bool {
        let queue = &self.queue;
        // The reader always waits for a reply, so it notices a broken connection first.
        let is_there = self.reader_health.is_connected() && self.writer_health.is_connected();
        queue.ended_or_stuck(if is_there { queue.accepted() } else { queue.awaited() }, limit).await
    }

    /// Ends every publish that is left, since the engine ends. The writer must have ended before.
    pub(crate) fn end_rest(&self, cursor: &mut Cursor) -> Vec<Completion> {
        let mut done = cursor.own.take_all(&Error::Closed);
        done.append(&mut self.queue.take_rest());
        done
    }

    /// If requests travel in the stream, tells the other nodes that this one starts, is alive, or
    /// leaves. Nobody here waits for that entry. If it is not written, the next heartbeat makes up
    /// for it, and nodes that do not learn that this one has left notice its silence.
    pub(crate) fn say(&self, namespace: &Arc<Namespace>, kind: MessageType) {
        let mut presence = namespace.presence();
        if !presence.may_write() {
            return;
        }
        if kind == ADAPTER_CLOSE {
            presence.leave();
        }
        // `presence` stays locked, so that nothing follows the message that this node leaves.
        let at = Instant::now();
        let publish = Publish {
            ticket: None,
            namespace: namespace.clone(),
            kind,
            data: None,
            kept_by_js: 0,
            at,
        };
        if let Err(error) = self.queue.push(publish) {
            tracing::debug!("{}: heartbeat not written: {error}", namespace.name);
        }
    }

    /// Reports what a comparison of numbers has shown.
    pub(crate) fn report_counted(&self, cursor: &mut Cursor, counted: Counted, stats: &Stats) {
        let (loss, entries) = match counted {
            Counted::Lost(0) => return,
            Counted::Lost(lost) => {
                cursor.hole_behind = cursor.hole_behind.max(cursor.position);
                stats.lost.add(lost);
                (Loss::Trimmed, Some(lost))
            }
            Counted::OtherStream => {
                cursor.is_of_another_stream();
                stats.resets.add(1);
                (Loss::Deleted, None)
            }
        };
        stats.losses.add(1);
        cursor.inbox.push(StreamEvent::Lost { stream: self.index, loss, entries });
    }

    /// Locks the cursor. Meanwhile nobody else can move it or push events of this stream.
    pub(crate) fn cursor(&self) -> MutexGuard<'_, Cursor> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
