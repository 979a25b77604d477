//! Names of the servers to which connections lead.

use crate::engine::address::Address;

/// Which server a connection leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// The only server, or the master that the sentinels name at the time of the connect.
    Master,
    /// A server of a cluster.
    Node {
        address: Address,
        /// True if this server is taking over the key's slot. Each command then follows an ASKING.
        asking: bool,
    },
}

impl Target {
    /// A server of a cluster that serves its slots.
    pub(super) fn node(address: Address) -> Self {
        Target::Node { address, asking: false }
    }
}
