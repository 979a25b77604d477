//! Records of connected clients that a master of a cluster may have lost.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{KEY, Recovery, SESSION};
use crate::engine::event::{Event, Notice};
use crate::engine::options::defaults;
use crate::engine::session::What;
use crate::testing::{ScriptedRedis, TestNode, reply};

const CLUSTER: &str = r#"{"kind":"cluster","nodes":[{"host":"a","port":1}]}"#;
const KEEP: Duration = Duration::from_secs(120);

fn recovery(settings: &str) -> Recovery {
    let redis = ScriptedRedis::new();
    let node = TestNode::with_settings(&redis, settings);
    Recovery::at(redis, node, &defaults())
}

/// Answers the record of a connected client and the sign of life.
fn answer(redis: &mut ScriptedRedis) {
    for (command, answer) in
        [("HSET", reply::int(0)), ("PEXPIRE", reply::int(1)), ("SET", reply::ok())]
    {
        redis.answer(command, answer);
    }
}

/// Whether all records are to be written again within this time. Redis answers meanwhile, and as long
/// as the `connections` are there.
async fn is_told(test: &mut Recovery, connections: &mut JoinSet<()>, within: Duration) -> bool {
    let Recovery { redis, node, .. } = test;
    let answering = async {
        loop {
            connections.spawn(redis.accept().await.serve(|_| None));
        }
    };
    let told = async {
        let is_told = |event: &Event| matches!(event, Event::Notice(Notice::RecordsInDoubt));
        while !node.events().iter().any(is_told) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        told = timeout(within, told) => told.is_ok(),
        () = answering => unreachable!(),
    }
}

#[tokio::test(start_paused = true)]
async fn when_a_connection_to_a_master_breaks_records_are_written_again_but_not_all_the_time() {
    for (settings, is_cluster) in [(CLUSTER, true), ("{}", false)] {
        let mut test = recovery(settings);
        answer(&mut test.redis);
        let what = What::Live { namespace: 3, session: SESSION.to_vec(), keep: KEEP, is_new: true };
        test.save(KEY, 1, what, KEEP);
        let mut connections = JoinSet::new();
        assert!(!is_told(&mut test, &mut connections, Duration::from_secs(4)).await);
        connections.shutdown().await;
        let broken = Instant::now();
        let is_again = is_told(&mut test, &mut connections, Duration::from_secs(7)).await;
        assert_eq!(is_again, is_cluster);
        if is_cluster {
            // The next sign of life opens one.
            assert!(!is_told(&mut test, &mut connections, Duration::from_secs(7)).await);
            connections.shutdown().await;
            assert!(is_told(&mut test, &mut connections, KEEP).await);
            assert!(broken.elapsed() >= Duration::from_secs(10));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn when_another_master_has_taken_over_records_are_written_again() {
    let mut test = recovery(CLUSTER);
    answer(&mut test.redis);
    let what = What::Live { namespace: 3, session: SESSION.to_vec(), keep: KEEP, is_new: true };
    test.save(KEY, 1, what, KEEP);
    let mut connections = JoinSet::new();
    assert!(!is_told(&mut test, &mut connections, Duration::from_secs(2)).await);
    let master = reply::array(&[reply::text("b"), reply::int(2)]);
    let slots = reply::array(&[reply::array(&[reply::int(0), reply::int(16_383), master])]);
    test.redis.answer("CLUSTER SLOTS", slots);
    assert!(is_told(&mut test, &mut connections, Duration::from_secs(20)).await);
    assert!(!is_told(&mut test, &mut connections, Duration::from_secs(60)).await, "once");
}
