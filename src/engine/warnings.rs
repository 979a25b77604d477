//! Warns the operator once per cause, and again if the cause comes back, but no more than a few times
//! an hour: a proxy may cut idle connections for ever. Reports when an outage is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    shared: Arc<Shared>,
    /// The index of the stream whose tasks warn; `None` for tasks of the whole node.
    stream: Option<u32>,
}

/// What all tasks of a node have met.
struct Shared {
    inbox: Arc<Inbox>,
    /// The errors whose cause lasts.
    lasting: Mutex<Vec<Lasting>>,
    /// How often the engine has warned of each cause since when.
    counts: Mutex<HashMap<String, (u32, Instant)>>,
}

struct Lasting {
    /// The task that has met the cause, and the index of its stream.
    task: (&'static str, Option<u32>),
    cause: String,
    is_outage: bool,
}

impl Warnings {
    pub(crate) fn new(inbox: Arc<Inbox>) -> Self {
        let shared = Shared { inbox, lasting: Mutex::default(), counts: Mutex::default() };
        Self { shared: Arc::new(shared), stream: None }
    }

    /// For the tasks of one stream: those of another one, which may be at another server, do not
    /// clear their causes.
    pub(crate) fn of_stream(&self, index: u32) -> Arc<Self> {
        Arc::new(Self { shared: self.shared.clone(), stream: Some(index) })
    }

    /// Warns of an error that `task` has met, unless the engine has already warned of its cause and
    /// the cause lasts.
    pub(crate) fn warn(&self, task: &'static str, error: &Error) {
        tracing::debug!("{task}: {error}");
        let task = (task, self.stream);
        let mut lasting = self.shared.lasting();
        // Several tasks may meet the same cause: one warning is enough.
        let cause = error.cause();
        let is_known = lasting.iter().any(|known| known.cause == cause);
        let is_due = !is_known && self.shared.is_due(&cause);
        if !lasting.iter().any(|known| known.task == task && known.cause == cause) {
            lasting.push(Lasting { task, cause, is_outage: error.is_outage() });
        }
        if is_due {
            self.shared.inbox.push(Notice::Warning(error.clone()));
        }
    }

    /// The task works again: its causes are gone.
    pub(crate) fn clear(&self, task: &'static str) {
        let task = (task, self.stream);
        let mut lasting = self.shared.lasting();
        let had_outage = lasting.iter().any(|known| known.task == task && known.is_outage);
        lasting.retain(|known| known.task != task);
        if had_outage && !lasting.iter().any(|known| known.is_outage) {
            self.shared.inbox.push(Notice::OutageOver);
        }
    }
}

impl Shared {
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

    fn lasting(&self) -> MutexGuard<'_, Vec<Lasting>> {
        self.lasting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::Event;

    /// How many warnings have come, and how many reports of the end of an outage.
    fn counted(inbox: &Inbox) -> (usize, usize) {
        let events = inbox.drain(1_000).unwrap_or_default();
        let is_over = |event: &&Event| matches!(event, Event::Notice(Notice::OutageOver));
        let over = events.iter().filter(is_over).count();
        (events.len() - over, over)
    }

    fn outage() -> Error {
        Error::Connection { address: "a:1".into(), reason: "refused".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_back_for_ever_is_warned_of_a_few_times_an_hour() {
        let inbox = Arc::new(Inbox::new(1 << 20, || {}));
        let warnings = Warnings::new(inbox.clone());
        let hour = || {
            for _ in 0..100 {
                warnings.warn("reader", &outage());
                warnings.clear("reader");
            }
            counted(&inbox).0
        };
        assert_eq!((hour(), hour()), (MOST as usize, 0));
        tokio::time::advance(PERIOD).await;
        assert_eq!(hour(), MOST as usize);
    }

    #[test]
    fn once_per_cause_and_again_after_it_had_gone() {
        let inbox = Arc::new(Inbox::new(1 << 20, || {}));
        let warnings = Warnings::new(inbox.clone());
        let login = Error::Auth { address: "a:1".into(), reason: "WRONGPASS".into() };
        for _ in 0..3 {
            warnings.warn("reader", &outage());
            warnings.warn("writer", &outage());
            warnings.warn("writer", &login);
        }
        assert_eq!(counted(&inbox), (2, 0));
        warnings.clear("writer");
        warnings.warn("writer", &login);
        warnings.warn("writer", &outage());
        assert_eq!(counted(&inbox), (1, 0), "the reader's outage goes on");
        warnings.clear("reader");
        warnings.clear("writer");
        assert_eq!(counted(&inbox), (0, 1));
        warnings.warn("reader", &outage());
        assert_eq!(counted(&inbox), (1, 0));
    }

    #[test]
    fn an_outage_is_over_when_no_task_meets_one_any_more() {
        let inbox = Arc::new(Inbox::new(1 << 20, || {}));
        let warnings = Warnings::new(inbox.clone());
        let refusal = Error::OldNodes { key: "key".into() };
        warnings.warn("reader", &outage());
        let login = Error::Auth { address: "a:1".into(), reason: "WRONGPASS".into() };
        warnings.warn("writer", &login);
        warnings.warn("reader", &refusal);
        warnings.warn("control", &refusal);
        assert_eq!(counted(&inbox), (3, 0));
        warnings.clear("reader");
        assert_eq!(counted(&inbox), (0, 0), "the writer's goes on");
        warnings.clear("writer");
        assert_eq!(counted(&inbox), (0, 1));
        warnings.clear("writer");
        warnings.clear("control");
        assert_eq!(counted(&inbox), (0, 0), "no outage");
    }

    #[test]
    fn a_stream_that_works_does_not_end_the_outage_of_another_one() {
        let inbox = Arc::new(Inbox::new(1 << 20, || {}));
        let warnings = Warnings::new(inbox.clone());
        let streams = [warnings.of_stream(0), warnings.of_stream(1)];
        streams[1].warn("reader", &outage());
        assert_eq!(counted(&inbox), (1, 0));
        for _ in 0..3 {
            streams[0].clear("reader");
            warnings.clear("reader");
            streams[1].warn("reader", &outage());
        }
        assert_eq!(counted(&inbox), (0, 0), "it lasts");
        streams[0].warn("reader", &outage());
        streams[1].clear("reader");
        assert_eq!(counted(&inbox), (0, 0), "the cause is known, and lasts for the other one");
        streams[0].clear("reader");
        assert_eq!(counted(&inbox), (0, 1));
    }
}
