//! Which namespaces are open here, and which rooms have a local member: what nobody here wants ends
//! in the reader.
//!
//! JS keeps the rooms exact. But what it has not handled yet may change them (a join, a leave, a
//! disconnect, any handler of the user's), so such events hold their namespace open until they are
//! handled: the broadcasts behind them pass unfiltered, or a join followed by an emit in one batch
//! would lose the emit.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::inbox::NamespaceHandle;
use super::wire::{BroadcastHead, Room};

/// An open namespace.
#[derive(Debug)]
pub struct Namespace {
    /// Names it between JS and the engine.
    pub handle: NamespaceHandle,
    /// Whether packets carry their offset.
    pub recovery: bool,
    interest: Mutex<Interest>,
    holds: AtomicUsize,
}

#[derive(Debug, Default)]
struct Interest {
    has_sockets: bool,
    rooms: HashSet<Box<str>>,
}

/// Keeps a namespace open while it lives: goes with the event until JS has handled it.
pub struct Hold(Arc<Namespace>);

impl Namespace {
    /// A namespace without sockets.
    pub fn new(handle: NamespaceHandle, recovery: bool) -> Self {
        Self { handle, recovery, interest: Mutex::default(), holds: AtomicUsize::new(0) }
    }

    /// The first socket has come, or the last one has gone.
    pub fn set_has_sockets(&self, has_sockets: bool) {
        self.interest().has_sockets = has_sockets;
    }

    /// A room has got its first member, or lost its last one.
    pub fn set_room(&self, room: &str, has_members: bool) {
        let mut interest = self.interest();
        if has_members {
            interest.rooms.insert(room.into());
        } else {
            interest.rooms.remove(room);
        }
    }

    /// Whether something is on its way to JS that may change rooms.
    pub fn is_held(&self) -> bool {
        self.holds.load(Ordering::SeqCst) > 0
    }

    /// Holds the namespace open.
    pub fn hold(self: &Arc<Self>) -> Hold {
        self.holds.fetch_add(1, Ordering::SeqCst);
        Hold(self.clone())
    }

    /// Whether a broadcast may have a recipient here.
    pub fn wants(&self, head: &BroadcastHead) -> bool {
        if self.is_held() {
            return true;
        }
        let interest = self.interest();
        if head.rooms().is_empty() {
            return interest.has_sockets;
        }
        head.rooms().iter().any(|room| match room {
            Room::Name(name) => interest.rooms.contains(name),
            Room::Number(_) | Room::Other(_) => true,
        })
    }

    fn interest(&self) -> MutexGuard<'_, Interest> {
        self.interest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Ordering::SeqCst);
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hold({})", self.0.handle)
    }
}

/// The open namespaces by name.
#[derive(Debug, Default)]
pub struct Namespaces {
    open: RwLock<HashMap<Box<str>, Arc<Namespace>>>,
    next: AtomicU32,
}

impl Namespaces {
    /// Opens a namespace. One that is open already gets a new handle: its adapter was replaced.
    pub fn open(&self, nsp: &str, recovery: bool) -> Arc<Namespace> {
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        let namespace = Arc::new(Namespace::new(handle, recovery));
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.insert(nsp.into(), namespace.clone());
        namespace
    }

    /// Closes a namespace, unless it was opened again meanwhile; true when it was closed.
    pub fn close(&self, nsp: &str, handle: NamespaceHandle) -> bool {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.get(nsp).is_none_or(|namespace| namespace.handle != handle) {
            return false;
        }
        open.remove(nsp);
        true
    }

    /// An open namespace.
    pub fn get(&self, nsp: &str) -> Option<Arc<Namespace>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(nsp).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::wire::Data;

    fn to(rooms: &str) -> BroadcastHead {
        let json = format!(
            r#"{{"opts":{{"rooms":{rooms},"except":[]}},"packet":{{"type":2,"data":["e"]}}}}"#
        );
        BroadcastHead::decode(&Data::Json(json.into())).unwrap()
    }

    #[test]
    fn closing_an_old_handle_leaves_the_new_one_open() {
        let namespaces = Namespaces::default();
        let old = namespaces.open("/a", false).handle;
        let new = namespaces.open("/a", false).handle;
        assert!(!namespaces.close("/a", old));
        assert_eq!(namespaces.get("/a").unwrap().handle, new);
        assert!(namespaces.close("/a", new));
        assert!(namespaces.get("/a").is_none());
    }

    #[test]
    fn wants_what_has_a_recipient() {
        let namespace = Namespace::new(0, false);
        assert!(!namespace.wants(&to("[]")));
        namespace.set_has_sockets(true);
        namespace.set_room("r", true);
        assert!(namespace.wants(&to("[]")));
        assert!(namespace.wants(&to(r#"["q","r"]"#)));
        assert!(!namespace.wants(&to(r#"["q"]"#)));
        assert!(namespace.wants(&to("[5]")), "cannot be judged here");
        namespace.set_room("r", false);
        namespace.set_has_sockets(false);
        assert!(!namespace.wants(&to(r#"["r"]"#)) && !namespace.wants(&to("[]")));
    }

    #[test]
    fn held_open_it_wants_everything() {
        let namespace = Arc::new(Namespace::new(0, false));
        let holds = [namespace.hold(), namespace.hold()];
        assert!(namespace.wants(&to(r#"["q"]"#)));
        let [first, second] = holds;
        drop(first);
        assert!(namespace.wants(&to(r#"["q"]"#)));
        drop(second);
        assert!(!namespace.wants(&to(r#"["q"]"#)));
    }
}
