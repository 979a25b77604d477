//! The engine ends in the middle of the writer's work: every publish that is left ends then.

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::engine::error::Error;
use crate::engine::event::Ticket;
use crate::engine::stream::{Progress, Publish};
use crate::engine::wire::{BROADCAST, Data};
use crate::testing::{ScriptedConnection, ScriptedRedis, TestNode, id, reply};

/// What JS keeps of each publish, bytes.
const KEPT: usize = 1_000;

/// A node at the end of a stream whose state nobody asks for, and its writer.
fn node() -> (ScriptedRedis, TestNode, JoinHandle<()>) {
    let mut redis = ScriptedRedis::new();
    redis.answer("XINFO", reply::info("1-0", "5-0", 5, 5));
    redis.answer("CLIENT KILL", reply::int(1));
    redis.answer("XRANGE", reply::array(&[]));
    let node = TestNode::new(&redis);
    let writer = node.start_writer_at(id(5));
    (redis, node, writer)
}

/// Publishes `count` messages, of which JS keeps something.
fn publish(node: &TestNode, count: Ticket) {
    for ticket in 1..=count {
        let publish = Publish {
            ticket: Some(ticket),
            namespace: node.namespace.clone(),
            kind: BROADCAST,
            data: Some(Data::Json(reply::DATA.into())),
            kept_by_js: KEPT,
            at: Instant::now(),
        };
        node.stream.queue.push(publish).unwrap();
    }
}

/// The connection breaks over a batch of so many. The next one is ready.
async fn cut(redis: &mut ScriptedRedis, count: usize) -> ScriptedConnection {
    let mut connection = redis.accept().await;
    drop(connection.expect_batch(count).await);
    drop(connection);
    redis.accept().await
}

/// The tickets that end, all as closed, when the engine ends.
async fn end(node: &TestNode, writer: JoinHandle<()>) -> Vec<Ticket> {
    writer.abort();
    let _ = writer.await;
    let done = node.stream.end_rest(&mut node.stream.cursor());
    assert!(done.iter().all(|done| matches!(done.outcome, Err(Error::Closed))));
    assert_eq!(node.stream.queue.len_and_bytes(), (0, 0));
    done.into_iter().map(|done| done.ticket).collect()
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_sent_in_smaller_batches_ends_too() {
    let (mut redis, node, writer) = node();
    publish(&node, 7);
    let mut connection = cut(&mut redis, 7).await;
    assert_eq!(connection.expect_batch(3).await.seqs(), [1, 2, 3]);
    assert_eq!(end(&node, writer).await, [1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test(start_paused = true)]
async fn an_emitter_ends_it_too() {
    let (mut redis, node, writer) = node();
    node.stream.progress.send_replace(Progress::Unread);
    redis.answer("XREVRANGE", reply::array(&[]));
    publish(&node, 7);
    let mut connection = cut(&mut redis, 7).await;
    connection.expect_batch(3).await;
    assert_eq!(end(&node, writer).await, [1, 2, 3, 4, 5, 6, 7]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_to_be_sent_in_smaller_batches_counts_in_the_queue() {
    let (mut redis, node, _writer) = node();
    publish(&node, 7);
    let (_, whole) = node.stream.queue.len_and_bytes();
    let mut connection = cut(&mut redis, 7).await;
    connection.expect_batch(3).await;
    let (count, bytes) = node.stream.queue.len_and_bytes();
    assert_eq!(count, 7);
    assert_eq!(bytes, 3 * KEPT + 4 * (whole / 7), "three are on their way, four wait");
}

#[tokio::test(start_paused = true)]
async fn smaller_batches_keep_the_order() {
    let (mut redis, node, _writer) = node();
    publish(&node, 7);
    let mut connection = cut(&mut redis, 7).await;
    connection.expect_batch(3).await;
    node.publish(8);
    drop(connection);
    let mut connection = redis.accept().await;
    connection.answer("XINFO", reply::info("1-0", "14-0", 5, 5));
    node.stream.cursor().position = id(14);
    let batch = connection.expect_batch(1).await;
    assert_eq!(batch.seqs(), [1]);
    batch.execute(&["7-0"]).await;
    connection.expect_batch(2).await.execute(&["8-0", "9-0"]).await;
    connection.expect_batch(4).await.execute(&["10-0", "11-0", "12-0", "13-0"]).await;
    connection.expect_batch(1).await.execute(&["14-0"]).await;
    assert!(matches!(node.warning().await, Error::Connection { .. }));
    for ticket in 1..=8 {
        let (done, outcome) = connection.while_answering(node.published()).await;
        assert_eq!((done, outcome.unwrap()), (ticket, Some(id(6 + u64::from(ticket)))));
    }
}
