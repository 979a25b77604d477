//! Credentials from the provider in JS. A connection attempt asks for them; JS also passes on new
//! ones when they have changed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::error::{Error, Result};
use super::event::Notice;
use super::inbox::Inbox;
use super::redis::{Credentials, CredentialsSource, RENEWING};
use super::warnings::Warnings;

/// How long a connection attempt waits for JS to give the credentials.
const LIMIT: Duration = Duration::from_secs(10);

/// The connection attempts that wait for credentials from JS, and the channel by which open
/// connections get new ones.
pub(crate) struct CredentialRequests {
    inbox: Arc<Inbox>,
    warnings: Arc<Warnings>,
    next: AtomicU32,
    waiting: Mutex<HashMap<u32, oneshot::Sender<Result<Credentials>>>>,
    renewed: watch::Sender<Option<Credentials>>,
}

impl CredentialRequests {
    pub(crate) fn new(inbox: Arc<Inbox>, warnings: Arc<Warnings>) -> Self {
        Self {
            inbox,
            warnings,
            next: AtomicU32::new(0),
            waiting: Mutex::default(),
            renewed: watch::Sender::new(None),
        }
    }

    /// What the connector needs to get credentials from JS.
    pub(crate) fn source(self: Arc<Self>) -> CredentialsSource {
        let renewed = self.renewed.subscribe();
        CredentialsSource { ask: Arc::new(move || Box::pin(self.clone().request())), renewed }
    }

    async fn request(self: Arc<Self>) -> Result<Credentials> {
        let request = self.next.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.waiting().insert(request, answer);
        self.inbox.push(Notice::CredentialsWanted { request });
        let result = tokio::time::timeout(LIMIT, answered).await;
        self.waiting().remove(&request);
        match result {
            Ok(Ok(credentials)) => credentials,
            _ => {
                let reason = format!("it gave no credentials within {} ms", LIMIT.as_millis());
                Err(Error::Provider { reason })
            }
        }
    }

    /// Passes JS's answer to the connection attempt that asked.
    pub(crate) fn provide(&self, request: u32, credentials: Result<Credentials>) {
        if let Some(answer) = self.waiting().remove(&request) {
            // The attempt may have given up.
            let _ = answer.send(credentials);
        }
    }

    /// Authenticates all open connections again, with these credentials.
    pub(crate) fn renew(&self, credentials: Credentials) {
        // Redis may accept these even if it refused the ones before.
        self.warnings.clear(RENEWING);
        self.renewed.send_replace(Some(credentials));
    }

    /// Warns that the provider has failed. Open connections keep the credentials that they have.
    pub(crate) fn failed(&self, reason: String) {
        self.warnings.warn(RENEWING, &Error::Provider { reason });
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<u32, oneshot::Sender<Result<Credentials>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_provider_that_hangs_has_failed() {
        let inbox = Arc::new(Inbox::new(1 << 20, || {}));
        let requests = CredentialRequests::new(inbox.clone(), Arc::new(Warnings::new(inbox)));
        let requests = Arc::new(requests);
        let error = requests.clone().request().await.unwrap_err();
        let words = "the credentials provider has failed: it gave no credentials within 10000 ms";
        assert_eq!(error.to_string(), words);
        assert!(requests.waiting().is_empty());
    }
}
