//! Servers that the slots of a cluster do not name any more. After a failover the old master is named
//! again when it has told the others that it is a replica now, which takes some seconds. It keeps its
//! subscribers meanwhile, and passes on to them what is published.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::target::Target;
use crate::engine::address::Address;

/// How long a server may still have subscribers. Servers of a cluster hear from each other within half
/// of `cluster-node-timeout`, which is 15 s by default.
const LIMIT: Duration = Duration::from_secs(10);

/// When servers were no longer named.
#[derive(Default)]
pub(crate) struct Unnamed(Mutex<HashMap<Address, Instant>>);

impl Unnamed {
    /// Notes that the slots named the servers `before`, and name those in `after` now.
    pub(super) fn compare(&self, before: &[Address], after: &[Address]) {
        let mut since = self.lock();
        since.retain(|address, since| since.elapsed() < LIMIT && !after.contains(address));
        for address in before.iter().filter(|address| !after.contains(address)) {
            since.insert(address.clone(), Instant::now());
        }
    }

    /// The servers that may still have subscribers.
    pub(crate) fn recent(&self) -> Vec<Target> {
        let since = self.lock();
        let recent = since.iter().filter(|(_, since)| since.elapsed() < LIMIT);
        recent.map(|(address, _)| Target::node(address.clone())).collect()
    }

    /// Notes that a server does not answer.
    pub(crate) fn has_gone(&self, target: &Target) {
        if let Target::Node { address, .. } = target {
            self.lock().remove(address);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Address, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn servers_stay_for_a_while_unless_they_are_named_again() {
        let [a, b, c] = ["a", "b", "c"].map(|host| Address::Tcp(host.to_owned(), 1));
        let unnamed = Unnamed::default();
        unnamed.compare(&[], &[a.clone(), b.clone(), c.clone()]);
        assert!(unnamed.recent().is_empty());
        unnamed.compare(&[a.clone(), b.clone(), c.clone()], std::slice::from_ref(&a));
        advance(LIMIT / 2).await;
        unnamed.compare(std::slice::from_ref(&a), &[a.clone(), b.clone()]);
        assert_eq!(unnamed.recent(), [Target::node(c)]);
        advance(LIMIT / 2).await;
        assert!(unnamed.recent().is_empty());
    }
}
