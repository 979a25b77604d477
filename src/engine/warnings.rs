//! Warns the operator once per cause, and again if the cause comes back, but no more than a few times
//! an hour: a proxy may cut idle connections for ever.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::error::Error;
use super::event::Notice;
use super::inbox::Inbox;

/// The engine warns of one cause up to this many times in `PERIOD`.
const MOST: u32 = 10;
const PERIOD: Duration = Duration::from_secs(3_600);

/// Sends warnings to JS, which passes them to `process.emitWarning`.
pub(crate) struct Warnings {
    inbox: Arc<Inbox>,
    /// The task and the cause of each warning whose cause lasts.
    said: Mutex<HashSet<(&'static str, String)>>,
    /// How often the engine has warned of each cause since when.
    counts: Mutex<HashMap<String, (u32, Instant)>>,
}

impl Warnings {
    pub(crate) fn new(inbox: Arc<Inbox>) -> Self {
        Self { inbox, said: Mutex::default(), counts: Mutex::default() }
    }

    /// Warns of an error that `task` has met, unless the engine has already warned of its cause and
    /// the cause lasts.
    pub(crate) fn warn(&self, task: &'static str, error: &Error) {
        tracing::debug!("{task}: {error}");
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        // Several tasks may meet the same cause: one warning is enough.
        let cause = error.cause();
        let known = said.iter().any(|(_, known)| *known == cause);
        let is_due = !known && self.is_due(&cause);
        said.insert((task, cause));
        if is_due {
            self.inbox.push(Notice::Warning(error.clone()));
        }
    }

    /// Counts a warning of this cause. False if there were too many of late.
    fn is_due(&self, cause: &str) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        // Causes are codes, with a command or a key: there are few of them.
        let (count, since) = counts.entry(cause.to_owned()).or_insert((0, Instant::now()));
        if since.elapsed() >= PERIOD {
            (*count, *since) = (0, Instant::now());
        }
        *count += 1;
        *count <= MOST
    }

    /// The task works again: its causes are gone.
    pub(crate) fn clear(&self, task: &'static str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if !said.is_empty() {
            said.retain(|(who, _)| *who != task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_comes_back_for_ever_is_warned_of_a_few_times_an_hour() {
        let inbox = Arc::new(Inbox::new(1 << 20, || {}));
        let warnings = Warnings::new(inbox.clone());
        let cut = Error::Connection { address: "a:1".into(), reason: "it has ended".into() };
        let hour = || {
            for _ in 0..100 {
                warnings.warn("reader", &cut);
                warnings.clear("reader");
            }
            inbox.drain(100).map_or(0, |said| said.len())
        };
        assert_eq!((hour(), hour()), (MOST as usize, 0));
        tokio::time::advance(PERIOD).await;
        assert_eq!(hour(), MOST as usize);
    }

    #[test]
    fn once_per_cause_and_again_after_it_had_gone() {
        let inbox = Arc::new(Inbox::new(1 << 20, || {}));
        let warnings = Warnings::new(inbox.clone());
        let outage = Error::Connection { address: "a:1".into(), reason: "refused".into() };
        let login = Error::Auth { address: "a:1".into(), reason: "WRONGPASS".into() };
        for _ in 0..3 {
            warnings.warn("reader", &outage);
            warnings.warn("writer", &outage);
            warnings.warn("writer", &login);
        }
        assert_eq!(inbox.drain(10).unwrap().len(), 2);
        warnings.clear("writer");
        warnings.warn("writer", &login);
        warnings.warn("writer", &outage);
        assert_eq!(inbox.drain(10).unwrap().len(), 1, "the reader's outage goes on");
        warnings.clear("reader");
        warnings.clear("writer");
        warnings.warn("reader", &outage);
        assert_eq!(inbox.drain(10).unwrap().len(), 1);
    }
}
