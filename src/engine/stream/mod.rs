//! The streams: entry IDs, reading, writing, own entries on their way, history.

mod entry_id;
mod history;
mod own;
mod reader;
mod route;
mod writer;

use std::sync::Mutex;

pub use entry_id::EntryId;
pub use history::{History, Missed, is_missed};
pub use own::{Completion, OwnEntries, Ticket};
pub use reader::{Reader, read_entries, tail};
pub use route::stream_index;
pub use writer::{FLUSH_LIMIT, Publish, WriteQueue, Writer};

use tokio::sync::watch;

/// What the reader, the writer and restores of one stream share.
pub struct Stream {
    /// The key in Redis, prefix included.
    pub key: String,
    /// Marks our entries in this stream: random, one per engine start and stream.
    pub writer_id: u64,
    /// What waits to be written.
    pub queue: WriteQueue,
    /// Where reading stands. Held while a batch is handed on, so that nobody sees half of one.
    pub cursor: Mutex<Cursor>,
    /// Follows the reader, for those who wait for it.
    pub progress: watch::Sender<Progress>,
}

/// How far reading has come.
pub struct Cursor {
    /// ID of the last entry that was read; reading goes on behind it.
    pub position: EntryId,
    /// Own entries that were sent and not read back yet.
    pub own: OwnEntries,
    /// Recent broadcasts, while connection state recovery is on.
    pub history: History,
}

/// The reader's state, as others need to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The first position is not known yet: nothing may be written.
    Starting,
    /// Reading, or trying to: everything up to here was handed on.
    At(EntryId),
    /// Redis refuses to let us read: own entries are delivered when they are written.
    Refused,
}

impl Stream {
    /// A stream of which nothing was read yet.
    pub fn new(key: String, queue_bytes: usize, history_bytes: usize) -> Self {
        Self {
            key,
            writer_id: fastrand::u64(1..),
            queue: WriteQueue::new(queue_bytes),
            cursor: Mutex::new(Cursor {
                position: EntryId::ZERO,
                own: OwnEntries::default(),
                history: History::new(history_bytes),
            }),
            progress: watch::Sender::new(Progress::Starting),
        }
    }
}
