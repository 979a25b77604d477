//! What counts as a loss, and how large it is.

use super::{by_writer, entries, entries_at_five, last, page, reading, theirs};
use crate::engine::event::Loss;
use crate::engine::stream::{Ends, Progress};
use crate::engine::wire::{ORIGIN, Origin};
use crate::testing::{ScriptedRedis, TestNode, id, reply};

/// The stream's state as a check sees it: it has had entries up to `last`, one per millisecond.
fn ends(last: u64) -> Ends {
    let length = Some(last);
    Ends { first: id(1), last: id(last), length, added: length }
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_by_its_writers_sequences_is_a_loss_of_that_size() {
    let (_redis, node, mut connection) = reading().await;
    node.stream.cursor().history.start(id(5));
    page(&mut connection, "5-0", &[by_writer(6, 1), by_writer(7, 2)]).await;
    assert_eq!((node.delivered().await, node.delivered().await), (id(6), id(7)));
    page(&mut connection, "7-0", &[by_writer(20, 6)]).await;
    assert_eq!(node.lost().await, (Loss::Trimmed, Some(3)));
    assert_eq!(node.delivered().await, id(20));
    assert_eq!(node.stream.cursor().hole_behind, id(7));
    assert_eq!((node.stats.lost.get(), node.stats.losses.get()), (3, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stream_trimmed_past_us_is_a_loss_where_sequences_do_not_tell() {
    let (_redis, node, mut connection) = reading().await;
    page(&mut connection, "5-0", &[by_writer(6, 1)]).await;
    assert_eq!(node.delivered().await, id(6));
    node.stream.cursor().may_be_trimmed = true;
    page(&mut connection, "6-0", &[by_writer(7, 2)]).await;
    assert_eq!(node.delivered().await, id(7));
    node.stream.cursor().may_be_trimmed = true;
    page(&mut connection, "7-0", &theirs([9])).await;
    assert_eq!(node.lost().await, (Loss::Trimmed, None));
    assert_eq!(node.delivered().await, id(9));
    assert_eq!(node.stream.cursor().hole_behind, id(7));
    // Sequences are missing of which the writer did not know whether they were written.
    let unconfirmed = [(10, 5, 2), (11, 8, 2)].map(|(ms, seq, unconfirmed)| {
        let origin = format!("{}{seq}{}", Origin::prefix(77), Origin::suffix(unconfirmed));
        let fields = ["uid", "theirs", "nsp", "/", "type", "3", "data", reply::DATA, ORIGIN];
        reply::entry(&id(ms).to_string(), &[&fields[..], &[&origin]].concat())
    });
    page(&mut connection, "9-0", &unconfirmed[..1]).await;
    assert_eq!(node.delivered().await, id(10), "nothing was trimmed, so nothing was lost");
    node.stream.cursor().may_be_trimmed = true;
    page(&mut connection, "10-0", &unconfirmed[1..]).await;
    assert_eq!(node.lost().await, (Loss::Trimmed, None));
    assert_eq!(node.delivered().await, id(11));
    assert_eq!(node.stream.cursor().hole_behind, id(10));
}

#[tokio::test(start_paused = true)]
async fn what_sequences_and_numbers_show_of_a_page_is_one_loss() {
    let (_redis, node, mut connection) = reading().await;
    page(&mut connection, "5-0", &[by_writer(6, 1)]).await;
    assert_eq!(node.delivered().await, id(6));
    {
        let mut cursor = node.stream.cursor();
        let (position, read) = (cursor.position, cursor.read);
        cursor.watch.compare(Some(ends(6)), position);
        cursor.watch.expect(ends(6), position, read);
        // The stream was about to be trimmed when a check saw it.
        cursor.watch.expect(ends(8), position, read);
    }
    page(&mut connection, "6-0", &[by_writer(20, 15)]).await;
    assert_eq!(node.lost().await, (Loss::Trimmed, Some(13)));
    assert_eq!(node.delivered().await, id(20));
    assert_eq!((node.stats.lost.get(), node.stats.losses.get()), (13, 1));
}

#[tokio::test(start_paused = true)]
async fn numbers_that_were_never_compared_do_not_show_what_is_missing() {
    let (_redis, node, mut connection) = reading().await;
    page(&mut connection, "5-0", &theirs([6])).await;
    assert_eq!(node.delivered().await, id(6));
    {
        let mut cursor = node.stream.cursor();
        let (position, read) = (cursor.position, cursor.read);
        cursor.watch.compare(Some(ends(19)), position);
        cursor.watch.expect(ends(19), position, read);
        cursor.may_be_trimmed = true;
    }
    page(&mut connection, "6-0", &theirs([20])).await;
    assert_eq!(node.lost().await, (Loss::Trimmed, None));
    assert_eq!(node.delivered().await, id(20));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_was_outrun_is_told_by_its_last_entry() {
    let (_redis, node, mut connection) = reading().await;
    page(&mut connection, "5-0", &theirs(6..106)).await;
    connection.expect("XRANGE").await.reply(entries_at_five()).await;
    for ms in 6..106 {
        assert_eq!(node.delivered().await, id(ms));
    }
    page(&mut connection, "105-0", &theirs(200..400)).await;
    let command = connection.expect("XRANGE").await;
    assert_eq!(command.words[2..4], ["105-0", "105-0"]);
    command.reply(entries(&[])).await;
    assert_eq!(node.lost().await, (Loss::Trimmed, None));
    assert_eq!(node.delivered().await, id(200));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_was_outrun_does_not_trust_the_first_sequences_of_writers() {
    let (_redis, node, mut connection) = reading().await;
    page(&mut connection, "5-0", &theirs([6])).await;
    assert_eq!(node.delivered().await, id(6));
    let of_new_writers: Vec<_> =
        (1..=100).map(|n| reply::entry_of(&id(100 + n).to_string(), n, 5)).collect();
    page(&mut connection, "6-0", &of_new_writers).await;
    connection.expect("XRANGE").await.reply(entries(&[])).await;
    assert_eq!(node.lost().await, (Loss::Trimmed, None));
    assert_eq!(node.delivered().await, id(101));
}

#[tokio::test(start_paused = true)]
async fn what_was_written_before_a_refused_reader_was_let_in_is_no_loss() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::new(&redis);
    node.stream.progress.send_replace(Progress::Refused);
    node.start_writer();
    let mut writer = redis.accept().await;
    for last in [100, 300] {
        let info = reply::info("1-0", &format!("{last}-0"), last, last);
        writer.expect("XINFO").await.reply(info).await;
    }
    writer.answer("XINFO", reply::info("1-0", "300-0", 300, 300));
    node.start_reader();
    let read = async {
        let mut connection = redis.accept().await;
        last(&mut connection, "+", &["300-0"]).await;
        page(&mut connection, "300-0", &theirs([301])).await;
        node.delivered().await
    };
    assert_eq!(writer.while_answering(read).await, id(301));
    assert_eq!(node.stats.losses.get(), 0);
}
