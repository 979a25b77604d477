//! The check, once a second, whether the stream is still the one that we read.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::engine::error::Error;
use crate::engine::event::{Event, Loss, StreamEvent};
use crate::engine::stream::{ConnectedTo, page};
use crate::testing::{ScriptedConnection, ScriptedRedis, TestNode, id, reply};

/// A node whose reader is at `5-0` and has read five entries. Its first check is done.
async fn checked() -> (ScriptedRedis, TestNode, ScriptedConnection) {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::new(&redis);
    {
        let mut cursor = node.stream.cursor();
        cursor.read = 5;
        cursor.history.start(id(1));
    }
    node.start_writer_at(id(5));
    let mut connection = redis.accept().await;
    connection.expect("XINFO").await.reply(reply::info("1-0", "5-0", 5, 5)).await;
    (redis, node, connection)
}

/// Whether the writer has told the reader to connect again.
async fn is_restarted(node: &TestNode) -> bool {
    timeout(Duration::from_secs(1), node.stream.restart_reader.notified()).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn it_is_compared_every_second_and_nothing_happens_while_it_is_sound() {
    let (_redis, node, mut connection) = checked().await;
    for _ in 0..3 {
        let before = tokio::time::Instant::now();
        connection.expect("XINFO").await.reply(reply::info("1-0", "5-0", 5, 5)).await;
        assert_eq!(before.elapsed().as_secs(), 1);
    }
    assert!(node.events().is_empty());
    assert_eq!(node.stream.cursor().position, id(5));
}

#[tokio::test(start_paused = true)]
async fn large_entries_are_not_asked_for_every_second() {
    const MB: usize = 1 << 20;
    let (_redis, node, mut connection) = checked().await;
    connection.expect("XINFO").await.reply(reply::large_info("1-0", "5-0", 2 * MB)).await;
    // Nothing comes: only whether the stream is still there is asked for.
    for _ in 0..10 {
        let command = connection.expect("XRANGE").await;
        assert_eq!(command.behind("COUNT"), "0");
        command.reply(reply::nil()).await;
    }
    // Entries come: as often as the size of the answers allows.
    node.stream.cursor().position = id(9);
    connection.expect("XINFO").await.reply(reply::large_info("1-0", "9-0", 2 * MB)).await;
    for at in 10..14 {
        node.stream.cursor().position = id(at);
        connection.expect("XRANGE").await.reply(reply::nil()).await;
    }
    connection.expect("XINFO").await.reply(reply::large_info("1-0", "13-0", 2 * MB)).await;
    // The stream goes: noticed within a second.
    connection.expect("XRANGE").await.reply(reply::array(&[])).await;
    connection.expect("XINFO").await.reply(reply::no_stream()).await;
    assert_eq!(connection.while_answering(node.lost()).await, (Loss::Deleted, None));
}

#[tokio::test(start_paused = true)]
async fn entries_of_some_kilobytes_are_asked_for_every_second_although_nothing_comes() {
    let (_redis, node, mut connection) = checked().await;
    for _ in 0..3 {
        let answer = reply::large_info("1-0", "5-0", 40 << 10);
        connection.expect("XINFO").await.reply(answer).await;
    }
    connection.expect("XINFO").await.reply(reply::large_info("1-0", "3-0", 40 << 10)).await;
    assert_eq!(connection.while_answering(node.lost()).await, (Loss::FellBack, None));
}

#[tokio::test(start_paused = true)]
async fn a_first_entry_behind_the_position_means_that_it_was_trimmed() {
    let (_redis, node, mut connection) = checked().await;
    connection.expect("XINFO").await.reply(reply::info("7-0", "9-0", 3, 9)).await;
    connection.while_answering(sleep(Duration::from_millis(10))).await;
    let cursor = node.stream.cursor();
    assert!(cursor.may_be_trimmed, "the next page tells how many are missing");
    assert_eq!((cursor.position, cursor.moves), (id(5), 0));
    assert_eq!(node.stats.losses.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_gone_is_a_loss_and_read_from_its_start() {
    let (_redis, node, mut connection) = checked().await;
    connection.expect("XINFO").await.reply(reply::no_stream()).await;
    assert_eq!(connection.while_answering(node.lost()).await, (Loss::Deleted, None));
    assert!(is_restarted(&node).await);
    {
        let cursor = node.stream.cursor();
        assert_eq!((cursor.position, cursor.moves), (id(0), 1));
        // If the stream comes back out of a backup, the entries that were read are not new.
        assert_eq!((cursor.written, cursor.read_again_to), (id(0), Some(id(5))));
    }
    // The writer reports the loss once, not each second.
    connection.expect("XINFO").await.reply(reply::no_stream()).await;
    connection.expect("XINFO").await.reply(reply::no_stream()).await;
    assert_eq!(node.stats.resets.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_written_to_a_stream_that_has_gone_ends() {
    let (_redis, node, mut connection) = checked().await;
    node.publish(1);
    connection.expect_batch(1).await.execute(&["6-0"]).await;
    connection.expect("XINFO").await.reply(reply::no_stream()).await;
    let done = connection.while_answering(node.published()).await;
    assert_eq!(done.1.unwrap(), Some(id(6)));
    assert_eq!(node.lost().await, (Loss::Deleted, None));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fell_back_is_read_again_without_what_was_read_before() {
    let (_redis, node, mut connection) = checked().await;
    connection.expect("XINFO").await.reply(reply::info("1-0", "3-0", 3, 3)).await;
    assert_eq!(node.lost().await, (Loss::FellBack, None));
    assert!(is_restarted(&node).await);
    let cursor = node.stream.cursor();
    assert_eq!((cursor.position, cursor.read_again_to), (id(0), Some(id(3))));
    assert_eq!(cursor.hole_behind, id(3), "no client can be told what it missed since");
    assert_eq!(cursor.history.covered_from(), Some(id(3)));
}

#[tokio::test(start_paused = true)]
async fn fewer_entries_than_before_mean_another_stream_in_which_reading_goes_on() {
    let (_redis, node, mut connection) = checked().await;
    connection.expect("XINFO").await.reply(reply::info("1-0", "5-0", 2, 2)).await;
    assert_eq!(node.lost().await, (Loss::Deleted, None));
    let cursor = node.stream.cursor();
    assert_eq!((cursor.position, cursor.moves), (id(5), 0));
    assert_eq!(cursor.hole_behind, id(5));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_reading_has_overtaken_is_not_judged() {
    let (_redis, node, mut connection) = checked().await;
    let command = connection.expect("XINFO").await;
    node.stream.cursor().position = id(6);
    command.reply(reply::info("1-0", "5-0", 5, 5)).await;
    connection.expect("XINFO").await.reply(reply::info("1-0", "6-0", 6, 6)).await;
    assert!(node.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_stream_is_noticed_while_entries_come_in() {
    let (_redis, node, mut connection) = checked().await;
    let command = connection.expect("XINFO").await;
    {
        let mut cursor = node.stream.cursor();
        (cursor.position, cursor.read) = (id(8), 7);
    }
    command.reply(reply::info("6-0", "8-0", 3, 3)).await;
    assert_eq!(node.lost().await, (Loss::Deleted, None));
    let cursor = node.stream.cursor();
    assert_eq!((cursor.position, cursor.moves, cursor.hole_behind), (id(8), 0, id(8)));
}

#[tokio::test(start_paused = true)]
async fn entries_that_were_never_read_are_counted_while_others_come_in() {
    let (_redis, node, mut connection) = checked().await;
    let reader = node.reader();
    let hand_on = |ids: &[&str]| {
        let entries: Vec<_> = ids.iter().map(|id| reply::entry_of_upstream(id)).collect();
        reader.hand_on(&page(&reply::page(&entries)).unwrap(), 0, false);
    };
    let command = connection.expect("XINFO").await;
    hand_on(&["6-0"]);
    command.reply(reply::info("1-0", "9-0", 9, 9)).await;
    let lost = async {
        tokio::task::yield_now().await;
        // The entry 7-0 was trimmed before it was read.
        hand_on(&["8-0", "9-0"]);
        let is_loss = |event: &Event| matches!(event, Event::Stream(StreamEvent::Lost { .. }));
        node.events().into_iter().find(is_loss)
    };
    let lost = connection.while_answering(lost).await;
    assert!(matches!(
        lost,
        Some(Event::Stream(StreamEvent::Lost { loss: Loss::Trimmed, entries: Some(1), .. }))
    ));
    assert_eq!((node.stats.lost.get(), node.stream.cursor().hole_behind), (1, id(9)));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_emptied_unread_is_a_loss_of_known_size() {
    let (_redis, node, mut connection) = checked().await;
    connection.answer("XINFO", reply::emptied("9-0", 9));
    let lost = connection.while_answering(node.lost()).await;
    assert_eq!(lost, (Loss::Trimmed, Some(4)));
    connection.while_answering(sleep(Duration::from_secs(3))).await;
    assert!(node.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_was_emptied_when_it_was_read_is_no_loss() {
    let (_redis, node, mut connection) = checked().await;
    connection.answer("XINFO", reply::emptied("5-0", 5));
    connection.while_answering(sleep(Duration::from_secs(3))).await;
    assert!(node.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn where_xinfo_is_refused_both_ends_are_read() {
    let (_redis, node, mut connection) = checked().await;
    connection.expect("XINFO").await.refuse("NOPERM no permissions").await;
    let first = reply::array(&[reply::entry_of_upstream("1-0")]);
    connection.expect("XRANGE").await.reply(first).await;
    let last = reply::array(&[reply::entry_of_upstream("3-0")]);
    connection.expect("XREVRANGE").await.reply(last).await;
    assert!(matches!(node.warning().await, Error::Refused { command: "XINFO", .. }));
    assert_eq!(node.lost().await, (Loss::FellBack, None));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_holds_something_else_is_reported_once() {
    let (_redis, node, mut connection) = checked().await;
    for _ in 0..3 {
        connection.expect("XINFO").await.refuse("WRONGTYPE Operation against a key").await;
    }
    connection.expect("XINFO").await.reply(reply::info("1-0", "5-0", 5, 5)).await;
    assert_eq!(node.lost().await, (Loss::WrongType, None));
    connection.expect("XINFO").await.refuse("WRONGTYPE Operation against a key").await;
    assert_eq!(node.lost().await, (Loss::WrongType, None));
    assert!(node.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_left() {
    let (mut redis, node, mut connection) = checked().await;
    connection.expect("XINFO").await;
    let mut second = redis.accept().await;
    second.expect("XINFO").await.reply(reply::info("1-0", "5-0", 5, 5)).await;
    connection.closed().await;
    assert!(node.stream.writer_health.is_connected());
    assert_eq!(node.stats.reconnects.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_became_a_replica_is_left() {
    let (mut redis, node, mut connection) = checked().await;
    connection.expect("INFO replication").await.reply(reply::text("role:slave\r\n")).await;
    connection.closed().await;
    let mut second = redis.accept().await;
    second.expect("XINFO").await.reply(reply::info("1-0", "5-0", 5, 5)).await;
    assert!(node.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn positions_of_different_servers_are_not_compared() {
    let (_redis, node, mut connection) = checked().await;
    node.stream.cursor().read_from = Some("run-2".into());
    node.stream.cursor().position = id(9);
    connection.answer("XINFO", reply::info("1-0", "5-0", 5, 5));
    connection.while_answering(sleep(Duration::from_secs(3))).await;
    assert!(node.events().is_empty());
    node.stream.cursor().read_from = Some("run-1".into());
    let lost = connection.while_answering(node.lost()).await;
    assert_eq!(lost, (Loss::FellBack, None));
}

/// What a master reports whose history continues that of another one.
const AFTER_A_FAILOVER: &str = "role:master\r\nmaster_replid:h2\r\nmaster_replid2:h1\r\n";

/// The reader reads from a replica of a master with this history.
fn on_a_replica(node: &TestNode, history: &str) {
    let shares = Some(history.into());
    node.stream.cursor().connected_to = Some(ConnectedTo { address: "a:1".into(), shares });
}

#[tokio::test(start_paused = true)]
async fn a_position_from_a_replica_is_compared_with_a_master_of_its_history_only() {
    let (_redis, node, mut connection) = checked().await;
    on_a_replica(&node, "h1");
    node.stream.cursor().position = id(9);
    connection.answer("XINFO", reply::info("1-0", "5-0", 5, 5));
    connection.answer("INFO replication", reply::text("role:master\r\nmaster_replid:h3\r\n"));
    connection.while_answering(sleep(Duration::from_secs(3))).await;
    assert!(node.events().is_empty());
    connection.answer("INFO replication", reply::text(AFTER_A_FAILOVER));
    let lost = connection.while_answering(node.lost()).await;
    assert_eq!(lost, (Loss::FellBack, None));
}

#[tokio::test(start_paused = true)]
async fn what_the_master_has_trimmed_may_still_be_on_the_replica() {
    let (_redis, node, mut connection) = checked().await;
    on_a_replica(&node, "h1");
    connection.answer("INFO replication", reply::text(AFTER_A_FAILOVER));
    connection.answer("XINFO", reply::info("8-0", "9-0", 2, 9));
    connection.while_answering(sleep(Duration::from_secs(3))).await;
    assert!(!node.stream.cursor().may_be_trimmed);
    node.stream.cursor().connected_to = None;
    connection.while_answering(sleep(Duration::from_secs(3))).await;
    assert!(node.stream.cursor().may_be_trimmed);
}

#[tokio::test(start_paused = true)]
async fn the_reader_gets_to_know_the_master_and_its_replicas() {
    let (_redis, node, mut connection) = checked().await;
    connection.answer("XINFO", reply::info("1-0", "5-0", 5, 5));
    let master = "role:master\r\nmaster_replid:h1\r\nslave0:ip=a,port=1,state=online\r\n";
    connection.answer("INFO replication", reply::text(master));
    connection.while_answering(sleep(Duration::from_secs(2))).await;
    let seen = node.stream.master.borrow().clone().unwrap();
    assert_eq!(seen.server.run_id.as_deref(), Some("run-1"));
    assert_eq!((seen.replication.history.as_str(), seen.replication.replicas.len()), ("h1", 1));
    connection.answer("INFO replication", reply::error("NOPERM no permissions"));
    connection.while_answering(sleep(Duration::from_secs(2))).await;
    assert!(node.stream.master.borrow().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_refused_asks_every_second_whether_it_may_write_again() {
    let (_redis, node, mut connection) = checked().await;
    connection.answer("XINFO", reply::info("1-0", "5-0", 5, 5));
    connection.while_answering(sleep(Duration::from_secs(2))).await;
    node.publish(1);
    connection.expect_batch(1).await.refuse("OOM command not allowed").await;
    let asked = tokio::time::Instant::now();
    for words in ["OOM command not allowed", "NOPERM no permissions", "LOADING soon"] {
        // No entry may have this ID.
        connection.expect("XADD stream 0-0").await.refuse(words).await;
        assert!(node.stream.cursor().local_only.is_refused());
    }
    assert_eq!(asked.elapsed().as_secs(), 2, "between three");
    let words = "ERR The ID specified in XADD must be greater than 0-0";
    connection.expect("XADD stream 0-0").await.refuse(words).await;
    connection.while_answering(sleep(Duration::from_secs(3))).await;
    // JS has yet to deliver the packet.
    assert!(node.stream.cursor().local_only.is_going_on() && !node.inbox.is_idle());
    let events = node.events();
    assert_eq!(events.len(), 2, "a warning, and the packet: {events:?}");
    node.stream.cursor().handled_all();
    assert!(!node.stream.cursor().local_only.is_going_on());
}
