//! Tells once in the cluster that a client has not come back in time, if the option
//! `expiredSessions` is on.
//!
//! Each node looks for sessions whose time is over (`index.rs`), and claims them like a restore
//! would: by adding the next generation, which one node of all can. The sessions of a node that is
//! gone are moved to the deadlines first, by any node, or by several at once. What else happens to a
//! session leaves its old entries there, and the generation shows that they are old.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::index::{PAGE, now};
use super::keys::SessionKeys;
use super::ms;
use super::record::Generation;
use super::store::{Expired, Store};
use crate::engine::error::Result;
use crate::engine::event::Notice;
use crate::engine::inbox::Inbox;
use crate::engine::namespaces::{Namespace, Namespaces};

/// The time between two looks.
const CHECK: Duration = Duration::from_secs(1);
/// The most pages of one look.
const PAGES: usize = 20;
/// How many sessions are claimed at a time.
const AT_A_TIME: usize = 32;
/// Entries of namespaces that no node opens are deleted when they are older than this.
const FORGOTTEN: Duration = Duration::from_secs(60 * 60);

/// Looks for sessions that have expired, once a second.
pub(super) struct Expiry {
    looks: Arc<Looks>,
    next: Instant,
}

struct Looks {
    store: Arc<Store>,
    namespaces: Arc<Namespaces>,
    inbox: Arc<Inbox>,
    /// The time between two looks for nodes that are gone.
    interval: Duration,
    /// For how long the sign of life of a node must be away: after an outage of Redis, it may only
    /// be late.
    timeout: Duration,
    state: Mutex<State>,
}

/// The open namespaces with connection state recovery.
type ByName = HashMap<Arc<str>, Arc<Namespace>>;

#[derive(Default)]
struct State {
    nodes_looked_at: Option<Instant>,
    /// The nodes without a sign of life, and since when.
    silent: HashMap<String, Instant>,
    /// What was told, as long as its entry is there.
    told: HashSet<String>,
}

impl Expiry {
    pub(super) fn new(
        store: Arc<Store>,
        namespaces: Arc<Namespaces>,
        inbox: Arc<Inbox>,
        interval: Duration,
        timeout: Duration,
    ) -> Self {
        let state = Mutex::default();
        let looks = Looks { store, namespaces, inbox, interval, timeout, state };
        Self { looks: Arc::new(looks), next: Instant::now() + CHECK }
    }

    /// Waits until it is time for the next look.
    pub(super) async fn is_due(&self) {
        if self.looks.store.index().is_on() {
            sleep_until(self.next).await;
        } else {
            std::future::pending().await
        }
    }

    pub(super) fn look(&mut self) -> impl Future<Output = ()> + use<> {
        self.next = Instant::now() + CHECK;
        let looks = self.looks.clone();
        async move {
            // The last look may still wait for Redis.
            let Ok(mut state) = looks.state.try_lock() else { return };
            if let Err(error) = looks.look(&mut state).await {
                // Redis was away: the nodes could not show that they are alive.
                state.silent.clear();
                tracing::debug!("expired sessions are not looked for: {error}");
            }
        }
    }
}

impl Looks {
    async fn look(&self, state: &mut State) -> Result<()> {
        let namespaces: ByName = self
            .namespaces
            .all()
            .into_iter()
            .filter(|namespace| namespace.recovery)
            .map(|namespace| (namespace.name.clone(), namespace))
            .collect();
        if namespaces.is_empty() {
            return Ok(());
        }
        self.look_at_nodes(state).await?;
        self.look_at_deadlines(state, &namespaces).await?;
        self.forget_old().await
    }

    /// Tells which sessions have expired.
    async fn look_at_deadlines(&self, state: &mut State, namespaces: &ByName) -> Result<()> {
        let index = self.store.index();
        let deadlines = index.deadlines();
        let mut skip = 0;
        for _ in 0..PAGES {
            let entries = index.page(&deadlines, &now().to_string(), skip).await?;
            let is_last = entries.len() < PAGE;
            let (ours, others): (Vec<_>, Vec<_>) = entries
                .into_iter()
                .partition(|entry| nsp_of(entry).is_some_and(|nsp| namespaces.contains_key(nsp)));
            skip += others.len();
            self.settle_all(state, namespaces, ours).await?;
            if is_last {
                // Entries that were told and are still there have just been deleted.
                state.told.clear();
                break;
            }
        }
        Ok(())
    }

    /// Settles a page of entries, and deletes those that are done with.
    async fn settle_all(
        &self,
        state: &mut State,
        namespaces: &ByName,
        entries: Vec<String>,
    ) -> Result<()> {
        let told = &state.told;
        let settled: Vec<Result<(String, bool)>> = stream::iter(entries)
            .map(|entry| self.settle(entry, namespaces, told))
            .buffer_unordered(AT_A_TIME)
            .collect()
            .await;
        let (mut over, mut failed) = (Vec::new(), Ok(()));
        for result in settled {
            match result {
                Ok((entry, true)) => over.push(entry),
                Ok((_, false)) => {}
                Err(error) => failed = Err(error),
            }
        }
        if !over.is_empty() {
            // Should the deletion fail, the next look does not tell again.
            state.told.extend(over.iter().cloned());
            let index = self.store.index();
            index.remove(&index.deadlines(), &over).await?;
            state.told.retain(|entry| !over.contains(entry));
        }
        failed
    }

    /// Deletes entries of namespaces that no node opens.
    async fn forget_old(&self) -> Result<()> {
        let index = self.store.index();
        let deadlines = index.deadlines();
        let long_ago = now().saturating_sub(ms(FORGOTTEN)).to_string();
        let forgotten = index.page(&deadlines, &long_ago, 0).await?;
        if forgotten.is_empty() { Ok(()) } else { index.remove(&deadlines, &forgotten).await }
    }

    /// Tells that a session has expired, if it has. Returns true if its entry is done with.
    async fn settle(
        &self,
        entry: String,
        namespaces: &ByName,
        told: &HashSet<String>,
    ) -> Result<(String, bool)> {
        if told.contains(&entry) {
            return Ok((entry, true));
        }
        let Some((generation, keys)) = self.parse(&entry) else { return Ok((entry, true)) };
        let index = self.store.index();
        let is_over = match self.store.expire(&keys, generation).await? {
            Expired::Now(session) => {
                if let Some(namespace) = namespaces.get(&*keys.nsp) {
                    let namespace = namespace.handle;
                    self.inbox.push(Notice::SessionExpired { namespace, session });
                }
                true
            }
            Expired::NotYet(left) => {
                let deadline = now() + ms(left);
                index.add(&index.deadlines(), deadline, std::slice::from_ref(&entry)).await?;
                false
            }
            // Its node was away for long, and is back.
            Expired::Connected(owner) => {
                index.add(&index.of(&owner), 0, std::slice::from_ref(&entry)).await?;
                true
            }
            Expired::Otherwise => true,
        };
        Ok((entry, is_over))
    }

    fn parse(&self, entry: &str) -> Option<(Generation, SessionKeys)> {
        let mut words = entry.splitn(3, ' ');
        let (generation, pid, nsp) = (words.next()?, words.next()?, words.next()?);
        let keys = SessionKeys::new(&self.store.index().prefix, nsp, pid);
        Some((generation.parse().ok()?, keys))
    }

    /// Moves the sessions of nodes that are gone to the deadlines.
    async fn look_at_nodes(&self, state: &mut State) -> Result<()> {
        if state.nodes_looked_at.is_some_and(|at| at.elapsed() < self.interval) {
            return Ok(());
        }
        let index = self.store.index();
        let (mut skip, mut seen) = (0, HashSet::new());
        loop {
            let nodes = index.page(&index.nodes(), "+inf", skip).await?;
            let mut buried = 0;
            for uid in &nodes {
                if **uid == *index.uid || self.store.is_honoured(uid).await? {
                    state.silent.remove(uid);
                    continue;
                }
                let since = *state.silent.entry(uid.clone()).or_insert_with(Instant::now);
                if since.elapsed() >= self.timeout {
                    self.bury(uid).await?;
                    state.silent.remove(uid);
                    buried += 1;
                }
            }
            // Those behind the buried ones have moved up.
            skip += nodes.len() - buried;
            let is_last = nodes.len() < PAGE;
            seen.extend(nodes);
            if is_last {
                break;
            }
        }
        // Other nodes have buried the rest.
        state.silent.retain(|uid, _| seen.contains(uid));
        state.nodes_looked_at = Some(Instant::now());
        Ok(())
    }

    async fn bury(&self, uid: &str) -> Result<()> {
        let index = self.store.index();
        let of = index.of(uid);
        loop {
            let entries = index.page(&of, "+inf", 0).await?;
            if entries.is_empty() {
                break;
            }
            index.add(&index.deadlines(), now(), &entries).await?;
            index.remove(&of, &entries).await?;
        }
        index.remove(&index.nodes(), &[uid.to_owned()]).await
    }
}

fn nsp_of(entry: &str) -> Option<&str> {
    entry.splitn(3, ' ').nth(2)
}
