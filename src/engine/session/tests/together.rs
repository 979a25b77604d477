//! Records of many connected clients that are written together.

use std::time::Duration;

use super::{Recovery, SESSION, keys};
use crate::engine::event::{Event, Notice};
use crate::engine::options::{Options, defaults};
use crate::engine::session::{Save, What};
use crate::testing::{ScriptedConnection, reply};

const KEEP: Duration = Duration::from_secs(120);

fn save(pid: &str, is_new: bool) -> Save {
    let what = What::Live { namespace: 3, session: SESSION.to_vec(), keep: KEEP, is_new };
    Save::new(keys(&format!("sio:session:{pid}")), 1, what, KEEP)
}

fn records(pid: &str) -> String {
    format!("sio:session:live:{{sio:session:{pid}}}")
}

/// Expects the record of a client, without an answer.
async fn asked(connection: &mut ScriptedConnection, pid: &str) {
    connection.expect(&format!("HSET {} 1", records(pid))).await;
    connection.expect(&format!("PEXPIRE {}", records(pid))).await;
}

#[tokio::test(start_paused = true)]
async fn all_go_out_before_the_first_answer_and_each_client_that_is_taken_is_told() {
    let mut test = Recovery::new();
    test.sessions.save(vec![save("a", true), save("b", false), save("c", false)]);
    let mut connection = test.redis.accept().await;
    for pid in ["a", "b", "c"] {
        asked(&mut connection, pid).await;
    }
    connection.answer("SET", reply::ok());
    // The records of a new client and of c were not there. Another node has c.
    for is_added in [1, 0, 1] {
        connection.send(&reply::int(is_added)).await;
        connection.send(&reply::int(1)).await;
    }
    let taken = ["1", "", "2", ""].map(reply::text);
    let command = connection.expect(&format!("HGETALL {}", records("c"))).await;
    command.reply(reply::array(&taken)).await;
    connection.expect(&format!("HDEL {} 1", records("c"))).await.reply(reply::int(1)).await;
    match test.node.event().await {
        Event::Notice(Notice::SessionTaken { namespace: 3, pid, has_expired: false }) => {
            assert_eq!(pid, "c")
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_key_meets_does_not_touch_the_others() {
    let mut test = Recovery::new();
    test.sessions.save(vec![save("a", true), save("b", true)]);
    let mut connection = test.redis.accept().await;
    for pid in ["a", "b"] {
        asked(&mut connection, pid).await;
    }
    connection.answer("SET", reply::ok());
    for answer in [
        reply::error("LOADING Redis is loading"),
        reply::error("LOADING Redis is loading"),
        reply::int(1),
        reply::int(1),
    ] {
        connection.send(&answer).await;
    }
    // Only a is tried again, after a look whether another node has it.
    let command = connection.expect(&format!("HGETALL {}", records("a"))).await;
    command.reply(reply::array(&[])).await;
    asked(&mut connection, "a").await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_found_out_for_each_client_and_warned_of() {
    let mut test = Recovery::new();
    test.sessions.save(vec![save("a", true)]);
    let mut connection = test.redis.accept().await;
    connection.answer("SET", reply::ok());
    connection.answer("HSET", reply::error("NOPERM no permissions"));
    connection.answer("PEXPIRE", reply::int(0));
    let warning = connection.while_answering(test.node.warning()).await.to_string();
    assert!(warning.contains("HSET") && warning.contains("start anew"), "{warning}");
}

#[tokio::test(start_paused = true)]
async fn the_index_of_expiring_sessions_goes_out_with_them() {
    let mut test = Recovery::with_options(&Options { expired_sessions: true, ..defaults() });
    test.sessions.save(vec![save("a", true), save("b", true)]);
    let mut connection = test.redis.accept().await;
    for pid in ["a", "b"] {
        asked(&mut connection, pid).await;
    }
    let command = connection.expect("ZADD sio:session:expiry:of:ours").await;
    assert_eq!(command.words[2..], ["0", "1 a /", "0", "1 b /"]);
}

#[tokio::test(start_paused = true)]
async fn those_of_clients_that_are_gone_are_taken_away_together() {
    let mut test = Recovery::with_options(&Options { expired_sessions: true, ..defaults() });
    let left = |pid: &str| Save::new(keys(&format!("sio:session:{pid}")), 1, What::Left, KEEP);
    test.sessions.save(vec![left("a"), left("b")]);
    let mut connection = test.redis.accept().await;
    for pid in ["a", "b"] {
        connection.expect(&format!("HDEL {} 1", records(pid))).await;
    }
    let command = connection.expect("ZREM sio:session:expiry:of:ours").await;
    assert_eq!(command.words[2..], ["1 a /", "1 b /"]);
}
