//! The formats of stored and sent data: entry IDs, stream entries, the broadcasts in them,
//! sessions, PUB/SUB messages, and heartbeats between our nodes.

mod answer;
mod binary;
mod broadcast;
mod entry_id;
mod entry;
mod frame;
mod member;
mod memberships;
mod message;
mod msgpack;
mod origin;
mod packet;
mod room;
mod session;
mod shape;

pub(crate) use answer::request_of;
pub(crate) use binary::{to_json, to_msgpack};
pub(crate) use broadcast::{BroadcastHead, Flags};
#[cfg(any(test, fuzzing))]
pub(crate) use entry::BROADCAST;
pub(crate) use entry::{
    ADAPTER_CLOSE, ANSWERS, Data, DataView, EMITTER, Entry, EntryData, EntryError, HAND_OVERS,
    HEARTBEAT, INITIAL_HEARTBEAT, MessageType, fields_of, parse_entry,
};
pub(crate) use entry_id::{EntryId, digits};
pub(crate) use frame::text_frame;
pub(crate) use member::{MemberMessage, MemberNews};
pub(crate) use memberships::{Judgement, Membership, Memberships};
pub(crate) use message::{request_head, with_request_head};
pub(crate) use msgpack::is_msgpack;
pub(crate) use origin::{ORIGIN, Origin};
pub(crate) use packet::Packet;
pub(crate) use room::{Room, Rooms};
pub(crate) use session::{SessionHead, decode_session, encode_session};
