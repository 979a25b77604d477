//! The streams: what the reader, the writer, requests and restores of one stream share, the cursor
//! among it.

mod batch;
mod deferred;
mod history;
mod lag;
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

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) use batch::Batch;
pub(crate) use deferred::DeferredRequests;
pub(crate) use history::{History, Returning};
pub(crate) use lag::Lag;
pub(crate) use own::OwnEntries;
pub(crate) use page::{PageEntry, page};
pub(crate) use page_size::PageSize;
pub(crate) use queue::{BATCH_ENTRIES, Publish, WriteQueue};
#[cfg(any(test, fuzzing))]
pub(crate) use range::parse_entries;
pub(crate) use range::{last_before, read_entries, server_time, tail};
pub(crate) use reader::{LARGEST_READ, Reader};
#[cfg(any(test, fuzzing))]
pub(crate) use watch::parse_info;
pub(crate) use watch::{Ends, Finding, Watch, ends, ends_by_range};
pub(crate) use writer::{FLUSH_LIMIT, Writer};
pub(crate) use writer_sequences::{Step, WriterSequences};

use tokio::sync::{Notify, watch as channel};
use tokio::time::Instant;

use super::event::ConnectionName;
use crate::engine::connection_health::ConnectionHealth;
use crate::engine::event::StreamEvent;
use crate::engine::inbox::{Inbox, OrderedInbox};
use crate::engine::namespaces::Namespace;
use crate::engine::presence::Listening;
use crate::engine::random::random_name;
use crate::engine::wire::{ADAPTER_CLOSE, EntryId, MessageType};

/// Entries that a restore reads at a time, at most.
const RESTORE_PAGE: usize = 500;

/// What the reader, the writer, requests and restores of one stream share.
pub(crate) struct Stream {
    /// Its place among the engine's streams.
    pub(crate) index: u32,
    /// The key in Redis, prefix included.
    pub(crate) key: String,
    /// Marks our entries in this stream: random, one per engine start and stream.
    pub(crate) writer_id: u64,
    /// What waits to be written.
    pub(crate) queue: WriteQueue,
    /// Where reading stands. Locked while a batch is handed on, so that nobody sees half of one.
    cursor: Mutex<Cursor>,
    /// Follows the reader, for those who wait for it.
    pub(crate) progress: channel::Sender<Progress>,
    /// Told when the position was changed under the reader.
    pub(crate) restart_reader: Notify,
    /// The reader's connection.
    pub(crate) reader_health: ConnectionHealth,
    /// The writer's connection.
    pub(crate) writer_health: ConnectionHealth,
    /// How many entries restores read at a time.
    pub(crate) restore_pages: PageSize,
}

/// How far reading has come.
pub(crate) struct Cursor {
    /// ID of the last entry that was read; reading goes on behind it.
    pub(crate) position: EntryId,
    /// The position at which reading has begun.
    pub(crate) read_since: EntryId,
    /// `run_id` of the server from which the position was read, if it is known.
    pub(crate) read_from: Option<Arc<str>>,
    /// Rises when the position is changed by somebody else than the reader.
    pub(crate) moves: u64,
    /// Our next entries stand behind this one: it was written by us, or read when they were sent.
    pub(crate) written: EntryId,
    /// How many entries were read.
    pub(crate) read: u64,
    /// Set when the stream is read from its start again: up to here what is new is told from what
    /// was read before by its writers' sequences alone.
    pub(crate) read_again_to: Option<EntryId>,
    /// Own entries up to this one were delivered here while nobody could read: a client that has not
    /// seen a later entry may have got them or not.
    pub(crate) delivered_ahead: EntryId,
    /// Entries were lost behind this one, or before it: no client can be told what it missed since.
    pub(crate) hole_behind: EntryId,
    /// Entries may have been trimmed past us: the next read shows how many.
    pub(crate) trimmed: bool,
    /// How far each writer of our kind has come.
    pub(crate) sequences: WriterSequences,
    /// Own entries that were sent and not read back yet.
    pub(crate) own: OwnEntries,
    /// When everything was heard, where requests travel in the stream.
    pub(crate) listening: Listening,
    /// Requests that came ahead of the stream.
    pub(crate) deferred: DeferredRequests,
    /// Recent broadcasts, while connection state recovery is on.
    pub(crate) history: History,
    /// How far reading lies behind.
    pub(crate) lag: Lag,
    /// Where the events of this stream go. It is reached through this lock only, so the order in
    /// which events are pushed is the order in which the cursor moves.
    pub(crate) inbox: OrderedInbox,
}

impl Cursor {
    /// Completes own entries that Redis has acknowledged and nobody can read.
    pub(crate) fn complete_unread(&mut self) {
        let (done, last) = self.own.take_unread();
        self.delivered_ahead = self.delivered_ahead.max(last);
        self.inbox.push_all(done.into_iter().map(StreamEvent::Published));
    }

    /// A packet reaches clients of this node only, and has no place in the stream: a client that was
    /// away must not be told that it has missed nothing.
    pub(crate) fn delivered_without_entry(&mut self) {
        self.hole_behind = self.hole_behind.max(self.position);
    }

    /// Compares what the stream was when it was `asked` for with what was read.
    pub(crate) fn measure(&mut self, ends: Option<Ends>, asked: Instant) {
        self.lag.observe(ends, asked, self.position, self.read);
    }
}

/// The reader's state, as others need to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The first position is not known yet: nothing may be written.
    Starting,
    /// Reading, or trying to: everything up to here was handed on.
    At(EntryId),
    /// Redis refuses to let us read: own entries are delivered when they are written.
    Refused,
    /// Nobody here reads, since this is an emitter.
    Unread,
}

impl Stream {
    /// A stream of which nothing was read yet.
    pub(crate) fn new(
        index: u32,
        key: String,
        queue_bytes: usize,
        history_bytes: usize,
        inbox: &Arc<Inbox>,
    ) -> Self {
        let link = |name| ConnectionHealth::new(name, Some((index, Arc::from(key.as_str()))));
        Self {
            index,
            reader_health: link(ConnectionName::Reader),
            writer_health: link(ConnectionName::Writer),
            restore_pages: PageSize::new(RESTORE_PAGE),
            key,
            writer_id: random_name(),
            queue: WriteQueue::new(queue_bytes),
            cursor: Mutex::new(Cursor {
                position: EntryId::ZERO,
                read_since: EntryId::ZERO,
                read_from: None,
                moves: 0,
                written: EntryId::ZERO,
                read: 0,
                read_again_to: None,
                delivered_ahead: EntryId::ZERO,
                hole_behind: EntryId::ZERO,
                trimmed: false,
                sequences: WriterSequences::default(),
                own: OwnEntries::default(),
                listening: Listening::default(),
                deferred: DeferredRequests::default(),
                history: History::new(history_bytes),
                lag: Lag::new(),
                inbox: inbox.in_order(),
            }),
            progress: channel::Sender::new(Progress::Starting),
            restart_reader: Notify::new(),
        }
    }

    /// Waits until everything that was accepted so far is written, or has failed; false when there is
    /// no progress for as long as `limit`. While there is no connection, what nobody waits for, which
    /// says that this node is there, is not waited for.
    pub(crate) async fn flushed(&self, limit: Duration) -> bool {
        let queue = &self.queue;
        // The reader, which always listens, notices first.
        let is_there = self.reader_health.is_connected() && self.writer_health.is_connected();
        queue.ended_or_stuck(if is_there { queue.accepted() } else { queue.awaited() }, limit).await
    }

    /// Tells the other nodes that this one comes, is there, or leaves, when requests travel in the
    /// stream. Nobody here waits for it: this node tells again that it is there, and nodes that did
    /// not hear that it left hear nothing more of it.
    pub(crate) fn say(&self, namespace: &Arc<Namespace>, kind: MessageType) {
        let mut presence = namespace.presence();
        if !presence.may_write() {
            return;
        }
        if kind == ADAPTER_CLOSE {
            presence.leave();
        }
        // While `presence` is locked: nothing may follow the message that this node leaves.
        let at = Instant::now();
        let publish = Publish { ticket: None, namespace: namespace.clone(), kind, data: None, at };
        if let Err(error) = self.queue.push(publish) {
            tracing::debug!("{}: heartbeat not written: {error}", namespace.name);
        }
    }

    /// Locks the cursor: nobody else moves it or pushes events of this stream meanwhile.
    pub(crate) fn cursor(&self) -> MutexGuard<'_, Cursor> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
