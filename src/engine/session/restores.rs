//! What the restores of a node share: places, memory, pages of the streams, and time. What they hold
//! in memory is bounded, and a restore that waits for others does not run out of time while they
//! make progress.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use super::RESTORE_LIMIT;
use super::doubles::find_doubles;
use super::pages::SharedPages;
use crate::engine::error::{Error, Result};
use crate::engine::inbox::Inbox;
use crate::engine::missed::MissedBytes;
use crate::engine::redis::RoutedCommands;
use crate::engine::stream::Stream;

/// The most restores that search at a time: bounds what they ask of Redis at once.
const SEARCHING: usize = 256;
/// The most restores at a time that take their sessions and answer. Each may exceed the bound of
/// the memory by what its client missed.
const ANSWERING: usize = 8;

/// All restores of a node. They get their places in the order in which they were asked for.
pub(super) struct Restores {
    searching: Semaphore,
    answering: Semaphore,
    inbox: Arc<Inbox>,
    /// What restores hold.
    pub(super) bytes: Arc<MissedBytes>,
    /// By the stream's index.
    pages: Mutex<HashMap<u32, Arc<SharedPages>>>,
    /// When a restore has last made progress.
    progress: Mutex<Instant>,
}

impl Restores {
    pub(super) fn new(inbox: Arc<Inbox>) -> Arc<Self> {
        Arc::new(Self {
            searching: Semaphore::new(SEARCHING),
            answering: Semaphore::new(ANSWERING),
            bytes: Arc::default(),
            pages: Mutex::default(),
            progress: Mutex::new(Instant::now()),
            inbox,
        })
    }

    /// Waits for a place to search. The restore keeps it until it has answered.
    pub(super) async fn search(&self) -> Option<SemaphorePermit<'_>> {
        // Only a closed semaphore refuses, and this one is never closed.
        let place = self.searching.acquire().await.ok();
        self.has_room(|_| false).await;
        place
    }

    /// Waits for a place to answer. If all memory is in use by restores that search, one of them
    /// has to answer first.
    pub(super) async fn answer(&self) -> Option<SemaphorePermit<'_>> {
        let place = self.answering.acquire().await.ok();
        self.has_room(MissedBytes::are_taken).await;
        place
    }

    /// Waits until what restores hold, and what waits for JS, are below the inbox's bound.
    async fn has_room(&self, or_if: impl Fn(&MissedBytes) -> bool) {
        loop {
            let fell = self.bytes.fell.notified();
            tokio::pin!(fell);
            fell.as_mut().enable();
            if self.bytes.held() < self.inbox.bound() || or_if(&self.bytes) {
                break;
            }
            fell.await;
        }
        self.inbox.has_space().await;
    }

    /// The pages of a stream.
    pub(super) fn pages(&self, stream: &Stream) -> Arc<SharedPages> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        pages.entry(stream.index).or_default().clone()
    }

    /// Finds the doubles from before this node began to read, once for all restores.
    pub(super) async fn find_doubles(
        &self,
        commands: &mut RoutedCommands,
        stream: &Stream,
    ) -> Result<()> {
        let pages = self.pages(stream);
        let search = find_doubles(commands, stream, || self.progressed());
        pages.doubles.get_or_try_init(|| search).await.copied()
    }

    /// Notes that a restore has made progress: its session was saved, Redis has sent a page, or JS
    /// gets an answer.
    pub(super) fn progressed(&self) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How long nothing has happened to a restore that was asked for at `asked`: neither it nor
    /// another one has made progress.
    pub(super) fn stuck_for(&self, asked: Instant) -> Duration {
        self.stuck_since(asked).elapsed()
    }

    fn stuck_since(&self, asked: Instant) -> Instant {
        asked.max(*self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits for `work` as long as this restore or another one makes progress.
    pub(super) async fn while_progressing<T>(
        &self,
        asked: Instant,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::pin!(work);
        loop {
            let limit = self.stuck_since(asked) + RESTORE_LIMIT;
            if limit <= Instant::now() {
                return Err(Error::Timeout {
                    command: "XRANGE",
                    address: String::new(),
                    after: RESTORE_LIMIT,
                });
            }
            tokio::select! {
                result = &mut work => return result,
                () = sleep_until(limit) => {}
            }
        }
    }
}
