//! The reader and the writer of one stream together, through a failover.

use tokio::time::sleep;

use std::time::Duration;

use crate::engine::error::Error;
use crate::engine::event::Local;
use crate::testing::{ScriptedConnection, ScriptedRedis, TestNode, id, reply};

const SENTINEL: &str = r#"{"kind":"sentinel","sentinel":{"name":"mymaster",
    "nodes":[{"host":"s","port":1}]}}"#;

/// The sentinel names `host` as the master, to all who connect at that time.
async fn name(redis: &mut ScriptedRedis, host: &str) {
    let mut sentinel = redis.accept_at("s:1").await;
    let command = sentinel.expect("SENTINEL GET-MASTER-ADDR-BY-NAME mymaster").await;
    command.reply(reply::array(&[reply::text(host), reply::text("7")])).await;
}

fn entry(ms: u64) -> Vec<u8> {
    reply::entry_of_upstream(&format!("{ms}-0"))
}

/// A node that reads and writes at `m1`, where the stream ends at `5-0`. Returns the connections of
/// its reader and its writer.
async fn node_at_m1() -> (ScriptedRedis, TestNode, ScriptedConnection, ScriptedConnection) {
    let mut redis = ScriptedRedis::new();
    redis.answer("XINFO", reply::info("1-0", "5-0", 5, 5));
    let node = TestNode::with_settings(&redis, SENTINEL);
    node.start_reader();
    node.start_writer();
    name(&mut redis, "m1").await;
    let mut reader = redis.accept_at("m1:7").await;
    reader.expect("XREVRANGE").await.reply(reply::array(&[entry(5)])).await;
    reader.expect("XREAD").await.reply(reply::no_page()).await;
    reader.expect("XREAD").await;
    let mut writer = redis.accept_at("m1:7").await;
    writer.expect("XINFO").await.reply(reply::info("1-0", "5-0", 5, 5)).await;
    // What the sentinel said is not asked again before this.
    sleep(Duration::from_millis(200)).await;
    (redis, node, reader, writer)
}

#[tokio::test(start_paused = true)]
async fn a_master_that_became_a_replica_is_left_by_both() {
    let (mut redis, node, mut reader, mut writer) = node_at_m1().await;
    redis.run_id = "run-2".to_owned();
    node.publish(1);
    writer.expect_batch(1).await.refuse("READONLY You can't write against a replica").await;
    writer.closed().await;
    name(&mut redis, "m2").await;
    let mut one = redis.accept_at("m2:7").await;
    let mut other = redis.accept_at("m2:7").await;
    reader.closed().await;
    // The reader was told to connect again, so it is the first one to connect.
    one.expect("XREAD").await.reply(reply::no_page()).await;
    one.expect("XREAD").await.reply(reply::page(&[entry(6)])).await;
    assert!(matches!(node.warning().await, Error::Unavailable { .. }));
    assert_eq!(node.delivered().await, id(6));
    other.expect_batch(1).await.execute(&["7-0"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_batch_in_doubt_is_looked_for_at_the_next_master_and_the_reader_leaves_the_hanging_one() {
    let (mut redis, node, mut reader, mut writer) = node_at_m1().await;
    redis.run_id = "run-2".to_owned();
    node.publish(1);
    writer.expect_batch(1).await;
    drop(writer);
    // The sentinel does not know the new master yet.
    name(&mut redis, "m1").await;
    redis.refuse().await;
    name(&mut redis, "m2").await;
    let mut writer = redis.accept_at("m2:7").await;
    let command = writer.expect("XRANGE").await;
    assert_eq!(command.words[2], "5-1");
    command.reply(reply::array(&[])).await;
    writer.expect("XRANGE").await.reply(reply::array(&[entry(1)])).await;
    let batch = writer.expect_batch(1).await;
    assert_eq!(batch.seqs(), [1]);
    batch.execute(&["6-0"]).await;
    assert_eq!(node.stats.doubtful.get(), 0);
    let mut second = redis.accept_at("m2:7").await;
    reader.closed().await;
    let own = reply::entry_of("6-0", node.stream.writer_id, 1);
    second.expect("XREAD").await.reply(reply::page(&[own])).await;
    assert!(matches!(node.warning().await, Error::Connection { .. }));
    assert_eq!(node.published().await.1.unwrap(), Some(id(6)));
    sleep(Duration::from_millis(1)).await;
    assert!(node.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_clients_were_sent_is_certain_once_js_has_handled_it_and_nothing_is_missing() {
    let redis = ScriptedRedis::new();
    let node = TestNode::new(&redis);
    let sent_up_to = |after: u64| node.stream.cursor().sent_up_to(id(after));
    node.stream.cursor().position = id(9);
    assert_eq!(sent_up_to(5), None, "JS has not handled it");
    node.stream.cursor().handled_all();
    assert_eq!(sent_up_to(5), Some(id(9)));
    assert_eq!(sent_up_to(9), None, "nothing came behind it");
    node.stream.cursor().position = id(11);
    assert_eq!(sent_up_to(5), Some(id(9)), "JS has not handled more");
    node.stream.cursor().hole_behind = id(6);
    assert_eq!(sent_up_to(6), None, "entries are missing");
    assert_eq!(sent_up_to(7), Some(id(9)));
    node.stream.cursor().delivered_without_entry();
    node.stream.cursor().handled_all();
    assert_eq!(sent_up_to(7), None, "clients got packets that have no entry");
    node.stream.cursor().local_only.accepted();
    assert_eq!(sent_up_to(7), None, "JS may have yet to deliver such a packet");
    {
        let mut cursor = node.stream.cursor();
        (1..=2).for_each(|ticket| node.publish(ticket));
        cursor.own.sent(1, &node.stream.queue.take_batch(usize::MAX));
        assert!(cursor.own.refused(2, &Error::Closed).is_empty());
        cursor.handled_all();
        assert!(cursor.local_only.is_going_on(), "one waits for an entry that is on its way");
        cursor.own.read(1, id(12), Local::default);
        cursor.handled_all();
    }
    node.stream.cursor().position = id(13);
    node.stream.cursor().handled_all();
    assert_eq!(sent_up_to(12), Some(id(13)));
    node.stream.cursor().moves += 1;
    assert_eq!(sent_up_to(12), None, "the position is another one");
}
