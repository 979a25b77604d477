//! Restores that wait for a session which is not in Redis yet.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{KEY, Recovery, SESSION, get, take};
use crate::engine::error::Error;
use crate::engine::event::{Event, Notice};
use crate::engine::session::What;
use crate::testing::reply;

const KEEP: Duration = Duration::from_secs(300);
const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";
const NOT_SAVED: &str = "the session is not saved yet";

/// Clients leave with large sessions, far more than are tried at a time. The last one is that of
/// `KEY`.
fn leave(test: &Recovery) {
    let key = |client: u32| format!("sio:session:{client}");
    for key in (0..40).map(key).chain([KEY.to_owned()]) {
        let what = What::Ended { session: [SESSION, &[0; 100_000]].concat(), keep: KEEP };
        test.save(&key, 0, what, KEEP);
    }
}

#[tokio::test(start_paused = true)]
async fn redis_is_full_for_no_longer_than_ten_seconds() {
    let mut test = Recovery::new();
    leave(&test);
    let mut connection = test.redis.accept().await;
    connection.answer("SET", reply::error(OOM));
    connection.while_answering(sleep(Duration::from_secs(5))).await;
    assert!(test.node.warning().await.is_out_of_memory());
    for _ in 0..2 {
        test.restore(7);
        let asked = Instant::now();
        assert_eq!(connection.while_answering(test.reason()).await, NOT_SAVED);
        assert!(asked.elapsed() < Duration::from_secs(11), "{:?}", asked.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn redis_is_away_for_no_longer_than_ten_seconds() {
    let mut test = Recovery::new();
    leave(&test);
    for limit in [10, 3] {
        test.restore(7);
        let asked = Instant::now();
        let refusals = async {
            loop {
                test.redis.refuse().await;
            }
        };
        let answer = tokio::select! {
            answer = test.node.event() => answer,
            () = refusals => unreachable!(),
        };
        let Event::Notice(Notice::Answered { result: Err(Error::NotRestored(reason)), .. }) =
            answer
        else {
            panic!("{answer:?}");
        };
        assert_eq!(reason, NOT_SAVED);
        let waited = asked.elapsed().as_millis();
        assert!((limit * 1_000..limit * 1_000 + 1_000).contains(&waited), "{waited} ms");
        sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn also_while_the_node_closes() {
    let mut test = Recovery::new();
    leave(&test);
    let mut connection = test.redis.accept().await;
    connection.answer("SET", reply::error(OOM));
    test.restore(7);
    let asked = Instant::now();
    let stopped = test.sessions.stop(Duration::from_secs(30));
    let refused = async {
        test.node.warning().await;
        let reason = test.reason().await;
        (reason, asked.elapsed())
    };
    let both = async { tokio::join!(stopped, refused) };
    let (is_saved, (reason, waited)) = connection.while_answering(both).await;
    assert!(!is_saved && reason == NOT_SAVED && waited < Duration::from_secs(11), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn longer_while_others_are_saved() {
    let mut test = Recovery::new();
    leave(&test);
    test.restore(7);
    let asked = Instant::now();
    let mut connection = test.redis.accept().await;
    for _ in 0..=40 {
        // Over a slow link.
        sleep(Duration::from_millis(500)).await;
        connection.expect("SET").await.reply(reply::ok()).await;
    }
    assert!(asked.elapsed() > Duration::from_secs(20));
    get(&mut connection).await;
    take(&mut connection).await;
    assert_eq!(test.restored().await.0, [8, 9]);
}
