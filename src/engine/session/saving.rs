//! The part of the session task that saves: what is tried at once, what is tried again, and what is
//! given up.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::FutureExt;
use futures_util::stream::StreamExt;
use tokio::time::{Instant, sleep_until};
use tracing::instrument::WithSubscriber;

use super::record::{FIRST, Holder};
use super::save::{Save, What};
use super::together::Saved;
use super::waits::Waiting;
use super::{Saves, SessionTask};
use crate::engine::error::{Error, Result};
use crate::engine::event::Notice;

/// Names the task in warnings.
const TASK: &str = "sessions";
/// Names sessions that are too large in warnings. Nothing clears it: one warning is enough.
const TOO_LARGE: &str = "sessions, size";
/// Names too many sessions that wait in warnings.
const FULL: &str = "sessions, bytes";

/// For so long, sessions of a size over which connections broke are not tried. The limit may have
/// been raised since then.
const TOO_LARGE_FOR: Duration = Duration::from_secs(10 * 60);

/// What follows from the result of a save.
enum Next {
    Done,
    TryAgain {
        is_refused: bool,
    },
    /// It will not work.
    GiveUp,
}

impl SessionTask {
    /// Begins to save unsaved sessions, at each server unless saves are under way there. Restores can
    /// begin meanwhile.
    pub(super) fn save(&mut self) {
        let (rounds, released) = self.unsaved.take();
        released.into_iter().flatten().for_each(|waiting| self.release(waiting));
        rounds.into_iter().for_each(|saves| self.begin(saves));
    }

    fn begin(&mut self, saves: Vec<Save>) {
        let (simple, others): (Vec<_>, _) = saves.into_iter().partition(Save::is_simple);
        if !simple.is_empty() {
            let store = self.store.clone();
            let work = async move { store.save_together(simple).await };
            self.saving.push(work.with_current_subscriber().boxed());
        }
        for save in others {
            let store = self.store.clone();
            let work = async move {
                let result = store.save(&save).await;
                vec![(save, result)]
            };
            self.saving.push(work.with_current_subscriber().boxed());
        }
    }

    /// Queues a save.
    pub(super) fn keep(&mut self, save: Save) {
        if !self.store.keeps_live() && save.generation == FIRST {
            save.has_record.store(false, Ordering::Relaxed);
        }
        if let What::Live { keep, .. } = save.what {
            self.alive.begin(keep);
        }
        if self.too_large.is_some_and(|(size, until)| save.size() >= size && Instant::now() < until)
        {
            save.left().into_iter().for_each(|left| self.unsaved.push(left));
            return;
        }
        if !self.unsaved.of_gone.has_room_for(&save) {
            let bound = self.unsaved.of_gone.bound;
            self.warnings.warn(FULL, &Error::SessionsFull { bound });
            save.left().into_iter().for_each(|left| self.unsaved.push(left));
            return;
        }
        self.unsaved.push(save);
    }

    /// A save has ended.
    pub(super) fn save_ended(&mut self, (save, result): Saved) {
        if let (What::Live { namespace, .. }, Ok(holder @ (Holder::AnotherNode | Holder::Nobody))) =
            (&save.what, &result)
        {
            let (pid, has_expired) = (save.keys.pid.clone(), *holder == Holder::Nobody);
            self.inbox.push(Notice::SessionTaken { namespace: *namespace, pid, has_expired });
        }
        let waiting = match self.next(&save, &result) {
            Next::Done => self.done(&save),
            Next::GiveUp => self.unsaved.give_up(&save),
            Next::TryAgain { is_refused } => return self.unsaved.failed(save, is_refused),
        };
        if self.unsaved.is_empty() {
            self.warnings.clear(FULL);
        }
        waiting.into_iter().for_each(|waiting| self.release(waiting));
    }

    fn done(&mut self, save: &Save) -> Vec<Waiting> {
        self.worked();
        if let What::Ended { .. } = save.what {
            self.stats.sessions_saved.add(1);
        }
        self.saved_at = Instant::now();
        self.saved.send_modify(|saved| *saved += 1);
        let waiting = self.unsaved.done(save);
        if !self.unsaved.has_refused() {
            self.warnings.clear(TASK);
        }
        waiting
    }

    /// Other tasks report outages, so this warns only of what is refused or given up.
    fn next(&mut self, save: &Save, result: &Result<Holder>) -> Next {
        let Err(error) = result else { return Next::Done };
        tracing::debug!("{error}");
        self.failed();
        if error.is_refusal() {
            self.warnings.warn(TASK, error);
            // The client keeps its session if that ends in time.
            return if error.may_pass() {
                Next::TryAgain { is_refused: true }
            } else {
                Next::GiveUp
            };
        }
        if save.is_too_large() {
            self.too_large = Some((save.size(), Instant::now() + TOO_LARGE_FOR));
            self.warnings.warn(TOO_LARGE, &Error::SessionTooLarge { bytes: save.size() });
            return Next::GiveUp;
        }
        Next::TryAgain { is_refused: false }
    }
}

/// Resolves when saves have ended, or when it is time to try some again.
pub(super) async fn next_saves(saving: &mut Saves, due: Option<Instant>) -> Vec<Saved> {
    let is_due = async {
        match due {
            Some(moment) => sleep_until(moment).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        Some(ended) = saving.next() => ended,
        () = is_due => Vec::new(),
    }
}
