//! What the writer has last seen of the master's replication. The reader finds a replica by it, and
//! judges by it whether the replica still has what the master has.

use std::sync::Arc;

use tokio::time::Instant;

use crate::engine::redis::Replication;

/// Tells servers apart.
#[derive(Debug, Clone)]
pub(crate) struct ServerName {
    /// As it was dialled. In a cluster, that is enough.
    pub(crate) address: String,
    /// Its `run_id`; `None` in a cluster, or if it is not known.
    pub(crate) run_id: Option<Arc<str>>,
}

impl PartialEq for ServerName {
    /// An address may lead to several servers, and several addresses to one.
    fn eq(&self, other: &Self) -> bool {
        match (&self.run_id, &other.run_id) {
            (Some(ours), Some(theirs)) => ours == theirs,
            (None, None) => self.address == other.address,
            _ => false,
        }
    }
}

/// A master as the writer has seen it.
#[derive(Debug, Clone)]
pub(crate) struct MasterSeen {
    pub(crate) server: ServerName,
    pub(crate) replication: Replication,
    /// When the writer asked for it.
    pub(crate) asked: Instant,
}
