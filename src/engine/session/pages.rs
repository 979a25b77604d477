//! Pages of a stream that restores read together. Many clients that come back at once have missed
//! about the same part of the stream, so each page is read once for all of them.
//!
//! The restore that is furthest behind reads, and those that are ahead of it wait. So restores with
//! different offsets meet, and go on together. Nobody waits for a page for long, though.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OnceCell};
use tokio::time::sleep;

use crate::engine::error::{Error, Result};
use crate::engine::missed::SharedPacket;
use crate::engine::redis::RoutedCommands;
use crate::engine::stream::{Stream, read_entries};
use crate::engine::wire::{BroadcastHead, Data, EntryId, Origin, fields_of, parse_entry};

/// How long a restore waits for those that are further behind. New ones may come without end.
const PATIENCE: Duration = Duration::from_millis(500);

/// A part of a stream, as it was read.
pub(super) struct Page {
    /// It begins behind this entry.
    after: EntryId,
    /// It is complete up to this entry.
    pub(super) end: EntryId,
    pub(super) entries: Vec<PageEntry>,
}

/// An entry whose fields could be read.
pub(super) struct PageEntry {
    pub(super) id: EntryId,
    pub(super) nsp: Box<str>,
    pub(super) origin: Option<Origin>,
    /// `None` if it is not a broadcast.
    pub(super) broadcast: Option<Broadcast>,
}

/// A broadcast that clients may have missed.
pub(super) struct Broadcast {
    pub(super) data: Data,
    pub(super) head: Option<BroadcastHead>,
    pub(super) packet: SharedPacket,
}

/// The restores that read one stream at the moment.
#[derive(Default)]
pub(super) struct SharedPages {
    /// Set when the doubles from before this node began to read are known.
    pub(super) doubles: OnceCell<()>,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// How far each of the restores has come, and its number.
    reached: BTreeSet<(EntryId, u64)>,
    next_number: u64,
    /// The page that was read last.
    last: Option<Arc<Page>>,
    is_reading: bool,
    /// How many reads have failed, and why the last one did.
    failures: u64,
    error: Option<Error>,
}

impl SharedPages {
    /// Joins the restores that read, behind the entry `reached`.
    pub(super) fn join(self: &Arc<Self>, reached: EntryId) -> Participant {
        let mut state = self.lock();
        let number = state.next_number;
        state.next_number += 1;
        state.reached.insert((reached, number));
        drop(state);
        Participant { pages: self.clone(), reached, number }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the restores. It leaves when it is dropped.
pub(super) struct Participant {
    pages: Arc<SharedPages>,
    reached: EntryId,
    number: u64,
}

impl Participant {
    /// The page that begins behind what this restore has reached, or before. It goes up to `last`
    /// at the most if this restore reads it, and may go further if another one has read it.
    pub(super) async fn next(
        &mut self,
        commands: &mut RoutedCommands,
        stream: &Stream,
        last: EntryId,
    ) -> Result<Arc<Page>> {
        let failures = self.pages.lock().failures;
        let patience = sleep(PATIENCE);
        tokio::pin!(patience);
        let mut is_patient = true;
        loop {
            let changed = self.pages.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = self.pages.lock();
                if let Some(page) = state.page_behind(self.reached) {
                    return Ok(page);
                }
                if state.failures != failures
                    && let Some(error) = &state.error
                {
                    return Err(error.clone());
                }
                let is_last = state.reached.first().is_none_or(|(last, _)| *last >= self.reached);
                if (is_last || !is_patient) && !state.is_reading {
                    state.is_reading = true;
                    break;
                }
            }
            tokio::select! {
                () = changed => {}
                () = &mut patience, if is_patient => is_patient = false,
            }
        }
        let reading = Reading(&self.pages);
        let page = read_page(commands, stream, self.reached, last).await.map(Arc::new);
        {
            let mut state = self.pages.lock();
            match &page {
                Ok(page) => state.last = Some(page.clone()),
                Err(error) => {
                    state.failures += 1;
                    state.error = Some(error.clone());
                }
            }
        }
        drop(reading);
        page
    }

    /// Notes that this restore has come so far.
    pub(super) fn reached(&mut self, id: EntryId) {
        let mut state = self.pages.lock();
        let first = state.reached.first().map(|(first, _)| *first);
        state.reached.remove(&(self.reached, self.number));
        self.reached = id;
        state.reached.insert((id, self.number));
        let has_moved = state.reached.first().map(|(first, _)| *first) != first;
        drop(state);
        if has_moved {
            self.pages.changed.notify_waiters();
        }
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        let mut state = self.pages.lock();
        state.reached.remove(&(self.reached, self.number));
        if state.reached.is_empty() {
            state.last = None;
        }
        drop(state);
        self.pages.changed.notify_waiters();
    }
}

impl State {
    fn page_behind(&self, reached: EntryId) -> Option<Arc<Page>> {
        self.last.clone().filter(|page| page.after <= reached && reached < page.end)
    }
}

/// Exists while a restore reads, also if that is given up in the middle.
struct Reading<'a>(&'a SharedPages);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.lock().is_reading = false;
        self.0.changed.notify_waiters();
    }
}

/// Reads a page behind `after`, up to `last` at the most.
pub(super) async fn read_page(
    commands: &mut RoutedCommands,
    stream: &Stream,
    after: EntryId,
    last: EntryId,
) -> Result<Page> {
    let count = stream.page_of(&stream.restore_pages);
    let read = read_entries(commands, &stream.key, after.next(), Some(last), count).await;
    let raw = read.inspect_err(|error| stream.restore_pages.failed(count, error))?;
    let end = if raw.len() < count { last } else { raw.last().map_or(last, |raw| raw.id) };
    let entries = raw.iter().filter_map(|raw| {
        let entry = parse_entry(raw.id, fields_of(&raw.fields)).ok()?;
        let broadcast = entry.broadcast().map(|data| Broadcast {
            head: BroadcastHead::decode(data.view()),
            data: data.keep(),
            packet: SharedPacket::default(),
        });
        Some(PageEntry { id: entry.id, nsp: entry.nsp.into(), origin: entry.origin, broadcast })
    });
    Ok(Page { after, end, entries: entries.collect() })
}
