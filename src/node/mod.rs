//! The N-API binding of the engine: the only module that uses napi. `lib/engine.js` calls it.

mod batch;
mod event;
pub mod namespace;
mod stats;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use napi::bindgen_prelude::{Either, Function, Uint8Array};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;

use crate::engine::Engine;
use crate::engine::error::{Error, Result};
use crate::engine::event::{CallId, Event};
use crate::engine::left_out::Turn;
use crate::engine::missed::MissedList;
use crate::engine::options::Options;
use crate::engine::redis::{Credentials, Settings};
use crate::engine::session::{Gone, LiveSession, What};
use batch::{JsBytes, NativeBatch, NativeLate, Packer};
use event::NativeMissed;
use namespace::NativeNamespace;
use stats::NativeStats;

/// A JS error whose `code` is one of ours.
type JsError = napi::Error<&'static str>;

fn js_error(error: Error) -> JsError {
    JsError::new(error.code(), error.to_string())
}

/// The engine's version. `lib/native.js` accepts only a binary of its own version.
#[napi]
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One node's engine. It runs on threads of its own; JS drains its events.
#[napi]
pub struct NativeEngine {
    engine: Arc<Engine>,
    /// What the restored clients of the slice that JS is handling missed, until JS has asked for it.
    missed: Mutex<HashMap<CallId, Arc<MissedList>>>,
}

/// The session of a connected client.
#[napi(object)]
pub struct NativeSession {
    /// The client's private session ID.
    pub pid: String,
    /// Numbers the restores of the session.
    pub generation: u32,
    /// Whether it has no record yet.
    pub is_new: bool,
    /// Where it ends in the bytes that hold several.
    pub end: u32,
}

#[napi]
impl NativeEngine {
    /// Starts an engine. `settings` and `options` are JSON. The engine calls `wake` when there is
    /// something to drain; `wake` does not keep the process alive.
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
            // This fails only while the environment ends, when nobody drains any more.
            let _ = wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        };
        let engine = Engine::start(settings, options, debug, wake).map_err(js_error)?;
        Ok(Self { engine, missed: Mutex::default() })
    }

    /// The node's uid, 16 hex digits.
    #[napi(getter)]
    pub fn uid(&self) -> String {
        self.engine.uid().to_owned()
    }

    /// Opens a namespace.
    #[napi]
    pub fn open(&self, nsp: String, recovery: bool, encodes: bool) -> NativeNamespace {
        let namespace = self.engine.open(&nsp, recovery, encodes);
        NativeNamespace::new(self.engine.clone(), namespace)
    }

    /// The index of a namespace's stream, as in `lost` events.
    #[napi]
    pub fn stream_index(&self, nsp: String) -> u32 {
        self.engine.stream(&nsp).index
    }

    /// Publishes a request to the other nodes; `payload` is msgpack of the whole message. With a
    /// `call`, it counts the nodes that listen as well. An event answers the call.
    #[napi]
    pub fn request(
        &self,
        nsp: String,
        payload: Uint8Array,
        call: Option<u32>,
    ) -> std::result::Result<(), JsError> {
        self.engine.request(&nsp, payload.to_vec(), call).map_err(js_error)
    }

    /// Publishes an answer to one node; `payload` is msgpack of the whole message.
    #[napi]
    pub fn respond(
        &self,
        nsp: String,
        uid: String,
        payload: Uint8Array,
    ) -> std::result::Result<(), JsError> {
        self.engine.respond(&nsp, &uid, payload.to_vec()).map_err(js_error)
    }

    /// Counts the nodes that listen in a namespace. An event answers the call.
    #[napi]
    pub fn count_subscribers(&self, call: u32, nsp: String, asked: Vec<String>) {
        self.engine.count_subscribers(call, &nsp, asked);
    }

    /// Saves the session of a client that has gone, msgpack, for `keep` ms.
    #[napi]
    pub fn end_session(
        &self,
        nsp: String,
        pid: String,
        generation: u32,
        session: Uint8Array,
        keep: f64,
    ) {
        let (session, keep) = (session.to_vec(), milliseconds(keep));
        self.engine.save_session(&nsp, &pid, generation, What::Ended { session, keep }, keep);
    }

    /// Keeps the sessions of connected clients. They are honoured for `keep` ms if this node dies.
    /// `encoded` holds their msgpack, one after the other.
    #[napi]
    pub fn keep_sessions(
        &self,
        nsp: String,
        sessions: Vec<NativeSession>,
        encoded: Uint8Array,
        keep: f64,
    ) {
        let mut begin = 0;
        let sessions = sessions.into_iter().map(|session| {
            let NativeSession { pid, generation, is_new, end } = session;
            let bytes = encoded.get(begin..end as usize).unwrap_or_default().to_vec();
            begin = end as usize;
            LiveSession { pid, generation, is_new, session: bytes }
        });
        self.engine.keep_sessions(&nsp, sessions, milliseconds(keep));
    }

    /// A client whose session was kept has left for good. Other nodes forget it within `keep` ms.
    #[napi]
    pub fn drop_session(&self, nsp: String, pid: String, generation: u32, keep: f64) {
        self.engine.save_session(&nsp, &pid, generation, What::Left, milliseconds(keep));
    }

    /// An event answers the call when what was saved of a session is in Redis.
    #[napi]
    pub fn wait_for_session(&self, call: u32, nsp: String, pid: String) {
        self.engine.wait_for_session(call, &nsp, &pid);
    }

    /// The ID of the entry up to which own entries were delivered here while the stream could not be
    /// read.
    #[napi]
    pub fn delivered_ahead(&self, nsp: String) -> String {
        self.engine.delivered_ahead(&nsp).to_string()
    }

    /// Stands for all packets without an entry in the stream that clients of this node have got; null if
    /// there were none.
    #[napi]
    pub fn local_mark(&self, nsp: String) -> Option<String> {
        self.engine.local_mark(&nsp).map(|mark| mark.to_string())
    }

    /// The ID of the entry behind which this node has begun to read a namespace's stream.
    #[napi]
    pub fn read_since(&self, nsp: String) -> String {
        self.engine.read_since(&nsp).to_string()
    }

    /// The ID of the entry up to which the clients of this node were sent everything that was for
    /// them; null if that is not certain for what came behind the entry `after`.
    #[napi]
    pub fn sent_up_to(&self, nsp: String, after: String) -> Option<String> {
        let after = after.parse().ok()?;
        self.engine.sent_up_to(&nsp, after).map(|id| id.to_string())
    }

    /// Restores a session. An event answers the call. `gone` is the uid of the node that is known to
    /// have the client no more, and `is_dead` whether that node itself does not answer.
    #[napi]
    pub fn restore_session(
        &self,
        call: u32,
        nsp: String,
        pid: String,
        offset: Option<String>,
        gone: Option<String>,
        is_dead: bool,
    ) -> std::result::Result<(), JsError> {
        let gone = gone.map(|owner| Gone { owner, is_dead });
        self.engine.restore_session(call, &nsp, &pid, offset.as_deref(), gone).map_err(js_error)
    }

    /// Closes a namespace. An event answers the call once what it published is written.
    #[napi]
    pub fn close_namespace(&self, call: u32, nsp: String, handle: u32) {
        self.engine.close_namespace(call, &nsp, handle);
    }

    /// Ends the engine. Its last event answers the call.
    #[napi]
    pub fn close(&self, call: u32) {
        self.engine.close(call);
    }

    /// Drops `wake`, which refers to the owner of this engine. Called only after the engine's end.
    #[napi]
    pub fn release(&self) {
        self.engine.inbox().release();
    }

    /// Answers a `credentials` event with what the provider gave, or with its `failure`.
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

    /// The provider has failed while no connection waited for it.
    #[napi]
    pub fn credentials_failed(&self, reason: String) {
        self.engine.credentials_failed(reason);
    }

    /// Takes up to `most` events. Null means that the next event calls `wake` again. A number means
    /// that everything was written to `memory`, and the frames to `frames` from `frames_at` on; it
    /// tells how many numbers there are.
    ///
    /// JS must have handled the events of the call before.
    #[napi]
    pub fn drain(
        &self,
        most: u32,
        #[napi(ts_arg_type = "Uint8Array")] memory: JsBytes<'_>,
        #[napi(ts_arg_type = "Uint8Array")] frames: JsBytes<'_>,
        frames_at: u32,
    ) -> Option<Either<u32, NativeBatch>> {
        let events = self.engine.inbox().drain(most as usize);
        let missed = events.iter().flatten().filter_map(Event::missed).collect();
        *self.missed() = missed;
        let events = events?;
        let mut packer = Packer::default();
        events.into_iter().for_each(|event| packer.add(event));
        let frames = frames.get_mut(frames_at as usize..).unwrap_or_default();
        Some(packer.finish(memory, frames))
    }

    /// The broadcasts at these places among those that a client missed, from its `restored` event.
    /// Empty once the next batch was drained.
    #[napi]
    pub fn missed_of(&self, call: u32, places: Vec<u32>) -> Vec<NativeMissed> {
        let missed = self.missed();
        let Some(missed) = missed.get(&call) else { return Vec::new() };
        let wanted = places.iter().filter_map(|place| missed.get(*place as usize));
        wanted.map(NativeMissed::from).collect()
    }

    /// The broadcasts of the slice that come behind JS's [`Turn`] and have got a recipient since JS
    /// took the slice. Null if there are none.
    #[napi]
    pub fn take_late(&self, begun: u32, passed: u32) -> Option<NativeLate> {
        let late = self.engine.inbox().take_late(Turn { begun, passed });
        (!late.is_empty()).then(|| NativeLate::of(late))
    }

    /// The counters, and the state of the stream that a namespace is routed to.
    #[napi]
    pub fn stats(&self, nsp: String) -> NativeStats {
        NativeStats::of(&self.engine, &nsp)
    }
}

impl NativeEngine {
    fn missed(&self) -> MutexGuard<'_, HashMap<CallId, Arc<MissedList>>> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for NativeEngine {
    /// The environment (such as a worker) has ended without closing the adapter.
    fn drop(&mut self) {
        self.engine.abort();
    }
}

fn milliseconds(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1_000.0).unwrap_or(Duration::ZERO)
}

fn from_json<T: serde::de::DeserializeOwned>(what: &'static str, json: &str) -> Result<T> {
    // serde_json's message could quote a value: the error gives only the place of it.
    serde_json::from_str(json)
        .map_err(|e| Error::Settings { what, reason: format!("at column {}", e.column()) })
}
