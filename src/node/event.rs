//! Events as JS objects: a union whose `kind` tells which other fields there are, so that `tsc`
//! checks each case in `lib/engine.js`.

use napi::bindgen_prelude::{Buffer, Float64Array};
use napi_derive::napi;

use super::js_error;
use crate::engine::error::Error;
use crate::engine::event::{Answer, Completion, Event, Notice, StreamEvent};
use crate::engine::membership::Changes;
use crate::engine::missed::Missed;
use crate::engine::wire::{Data, EntryId, Packet};

/// An event that is not packed (see `batch.rs`).
#[napi(discriminant = "kind", discriminant_case = "camelCase", object_from_js = false)]
pub enum NativeEvent {
    /// An entry that another node wrote.
    Entry {
        /// The namespace's handle.
        namespace: u32,
        /// The node that wrote it.
        uid: String,
        /// The message's type.
        r#type: u32,
        /// The entry's ID.
        id: String,
        /// The message's data, if it is JSON.
        json: Option<String>,
        /// The message's data, if it is msgpack.
        msgpack: Option<Buffer>,
    },
    /// A publish has ended, and JS does its local part.
    Published {
        /// The publish.
        ticket: u32,
        /// The entry's ID, if it is known.
        id: Option<String>,
        /// Why there is no entry.
        error: Option<NativeError>,
    },
    /// A call was answered: what was asked for is done.
    Done {
        /// The call.
        call: u32,
    },
    /// A call was answered: which nodes listen in a namespace.
    Subscribers {
        /// The call.
        call: u32,
        /// The nodes that listen.
        subscribers: NativeSubscriberCount,
    },
    /// A call was answered: a session was restored.
    Restored {
        /// The call.
        call: u32,
        /// msgpack of `{sid, pid, rooms, data}`.
        session: Buffer,
        /// Numbers the restores of the session.
        generation: u32,
        /// The entries of the broadcasts that the client missed, in order: both numbers of each ID,
        /// or NaN if they are too large. `missedOf` gives the broadcasts while this batch is handled.
        missed: Float64Array,
        /// The ID of the entry up to which `missed` goes.
        position: String,
    },
    /// A call was answered: the client whose session was asked for is still connected to another
    /// node.
    Owned {
        /// The call.
        call: u32,
        /// The node's uid.
        owner: String,
    },
    /// The session of a client that is still connected here is not this node's any more.
    SessionTaken {
        /// The namespace's handle.
        namespace: u32,
        /// The client's private session ID.
        pid: String,
        /// Whether it has expired, since this node showed no sign of life for long. Otherwise another
        /// node has restored it.
        has_expired: bool,
    },
    /// Redis may have lost records of connected clients.
    RecordsInDoubt,
    /// The client of a session has not come back in time. No other node gets this.
    SessionExpired {
        /// The namespace's handle.
        namespace: u32,
        /// msgpack.
        session: Buffer,
    },
    /// A call has failed.
    Failed {
        /// The call.
        call: u32,
        /// Why.
        error: NativeError,
    },
    /// Entries were lost, or may have been.
    Lost {
        /// The stream's index.
        stream: u32,
        /// How: `trimmed`, `deleted`, `fellBack`, `wrongType`.
        reason: String,
        /// How many, if that is known.
        entries: Option<f64>,
    },
    /// Nodes have come or gone.
    Members {
        /// The namespace's handle. Absent over PUB/SUB: heartbeats there are for all of them.
        namespace: Option<u32>,
        /// Uids of the nodes that came.
        came: Vec<String>,
        /// Uids of the nodes that announced that they leave.
        left: Vec<String>,
        /// Uids of the nodes that are not heard any more.
        silent: Vec<String>,
    },
    /// A connection that was broken is open again.
    Reconnected {
        /// `reader`, `writer`, `pubsub`.
        connection: String,
        /// The stream's index. Absent for `pubsub`.
        stream: Option<u32>,
        /// How long it was away, in ms.
        away: f64,
    },
    /// A new connection needs the credentials.
    Credentials {
        /// JS returns this number with them.
        request: u32,
    },
    /// Something that the operator must know.
    Warning {
        /// What it is.
        error: NativeError,
        /// Whether an outage has begun, which `outageOver` ends.
        is_outage: bool,
    },
    /// All outages that the engine has warned of are over.
    OutageOver,
    /// A line for `DEBUG=`.
    Debug {
        /// The line.
        line: String,
    },
}

/// An error with its stable code.
#[napi(object, object_from_js = false)]
pub struct NativeError {
    /// Stable code.
    pub code: &'static str,
    /// What went wrong and what to do.
    pub message: String,
}

/// See `engine::event::SubscriberCount`.
#[napi(object, object_from_js = false)]
pub struct NativeSubscriberCount {
    /// Uids of the nodes of this package that are alive.
    pub known: Vec<String>,
    /// How many further nodes listen.
    pub others: u32,
    /// For each uid that was asked about: whether the node listens.
    pub present: Vec<bool>,
}

/// A broadcast that a client missed.
#[napi(discriminant = "kind", discriminant_case = "camelCase", object_from_js = false)]
pub enum NativeMissed {
    /// Ready to be sent.
    Packet {
        /// The packet's text, its offset included.
        text: String,
        /// The packet's attachments.
        attachments: Vec<Buffer>,
    },
    /// JS decodes it, and decides whether the client missed it.
    Entry {
        /// The entry's ID.
        id: String,
        /// The broadcast's data, if it is JSON.
        json: Option<String>,
        /// The broadcast's data, if it is msgpack.
        msgpack: Option<Buffer>,
    },
}

impl From<Error> for NativeError {
    fn from(error: Error) -> Self {
        let error = js_error(error);
        Self { code: error.status, message: error.reason.to_string() }
    }
}

impl NativeEvent {
    /// `None` for a broadcast, which is always packed.
    pub(crate) fn of(event: Event) -> Option<Self> {
        match event {
            Event::Stream(event) => Self::of_stream(event),
            Event::Notice(notice) => Some(notice.into()),
        }
    }

    fn of_stream(event: StreamEvent) -> Option<Self> {
        Some(match event {
            StreamEvent::Broadcast(_) | StreamEvent::Message { .. } => return None,
            StreamEvent::Entry { namespace, uid, kind, id, data } => {
                let (json, msgpack) = split(data);
                let (uid, id) = (uid.to_string(), id.to_string());
                Self::Entry { namespace, uid, r#type: kind, id, json, msgpack }
            }
            StreamEvent::Published(Completion { ticket, outcome, .. }) => {
                let (id, error) = match outcome {
                    Ok(id) => (id.map(|id| id.to_string()), None),
                    Err(error) => (None, Some(error.into())),
                };
                Self::Published { ticket, id, error }
            }
            StreamEvent::Restored { call, session, generation, missed, position } => {
                Self::Restored {
                    call,
                    generation,
                    session: session.into(),
                    missed: missed
                        .iter()
                        .flat_map(|missed| doubles(missed.id()))
                        .collect::<Vec<_>>()
                        .into(),
                    position: position.to_string(),
                }
            }
            StreamEvent::Lost { stream, loss, entries } => Self::Lost {
                stream,
                reason: loss.name().to_owned(),
                entries: entries.map(|entries| entries as f64),
            },
        })
    }
}

impl From<Notice> for NativeEvent {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::Answered { call, result: Ok(Answer::Done) } => Self::Done { call },
            Notice::Answered { call, result: Ok(Answer::Subscribers(count)) } => {
                let subscribers = NativeSubscriberCount {
                    known: count.known,
                    others: count.others,
                    present: count.present,
                };
                Self::Subscribers { call, subscribers }
            }
            Notice::Answered { call, result: Ok(Answer::Owned { owner }) } => {
                Self::Owned { call, owner }
            }
            Notice::RecordsInDoubt => Self::RecordsInDoubt,
            Notice::SessionTaken { namespace, pid, has_expired } => {
                Self::SessionTaken { namespace, pid, has_expired }
            }
            Notice::SessionExpired { namespace, session } => {
                Self::SessionExpired { namespace, session: session.into() }
            }
            Notice::Answered { call, result: Err(error) } => {
                Self::Failed { call, error: error.into() }
            }
            Notice::MembersChanged { namespace, changes } => {
                let Changes { came, left, silent } = changes;
                Self::Members { namespace, came, left, silent }
            }
            Notice::Reconnected { connection, stream, away } => Self::Reconnected {
                connection: connection.name().to_owned(),
                stream,
                away: away.as_millis() as f64,
            },
            Notice::CredentialsWanted { request } => Self::Credentials { request },
            Notice::Warning(error) => {
                Self::Warning { is_outage: error.is_outage(), error: error.into() }
            }
            Notice::OutageOver => Self::OutageOver,
            Notice::Debug(line) => Self::Debug { line },
        }
    }
}

impl From<&Missed> for NativeMissed {
    fn from(missed: &Missed) -> Self {
        match missed {
            Missed::Packet { packet, .. } => {
                let Packet { text, attachments } = &packet.packet;
                let attachments = attachments.iter().map(|bytes| bytes.to_vec().into());
                Self::Packet { text: text.clone(), attachments: attachments.collect() }
            }
            Missed::Entry { id, data } => {
                let (json, msgpack) = split(Some(data.clone()));
                Self::Entry { id: id.to_string(), json, msgpack }
            }
        }
    }
}

/// Both numbers of an entry ID; NaN if they would not be exact.
fn doubles(id: EntryId) -> [f64; 2] {
    if id.fits_doubles() { [id.ms as f64, id.seq as f64] } else { [f64::NAN; 2] }
}

/// Data as text or as bytes.
fn split(data: Option<Data>) -> (Option<String>, Option<Buffer>) {
    match data {
        Some(Data::Json(text)) => (Some(text.to_string()), None),
        Some(Data::Msgpack(bytes)) => (None, Some(bytes.to_vec().into())),
        None => (None, None),
    }
}
