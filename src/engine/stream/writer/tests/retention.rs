//! Entries that are trimmed by age.

use std::time::Duration;

use tokio::time::{advance, sleep};

use crate::engine::error::Error;
use crate::engine::options::Retention;
use crate::testing::{ScriptedConnection, ScriptedRedis, TestNode, id, reply};

const KEEP: Duration = Duration::from_secs(60);

/// Servers of this version, and a node that keeps entries for a minute.
fn node_that_keeps(version: &str) -> (ScriptedRedis, TestNode) {
    let mut redis = ScriptedRedis::new();
    redis.answer("XINFO", reply::info("1-0", "5-0", 5, 5));
    let server = format!("run_id:run-1\r\nredis_version:{version}\r\nrole:master\r\n");
    redis.answer("INFO", reply::text(&server));
    let retention = Retention { max_len: 1_000, min_len: 0, max_age: Some(KEEP), needed: None };
    let node = TestNode::with_retention(&redis, retention);
    node.start_writer_at(id(5));
    (redis, node)
}

/// Publishes one message, and returns how its XADD trims; Redis gives it the ID `ms-0`.
async fn trimming(node: &TestNode, connection: &mut ScriptedConnection, ms: u64) -> [String; 3] {
    node.publish(1);
    let trimming = {
        let batch = connection.expect_batch(1).await;
        let trimming = [2, 3, 4].map(|place| batch.word(0, place));
        batch.execute(&[&format!("{ms}-0")]).await;
        trimming
    };
    // The reader reads it back.
    sleep(Duration::from_millis(1)).await;
    let mut cursor = node.stream.cursor();
    cursor.position = id(ms);
    cursor.read += 1;
    connection.answer("XINFO", reply::info("1-0", &format!("{ms}-0"), 5, 5));
    trimming
}

#[tokio::test(start_paused = true)]
async fn mostly_by_age_and_now_and_then_by_number() {
    let (mut redis, node) = node_that_keeps("7.4.1");
    let mut connection = redis.accept().await;
    assert_eq!(trimming(&node, &mut connection, 6).await, ["MAXLEN", "~", "1000"]);
    advance(KEEP).await;
    let mut by_number = 0;
    for ms in 7..=38 {
        let trimmed = trimming(&node, &mut connection, ms).await;
        if trimmed[0] == "MAXLEN" {
            by_number += 1;
            assert_eq!(trimmed[2], "1000");
        } else {
            // What Redis had written a minute ago, by the IDs that it gave.
            assert_eq!(trimmed, ["MINID", "~", "5-0"]);
        }
    }
    assert_eq!(by_number, 2);
    advance(KEEP).await;
    let trimmed = trimming(&node, &mut connection, 39).await;
    assert!(trimmed[0] == "MINID" && trimmed[2] != "5-0", "{trimmed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_before_6_2_trims_by_number_and_the_operator_knows_it() {
    let (mut redis, node) = node_that_keeps("6.0.16");
    let mut connection = redis.accept().await;
    trimming(&node, &mut connection, 6).await;
    node.events();
    advance(KEEP).await;
    assert_eq!(trimming(&node, &mut connection, 7).await[0], "MAXLEN");
    let warnings = node.events().into_iter().filter(|event| format!("{event:?}").contains("NoMin"));
    assert_eq!(warnings.count(), 1);
    assert_eq!(trimming(&node, &mut connection, 8).await[0], "MAXLEN");
    assert!(!format!("{:?}", node.events()).contains("NoMin"), "once");
}

#[tokio::test(start_paused = true)]
async fn another_server_is_not_trimmed_by_the_ids_of_the_one_before() {
    let (mut redis, node) = node_that_keeps("7.4.1");
    let mut connection = redis.accept().await;
    trimming(&node, &mut connection, 6).await;
    advance(KEEP).await;
    assert_eq!(trimming(&node, &mut connection, 7).await[0], "MINID");
    drop(connection);
    redis.run_id = "run-2".to_owned();
    let server = "run_id:run-2\r\nredis_version:7.4.1\r\nrole:master\r\n";
    redis.answer("INFO", reply::text(server));
    redis.answer("XINFO", reply::info("1-0", "7-0", 5, 5));
    let mut connection = redis.accept().await;
    assert_eq!(trimming(&node, &mut connection, 8).await[0], "MAXLEN");
}

#[test]
fn the_warning_names_the_option() {
    let error = Error::NoMinId { key: "socket.io".to_owned(), max_len: 1_000 };
    assert!(error.to_string().contains("up to 1000 entries (`maxLen`)"), "{error}");
}
