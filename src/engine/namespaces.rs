//! Which namespaces are open here, and which of their rooms have a local member: the reader drops a
//! broadcast without a recipient here.
//!
//! JS keeps the rooms exact. The rooms at the moment when a broadcast's turn in JS comes decide who
//! gets it. So the reader drops broadcasts only while no event waits for JS; otherwise the inbox
//! decides when JS takes the broadcast, and corrects that for rooms that get their first member
//! while JS handles the slice (`left_out.rs`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::presence::Presence;
use super::room_set::RoomSet;
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
    presence: Mutex<Presence>,
}

#[derive(Debug)]
struct Interest {
    has_sockets: bool,
    rooms: RoomSet,
    /// The last broadcast that was left out, since it had no recipient here.
    left_out: EntryId,
}

impl Namespace {
    /// A namespace without sockets.
    pub(crate) fn new(handle: NamespaceHandle, name: &str, recovery: bool, encodes: bool) -> Self {
        let interest =
            Interest { has_sockets: false, rooms: RoomSet::default(), left_out: EntryId::ZERO };
        Self {
            handle,
            name: name.into(),
            recovery,
            encodes,
            interest: Mutex::new(interest),
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
            interest.rooms.insert(room);
        } else {
            interest.rooms.remove(room);
        }
        interest.left_out
    }

    /// Whether a broadcast may have a recipient here.
    pub(crate) fn wants(&self, head: &BroadcastHead) -> bool {
        self.interest().wants(head)
    }

    /// Whether the broadcast `id` may have a recipient here. If not, it is noted as left out, under the
    /// same lock: a room that gets its first member after that learns that this broadcast did not come.
    pub(crate) fn check_interest(&self, id: EntryId, head: &BroadcastHead) -> bool {
        let mut interest = self.interest();
        let is_wanted = interest.wants(head);
        if !is_wanted {
            // Broadcasts come in the stream's order, whose IDs may fall.
            interest.left_out = id;
        }
        is_wanted
    }

    /// Notes that the broadcast `id` was left out.
    pub(crate) fn leave_out(&self, id: EntryId) {
        self.interest().left_out = id;
    }

    /// The other nodes in it, if requests travel in the stream.
    pub(crate) fn presence(&self) -> MutexGuard<'_, Presence> {
        self.presence.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn interest(&self) -> MutexGuard<'_, Interest> {
        self.interest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Interest {
    fn wants(&self, head: &BroadcastHead) -> bool {
        if head.rooms().is_empty() {
            return self.has_sockets;
        }
        // JS compares what is no name.
        !head.rooms().are_names() || head.rooms().names().any(|name| self.rooms.contains(name))
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
}
