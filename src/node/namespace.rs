//! The open namespaces, and the calls that JS makes for each packet and each room.
//!
//! These calls are free functions, and name the namespace by its place in a table of this JS thread:
//! napi-rs looks up a class and borrows the object for each method, which costs more than half of
//! a small call.

use std::cell::RefCell;
use std::sync::Arc;

use napi::bindgen_prelude::Uint8Array;
use napi_derive::napi;
use slab::Slab;

use super::{JsError, js_error};
use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::engine::left_out::Turn;
use crate::engine::namespaces::Namespace;
use crate::engine::wire::{Data, to_msgpack};

thread_local! {
    static OPEN: RefCell<Slab<Open>> = const { RefCell::new(Slab::new()) };
}

struct Open {
    engine: Arc<Engine>,
    namespace: Arc<Namespace>,
}

/// An open namespace. As long as JS has it, the calls below know its place.
#[napi]
pub struct NativeNamespace {
    handle: u32,
    place: u32,
}

impl NativeNamespace {
    pub(super) fn new(engine: Arc<Engine>, namespace: Arc<Namespace>) -> Self {
        let handle = namespace.handle;
        let place = OPEN.with_borrow_mut(|open| open.insert(Open { engine, namespace }));
        Self { handle, place: place as u32 }
    }
}

impl Drop for NativeNamespace {
    fn drop(&mut self) {
        // The engine is dropped outside of the borrow. An error means that the thread ends.
        let taken = OPEN.try_with(|open| open.borrow_mut().try_remove(self.place as usize));
        drop(taken);
    }
}

#[napi]
impl NativeNamespace {
    /// Names the namespace in events.
    #[napi(getter)]
    pub fn handle(&self) -> u32 {
        self.handle
    }

    /// Names the namespace in calls.
    #[napi(getter)]
    pub fn place(&self) -> u32 {
        self.place
    }
}

/// The first socket of a namespace has connected, or the last one has disconnected.
#[napi]
pub fn set_has_sockets(place: u32, has_sockets: bool) -> std::result::Result<(), JsError> {
    with(place, |open| {
        open.namespace.set_has_sockets(has_sockets);
        Ok(())
    })
}

/// A room has got its first member, or lost its last one. Returns the ID of the entry up to which
/// JS gets no broadcasts to the room, if the namespace has connection state recovery. `begun` and
/// `passed` are JS's [`Turn`].
#[napi]
pub fn set_room(
    place: u32,
    room: String,
    has_members: bool,
    begun: u32,
    passed: u32,
) -> std::result::Result<Option<String>, JsError> {
    with(place, |Open { engine, namespace }| {
        let left_out = engine.set_room(namespace, &room, has_members, Turn { begun, passed });
        Ok(namespace.recovery.then(|| left_out.to_string()))
    })
}

/// Writes a message to the stream. Its data is JSON text, or msgpack if it holds binary. The event
/// that ends the publish carries the ticket.
#[napi]
pub fn publish(
    place: u32,
    kind: u32,
    json: Option<String>,
    msgpack: Option<Uint8Array>,
) -> std::result::Result<u32, JsError> {
    let data = match (json, msgpack) {
        (Some(json), _) => Some(Data::Json(json.into())),
        (None, Some(msgpack)) => Some(Data::Msgpack(msgpack.as_ref().into())),
        (None, None) => None,
    };
    with(place, |Open { engine, namespace }| engine.publish(namespace, kind, data))
}

/// Writes messages to the stream, in order. Their data is JSON texts, joined by line breaks. Returns
/// the ticket of the first; those of the others follow. The end of each comes as an event, also if
/// it is refused.
#[napi]
pub fn publish_all(place: u32, kind: u32, jsons: String) -> std::result::Result<u32, JsError> {
    let data = jsons.split('\n').map(|json| Data::Json(json.into())).collect();
    with(place, |Open { engine, namespace }| Ok(engine.publish_all(namespace, kind, data)))
}

/// Whether the queue of publishes takes `bytes` more.
#[napi]
pub fn has_room(place: u32, bytes: u32) -> std::result::Result<bool, JsError> {
    with(place, |Open { engine, namespace }| Ok(engine.has_room(namespace, bytes as usize)))
}

/// Writes a message whose data holds binary: JSON with `{"<placeholder>": <number>}` in place of
/// each attachment. Returns null if only JS can encode the data.
#[napi]
pub fn publish_binary(
    place: u32,
    kind: u32,
    json: String,
    placeholder: String,
    attachments: Vec<Uint8Array>,
) -> std::result::Result<Option<u32>, JsError> {
    let attachments: Vec<&[u8]> = attachments.iter().map(AsRef::as_ref).collect();
    let Some(msgpack) = to_msgpack(&json, &placeholder, &attachments) else { return Ok(None) };
    let data = Some(Data::Msgpack(msgpack.into()));
    with(place, |Open { engine, namespace }| engine.publish(namespace, kind, data)).map(Some)
}

fn with<T>(place: u32, call: impl FnOnce(&Open) -> Result<T>) -> std::result::Result<T, JsError> {
    OPEN.with_borrow(|open| match open.get(place as usize) {
        Some(open) => call(open),
        // JS has let go of the namespace.
        None => Err(Error::Closed),
    })
    .map_err(js_error)
}
