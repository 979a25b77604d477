//! Sessions that Redis refuses. Their clients lose them at worst: nobody is recovered into an earlier
//! state.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{KEY, RECORDS, Recovery, SESSION, find, get, take};
use crate::engine::error::Error;
use crate::engine::session::What;
use crate::testing::{ScriptedConnection, reply};

const KEEP: Duration = Duration::from_secs(120);
const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";
const NODE: &str = "SET sio:session:node:ours";

fn live() -> What {
    What::Live { namespace: 3, session: SESSION.to_vec(), keep: KEEP, is_new: false }
}

fn ended() -> What {
    What::Ended { session: SESSION.to_vec(), keep: KEEP }
}

/// Expects the record of a connected client, which Redis refuses.
async fn refuse(connection: &mut ScriptedConnection, words: &str) {
    connection.expect(&format!("HSET {RECORDS}")).await.refuse(words).await;
    connection.expect(&format!("PEXPIRE {RECORDS}")).await.reply(reply::int(1)).await;
}

/// Answers a look whether another node has the session: this one does.
async fn is_ours(connection: &mut ScriptedConnection) {
    let command = connection.expect(&format!("HGETALL {RECORDS}")).await;
    command.reply(reply::array(&["1", "connected ours\n\u{0}"].map(reply::text))).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_may_pass_is_warned_of_and_tried_again_less_and_less_often() {
    let mut test = Recovery::new();
    test.persist(KEY, KEEP);
    let mut connection = test.redis.accept().await;
    let mut waits = Vec::new();
    for _ in 0..8 {
        let before = Instant::now();
        connection.expect("SET").await.refuse(OOM).await;
        waits.push(before.elapsed().as_millis());
    }
    assert!(waits[1] <= 50 && waits[7] >= 800, "{waits:?}");
    assert!(test.node.warning().await.is_out_of_memory());
    // What Redis takes tells nothing about what it refuses.
    test.save("sio:session:q", 1, What::Left, KEEP);
    connection.expect("HDEL").await.reply(reply::int(1)).await;
    sleep(Duration::from_millis(100)).await;
    connection.expect("SET").await.reply(reply::ok()).await;
    connection.while_answering(sleep(KEEP)).await;
    assert_eq!(test.node.stats.sessions_saved.get(), 1);
    assert!(test.node.events().is_empty(), "warned of once");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_was_refused_holds_up_no_other() {
    let mut test = Recovery::new();
    test.persist(KEY, KEEP);
    let mut connection = test.redis.accept().await;
    for _ in 0..8 {
        connection.expect(&format!("SET {KEY}")).await.refuse(OOM).await;
    }
    let before = Instant::now();
    test.persist("sio:session:q", KEEP);
    connection.expect("SET sio:session:q").await.reply(reply::ok()).await;
    assert!(before.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn the_record_of_a_connected_client_is_tried_for_as_long_as_it_is_connected() {
    let mut test = Recovery::new();
    test.save(KEY, 1, live(), KEEP);
    let mut connection = test.redis.accept().await;
    connection.answer(NODE, reply::ok());
    refuse(&mut connection, OOM).await;
    let begun = Instant::now();
    while begun.elapsed() < 3 * KEEP {
        is_ours(&mut connection).await;
        refuse(&mut connection, OOM).await;
    }
    is_ours(&mut connection).await;
    connection.expect(&format!("HSET {RECORDS} 1")).await.reply(reply::int(0)).await;
    connection.expect(&format!("PEXPIRE {RECORDS}")).await.reply(reply::int(1)).await;
    connection.while_answering(sleep(KEEP)).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_given_up_takes_its_earlier_record_along() {
    for what in [live(), ended()] {
        let mut test = Recovery::new();
        let is_ended = matches!(what, What::Ended { .. });
        test.save(KEY, 1, what, KEEP);
        let mut connection = test.redis.accept().await;
        connection.answer(NODE, reply::ok());
        let words = "ERR Protocol error: invalid bulk length";
        if is_ended {
            is_ours(&mut connection).await;
            connection.expect(&format!("SET {KEY}")).await.refuse(words).await;
            connection.expect("HDEL").await.refuse(words).await;
        } else {
            refuse(&mut connection, words).await;
        }
        let command = connection.expect(&format!("HDEL {RECORDS} 1")).await;
        command.reply(reply::int(1)).await;
        connection.while_answering(sleep(KEEP)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_whose_time_is_over_before_redis_takes_it_leaves_no_record() {
    let mut test = Recovery::new();
    test.save(KEY, 1, ended(), KEEP);
    let refusals = async {
        loop {
            test.redis.refuse().await;
        }
    };
    tokio::select! {
        () = sleep(2 * KEEP) => {}
        () = refusals => unreachable!(),
    }
    let mut connection = test.redis.accept().await;
    connection.expect(&format!("HDEL {RECORDS} 1")).await.reply(reply::int(1)).await;
    connection.while_answering(sleep(KEEP)).await;
}

#[tokio::test(start_paused = true)]
async fn a_restore_waits_until_redis_accepts_the_password_and_takes_writes() {
    let mut test = Recovery::new();
    test.restore(7);
    for _ in 0..3 {
        let mut connection = test.redis.accept().await;
        for command in ["PTTL", "GET", "HGETALL", "PTTL"] {
            connection.expect(command).await.refuse("NOAUTH Authentication required.").await;
        }
        connection.closed().await;
    }
    assert!(matches!(test.node.warning().await, Error::Auth { .. }));
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    connection.expect("HSETNX").await.refuse(OOM).await;
    connection.expect("PEXPIRE").await.reply(reply::int(0)).await;
    assert!(test.node.warning().await.is_out_of_memory());
    find(&mut connection, Some(SESSION), &[]).await;
    take(&mut connection).await;
    assert_eq!(test.restored().await.0, [8, 9]);
    assert_eq!(test.node.stats.restores_refused.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_redis_refuses_is_waited_for_five_seconds_at_the_end() {
    let mut test = Recovery::new();
    test.persist(KEY, KEEP);
    let mut connection = test.redis.accept().await;
    connection.answer("SET", reply::error(OOM));
    let begun = Instant::now();
    let stopped = test.sessions.stop(Duration::from_secs(5));
    assert!(!connection.while_answering(stopped).await);
    assert_eq!(begun.elapsed().as_secs(), 5);
}
