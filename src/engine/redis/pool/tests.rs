//! Tests of commands that follow their keys. The test scripts the servers.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{Group, IDLE, Pool};
use crate::engine::address::Address;
use crate::engine::error::{Error, Result};
use crate::engine::redis::{ANSWER_LIMIT, SendCommand, Target};
use crate::testing::{ScriptedConnection, ScriptedRedis, TestNode, reply};

const CLUSTER: &str = r#"{"kind":"cluster","nodes":[{"host":"a","port":1}]}"#;

fn pool(settings: &str) -> (ScriptedRedis, Arc<Pool>) {
    let redis = ScriptedRedis::new();
    let node = TestNode::with_settings(&redis, settings);
    (redis, Pool::new(node.connector.clone()))
}

/// GET of a key.
fn get(pool: &Arc<Pool>, key: &str) -> JoinHandle<Result<Value>> {
    let (mut routed, key) = (pool.routed(key), key.to_owned());
    tokio::spawn(async move {
        let mut command = redis::cmd("GET");
        command.arg(&key);
        routed.send_command("GET", "key", &command).await
    })
}

/// GET of each key, written together.
fn get_together(pool: &Arc<Pool>, keys: &[&str]) -> JoinHandle<Vec<Result<Vec<Value>>>> {
    let group = |key: &&str| {
        let mut command = redis::cmd("GET");
        command.arg(*key);
        Group { key: (*key).to_owned(), commands: vec![command] }
    };
    let (pool, groups) = (pool.clone(), keys.iter().map(group).collect());
    tokio::spawn(async move {
        let sent = pool.send_groups(ANSWER_LIMIT, "GET", "key", groups).await;
        sent.into_iter().map(|sent| sent.answers).collect()
    })
}

async fn answer(connection: &mut ScriptedConnection, key: &str) {
    connection.expect(&format!("GET {key}")).await.reply(reply::int(1)).await;
}

#[tokio::test(start_paused = true)]
async fn one_connection_to_a_server_carries_all_commands_and_is_made_again() {
    let (mut redis, pool) = pool("{}");
    let gets = [get(&pool, "a"), get(&pool, "b")];
    let mut connection = redis.accept().await;
    answer(&mut connection, "a").await;
    answer(&mut connection, "b").await;
    for get in gets {
        get.await.unwrap().unwrap();
    }
    drop(connection);
    sleep(Duration::from_millis(1)).await;
    let again = get(&pool, "c");
    answer(&mut redis.accept().await, "c").await;
    again.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_command_whose_answer_is_lost_is_not_sent_again() {
    let (mut redis, pool) = pool("{}");
    let lost = get(&pool, "a");
    let mut connection = redis.accept().await;
    connection.expect("GET a").await;
    drop(connection);
    assert!(matches!(lost.await.unwrap(), Err(Error::Connection { .. })));
    assert!(!redis.is_dialled());
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_nothing_is_tried_for_a_while_that_grows() {
    let (mut redis, pool) = pool("{}");
    let mut waits = Vec::new();
    for _ in 0..4 {
        let failing = get(&pool, "a");
        redis.refuse().await;
        assert!(failing.await.unwrap().is_err());
        let before = tokio::time::Instant::now();
        loop {
            let waiting = get(&pool, "a");
            tokio::task::yield_now().await;
            sleep(Duration::from_millis(1)).await;
            if redis.is_dialled() {
                redis.refuse().await;
                waiting.await.unwrap().unwrap_err();
                break;
            }
            assert!(matches!(waiting.await.unwrap(), Err(Error::Connection { .. })));
        }
        waits.push(before.elapsed().as_millis());
        sleep(Duration::from_secs(3)).await;
    }
    assert!(waits[0] >= 25 && waits[3] >= 8 * 25, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_has_moved_is_followed_at_once() {
    let (mut redis, pool) = pool(CLUSTER);
    let moving = get(&pool, "k");
    let mut seed = redis.accept_at("a:1").await;
    let mut connection = seed.while_answering(redis.accept_at("a:1")).await;
    connection.expect("GET k").await.refuse("MOVED 7629 b:2").await;
    let mut elsewhere = redis.accept_at("b:2").await;
    answer(&mut elsewhere, "k").await;
    moving.await.unwrap().unwrap();
    // The slots were wrong. The connector asks for them a few times a second at most.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let again = get(&pool, "k");
    let _seed = redis.accept().await.expect("CLUSTER SLOTS").await;
    again.abort();
}

#[tokio::test(start_paused = true)]
async fn a_key_on_its_way_is_asked_for_with_asking() {
    let (mut redis, pool) = pool(CLUSTER);
    let moving = get(&pool, "k");
    let mut seed = redis.accept_at("a:1").await;
    let mut connection = seed.while_answering(redis.accept_at("a:1")).await;
    connection.expect("GET k").await.refuse("ASK 7629 b:2").await;
    let mut elsewhere = redis.accept_at("b:2").await;
    elsewhere.expect("ASKING").await.reply(reply::ok()).await;
    answer(&mut elsewhere, "k").await;
    moving.await.unwrap().unwrap();
}

/// GET of several keys of one slot, in one go.
fn get_each(pool: &Arc<Pool>, keys: &[&str]) -> JoinHandle<Result<Vec<Value>>> {
    let get = |key: &&str| {
        let mut command = redis::cmd("GET");
        command.arg(*key);
        command
    };
    let (mut routed, commands) = (pool.routed(keys[0]), keys.iter().map(get).collect::<Vec<_>>());
    tokio::spawn(async move { routed.send_each(ANSWER_LIMIT, "GET", "key", &commands).await })
}

#[tokio::test(start_paused = true)]
async fn of_several_commands_only_those_follow_whose_keys_are_elsewhere() {
    for (words, asks) in [("ASK 7629 b:2", true), ("MOVED 7629 b:2", false)] {
        let (mut redis, pool) = pool(CLUSTER);
        let gets = get_each(&pool, &["k", "{k}1", "{k}2", "{k}3"]);
        let mut seed = redis.accept_at("a:1").await;
        let mut connection = seed.while_answering(redis.accept_at("a:1")).await;
        connection.expect("GET k").await.reply(reply::int(1)).await;
        connection.expect("GET {k}1").await.refuse(words).await;
        connection.expect("GET {k}2").await.reply(reply::int(3)).await;
        connection.expect("GET {k}3").await.refuse(words).await;
        let mut elsewhere = redis.accept_at("b:2").await;
        for (key, answer) in [("{k}1", 2), ("{k}3", 4)] {
            if asks {
                elsewhere.expect("ASKING").await.reply(reply::ok()).await;
            }
            let command = elsewhere.expect(&format!("GET {key}")).await;
            command.reply(reply::int(answer)).await;
        }
        assert_eq!(gets.await.unwrap().unwrap(), [1, 2, 3, 4].map(Value::Int));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_the_server_counts_for_commands_that_could_follow() {
    let (mut redis, pool) = pool(CLUSTER);
    let gets = get_each(&pool, &["k", "{k}1"]);
    let mut seed = redis.accept_at("a:1").await;
    let mut connection = seed.while_answering(redis.accept_at("a:1")).await;
    connection.expect("GET k").await.refuse("ASK 7629 b:2").await;
    connection.expect("GET {k}1").await.refuse("MASTERDOWN Link is down").await;
    assert!(matches!(gets.await.unwrap(), Err(Error::Unavailable { .. })));
    connection.closed().await;
}

#[tokio::test(start_paused = true)]
async fn redirections_that_go_round_end() {
    let (mut redis, pool) = pool(CLUSTER);
    let moving = get(&pool, "k");
    let mut seed = redis.accept_at("a:1").await;
    let mut a = seed.while_answering(redis.accept_at("a:1")).await;
    a.expect("GET k").await.refuse("MOVED 7629 b:2").await;
    let mut b = redis.accept_at("b:2").await;
    for _ in 0..2 {
        b.expect("GET k").await.refuse("MOVED 7629 a:1").await;
        a.expect("GET k").await.refuse("MOVED 7629 b:2").await;
    }
    assert!(matches!(moving.await.unwrap(), Err(Error::Unavailable { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_no_master_any_more_is_left() {
    let (mut redis, pool) = pool("{}");
    let failing = get(&pool, "k");
    let mut connection = redis.accept().await;
    connection.expect("GET k").await.refuse("MASTERDOWN Link is down").await;
    assert!(matches!(failing.await.unwrap(), Err(Error::Unavailable { .. })));
    connection.closed().await;
}

/// Two keys are asked for together, on a connection that is opened for them.
async fn asked_together(
    redis: &mut ScriptedRedis,
    pool: &Arc<Pool>,
) -> (JoinHandle<Vec<Result<Vec<Value>>>>, ScriptedConnection) {
    let together = get_together(pool, &["k", "l"]);
    let mut seed = redis.accept_at("a:1").await;
    (together, seed.while_answering(redis.accept_at("a:1")).await)
}

#[tokio::test(start_paused = true)]
async fn a_key_of_many_that_has_moved_breaks_nothing_for_the_others() {
    for words in ["MOVED 7629 b:2", "ASK 7629 b:2"] {
        let (mut redis, pool) = pool(CLUSTER);
        let (together, mut connection) = asked_together(&mut redis, &pool).await;
        connection.expect("GET k").await.refuse(words).await;
        answer(&mut connection, "l").await;
        let answers = together.await.unwrap();
        assert!(matches!(answers[0], Err(Error::Moved { .. })));
        assert!(answers[1].is_ok());
        let again = get(&pool, "l");
        answer(&mut connection, "l").await;
        again.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_has_moved_does_not_hide_that_the_server_is_no_master_any_more() {
    let (mut redis, pool) = pool(CLUSTER);
    let (together, mut connection) = asked_together(&mut redis, &pool).await;
    connection.expect("GET k").await.refuse("MOVED 7629 b:2").await;
    connection.expect("GET l").await.refuse("MASTERDOWN Link is down").await;
    together.await.unwrap();
    connection.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_no_key_leads_to_any_more_is_left() {
    let (mut redis, pool) = pool(CLUSTER);
    let target = |host: &str| Target::node(Address::Tcp(host.to_owned(), 1));
    let mut servers = Vec::new();
    for host in ["a", "b", "c"] {
        if host == "c" {
            sleep(IDLE).await;
            pool.at(&target("b")).await.unwrap();
        }
        let target = target(host);
        let (connected, server) = tokio::join!(pool.at(&target), redis.accept());
        connected.unwrap();
        servers.push(server);
    }
    servers[0].closed().await;
    assert_eq!(pool.slots().len(), 2);
    pool.at(&target("b")).await.unwrap();
    assert!(!redis.is_dialled());
}
