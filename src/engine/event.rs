//! The events that the engine passes to the JS thread through its inbox.
//!
//! There are two kinds, which differ in the code that may push them. A [`StreamEvent`] has a place
//! in a stream's order, and only code that holds the lock of the stream's cursor can push one. A
//! [`Notice`] has no such place.

use std::sync::Arc;
use std::time::Duration;

use super::error::Error;
use super::membership::Changes;
use super::memory::{allocated, buffer, shared};
use super::missed::MissedList;
use super::namespaces::{Namespace, NamespaceHandle};
use super::wire::{BroadcastHead, Data, EntryId, MessageType, Packet};

/// Names a call of JS that the engine answers with an event.
pub(crate) type CallId = u32;

/// About the bytes that an error takes on the heap: a few short texts.
const ERROR: usize = 256;

/// Something for JS to handle.
#[derive(Debug)]
pub(crate) enum Event {
    Stream(StreamEvent),
    Notice(Notice),
}

/// Something that has a place in a stream's order.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// An entry that another node wrote.
    Entry {
        namespace: NamespaceHandle,
        /// The node that wrote it.
        uid: Arc<str>,
        kind: MessageType,
        id: EntryId,
        data: Option<Data>,
    },
    /// A broadcast of another node.
    Broadcast(Broadcast),
    /// A publish of this engine has ended. If it has an entry, this event has the entry's place.
    Published(Completion),
    /// A PUB/SUB message, behind the entries that its sender had written before it.
    Message {
        namespace: NamespaceHandle,
        /// msgpack of a whole message.
        payload: Vec<u8>,
    },
    /// A session was restored. Its client gets the events behind this one live.
    Restored {
        /// The call that asked for the session.
        call: CallId,
        /// msgpack of `{sid, pid, rooms, data}`.
        session: Vec<u8>,
        /// Numbers the restores of the session.
        generation: u32,
        /// The broadcasts that the client missed, in order.
        missed: Arc<MissedList>,
        /// The ID of the entry up to which `missed` goes.
        position: EntryId,
    },
    /// Entries of a stream were lost, or may have been.
    Lost {
        /// The stream's index.
        stream: u32,
        loss: Loss,
        /// How many entries, if that is known.
        entries: Option<u64>,
    },
}

/// A broadcast of another node, ready to be sent to local sockets.
#[derive(Debug)]
pub(crate) struct Broadcast {
    pub(crate) namespace: Arc<Namespace>,
    /// The entry's ID. Both its numbers are exact as JS numbers.
    pub(crate) id: EntryId,
    /// Which rooms get it, and how. All its rooms have names.
    pub(crate) head: BroadcastHead,
    /// The Socket.IO packet, its offset included.
    pub(crate) packet: Packet,
}

/// Something that has no place in a stream's order.
#[derive(Debug)]
pub(crate) enum Notice {
    /// The answer to a call.
    Answered { call: CallId, result: Result<Answer, Error> },
    /// Nodes of this package have come or gone: JS counts again for its open requests.
    MembersChanged {
        /// `None` over PUB/SUB: there a heartbeat counts for all namespaces.
        namespace: Option<NamespaceHandle>,
        changes: Changes,
    },
    /// A connection that was broken is open again.
    Reconnected {
        connection: ConnectionName,
        /// The index of the connection's stream; `None` for PUB/SUB.
        stream: Option<u32>,
        /// How long it was away.
        away: Duration,
    },
    /// A new connection needs the credentials.
    CredentialsWanted {
        /// JS returns this number with them.
        request: u32,
    },
    /// An error that the operator must know.
    Warning(Error),
    /// The session of a client that is still connected here is not this node's any more.
    SessionTaken {
        namespace: NamespaceHandle,
        /// The client's private session ID.
        pid: String,
        /// Whether it has expired, since this node showed no sign of life for long. Otherwise another
        /// node has restored it.
        has_expired: bool,
    },
    /// Redis may have lost records of connected clients: JS writes them again.
    RecordsInDoubt,
    /// The client of a session has not come back in time. No other node gets this.
    SessionExpired {
        namespace: NamespaceHandle,
        /// msgpack.
        session: Vec<u8>,
    },
    /// All outages that the engine has warned of are over.
    OutageOver,
    /// A line for `DEBUG=`.
    Debug(String),
}

/// The answer to a call. [`StreamEvent::Restored`] answers a restore.
#[derive(Debug)]
pub(crate) enum Answer {
    /// What was asked for is done.
    Done,
    /// Which nodes listen in a namespace.
    Subscribers(SubscriberCount),
    /// The client whose session was asked for is still connected to another node.
    Owned {
        /// The node's uid.
        owner: String,
    },
}

/// Which nodes listen to a namespace's requests, this one not included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SubscriberCount {
    /// Uids of the nodes of this package that are alive.
    pub(crate) known: Vec<String>,
    /// How many further nodes listen: upstream nodes, and nodes without a heartbeat yet.
    pub(crate) others: u32,
    /// For each uid that was asked about, in that order: whether the node listens.
    pub(crate) present: Vec<bool>,
}

/// How entries were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Entries were trimmed before this node read them, or lost in a failover.
    Trimmed,
    /// The stream was deleted, or replaced by another one.
    Deleted,
    /// The stream's end fell back behind the reader's position.
    FellBack,
    /// The stream's key holds something other than a stream.
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
    /// What a restored client missed.
    pub(crate) fn missed(&self) -> Option<(CallId, Arc<MissedList>)> {
        match self {
            Event::Stream(StreamEvent::Restored { call, missed, .. }) => {
                Some((*call, missed.clone()))
            }
            _ => None,
        }
    }

    /// See [`StreamEvent::may_change_rooms`].
    pub(crate) fn may_change_rooms(&self) -> bool {
        match self {
            Event::Stream(event) => event.may_change_rooms(),
            Event::Notice(_) => true,
        }
    }

    /// The bytes that it takes in the inbox.
    pub(crate) fn size(&self) -> usize {
        match self {
            Event::Stream(event) => event.size(),
            Event::Notice(notice) => size_of::<Self>() + notice.heap(),
        }
    }
}

impl StreamEvent {
    /// Whether sockets may join rooms while JS handles it. Packets do not count, although a listener
    /// for outgoing packets may do anything.
    pub(crate) fn may_change_rooms(&self) -> bool {
        match self {
            StreamEvent::Broadcast(_) => false,
            StreamEvent::Published(Completion { local, .. }) => *local == Local::Js,
            _ => true,
        }
    }

    /// The bytes that it takes in the inbox.
    pub(crate) fn size(&self) -> usize {
        let heap = match self {
            StreamEvent::Entry { uid, data, .. } => {
                shared(uid.len()) + data.as_ref().map_or(0, Data::heap)
            }
            StreamEvent::Broadcast(Broadcast { head, packet, .. }) => head.heap() + packet.heap(),
            StreamEvent::Published(Completion { outcome: Err(_), .. }) => ERROR,
            StreamEvent::Published(Completion { local: Local::Packet(packet), .. }) => {
                packet.heap()
            }
            StreamEvent::Message { payload, .. } => allocated(payload.capacity()),
            StreamEvent::Restored { session, missed, .. } => {
                allocated(session.capacity()) + missed.size()
            }
            StreamEvent::Published(_) | StreamEvent::Lost { .. } => 0,
        };
        size_of::<Event>() + heap
    }
}

impl Notice {
    /// The bytes that it takes on the heap.
    fn heap(&self) -> usize {
        let uids = |uids: &Vec<String>| {
            let each = uids.iter().map(|uid| allocated(uid.capacity()));
            buffer::<String>(uids.capacity()) + each.sum::<usize>()
        };
        match self {
            Notice::Debug(line) => allocated(line.capacity()),
            Notice::SessionTaken { pid, .. } => allocated(pid.capacity()),
            Notice::SessionExpired { session, .. } => allocated(session.capacity()),
            Notice::Answered { result: Ok(Answer::Owned { owner }), .. } => {
                allocated(owner.capacity())
            }
            Notice::Warning(_) | Notice::Answered { result: Err(_), .. } => ERROR,
            Notice::Answered { result: Ok(Answer::Subscribers(count)), .. } => {
                uids(&count.known) + buffer::<bool>(count.present.capacity())
            }
            Notice::MembersChanged { changes: Changes { came, left, silent }, .. } => {
                [came, left, silent].into_iter().map(uids).sum()
            }
            Notice::Answered { .. }
            | Notice::Reconnected { .. }
            | Notice::RecordsInDoubt
            | Notice::CredentialsWanted { .. }
            | Notice::OutageOver => 0,
        }
    }

    /// Reports nodes that came or went; `None` if there are none.
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
    pub(crate) ticket: Ticket,
    /// The entry's ID if it is known, or the reason why there is no entry.
    pub(crate) outcome: Result<Option<EntryId>, Error>,
    pub(crate) local: Local,
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

/// Which of the engine's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionName {
    /// The connection of a stream's reader.
    Reader,
    /// The connection of a stream's writer.
    Writer,
    /// The connection of requests, answers and heartbeats.
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
