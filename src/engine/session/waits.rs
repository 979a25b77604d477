//! What waits until sessions are in Redis: calls of JS, and restores. A restore does not wait for
//! ever, since Redis may be full or away for hours, and its client has no connection meanwhile.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::SessionTask;
use super::attempt::LONGEST;
use super::restore::Restore;
use crate::engine::error::Error;
use crate::engine::event::{CallId, Notice};

/// The time between two looks for restores that have waited too long.
const LOOK: Duration = Duration::from_millis(500);

/// What waits until a client's session is in Redis.
pub(super) enum Waiting {
    Restore(Restore),
    /// A call of JS.
    Call(CallId),
}

/// What waits, by the key of the session.
#[derive(Default)]
pub(super) struct Waits {
    waiting: HashMap<String, Vec<Waiting>>,
    /// When to look at the restores again; `None` if there are none.
    look_at: Option<Instant>,
}

impl Waits {
    pub(super) fn push(&mut self, key: &str, waiting: Waiting) {
        if let Waiting::Restore(_) = waiting {
            self.look_at.get_or_insert_with(|| Instant::now() + LOOK);
        }
        self.waiting.entry(key.to_owned()).or_default().push(waiting);
    }

    /// Takes everything that waits for a session.
    pub(super) fn take(&mut self, key: &str) -> Vec<Waiting> {
        self.waiting.remove(key).unwrap_or_default()
    }

    pub(super) async fn is_due(&self) {
        match self.look_at {
            Some(moment) => sleep_until(moment).await,
            None => std::future::pending().await,
        }
    }

    /// Looks at all restores, and takes those that are to wait no longer.
    pub(super) fn take_restores(
        &mut self,
        is_over: impl Fn(&str, &Restore) -> bool,
    ) -> Vec<Restore> {
        let (mut taken, mut has_more) = (Vec::new(), false);
        self.waiting.retain(|key, waiting| {
            for one in std::mem::take(waiting) {
                match one {
                    Waiting::Restore(restore) if is_over(key, &restore) => taken.push(restore),
                    other => {
                        has_more |= matches!(other, Waiting::Restore(_));
                        waiting.push(other);
                    }
                }
            }
            !waiting.is_empty()
        });
        self.look_at = has_more.then(|| Instant::now() + LOOK);
        taken
    }
}

impl SessionTask {
    /// Refuses the restores that have waited too long. That others are saved tells something only
    /// about sessions that are still to be tried.
    pub(super) fn end_waits(&mut self) {
        let (patience, saved_at) = (self.patience(), self.saved_at);
        let over = self.unsaved.take_restores(|restore, has_failed| {
            let asked = restore.asked;
            let since = if has_failed { asked } else { asked.max(saved_at) };
            since.elapsed() >= patience || asked.elapsed() >= LONGEST
        });
        for Restore { call, .. } in over {
            self.stats.restores_refused.add(1);
            let result = Err(Error::NotRestored("the session is not saved yet"));
            self.inbox.push(Notice::Answered { call, result });
        }
    }
}
