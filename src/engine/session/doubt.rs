//! Notices in a cluster that a master may have lost records of connected clients: it was started again
//! without its data, or a replica without its latest writes has taken over. Then they are written again.
//!
//! Without a cluster all connections lead to one server, and that for PUB/SUB tells.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::store::Store;
use crate::engine::address::Address;
use crate::engine::redis::Kind;

/// The time between two looks.
const CHECK: Duration = Duration::from_secs(1);
/// The least time before all records are written once more.
const PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Doubt {
    store: Arc<Store>,
    next: Instant,
    /// How many connections to masters had broken.
    breaks: u64,
    masters: Vec<Address>,
    is_in_doubt: bool,
    /// Until when records are not written again.
    pause: Instant,
}

impl Doubt {
    pub(super) fn new(store: Arc<Store>) -> Self {
        let now = Instant::now();
        let (next, breaks, masters) = (now + CHECK, 0, Vec::new());
        Self { store, next, breaks, masters, is_in_doubt: false, pause: now }
    }

    /// Waits until it is time for the next look.
    pub(super) async fn is_due(&self) {
        let is_needed = self.store.keeps_live()
            && self.store.pool().connector().settings().kind == Kind::Cluster;
        if is_needed {
            sleep_until(self.next).await;
        } else {
            std::future::pending().await
        }
    }

    /// Whether the records must be written again now.
    pub(super) fn look(&mut self) -> bool {
        let now = Instant::now();
        self.next = now + CHECK;
        let pool = self.store.pool();
        let (breaks, masters) = (pool.breaks(), pool.connector().known_masters());
        // The first ones are no news, and nobody writes to a cluster that names none.
        let has_new = !self.masters.is_empty() && !masters.is_empty() && self.masters != masters;
        self.is_in_doubt |= has_new || self.breaks != breaks;
        self.breaks = breaks;
        if !masters.is_empty() {
            self.masters = masters;
        }
        let is_time = self.is_in_doubt && now >= self.pause;
        if is_time {
            self.is_in_doubt = false;
            self.pause = now + PAUSE;
        }
        is_time
    }
}
