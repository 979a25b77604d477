//! Knows which server holds the data now: one answer for all connections of an engine.
//!
//! An address may lead to another server from one moment to the next, while the old server goes on
//! as a replica and keeps its clients. That happens with a virtual IP, a Kubernetes Service, DNS, a
//! proxy or a managed service. So each connection learns the `run_id` of its server. The connection
//! that was made last shows where the address leads now. Connections to any other server are
//! replaced.
//!
//! In a cluster, keys have different servers. A wrong server corrects the client with MOVED.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// If the current server changes again within this time, connections wait before they follow.
/// Otherwise they would go to and fro when several masters take turns behind one address.
const CALM: Duration = Duration::from_secs(60);
/// The first wait. Each further change within [`CALM`] doubles it, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// After this many changes without calm, the `run_id` tells nothing, and nobody follows it any more:
/// behind some proxies each connection sees another one.
const MOST_CHANGES: u32 = 20;

/// The `run_id` of the server to which the last connection was made.
pub(crate) struct CurrentServer {
    run_id: watch::Sender<Option<Arc<str>>>,
    changes: Mutex<Changes>,
}

struct Changes {
    last: Option<Instant>,
    wait: Duration,
    /// How many there were without calm.
    count: u32,
}

impl CurrentServer {
    pub(crate) fn new() -> Arc<Self> {
        let changes = Changes { last: None, wait: Duration::ZERO, count: 0 };
        Arc::new(Self { run_id: watch::Sender::new(None), changes: Mutex::new(changes) })
    }

    /// Records that a connection was made to the server with this `run_id`, which is the current
    /// one from now on.
    pub(crate) fn met(self: &Arc<Self>, run_id: &str) -> ServerOf {
        let own: Arc<str> = run_id.into();
        self.run_id.send_if_modified(|current| {
            let before = current.replace(own.clone());
            let has_changed = before.is_some_and(|before| before != own);
            if has_changed {
                self.note_change();
                tracing::debug!("the server {own} has taken over");
            }
            has_changed
        });
        ServerOf(Some(Following { own, current: self.run_id.subscribe(), server: self.clone() }))
    }

    fn note_change(&self) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_calm = changes.last.replace(now).is_none_or(|last| now - last > CALM);
        if changes.count >= MOST_CHANGES {
            return;
        }
        (changes.wait, changes.count) = if is_calm {
            (Duration::ZERO, 1)
        } else {
            ((changes.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT), changes.count + 1)
        };
        if changes.count == MOST_CHANGES {
            tracing::debug!(
                "the server's run_id changes all the time: it is not followed any more"
            );
        }
    }

    /// False if the `run_id` does not tell which server is current.
    fn is_telling(&self) -> bool {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).count < MOST_CHANGES
    }

    fn wait(&self) -> Duration {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).wait
    }
}

/// The server of one connection, compared with the current one. In a cluster, and if the server
/// does not report its `run_id`, nothing is known and it always counts as current.
#[derive(Default)]
pub(crate) struct ServerOf(Option<Following>);

struct Following {
    own: Arc<str>,
    current: watch::Receiver<Option<Arc<str>>>,
    server: Arc<CurrentServer>,
}

impl ServerOf {
    /// Its `run_id`, if it is known.
    pub(crate) fn run_id(&self) -> Option<&Arc<str>> {
        self.0.as_ref().filter(|of| of.server.is_telling()).map(|following| &following.own)
    }

    /// False if another server has taken over.
    pub(crate) fn is_current(&self) -> bool {
        self.0.as_ref().is_none_or(|Following { own, current, server }| {
            is_own(current, own) || !server.is_telling()
        })
    }

    /// Resolves when another server has taken over.
    pub(crate) async fn replaced(&mut self) {
        let Some(Following { own, current, server }) = &mut self.0 else {
            return std::future::pending().await;
        };
        loop {
            let other = |current: &Option<Arc<str>>| current.as_ref().is_some_and(|c| c != own);
            if current.wait_for(other).await.is_err() {
                // The engine has ended.
                return std::future::pending().await;
            }
            sleep(server.wait()).await;
            if !server.is_telling() {
                return std::future::pending().await;
            }
            if !is_own(current, own) {
                return;
            }
        }
    }
}

fn is_own(current: &watch::Receiver<Option<Arc<str>>>, own: &Arc<str>) -> bool {
    current.borrow().as_ref().is_none_or(|current| current == own)
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    async fn is_replaced(server: &mut ServerOf) -> bool {
        timeout(Duration::from_millis(1), server.replaced()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_made_last_shows_which_server_is_current() {
        let current = CurrentServer::new();
        let (mut reader, mut writer) = (current.met("a"), current.met("a"));
        assert!(!is_replaced(&mut reader).await && reader.is_current());
        let mut reader_again = current.met("b");
        assert!(is_replaced(&mut reader).await && is_replaced(&mut writer).await);
        assert!(!writer.is_current());
        assert!(!is_replaced(&mut reader_again).await && reader_again.is_current());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_known_of_a_server_that_does_not_tell() {
        let current = CurrentServer::new();
        let mut unknown = ServerOf::default();
        current.met("a");
        current.met("b");
        assert!(unknown.is_current() && !is_replaced(&mut unknown).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_behind_which_masters_take_turns_is_followed_ever_more_slowly() {
        let current = CurrentServer::new();
        let mut connection = current.met("a");
        let mut waits = Vec::new();
        for i in 0..12 {
            let other = current.met(if i % 2 == 0 { "b" } else { "a" });
            let from = Instant::now();
            connection.replaced().await;
            waits.push(from.elapsed());
            connection = other;
        }
        assert_eq!(waits[0], Duration::ZERO);
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
        assert!(waits[11] >= LONGEST_WAIT && waits[11] < LONGEST_WAIT + FIRST_WAIT, "{waits:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_id_that_is_another_for_each_connection_is_not_followed_for_ever() {
        let current = CurrentServer::new();
        let mut connection = current.met("0");
        for i in 1..=MOST_CHANGES {
            assert!(connection.is_current() && connection.run_id().is_some());
            let other = current.met(&i.to_string());
            if i < MOST_CHANGES {
                connection.replaced().await;
            }
            connection = other;
        }
        let mut old = current.met("old");
        current.met("another");
        assert!(old.is_current() && old.run_id().is_none());
        assert!(!is_replaced(&mut old).await);
    }
}
