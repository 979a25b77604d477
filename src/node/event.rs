//! Events as JS objects.

use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use super::js_error;
use crate::engine::error::Error;
use crate::engine::event::{Answer, Event, Missed};
use crate::engine::membership::Changes;
use crate::engine::wire::{Data, Packet};

/// An event of the inbox. `kind` says which of the other fields are there.
#[napi(object, object_from_js = false)]
#[derive(Default)]
pub struct NativeEvent {
    /// `entry`, `published`, `message`, `answer`, `lost`, `members`, `reconnected`, `credentials`,
    /// `warning`, `debug`.
    pub kind: &'static str,
    /// entry, message, members: the namespace's handle. lost, reconnected: the stream's index.
    pub namespace: Option<u32>,
    /// entry: the sender.
    pub uid: Option<String>,
    /// entry: the message's type.
    pub r#type: Option<u32>,
    /// entry, published: the entry's ID. answer: the position of a restored session.
    pub id: Option<String>,
    /// entry: data as JSON. debug: the line. lost: how. reconnected: whose connection.
    pub text: Option<String>,
    /// entry: data as msgpack. message: the payload. answer: a session.
    pub bytes: Option<Buffer>,
    /// members: who.
    pub members: Option<NativeChanges>,
    /// reconnected: how long it was away, in ms.
    pub away: Option<f64>,
    /// lost: how many entries, where that is known.
    pub entries: Option<f64>,
    /// published: the ticket. answer: the call. credentials: the request.
    pub ticket: Option<u32>,
    /// published, answer, warning: what went wrong.
    pub error: Option<NativeError>,
    /// answer: a census.
    pub subscribers: Option<NativeSubscriberCount>,
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

/// See `engine::inbox::SubscriberCount`.
#[napi(object, object_from_js = false)]
pub struct NativeSubscriberCount {
    /// Living nodes of our own kind.
    pub known: Vec<String>,
    /// Number of further ones.
    pub others: u32,
    /// For each uid asked about.
    pub present: Vec<bool>,
}

/// See `engine::membership::Changes`.
#[napi(object, object_from_js = false)]
pub struct NativeChanges {
    /// Uids of those who came.
    pub came: Vec<String>,
    /// Of those who said that they leave.
    pub left: Vec<String>,
    /// Of those not heard any more.
    pub silent: Vec<String>,
}

/// A broadcast that a client missed: ready to be sent, or to be decoded.
#[napi(object, object_from_js = false)]
#[derive(Default)]
pub struct NativeMissed {
    /// The text of a packet, its offset included.
    pub packet: Option<String>,
    /// The packet's attachments.
    pub attachments: Option<Vec<Buffer>>,
    /// The ID of an entry, with its data
    pub id: Option<String>,
    /// as JSON, or
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
            Event::Entry { namespace, uid, kind, id, data, pin: _ } => {
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
            // `batch` packs these.
            Event::Broadcast { .. } => Self::default(),
            Event::Published(completion) => {
                let (id, error) = match completion.outcome {
                    Ok(id) => (id.map(|id| id.to_string()), None),
                    Err(error) => (None, Some(error.into())),
                };
                let ticket = Some(completion.ticket);
                Self { kind: "published", ticket, id, error, ..Self::default() }
            }
            Event::Message { namespace, payload, pin: _ } => Self {
                kind: "message",
                namespace: Some(namespace),
                bytes: Some(payload.into()),
                ..Self::default()
            },
            Event::Answer { call, result, pin: _ } => {
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
            Event::MembersChanged { namespace, changes } => {
                let Changes { came, left, silent } = changes;
                let members = Some(NativeChanges { came, left, silent });
                Self { kind: "members", namespace, members, ..Self::default() }
            }
            Event::Reconnected { link, stream, away } => Self {
                kind: "reconnected",
                namespace: stream,
                text: Some(link.name().to_owned()),
                away: Some(away.as_millis() as f64),
                ..Self::default()
            },
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
            Answer::SubscriberCount(subscribers) => {
                self.subscribers = Some(NativeSubscriberCount {
                    known: subscribers.known,
                    others: subscribers.others,
                    present: subscribers.present,
                });
            }
            Answer::Session { session, missed, position } => {
                self.id = Some(position.to_string());
                self.bytes = Some(session.into());
                let missed = missed.into_iter().map(NativeMissed::from);
                self.missed = Some(missed.collect());
            }
        }
        self
    }
}

impl From<Missed> for NativeMissed {
    fn from(missed: Missed) -> Self {
        match missed {
            Missed::Packet(Packet { text, attachments }) => {
                let attachments = attachments.into_iter().map(|bytes| bytes.into_vec().into());
                let attachments: Vec<Buffer> = attachments.collect();
                Self {
                    packet: Some(text),
                    attachments: (!attachments.is_empty()).then_some(attachments),
                    ..Self::default()
                }
            }
            Missed::Entry { id, data } => {
                let (text, bytes) = split(Some(data));
                Self { id: Some(id.to_string()), text, bytes, ..Self::default() }
            }
        }
    }
}

/// Data as text or as bytes.
fn split(data: Option<Data>) -> (Option<String>, Option<Buffer>) {
    match data {
        Some(Data::Json(text)) => (Some(text.to_string()), None),
        Some(Data::Msgpack(bytes)) => (None, Some(bytes.to_vec().into())),
        None => (None, None),
    }
}
