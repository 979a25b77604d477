//! What the writer has last seen of the master's replication. The reader finds a replica by it, and
//! judges by it whether the replica still has what the master has.

use std::sync::Arc;

use tokio::time::Instant;

use crate::engine::redis::Replication;

/// Tells servers apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerName {
    /// As it was dialled. In a cluster, that is enough.
    pub(crate) address: String,
    /// Its `run_id`; `None` in a cluster, or if it is not known.
    pub(crate) run_id: Option<Arc<str>>,
}

/// A master as the writer has seen it.
#[derive(Debug, Clone)]
pub(crate) struct MasterSeen {
    pub(crate) server: ServerName,
    pub(crate) replication: Replication,
    /// When the writer asked for it.
    pub(crate) asked: Instant,
}
