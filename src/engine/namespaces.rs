//! Which namespaces are open here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{PoisonError, RwLock};

use super::inbox::NamespaceHandle;

/// The open namespaces and their handles.
#[derive(Debug, Default)]
pub struct Namespaces {
    open: RwLock<HashMap<Box<str>, NamespaceHandle>>,
    next: AtomicU32,
}

impl Namespaces {
    /// Opens a namespace. One that is open already gets a new handle: its adapter was replaced.
    pub fn open(&self, nsp: &str) -> NamespaceHandle {
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.insert(nsp.into(), handle);
        handle
    }

    /// Closes a namespace, unless it was opened again meanwhile; true when it was closed.
    pub fn close(&self, nsp: &str, handle: NamespaceHandle) -> bool {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.get(nsp) != Some(&handle) {
            return false;
        }
        open.remove(nsp);
        true
    }

    /// The handle of an open namespace.
    pub fn get(&self, nsp: &str) -> Option<NamespaceHandle> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(nsp).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_an_old_handle_leaves_the_new_one_open() {
        let namespaces = Namespaces::default();
        let old = namespaces.open("/a");
        let new = namespaces.open("/a");
        assert!(!namespaces.close("/a", old));
        assert_eq!(namespaces.get("/a"), Some(new));
        assert!(namespaces.close("/a", new));
        assert_eq!(namespaces.get("/a"), None);
    }
}
