//! Sessions that are restored while Redis is away, hangs or refuses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::{KEY, RECORDS, Recovery, SESSION, claim, delete, find, get, range, take, theirs};
use crate::engine::error::Error;
use crate::engine::event::{Event, Notice};
use crate::engine::options::{Options, defaults};
use crate::engine::redis::{Credentials, CredentialsSource};
use crate::engine::session::GRACE;
use crate::engine::session::What;
use crate::engine::session::restore::GONE;
use crate::engine::stream::Progress;
use crate::engine::wire::{decode_session, encode_session};
use crate::testing::{ScriptedConnection, ScriptedRedis, TestNode, id, reply};

#[tokio::test(start_paused = true)]
async fn right_after_an_outage_another_node_may_not_have_saved_the_session_yet() {
    let mut test = Recovery::new();
    test.node.stats.reconnects.add();
    test.restore(7);
    let mut connection = test.redis.accept().await;
    for _ in 0..5 {
        find(&mut connection, None, &[]).await;
    }
    get(&mut connection).await;
    take(&mut connection).await;
    assert_eq!(test.restored().await, (vec![8, 9], id(9)));
    // Nor does the next client wait for ever.
    test.restore(7);
    let begin = Instant::now();
    let never = async {
        loop {
            find(&mut connection, None, &[]).await;
        }
    };
    tokio::select! {
        reason = test.reason() => assert_eq!(reason, GONE),
        () = never => {}
    }
    assert!(begin.elapsed() < GRACE);
    test.restore(7);
    find(&mut connection, None, &[]).await;
    assert_eq!(test.reason().await, GONE, "at once");
}

#[tokio::test(start_paused = true)]
async fn redis_away_and_back_says_nothing_about_the_session() {
    let mut test = Recovery::new();
    test.restore(7);
    test.redis.refuse().await;
    let mut connection = test.redis.accept().await;
    connection.expect("PTTL").await.refuse("LOADING Redis is loading").await;
    connection.expect("GET").await.refuse("LOADING Redis is loading").await;
    connection.expect("HGETALL").await.refuse("LOADING Redis is loading").await;
    connection.expect("PTTL").await.refuse("LOADING Redis is loading").await;
    get(&mut connection).await;
    drop(connection.expect("HSETNX").await);
    drop(connection);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    take(&mut connection).await;
    assert_eq!(test.restored().await.0, [8, 9]);
    assert_eq!(test.node.stats.restores_refused.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_credentials_provider_that_fails_says_nothing_about_the_session() {
    let redis = ScriptedRedis::new();
    let calls = AtomicU32::new(0);
    let ask = move || {
        let result = match calls.fetch_add(1, Ordering::Relaxed) {
            0..5 => Err(Error::Provider { reason: "503".to_owned() }),
            _ => Ok(Credentials::default()),
        };
        Box::pin(std::future::ready(result)) as _
    };
    let (_news, renewed) = watch::channel(None);
    let node = TestNode::with_provider(&redis, CredentialsSource { ask: Arc::new(ask), renewed });
    let mut test = Recovery::at(redis, node, &defaults());
    test.restore(7);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    take(&mut connection).await;
    assert_eq!(test.restored().await.0, [8, 9]);
    assert_eq!(test.node.stats.restores_refused.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_loses_no_session() {
    let mut test = Recovery::new();
    test.restore(7);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    claim(&mut connection, 1).await;
    connection.expect("DEL").await;
    drop(connection);
    let mut connection = test.redis.accept().await;
    // The generation that it has begun holds the session.
    let record = [b"restoring ours 7-0\n", SESSION].concat();
    find(&mut connection, None, &[(1, &record)]).await;
    claim(&mut connection, 2).await;
    delete(&mut connection).await;
    assert_eq!(test.restored().await.0, [8, 9]);
}

#[tokio::test(start_paused = true)]
async fn without_records_of_connected_clients_a_claim_whose_answer_is_lost_is_known_again() {
    let options = Options { live_sessions: false, ..defaults() };
    let mut test = Recovery::with_options(&options);
    // `{sid, rooms, since, generation: 1}`.
    let session = [b"\x84", &SESSION[1..], b"\xaageneration\x01"].concat();
    test.restore(7);
    let mut connection = test.redis.accept().await;
    find(&mut connection, Some(&session), &[(1, b"")]).await;
    let command = connection.expect(&format!("HSETNX {RECORDS} 2")).await;
    let claimed = command.words[3].clone();
    drop(connection);
    let mut connection = test.redis.accept().await;
    find(&mut connection, Some(&session), &[(1, b""), (2, claimed.as_bytes())]).await;
    claim(&mut connection, 3).await;
    delete(&mut connection).await;
    assert_eq!(test.given_back().await.0, session);
    // A claim of another restore, at this node or another one, is none of ours.
    for other in [claimed.replace(" 1\n", " 2\n"), claimed.replace("ours", "theirs")] {
        assert_ne!(other, claimed);
        test.restore(7);
        find(&mut connection, Some(&session), &[(1, b""), (2, other.as_bytes())]).await;
        assert_eq!(test.reason().await, GONE);
    }
}

#[tokio::test(start_paused = true)]
async fn a_restore_that_comes_to_nothing_puts_the_session_back() {
    let mut test = Recovery::new();
    test.restore(7);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    claim(&mut connection, 1).await;
    let command = connection.expect("DEL").await;
    // Meanwhile the history drops what comes next, and Redis goes away.
    test.read(&[10]);
    test.node.stream.cursor().history.restart(id(10));
    command.reply(reply::int(1)).await;
    connection.expect("HDEL").await.reply(reply::int(0)).await;
    connection.expect("XRANGE").await;
    drop(connection);
    let mut connection = test.redis.accept().await;
    let command = connection.expect(&format!("SET {KEY}")).await;
    assert_eq!(decode_session(command.words[2].as_bytes()).unwrap(), SESSION);
    assert_eq!(command.behind("PX"), "60000");
    command.reply(reply::ok()).await;
    connection.expect(&format!("HSET {RECORDS} 0")).await.reply(reply::int(1)).await;
    connection.expect(&format!("HDEL {RECORDS} 1")).await.reply(reply::int(1)).await;
    get(&mut connection).await;
    range(&mut connection, "7-0", "7-0", &theirs(&["7-0"])).await;
    range(&mut connection, "7-1", "10-0", &theirs(&["8-0", "9-0", "10-0"])).await;
    range(&mut connection, "7-0", "7-0", &theirs(&["7-0"])).await;
    take(&mut connection).await;
    assert_eq!(test.restored().await.0, [8, 9, 10]);
}

#[tokio::test(start_paused = true)]
async fn while_redis_is_away_a_client_waits_for_ten_seconds_and_later_ones_for_three() {
    let mut test = Recovery::new();
    for limit in [10, 3] {
        test.restore(7);
        let before = Instant::now();
        let refusals = async {
            loop {
                test.redis.refuse().await;
            }
        };
        let answer = tokio::select! {
            answer = test.node.event() => answer,
            () = refusals => unreachable!(),
        };
        assert!(matches!(answer, Event::Notice(Notice::Answered { result: Err(_), .. })));
        let waited = before.elapsed().as_millis();
        assert!((limit * 1_000..limit * 1_000 + 500).contains(&waited), "{waited} ms");
        sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_waited_for_no_longer() {
    let mut test = Recovery::new();
    let before = Instant::now();
    test.restore(7);
    let hanging = async {
        let mut connections = Vec::new();
        loop {
            connections.push(test.redis.accept().await);
        }
    };
    let answer = tokio::select! {
        answer = test.node.event() => answer,
        () = hanging => unreachable!(),
    };
    assert!(matches!(answer, Event::Notice(Notice::Answered { result: Err(_), .. })));
    assert!((10_000..10_500).contains(&before.elapsed().as_millis()));
}

#[tokio::test(start_paused = true)]
async fn a_restore_takes_ten_seconds_at_most_whatever_it_waits_for() {
    let mut test = Recovery::new();
    test.node.stream.progress.send_replace(Progress::Refused);
    let before = Instant::now();
    test.restore(10);
    let mut connection = test.redis.accept().await;
    connection.expect("PTTL").await.reply(reply::int(60_000)).await;
    let command = connection.expect("GET").await;
    sleep(Duration::from_secs(4)).await;
    command.reply(reply::text(&encode_session(SESSION))).await;
    connection.expect("HGETALL").await.reply(reply::array(&[])).await;
    connection.expect("PTTL").await.reply(reply::int(-2)).await;
    connection.expect("XREVRANGE").await.reply(reply::array(&theirs(&["11-0"]))).await;
    assert!(matches!(test.refusal().await, Error::Timeout { command: "XRANGE", .. }));
    assert_eq!(before.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn without_permission_a_restore_is_refused_and_warned_of() {
    let mut test = Recovery::new();
    test.restore(7);
    let mut connection = test.redis.accept().await;
    connection.expect("PTTL").await.refuse("NOPERM no permissions").await;
    connection.expect("GET").await.refuse("NOPERM no permissions").await;
    connection.expect("HGETALL").await.refuse("NOPERM no permissions").await;
    connection.expect("PTTL").await.refuse("NOPERM no permissions").await;
    // Perhaps only the records are forbidden.
    connection.expect("PTTL").await.refuse("NOPERM no permissions").await;
    connection.expect("GET").await.refuse("NOPERM no permissions").await;
    assert!(matches!(test.node.warning().await, Error::Refused { .. }));
    assert!(matches!(test.refusal().await, Error::Refused { .. }));
}

#[tokio::test(start_paused = true)]
async fn pages_that_break_the_connection_get_smaller_and_grow_when_they_arrive() {
    /// Answers a look for the offset, and returns how many entries the page behind it may have.
    async fn count(connection: &mut ScriptedConnection) -> usize {
        get(connection).await;
        range(connection, "2-0", "2-0", &theirs(&["2-0"])).await;
        let command = connection.expect("XRANGE").await;
        command.behind("COUNT").parse().unwrap()
    }
    /// The page arrives, and the client is restored.
    async fn restore(test: &mut Recovery) -> usize {
        test.restore(2);
        let mut connection = test.redis.accept().await;
        let mut breaks = 0;
        let count = loop {
            let count = count(&mut connection).await;
            breaks += 1;
            if breaks == 3 {
                break count;
            }
            drop(connection);
            connection = test.redis.accept().await;
        };
        connection.send(&reply::array(&theirs(&["3-0"]))).await;
        range(&mut connection, "2-0", "2-0", &theirs(&["2-0"])).await;
        take(&mut connection).await;
        assert_eq!(test.restored().await.0, [3, 6, 7, 8, 9]);
        // What the history holds proves nothing about pages.
        test.restore(7);
        get(&mut connection).await;
        take(&mut connection).await;
        assert_eq!(test.restored().await.0, [8, 9]);
        drop(connection);
        count
    }
    let mut test = Recovery::new();
    assert_eq!(restore(&mut test).await, 500 / 4);
    assert_eq!(restore(&mut test).await, 500 / 2 / 4, "it began with twice as many");
}

#[tokio::test(start_paused = true)]
async fn of_a_client_that_was_here_during_the_outage_only_nothing_is_left_to_do() {
    let mut test = Recovery::new();
    let keep = Duration::from_secs(2);
    let live = What::Live { namespace: 3, session: SESSION.to_vec(), keep, is_new: true };
    test.save(KEY, 1, live, keep);
    test.save(KEY, 1, What::Ended { session: SESSION.to_vec(), keep }, keep);
    let stopped = test.sessions.stop(Duration::from_secs(60));
    let refusals = async {
        loop {
            test.redis.refuse().await;
        }
    };
    tokio::select! {
        is_done = stopped => assert!(is_done, "no record is to be taken away"),
        () = refusals => unreachable!(),
    }
}
