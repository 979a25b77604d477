//! The N-API face of the engine: the only module that names napi. `lib/engine.js` is its user.

mod batch;
mod event;
mod stats;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use napi::bindgen_prelude::{Function, Uint8Array};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::engine::event::Event;
use crate::engine::namespaces::{InterestPin, Namespace};
use crate::engine::options::Options;
use crate::engine::redis::{Credentials, Settings};
use crate::engine::wire::{Data, to_msgpack};
use batch::{NativeBatch, Packer};
use stats::NativeStats;

/// A JS error whose `code` is one of ours.
type JsError = napi::Error<&'static str>;

fn js_error(error: Error) -> JsError {
    JsError::new(error.code(), error.to_string())
}

/// The engine's version. `lib/native.js` takes no other one than its own.
#[napi]
#[allow(unreachable_pub, reason = "napi takes public constants only")]
#[cfg_attr(test, expect(dead_code, reason = "napi registers no constants in tests"))]
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One node's engine. It runs on threads of its own; JS drains its events.
#[napi]
pub struct NativeEngine {
    engine: Arc<Engine>,
    being_handled: Mutex<Vec<InterestPin>>,
}

/// An open namespace.
#[napi]
pub struct NativeNamespace {
    engine: Arc<Engine>,
    namespace: Arc<Namespace>,
}

#[napi]
impl NativeNamespace {
    /// Stands in the namespace's events.
    #[napi(getter)]
    pub fn handle(&self) -> u32 {
        self.namespace.handle
    }

    /// The first socket has come, or the last one has gone.
    #[napi]
    pub fn set_has_sockets(&self, has_sockets: bool) {
        self.namespace.set_has_sockets(has_sockets);
    }

    /// A room has got its first member, or lost its last one. Returns the entry up to which
    /// broadcasts to the room did not come.
    #[napi]
    pub fn set_room(&self, room: String, has_members: bool) -> String {
        self.engine.set_room(&self.namespace, &room, has_members).to_string()
    }

    /// Writes a message to the stream; its data is JSON text, or msgpack where it holds binary. The
    /// ticket comes back with the event that ends it.
    #[napi]
    pub fn publish(
        &self,
        kind: u32,
        json: Option<String>,
        msgpack: Option<Uint8Array>,
    ) -> std::result::Result<u32, JsError> {
        let data = match (json, msgpack) {
            (Some(json), _) => Some(Data::Json(json.into())),
            (None, Some(msgpack)) => Some(Data::Msgpack(msgpack.as_ref().into())),
            (None, None) => None,
        };
        self.engine.publish(&self.namespace, kind, data).map_err(js_error)
    }

    /// Writes a message whose data holds binary: JSON with `{"<placeholder>": <number>}` in its
    /// place. Nothing comes back when only JS knows how to encode that.
    #[napi]
    pub fn publish_binary(
        &self,
        kind: u32,
        json: String,
        placeholder: String,
        attachments: Vec<Uint8Array>,
    ) -> std::result::Result<Option<u32>, JsError> {
        let attachments: Vec<&[u8]> = attachments.iter().map(AsRef::as_ref).collect();
        let Some(msgpack) = to_msgpack(&json, &placeholder, &attachments) else { return Ok(None) };
        let data = Some(Data::Msgpack(msgpack.into()));
        self.engine.publish(&self.namespace, kind, data).map(Some).map_err(js_error)
    }
}

#[napi]
impl NativeEngine {
    /// Starts an engine. `settings` and `options` are JSON; `wake` is called, without keeping the
    /// process alive, when there is something to drain.
    #[napi(constructor)]
    pub fn new(
        settings: String,
        options: String,
        debug: bool,
        wake: Function<'_, (), ()>,
    ) -> std::result::Result<Self, JsError> {
        let settings: Settings = from_json("connection settings", &settings).map_err(js_error)?;
        let options: Options = from_json("options", &options).map_err(js_error)?;
        let wake = wake
            .build_threadsafe_function::<()>()
            .weak::<true>()
            .callee_handled::<false>()
            .build()
            .map_err(|e| {
                js_error(Error::Settings { what: "wake", reason: e.reason.to_string() })
            })?;
        let wake = move || {
            // Fails only while the environment ends, when nobody drains any more.
            let _ = wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        };
        let engine = Engine::start(settings, options, debug, wake).map_err(js_error)?;
        Ok(Self { engine, being_handled: Mutex::default() })
    }

    /// Names this node, 16 hex digits.
    #[napi(getter)]
    pub fn uid(&self) -> String {
        self.engine.uid().to_owned()
    }

    /// Opens a namespace.
    #[napi]
    pub fn open(&self, nsp: String, recovery: bool, encodes: bool) -> NativeNamespace {
        let namespace = self.engine.open(&nsp, recovery, encodes);
        NativeNamespace { engine: self.engine.clone(), namespace }
    }

    /// Which stream a namespace is routed to; stands in `lost` events.
    #[napi]
    pub fn stream_index(&self, nsp: String) -> u32 {
        self.engine.stream(&nsp).index
    }

    /// Publishes a request to the other nodes, msgpack of the whole message.
    #[napi]
    pub fn request(&self, nsp: String, payload: Uint8Array) -> std::result::Result<(), JsError> {
        self.engine.request(&nsp, payload.to_vec()).map_err(js_error)
    }

    /// Publishes an answer to one node, msgpack of the whole message.
    #[napi]
    pub fn respond(
        &self,
        nsp: String,
        uid: String,
        payload: Uint8Array,
    ) -> std::result::Result<(), JsError> {
        self.engine.respond(&nsp, &uid, payload.to_vec()).map_err(js_error)
    }

    /// Asks who listens in a namespace; answered by an event.
    #[napi]
    pub fn count_subscribers(&self, call: u32, nsp: String, asked: Vec<String>) {
        self.engine.count_subscribers(call, &nsp, asked);
    }

    /// Keeps a session, msgpack, for `keep` ms.
    #[napi]
    pub fn persist_session(&self, pid: String, session: Uint8Array, keep: f64) {
        let keep = Duration::try_from_secs_f64(keep / 1_000.0).unwrap_or(Duration::ZERO);
        self.engine.persist_session(&pid, session.to_vec(), keep);
    }

    /// The ID of the entry up to which own entries were delivered here while the stream could not be
    /// read.
    #[napi]
    pub fn delivered_ahead(&self, nsp: String) -> String {
        self.engine.delivered_ahead(&nsp).to_string()
    }

    /// The ID of the entry behind which this node has begun to read a namespace's stream.
    #[napi]
    pub fn read_since(&self, nsp: String) -> String {
        self.engine.read_since(&nsp).to_string()
    }

    /// Gives a session back; answered by an event.
    #[napi]
    pub fn restore_session(
        &self,
        call: u32,
        nsp: String,
        pid: String,
        offset: String,
    ) -> std::result::Result<(), JsError> {
        self.engine.restore_session(call, &nsp, &pid, &offset).map_err(js_error)
    }

    /// Closes a namespace; answered by an event once what it published is out.
    #[napi]
    pub fn close_namespace(&self, call: u32, nsp: String, handle: u32) {
        self.engine.close_namespace(call, &nsp, handle);
    }

    /// Ends the engine; answered by its last event.
    #[napi]
    pub fn close(&self, call: u32) {
        self.engine.close(call);
    }

    /// Lets go of `wake`, which refers to whoever holds this engine: after the end only.
    #[napi]
    pub fn release(&self) {
        self.engine.inbox().release();
    }

    /// Answers a `credentials` event; without a `failure` with what the provider gave.
    #[napi]
    pub fn provide_credentials(
        &self,
        request: u32,
        username: Option<String>,
        password: Option<String>,
        failure: Option<String>,
    ) {
        let credentials = match failure {
            Some(reason) => Err(Error::Provider { reason }),
            None => Ok(Credentials { username, password }),
        };
        self.engine.provide_credentials(request, credentials);
    }

    /// The provider has new credentials.
    #[napi]
    pub fn renew_credentials(&self, username: Option<String>, password: Option<String>) {
        self.engine.renew_credentials(Credentials { username, password });
    }

    /// The provider has failed while it was not asked.
    #[napi]
    pub fn credentials_failed(&self, reason: String) {
        self.engine.credentials_failed(reason);
    }

    /// Takes up to `most` events; nothing means that the next event wakes again.
    ///
    /// What the events before may have changed counts as done: they are handled when this is
    /// called.
    #[napi]
    pub fn drain(&self, most: u32) -> Option<NativeBatch> {
        let mut events = self.engine.inbox().drain(most as usize);
        let pins = events.iter_mut().flatten().filter_map(Event::take_pin).collect();
        // The new ones are there before the old ones go.
        let handled = std::mem::replace(
            &mut *self.being_handled.lock().unwrap_or_else(PoisonError::into_inner),
            pins,
        );
        drop(handled);
        let mut packer = Packer::default();
        events?.into_iter().for_each(|event| packer.add(event));
        Some(packer.finish())
    }

    /// The counters, and the state of the stream that a namespace is routed to.
    #[napi]
    pub fn stats(&self, nsp: String) -> NativeStats {
        NativeStats::of(&self.engine, &nsp)
    }
}

impl Drop for NativeEngine {
    /// The environment ends (a worker, say) without having closed the adapter.
    fn drop(&mut self) {
        self.engine.abort();
    }
}

fn from_json<T: serde::de::DeserializeOwned>(what: &'static str, json: &str) -> Result<T> {
    // serde_json's message could quote a value: only its place is said.
    serde_json::from_str(json)
        .map_err(|e| Error::Settings { what, reason: format!("at column {}", e.column()) })
}
