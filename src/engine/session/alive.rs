//! Shows in Redis that this node is alive, while it keeps the sessions of connected clients there.
//! If the node dies, its sessions are honoured for their time from its last sign of life.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::store::Store;

pub(super) struct Alive {
    store: Arc<Store>,
    interval: Duration,
    /// A node may be silent for this long before it counts as dead.
    timeout: Duration,
    /// How long sessions are honoured; `None` before the first one.
    keep: Option<Duration>,
    next: Instant,
}

impl Alive {
    pub(super) fn new(store: Arc<Store>, interval: Duration, timeout: Duration) -> Self {
        Self { store, interval, timeout, keep: None, next: Instant::now() }
    }

    /// This node keeps a session that is honoured for the time `keep`.
    pub(super) fn begin(&mut self, keep: Duration) {
        if self.keep.is_none_or(|longest| longest < keep) {
            self.keep = Some(keep);
            self.next = Instant::now();
        }
    }

    /// Redis may have lost the key.
    pub(super) fn hurry(&mut self) {
        self.next = Instant::now();
    }

    /// Waits until it is time for the next sign of life.
    pub(super) async fn is_due(&self) {
        match self.keep {
            Some(_) => sleep_until(self.next).await,
            None => std::future::pending().await,
        }
    }

    /// Gives a sign of life.
    pub(super) fn show(&mut self) -> impl Future<Output = ()> + use<> {
        self.next = Instant::now() + self.interval;
        let (store, keep) = (self.store.clone(), self.keep.unwrap_or_default() + self.timeout);
        async move {
            // Other tasks report outages. Without Redis, sessions cannot be restored anyway.
            if let Err(error) = store.show_alive(keep).await {
                tracing::debug!("no sign of life: {error}");
            }
        }
    }

    /// This node ends with all its sessions saved.
    pub(super) async fn end(&mut self) {
        if self.keep.take().is_some()
            && let Err(error) = self.store.hide().await
        {
            tracing::debug!("the sign of life is not taken back: {error}");
        }
    }
}
