//! The records of sessions: those of connected clients, and the generations that restores begin.

use std::time::Duration;

use tokio::time::Instant;

use super::{KEY, RECORDS, Recovery, SESSION, claim, delete, find, forget, range, theirs};
use crate::engine::event::{Answer, Event, Notice, StreamEvent};
use crate::engine::session::{Gone, What};
use crate::engine::wire::{EntryId, encode_session};
use crate::testing::{ScriptedConnection, id, reply};

const KEEP: Duration = Duration::from_secs(120);
const NODE: &str = "sio:session:node";

fn live(is_new: bool) -> What {
    What::Live { namespace: 3, session: SESSION.to_vec(), keep: KEEP, is_new }
}

fn ended() -> What {
    What::Ended { session: SESSION.to_vec(), keep: KEEP }
}

/// A record, as `owner` writes it.
fn record(state: &str) -> Vec<u8> {
    [state.as_bytes(), b"\n", SESSION].concat()
}

fn dead(owner: &str) -> Option<Gone> {
    Some(Gone { owner: owner.to_owned(), is_dead: true })
}

/// The sign of life, and the record of a client that has connected.
async fn written(connection: &mut ScriptedConnection, generation: u32, is_added: bool) {
    let command = connection.expect(&format!("HSET {RECORDS} {generation}")).await;
    assert!(command.words[3].starts_with("connected ours\n"), "{:?}", command.words);
    command.reply(reply::int(is_added.into())).await;
    let command = connection.expect(&format!("PEXPIRE {RECORDS}")).await;
    assert_eq!(command.words[2], (KEEP.as_millis() + 3_600_000).to_string());
    command.reply(reply::int(1)).await;
}

/// Answers that the first generation is gone.
async fn forgotten(connection: &mut ScriptedConnection) {
    connection.expect(&format!("HDEL {RECORDS} 1")).await.reply(reply::int(1)).await;
}

/// Answers that a later generation is known and has no session any more, for `life` ms.
async fn over(connection: &mut ScriptedConnection, generation: u32, life: u128) {
    let command = connection.expect(&format!("HSET {RECORDS} {generation}")).await;
    assert_eq!(command.words[3], "");
    command.reply(reply::int(0)).await;
    let command = connection.expect(&format!("PEXPIRE {RECORDS}")).await;
    assert_eq!(command.words[2], life.to_string());
    command.reply(reply::int(1)).await;
}

/// Answers that no node has begun a later generation than the first.
async fn no_later(connection: &mut ScriptedConnection) {
    let records = ["1", ""].map(reply::text);
    connection.expect(&format!("HGETALL {RECORDS}")).await.reply(reply::array(&records)).await;
}

#[tokio::test(start_paused = true)]
async fn a_connected_client_has_a_record_and_its_node_shows_that_it_lives() {
    let mut test = Recovery::new();
    test.save(KEY, 1, live(true), KEEP);
    let mut connection = test.redis.accept().await;
    for round in 0..3 {
        if round == 0 {
            written(&mut connection, 1, true).await;
        }
        let command = connection.expect(&format!("SET {NODE}:ours 1")).await;
        assert_eq!(command.behind("PX"), "130000");
        command.reply(reply::ok()).await;
    }
    test.save(KEY, 1, What::Left, KEEP);
    connection.answer("SET", reply::ok());
    forgotten(&mut connection).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_shows_that_it_lives_as_soon_as_redis_is_back() {
    let mut test = Recovery::new();
    test.save(KEY, 1, live(true), KEEP);
    let mut connection = test.redis.accept().await;
    written(&mut connection, 1, true).await;
    connection.expect(&format!("SET {NODE}:ours")).await.reply(reply::ok()).await;
    let before = Instant::now();
    // Redis may have lost the key, and the node may be killed in a moment.
    test.node.stats.reconnects.add();
    connection.expect(&format!("SET {NODE}:ours")).await.reply(reply::ok()).await;
    assert!(before.elapsed() < Duration::from_millis(100), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_changes_while_a_record_is_written_is_written_once() {
    let mut test = Recovery::new();
    test.save(KEY, 1, live(true), KEEP);
    let mut connection = test.redis.accept().await;
    let command = connection.expect("HSET").await;
    for _ in 0..5 {
        test.save(KEY, 1, live(false), KEEP);
    }
    command.reply(reply::int(1)).await;
    connection.expect("PEXPIRE").await.reply(reply::int(1)).await;
    connection.expect(&format!("SET {NODE}:ours")).await.reply(reply::ok()).await;
    written(&mut connection, 1, false).await;
    test.save(KEY, 1, ended(), KEEP);
    no_later(&mut connection).await;
    connection.expect(&format!("SET {KEY}")).await.reply(reply::ok()).await;
    forgotten(&mut connection).await;
}

#[tokio::test(start_paused = true)]
async fn of_a_session_that_was_restored_the_generation_stays_known() {
    for (what, life) in [(ended(), KEEP.as_millis() + 300_000), (What::Left, 3_600_000)] {
        let mut test = Recovery::new();
        let is_ended = matches!(what, What::Ended { .. });
        test.save(KEY, 2, what, KEEP);
        let mut connection = test.redis.accept().await;
        if is_ended {
            let records = ["2", "connected ours\n\u{0}"].map(reply::text);
            connection.expect("HGETALL").await.reply(reply::array(&records)).await;
            connection.expect(&format!("SET {KEY}")).await.reply(reply::ok()).await;
        }
        over(&mut connection, 2, life).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_learns_that_another_one_has_its_client() {
    let mut test = Recovery::new();
    test.save(KEY, 1, live(false), KEEP);
    let mut connection = test.redis.accept().await;
    written(&mut connection, 1, true).await;
    connection.expect(&format!("SET {NODE}:ours")).await.reply(reply::ok()).await;
    let records = ["1", "", "2", ""].map(reply::text);
    connection.expect(&format!("HGETALL {RECORDS}")).await.reply(reply::array(&records)).await;
    connection.expect(&format!("HDEL {RECORDS} 1")).await.reply(reply::int(1)).await;
    match test.node.event().await {
        Event::Notice(Notice::SessionTaken { namespace: 3, pid, has_expired: false }) => {
            assert_eq!(pid, "p")
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_save_that_is_tried_again_does_not_overwrite_a_later_generation() {
    let mut test = Recovery::new();
    test.save(KEY, 1, ended(), KEEP);
    let mut connection = test.redis.accept().await;
    no_later(&mut connection).await;
    connection.expect("SET").await;
    drop(connection);
    let mut connection = test.redis.accept().await;
    let records = ["2", ""].map(reply::text);
    connection.expect(&format!("HGETALL {RECORDS}")).await.reply(reply::array(&records)).await;
    connection.while_answering(tokio::time::sleep(KEEP)).await;
}

#[tokio::test(start_paused = true)]
async fn an_old_view_is_not_restored() {
    let mut test = Recovery::new();
    let old = b"\x84\xa3sid\xa1s\xa5rooms\x91\xa1s\xa5since\x91\xa31-0\xaageneration\x01";
    test.restore(7);
    let mut connection = test.redis.accept().await;
    find(&mut connection, Some(old), &[(2, b"")]).await;
    assert_eq!(test.reason().await, "no such session, or it has expired");
    // The same session is good while there is no later generation.
    test.restore(7);
    find(&mut connection, Some(old), &[(1, b"")]).await;
    claim(&mut connection, 2).await;
    delete(&mut connection).await;
    assert!(matches!(
        test.node.event().await,
        Event::Stream(StreamEvent::Restored { generation: 2, .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn the_node_that_has_the_client_is_asked_first() {
    let mut test = Recovery::new();
    test.restore(7);
    let mut connection = test.redis.accept().await;
    find(&mut connection, None, &[(1, &record("connected theirs"))]).await;
    match test.node.event().await {
        Event::Notice(Notice::Answered { result: Ok(Answer::Owned { owner }), .. }) => {
            assert_eq!(owner, "theirs");
        }
        other => panic!("{other:?}"),
    }
    // It does not have the client any more, and has saved nothing.
    test.restore_from(id(7), Some(Gone { owner: "theirs".to_owned(), is_dead: false }));
    find(&mut connection, None, &[(1, &record("connected theirs"))]).await;
    let command = connection.expect(&format!("HSETNX {RECORDS} 2")).await;
    assert!(command.words[3].starts_with("restoring ours 7-0\n"));
    command.reply(reply::int(1)).await;
    connection.expect("PEXPIRE").await.reply(reply::int(1)).await;
    delete(&mut connection).await;
    assert_eq!(test.restored().await.0, [8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_node_is_honoured_while_its_sign_of_life_lasts() {
    let mut test = Recovery::new();
    let mut connection = {
        test.restore_from(id(7), dead("theirs"));
        test.redis.accept().await
    };
    for (left, restored) in [(1_000, true), (-2, false)] {
        if !restored {
            test.restore_from(id(7), dead("theirs"));
        }
        find(&mut connection, None, &[(4, &record("connected theirs"))]).await;
        let command = connection.expect(&format!("PTTL {NODE}:theirs")).await;
        command.reply(reply::int(left)).await;
        if restored {
            claim(&mut connection, 5).await;
            delete(&mut connection).await;
            assert_eq!(test.restored().await.0, [8, 9]);
        } else {
            assert_eq!(test.reason().await, "no such session, or it has expired");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_node_sent_before_it_died_in_a_restore_nobody_knows() {
    let mut test = Recovery::new();
    let restoring = record("restoring theirs 7-0");
    test.restore_from(id(7), dead("theirs"));
    let mut connection = test.redis.accept().await;
    find(&mut connection, None, &[(2, &restoring)]).await;
    forget(&mut connection).await;
    over(&mut connection, 2, 3_600_000).await;
    assert_eq!(test.reason().await, "its node did not finish the last restore");
    // With a later offset, the client has got everything that was sent in front of its CONNECT.
    test.restore_from(id(8), dead("theirs"));
    find(&mut connection, None, &[(2, &restoring)]).await;
    connection.expect(&format!("PTTL {NODE}:theirs")).await.reply(reply::int(1_000)).await;
    claim(&mut connection, 3).await;
    delete(&mut connection).await;
    assert_eq!(test.restored().await.0, [9]);
}

#[tokio::test(start_paused = true)]
async fn without_an_offset_a_client_has_missed_what_came_since_its_session_began() {
    let mut test = Recovery::new();
    // Its session began at 1-0, before the history.
    test.restore_from(EntryId::ZERO, None);
    let mut connection = test.redis.accept().await;
    super::get(&mut connection).await;
    range(&mut connection, "1-0", "1-0", &theirs(&["1-0"])).await;
    range(&mut connection, "1-1", "5-0", &theirs(&["3-0"])).await;
    range(&mut connection, "1-0", "1-0", &theirs(&["1-0"])).await;
    claim(&mut connection, 1).await;
    delete(&mut connection).await;
    assert_eq!(test.restored().await.0, [3, 6, 7, 8, 9]);
    // The stream was trimmed past it.
    test.restore_from(EntryId::ZERO, None);
    super::get(&mut connection).await;
    range(&mut connection, "1-0", "1-0", &[]).await;
    forget(&mut connection).await;
    assert_eq!(test.reason().await, "the offset is not in the stream (any more)");
}

#[tokio::test(start_paused = true)]
async fn from_an_empty_stream_on_only_an_untrimmed_one_is_whole() {
    // {sid: "s", rooms: ["s"], since: ["0-0"]}
    let session = b"\x83\xa3sid\xa1s\xa5rooms\x91\xa1s\xa5since\x91\xa30-0";
    for (added, is_whole) in [(4, true), (5, false)] {
        let mut test = Recovery::new();
        test.restore_from(EntryId::ZERO, None);
        let mut connection = test.redis.accept().await;
        find(&mut connection, Some(session), &[]).await;
        let info = || reply::info("6-0", "9-0", 4, added);
        connection.expect("XINFO").await.reply(info()).await;
        if is_whole {
            range(&mut connection, "0-1", "5-0", &[]).await;
            connection.expect("XINFO").await.reply(info()).await;
            claim(&mut connection, 1).await;
            delete(&mut connection).await;
            let event = test.node.event().await;
            assert!(matches!(
                event,
                Event::Stream(StreamEvent::Restored { missed, .. }) if missed.iter().count() == 4
            ));
        } else {
            forget(&mut connection).await;
            assert_eq!(test.reason().await, "the offset is not in the stream (any more)");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_permission_for_records_sessions_work_as_before() {
    let mut test = Recovery::new();
    test.save(KEY, 1, ended(), KEEP);
    let mut connection = test.redis.accept().await;
    no_later(&mut connection).await;
    connection.expect("SET").await.reply(reply::ok()).await;
    connection.expect("HDEL").await.refuse("NOPERM no permissions").await;
    connection.expect("SET").await.reply(reply::ok()).await;
    connection.expect("HDEL").await.refuse("NOPERM no permissions").await;
    let warning = test.node.warning().await.to_string();
    assert!(warning.contains("HSET") && warning.contains("start anew"), "{warning}");
    test.restore(7);
    connection.expect("PTTL").await.reply(reply::int(60_000)).await;
    connection.expect("GET").await.reply(reply::text(&encode_session(SESSION))).await;
    connection.expect(&format!("DEL {KEY}")).await.reply(reply::int(1)).await;
    assert_eq!(test.restored().await.0, [8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_session_of_another_namespace_is_left_alone() {
    let fields = b"\xa3nsp\xa6/admin";
    let of_admin = [b"\x84", &SESSION[1..], fields].concat();
    let mut test = Recovery::new();
    test.restore(3);
    let mut connection = test.redis.accept().await;
    find(&mut connection, Some(&of_admin), &[]).await;
    assert_eq!(test.reason().await, "the session is of another namespace");
    // Its node is not asked either.
    test.restore(3);
    let record = [b"connected other\n", &of_admin[..]].concat();
    find(&mut connection, None, &[(1, &record)]).await;
    assert_eq!(test.reason().await, "the session is of another namespace");
}
