//! Sessions that are restored.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{
    KEY, RECORDS, Recovery, SESSION, claim, find, forget, get, ms_of, range, take, theirs,
};
use crate::engine::event::{Event, StreamEvent};
use crate::engine::stream::Progress;
use crate::engine::wire::{ORIGIN, Origin};
use crate::testing::{id, reply};

#[tokio::test(start_paused = true)]
async fn what_was_missed_comes_out_of_the_history_and_the_session_is_taken() {
    let mut test = Recovery::new();
    test.restore(7);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    claim(&mut connection, 1).await;
    let command = connection.expect(&format!("DEL {KEY}")).await;
    // The client has also missed what the reader hands on before the answer.
    test.read(&[10]);
    command.reply(reply::int(1)).await;
    connection.expect(&format!("HDEL {RECORDS} 0")).await.reply(reply::int(0)).await;
    assert_eq!(test.restored().await, (vec![8, 9, 10], id(10)));
    test.read(&[11]);
    assert_eq!(test.node.delivered().await, id(11), "live, behind the answer");
    assert_eq!(test.node.stats.restores.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_the_history_is_read_from_the_stream() {
    let mut test = Recovery::new();
    test.restore(2);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    range(&mut connection, "2-0", "2-0", &theirs(&["2-0"])).await;
    range(&mut connection, "2-1", "5-0", &theirs(&["3-0", "5-0"])).await;
    range(&mut connection, "2-0", "2-0", &theirs(&["2-0"])).await;
    take(&mut connection).await;
    assert_eq!(test.restored().await, (vec![3, 5, 6, 7, 8, 9], id(9)));
}

#[tokio::test(start_paused = true)]
async fn what_doubles_an_entry_from_before_the_node_began_to_read_is_left_out() {
    const WRITER: u64 = 7;
    let written = |id: &str, seq| reply::entry_of(id, WRITER, seq);
    let mut test = Recovery::new();
    test.node.stream.cursor().read_since = id(5);
    let stream = [written("4-0", 1), written("5-0", 3)];
    test.restore(3);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    range(&mut connection, "3-0", "3-0", &theirs(&["3-0"])).await;
    let command = connection.expect("XREVRANGE").await;
    assert_eq!(command.words[2..4], ["9-0", "-"]);
    let [double, last] = stream.clone();
    let older = [reply::entry_of_upstream("3-0"), written("2-0", 2), written("1-0", 1)];
    command.reply(reply::array(&[&[last, double], &older[..]].concat())).await;
    range(&mut connection, "3-1", "5-0", &stream).await;
    range(&mut connection, "3-0", "3-0", &theirs(&["3-0"])).await;
    take(&mut connection).await;
    assert_eq!(test.missed().await, [5, 6, 7, 8, 9]);

    // The reader knows the writer now, and the next restore need not search.
    test.read_entries(&[written("10-0", 2), written("11-0", 4)]);
    assert_eq!(test.node.delivered().await, id(11));
    test.restore(3);
    get(&mut connection).await;
    range(&mut connection, "3-0", "3-0", &theirs(&["3-0"])).await;
    range(&mut connection, "3-1", "5-0", &stream).await;
    range(&mut connection, "3-0", "3-0", &theirs(&["3-0"])).await;
    take(&mut connection).await;
    assert_eq!(test.missed().await, [5, 6, 7, 8, 9, 11]);
}

/// A session that was sent nothing between `3-0` and `up_to`, three characters.
fn sent_up_to(up_to: &str) -> Vec<u8> {
    let fields = [b"\xa8lastSent\xa33-0\xa8sentUpTo\xa3", up_to.as_bytes()].concat();
    [b"\x85", &SESSION[1..], &fields].concat()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_what_it_was_sent_needs_no_older_entries() {
    let mut test = Recovery::new();
    test.restore(3);
    let mut connection = test.redis.accept().await;
    find(&mut connection, Some(&sent_up_to("6-0")), &[]).await;
    take(&mut connection).await;
    assert_eq!(test.missed().await, [7, 8, 9]);
    // Before the history, the stream must reach back to that place.
    test.restore(3);
    find(&mut connection, Some(&sent_up_to("4-0")), &[]).await;
    range(&mut connection, "4-0", "4-0", &theirs(&["4-0"])).await;
    range(&mut connection, "4-1", "5-0", &theirs(&["5-0"])).await;
    range(&mut connection, "4-0", "4-0", &theirs(&["4-0"])).await;
    take(&mut connection).await;
    assert_eq!(test.missed().await, [5, 6, 7, 8, 9]);
    test.restore(3);
    find(&mut connection, Some(&sent_up_to("4-0")), &[]).await;
    range(&mut connection, "4-0", "4-0", &[]).await;
    forget(&mut connection).await;
    assert_eq!(test.reason().await, "the offset is not in the stream (any more)");
}

#[tokio::test(start_paused = true)]
async fn a_client_without_the_last_packet_that_it_was_sent_needs_it() {
    let mut test = Recovery::new();
    test.restore(2);
    let mut connection = test.redis.accept().await;
    find(&mut connection, Some(&sent_up_to("6-0")), &[]).await;
    range(&mut connection, "2-0", "2-0", &[]).await;
    forget(&mut connection).await;
    assert_eq!(test.reason().await, "the offset is not in the stream (any more)");
    // A packet that arrived after the session was written.
    test.restore(7);
    find(&mut connection, Some(&sent_up_to("6-0")), &[]).await;
    take(&mut connection).await;
    assert_eq!(test.missed().await, [8, 9]);
}

#[tokio::test(start_paused = true)]
async fn it_is_read_page_by_page_while_the_history_lets_go_of_its_oldest() {
    let mut test = Recovery::new();
    test.restore(2);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    range(&mut connection, "2-0", "2-0", &theirs(&["2-0"])).await;
    let command = connection.expect("XRANGE").await;
    let count: usize = command.behind("COUNT").parse().unwrap();
    let ids: Vec<String> = (1..=count).map(|seq| format!("2-{seq}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    command.reply(reply::array(&theirs(&ids))).await;
    let command = connection.expect("XRANGE").await;
    assert_eq!(command.words[2..4], [&format!("2-{}", count + 1), "5-0"]);
    test.node.stream.cursor().history.restart(id(9));
    command.reply(reply::array(&theirs(&["3-0"]))).await;
    range(&mut connection, "2-0", "2-0", &theirs(&["2-0"])).await;
    range(&mut connection, "5-1", "9-0", &theirs(&["6-0", "9-0"])).await;
    range(&mut connection, "2-0", "2-0", &theirs(&["2-0"])).await;
    take(&mut connection).await;
    let (missed, _) = test.restored().await;
    assert_eq!(missed.len(), count + 3);
    assert_eq!(missed[count..], [3, 6, 9]);
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_is_not_in_the_stream_is_refused_and_the_session_deleted() {
    let mut test = Recovery::new();
    test.restore(2);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    range(&mut connection, "2-0", "2-0", &[]).await;
    forget(&mut connection).await;
    assert_eq!(test.reason().await, "the offset is not in the stream (any more)");
    assert_eq!(test.node.stats.restores_refused.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_trimmed_past_the_offset_meanwhile_is_no_proof() {
    let mut test = Recovery::new();
    test.restore(2);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    range(&mut connection, "2-0", "2-0", &theirs(&["2-0"])).await;
    range(&mut connection, "2-1", "5-0", &theirs(&["4-0"])).await;
    range(&mut connection, "2-0", "2-0", &[]).await;
    forget(&mut connection).await;
    assert_eq!(test.reason().await, "the stream was trimmed past the offset");
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_what_is_read_is_no_proof_and_a_double_is_dropped() {
    let mut test = Recovery::new();
    test.restore(2);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    range(&mut connection, "2-0", "2-0", &theirs(&["2-0"])).await;
    let entries = [reply::entry_of("3-0", 7, 1), reply::entry_of("4-0", 7, 3)];
    range(&mut connection, "2-1", "5-0", &entries).await;
    forget(&mut connection).await;
    assert_eq!(test.reason().await, "entries behind the offset were lost");

    test.restore(2);
    get(&mut connection).await;
    range(&mut connection, "2-0", "2-0", &theirs(&["2-0"])).await;
    let entries = [reply::entry_of("3-0", 7, 1), reply::entry_of("4-0", 7, 1)];
    range(&mut connection, "2-1", "5-0", &entries).await;
    range(&mut connection, "2-0", "2-0", &theirs(&["2-0"])).await;
    take(&mut connection).await;
    assert_eq!(test.restored().await.0, [3, 6, 7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_double_of_what_the_client_has_is_dropped_if_the_reader_has_met_both() {
    let mut test = Recovery::new();
    test.node.stream.cursor().doubles.note(id(3), id(1));
    test.restore(2);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    range(&mut connection, "2-0", "2-0", &theirs(&["2-0"])).await;
    // The next sequence of this writer is far behind that of its double, which is no gap.
    let entries = [reply::entry_of("3-0", 7, 1), reply::entry_of("4-0", 7, 9)];
    range(&mut connection, "2-1", "5-0", &entries).await;
    range(&mut connection, "2-0", "2-0", &theirs(&["2-0"])).await;
    take(&mut connection).await;
    assert_eq!(test.restored().await.0, [4, 6, 7, 8, 9]);
}

/// Acts as if the master with the entry `10-0` were gone: the reader has met it, and its double `11-0`.
/// The history begins behind `history_from`, or has both.
fn after_a_failover(test: &Recovery, history_from: Option<u64>) {
    let written = |id| reply::entry_of(id, 7, 1);
    test.read_entries(&[written("10-0")]);
    if let Some(history_from) = history_from {
        test.node.stream.cursor().history.restart(id(history_from));
    }
    test.read_entries(&[written("11-0"), reply::entry_of_upstream("12-0")]);
    test.node.events();
    assert_eq!(test.node.stats.doubled.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_double_whose_first_entry_is_gone_with_its_master_is_not_left_out() {
    // Also while the history has dropped the first entry and begins before the double.
    for history_from in [10, 12] {
        let mut test = Recovery::new();
        after_a_failover(&test, Some(history_from));
        test.restore(9);
        let mut connection = test.redis.accept().await;
        get(&mut connection).await;
        range(&mut connection, "9-0", "9-0", &theirs(&["9-0"])).await;
        let mut stream = vec![reply::entry_of("11-0", 7, 1)];
        if history_from == 12 {
            stream.push(reply::entry_of_upstream("12-0"));
        }
        let last = format!("{}-0", history_from.max(11));
        range(&mut connection, "9-1", &last, &stream).await;
        range(&mut connection, "9-0", "9-0", &theirs(&["9-0"])).await;
        take(&mut connection).await;
        assert_eq!(test.restored().await.0, [11, 12], "the history begins behind {history_from}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_the_first_entry_does_not_get_its_double() {
    let mut test = Recovery::new();
    after_a_failover(&test, Some(12));
    test.restore(10);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    range(&mut connection, "10-0", "10-0", &theirs(&["10-0"])).await;
    let stream = [reply::entry_of("11-0", 7, 1), reply::entry_of_upstream("12-0")];
    range(&mut connection, "10-1", "12-0", &stream).await;
    range(&mut connection, "10-0", "10-0", &theirs(&["10-0"])).await;
    take(&mut connection).await;
    assert_eq!(test.restored().await.0, [12]);
}

#[tokio::test(start_paused = true)]
async fn from_the_history_a_client_gets_the_first_entry_only() {
    let mut test = Recovery::new();
    after_a_failover(&test, None);
    test.restore(9);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    take(&mut connection).await;
    assert_eq!(test.restored().await.0, [10, 12]);
    // A node that has not met the first entry gives its clients the other one.
    test.restore(11);
    get(&mut connection).await;
    take(&mut connection).await;
    assert_eq!(test.restored().await.0, [12]);
}

#[tokio::test(start_paused = true)]
async fn a_double_is_for_those_who_were_in_its_room_before_the_first_entry() {
    const DATA: &str =
        r#"{"opts":{"rooms":["r"],"except":[]},"packet":{"type":2,"data":["e"],"nsp":"/"}}"#;
    const BEFORE: &[u8] = b"\x83\xa3sid\xa1s\xa5rooms\x92\xa1s\xa1r\xa5since\x92\xa31-0\xa39-5";
    const BETWEEN: &[u8] = b"\x83\xa3sid\xa1s\xa5rooms\x92\xa1s\xa1r\xa5since\x92\xa31-0\xa410-0";
    for (session, missed) in [(BEFORE, vec![11, 12]), (BETWEEN, vec![12])] {
        let mut test = Recovery::new();
        after_a_failover(&test, Some(12));
        test.restore(9);
        let mut connection = test.redis.accept().await;
        find(&mut connection, Some(session), &[]).await;
        range(&mut connection, "9-0", "9-0", &theirs(&["9-0"])).await;
        let origin = format!("{}1", Origin::prefix(7));
        let fields = ["uid", "theirs", "nsp", "/", "type", "3", "data", DATA, ORIGIN, &origin];
        let stream = [reply::entry("11-0", &fields), reply::entry_of_upstream("12-0")];
        range(&mut connection, "9-1", "12-0", &stream).await;
        range(&mut connection, "9-0", "9-0", &theirs(&["9-0"])).await;
        take(&mut connection).await;
        assert_eq!(test.missed().await, missed);
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_stream_ends_before_the_position_nothing_is_restored() {
    let mut test = Recovery::new();
    *test.node.stream.tail_asked.lock().await = None;
    test.restore(7);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    connection.expect("XREVRANGE").await.reply(reply::array(&theirs(&["8-0"]))).await;
    forget(&mut connection).await;
    assert_eq!(test.reason().await, "the stream has ended before what was read");

    // One look is enough for all that came before it.
    test.restore(7);
    get(&mut connection).await;
    connection.expect("XREVRANGE").await.reply(reply::array(&theirs(&["9-0"]))).await;
    take(&mut connection).await;
    assert_eq!(test.restored().await.0, [8, 9]);
    *test.node.stream.tail_asked.lock().await = Some(Instant::now() + Duration::from_millis(1));
    test.restore(7);
    get(&mut connection).await;
    take(&mut connection).await;
    assert_eq!(test.restored().await.0, [8, 9]);
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_may_mean_two_entries_is_refused() {
    let mut test = Recovery::new();
    test.node.stream.cursor().ids_fell(id(7)..=id(20), id(6));
    test.restore(7);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    forget(&mut connection).await;
    assert_eq!(test.reason().await, "the offset may mean two entries");
}

#[tokio::test(start_paused = true)]
async fn across_a_hole_nobody_can_tell_what_was_missed() {
    let mut test = Recovery::new();
    test.node.stream.cursor().hole_behind = id(7);
    test.restore(7);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    forget(&mut connection).await;
    assert_eq!(test.reason().await, "entries behind the offset were lost");
    test.restore(8);
    get(&mut connection).await;
    take(&mut connection).await;
    assert_eq!(test.restored().await.0, [9]);
}

#[tokio::test(start_paused = true)]
async fn while_the_stream_is_read_again_nothing_is_proven() {
    let mut test = Recovery::new();
    {
        let mut cursor = test.node.stream.cursor();
        cursor.position = id(2);
        cursor.history.restart(id(9));
    }
    test.restore(2);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    range(&mut connection, "2-0", "2-0", &theirs(&["2-0"])).await;
    forget(&mut connection).await;
    assert_eq!(test.reason().await, "the stream is being read again");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_there_is_refused_at_once() {
    let mut test = Recovery::new();
    test.restore(7);
    let mut connection = test.redis.accept().await;
    find(&mut connection, None, &[]).await;
    assert_eq!(test.reason().await, "no such session, or it has expired");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_another_node_takes_first_is_not_given_twice() {
    let mut test = Recovery::new();
    test.restore(7);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    // Another node of ours has begun the generation, and one of upstream's is faster in the end.
    connection.expect(&format!("HSETNX {RECORDS} 1")).await.reply(reply::int(0)).await;
    connection.expect("PEXPIRE").await.reply(reply::int(1)).await;
    find(&mut connection, Some(SESSION), &[(1, b"")]).await;
    claim(&mut connection, 2).await;
    connection.expect("DEL").await.reply(reply::int(0)).await;
    connection.expect("HDEL").await.reply(reply::int(0)).await;
    connection.expect(&format!("HSET {RECORDS} 2")).await.reply(reply::int(0)).await;
    connection.expect("PEXPIRE").await.reply(reply::int(1)).await;
    find(&mut connection, None, &[(1, b"")]).await;
    let reason = test.reason().await;
    assert_eq!(reason, "no such session, or it has expired");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_session_is_deleted() {
    let mut test = Recovery::new();
    test.restore(7);
    let mut connection = test.redis.accept().await;
    connection.expect("PTTL").await.reply(reply::int(60_000)).await;
    connection.expect("GET").await.reply(reply::text("***")).await;
    connection.expect("HGETALL").await.reply(reply::array(&[])).await;
    connection.expect("PTTL").await.reply(reply::int(-2)).await;
    connection.expect(&format!("DEL {KEY}")).await.reply(reply::int(1)).await;
    connection.expect(&format!("DEL {RECORDS}")).await.reply(reply::int(0)).await;
    assert_eq!(test.reason().await, "the session is damaged");
    assert_eq!(test.node.stats.malformed.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_received_nothing_has_missed_what_came_since_its_session_began() {
    let mut test = Recovery::new();
    let session = b"\x83\xa3sid\xa1s\xa5rooms\x91\xa1s\xa5since\x91\xa38-0";
    test.restore(6);
    let mut connection = test.redis.accept().await;
    find(&mut connection, Some(session), &[]).await;
    take(&mut connection).await;
    match test.node.event().await {
        Event::Stream(StreamEvent::Restored { missed, .. }) => {
            assert_eq!(missed.iter().map(ms_of).collect::<Vec<_>>(), [9]);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_ahead_of_our_reader_waits_for_it() {
    let mut test = Recovery::new();
    test.restore(10);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    connection.expect("XREVRANGE").await.reply(reply::array(&theirs(&["11-0"]))).await;
    let early = timeout(Duration::from_secs(5), connection.expect("DEL")).await;
    assert!(early.is_err());
    test.read(&[10, 11]);
    take(&mut connection).await;
    assert_eq!(test.restored().await, (vec![11], id(11)));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_come_so_far_in_time_refuses() {
    let mut test = Recovery::new();
    test.node.stream.progress.send_replace(Progress::Refused);
    test.restore(10);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    connection.expect("XREVRANGE").await.reply(reply::array(&theirs(&["11-0"]))).await;
    let before = Instant::now();
    forget(&mut connection).await;
    assert_eq!(before.elapsed().as_secs(), 8);
    assert_eq!(test.reason().await, "this node is too far behind the stream");
}

#[tokio::test(start_paused = true)]
async fn what_lies_behind_the_streams_end_nobody_has_seen() {
    let mut test = Recovery::new();
    test.restore(10);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    connection.expect("XREVRANGE").await.reply(reply::array(&theirs(&["9-0"]))).await;
    forget(&mut connection).await;
    assert_eq!(test.reason().await, "the offset is ahead of the stream");
}
