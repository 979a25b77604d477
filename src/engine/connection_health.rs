//! The state of one of the engine's connections, for the operator: whether it is open, and, after a
//! reconnect, for how long it was away.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::event::{ConnectionName, Notice};
use super::inbox::Inbox;
use super::stats::Stats;

#[derive(Debug)]
pub(crate) struct ConnectionHealth {
    name: ConnectionName,
    /// The index and the key of the connection's stream; `None` for PUB/SUB.
    stream: Option<(u32, Arc<str>)>,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Not made yet.
    New,
    Stands,
    /// Broken since this moment.
    Away(Instant),
}

impl ConnectionHealth {
    pub(crate) fn new(name: ConnectionName, stream: Option<(u32, Arc<str>)>) -> Self {
        Self { name, stream, state: Mutex::new(State::New) }
    }

    /// The connection was made. If it was broken before, this counts the reconnect and reports it
    /// to JS.
    pub(crate) fn connected(&self, stats: &Stats, inbox: &Inbox) {
        let before = std::mem::replace(&mut *self.state(), State::Stands);
        match before {
            State::New => tracing::debug!("{self}: connected"),
            State::Stands => {}
            State::Away(since) => {
                let away = since.elapsed();
                tracing::debug!("{self}: connected again after {} ms", away.as_millis());
                stats.reconnects.add();
                inbox.push(self.reconnected(away));
            }
        }
    }

    fn reconnected(&self, away: Duration) -> Notice {
        let stream = self.stream.as_ref().map(|(index, _)| *index);
        Notice::Reconnected { connection: self.name, stream, away }
    }

    /// The connection has broken. Nothing changes if it was never made, or was broken already.
    pub(crate) fn lost(&self) {
        let mut state = self.state();
        if let State::Stands = *state {
            *state = State::Away(Instant::now());
            tracing::debug!("{self}: the connection has ended");
        }
    }

    /// Whether it is open, as far as is known.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(*self.state(), State::Stands)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Display for ConnectionHealth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.stream {
            Some((_, key)) => write!(f, "{} of {key}", self.name.name()),
            None => f.write_str(self.name.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::engine::event::Event;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_stands_again_is_counted_and_said_with_the_time_it_was_away() {
        let (stats, inbox) = (Stats::default(), Inbox::new(1 << 20, || {}));
        let link = ConnectionHealth::new(ConnectionName::Writer, Some((3, "key".into())));
        link.lost();
        link.connected(&stats, &inbox);
        assert!(link.is_connected() && inbox.drain(1).is_none(), "the first time is no reconnect");
        link.lost();
        assert!(!link.is_connected());
        advance(Duration::from_secs(2)).await;
        link.lost();
        advance(Duration::from_secs(1)).await;
        link.connected(&stats, &inbox);
        assert_eq!(stats.reconnects.get(), 1);
        let said = inbox.drain(2).unwrap();
        let [Event::Notice(Notice::Reconnected { connection: name, stream, away })] = &said[..]
        else {
            panic!("{said:?}")
        };
        assert_eq!((*name, *stream, away.as_secs()), (ConnectionName::Writer, Some(3), 3));
        assert_eq!(link.to_string(), "writer of key");
    }
}
