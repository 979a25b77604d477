//! Events as JS objects.

use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use super::js_error;
use crate::engine::error::Error;
use crate::engine::inbox::{Answer, Event};
use crate::engine::stream::Local;
use crate::engine::wire::{Data, Flags, Room};

/// An event of the inbox. `kind` says which of the other fields are there.
#[napi(object, object_from_js = false)]
#[derive(Default)]
pub struct NativeEvent {
    /// `entry`, `broadcast`, `published`, `message`, `answer`, `lost`, `members`, `credentials`, `warning`, `debug`.
    pub kind: &'static str,
    /// entry, broadcast, message: the namespace's handle. lost: the stream's index.
    pub namespace: Option<u32>,
    /// entry: the sender.
    pub uid: Option<String>,
    /// entry: the message's type.
    pub r#type: Option<u32>,
    /// entry, broadcast, published: the entry's ID. answer: the position of a restored session.
    pub id: Option<String>,
    /// broadcast: the rooms that it is for.
    pub rooms: Option<Vec<String>>,
    /// broadcast: the rooms whose members do not get it.
    pub except: Option<Vec<String>>,
    /// broadcast: a flag.
    pub volatile: Option<bool>,
    /// broadcast: a flag.
    pub compress: Option<bool>,
    /// broadcast, published: the packet for local clients; empty when there are none. entry: data
    /// as JSON. debug: the line. lost: how.
    pub text: Option<String>,
    /// entry: data as msgpack. message: the payload. answer: a session.
    pub bytes: Option<Buffer>,
    /// lost: how many entries, where that is known.
    pub entries: Option<f64>,
    /// published: the ticket. answer: the call. credentials: the request.
    pub ticket: Option<u32>,
    /// published, answer, warning: what went wrong.
    pub error: Option<NativeError>,
    /// answer: a census.
    pub census: Option<NativeCensus>,
    /// answer: what the client of a restored session missed.
    pub missed: Option<Vec<NativeMissed>>,
}

/// An error with its stable code.
#[napi(object, object_from_js = false)]
pub struct NativeError {
    /// Stable code.
    pub code: &'static str,
    /// What went wrong and what to do.
    pub message: String,
}

/// See `engine::inbox::Census`.
#[napi(object, object_from_js = false)]
pub struct NativeCensus {
    /// Living nodes of our own kind.
    pub known: Vec<String>,
    /// Number of further ones.
    pub others: u32,
    /// For each uid asked about.
    pub present: Vec<bool>,
}

/// A packet that a client missed.
#[napi(object, object_from_js = false)]
pub struct NativeMissed {
    /// The entry's ID.
    pub id: String,
    /// Data as JSON, or
    pub text: Option<String>,
    /// as msgpack.
    pub bytes: Option<Buffer>,
}

impl From<Error> for NativeError {
    fn from(error: Error) -> Self {
        let error = js_error(error);
        Self { code: error.status, message: error.reason.to_string() }
    }
}

impl From<Event> for NativeEvent {
    fn from(event: Event) -> Self {
        match event {
            Event::Entry { namespace, uid, kind, id, data, hold: _ } => {
                let (text, bytes) = split(data);
                Self {
                    kind: "entry",
                    namespace: Some(namespace),
                    uid: Some(uid.to_string()),
                    r#type: Some(kind),
                    id: Some(id.to_string()),
                    text,
                    bytes,
                    ..Self::default()
                }
            }
            Event::Broadcast { namespace, id, head, packet } => Self {
                kind: "broadcast",
                namespace: Some(namespace.handle),
                id: Some(id.to_string()),
                text: Some(packet),
                rooms: Some(names(head.rooms())),
                except: Some(names(head.except())),
                volatile: head.flags().map(Flags::is_volatile),
                compress: head.flags().and_then(Flags::compress),
                ..Self::default()
            },
            Event::Published(completion) => {
                let text = match completion.local {
                    Local::Js => None,
                    Local::Nothing => Some(String::new()),
                    Local::Packet(packet) => Some(packet),
                };
                let (id, error) = match completion.outcome {
                    Ok(id) => (id.map(|id| id.to_string()), None),
                    Err(error) => (None, Some(error.into())),
                };
                Self {
                    kind: "published",
                    text,
                    ticket: Some(completion.ticket),
                    id,
                    error,
                    ..Self::default()
                }
            }
            Event::Message { namespace, payload, hold: _ } => Self {
                kind: "message",
                namespace: Some(namespace),
                bytes: Some(payload.into()),
                ..Self::default()
            },
            Event::Answer { call, result, hold: _ } => {
                let event = Self { kind: "answer", ticket: Some(call), ..Self::default() };
                match result {
                    Ok(answer) => event.with_answer(answer),
                    Err(error) => Self { error: Some(error.into()), ..event },
                }
            }
            Event::Lost { stream, loss, entries } => Self {
                kind: "lost",
                namespace: Some(stream),
                text: Some(loss.name().to_owned()),
                entries: entries.map(|entries| entries as f64),
                ..Self::default()
            },
            Event::MembersChanged => Self { kind: "members", ..Self::default() },
            Event::CredentialsWanted { request } => {
                Self { kind: "credentials", ticket: Some(request), ..Self::default() }
            }
            Event::Warning { error } => {
                Self { kind: "warning", error: Some(error.into()), ..Self::default() }
            }
            Event::Debug { line } => Self { kind: "debug", text: Some(line), ..Self::default() },
        }
    }
}

impl NativeEvent {
    fn with_answer(mut self, answer: Answer) -> Self {
        match answer {
            Answer::Done => {}
            Answer::Census(census) => {
                self.census = Some(NativeCensus {
                    known: census.known,
                    others: census.others,
                    present: census.present,
                });
            }
            Answer::Session { session, missed, position } => {
                self.id = Some(position.to_string());
                self.bytes = Some(session.into());
                let missed = missed.into_iter().map(|missed| {
                    let (text, bytes) = split(Some(missed.data));
                    NativeMissed { id: missed.id.to_string(), text, bytes }
                });
                self.missed = Some(missed.collect());
            }
        }
        self
    }
}

/// Names of rooms; in a broadcast they all have one.
fn names(rooms: &[Room]) -> Vec<String> {
    rooms.iter().filter_map(Room::name).map(str::to_owned).collect()
}

/// Data as text or as bytes.
fn split(data: Option<Data>) -> (Option<String>, Option<Buffer>) {
    match data {
        Some(Data::Json(text)) => (Some(text.to_string()), None),
        Some(Data::Msgpack(bytes)) => (None, Some(bytes.to_vec().into())),
        None => (None, None),
    }
}
