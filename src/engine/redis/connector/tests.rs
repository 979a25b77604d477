//! Tests of how the connector finds a server. The test scripts the servers. "Finding the server" in
//! docs/architecture.md names the branches.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use redis::Value;

use super::known_slots::widest;
use super::{Connector, KeyConnector, Target};
use crate::engine::address::Address;
use crate::engine::error::{Error, Result};
use crate::engine::event::{Event, Notice};
use crate::engine::redis::{RawConnection, SentinelWatch, Slots};
use crate::testing::{ScriptedConnection, ScriptedRedis, TestNode, reply};

const SENTINELS: &str = r#"{"kind":"sentinel","sentinel":{"name":"mymaster","nodes":
    [{"host":"s1","port":1},{"host":"s2","port":1},{"host":"s3","port":1}]}}"#;
const CLUSTER: &str = r#"{"kind":"cluster","nodes":[{"host":"a","port":1},{"host":"b","port":1}]}"#;

/// Connects for the key `stream`.
fn connect(connector: &Arc<Connector>) -> JoinHandle<Result<RawConnection>> {
    let mut key = KeyConnector::new(connector.clone(), "stream".to_owned());
    tokio::spawn(async move { key.connect_raw().await })
}

/// Lets a sentinel name the master.
async fn name(sentinel: &mut ScriptedConnection, host: &str) {
    let command = sentinel.expect("SENTINEL GET-MASTER-ADDR-BY-NAME mymaster").await;
    command.reply(reply::array(&[reply::text(host), reply::text("7")])).await;
}

/// Answers CLUSTER SLOTS with one master for all slots.
async fn slots(connection: &mut ScriptedConnection, host: &str) {
    let master = reply::array(&[reply::text(host), reply::int(1), reply::text("id")]);
    let range = reply::array(&[reply::int(0), reply::int(16_383), master]);
    connection.expect("CLUSTER SLOTS").await.reply(reply::array(&[range])).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_take_the_connection_is_waited_for_as_long_as_the_settings_say() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::with_settings(&redis, r#"{"host":"gone","connectTimeout":700}"#);
    let connecting = connect(&node.connector);
    assert_eq!(redis.ignore().await, Address::Tcp("gone".to_owned(), 6379));
    let before = Instant::now();
    let result = connecting.await.unwrap();
    assert!(matches!(result, Err(Error::Connection { .. })));
    assert!((690..710).contains(&before.elapsed().as_millis()));
}

#[tokio::test(start_paused = true)]
async fn it_logs_in_and_chooses_the_database_before_anything_else() {
    let mut redis = ScriptedRedis::new();
    let settings = r#"{"username":"u","password":"p","database":2,"clientName":"n"}"#;
    let node = TestNode::with_settings(&redis, settings);
    let connecting = connect(&node.connector);
    let mut connection = redis.accept().await;
    for command in ["AUTH u p", "SELECT 2"] {
        connection.expect(command).await.reply(reply::ok()).await;
    }
    // A refusal does no harm: the name only helps humans.
    connection.expect("CLIENT SETNAME n").await.refuse("NOPERM no permissions").await;
    connection.while_answering(connecting).await.unwrap().unwrap();
    assert!(node.events().is_empty());
}

/// As the clients do, which only warn. Redis has another message since 6.0.
#[tokio::test(start_paused = true)]
async fn a_password_that_the_server_does_not_ask_for_is_no_obstacle() {
    const REFUSALS: [&str; 2] = [
        "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
        "ERR Client sent AUTH, but no password is set",
    ];
    let mut redis = ScriptedRedis::new();
    let node = TestNode::with_settings(&redis, r#"{"password":"p"}"#);
    for refusal in REFUSALS {
        let connecting = connect(&node.connector);
        let mut connection = redis.accept().await;
        connection.expect("AUTH p").await.refuse(refusal).await;
        connection.while_answering(connecting).await.unwrap().unwrap();

        let connector = node.connector.clone();
        let connecting = tokio::spawn(async move { connector.connect(&Target::Master).await });
        let mut connection = redis.accept().await;
        connection.expect("AUTH p").await.refuse(refusal).await;
        connection.while_answering(connecting).await.unwrap().unwrap();
    }
    let [Event::Notice(Notice::Warning(warning))] = &node.events()[..] else {
        panic!("one warning is expected");
    };
    assert_eq!(warning.code(), "ERR_SIO_REDIS_AUTH");
    assert!(warning.to_string().contains("goes on without a login"), "{warning}");
}

#[tokio::test(start_paused = true)]
async fn nor_is_one_that_the_sentinels_do_not_ask_for() {
    let mut redis = ScriptedRedis::new();
    let settings = r#"{"kind":"sentinel","sentinel":{"name":"mymaster","password":"p",
        "nodes":[{"host":"s","port":1}]}}"#;
    let node = TestNode::with_settings(&redis, settings);
    let connecting = connect(&node.connector);
    let mut sentinel = redis.accept().await;
    let login = sentinel.expect("AUTH p").await;
    login.refuse("ERR AUTH <password> called without any password configured").await;
    name(&mut sentinel, "m").await;
    let mut connection = redis.accept_at("m:7").await;
    role(&mut connection, "master").await;
    connection.while_answering(connecting).await.unwrap().unwrap();
    assert_eq!(node.events().len(), 1, "the warning");
}

/// For a host name with several addresses: see `Attempts`.
#[tokio::test(start_paused = true)]
async fn a_server_that_takes_the_connection_and_answers_nothing_counts_as_failed() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::with_settings(&redis, r#"{"password":"p"}"#);
    let connecting = connect(&node.connector);
    let mut connection = redis.accept().await;
    let login = connection.expect("AUTH p").await;
    assert!(connecting.await.unwrap().is_err());
    drop(login);
    assert_eq!(redis.failed_attempts(), 1);
    let connecting = connect(&node.connector);
    let mut connection = redis.accept().await;
    connection.expect("AUTH p").await.reply(reply::ok()).await;
    connection.while_answering(connecting).await.unwrap().unwrap();
    assert_eq!(redis.failed_attempts(), 1);
}

/// Lets a server answer ROLE.
async fn role(connection: &mut ScriptedConnection, role: &str) {
    let role = reply::array(&[reply::text(role), reply::int(0)]);
    connection.expect("ROLE").await.reply(role).await;
}

#[tokio::test(start_paused = true)]
async fn the_sentinels_are_asked_once_for_all_who_connect_and_again_later() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::with_settings(&redis, SENTINELS);
    for master in ["m1", "m2"] {
        let connecting = [(); 5].map(|()| connect(&node.connector));
        let mut sentinels = [redis.accept().await, redis.accept().await, redis.accept().await];
        name(&mut sentinels[0], master).await;
        name(&mut sentinels[1], master).await;
        for connecting in connecting {
            let mut connection = redis.accept_at(&format!("{master}:7")).await;
            role(&mut connection, "master").await;
            connection.while_answering(connecting).await.unwrap().unwrap();
        }
        assert!(!redis.is_dialled());
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_master_is_the_one_that_most_sentinels_name() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::with_settings(&redis, SENTINELS);
    let connecting = connect(&node.connector);
    let mut sentinels = [redis.accept().await, redis.accept().await, redis.accept().await];
    // The first answer comes from a sentinel that has not heard of the failover.
    for (sentinel, master) in sentinels.iter_mut().zip(["old", "new", "new"]) {
        name(sentinel, master).await;
        if master == "old" {
            sleep(Duration::from_millis(200)).await;
            assert!(!redis.is_dialled());
        }
    }
    let mut connection = redis.accept_at("new:7").await;
    role(&mut connection, "master").await;
    connection.while_answering(connecting).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_master_that_is_one_no_more_is_not_connected_to() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::with_settings(&redis, SENTINELS);
    let connecting = connect(&node.connector);
    name(&mut redis.accept().await, "m1").await;
    name(&mut redis.accept().await, "m1").await;
    let mut connection = redis.accept_at("m1:7").await;
    role(&mut connection, "slave").await;
    assert!(matches!(connecting.await.unwrap(), Err(Error::Unavailable { .. })));
    connection.closed().await;
}

#[tokio::test(start_paused = true)]
async fn without_permission_for_role_the_sentinels_are_believed() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::with_settings(&redis, SENTINELS);
    let connecting = connect(&node.connector);
    name(&mut redis.accept().await, "m1").await;
    name(&mut redis.accept().await, "m1").await;
    let mut connection = redis.accept_at("m1:7").await;
    connection.expect("ROLE").await.refuse("NOPERM no permissions").await;
    connection.while_answering(connecting).await.unwrap().unwrap();
    assert!(matches!(node.warning().await, Error::Refused { command: "ROLE", .. }));
}

#[tokio::test(start_paused = true)]
async fn sentinels_that_hang_or_know_no_master_hold_nobody_up() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::with_settings(&redis, SENTINELS);
    let connecting = connect(&node.connector);
    let (mut hanging, mut also) = (redis.accept().await, redis.accept().await);
    hanging.expect("SENTINEL").await;
    also.expect("SENTINEL").await;
    let before = Instant::now();
    name(&mut redis.accept().await, "m1").await;
    let mut connection = redis.accept_at("m1:7").await;
    assert!((290..310).contains(&before.elapsed().as_millis()));
    connection.while_answering(connecting).await.unwrap().unwrap();

    sleep(Duration::from_secs(1)).await;
    let connecting = connect(&node.connector);
    let before = Instant::now();
    redis.accept().await.expect("SENTINEL").await.reply(reply::nil()).await;
    redis.refuse().await;
    name(&mut redis.accept().await, "m1").await;
    let mut connection = redis.accept_at("m1:7").await;
    assert!(before.elapsed().as_millis() < 10, "nobody is left who could name another one");
    connection.while_answering(connecting).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn where_no_sentinel_names_a_master_the_refusal_is_the_error() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::with_settings(&redis, SENTINELS);
    let connecting = connect(&node.connector);
    let words = "NOPERM no permissions";
    redis.accept().await.expect("SENTINEL").await.refuse(words).await;
    redis.refuse().await;
    redis.refuse().await;
    assert!(matches!(connecting.await.unwrap(), Err(Error::Refused { .. })));
}

#[tokio::test(start_paused = true)]
async fn when_a_sentinel_reports_another_master_all_connections_learn_of_it() {
    let mut redis = ScriptedRedis::new();
    let settings = r#"{"kind":"sentinel","sentinel":{"name":"mymaster",
        "nodes":[{"host":"s1","port":1}]}}"#;
    let node = TestNode::with_settings(&redis, settings);
    let watch = tokio::spawn(SentinelWatch::new(node.connector.clone()).run());
    let mut reports = redis.accept().await;
    let subscribed =
        |kind| reply::array(&[reply::text(kind), reply::text("+switch-master"), reply::int(1)]);
    reports.expect("SUBSCRIBE +switch-master").await.reply(subscribed("subscribe")).await;
    // What was reported before is asked for.
    name(&mut redis.accept().await, "m1").await;
    let mut looking = redis.accept_at("m1:7").await;
    role(&mut looking, "master").await;
    looking.while_answering(sleep(Duration::from_secs(1))).await;

    let connecting = connect(&node.connector);
    name(&mut redis.accept().await, "m1").await;
    let mut old = redis.accept_at("m1:7").await;
    role(&mut old, "master").await;
    let connection = old.while_answering(connecting).await.unwrap().unwrap();
    assert!(connection.server().is_current());

    for (text, is_ours) in [("other m1 7 m2 7", false), ("mymaster m1 7 m2 7", true)] {
        let words = ["message", "+switch-master", text].map(reply::text);
        reports.send(&reply::array(&words)).await;
        sleep(Duration::from_millis(10)).await;
        assert_eq!(redis.is_dialled(), is_ours);
    }
    name(&mut redis.accept().await, "m2").await;
    redis.run_id = "run-2".to_owned();
    let mut new = redis.accept_at("m2:7").await;
    role(&mut new, "master").await;
    new.while_answering(sleep(Duration::from_millis(10))).await;
    assert!(!connection.server().is_current());
    watch.abort();
}

#[test]
fn who_knows_most_slots_is_believed() {
    let answers = || vec![Ok(slots_up_to(-1)), Ok(slots_up_to(16_000)), Err(outage())];
    assert_eq!(widest(answers()).unwrap(), slots_up_to(16_000));
    let error = widest(vec![Ok(slots_up_to(-1)), Ok(slots_up_to(-1))]).unwrap_err();
    assert!(error.to_string().contains("no node that was asked"), "{error}");
    let refused = Error::from_reply("CLUSTER", "SLOTS", "h:1", "NOPERM no permissions");
    let error = widest(vec![Err(outage()), Err(refused), Ok(slots_up_to(-1)), Err(outage())]);
    assert!(error.unwrap_err().is_refusal());
    assert!(slots_up_to(16_383).is_whole() && !slots_up_to(16_382).is_whole());
}

/// The slots of a cluster with one server.
fn slots_up_to(last: i64) -> Slots {
    let server = vec![Value::BulkString(b"h".to_vec()), Value::Int(1)];
    let range = vec![Value::Int(0), Value::Int(last), Value::Array(server)];
    let ranges = if last < 0 { Vec::new() } else { vec![Value::Array(range)] };
    let writer = Address::Tcp("h".to_owned(), 1);
    Slots::parse(&Value::Array(ranges), &writer, |address| address).unwrap()
}

fn outage() -> Error {
    Error::Connection { address: "h:1".to_owned(), reason: "refused".to_owned() }
}

#[tokio::test(start_paused = true)]
async fn the_slots_are_asked_for_once_for_all_who_connect() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::with_settings(&redis, CLUSTER);
    let connecting: Vec<_> = (0..20).map(|_| connect(&node.connector)).collect();
    slots(&mut redis.accept().await, "m").await;
    let mut connections = Vec::new();
    for _ in 0..20 {
        connections.push(redis.accept_at("m:1").await);
    }
    for connecting in connecting {
        assert!(connecting.await.unwrap().is_ok());
    }
    assert!(!redis.is_dialled());
}

#[tokio::test(start_paused = true)]
async fn slots_that_were_told_are_good_for_a_moment_or_until_they_are_forgotten() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::with_settings(&redis, CLUSTER);
    let connector = &node.connector;
    let target = Target::Node { address: Address::Tcp("m".to_owned(), 1), asking: false };
    let (known, ()) = tokio::join!(connector.target_now("stream"), async {
        slots(&mut redis.accept().await, "m").await;
    });
    assert_eq!(known.unwrap(), target);
    assert_eq!(connector.target_now("stream").await.unwrap(), target);
    sleep(Duration::from_millis(150)).await;
    assert_eq!(connector.target_of("stream").await.unwrap(), target, "for commands that may err");
    let (known, ()) = tokio::join!(connector.target_now("stream"), async {
        slots(&mut redis.accept().await, "m").await;
    });
    known.unwrap();
    connector.forget();
    sleep(Duration::from_millis(200)).await;
    let (known, ()) = tokio::join!(connector.target_of("stream"), async {
        slots(&mut redis.accept().await, "m").await;
    });
    known.unwrap();
}

/// A connector that was told once that `m` serves all slots.
async fn told_of_m(redis: &mut ScriptedRedis) -> (Arc<Connector>, Target) {
    let node = TestNode::with_settings(redis, CLUSTER);
    let connector = node.connector.clone();
    let (known, ()) = tokio::join!(connector.target_of("stream"), async {
        slots(&mut redis.accept().await, "m").await;
    });
    (connector.clone(), known.unwrap())
}

#[tokio::test(start_paused = true)]
async fn open_connections_use_old_slots_if_nobody_tells_new_ones() {
    let mut redis = ScriptedRedis::new();
    let (connector, m) = told_of_m(&mut redis).await;
    for is_wrong in [false, true] {
        sleep(Duration::from_secs(6)).await;
        if is_wrong {
            connector.forget();
        }
        let (known, ()) = tokio::join!(connector.target_of("stream"), async {
            for _ in ["m", "a", "b"] {
                redis.refuse().await;
            }
        });
        assert_eq!(known.unwrap(), m);
        // Who has no connection has to know.
        assert!(connector.target_now("stream").await.is_err());
        sleep(Duration::from_millis(400)).await;
        assert_eq!(connector.target_of("stream").await.unwrap(), m);
        assert_eq!(connector.all_targets().await.unwrap(), std::slice::from_ref(&m));
        assert!(!redis.is_dialled(), "the servers are not asked again so soon");
    }
}

#[tokio::test(start_paused = true)]
async fn open_connections_do_not_wait_for_servers_that_hang() {
    let mut redis = ScriptedRedis::new();
    let (connector, m) = told_of_m(&mut redis).await;
    let late = tokio::spawn(connector.clone().renew_late_slots());
    sleep(Duration::from_secs(6)).await;
    let before = Instant::now();
    for _ in 0..10 {
        assert_eq!(connector.target_of("stream").await.unwrap(), m);
    }
    assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
    sleep(Duration::from_millis(10)).await;
    // One of them answers at last.
    let mut server = redis.accept().await;
    slots(&mut server, "n").await;
    sleep(Duration::from_millis(1)).await;
    assert_ne!(connector.target_of("stream").await.unwrap(), m);
    late.abort();
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_answer_is_not_asked_by_each_of_many() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::with_settings(&redis, CLUSTER);
    let connecting: Vec<_> = (0..20).map(|_| connect(&node.connector)).collect();
    redis.refuse().await;
    redis.refuse().await;
    for connecting in connecting {
        assert!(matches!(connecting.await.unwrap(), Err(Error::Connection { .. })));
    }
    assert!(!redis.is_dialled());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_hangs_is_passed_over_and_the_seeds_stay_known() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::with_settings(&redis, CLUSTER);
    let connecting = connect(&node.connector);
    redis.ignore().await;
    slots(&mut redis.accept().await, "m").await;
    let _first = redis.accept_at("m:1").await;
    assert!(connecting.await.unwrap().is_ok());
    sleep(Duration::from_secs(1)).await;
    // All servers that the cluster had named are gone.
    let connecting = connect(&node.connector);
    assert_eq!(redis.ignore().await, Address::Tcp("m".to_owned(), 1));
    assert_eq!(redis.ignore().await, Address::Tcp("a".to_owned(), 1));
    let mut seed = redis.accept().await;
    assert_eq!(*seed.address(), Address::Tcp("b".to_owned(), 1));
    slots(&mut seed, "n").await;
    let _second = redis.accept_at("n:1").await;
    assert!(connecting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_redirection_counts_for_the_next_connection_only() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::with_settings(&redis, CLUSTER);
    let mut key = KeyConnector::new(node.connector.clone(), "stream".to_owned());
    let moved = |to: &str| Error::Moved {
        key: "stream".to_owned(),
        reason: "MOVED".to_owned(),
        to: Some(Address::Tcp(to.to_owned(), 1)),
        asking: false,
    };
    assert!(key.heed(&moved("n")));
    let (connected, accepted) = tokio::join!(key.connect_raw(), redis.accept());
    assert_eq!(accepted.address().to_string(), "n:1");
    connected.unwrap();
    let (connected, _accepted) = tokio::join!(key.connect_raw(), async {
        slots(&mut redis.accept().await, "m").await;
        redis.accept_at("m:1").await
    });
    connected.unwrap();
    assert!(!key.heed(&Error::Closed));
}

#[tokio::test(start_paused = true)]
async fn servers_that_go_by_other_addresses_here_are_found() {
    let mut redis = ScriptedRedis::new();
    let settings = r#"{"kind":"cluster","nodes":[{"host":"a","port":1}],
        "natMap":{"m:1":{"host":"outside","port":9}}}"#;
    let node = TestNode::with_settings(&redis, settings);
    let connecting = connect(&node.connector);
    slots(&mut redis.accept().await, "m").await;
    let _connection = redis.accept_at("outside:9").await;
    assert!(connecting.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_node_with_a_login_of_its_own_gets_it() {
    let mut redis = ScriptedRedis::new();
    let settings = r#"{"kind":"cluster","password":"p",
        "nodes":[{"host":"a","port":1,"password":"own"}]}"#;
    let node = TestNode::with_settings(&redis, settings);
    let connecting = connect(&node.connector);
    let mut seed = redis.accept().await;
    seed.expect("AUTH own").await.reply(reply::ok()).await;
    slots(&mut seed, "m").await;
    let mut connection = redis.accept_at("m:1").await;
    assert_eq!(connection.expect("AUTH").await.words.last().unwrap(), "p");
    drop(connection);
    assert!(connecting.await.unwrap().is_err());
}
