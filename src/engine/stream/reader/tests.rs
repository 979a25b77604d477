//! The reader against scripted servers. "The reader" in docs/architecture.md lists the branches.

mod losses;
mod pages;

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::engine::error::Error;
use crate::engine::event::{Completion, Event, Local, StreamEvent};
use crate::engine::presence::Pace;
use crate::engine::redis::Target;
use crate::engine::stream::{Progress, Publish};
use crate::engine::wire::{BROADCAST, EntryId, ORIGIN, Origin};
use crate::testing::{NOW_MS, ScriptedConnection, ScriptedRedis, TestNode, id, reply};

/// A node whose reader has found its start at `5-0`, and the reader's connection.
async fn reading() -> (ScriptedRedis, TestNode, ScriptedConnection) {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::new(&redis);
    node.start_reader();
    let mut connection = redis.accept().await;
    last(&mut connection, "+", &["5-0"]).await;
    (redis, node, connection)
}

/// The reader asks for the last entry up to `from`. The server returns `ids`.
async fn last(connection: &mut ScriptedConnection, from: &str, ids: &[&str]) {
    let command = connection.expect("XREVRANGE").await;
    assert_eq!(command.words[2], from);
    command.reply(entries(ids)).await;
}

fn entries(ids: &[&str]) -> Vec<u8> {
    let entries: Vec<_> = ids.iter().map(|id| reply::entry_of_upstream(id)).collect();
    reply::array(&entries)
}

/// The reader asks for the page behind `from`. The server returns `entries`.
async fn page(connection: &mut ScriptedConnection, from: &str, entries: &[Vec<u8>]) {
    let command = connection.expect("XREAD").await;
    assert_eq!(command.words.last().unwrap(), from);
    command.reply(reply::page(entries)).await;
}

async fn no_page(connection: &mut ScriptedConnection, from: &str) {
    let command = connection.expect("XREAD").await;
    assert_eq!(command.words.last().unwrap(), from);
    command.reply(reply::no_page()).await;
}

/// Entries that a node of upstream wrote.
fn theirs(ids: impl IntoIterator<Item = u64>) -> Vec<Vec<u8>> {
    ids.into_iter().map(|ms| reply::entry_of_upstream(&format!("{ms}-0"))).collect()
}

/// An entry that a writer of our kind wrote with this sequence.
fn by_writer(ms: u64, seq: u64) -> Vec<u8> {
    reply::entry_of(&format!("{ms}-0"), 77, seq)
}

#[tokio::test(start_paused = true)]
async fn it_reads_from_the_tail_and_hands_on_what_comes() {
    let (_redis, node, mut connection) = reading().await;
    let command = connection.expect("XREAD").await;
    assert_eq!(command.words[1..], ["COUNT", "100", "STREAMS", "stream", "5-0"]);
    command.reply(reply::no_page()).await;
    let command = connection.expect("XREAD").await;
    assert_eq!(command.behind("BLOCK"), "5000", "the first one shows that it can read");
    assert!(node.stream.reader_health.is_connected());
    command.reply(reply::page(&theirs([6, 7]))).await;
    assert_eq!((node.delivered().await, node.delivered().await), (id(6), id(7)));
    page(&mut connection, "7-0", &theirs([8])).await;
    assert_eq!(node.delivered().await, id(8));
    no_page(&mut connection, "8-0").await;
    assert_eq!(*node.stream.progress.borrow(), Progress::At(id(8)));
}

#[tokio::test(start_paused = true)]
async fn what_was_written_since_the_node_was_started_is_read() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::new(&redis);
    node.start_reader();
    sleep(Duration::from_secs(3)).await;
    let mut connection = redis.accept().await;
    let tail = format!("{}-0", NOW_MS + 2_000);
    last(&mut connection, "+", &[&tail]).await;
    last(&mut connection, &(NOW_MS - 1).to_string(), &["5-0"]).await;
    no_page(&mut connection, "5-0").await;
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_behind_the_tail_does_not_count() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::new(&redis);
    node.start_reader();
    let mut connection = redis.accept().await;
    let tail = format!("{}-0", NOW_MS + 60_000);
    last(&mut connection, "+", &[&tail]).await;
    no_page(&mut connection, &tail).await;
}

#[tokio::test(start_paused = true)]
async fn without_permission_for_the_clock_it_begins_at_the_tail() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::new(&redis);
    node.start_reader();
    let mut connection = redis.accept().await;
    let tail = format!("{NOW_MS}-0");
    last(&mut connection, "+", &[&tail]).await;
    connection.expect("TIME").await.refuse("NOPERM no permissions").await;
    no_page(&mut connection, &tail).await;
    assert!(matches!(node.warning().await, Error::Refused { command: "TIME", .. }));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_there_is_read_from_its_start() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::new(&redis);
    node.start_reader();
    let mut connection = redis.accept().await;
    last(&mut connection, "+", &[]).await;
    no_page(&mut connection, "0-0").await;
}

#[tokio::test(start_paused = true)]
async fn after_a_cut_it_goes_on_where_it_was_and_asks_for_no_start_again() {
    let (mut redis, node, mut connection) = reading().await;
    page(&mut connection, "5-0", &theirs([6])).await;
    connection.expect("XREAD").await;
    drop(connection);
    redis.refuse().await;
    let mut connection = redis.accept().await;
    page(&mut connection, "6-0", &theirs([7])).await;
    assert_eq!(node.delivered().await, id(6));
    assert!(matches!(node.warning().await, Error::Connection { .. }));
    assert_eq!(node.delivered().await, id(7));
    assert_eq!(node.stats.reconnects.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_cut_before_the_start_is_known_leaves_it_to_the_next_connection() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::new(&redis);
    node.start_reader();
    redis.accept().await.expect("XREVRANGE").await;
    let mut connection = redis.accept().await;
    assert_eq!(*node.stream.progress.borrow(), Progress::Starting, "nothing may be written");
    last(&mut connection, "+", &["5-0"]).await;
    no_page(&mut connection, "5-0").await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_is_left_some_seconds_after_its_time() {
    let (mut redis, node, mut connection) = reading().await;
    no_page(&mut connection, "5-0").await;
    connection.expect("XREAD").await;
    let before = Instant::now();
    let mut second = redis.accept().await;
    assert!((10..11).contains(&before.elapsed().as_secs()));
    connection.closed().await;
    no_page(&mut second, "5-0").await;
    assert!(matches!(node.warning().await, Error::Timeout { command: "XREAD", .. }));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_made_anew_when_the_position_was_changed() {
    let (mut redis, node, mut connection) = reading().await;
    no_page(&mut connection, "5-0").await;
    connection.expect("XREAD").await;
    {
        let mut cursor = node.stream.cursor();
        cursor.position = EntryId::ZERO;
        cursor.moves += 1;
    }
    node.stream.restart_reader.notify_one();
    let mut second = redis.accept().await;
    connection.closed().await;
    no_page(&mut second, "0-0").await;
    assert!(node.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_page_of_a_position_that_does_not_count_any_more_is_thrown_away() {
    let (_redis, node, mut connection) = reading().await;
    let command = connection.expect("XREAD").await;
    {
        let mut cursor = node.stream.cursor();
        cursor.position = id(2);
        cursor.moves += 1;
    }
    command.reply(reply::page(&theirs([6]))).await;
    page(&mut connection, "2-0", &theirs([3])).await;
    assert_eq!(node.delivered().await, id(3));
}

#[tokio::test(start_paused = true)]
async fn where_reading_is_refused_publishes_end_at_the_reply_until_it_is_permitted_again() {
    let (mut redis, node, mut connection) = reading().await;
    no_page(&mut connection, "5-0").await;
    {
        let mut cursor = node.stream.cursor();
        let publish = Publish {
            ticket: Some(1),
            namespace: node.namespace.clone(),
            kind: BROADCAST,
            data: None,
            kept_by_js: 0,
            at: Instant::now(),
        };
        cursor.own.sent(1, [&publish]);
        let reader = cursor.reader_at(node.stream.writer_id);
        cursor.own.acknowledged(1, &[id(6)], reader);
    }
    connection.expect("XREAD").await.refuse("NOPERM no permissions").await;
    assert!(matches!(node.warning().await, Error::Refused { command: "XREAD", .. }));
    assert_eq!(node.published().await.1.unwrap(), None, "no offset ahead of what nobody has read");
    assert_eq!(node.stream.cursor().delivered_ahead, id(6));
    assert_eq!(*node.stream.progress.borrow(), Progress::Refused);

    let mut connection = redis.accept().await;
    connection.expect("XREAD").await.refuse("NOPERM no permissions").await;
    let mut connection = redis.accept().await;
    page(&mut connection, "5-0", &theirs([7])).await;
    assert_eq!(node.delivered().await, id(7));
    assert_eq!(*node.stream.progress.borrow(), Progress::At(id(7)));
}

#[tokio::test(start_paused = true)]
async fn own_broadcasts_for_nobody_carry_a_packet_only_behind_a_change_of_rooms() {
    const TO_ROOM: &str =
        r#"{"opts":{"rooms":["r"],"except":[]},"packet":{"type":2,"data":["e"]}}"#;
    let (_redis, node, mut connection) = reading().await;
    let own = |seq: u64, kind: &str, data: &str| {
        let publish = Publish {
            ticket: Some(seq as u32),
            namespace: node.namespace.clone(),
            kind: BROADCAST,
            data: None,
            kept_by_js: 0,
            at: Instant::now(),
        };
        node.stream.cursor().own.sent(seq, [&publish]);
        let origin = format!("{}{seq}", Origin::prefix(node.stream.writer_id));
        let fields = ["uid", "ours", "nsp", "/", "type", kind, "data", data, ORIGIN, &origin];
        reply::entry(&format!("{}-0", 5 + seq), &fields)
    };
    let broadcast = |seq| own(seq, "3", TO_ROOM);
    let join = |seq| own(seq, "4", r#"{"opts":{"rooms":[],"except":[]},"rooms":["r"]}"#);
    // What each event is: 'n' for nothing, 'p' for a packet, 'j' if JS does the local part.
    let locals = |events: Vec<Event>| -> String {
        let local = |event: &Event| match event {
            Event::Stream(StreamEvent::Published(Completion { local, .. })) => match local {
                Local::Nothing => 'n',
                Local::Packet(_) => 'p',
                Local::Js => 'j',
            },
            other => panic!("the end of a publish expected, {other:?} came"),
        };
        events.iter().map(local).collect()
    };

    page(&mut connection, "5-0", &[broadcast(1), broadcast(2)]).await;
    page(&mut connection, "7-0", &[broadcast(3), join(4), broadcast(5)]).await;
    page(&mut connection, "10-0", &[broadcast(6)]).await;
    no_page(&mut connection, "11-0").await;
    let slice = node.inbox.drain(100).unwrap();
    assert_eq!(locals(slice), "nnnjpp");

    page(&mut connection, "11-0", &[broadcast(7)]).await;
    no_page(&mut connection, "12-0").await;
    assert_eq!(locals(node.inbox.drain(100).unwrap()), "p", "JS was still handling the join");
    page(&mut connection, "12-0", &[broadcast(8)]).await;
    no_page(&mut connection, "13-0").await;
    node.namespace.set_room("r", true);
    page(&mut connection, "13-0", &[broadcast(9)]).await;
    no_page(&mut connection, "14-0").await;
    assert_eq!(locals(node.inbox.drain(100).unwrap()), "np");
}

#[tokio::test(start_paused = true)]
async fn what_a_resend_has_doubled_is_dropped() {
    let (_redis, node, mut connection) = reading().await;
    node.stream.cursor().history.start(id(5));
    page(&mut connection, "5-0", &[by_writer(6, 1), by_writer(7, 2), by_writer(8, 2)]).await;
    assert_eq!((node.delivered().await, node.delivered().await), (id(6), id(7)));
    page(&mut connection, "8-0", &[by_writer(9, 1), by_writer(10, 3)]).await;
    assert_eq!(node.delivered().await, id(10));
    assert_eq!(node.stats.doubled.get(), 2);
    let doubles = node.stream.cursor().doubles.between(id(5), id(10));
    assert_eq!(doubles, [(id(8), id(7)), (id(9), id(6))].into());
}

#[tokio::test(start_paused = true)]
async fn of_a_stream_that_is_read_again_only_what_is_new_counts() {
    let (mut redis, node, mut connection) = reading().await;
    page(&mut connection, "5-0", &[by_writer(6, 1), by_writer(7, 2)]).await;
    assert_eq!((node.delivered().await, node.delivered().await), (id(6), id(7)));
    connection.expect("XREAD").await;
    {
        let mut cursor = node.stream.cursor();
        cursor.position = EntryId::ZERO;
        cursor.moves += 1;
        cursor.read_again_to = Some(id(4));
    }
    node.stream.restart_reader.notify_one();
    let mut connection = redis.accept().await;
    let again = [
        theirs([1]).remove(0),
        by_writer(2, 2),
        by_writer(3, 3),
        theirs([4]).remove(0),
        theirs([5]).remove(0),
    ];
    page(&mut connection, "0-0", &again).await;
    assert_eq!(node.delivered().await, id(3), "new, by its writer's sequence");
    assert_eq!(node.delivered().await, id(5), "behind what is read again");
    no_page(&mut connection, "5-0").await;
    assert!(node.events().is_empty());
    let doubles = node.stream.cursor().doubles.between(EntryId::ZERO, id(9));
    assert!(doubles.is_empty(), "what is read again doubles nothing");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_loads_or_has_no_master_is_asked_again() {
    let (mut redis, node, mut connection) = reading().await;
    for words in ["LOADING Redis is loading", "MASTERDOWN Link is down"] {
        connection.expect("XREAD").await.refuse(words).await;
        assert!(matches!(node.warning().await, Error::Unavailable { .. }));
        connection.closed().await;
        connection = redis.accept().await;
    }
    page(&mut connection, "5-0", &theirs([6])).await;
    assert_eq!(node.delivered().await, id(6));
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_has_moved_is_followed_without_a_warning() {
    let mut redis = ScriptedRedis::new();
    let settings = r#"{"kind":"cluster","nodes":[{"host":"a","port":1}]}"#;
    let node = TestNode::with_settings(&redis, settings);
    node.start_reader();
    let mut seed = redis.accept().await;
    let mut connection = seed.while_answering(redis.accept_at("a:1")).await;
    last(&mut connection, "+", &["5-0"]).await;
    connection.expect("XREAD").await.refuse("MOVED 1234 b:2").await;
    let mut connection = redis.accept_at("b:2").await;
    page(&mut connection, "5-0", &theirs([6])).await;
    assert_eq!(node.delivered().await, id(6));
}

fn entries_at_five() -> Vec<u8> {
    entries(&["5-0"])
}

#[tokio::test(start_paused = true)]
async fn a_read_without_limit_is_asked_for_again_after_half_a_minute() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::new(&redis);
    let mut reader = node.reader();
    reader.block = Duration::ZERO;
    tokio::spawn(reader.run());
    let mut connection = redis.accept().await;
    last(&mut connection, "+", &["5-0"]).await;
    no_page(&mut connection, "5-0").await;
    assert_eq!(connection.expect("XREAD").await.behind("BLOCK"), "30000");
}

#[tokio::test(start_paused = true)]
async fn with_requests_in_the_stream_it_waits_no_longer_than_between_two_checks() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::new(&redis);
    let pace = Pace::of(&crate::engine::options::defaults());
    let mut reader = node.reader();
    reader.pace = Some(pace);
    tokio::spawn(reader.run());
    let mut connection = redis.accept().await;
    last(&mut connection, "+", &["5-0"]).await;
    no_page(&mut connection, "5-0").await;
    let block = connection.expect("XREAD").await.behind("BLOCK").to_owned();
    assert_eq!(block, pace.check_interval().as_millis().to_string());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_another_one_has_replaced_is_left() {
    let (mut redis, node, mut connection) = reading().await;
    page(&mut connection, "5-0", &theirs([6])).await;
    connection.expect("XREAD").await;
    redis.run_id = "run-2".to_owned();
    let (other, mut accepted) = tokio::join!(node.connector.connect_raw(&Target::Master), async {
        let mut accepted = redis.accept().await;
        accepted.expect("INFO server").await.reply(reply::text("run_id:run-2\r\n")).await;
        accepted
    });
    let mut second = redis.accept().await;
    connection.closed().await;
    page(&mut second, "6-0", &theirs([7])).await;
    assert_eq!((node.delivered().await, node.delivered().await), (id(6), id(7)));
    drop(other);
    accepted.closed().await;
}
