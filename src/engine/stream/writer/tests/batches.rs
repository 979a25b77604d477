//! What the writer does with a batch after Redis has replied.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::super::READ_ONLY_LIMIT;
use super::{advance, node_at_the_end, publish};
use crate::engine::error::{Error, Refusal};
use crate::engine::stream::{Progress, Publish};
use crate::engine::wire::HEARTBEAT;
use crate::testing::{NO_COMMANDS, id, reply};

#[tokio::test(start_paused = true)]
async fn a_batch_is_one_transaction_and_one_publish_needs_none() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1, 2]);
    let mut connection = redis.accept().await;
    let batch = connection.expect_batch(2).await;
    assert!(batch.is_transaction);
    assert_eq!(batch.seqs(), [1, 2]);
    assert_eq!(batch.unconfirmed(), [0, 0], "readers could not tell if the first one was trimmed");
    batch.execute(&["6-0", "7-0"]).await;
    publish(&node, [3]);
    let batch = connection.expect_batch(1).await;
    assert!(!batch.is_transaction);
    assert_eq!(batch.seqs(), [3]);
    assert_eq!(node.stream.cursor().written, id(7));
    batch.execute(&["8-0"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_publish_ends_where_the_reader_meets_it_or_when_it_has_passed() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1]);
    let mut connection = redis.accept().await;
    connection.expect_batch(1).await.execute(&["6-0"]).await;
    connection.while_answering(node.stream.queue.ended(1)).await;
    assert!(node.events().is_empty(), "the reader has not come by");
    publish(&node, [2]);
    advance(&node, &mut connection, 9);
    connection.expect_batch(1).await.execute(&["7-0"]).await;
    assert_eq!(connection.while_answering(node.published()).await.1.unwrap(), Some(id(6)));
    assert_eq!(connection.while_answering(node.published()).await.1.unwrap(), Some(id(7)));
}

#[tokio::test(start_paused = true)]
async fn without_permission_to_read_a_publish_ends_at_the_reply() {
    let (mut redis, node) = node_at_the_end();
    node.stream.progress.send_replace(Progress::Refused);
    publish(&node, [1]);
    let mut connection = redis.accept().await;
    connection.expect_batch(1).await.execute(&["6-0"]).await;
    assert_eq!(node.published().await.1.unwrap(), None, "no offset ahead of what nobody has read");
    assert_eq!(node.stream.cursor().delivered_ahead, id(6));
}

#[tokio::test(start_paused = true)]
async fn what_redis_refuses_fails_with_its_words_and_leaves_its_sequences() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1, 2]);
    let mut connection = redis.accept().await;
    connection.expect_batch(2).await.refuse("OOM command not allowed").await;
    assert!(node.warning().await.is_out_of_memory());
    for ticket in [1, 2] {
        let (ended, outcome) = node.published().await;
        assert_eq!(ended, ticket);
        assert!(outcome.unwrap_err().is_out_of_memory());
    }
    assert_eq!(node.stats.failed.get(), 2);
    publish(&node, [3]);
    let batch = connection.expect_batch(1).await;
    assert_eq!(batch.seqs(), [1], "nothing has these sequences");
    batch.execute(&["6-0"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_that_redis_refuses_is_no_packet_that_a_client_lacks() {
    let (mut redis, node) = node_at_the_end();
    let heartbeat = Publish {
        ticket: None,
        namespace: node.namespace.clone(),
        kind: HEARTBEAT,
        data: None,
        kept_by_js: 0,
        at: Instant::now(),
    };
    node.stream.queue.push(heartbeat).unwrap();
    let mut connection = redis.accept().await;
    connection.expect_batch(1).await.refuse("OOM command not allowed").await;
    assert!(node.warning().await.is_out_of_memory());
    {
        let cursor = node.stream.cursor();
        assert!(cursor.local_only.is_going_on(), "the next packet may be refused");
        assert!(!cursor.local_only.may_lack(id(5), None));
    }
    publish(&node, [1]);
    connection.expect_batch(1).await.refuse("OOM command not allowed").await;
    assert!(node.published().await.1.is_err());
    assert!(node.stream.cursor().local_only.may_lack(id(5), None));
}

#[tokio::test(start_paused = true)]
async fn where_exec_is_refused_batches_go_without_it_for_half_a_minute() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1, 2]);
    let mut connection = redis.accept().await;
    connection.expect_batch(2).await.refuse_exec("NOPERM no permissions to run 'exec'").await;
    connection.closed().await;
    let mut connection = redis.accept().await;
    let batch = connection.expect_batch(2).await;
    assert!(!batch.is_transaction);
    assert_eq!(batch.seqs(), [1, 2]);
    batch.execute(&["6-0", "7-0"]).await;
    assert!(matches!(node.warning().await, Error::Refused { command: "EXEC", .. }));

    connection.while_answering(sleep(Duration::from_secs(25))).await;
    publish(&node, [3, 4]);
    let batch = connection.expect_batch(2).await;
    assert!(!batch.is_transaction);
    batch.execute(&["8-0", "9-0"]).await;
    connection.while_answering(sleep(Duration::from_secs(6))).await;
    publish(&node, [5, 6]);
    let batch = connection.expect_batch(2).await;
    assert!(batch.is_transaction, "it is tried again");
    batch.execute(&["10-0", "11-0"]).await;
    publish(&node, [7, 8]);
    let batch = connection.expect_batch(2).await;
    assert_eq!(batch.unconfirmed(), [0, 0], "Redis has shown that it takes all or nothing");
    batch.execute(&["12-0", "13-0"]).await;
}

#[tokio::test(start_paused = true)]
async fn where_the_first_exec_is_refused_nothing_asks_again_before_the_batch() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1, 2]);
    let mut connection = redis.accept().await;
    let refused = [reply::ok(), reply::error("NOPERM no permissions to run 'exec'")].concat();
    connection.answer(NO_COMMANDS, refused);
    connection.closed().await;
    let mut connection = redis.accept().await;
    let batch = connection.expect_batch(2).await;
    assert!(!batch.is_transaction);
    assert_eq!(batch.unconfirmed(), [0, 1], "Redis may refuse the first one by itself");
    batch.execute(&["6-0", "7-0"]).await;
    assert!(matches!(node.warning().await, Error::Refused { command: "EXEC", .. }));
}

#[tokio::test(start_paused = true)]
async fn an_exec_refused_for_want_of_memory_fails_the_batch() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1, 2]);
    let mut connection = redis.accept().await;
    connection.expect_batch(2).await.refuse_exec("OOM command not allowed").await;
    assert!(node.warning().await.is_out_of_memory());
    assert!(node.published().await.1.unwrap_err().is_out_of_memory());
    connection.closed().await;
    publish(&node, [3, 4]);
    let mut connection = redis.accept().await;
    let batch = connection.expect_batch(2).await;
    assert!(batch.is_transaction);
    batch.execute(&["6-0", "7-0"]).await;
}

#[tokio::test(start_paused = true)]
async fn where_multi_is_refused_what_was_not_taken_goes_again_behind_the_rest() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1, 2, 3]);
    let mut connection = redis.accept().await;
    advance(&node, &mut connection, 9);
    let no_multi = "ERR unknown command 'MULTI'";
    let refused = [reply::error(no_multi), reply::error("ERR EXEC without MULTI")];
    connection.answer(NO_COMMANDS, refused.concat());
    let answers = [reply::text("6-0"), reply::error("LOADING soon"), reply::text("7-0")];
    let batch = connection.expect_batch(3).await;
    assert_eq!(batch.unconfirmed(), [0, 1, 2], "readers would take the one between for lost");
    batch.refuse_multi(no_multi, &answers).await;
    let batch = connection.expect_batch(1).await;
    assert_eq!(batch.seqs(), [4], "readers would drop a lower sequence than what they have met");
    assert_eq!(batch.unconfirmed(), [0]);
    batch.execute(&["8-0"]).await;
    assert!(matches!(node.warning().await, Error::Refused { command: "XADD" | "MULTI", .. }));
    assert!(matches!(node.warning().await, Error::Unavailable { .. }));
    for (ticket, ms) in [(1, 6), (3, 7), (2, 8)] {
        let (done, outcome) = connection.while_answering(node.published()).await;
        assert_eq!((done, outcome.unwrap()), (ticket, Some(id(ms))));
    }
    assert_eq!(node.stats.published.get(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_tried_again_on_the_same_connection() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1, 2]);
    let mut connection = redis.accept().await;
    for words in ["LOADING Redis is loading", "TRYAGAIN later", "BUSY a script runs"] {
        connection.expect_batch(2).await.refuse(words).await;
    }
    let batch = connection.expect_batch(2).await;
    assert_eq!(batch.seqs(), [1, 2]);
    batch.execute(&["6-0", "7-0"]).await;
    connection.while_answering(node.stream.queue.ended(2)).await;
    assert_eq!((node.stats.failed.get(), node.stats.doubtful.get()), (0, 0));
    assert!(!redis.is_dialled());
}

#[tokio::test(start_paused = true)]
async fn a_replica_is_left_without_doubt_and_the_reader_is_told() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1, 2]);
    let mut connection = redis.accept().await;
    connection.expect_batch(2).await.refuse("READONLY You can't write").await;
    connection.closed().await;
    let told = timeout(Duration::from_secs(1), node.stream.restart_reader.notified()).await;
    assert!(told.is_ok());
    let mut connection = redis.accept().await;
    let batch = connection.expect_batch(2).await;
    assert_eq!(batch.seqs(), [1, 2]);
    batch.execute(&["6-0", "7-0"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_master_that_lacks_replicas_is_left_by_the_writer_only() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1]);
    for _ in 0..3 {
        let mut connection = redis.accept().await;
        connection.expect_batch(1).await.refuse("NOREPLICAS Not enough good replicas").await;
        connection.closed().await;
    }
    let told = timeout(Duration::from_secs(1), node.stream.restart_reader.notified()).await;
    assert!(told.is_err(), "the reader would connect again for each batch that is refused");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_read_only_fails_what_is_published() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1]);
    let refused = async {
        loop {
            let mut connection = redis.accept().await;
            connection.expect_batch(1).await.refuse("READONLY You can't write").await;
        }
    };
    let start = Instant::now();
    let published = async {
        assert!(node.warning().await.is_read_only());
        assert!(matches!(node.warning().await, Error::ReadOnly { .. }));
        node.published().await.1
    };
    tokio::select! {
        () = refused => {}
        result = published => assert!(matches!(result, Err(Error::ReadOnly { .. }))),
    }
    let passed = start.elapsed();
    assert!(READ_ONLY_LIMIT <= passed && passed < 2 * READ_ONLY_LIMIT, "{passed:?}");
    // The next publish does not wait for that again, and is written as soon as that is possible.
    publish(&node, [2]);
    assert!(matches!(node.published().await.1, Err(Error::ReadOnly { .. })));
    tokio::time::advance(Duration::from_secs(3)).await;
    publish(&node, [3]);
    let mut connection = redis.accept().await;
    connection.expect_batch(1).await.execute(&["6-0"]).await;
    advance(&node, &mut connection, 6);
    connection.while_answering(node.stream.queue.ended(3)).await;
    assert_eq!(node.stats.published.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_read_only_after_another_outage_may_be_about_to_take_over() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1]);
    let read_only = "READONLY You can't write";
    redis.accept().await.expect_batch(1).await.refuse(read_only).await;
    let start = Instant::now();
    while start.elapsed() <= READ_ONLY_LIMIT {
        redis.refuse().await;
    }
    redis.accept().await.expect_batch(1).await.refuse(read_only).await;
    let mut connection = redis.accept().await;
    connection.expect_batch(1).await.execute(&["6-0"]).await;
    connection.while_answering(node.stream.queue.ended(1)).await;
    assert_eq!((node.stats.published.get(), node.stats.failed.get()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn another_outage_counts_also_while_nothing_is_published() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1]);
    let read_only = "READONLY You can't write";
    let refused = async {
        loop {
            redis.accept().await.expect_batch(1).await.refuse(read_only).await;
        }
    };
    tokio::select! {
        () = refused => {}
        () = node.stream.queue.ended(1) => {}
    }
    assert_eq!(node.stats.failed.get(), 1);
    redis.refuse().await;
    publish(&node, [2]);
    redis.accept().await.expect_batch(1).await.refuse(read_only).await;
    let mut connection = redis.accept().await;
    connection.expect_batch(1).await.execute(&["6-0"]).await;
    connection.while_answering(node.stream.queue.ended(2)).await;
    assert_eq!((node.stats.published.get(), node.stats.failed.get()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_key_of_another_type_fails_what_is_published() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1]);
    let mut connection = redis.accept().await;
    connection.expect_batch(1).await.refuse("WRONGTYPE Operation against a key").await;
    let warning = node.warning().await;
    assert!(matches!(warning, Error::Refused { refusal: Refusal::WrongType, .. }));
    assert_eq!(node.published().await.1.unwrap_err().code(), "ERR_SIO_REDIS_WRONGTYPE");
}

#[tokio::test(start_paused = true)]
async fn of_a_transaction_that_redis_has_executed_in_part_the_rest_is_refused() {
    let (mut redis, node) = node_at_the_end();
    publish(&node, [1, 2, 3]);
    let mut connection = redis.accept().await;
    advance(&node, &mut connection, 9);
    let answers = [reply::text("6-0"), reply::text("7-0"), reply::error("OOM no memory")];
    connection.expect_batch(3).await.reply_each(&answers).await;
    assert!(node.warning().await.is_out_of_memory());
    assert_eq!(connection.while_answering(node.published()).await.1.unwrap(), Some(id(6)));
    assert_eq!(connection.while_answering(node.published()).await.1.unwrap(), Some(id(7)));
    assert!(node.published().await.1.unwrap_err().is_out_of_memory());
    publish(&node, [4]);
    assert_eq!(connection.expect_batch(1).await.seqs(), [3]);
}
