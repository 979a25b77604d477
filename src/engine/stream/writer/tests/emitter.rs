//! The writer of an emitter, which has no reader.

use std::time::Duration;

use tokio::time::sleep;

use super::publish;
use crate::engine::error::Error;
use crate::engine::stream::Progress;
use crate::testing::{ScriptedConnection, ScriptedRedis, TestNode, id, reply};

fn emitter() -> (ScriptedRedis, TestNode) {
    let redis = ScriptedRedis::new();
    let node = TestNode::new(&redis);
    node.stream.progress.send_replace(Progress::Unread);
    node.start_writer();
    (redis, node)
}

/// The writer asks for the stream's last entry, which has the ID `id`.
async fn tail(connection: &mut ScriptedConnection, id: &str) {
    let entries = reply::array(&[reply::entry_of_upstream(id)]);
    connection.expect("XREVRANGE").await.reply(entries).await;
}

#[tokio::test(start_paused = true)]
async fn it_connects_with_the_first_publish_and_is_done_at_the_reply() {
    let (mut redis, node) = emitter();
    sleep(Duration::from_secs(60)).await;
    assert!(!redis.is_dialled());
    publish(&node, [1]);
    let mut connection = redis.accept().await;
    tail(&mut connection, "5-0").await;
    connection.expect_batch(1).await.execute(&["6-0"]).await;
    assert_eq!(node.published().await.1.unwrap(), Some(id(6)));
    // The writer asks for nothing while there is nothing to write.
    connection.while_answering(sleep(Duration::from_secs(60))).await;
    assert!(!connection.has_answered("XINFO"));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_while_nothing_is_written_leaves_no_doubt() {
    let (mut redis, node) = emitter();
    publish(&node, [1]);
    let mut connection = redis.accept().await;
    tail(&mut connection, "5-0").await;
    connection.expect_batch(1).await.execute(&["6-0"]).await;
    node.published().await.1.unwrap();
    drop(connection);
    sleep(Duration::from_millis(1)).await;
    assert!(!node.stream.writer_health.is_connected());
    publish(&node, [2]);
    let mut connection = redis.accept().await;
    let batch = connection.expect_batch(1).await;
    assert_eq!(batch.seqs(), [2]);
    batch.execute(&["7-0"]).await;
    node.published().await.1.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_batch_in_doubt_is_looked_for_behind_the_tail_of_the_first_connection() {
    let (mut redis, node) = emitter();
    publish(&node, [1]);
    let mut connection = redis.accept().await;
    tail(&mut connection, "5-0").await;
    connection.expect_batch(1).await;
    drop(connection);
    let mut connection = redis.accept().await;
    connection.expect("CLIENT KILL").await.reply(reply::int(1)).await;
    tail(&mut connection, "6-0").await;
    let command = connection.expect("XRANGE").await;
    assert_eq!(command.words[2], "5-1");
    let ours = reply::entry_of("6-0", node.stream.writer_id, 1);
    command.reply(reply::array(&[ours])).await;
    assert!(matches!(node.warning().await, Error::Connection { .. }));
    assert_eq!(node.published().await.1.unwrap(), Some(id(6)));
}

#[tokio::test(start_paused = true)]
async fn where_the_stream_fell_back_it_is_looked_for_from_the_start() {
    let (mut redis, node) = emitter();
    publish(&node, [1]);
    let mut connection = redis.accept().await;
    tail(&mut connection, "5-0").await;
    connection.expect_batch(1).await;
    drop(connection);
    let mut connection = redis.accept().await;
    connection.expect("CLIENT KILL").await.reply(reply::int(1)).await;
    tail(&mut connection, "2-0").await;
    let command = connection.expect("XRANGE").await;
    assert_eq!(command.words[2], "0-1");
    let ours = reply::entry_of("2-0", node.stream.writer_id, 1);
    command.reply(reply::array(&[ours])).await;
    assert!(matches!(node.warning().await, Error::Connection { .. }));
    assert_eq!(node.published().await.1.unwrap(), Some(id(2)));
}

#[tokio::test(start_paused = true)]
async fn without_the_permission_to_look_it_writes_all_the_same() {
    let (mut redis, node) = emitter();
    publish(&node, [1]);
    let mut connection = redis.accept().await;
    connection.expect("XREVRANGE").await.refuse("NOPERM no permissions").await;
    connection.expect_batch(1).await.execute(&["6-0"]).await;
    assert!(matches!(node.warning().await, Error::Refused { command: "XREVRANGE", .. }));
    assert_eq!(node.published().await.1.unwrap(), Some(id(6)));
}
