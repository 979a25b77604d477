//! Who waits until there are entries: Redis does, if a read asks for it with BLOCK. Services and proxies
//! may refuse that, or answer at once all the same. Then the reader pauses between its reads.

use std::time::Duration;

use crate::engine::error::{Error, Refusal, Result};
use crate::engine::redis::Backoff;

/// The longest pause between two reads of a server that does not wait.
const LONGEST_PAUSE: Duration = Duration::from_millis(300);
/// So many answers that came too early are no chance any more: somebody may have unblocked us.
const EARLY: u32 = 3;

/// What becomes of a read that was answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// It does not show yet whether the server waits.
    NotAsked,
    /// There were entries.
    Entries,
    /// There was nothing to read, and the server has waited.
    Waited,
    /// There was nothing to read, and the next read is to be sent after this time.
    Pause(Duration),
}

/// How one connection waits for entries.
pub(crate) struct Waiting {
    block: Duration,
    /// The first read does not wait: its answer shows that we can read here.
    is_first: bool,
    is_refused: bool,
    early: u32,
    pauses: Backoff,
}

impl Waiting {
    /// On a new connection, with reads that wait for so long.
    pub(crate) fn new(block: Duration) -> Self {
        let pauses = Backoff::new(None, LONGEST_PAUSE);
        Self { block, is_first: true, is_refused: false, early: 0, pauses }
    }

    /// How long the next read is to wait; `None` if it is not to be asked to.
    pub(crate) fn block(&self) -> Option<Duration> {
        (!self.is_first && !self.is_refused).then_some(self.block)
    }

    /// Whether this error means that the server lets us read, but not wait: reads go on without BLOCK.
    pub(crate) fn is_refused(&mut self, error: &Error) -> bool {
        // A permission would be for XREAD as a whole.
        let refuses = |refusal: &Refusal| matches!(refusal, Refusal::Unsupported | Refusal::Other);
        let is_refused = self.block().is_some()
            && matches!(error, Error::Refused { refusal, .. } if refuses(refusal));
        self.is_refused |= is_refused;
        is_refused
    }

    /// Takes note of the answer to a read: what was read, and how long it took.
    pub(crate) fn answered(&mut self, is_empty: bool, took: Duration) -> Answered {
        if std::mem::take(&mut self.is_first) {
            return Answered::NotAsked;
        }
        let has_waited = !self.is_refused && took >= self.block / 2;
        if is_empty && !has_waited {
            self.early += 1;
            return Answered::Pause(self.pauses.delay());
        }
        self.early = 0;
        self.pauses.reset();
        if is_empty { Answered::Waited } else { Answered::Entries }
    }

    /// An error when the server does not wait although it was asked to.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_refused || self.early < EARLY {
            return Ok(());
        }
        let reason = "it answers at once with nothing, although BLOCK asks it to wait: a service or proxy before Redis seems to ignore that, and the stream is read several times a second instead";
        Err(Error::Protocol { command: "XREAD", reason: reason.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: Duration = Duration::from_secs(5);

    #[test]
    fn a_server_that_waits_is_asked_again_at_once() {
        let mut waiting = Waiting::new(BLOCK);
        assert_eq!(waiting.block(), None, "the first read does not wait");
        assert_eq!(waiting.answered(true, Duration::ZERO), Answered::NotAsked);
        assert_eq!(waiting.block(), Some(BLOCK));
        for _ in 0..10 {
            assert_eq!(waiting.answered(true, BLOCK), Answered::Waited);
            assert_eq!(waiting.answered(false, Duration::ZERO), Answered::Entries);
        }
        assert!(waiting.check().is_ok());
    }

    #[test]
    fn a_server_that_ignores_it_is_asked_after_pauses() {
        let mut waiting = Waiting::new(BLOCK);
        waiting.answered(true, Duration::ZERO);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            let Answered::Pause(pause) = waiting.answered(true, Duration::ZERO) else {
                panic!("it is taken for having waited")
            };
            pauses.push(pause);
        }
        assert!(pauses[9] >= LONGEST_PAUSE / 2 && pauses[9] > pauses[0], "{pauses:?}");
        assert!(waiting.check().is_err());
        assert_eq!(waiting.answered(false, Duration::ZERO), Answered::Entries);
        assert!(waiting.check().is_ok());
    }

    #[test]
    fn a_server_that_refuses_it_is_read_without() {
        let refused = |words| Error::from_reply("XREAD", "key", "h:1", words);
        let mut waiting = Waiting::new(BLOCK);
        let no_block = refused("ERR BLOCK is not supported");
        assert!(!waiting.is_refused(&no_block), "it was not asked for");
        waiting.answered(true, Duration::ZERO);
        assert!(!waiting.is_refused(&refused("LOADING")));
        assert!(!waiting.is_refused(&refused("NOPERM no permissions")));
        assert!(waiting.is_refused(&no_block));
        assert_eq!(waiting.block(), None);
        assert!(!waiting.is_refused(&no_block), "it is something else");
        assert!(matches!(waiting.answered(true, BLOCK), Answered::Pause(_)));
        assert!(waiting.check().is_ok(), "the refusal was reported");
    }
}
