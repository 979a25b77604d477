//! The broadcasts that a slice leaves out, since nobody here wanted them when JS took the slice.
//!
//! While JS handles the slice, any code of the user's may run (a handler, a listener for outgoing
//! packets, a parser), and may join a socket to a room. The socket gets what stands behind that
//! place in the stream's order, so what was left out is kept until JS takes the next slice.

use super::event::{Broadcast, Event, StreamEvent};
use super::namespaces::Namespace;
use super::wire::EntryId;

/// How far JS has come in a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    /// How many events of the slice JS has begun to handle.
    pub(crate) begun: u32,
    /// How many of the broadcasts that were left out JS has passed, if it handles one of them.
    pub(crate) passed: u32,
}

/// What the slice that JS is handling leaves out, in order.
#[derive(Debug, Default)]
pub(crate) struct LeftOut(Vec<Late>);

/// A broadcast that was left out.
#[derive(Debug)]
pub(crate) struct Late {
    /// How many events of the slice JS handles before it.
    pub(crate) place: u32,
    /// Its number among what was left out.
    pub(crate) number: u32,
    pub(crate) broadcast: Broadcast,
}

impl Late {
    fn is_behind(&self, turn: Turn) -> bool {
        self.place >= turn.begun && self.number >= turn.passed
    }
}

impl LeftOut {
    /// Notes in the namespaces that what is still left out did not come, and forgets it.
    pub(crate) fn forget(&mut self) {
        for Late { broadcast, .. } in self.0.drain(..) {
            broadcast.namespace.leave_out(broadcast.id);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Keeps the next event of a slice if it is a broadcast without a recipient, and returns it
    /// otherwise. JS handles `place` events of the slice before it.
    pub(crate) fn leave_out(&mut self, event: Event, place: usize) -> Option<Event> {
        match event {
            Event::Stream(StreamEvent::Broadcast(broadcast))
                if !broadcast.namespace.wants(&broadcast.head) =>
            {
                let (place, number) = (place as u32, self.0.len() as u32);
                self.0.push(Late { place, number, broadcast });
                None
            }
            event => Some(event),
        }
    }

    /// Takes the broadcasts that come behind `turn` and that somebody wants by now.
    pub(crate) fn take_late(&mut self, turn: Turn) -> Vec<Late> {
        let is_late = |late: &mut Late| {
            late.is_behind(turn) && late.broadcast.namespace.wants(&late.broadcast.head)
        };
        self.0.extract_if(.., is_late).collect()
    }

    /// The last broadcast of a namespace that was left out before `turn`.
    pub(crate) fn last_before(&self, namespace: &Namespace, turn: Turn) -> Option<EntryId> {
        let is_before = |late: &&Late| {
            !late.is_behind(turn) && late.broadcast.namespace.handle == namespace.handle
        };
        let mut ids = self.0.iter().filter(is_before).map(|late| late.broadcast.id);
        ids.next_back()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::broadcast;

    const BETWEEN_SLICES: Turn = Turn { begun: u32::MAX, passed: 0 };

    fn ids(late: &[Late]) -> Vec<u64> {
        late.iter().map(|late| late.broadcast.id.seq).collect()
    }

    /// A slice of `q` 1, `r` 2, `q` 3, `r` 4, `r` 5, of which `q` has a member.
    fn slice(namespace: &Arc<Namespace>) -> LeftOut {
        namespace.set_room("q", true);
        let rooms = ["q", "r", "q", "r", "r"];
        let mut left_out = LeftOut::default();
        let mut place = 0;
        for (seq, room) in (1..).zip(rooms) {
            place += usize::from(
                left_out.leave_out(Event::Stream(broadcast(namespace, room, seq)), place).is_some(),
            );
        }
        assert_eq!((place, left_out.len()), (2, 3));
        left_out
    }

    fn namespace() -> Arc<Namespace> {
        Arc::new(Namespace::new(0, "/", true, true))
    }

    #[test]
    fn a_room_gets_what_stands_behind_its_first_join() {
        let namespace = namespace();
        let mut left_out = slice(&namespace);
        assert!(left_out.take_late(Turn { begun: 1, passed: 0 }).is_empty());
        namespace.set_room("r", true);
        let turn = Turn { begun: 2, passed: 0 };
        assert_eq!(left_out.last_before(&namespace, turn).unwrap().seq, 2);
        let late = left_out.take_late(turn);
        assert_eq!(ids(&late), [4, 5]);
        assert_eq!((late[0].place, late[0].number), (2, 1));
        assert!(left_out.take_late(turn).is_empty(), "each once");
    }

    #[test]
    fn what_stands_before_a_late_broadcast_is_not_behind_it() {
        let namespace = namespace();
        let mut left_out = slice(&namespace);
        namespace.set_room("r", true);
        let turn = Turn { begun: 2, passed: 2 };
        assert_eq!(left_out.last_before(&namespace, turn).unwrap().seq, 4);
        assert_eq!(ids(&left_out.take_late(turn)), [5]);
    }

    #[test]
    fn between_slices_everything_has_passed() {
        let namespace = namespace();
        let mut left_out = slice(&namespace);
        namespace.set_room("r", true);
        assert!(left_out.take_late(BETWEEN_SLICES).is_empty());
        assert_eq!(left_out.last_before(&namespace, BETWEEN_SLICES).unwrap().seq, 5);
        left_out.forget();
        assert_eq!(left_out.last_before(&namespace, BETWEEN_SLICES), None);
        assert_eq!(namespace.set_room("s", true).seq, 5, "the namespace has noted it");
    }
}
