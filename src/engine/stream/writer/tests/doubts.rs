//! How the writer settles a batch after its connection broke.

use super::{advance, node_at_the_end, publish};
use crate::engine::error::Error;
use crate::engine::event::Local;
use crate::engine::stream::page;
use crate::testing::{ScriptedConnection, ScriptedRedis, TestNode, id, reply};

/// The writer sends two publishes with the sequences 1 and 2. Then the connection breaks.
async fn cut(redis: &mut ScriptedRedis, node: &TestNode) {
    publish(node, [1, 2]);
    let mut connection = redis.accept().await;
    drop(connection.expect_batch(2).await);
    drop(connection);
    assert!(matches!(node.warning().await, Error::Connection { .. }));
}

/// The writer ends the old connection.
async fn kill(connection: &mut ScriptedConnection) {
    let command = connection.expect("CLIENT KILL").await;
    assert_eq!(command.words[2..], ["ID", "1", "ADDR", "10.0.0.1:1"]);
    command.reply(reply::int(1)).await;
}

/// The writer searches for its batch behind `5-0`, and finds `entries`.
async fn look(connection: &mut ScriptedConnection, entries: &[Vec<u8>]) {
    let command = connection.expect("XRANGE").await;
    assert_eq!(command.words[2..4], ["5-1", "+"]);
    command.reply(reply::array(entries)).await;
}

/// The writer checks whether Redis has trimmed the stream past `5-0`: its first entry is `id`.
async fn first(connection: &mut ScriptedConnection, id: &str) {
    let command = connection.expect("XRANGE").await;
    assert_eq!(command.words[2..], ["0-0", "+", "COUNT", "1"]);
    command.reply(reply::array(&[reply::entry_of_upstream(id)])).await;
}

/// The writer ends the old connection and finds that Redis has trimmed the place where its batch would
/// be.
async fn find_trimmed(connection: &mut ScriptedConnection) {
    kill(connection).await;
    look(connection, &[reply::entry_of_upstream("6-0")]).await;
    first(connection, "6-0").await;
    let tail = reply::array(&[reply::entry_of_upstream("6-0")]);
    connection.expect("XREVRANGE").await.reply(tail).await;
}

/// The writer sends the two publishes again, one by one, since a connection broke over both.
async fn resend(connection: &mut ScriptedConnection, ids: [&str; 2]) {
    for (seq, id) in (1..).zip(ids) {
        let batch = connection.expect_batch(1).await;
        assert_eq!(batch.seqs(), [seq]);
        batch.execute(&[id]).await;
    }
}

fn ours(node: &TestNode, id: &str, seq: u64) -> Vec<u8> {
    reply::entry_of(id, node.stream.writer_id, seq)
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_once_the_old_connection_has_ended_is_sent_again() {
    let (mut redis, node) = node_at_the_end();
    cut(&mut redis, &node).await;
    let mut connection = redis.accept().await;
    kill(&mut connection).await;
    let theirs = [reply::entry_of("6-0", 77, 1), reply::entry_of_upstream("6-1")];
    look(&mut connection, &theirs).await;
    first(&mut connection, "1-0").await;
    advance(&node, &mut connection, 9);
    resend(&mut connection, ["7-0", "8-0"]).await;
    assert_eq!(connection.while_answering(node.published()).await.1.unwrap(), Some(id(7)));
    assert_eq!(node.stats.doubtful.get(), 0);
    // The next batch begins with the next sequence.
    publish(&node, [3]);
    assert_eq!(connection.expect_batch(1).await.seqs(), [3]);
}

#[tokio::test(start_paused = true)]
async fn what_has_arrived_is_not_sent_again() {
    let (mut redis, node) = node_at_the_end();
    cut(&mut redis, &node).await;
    let mut connection = redis.accept().await;
    kill(&mut connection).await;
    advance(&node, &mut connection, 9);
    look(&mut connection, &[ours(&node, "6-0", 1), ours(&node, "7-0", 2)]).await;
    assert_eq!(connection.while_answering(node.published()).await.1.unwrap(), Some(id(6)));
    assert_eq!(connection.while_answering(node.published()).await.1.unwrap(), Some(id(7)));
    publish(&node, [3]);
    assert_eq!(connection.expect_batch(1).await.seqs(), [3]);
}

#[tokio::test(start_paused = true)]
async fn it_is_looked_for_page_by_page() {
    let (mut redis, node) = node_at_the_end();
    cut(&mut redis, &node).await;
    let mut connection = redis.accept().await;
    kill(&mut connection).await;
    let command = connection.expect("XRANGE").await;
    let count: u64 = command.behind("COUNT").parse().unwrap();
    let theirs: Vec<_> =
        (0..count).map(|seq| reply::entry_of_upstream(&format!("6-{seq}"))).collect();
    command.reply(reply::array(&theirs)).await;
    let command = connection.expect("XRANGE").await;
    assert_eq!(command.words[2], format!("6-{count}"));
    let both = [ours(&node, "7-0", 1), ours(&node, "8-0", 2)];
    command.reply(reply::array(&both)).await;
    connection.while_answering(node.stream.queue.ended(2)).await;
    assert_eq!(node.stream.cursor().written, id(8));
}

/// The same after Redis has refused MULTI. The sequences of the two publishes are 3 and 4.
async fn cut_without_multi(redis: &mut ScriptedRedis, node: &TestNode) {
    publish(node, [8, 9]);
    let mut connection = redis.accept().await;
    let taken = [reply::text("6-0"), reply::text("7-0")];
    connection.expect_batch(2).await.refuse_multi("NOPERM no permissions", &taken).await;
    connection.while_answering(node.stream.queue.ended(2)).await;
    publish(node, [1, 2]);
    connection.expect_batch(2).await;
}

#[tokio::test(start_paused = true)]
async fn of_a_batch_that_arrived_in_part_the_rest_is_sent() {
    let (mut redis, node) = node_at_the_end();
    cut_without_multi(&mut redis, &node).await;
    let mut connection = redis.accept().await;
    kill(&mut connection).await;
    let there = reply::array(&[ours(&node, "8-0", 3)]);
    connection.expect("XRANGE stream 7-1").await.reply(there).await;
    first(&mut connection, "1-0").await;
    let batch = connection.expect_batch(1).await;
    assert_eq!(batch.seqs(), [4]);
    batch.execute(&["9-0"]).await;
    connection.while_answering(node.stream.queue.ended(4)).await;
    assert_eq!((node.stats.published.get(), node.stats.doubtful.get()), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn what_stood_before_a_part_that_arrived_goes_behind_it() {
    let (mut redis, node) = node_at_the_end();
    cut_without_multi(&mut redis, &node).await;
    let mut connection = redis.accept().await;
    kill(&mut connection).await;
    let there = reply::array(&[ours(&node, "8-0", 4)]);
    connection.expect("XRANGE stream 7-1").await.reply(there).await;
    first(&mut connection, "1-0").await;
    assert_eq!(connection.expect_batch(1).await.seqs(), [5]);
}

#[tokio::test(start_paused = true)]
async fn of_a_transaction_that_is_there_in_part_the_beginning_was_trimmed() {
    let (mut redis, node) = node_at_the_end();
    cut(&mut redis, &node).await;
    let mut connection = redis.accept().await;
    kill(&mut connection).await;
    advance(&node, &mut connection, 9);
    look(&mut connection, &[ours(&node, "8-0", 2)]).await;
    let (first, outcome) = connection.while_answering(node.published()).await;
    assert_eq!((first, outcome.unwrap()), (1, None));
    let (second, outcome) = connection.while_answering(node.published()).await;
    assert_eq!((second, outcome.unwrap()), (2, Some(id(8))));
    publish(&node, [3]);
    assert_eq!(connection.expect_batch(1).await.seqs(), [3]);
}

#[tokio::test(start_paused = true)]
async fn where_the_old_connection_cannot_be_ended_the_resend_is_counted_as_doubtful() {
    let (mut redis, node) = node_at_the_end();
    cut(&mut redis, &node).await;
    let mut connection = redis.accept().await;
    connection.expect("CLIENT KILL").await.refuse("NOPERM no permissions").await;
    look(&mut connection, &[]).await;
    first(&mut connection, "1-0").await;
    resend(&mut connection, ["6-0", "7-0"]).await;
    assert!(matches!(node.warning().await, Error::Refused { command: "CLIENT", .. }));
    assert_eq!(node.stats.doubtful.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn where_it_is_not_known_who_the_old_connection_was_the_resend_is_doubtful() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1, 2]);
    let mut connection = redis.accept().await;
    connection.expect("CLIENT INFO").await.refuse("ERR unknown command 'CLIENT'").await;
    drop(connection.expect_batch(2).await);
    drop(connection);
    let mut connection = redis.accept().await;
    look(&mut connection, &[]).await;
    first(&mut connection, "1-0").await;
    resend(&mut connection, ["6-0", "7-0"]).await;
    assert_eq!(node.stats.doubtful.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn on_another_server_nothing_is_ended() {
    let (mut redis, node) = node_at_the_end();
    cut(&mut redis, &node).await;
    redis.run_id = "run-2".to_owned();
    let mut connection = redis.accept().await;
    look(&mut connection, &[]).await;
    first(&mut connection, "1-0").await;
    resend(&mut connection, ["6-0", "7-0"]).await;
    assert_eq!(node.stats.doubtful.get(), 0);
}

/// Acts as if the reader had met both entries.
fn meet(node: &TestNode) {
    let mut cursor = node.stream.cursor();
    for seq in [1, 2] {
        drop(cursor.own.read(seq, id(5 + seq), || Local::Nothing));
    }
    cursor.position = id(7);
}

#[tokio::test(start_paused = true)]
async fn what_the_reader_has_met_has_arrived() {
    let (mut redis, node) = node_at_the_end();
    cut(&mut redis, &node).await;
    meet(&node);
    let mut connection = redis.accept().await;
    kill(&mut connection).await;
    connection.answer("XINFO", reply::info("1-0", "7-0", 7, 7));
    publish(&node, [3]);
    assert_eq!(connection.expect_batch(1).await.seqs(), [3]);
    assert_eq!(node.stream.cursor().written, id(7));
}

#[tokio::test(start_paused = true)]
async fn what_the_reader_has_met_on_a_master_that_died_may_be_missing_on_the_next() {
    let (mut redis, node) = node_at_the_end();
    cut(&mut redis, &node).await;
    meet(&node);
    redis.run_id = "run-2".to_owned();
    let mut connection = redis.accept().await;
    look(&mut connection, &[]).await;
    first(&mut connection, "1-0").await;
    resend(&mut connection, ["8-0", "9-0"]).await;
}

#[tokio::test(start_paused = true)]
async fn where_the_place_was_trimmed_the_resend_is_doubtful() {
    let (mut redis, node) = node_at_the_end();
    cut(&mut redis, &node).await;
    let mut connection = redis.accept().await;
    find_trimmed(&mut connection).await;
    resend(&mut connection, ["7-0", "8-0"]).await;
    assert_eq!(node.stats.doubtful.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn sequences_of_a_refused_resend_are_not_used_again_if_others_may_have_met_them() {
    let (mut redis, node) = node_at_the_end();
    cut(&mut redis, &node).await;
    let mut connection = redis.accept().await;
    find_trimmed(&mut connection).await;
    for seq in [1, 2] {
        let batch = connection.expect_batch(1).await;
        assert_eq!(batch.seqs(), [seq]);
        batch.refuse("OOM command not allowed").await;
    }
    publish(&node, [3]);
    assert_eq!(
        connection.expect_batch(1).await.seqs(),
        [3],
        "they may have been read, then trimmed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cut_while_it_is_looked_for_leaves_the_same_doubt() {
    let (mut redis, node) = node_at_the_end();
    cut(&mut redis, &node).await;
    for _ in 0..3 {
        let mut connection = redis.accept().await;
        kill(&mut connection).await;
        connection.expect("XRANGE").await;
    }
    let mut connection = redis.accept().await;
    kill(&mut connection).await;
    look(&mut connection, &[]).await;
    first(&mut connection, "1-0").await;
    resend(&mut connection, ["6-0", "7-0"]).await;
    assert_eq!(node.stats.doubtful.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_left_in_doubt() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1, 2]);
    let mut hanging = redis.accept().await;
    hanging.expect_batch(2).await;
    let mut connection = redis.accept().await;
    kill(&mut connection).await;
    look(&mut connection, &[]).await;
    first(&mut connection, "1-0").await;
    resend(&mut connection, ["6-0", "7-0"]).await;
    assert!(matches!(node.warning().await, Error::Timeout { command: "XADD", .. }));
    hanging.closed().await;
}

/// The two publishes fail while they are in doubt: the password is wrong when the writer connects again.
/// Returns the connection after that, on which the writer has to send a third publish.
async fn failed_in_doubt(run_id: &str) -> (ScriptedRedis, TestNode, ScriptedConnection) {
    let mut redis = ScriptedRedis::new();
    redis.answer("XINFO", reply::info("1-0", "5-0", 5, 5));
    let node = TestNode::with_settings(&redis, r#"{"password":"p"}"#);
    node.start_writer_at(id(5));
    cut(&mut redis, &node).await;
    let mut connection = redis.accept().await;
    connection.expect("AUTH").await.refuse("WRONGPASS invalid password").await;
    assert!(matches!(node.warning().await, Error::Auth { .. }));
    assert!(matches!(node.published().await, (1, Err(Error::Auth { .. }))));
    assert!(matches!(node.published().await, (2, Err(Error::Auth { .. }))));
    // Others fail meanwhile, which were never sent.
    publish(&node, [9]);
    assert!(matches!(node.published().await, (9, Err(Error::Auth { .. }))));
    redis.run_id = run_id.to_owned();
    let connection = redis.accept().await;
    publish(&node, [3]);
    (redis, node, connection)
}

#[tokio::test(start_paused = true)]
async fn sequences_of_a_failed_batch_that_is_not_there_are_used_again() {
    let (_redis, node, mut connection) = failed_in_doubt("run-1").await;
    kill(&mut connection).await;
    look(&mut connection, &[reply::entry_of("6-0", 77, 1)]).await;
    first(&mut connection, "1-0").await;
    let batch = connection.expect_batch(1).await;
    assert_eq!((batch.seqs(), batch.unconfirmed()), (vec![1], vec![0]), "no reader sees a gap");
    batch.execute(&["7-0"]).await;
    advance(&node, &mut connection, 7);
    assert_eq!(connection.while_answering(node.published()).await.1.unwrap(), Some(id(7)));
    publish(&node, [4]);
    assert_eq!(connection.expect_batch(1).await.seqs(), [2]);
}

#[tokio::test(start_paused = true)]
async fn sequences_of_a_failed_batch_that_has_arrived_are_not_used_again() {
    let (_redis, node, mut connection) = failed_in_doubt("run-1").await;
    kill(&mut connection).await;
    look(&mut connection, &[ours(&node, "6-0", 1), ours(&node, "7-0", 2)]).await;
    assert_eq!(connection.expect_batch(1).await.seqs(), [3]);
}

#[tokio::test(start_paused = true)]
async fn sequences_that_others_may_have_met_are_not_used_again() {
    // On the server before this one.
    let (_redis, node, mut connection) = failed_in_doubt("run-2").await;
    let batch = connection.expect_batch(1).await;
    assert_eq!(
        (batch.seqs(), batch.unconfirmed()),
        (vec![3], vec![2]),
        "no reader takes it for a loss"
    );
    batch.execute(&["7-0"]).await;
    publish(&node, [4]);
    let batch = connection.expect_batch(1).await;
    assert_eq!((batch.seqs(), batch.unconfirmed()), (vec![4], vec![0]));
    // Or on this one, if the reader has met them.
    let (_redis, node, mut connection) = failed_in_doubt("run-1").await;
    let met = reply::page(&[ours(&node, "6-0", 1), ours(&node, "7-0", 2)]);
    node.reader().hand_on(&page(&met).unwrap(), 0, false);
    kill(&mut connection).await;
    assert_eq!(connection.expect_batch(1).await.seqs(), [3]);
    // Or if Redis has trimmed the place where they would be.
    let (_redis, _node, mut connection) = failed_in_doubt("run-1").await;
    kill(&mut connection).await;
    look(&mut connection, &[]).await;
    first(&mut connection, "8-0").await;
    let tail = reply::array(&[reply::entry_of_upstream("9-0")]);
    connection.expect("XREVRANGE").await.reply(tail).await;
    assert_eq!(connection.expect_batch(1).await.seqs(), [3]);
}

#[tokio::test(start_paused = true)]
async fn sequences_of_a_failed_resend_are_not_used_again_if_the_first_server_may_have_taken_them() {
    let mut redis = ScriptedRedis::new();
    redis.answer("XINFO", reply::info("1-0", "5-0", 5, 5));
    let node = TestNode::with_settings(&redis, r#"{"password":"p"}"#);
    node.start_writer_at(id(5));
    cut(&mut redis, &node).await;
    // Another server does not have the batch. The connection to it breaks as well.
    redis.run_id = "run-2".to_owned();
    let mut connection = redis.accept().await;
    let resent = connection.client_id.to_string();
    look(&mut connection, &[]).await;
    first(&mut connection, "1-0").await;
    drop(connection.expect_batch(1).await);
    drop(connection);
    let mut connection = redis.accept().await;
    connection.expect("AUTH").await.refuse("WRONGPASS invalid password").await;
    assert!(matches!(node.warning().await, Error::Auth { .. }));
    for ticket in [1, 2] {
        assert!(
            matches!(node.published().await, (done, Err(Error::Auth { .. })) if done == ticket)
        );
    }
    let mut connection = redis.accept().await;
    publish(&node, [3]);
    connection.answer(&format!("CLIENT KILL ID {resent}"), reply::int(1));
    connection.answer("XRANGE", reply::array(&[]));
    let batch = connection.expect_batch(1).await;
    assert!(batch.seqs()[0] > 1, "nodes may have read the first one from the first server");
}

#[tokio::test(start_paused = true)]
async fn a_search_for_a_failed_batch_goes_on_after_a_cut_and_ends_if_it_is_refused() {
    let (mut redis, _node, mut connection) = failed_in_doubt("run-1").await;
    kill(&mut connection).await;
    connection.expect("XRANGE").await;
    drop(connection);
    let mut connection = redis.accept().await;
    kill(&mut connection).await;
    connection.expect("XRANGE").await.refuse("NOPERM no permissions").await;
    let batch = connection.expect_batch(1).await;
    assert_eq!(batch.seqs(), [3]);
    batch.execute(&["7-0"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_large_packet_that_breaks_every_connection_fails_and_the_next_one_goes_on() {
    let (mut redis, node) = node_at_the_end();
    node.publish_data(1, &"x".repeat(600 << 10));
    let mut connection = redis.accept().await;
    for _ in 0..3 {
        connection.expect_batch(1).await;
        let old = connection.client_id.to_string();
        drop(connection);
        connection = redis.accept().await;
        let command = connection.expect("CLIENT KILL").await;
        assert_eq!(command.behind("ID"), old);
        command.reply(reply::int(1)).await;
        look(&mut connection, &[]).await;
        first(&mut connection, "1-0").await;
    }
    assert!(matches!(node.warning().await, Error::Connection { .. }));
    assert!(matches!(node.warning().await, Error::TooLarge { .. }));
    assert!(matches!(node.published().await, (1, Err(Error::TooLarge { .. }))));
    publish(&node, [2]);
    connection.expect_batch(1).await.execute(&["6-0"]).await;
}

#[tokio::test(start_paused = true)]
async fn pages_that_break_the_connection_get_smaller() {
    let (mut redis, node) = node_at_the_end();
    cut(&mut redis, &node).await;
    let mut counts = Vec::new();
    for _ in 0..12 {
        let mut connection = redis.accept().await;
        kill(&mut connection).await;
        let count: u32 = connection.expect("XRANGE").await.behind("COUNT").parse().unwrap();
        counts.push(count);
    }
    assert_eq!(counts, [1_000, 500, 250, 125, 62, 31, 15, 7, 3, 1, 1, 1]);
}
