//! Packets that have no entry in the stream, since Redis does not accept them: only clients of this
//! node get them. A client that is away meanwhile cannot be told that it has missed nothing.

use crate::engine::wire::EntryId;

/// What only clients of this node got.
#[derive(Debug)]
pub(crate) struct LocalOnly {
    state: State,
    /// The position when this node last published such a packet; `None` if there was none.
    behind: Option<EntryId>,
    /// Stands for all such packets so far: another number after each of them.
    mark: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// All that JS has yet to deliver has entries.
    No,
    /// The last publish got no entry, nor may the next one.
    Yes,
    /// Redis accepts writes again, but JS may have yet to deliver a packet without an entry.
    Ending,
}

impl LocalOnly {
    /// `mark` is a random number, so that no other node has the same marks.
    pub(super) fn new(mark: u64) -> Self {
        Self { state: State::No, behind: None, mark }
    }

    /// Notes that a packet got no entry, when the reader was at `position`.
    pub(super) fn delivered(&mut self, position: EntryId) {
        self.state = State::Yes;
        self.behind = self.behind.max(Some(position));
        self.mark = self.mark.wrapping_add(1);
    }

    /// Notes that the stream ends at `end` now, and that its IDs have fallen.
    pub(super) fn ids_fell(&mut self, end: EntryId) {
        self.behind = self.behind.map(|behind| behind.min(end));
    }

    /// Notes that Redis refuses what this node writes.
    pub(crate) fn refused(&mut self) {
        self.state = State::Yes;
    }

    /// Notes that Redis accepts what this node writes.
    pub(crate) fn accepted(&mut self) {
        if self.is_refused() {
            self.state = State::Ending;
        }
    }

    /// Whether Redis has refused the last publish, and has accepted nothing since.
    pub(crate) fn is_refused(&self) -> bool {
        self.state == State::Yes
    }

    /// Whether clients that leave now may miss packets that have no entry.
    pub(crate) fn is_going_on(&self) -> bool {
        self.state != State::No
    }

    /// Notes that JS has delivered all packets that have no entry.
    pub(super) fn has_delivered(&mut self) {
        if self.state == State::Ending {
            self.state = State::No;
        }
    }

    /// What the session of a client notes that leaves now and has got all such packets. `None` if there
    /// were none, or if it may miss some.
    pub(crate) fn mark(&self) -> Option<u64> {
        self.behind.filter(|_| !self.is_going_on()).map(|_| self.mark)
    }

    /// Whether a client may lack such packets that has received the stream up to `from`, and whose session
    /// has this mark.
    pub(crate) fn may_lack(&self, from: EntryId, mark: Option<u64>) -> bool {
        self.behind.is_some_and(|behind| from <= behind) && mark != Some(self.mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::id;

    #[test]
    fn who_was_there_lacks_nothing_once_all_is_delivered() {
        let mut local = LocalOnly::new(u64::MAX);
        assert!(local.mark().is_none() && !local.may_lack(id(1), None));
        local.delivered(id(5));
        assert!(local.mark().is_none(), "a client that leaves now may miss the next packet");
        local.accepted();
        assert!(local.is_going_on() && local.mark().is_none(), "JS has yet to deliver it");
        local.has_delivered();
        let mark = local.mark();
        assert!(!local.may_lack(id(5), mark) && local.may_lack(id(5), None));
        assert!(!local.may_lack(id(6), None), "the client was there later");
        local.delivered(id(5));
        assert!(local.may_lack(id(5), mark), "one more");
        local.ids_fell(id(3));
        assert!(!local.may_lack(id(4), None) && local.may_lack(id(3), None));
    }
}
