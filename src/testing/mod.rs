//! Scripted Redis servers. The tasks of an engine run against them over sockets in memory, under
//! tokio's paused clock, so a test of a state machine takes milliseconds.
//!
//! - `redis`: takes connections.
//! - `connection`: reads commands, and answers as the test tells it.
//! - `reply`: replies in RESP.
//! - `node`: what the tasks of one engine share.
//!
//! Tests with real servers are in `__test__/`; these test each branch on its own.

mod connection;
mod node;
mod redis;
pub(crate) mod reply;

pub(crate) use connection::{NO_COMMANDS, NOW_MS, ScriptedConnection};
pub(crate) use node::TestNode;
pub(crate) use redis::ScriptedRedis;

use std::sync::Arc;
use std::time::Duration;

use crate::engine::event::{Broadcast, StreamEvent};
use crate::engine::namespaces::Namespace;
use crate::engine::wire::{BroadcastHead, EntryId, Packet};

/// How long a test waits for anything, by the paused clock.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for something that must come, so that no test waits for ever.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(result) => result,
        Err(_) => panic!("{what}: nothing came"),
    }
}

/// `ms-0`.
pub(crate) fn id(ms: u64) -> EntryId {
    EntryId { ms, seq: 0 }
}

/// A broadcast to a room, with the ID `1-<seq>`.
pub(crate) fn broadcast(namespace: &Arc<Namespace>, room: &str, seq: u64) -> StreamEvent {
    let json = format!(
        r#"{{"opts":{{"rooms":["{room}"],"except":[]}},"packet":{{"type":2,"data":["e"]}}}}"#
    );
    StreamEvent::Broadcast(Broadcast {
        namespace: namespace.clone(),
        id: EntryId { ms: 1, seq },
        head: BroadcastHead::from_json(&json).unwrap(),
        packet: Packet { text: String::new(), attachments: vec![] },
    })
}
