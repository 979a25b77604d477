//! Warns the operator once per cause, and again if the cause comes back.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::Error;
use super::event::Notice;
use super::inbox::Inbox;

/// Sends warnings to JS, which passes them to `process.emitWarning`.
pub(crate) struct Warnings {
    inbox: Arc<Inbox>,
    /// The task and the cause of each warning whose cause lasts.
    said: Mutex<HashSet<(&'static str, String)>>,
}

impl Warnings {
    pub(crate) fn new(inbox: Arc<Inbox>) -> Self {
        Self { inbox, said: Mutex::default() }
    }

    /// Warns of an error that `task` has met, unless the engine has already warned of its cause and
    /// the cause lasts.
    pub(crate) fn warn(&self, task: &'static str, error: &Error) {
        tracing::debug!("{task}: {error}");
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        // Several tasks may meet the same cause: one warning is enough.
        let cause = error.cause();
        let known = said.iter().any(|(_, known)| *known == cause);
        said.insert((task, cause));
        if !known {
            self.inbox.push(Notice::Warning(error.clone()));
        }
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
