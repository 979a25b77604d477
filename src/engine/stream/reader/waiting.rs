//! How the reader waits for entries. Usually Redis waits, since the read has BLOCK. A service or a
//! proxy may refuse BLOCK, or ignore it and reply at once. Then the reader pauses between its
//! reads.

use std::time::Duration;

use crate::engine::error::{Error, Refusal, Result};
use crate::engine::redis::Backoff;

/// The longest pause between two reads if the server does not wait.
const LONGEST_PAUSE: Duration = Duration::from_millis(300);
/// The reader warns after this many early replies in a row. Fewer may have another cause, such as
/// CLIENT UNBLOCK.
const EARLY: u32 = 3;

/// What the reply to a read shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// The read had no BLOCK, as it was the connection's first one: it shows nothing about waiting.
    NotAsked,
    /// There were entries.
    Entries,
    /// There were no entries, and the server has waited.
    Waited,
    /// There were no entries, and the server has not waited. The reader must pause for this long.
    Pause(Duration),
}

/// How one connection waits for entries.
pub(crate) struct Waiting {
    block: Duration,
    /// The first read has no BLOCK: its reply shows at once that we can read from this server.
    is_first: bool,
    is_refused: bool,
    early: u32,
    pauses: Backoff,
}

impl Waiting {
    /// For a new connection. `block` is how long one read waits.
    pub(crate) fn new(block: Duration) -> Self {
        let pauses = Backoff::new(None, LONGEST_PAUSE);
        Self { block, is_first: true, is_refused: false, early: 0, pauses }
    }

    /// How long the next read must wait; `None` if it must not have BLOCK.
    pub(crate) fn block(&self) -> Option<Duration> {
        (!self.is_first && !self.is_refused).then_some(self.block)
    }

    /// Whether this error means that the server refuses BLOCK only. If so, the next reads have
    /// none.
    pub(crate) fn is_refused(&mut self, error: &Error) -> bool {
        // A missing permission would be one for XREAD as a whole.
        let refuses = |refusal: &Refusal| matches!(refusal, Refusal::Unsupported | Refusal::Other);
        let is_refused = self.block().is_some()
            && matches!(error, Error::Refused { refusal, .. } if refuses(refusal));
        self.is_refused |= is_refused;
        is_refused
    }

    /// Takes note of the reply to a read: whether it was empty, and how long it took.
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

    /// Returns an error if the server ignores BLOCK.
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
