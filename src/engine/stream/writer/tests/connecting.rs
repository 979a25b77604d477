//! How the writer connects to its server.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::{node_at_the_end, publish};
use crate::engine::error::Error;
use crate::engine::stream::Progress;
use crate::testing::{ScriptedRedis, TestNode, id, reply};

#[tokio::test(start_paused = true)]
async fn nothing_is_written_before_the_reader_knows_where_it_starts() {
    let mut redis = ScriptedRedis::new();
    redis.answer("XINFO", reply::info("1-0", "5-0", 5, 5));
    let node = TestNode::new(&redis);
    publish(&node, [1]);
    node.start_writer();
    sleep(Duration::from_secs(60)).await;
    assert!(!redis.is_dialled());
    node.stream.progress.send_replace(Progress::At(id(5)));
    redis.accept().await.expect_batch(1).await;
    assert_eq!(node.stream.cursor().written, id(5));
}

#[tokio::test(start_paused = true)]
async fn publishes_wait_while_nobody_answers_which_is_warned_of_once() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1, 2]);
    for _ in 0..5 {
        redis.refuse().await;
    }
    let mut connection = redis.accept().await;
    assert_eq!(connection.expect_batch(2).await.seqs(), [1, 2]);
    assert!(matches!(node.warning().await, Error::Connection { .. }));
    assert!(node.events().is_empty());
    assert_eq!(node.stats.doubtful.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_fail_publishes_at_once_and_are_tried_again() {
    let mut redis = ScriptedRedis::new();
    redis.answer("XINFO", reply::info("1-0", "5-0", 5, 5));
    let node = TestNode::with_settings(&redis, r#"{"password":"p"}"#);
    publish(&node, [1]);
    node.start_writer_at(id(5));
    let mut connection = redis.accept().await;
    connection.expect("AUTH").await.refuse("WRONGPASS invalid password").await;
    assert!(matches!(node.warning().await, Error::Auth { .. }));
    assert!(matches!(node.published().await, (1, Err(Error::Auth { .. }))));
    publish(&node, [2]);
    assert!(matches!(node.published().await, (2, Err(Error::Auth { .. }))));
    assert!(!redis.is_dialled(), "it waits before it tries again");
    let mut connection = redis.accept().await;
    connection.expect("XINFO").await.reply(reply::info("1-0", "5-0", 5, 5)).await;
    publish(&node, [3]);
    connection.expect_batch(1).await.execute(&["6-0"]).await;
    connection.while_answering(node.stream.queue.ended(3)).await;
    assert_eq!(node.stats.published.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn it_does_without_client_and_info() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1]);
    let mut connection = redis.accept().await;
    // The connector asks for the `run_id`, and the writer again, since it got none.
    connection.expect("INFO").await.refuse("NOPERM no permissions").await;
    connection.expect("CLIENT INFO").await.reply(reply::text("id=1 addr=10.0.0.1:1")).await;
    connection.expect("INFO").await.refuse("NOPERM no permissions").await;
    connection.expect_batch(1).await.execute(&["6-0"]).await;
    assert!(matches!(node.warning().await, Error::Refused { command: "INFO", .. }));
}

/// A node in a cluster in which `a` serves all slots.
fn cluster(redis: &ScriptedRedis) -> TestNode {
    TestNode::with_settings(redis, r#"{"kind":"cluster","nodes":[{"host":"a","port":1}]}"#)
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_has_moved_is_followed_without_a_warning_or_a_doubt() {
    let mut redis = ScriptedRedis::new();
    redis.answer("XINFO", reply::info("1-0", "5-0", 5, 5));
    let node = cluster(&redis);
    publish(&node, [1, 2]);
    node.start_writer_at(id(5));
    redis.accept_at("a:1").await.expect("CLUSTER SLOTS").await.reply(slots_at_a()).await;
    let mut connection = redis.accept_at("a:1").await;
    connection.expect_batch(2).await.refuse("MOVED 1234 b:2").await;
    connection.closed().await;
    let mut connection = redis.accept_at("b:2").await;
    let batch = connection.expect_batch(2).await;
    assert_eq!(batch.seqs(), [1, 2]);
    batch.execute(&["6-0", "7-0"]).await;
    connection.while_answering(node.stream.queue.ended(2)).await;
    assert!(node.events().is_empty(), "a slot that moves is no fault");
    assert!(!connection.has_answered("ASKING"));
}

#[tokio::test(start_paused = true)]
async fn a_slot_on_its_way_is_asked_for_at_its_new_node() {
    let mut redis = ScriptedRedis::new();
    redis.answer("XINFO", reply::info("1-0", "5-0", 5, 5));
    let node = cluster(&redis);
    publish(&node, [1, 2]);
    node.start_writer_at(id(5));
    redis.accept_at("a:1").await.expect("CLUSTER SLOTS").await.reply(slots_at_a()).await;
    let mut connection = redis.accept_at("a:1").await;
    connection.expect_batch(2).await.refuse("ASK 1234 b:2").await;
    let mut connection = redis.accept_at("b:2").await;
    connection.expect("CLIENT INFO").await.reply(reply::text("id=1 addr=10.0.0.1:1")).await;
    connection.expect("INFO").await.reply(reply::text("run_id:run-1\r\n")).await;
    connection.expect("ASKING").await.reply(reply::ok()).await;
    let batch = connection.expect_batch(2).await;
    assert!(batch.is_transaction);
    batch.execute(&["6-0", "7-0"]).await;
    connection.while_answering(node.stream.queue.ended(2)).await;
}

#[tokio::test(start_paused = true)]
async fn where_multi_is_refused_while_a_slot_moves_each_command_follows_an_asking() {
    let mut redis = ScriptedRedis::new();
    redis.answer("XINFO", reply::info("1-0", "5-0", 5, 5));
    let node = cluster(&redis);
    publish(&node, [1, 2]);
    node.start_writer_at(id(5));
    redis.accept_at("a:1").await.expect("CLUSTER SLOTS").await.reply(slots_at_a()).await;
    let mut connection = redis.accept_at("a:1").await;
    connection.expect_batch(2).await.refuse("ASK 1234 b:2").await;
    let mut connection = redis.accept_at("b:2").await;
    // ASKING holds for one command, and that was the refused MULTI.
    let moved = [reply::error("MOVED 1234 a:1"), reply::error("MOVED 1234 a:1")];
    connection.expect_batch(2).await.refuse_multi("NOPERM no permissions", &moved).await;
    let mut connection = redis.accept_at("a:1").await;
    let asks = [reply::error("ASK 1234 b:2"), reply::error("ASK 1234 b:2")];
    let batch = connection.expect_batch(2).await;
    assert!(!batch.is_transaction);
    batch.reply_each(&asks).await;
    let mut connection = redis.accept_at("b:2").await;
    connection.expect("INFO").await.reply(reply::text("run_id:run-1\r\n")).await;
    for (seq, id) in [(1, "6-0"), (2, "7-0")] {
        connection.expect("ASKING").await.reply(reply::ok()).await;
        let batch = connection.expect_batch(1).await;
        assert_eq!(batch.seqs(), [seq]);
        batch.execute(&[id]).await;
    }
    connection.while_answering(node.stream.queue.ended(2)).await;
}

#[tokio::test(start_paused = true)]
async fn in_a_cluster_the_reader_is_told_that_another_node_took_over() {
    let mut redis = ScriptedRedis::new();
    redis.answer("XINFO", reply::info("1-0", "5-0", 5, 5));
    let node = cluster(&redis);
    node.start_writer_at(id(5));
    redis.accept_at("a:1").await.expect("CLUSTER SLOTS").await.reply(slots_at_a()).await;
    let mut connection = redis.accept_at("a:1").await;
    connection.expect("XINFO").await;
    drop(connection);
    redis.run_id = "run-2".to_owned();
    redis.accept_at("a:1").await.expect("CLUSTER SLOTS").await.reply(slots_at_a()).await;
    let mut connection = redis.accept_at("a:1").await;
    let told = connection.while_answering(node.stream.restart_reader.notified());
    assert!(timeout(Duration::from_millis(10), told).await.is_ok());
}

fn slots_at_a() -> Vec<u8> {
    let master = reply::array(&[reply::text("a"), reply::int(1), reply::text("id")]);
    reply::array(&[reply::array(&[reply::int(0), reply::int(16_383), master])])
}
