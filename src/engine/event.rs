//! What the engine hands to the JS thread: the events of the inbox, and the answers to calls of JS.

use std::sync::Arc;
use std::time::Duration;

use super::error::Error;
use super::membership::Changes;
use super::namespaces::{InterestPin, Namespace, NamespaceHandle};
use super::wire::{BroadcastHead, Data, EntryId, MessageType, Packet};

/// Names a question of JS to the engine.
pub type CallId = u32;

/// Something for JS to handle.
#[derive(Debug)]
pub enum Event {
    /// An entry that another node wrote.
    Entry {
        /// For which namespace.
        namespace: NamespaceHandle,
        /// Who wrote it.
        uid: Arc<str>,
        /// Type of the message.
        kind: MessageType,
        /// The entry's ID.
        id: EntryId,
        /// Data of the message.
        data: Option<Data>,
        /// Whatever it is, it may change rooms.
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
    /// A PUB/SUB message: msgpack of a whole message.
    Message {
        /// For which namespace.
        namespace: NamespaceHandle,
        /// The payload as it came.
        payload: Vec<u8>,
        /// The user's handlers may change rooms.
        pin: Option<InterestPin>,
    },
    /// The answer to a call.
    Answer {
        /// Which call.
        call: CallId,
        /// The answer.
        result: Result<Answer, Error>,
        /// The socket of a restored session joins its rooms.
        pin: Option<InterestPin>,
    },
    /// Entries of a stream were lost, or may have been.
    Lost {
        /// Which of the engine's streams.
        stream: u32,
        /// What happened.
        loss: Loss,
        /// How many entries, where that is known.
        entries: Option<u64>,
    },
    /// Nodes of our own kind have come or gone: whoever waits for answers looks again.
    MembersChanged {
        /// In which namespace; `None` where nodes are heard in all of them at once.
        namespace: Option<NamespaceHandle>,
        /// Who.
        changes: Changes,
    },
    /// A connection that was broken stands again.
    Reconnected {
        /// Whose.
        link: ConnectionName,
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
    Warning {
        /// What it is.
        error: Error,
    },
    /// A line for `DEBUG=`.
    Debug {
        /// The text.
        line: String,
    },
}

/// How entries were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// They were trimmed before we came by, or lost in a failover.
    Trimmed,
    /// The stream was deleted, or replaced by another one.
    Deleted,
    /// The stream fell back behind what we had read.
    FellBack,
    /// Something else stands at the stream's key.
    WrongType,
}

impl Loss {
    /// The name that JS gets.
    pub fn name(self) -> &'static str {
        match self {
            Loss::Trimmed => "trimmed",
            Loss::Deleted => "deleted",
            Loss::FellBack => "fell back",
            Loss::WrongType => "wrong type",
        }
    }
}

/// What a call gets.
#[derive(Debug)]
pub enum Answer {
    /// It is done.
    Done,
    /// Who listens in a namespace.
    SubscriberCount(SubscriberCount),
    /// A session that was restored, with everything up to here: what comes behind this event in
    /// the inbox is live.
    Session {
        /// msgpack of `{sid, pid, rooms, data}`.
        session: Vec<u8>,
        /// What the client missed, in order.
        missed: Vec<Missed>,
        /// The position up to which that is.
        position: EntryId,
    },
}

/// Who listens to a namespace's requests, besides this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubscriberCount {
    /// Nodes of our own kind that are alive.
    pub known: Vec<String>,
    /// How many further ones there are: upstream nodes, and those not heard of yet.
    pub others: u32,
    /// For each uid that was asked about: whether it is among those.
    pub present: Vec<bool>,
}

impl Event {
    /// What is to be said of nodes that have come or gone; nothing when nobody has.
    pub fn members_changed(namespace: Option<NamespaceHandle>, changes: Changes) -> Option<Self> {
        (!changes.is_empty()).then_some(Self::MembersChanged { namespace, changes })
    }

    /// Takes what holds the namespace open out of the event: to be dropped when it was handled.
    pub fn take_pin(&mut self) -> Option<InterestPin> {
        match self {
            Event::Entry { pin, .. }
            | Event::Message { pin, .. }
            | Event::Answer { pin, .. }
            | Event::Published(Completion { pin, .. }) => pin.take(),
            _ => None,
        }
    }

    /// Rough size in bytes, for the bound.
    pub fn size(&self) -> usize {
        const OVERHEAD: usize = 128;
        OVERHEAD
            + match self {
                Event::Entry { data, .. } => data.as_ref().map_or(0, Data::len),
                Event::Broadcast { packet, .. } => OVERHEAD + packet.len(),
                Event::Published(Completion { local: Local::Packet(packet), .. }) => packet.len(),
                Event::Message { payload, .. } => payload.len(),
                Event::Answer { result: Ok(Answer::Session { session, missed, .. }), .. } => {
                    session.len() + missed.iter().map(|m| OVERHEAD + m.len()).sum::<usize>()
                }
                Event::Debug { line } => line.len(),
                _ => 0,
            }
    }
}

/// Names one publish between JS and the engine.
pub type Ticket = u32;

/// How a publish ended.
#[derive(Debug)]
pub struct Completion {
    /// The publish.
    pub ticket: Ticket,
    /// The entry's ID when it is known, or why there is none.
    pub outcome: Result<Option<EntryId>, Error>,
    /// What is to be done about it here.
    pub local: Local,
    /// A join, a leave or a disconnect changes rooms.
    pub pin: Option<InterestPin>,
}

/// The local part of a publish.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Local {
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
pub enum Missed {
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
    pub fn len(&self) -> usize {
        match self {
            Self::Packet(packet) => packet.len(),
            Self::Entry { data, .. } => data.len(),
        }
    }

    /// True when there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionName {
    /// That of a stream's reader.
    Reader,
    /// That of a stream's writer.
    Writer,
    /// That of requests, answers and heartbeats.
    PubSub,
}

impl ConnectionName {
    /// The name that JS gets.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Writer => "writer",
            Self::PubSub => "pubsub",
        }
    }
}
