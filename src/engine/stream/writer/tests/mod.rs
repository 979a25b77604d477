//! The writer against scripted servers. "The writer" in docs/architecture.md lists the branches.

mod batches;
mod checks;
mod closing;
mod connecting;
mod doubts;
mod emitter;
mod retention;

use crate::testing::{ScriptedConnection, ScriptedRedis, TestNode, id, reply};

/// Servers with a stream that ends at `5-0`, and a node whose reader is at that end.
fn node_at_the_end() -> (ScriptedRedis, TestNode) {
    let mut redis = ScriptedRedis::new();
    redis.answer("XINFO", reply::info("1-0", "5-0", 5, 5));
    let node = TestNode::new(&redis);
    node.start_writer_at(id(5));
    (redis, node)
}

/// Acts as if the reader had reached the stream's end at `ms` without meeting own entries.
fn advance(node: &TestNode, connection: &mut ScriptedConnection, ms: u64) {
    node.stream.cursor().position = id(ms);
    connection.answer("XINFO", reply::info("1-0", &format!("{ms}-0"), 5, 5));
}

/// Publishes one message for each ticket.
fn publish<const N: usize>(node: &TestNode, tickets: [u32; N]) {
    tickets.into_iter().for_each(|ticket| node.publish(ticket));
}
