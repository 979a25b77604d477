//! The names of the keys in which sessions are kept.

use crate::engine::redis::hash_tag;

/// The keys of one client's session. In a cluster both are in one slot.
#[derive(Debug, Clone)]
pub(crate) struct SessionKeys {
    /// A string: the session of a client that has gone. Upstream nodes write and read it as well.
    pub(crate) ended: String,
    /// The client's private session ID.
    pub(crate) pid: String,
    /// The namespace that the client is connected to.
    pub(crate) nsp: String,
    /// A hash: the session's records, by generation (see `record.rs`). Only our nodes know it.
    pub(crate) live: String,
}

impl SessionKeys {
    /// `prefix` begins every session key; `pid` is the client's private session ID.
    pub(crate) fn new(prefix: &str, nsp: &str, pid: &str) -> Self {
        let ended = format!("{prefix}{pid}");
        let live = match hash_tag(&ended) {
            // The tag is in the prefix, since a session ID has no braces.
            Some(_) => format!("{prefix}live:{pid}"),
            None => format!("{prefix}live:{{{ended}}}"),
        };
        Self { ended, pid: pid.to_owned(), nsp: nsp.to_owned(), live }
    }
}

/// The key that shows that a node is alive, or was not long ago.
pub(super) fn node_key(prefix: &str, uid: &str) -> String {
    format!("{prefix}node:{uid}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_keys_begin_with_the_prefix_and_share_a_slot() {
        let plain = SessionKeys::new("sio:session:", "/", "p");
        assert_eq!(plain.live, "sio:session:live:{sio:session:p}");
        assert_eq!(hash_tag(&plain.live), Some(plain.ended.as_str()));
        let tagged = SessionKeys::new("{app}:", "/", "p");
        assert_eq!(tagged.live, "{app}:live:p");
        assert_eq!(hash_tag(&tagged.live), hash_tag(&tagged.ended));
    }
}
