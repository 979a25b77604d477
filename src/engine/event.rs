//! What the engine hands to the JS thread through its inbox.
//!
//! There are two kinds, which differ in who may push them. A [`StreamEvent`] has a place in a
//! stream's order, and only code that holds the lock of the stream's cursor can push one. A
//! [`Notice`] has no such place.

use std::sync::Arc;
use std::time::Duration;

use super::error::Error;
use super::membership::Changes;
use super::namespaces::{InterestPin, Namespace, NamespaceHandle};
use super::wire::{BroadcastHead, Data, EntryId, MessageType, Packet};

/// Names a call of JS that the engine answers with an event.
pub(crate) type CallId = u32;

/// Bookkeeping per event, in bytes.
const OVERHEAD: usize = 128;

/// Something for JS to handle.
#[derive(Debug)]
pub(crate) enum Event {
    /// It has a place in a stream's order.
    Stream(StreamEvent),
    /// It has none.
    Notice(Notice),
}

/// Something that has a place in a stream's order.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// An entry that another node wrote.
    Entry {
        /// For which namespace.
        namespace: NamespaceHandle,
        /// The node that wrote it.
        uid: Arc<str>,
        /// Type of the message.
        kind: MessageType,
        /// The entry's ID.
        id: EntryId,
        /// Data of the message.
        data: Option<Data>,
        /// Set unless it is a broadcast: everything else may change rooms.
        pin: Option<InterestPin>,
    },
    /// A broadcast of another node, ready to be sent to local sockets.
    Broadcast {
        /// For which namespace.
        namespace: Arc<Namespace>,
        /// The entry's ID; fits doubles.
        id: EntryId,
        /// Who gets it, and how; all rooms have names.
        head: BroadcastHead,
        /// The Socket.IO packet, its offset included.
        packet: Packet,
    },
    /// One of our own publishes has ended: it is its turn.
    Published(Completion),
    /// A PUB/SUB message, behind the entries that its sender had written before it.
    Message {
        /// For which namespace.
        namespace: NamespaceHandle,
        /// msgpack of a whole message.
        payload: Vec<u8>,
        /// The user's handlers may change rooms.
        pin: Option<InterestPin>,
    },
    /// A session was restored. What follows this event in the inbox is live for its client.
    Restored {
        /// The call that asked for the session.
        call: CallId,
        /// msgpack of `{sid, pid, rooms, data}`.
        session: Vec<u8>,
        /// What the client missed, in order.
        missed: Vec<Missed>,
        /// The position up to which that is.
        position: EntryId,
        /// The socket joins its rooms.
        pin: Option<InterestPin>,
    },
    /// Entries of a stream were lost, or may have been.
    Lost {
        /// Which of the engine's streams.
        stream: u32,
        /// What happened.
        loss: Loss,
        /// How many entries, if that is known.
        entries: Option<u64>,
    },
}

/// Something that has no place in a stream's order.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The answer to a call.
    Answered {
        /// Which call.
        call: CallId,
        /// The answer.
        result: Result<Answer, Error>,
    },
    /// Nodes of our own kind have come or gone: pending requests are looked at again.
    MembersChanged {
        /// In which namespace; `None` if nodes are heard in all of them at once.
        namespace: Option<NamespaceHandle>,
        /// Which nodes.
        changes: Changes,
    },
    /// A connection that was broken stands again.
    Reconnected {
        /// Which connection.
        connection: ConnectionName,
        /// Of which of the engine's streams.
        stream: Option<u32>,
        /// How long it was away.
        away: Duration,
    },
    /// The credentials are wanted for a new connection.
    CredentialsWanted {
        /// To be given back with them.
        request: u32,
    },
    /// Something that the operator has to know.
    Warning(Error),
    /// A line for `DEBUG=`.
    Debug(String),
}

/// The answer to a call; that to a restore is [`StreamEvent::Restored`].
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is done.
    Done,
    /// Who listens in a namespace.
    Subscribers(SubscriberCount),
}

/// Who listens to a namespace's requests, besides this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SubscriberCount {
    /// Nodes of our own kind that are alive.
    pub(crate) known: Vec<String>,
    /// How many further ones there are: upstream nodes, and those not heard of yet.
    pub(crate) others: u32,
    /// For each uid that was asked about: whether it is among those.
    pub(crate) present: Vec<bool>,
}

/// How entries were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// They were trimmed before this node read them, or lost in a failover.
    Trimmed,
    /// The stream was deleted, or replaced by another one.
    Deleted,
    /// The stream fell back behind what we had read.
    FellBack,
    /// The stream's key holds something that is no stream.
    WrongType,
}

impl Loss {
    /// The reason that JS gets.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Loss::Trimmed => "trimmed",
            Loss::Deleted => "deleted",
            Loss::FellBack => "fellBack",
            Loss::WrongType => "wrongType",
        }
    }
}

impl Event {
    /// Takes the event's pin out of it: to be dropped when JS has handled the event.
    pub(crate) fn take_pin(&mut self) -> Option<InterestPin> {
        match self {
            Event::Stream(
                StreamEvent::Entry { pin, .. }
                | StreamEvent::Message { pin, .. }
                | StreamEvent::Restored { pin, .. }
                | StreamEvent::Published(Completion { pin, .. }),
            ) => pin.take(),
            Event::Stream(StreamEvent::Broadcast { .. } | StreamEvent::Lost { .. })
            | Event::Notice(_) => None,
        }
    }

    /// Rough size in bytes, for the bound.
    pub(crate) fn size(&self) -> usize {
        match self {
            Event::Stream(event) => event.size(),
            Event::Notice(Notice::Debug(line)) => OVERHEAD + line.len(),
            Event::Notice(_) => OVERHEAD,
        }
    }
}

impl StreamEvent {
    /// Rough size in bytes, for the bound.
    pub(crate) fn size(&self) -> usize {
        OVERHEAD
            + match self {
                StreamEvent::Entry { data, .. } => data.as_ref().map_or(0, Data::len),
                StreamEvent::Broadcast { packet, .. } => OVERHEAD + packet.len(),
                StreamEvent::Published(Completion { local: Local::Packet(packet), .. }) => {
                    packet.len()
                }
                StreamEvent::Message { payload, .. } => payload.len(),
                StreamEvent::Restored { session, missed, .. } => {
                    session.len() + missed.iter().map(|m| OVERHEAD + m.len()).sum::<usize>()
                }
                StreamEvent::Published(_) | StreamEvent::Lost { .. } => 0,
            }
    }
}

impl Notice {
    /// What JS is to know of nodes that came or went; `None` if none did.
    pub(crate) fn members_changed(
        namespace: Option<NamespaceHandle>,
        changes: Changes,
    ) -> Option<Self> {
        (!changes.is_empty()).then_some(Self::MembersChanged { namespace, changes })
    }
}

/// Names one publish between JS and the engine.
pub(crate) type Ticket = u32;

/// How a publish ended.
#[derive(Debug)]
pub(crate) struct Completion {
    /// The publish.
    pub(crate) ticket: Ticket,
    /// The entry's ID when it is known, or why there is none.
    pub(crate) outcome: Result<Option<EntryId>, Error>,
    /// What is to be done about it here.
    pub(crate) local: Local,
    /// A join, a leave or a disconnect changes rooms.
    pub(crate) pin: Option<InterestPin>,
}

/// The local part of a publish.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Local {
    /// JS does it, from what it published.
    #[default]
    Js,
    /// A broadcast without a recipient here.
    Nothing,
    /// A broadcast, ready to be sent to local sockets.
    Packet(Packet),
}

/// A broadcast that a client missed.
#[derive(Debug, Clone)]
pub(crate) enum Missed {
    /// Ready to be sent, its offset included.
    Packet(Packet),
    /// JS decodes it, and has the last word on whether it was missed.
    Entry {
        /// The entry.
        id: EntryId,
        /// Its data.
        data: Data,
    },
}

impl Missed {
    /// Size in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Packet(packet) => packet.len(),
            Self::Entry { data, .. } => data.len(),
        }
    }
}

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionName {
    /// That of a stream's reader.
    Reader,
    /// That of a stream's writer.
    Writer,
    /// That of requests, answers and heartbeats.
    PubSub,
}

impl ConnectionName {
    /// The name that JS gets.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::PubSub => "pubsub",
        }
    }
}
