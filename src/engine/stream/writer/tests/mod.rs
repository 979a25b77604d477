//! The writer, against servers that the test plays. "The writer" in docs/architecture.md names the
//! branches.

mod batches;
mod checks;
mod connecting;
mod doubts;
mod emitter;

use crate::testing::{ScriptedConnection, ScriptedRedis, TestNode, id, reply};

/// A node whose reader stands at `5-0`, the end of the stream, and servers where the stream is so.
fn node_at_the_end() -> (ScriptedRedis, TestNode) {
    let mut redis = ScriptedRedis::new();
    redis.answer("XINFO", reply::info("1-0", "5-0", 5, 5));
    let node = TestNode::new(&redis);
    node.start_writer_at(id(5));
    (redis, node)
}

/// As if the reader had come to `ms`, the end of the stream, without having met entries of our own.
fn advance(node: &TestNode, connection: &mut ScriptedConnection, ms: u64) {
    node.stream.cursor().position = id(ms);
    connection.answer("XINFO", reply::info("1-0", &format!("{ms}-0"), 5, 5));
}

/// Publishes these.
fn publish<const N: usize>(node: &TestNode, tickets: [u32; N]) {
    tickets.into_iter().for_each(|ticket| node.publish(ticket));
}
