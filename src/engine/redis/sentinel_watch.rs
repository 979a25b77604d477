//! Listens to the sentinels, so that the engine leaves an old master at once.
//!
//! After a failover that somebody asked for, or when the sentinels cannot reach the master but the
//! nodes can, the old master runs on. The sentinels take some ten seconds to make it a replica of the
//! new one, and what is written to it meanwhile is lost.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::{Backoff, Connector, Push, Target};
use crate::engine::address::Address;
use crate::engine::error::Result;

/// The time between two checks whether a sentinel still answers.
const CHECK: Duration = Duration::from_secs(10);
/// The longest time between two attempts.
const LONGEST: Duration = Duration::from_secs(10);

/// Follows the sentinels' reports.
pub(crate) struct SentinelWatch {
    connector: Arc<Connector>,
}

impl SentinelWatch {
    pub(crate) fn new(connector: Arc<Connector>) -> Self {
        Self { connector }
    }

    /// Runs until it is dropped; without sentinels it returns at once.
    pub(crate) async fn run(self) {
        let sentinels = self.connector.sentinels();
        if sentinels.is_empty() {
            return;
        }
        let reports = Arc::new(Notify::new());
        let listening = sentinels.iter().map(|sentinel| self.listen(sentinel, &reports));
        tokio::join!(join_all(listening), self.follow(&reports));
    }

    /// Listens to one sentinel.
    async fn listen(&self, sentinel: &Address, reports: &Arc<Notify>) {
        let mut backoff = Backoff::new(None, LONGEST);
        loop {
            match self.listen_once(sentinel, reports, &mut backoff).await {
                Ok(()) => tracing::debug!("the sentinel {sentinel} has closed the connection"),
                Err(error) => tracing::debug!("the sentinel {sentinel} is not heard: {error}"),
            }
            backoff.wait().await;
        }
    }

    /// Listens until the connection ends.
    async fn listen_once(
        &self,
        sentinel: &Address,
        reports: &Arc<Notify>,
        backoff: &mut Backoff,
    ) -> Result<()> {
        let ended = Arc::new(Notify::new());
        let on_push = {
            let (name, reports, ended) =
                (self.connector.master_name().to_owned(), reports.clone(), ended.clone());
            move |push: Push<'_>| match push {
                Push::Ended => ended.notify_one(),
                Push::Message { payload, .. } if is_about(payload, &name) => reports.notify_one(),
                _ => {}
            }
        };
        let mut subscriber = self.connector.listen_to_sentinel(sentinel, on_push).await?;
        // It may have reported something before.
        reports.notify_one();
        loop {
            tokio::select! {
                () = ended.notified() => return Ok(()),
                () = sleep(CHECK) => subscriber.ping().await?,
            }
            backoff.reset();
        }
    }

    /// After each report, connects to the master that the sentinels name then. All other connections
    /// learn of it by that; see [`super::current_server`].
    async fn follow(&self, reports: &Notify) {
        let mut followed = None;
        loop {
            reports.notified().await;
            let mut backoff = Backoff::new(None, LONGEST);
            while let Err(error) = self.follow_to(&mut followed).await {
                tracing::debug!("the master that the sentinels name is not reached: {error}");
                tokio::select! {
                    () = backoff.wait() => {}
                    () = reports.notified() => {}
                }
            }
        }
    }

    async fn follow_to(&self, followed: &mut Option<Address>) -> Result<()> {
        let master = self.connector.ask_again().await?;
        if followed.as_ref() != Some(&master) {
            self.connector.connect(&Target::Master).await?;
            *followed = Some(master);
        }
        Ok(())
    }
}

/// Whether a report is about this master. It reads `<name> <old ip> <old port> <new ip> <new port>`.
fn is_about(report: &[u8], name: &str) -> bool {
    report.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b" "))
}
