//! Sessions that are saved.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{KEY, Recovery, SESSION, get, take};
use crate::engine::error::Error;
use crate::engine::options::{Options, defaults};
use crate::engine::session::What;
use crate::engine::wire::decode_session;
use crate::testing::{ScriptedRedis, TestNode, reply};

#[tokio::test(start_paused = true)]
async fn sessions_are_saved_with_their_time_and_tried_again_through_an_outage() {
    let mut test = Recovery::new();
    test.persist(KEY, Duration::from_secs(120));
    for _ in 0..3 {
        test.redis.refuse().await;
    }
    let mut connection = test.redis.accept().await;
    connection.expect("SET").await;
    drop(connection);
    let mut connection = test.redis.accept().await;
    let command = connection.expect(&format!("SET {KEY}")).await;
    assert_eq!(decode_session(command.words[2].as_bytes()).unwrap(), SESSION);
    assert_eq!(command.behind("PX"), "120000");
    command.reply(reply::ok()).await;
    connection.while_answering(sleep(Duration::from_secs(60))).await;
    assert_eq!(test.node.stats.sessions_saved.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_redis_is_saved_once_another_connection_stands_again() {
    let mut test = Recovery::new();
    test.persist(KEY, Duration::from_secs(120));
    for _ in 0..8 {
        test.redis.refuse().await;
    }
    sleep(Duration::from_millis(1)).await;
    assert!(!test.redis.is_dialled(), "it waits");
    test.node.stats.reconnects.add();
    sleep(Duration::from_millis(1)).await;
    assert!(test.redis.is_dialled(), "it does not wait");
    test.redis.accept().await.expect("SET").await.reply(reply::ok()).await;
}

#[tokio::test(start_paused = true)]
async fn a_session_that_nobody_needs_any_more_is_not_saved() {
    let mut test = Recovery::new();
    test.persist(KEY, Duration::from_secs(2));
    test.redis.ignore().await;
    sleep(Duration::from_secs(60)).await;
    assert!(!test.redis.is_dialled());
    test.persist(KEY, Duration::from_secs(120));
    assert_eq!(test.redis.accept().await.expect("SET").await.behind("PX"), "120000");
}

#[tokio::test(start_paused = true)]
async fn the_last_session_of_a_key_is_saved_last() {
    let mut test = Recovery::new();
    for keep in [100, 200, 300] {
        test.persist(KEY, Duration::from_secs(keep));
    }
    let mut connection = test.redis.accept().await;
    for keep in ["100000", "200000", "300000"] {
        assert_eq!(connection.expect("SET").await.behind("PX"), keep);
        let next = timeout(Duration::from_millis(10), connection.expect("SET")).await;
        assert!(next.is_err(), "each waits for the one before");
        connection.send(&reply::ok()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_saved_yet_is_not_refused() {
    let mut test = Recovery::new();
    test.persist(KEY, Duration::from_secs(120));
    test.redis.refuse().await;
    test.restore(7);
    let mut connection = test.redis.accept().await;
    connection.expect("SET").await.reply(reply::ok()).await;
    get(&mut connection).await;
    take(&mut connection).await;
    assert_eq!(test.restored().await.0, [8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_master_that_hangs_holds_up_only_what_is_for_it() {
    let mut redis = ScriptedRedis::new();
    let range = |first, last, host| {
        let master = reply::array(&[reply::text(host), reply::int(1)]);
        reply::array(&[reply::int(first), reply::int(last), master])
    };
    let slots = reply::array(&[range(0, 8_191, "a"), range(8_192, 16_383, "b")]);
    redis.answer("CLUSTER SLOTS", slots);
    let settings = r#"{"kind":"cluster","nodes":[{"host":"a","port":1}]}"#;
    let node = TestNode::with_settings(&redis, settings);
    let mut test = Recovery::at(redis, node, &defaults());
    test.persist(KEY, Duration::from_secs(120));
    let mut seed = test.redis.accept_at("a:1").await;
    let mut hanging = seed.while_answering(test.redis.accept_at("b:1")).await;
    hanging.expect(&format!("SET {KEY}")).await;
    let begun = Instant::now();
    test.persist("sio:session:s", Duration::from_secs(120));
    test.persist("sio:session:q", Duration::from_secs(120));
    let mut connection = test.redis.accept_at("a:1").await;
    connection.expect("SET sio:session:s").await.reply(reply::ok()).await;
    test.persist("sio:session:r", Duration::from_secs(120));
    connection.expect("SET sio:session:r").await.reply(reply::ok()).await;
    connection.while_answering(sleep(Duration::from_millis(10))).await;
    assert_eq!(test.node.stats.sessions_saved.get(), 2);
    assert!(begun.elapsed() < Duration::from_secs(1));
    // Both of the other master are tried again.
    connection.answer("SET", reply::ok());
    test.redis.answer("SET", reply::ok());
    let answering = async {
        let mut connections = JoinSet::new();
        loop {
            connections.spawn(test.redis.accept().await.serve(|_| None));
        }
    };
    tokio::select! {
        () = connection.while_answering(sleep(Duration::from_secs(20))) => {}
        () = answering => unreachable!(),
    }
    assert_eq!(test.node.stats.sessions_saved.get(), 4);
}

#[tokio::test(start_paused = true)]
async fn it_stops_once_everything_is_saved() {
    let mut test = Recovery::new();
    test.persist(KEY, Duration::from_secs(120));
    let (done, mut stopped) = oneshot::channel();
    let sessions = test.sessions;
    tokio::spawn(async move {
        sessions.stop(Duration::from_secs(5)).await;
        let _ = done.send(());
    });
    test.redis.refuse().await;
    let mut connection = test.redis.accept().await;
    let command = connection.expect("SET").await;
    assert!(stopped.try_recv().is_err());
    command.reply(reply::ok()).await;
    stopped.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn sessions_that_wait_for_redis_have_a_bound() {
    let options = Options { publish_queue_bytes: 10_000, ..defaults() };
    let mut test = Recovery::with_options(&options);
    let keep = Duration::from_secs(120);
    for client in 0..20 {
        let what = What::Ended { session: SESSION.to_vec(), keep };
        test.save(&format!("sio:session:{client}"), 0, what, keep);
    }
    let warning = async {
        loop {
            let warning = test.node.warning().await;
            if !matches!(warning, Error::Connection { .. }) {
                return warning;
            }
        }
    };
    assert!(matches!(warning.await, Error::SessionsFull { bound: 10_000 }));
    let waiting = test.sessions.unsaved();
    assert!(0 < waiting && waiting < 10, "{waiting}");
    let mut connection = test.redis.accept().await;
    connection.answer("SET", reply::ok());
    connection.while_answering(sleep(Duration::from_secs(60))).await;
    assert_eq!(test.sessions.unsaved(), 0);
    assert_eq!(test.node.stats.sessions_saved.get(), waiting);
    // There is space again.
    test.persist(KEY, keep);
    connection.while_answering(sleep(Duration::from_secs(1))).await;
    assert_eq!(test.node.stats.sessions_saved.get(), waiting + 1);
}
