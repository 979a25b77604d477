//! The reader between servers at distances that change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::*;
use crate::engine::options::ReadFrom;
use crate::engine::redis::Replication;
use crate::engine::stream::ServerName;
use crate::testing::{ScriptedRedis, TestNode, reply};

const REPLICA: &str =
    "role:slave\r\nmaster_link_status:up\r\nmaster_replid:h1\r\nslave_repl_offset:100\r\n";
const MASTER_AT: &str = "localhost:6379";
/// Longer than two looks of a reader that has not moved for long.
const LONG: Duration = Duration::from_secs(1_000);

/// The round trips of the servers by their addresses, ms.
#[derive(Clone)]
struct Distances(Arc<Mutex<HashMap<String, u64>>>);

impl Distances {
    fn set(&self, address: &str, ms: u64) {
        self.0.lock().unwrap().insert(address.to_owned(), ms);
    }

    fn of(&self, address: &str) -> Duration {
        Duration::from_millis(self.0.lock().unwrap()[address])
    }

    /// What the master reports.
    fn master(&self) -> String {
        let mut text = "role:master\r\nmaster_replid:h1\r\nmaster_repl_offset:100\r\n".to_owned();
        for (number, address) in self.0.lock().unwrap().keys().enumerate() {
            if address != MASTER_AT {
                let (host, port) = address.split_once(':').unwrap();
                text += &format!("slave{number}:ip={host},port={port},state=online\r\n");
            }
        }
        text
    }
}

/// A node that reads, and servers at these distances that serve it.
async fn start(servers: &[(&str, u64)]) -> (TestNode, Distances) {
    let distances = Distances(Arc::default());
    for (address, ms) in servers {
        distances.set(address, *ms);
    }
    let mut redis = ScriptedRedis::new();
    let node = TestNode::new(&redis);
    let mut reader = node.reader();
    reader.read_from = ReadFrom::Nearest;
    tokio::spawn(reader.run());
    let (stream, serving) = (node.stream.clone(), distances.clone());
    tokio::spawn(async move {
        loop {
            if redis.is_dialled() {
                let connection = redis.accept().await;
                let (address, distances) = (connection.address().to_string(), serving.clone());
                tokio::spawn(connection.serve(move |words| {
                    let distance = distances.of(&address);
                    let second = words.get(1).map_or("", String::as_str);
                    match (words[0].as_str(), second) {
                        ("INFO", "replication") if address == MASTER_AT => {
                            Some((distance, reply::text(&distances.master())))
                        }
                        ("INFO", "replication") => Some((distance, reply::text(REPLICA))),
                        ("XREAD", "BLOCK") => {
                            let block = words[2].parse().unwrap();
                            Some((Duration::from_millis(block), reply::no_page()))
                        }
                        ("XREAD", _) => Some((distance, reply::no_page())),
                        ("XREVRANGE", _) => Some((distance, reply::array(&[]))),
                        _ => None,
                    }
                }));
            }
            let server = ServerName { address: MASTER_AT.to_owned(), run_id: Some("run-1".into()) };
            let replication = Replication::parse(&serving.master());
            let seen = MasterSeen { server, replication, asked: Instant::now() };
            stream.master.send_replace(Some(seen));
            sleep(Duration::from_millis(100)).await;
        }
    });
    (node, distances)
}

fn reads_from(node: &TestNode) -> Option<String> {
    node.stream.cursor().connected_to.as_ref().map(|to| to.address.to_string())
}

/// Waits until the node reads from this server. Returns how long that took.
async fn comes_to(node: &TestNode, address: &str) -> Duration {
    let since = Instant::now();
    while reads_from(node).as_deref() != Some(address) {
        let at = reads_from(node);
        assert!(since.elapsed() < LONG, "it reads from {at:?}, not from {address}");
        sleep(Duration::from_millis(100)).await;
    }
    since.elapsed()
}

/// Asserts that the node reads from this server for a long time.
async fn stays_at(node: &TestNode, address: &str) {
    let since = Instant::now();
    while since.elapsed() < LONG {
        assert_eq!(reads_from(node).as_deref(), Some(address));
        sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_spread_over_the_replicas_that_are_about_as_near() {
    let mut seen = std::collections::HashSet::new();
    for _ in 0..32 {
        let servers = [(MASTER_AT, 10), ("a:1", 10), ("b:1", 12), ("c:1", 14)];
        let (node, _) = start(&servers).await;
        let since = Instant::now();
        while reads_from(&node).is_none_or(|at| at == MASTER_AT) {
            assert!(since.elapsed() < LONG, "it stays on the master");
            sleep(Duration::from_millis(100)).await;
        }
        seen.extend(reads_from(&node));
    }
    let mut seen: Vec<_> = seen.into_iter().collect();
    seen.sort();
    assert_eq!(seen, ["a:1", "b:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_master_that_is_clearly_nearer_is_read_until_a_replica_is_near() {
    let (node, distances) = start(&[(MASTER_AT, 10), ("a:1", 14), ("b:1", 20)]).await;
    comes_to(&node, MASTER_AT).await;
    stays_at(&node, MASTER_AT).await;
    let events = node.events();
    assert!(events.is_empty(), "no warning, {events:?}");
    distances.set("b:1", 10);
    comes_to(&node, "b:1").await;
    stays_at(&node, "b:1").await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_comes_nearer_for_good_is_moved_to() {
    let (node, distances) = start(&[(MASTER_AT, 50), ("a:1", 10), ("b:1", 50)]).await;
    comes_to(&node, "a:1").await;
    // A little is not enough.
    distances.set("b:1", 7);
    stays_at(&node, "a:1").await;
    distances.set("b:1", 6);
    let took = comes_to(&node, "b:1").await;
    assert!(took > LONGEST_AGAIN, "after one look only");
    stays_at(&node, "b:1").await;
    // The master as well, after a failover for example.
    distances.set("b:1", 50);
    distances.set("a:1", 50);
    distances.set(MASTER_AT, 10);
    comes_to(&node, MASTER_AT).await;
    stays_at(&node, MASTER_AT).await;
    assert_eq!(node.stats.reconnects.get(), 0, "moves are no outages");
}

#[tokio::test(start_paused = true)]
async fn one_look_at_which_the_replica_is_distant_moves_nobody() {
    let (node, distances) = start(&[(MASTER_AT, 50), ("a:1", 10), ("b:1", 50)]).await;
    comes_to(&node, "a:1").await;
    stays_at(&node, "a:1").await;
    // By now the reader looks every 300 to 450 s.
    for _ in 0..3 {
        distances.set("a:1", 90);
        let since = Instant::now();
        while since.elapsed() < LONGEST_AGAIN {
            assert_eq!(reads_from(&node).as_deref(), Some("a:1"));
            sleep(Duration::from_secs(1)).await;
        }
        distances.set("a:1", 10);
        stays_at(&node, "a:1").await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_distances_change_all_the_time_moves_become_rare() {
    let (node, distances) = start(&[(MASTER_AT, 90), ("a:1", 10), ("b:1", 50)]).await;
    let (mut moves, mut before) = (0, None);
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(7_200) {
        // What is read is distant at each look.
        let at = reads_from(&node).filter(|at| at != MASTER_AT);
        if at.is_some() && at != before {
            moves += 1;
            let at = at.as_deref().unwrap_or_default();
            distances.set(at, 50);
            distances.set(if at == "a:1" { "b:1" } else { "a:1" }, 10);
            before = Some(at.to_owned());
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert!((5..=20).contains(&moves), "{moves} moves in two hours");
}

#[test]
fn small_differences_do_not_count() {
    let us = Duration::from_micros;
    for (nearest, about, not) in [(50, 250, 251), (200, 400, 401), (4_000, 5_000, 5_001)] {
        assert!(is_about(us(about), us(nearest)) && !is_about(us(not), us(nearest)));
    }
    for (nearest, not, clearly) in [(50, 300, 301), (200, 450, 451), (4_000, 6_000, 6_001)] {
        assert!(!is_clearly_longer(us(not), us(nearest)));
        assert!(is_clearly_longer(us(clearly), us(nearest)));
    }
}
