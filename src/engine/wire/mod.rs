//! The formats of what travels: entry IDs, stream entries, broadcasts inside them, sessions,
//! PUB/SUB messages, heartbeats among our nodes.

mod answer;
mod binary;
mod broadcast;
mod entry_id;
mod entry;
mod frame;
mod member;
mod message;
mod msgpack;
mod packet;
mod room;
mod session;
mod shape;

pub use answer::request_of;
pub use binary::{to_json, to_msgpack};
pub use broadcast::{BroadcastHead, Flags, Judgement, Membership};
pub use entry::{
    ADAPTER_CLOSE, ANSWERS, BROADCAST, DISCONNECT_SOCKETS, Data, DataView, EMITTER, Entry,
    EntryData, EntryError, HEARTBEAT, INITIAL_HEARTBEAT, MessageType, Origin, fields_of,
    parse_entry,
};
pub use entry_id::{EntryId, digits};
pub use frame::text_frame;
pub use member::{MemberMessage, MemberNews};
pub use message::{position, with_position};
pub use msgpack::is_msgpack;
pub use packet::Packet;
pub use room::Room;
pub use session::{SessionHead, decode_session, encode_session};
