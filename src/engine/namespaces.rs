//! Which namespaces are open here, and which of their rooms have a local member: the reader drops a
//! broadcast without a recipient here.
//!
//! JS keeps the rooms exact. The rooms at the moment when JS takes a broadcast decide who gets it.
//! So the reader drops broadcasts only while no event waits for JS; otherwise the inbox decides
//! when JS takes the broadcast. JS may change the rooms while it handles an event (a join, a leave,
//! a disconnect, any handler of the user's). Such an event carries a pin: until JS has handled it,
//! its namespace gets all broadcasts. Otherwise a join followed by an emit in one slice would lose
//! the emit.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::presence::Presence;
use super::wire::{BroadcastHead, EntryId};

/// Names an open namespace between JS and the engine.
pub(crate) type NamespaceHandle = u32;

/// An open namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) handle: NamespaceHandle,
    pub(crate) name: Arc<str>,
    /// Whether packets carry their offset.
    pub(crate) recovery: bool,
    /// Whether the engine encodes packets. JS does it if the user has a parser of their own.
    pub(crate) encodes: bool,
    interest: Mutex<Interest>,
    pins: AtomicUsize,
    presence: Mutex<Presence>,
}

#[derive(Debug)]
struct Interest {
    has_sockets: bool,
    rooms: HashSet<Box<str>>,
    /// The last broadcast that was left out, since it had no recipient here.
    left_out: EntryId,
}

/// While it lives, its namespace gets all broadcasts. It goes with an event until JS has handled
/// the event.
pub(crate) struct InterestPin(Arc<Namespace>);

impl Namespace {
    /// A namespace without sockets.
    pub(crate) fn new(handle: NamespaceHandle, name: &str, recovery: bool, encodes: bool) -> Self {
        let interest =
            Interest { has_sockets: false, rooms: HashSet::new(), left_out: EntryId::ZERO };
        Self {
            handle,
            name: name.into(),
            recovery,
            encodes,
            interest: Mutex::new(interest),
            pins: AtomicUsize::new(0),
            presence: Mutex::default(),
        }
    }

    /// The first socket has connected, or the last one has disconnected.
    pub(crate) fn set_has_sockets(&self, has_sockets: bool) {
        self.interest().has_sockets = has_sockets;
    }

    /// A room has got its first member, or lost its last one. Returns the ID of the last broadcast
    /// that was left out: JS gets no broadcasts to the room up to there.
    pub(crate) fn set_room(&self, room: &str, has_members: bool) -> EntryId {
        let mut interest = self.interest();
        if has_members {
            interest.rooms.insert(room.into());
        } else {
            interest.rooms.remove(room);
        }
        interest.left_out
    }

    /// Lets all broadcasts of the namespace through until the pin is dropped.
    pub(crate) fn pin(self: &Arc<Self>) -> InterestPin {
        self.pins.fetch_add(1, Ordering::SeqCst);
        InterestPin(self.clone())
    }

    /// Whether the broadcast `id` may have a recipient here. If not, it is noted as left out, under the
    /// same lock: a room that gets its first member after that learns that this broadcast did not come.
    pub(crate) fn check_interest(&self, id: EntryId, head: &BroadcastHead) -> bool {
        if self.pins.load(Ordering::SeqCst) > 0 {
            return true;
        }
        let mut interest = self.interest();
        let wanted = if head.rooms().is_empty() {
            interest.has_sockets
        } else {
            // JS compares what is no name.
            !head.rooms().are_names()
                || head.rooms().names().any(|name| interest.rooms.contains(name))
        };
        if !wanted {
            // Broadcasts come in the stream's order, whose IDs may fall.
            interest.left_out = id;
        }
        wanted
    }

    /// The other nodes in it, if requests travel in the stream.
    pub(crate) fn presence(&self) -> MutexGuard<'_, Presence> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn interest(&self) -> MutexGuard<'_, Interest> {
        self.interest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InterestPin {
    fn drop(&mut self) {
        self.0.pins.fetch_sub(1, Ordering::SeqCst);
    }
}

impl fmt::Debug for InterestPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InterestPin({})", self.0.handle)
    }
}

/// The open namespaces by name.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    open: RwLock<HashMap<Arc<str>, Arc<Namespace>>>,
    next: AtomicU32,
}

impl Namespaces {
    /// Opens a namespace. A namespace that is already open gets a new handle: its adapter was
    /// replaced.
    pub(crate) fn open(&self, nsp: &str, recovery: bool, encodes: bool) -> Arc<Namespace> {
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        let namespace = Arc::new(Namespace::new(handle, nsp, recovery, encodes));
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.insert(namespace.name.clone(), namespace.clone());
        namespace
    }

    /// Closes a namespace and returns it, unless it was opened again meanwhile.
    pub(crate) fn close(&self, nsp: &str, handle: NamespaceHandle) -> Option<Arc<Namespace>> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.get(nsp).is_none_or(|namespace| namespace.handle != handle) {
            return None;
        }
        open.remove(nsp)
    }

    /// All open namespaces.
    pub(crate) fn all(&self) -> Vec<Arc<Namespace>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.values().cloned().collect()
    }

    pub(crate) fn get(&self, nsp: &str) -> Option<Arc<Namespace>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(nsp).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: EntryId = EntryId { ms: 1, seq: 0 };

    fn to(rooms: &str) -> BroadcastHead {
        let json = format!(
            r#"{{"opts":{{"rooms":{rooms},"except":[]}},"packet":{{"type":2,"data":["e"]}}}}"#
        );
        BroadcastHead::from_json(&json).unwrap()
    }

    #[test]
    fn closing_an_old_handle_leaves_the_new_one_open() {
        let namespaces = Namespaces::default();
        let old = namespaces.open("/a", false, true).handle;
        let new = namespaces.open("/a", false, true).handle;
        assert!(namespaces.close("/a", old).is_none());
        assert_eq!(namespaces.get("/a").unwrap().handle, new);
        assert_eq!(namespaces.close("/a", new).unwrap().handle, new);
        assert!(namespaces.get("/a").is_none());
    }

    #[test]
    fn wants_what_has_a_recipient() {
        let namespace = Namespace::new(0, "/", false, true);
        assert!(!namespace.check_interest(ID, &to("[]")));
        namespace.set_has_sockets(true);
        assert_eq!(namespace.set_room("r", true), ID, "what was left out before");
        assert!(namespace.check_interest(ID, &to("[]")));
        assert!(namespace.check_interest(ID, &to(r#"["q","r"]"#)));
        assert!(!namespace.check_interest(ID, &to(r#"["q"]"#)));
        assert!(namespace.check_interest(ID, &to("[5]")), "cannot be judged here");
        namespace.set_room("r", false);
        namespace.set_has_sockets(false);
        assert!(
            !namespace.check_interest(ID, &to(r#"["r"]"#))
                && !namespace.check_interest(ID, &to("[]"))
        );
    }

    #[test]
    fn held_open_it_wants_everything() {
        let namespace = Arc::new(Namespace::new(0, "/", false, true));
        let pins = [namespace.pin(), namespace.pin()];
        assert!(namespace.check_interest(ID, &to(r#"["q"]"#)));
        let [first, second] = pins;
        drop(first);
        assert!(namespace.check_interest(ID, &to(r#"["q"]"#)));
        drop(second);
        assert!(!namespace.check_interest(ID, &to(r#"["q"]"#)));
    }
}
