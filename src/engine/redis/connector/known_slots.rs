//! The slots of a cluster. New connections wait until a server has told them. Open connections use
//! what is known if no server answers: MOVED corrects them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::{Instant, timeout};

use super::{Connector, most_telling, unserved};
use crate::engine::address::Address;
use crate::engine::error::Result;
use crate::engine::redis::race::race;
use crate::engine::redis::told::Told;
use crate::engine::redis::{Kind, Slots, Target};

/// Open connections use slots that are at most this old, until an error shows that they are wrong.
const RECENT: Duration = Duration::from_secs(5);
/// How long open connections wait for newer slots. Long enough to pass over a server that hangs.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the servers of the cluster have told.
#[derive(Default)]
pub(super) struct KnownSlots {
    state: Mutex<State>,
    /// Locked while the connector asks, so that all callers that wait get the same answer.
    asking: AsyncMutex<()>,
    /// Notifies when a caller has run out of patience.
    late: Notify,
    /// Whether [`Connector::renew_late_slots`] asks: nobody else waits for that.
    is_late: AtomicBool,
}

#[derive(Default)]
struct State {
    told: Told<Slots>,
    /// When an error has shown that the slots are wrong, unless they were told anew since.
    wrong_since: Option<Instant>,
}

impl KnownSlots {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connector {
    /// The slots, which may be up to 300 ms old.
    pub(super) async fn newest_slots(self: &Arc<Self>) -> Result<Arc<Slots>> {
        let _asking = self.slots.asking.lock().await;
        let before = {
            let state = self.slots.state();
            if let Some(answer) = state.told.newest() {
                return answer;
            }
            state.told.known().map_or_else(Vec::new, |slots| slots.nodes().to_vec())
        };
        let asked_at = Instant::now();
        let answer = self.ask_for_slots(&before).await;
        let slots = {
            let mut state = self.slots.state();
            if answer.is_ok() {
                state.wrong_since = state.wrong_since.filter(|since| *since > asked_at);
            }
            state.told.hear(answer)?
        };
        self.unnamed.compare(&before, slots.nodes());
        Ok(slots)
    }

    /// The slots for a caller that has open connections: they may be up to 5 s old, or older if no
    /// server tells them in time.
    pub(super) async fn recent_slots(self: &Arc<Self>) -> Result<Arc<Slots>> {
        let known = {
            let state = self.slots.state();
            if let Some(recent) = state.told.recent(RECENT, state.wrong_since.is_some()) {
                return Ok(recent);
            }
            state.told.known().cloned()
        };
        let Some(known) = known else { return self.newest_slots().await };
        if self.slots.is_late.load(Ordering::Relaxed) {
            return Ok(known);
        }
        match timeout(PATIENCE, self.newest_slots()).await {
            Ok(Ok(slots)) => Ok(slots),
            Ok(Err(error)) => {
                tracing::debug!("the slots are not renewed: {error}");
                Ok(known)
            }
            Err(_) => {
                self.slots.is_late.store(true, Ordering::Relaxed);
                self.slots.late.notify_one();
                Ok(known)
            }
        }
    }

    /// Asks for the slots when open connections have run out of patience. Runs for ever.
    pub(crate) async fn renew_late_slots(self: Arc<Self>) {
        loop {
            self.slots.late.notified().await;
            if let Err(error) = self.newest_slots().await {
                tracing::debug!("the slots are not renewed: {error}");
            }
            self.slots.is_late.store(false, Ordering::Relaxed);
        }
    }

    /// Makes the connector ask for the slots again, since they are wrong.
    pub(crate) fn forget(&self) {
        self.slots.state().wrong_since = Some(Instant::now());
    }

    /// The server of a key, as was last told.
    pub(crate) fn known_target(&self, key: &str) -> Option<Target> {
        if self.settings.kind != Kind::Cluster {
            return Some(Target::Master);
        }
        let state = self.slots.state();
        let master = state.told.known().and_then(|slots| slots.master_of(key));
        master.cloned().map(Target::node)
    }

    /// The masters of a cluster, as was last told.
    pub(crate) fn known_masters(&self) -> Vec<Address> {
        self.slots.state().told.known().map_or_else(Vec::new, |slots| slots.masters())
    }

    /// Asks the servers `named` by the slots so far, and those in the settings.
    async fn ask_for_slots(self: &Arc<Self>, named: &[Address]) -> Result<Slots> {
        let mut nodes = named.to_vec();
        fastrand::shuffle(&mut nodes);
        for node in &self.settings.nodes {
            if !nodes.contains(&node.address()) {
                nodes.push(node.address());
            }
        }
        let answer = race(nodes, |address| {
            let connector = self.clone();
            async move {
                let answer = connector.ask_for_slots_at(&address).await;
                if answer.as_ref().is_ok_and(Slots::is_whole) {
                    answer.map_err(Err)
                } else {
                    Err(answer)
                }
            }
        });
        answer.await.or_else(widest)
    }

    async fn ask_for_slots_at(&self, address: &Address) -> Result<Slots> {
        let answered = async {
            let mut connection = self.data.open(address, false).await?;
            let mut command = redis::cmd("CLUSTER");
            command.arg("SLOTS");
            connection.send("CLUSTER", "SLOTS", &command).await
        };
        let reply = self.data.attempt(answered).await?;
        Slots::parse(&reply, address, |address| self.reachable(address))
    }
}

/// If no answer covers all slots, takes the one with the most. A server that has not joined the
/// cluster yet, or was removed from it, knows no slots or only its own.
pub(super) fn widest(answers: Vec<Result<Slots>>) -> Result<Slots> {
    let (mut widest, mut failures) = (None::<Slots>, Vec::new());
    for answer in answers {
        match answer {
            Ok(slots) if slots.count() > widest.as_ref().map_or(0, Slots::count) => {
                widest = Some(slots);
            }
            Ok(_) => {}
            Err(error) => failures.push(error),
        }
    }
    match widest {
        Some(slots) => Ok(slots),
        None if failures.is_empty() => {
            Err(unserved("no node that was asked knows who serves slots"))
        }
        None => Err(most_telling(failures)),
    }
}
