//! How much the reader asks for at a time.

use std::time::Duration;

use tokio::time::timeout;

use super::{by_writer, entries_at_five, no_page, page, reading, theirs};
use crate::engine::event::{Event, Notice, StreamEvent};
use crate::testing::reply;

/// A full page: `count` entries, the first one with the ID `from`-0.
fn full(count: u64, from: u64) -> Vec<Vec<u8>> {
    (0..count).map(|place| by_writer(from + place, from + place)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_behind_asks_for_more_at_a_time() {
    let (_redis, node, mut connection) = reading().await;
    let mut at = 5;
    for count in [100, 200, 400, 800, 1_000, 1_000] {
        let command = connection.expect("XREAD").await;
        assert_eq!(command.behind("COUNT"), count.to_string());
        assert_eq!(*command.words.last().unwrap(), format!("{at}-0"));
        command.reply(reply::page(&full(count, at + 1))).await;
        if at == 5 {
            // The first entry of a writer does not show whether others are missing.
            connection.expect("XRANGE").await.reply(entries_at_five()).await;
        }
        at += count;
    }
    no_page(&mut connection, &format!("{at}-0")).await;
    let command = connection.expect("XREAD").await;
    assert_eq!(command.behind("COUNT"), "100");
    assert_eq!(node.stats.read.get(), 3_500);
}

#[tokio::test(start_paused = true)]
async fn large_replies_are_not_asked_for_in_larger_numbers() {
    let (_redis, node, mut connection) = reading().await;
    // Nobody here wants these entries, so they do not fill the inbox.
    let large = "x".repeat(12 << 10);
    let fields = ["uid", "theirs", "nsp", "/other", "type", "3", "data", &large];
    let entries: Vec<_> = (6..106).map(|ms| reply::entry(&format!("{ms}-0"), &fields)).collect();
    page(&mut connection, "5-0", &entries).await;
    connection.expect("XRANGE").await.reply(entries_at_five()).await;
    let command = connection.expect("XREAD").await;
    assert_eq!(command.behind("COUNT"), "100");
    drop(node);
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_space_before_it_reads_on() {
    let (_redis, node, mut connection) = reading().await;
    page(&mut connection, "5-0", &theirs([6])).await;
    let asked_before = connection.expect("XREAD").await;
    node.inbox.push(Notice::Debug("x".repeat(node.inbox.bound())));
    asked_before.reply(reply::page(&theirs([7]))).await;
    let asked = timeout(Duration::from_secs(60), connection.expect("XREAD")).await;
    assert!(asked.is_err());
    assert!(matches!(node.event().await, Event::Stream(StreamEvent::Broadcast(_))));
    assert!(matches!(node.event().await, Event::Notice(Notice::Debug(_))));
    no_page(&mut connection, "7-0").await;
}

#[tokio::test(start_paused = true)]
async fn a_page_over_which_the_connection_breaks_is_asked_for_in_halves() {
    let (mut redis, node, mut connection) = reading().await;
    for count in [100, 50, 25, 12, 6, 3, 1, 1] {
        assert_eq!(connection.expect("XREAD").await.behind("COUNT"), count.to_string());
        drop(connection);
        connection = redis.accept().await;
    }
    page(&mut connection, "5-0", &theirs([6])).await;
    connection.expect("XRANGE").await.reply(entries_at_five()).await;
    assert_eq!(connection.expect("XREAD").await.behind("COUNT"), "2", "it grows again");
    assert_eq!(node.stats.read.get(), 1);
}
