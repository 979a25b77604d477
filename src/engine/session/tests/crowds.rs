//! Many restores at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Recovery, range, theirs};
use crate::engine::error::{Error, Result};
use crate::engine::inbox::Inbox;
use crate::engine::missed::{Missed, MissedBytes, MissedList, SharedPacket};
use crate::engine::redis::{Pool, RoutedCommands};
use crate::engine::session::pages::{Page, Participant, SharedPages};
use crate::engine::session::restores::Restores;
use crate::engine::wire::Packet;
use crate::testing::id;

/// A participant for each of these entries that it has reached, and its commands.
fn participants<const N: usize>(
    test: &Recovery,
    reached: [u64; N],
) -> [(Participant, RoutedCommands); N] {
    let pages = Arc::new(SharedPages::default());
    let pool = Pool::new(test.node.connector.clone());
    reached.map(|ms| (pages.join(id(ms)), pool.routed("stream")))
}

fn ids(page: &Page) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.id.ms).collect()
}

#[tokio::test(start_paused = true)]
async fn a_page_is_read_once_for_all_who_have_missed_it() {
    let mut test = Recovery::new();
    let [(mut a, mut of_a), (mut b, mut of_b), (mut ahead, mut of_ahead)] =
        participants(&test, [2, 2, 3]);
    let stream = test.node.stream.clone();
    let server = async {
        let mut connection = test.redis.accept().await;
        range(&mut connection, "2-1", "5-0", &theirs(&["3-0", "4-0", "5-0"])).await;
        connection
    };
    let (a, b, ahead, _connection) = tokio::join!(
        a.next(&mut of_a, &stream, id(5)),
        b.next(&mut of_b, &stream, id(5)),
        ahead.next(&mut of_ahead, &stream, id(5)),
        server,
    );
    let pages = [a, b, ahead].map(Result::unwrap);
    assert!(pages.iter().all(|page| Arc::ptr_eq(page, &pages[0])));
    assert_eq!((ids(&pages[0]), pages[0].end), (vec![3, 4, 5], id(5)));
}

#[tokio::test(start_paused = true)]
async fn those_ahead_wait_for_the_one_that_is_furthest_behind() {
    let mut test = Recovery::new();
    test.node.stream.restore_pages.broke(4);
    let [(mut behind, mut commands), (mut ahead, mut of_ahead)] = participants(&test, [2, 4]);
    let stream = test.node.stream.clone();
    let server = async {
        let mut connection = test.redis.accept().await;
        // Whole pages: there is more.
        range(&mut connection, "2-1", "9-0", &theirs(&["3-0", "4-0"])).await;
        range(&mut connection, "4-1", "9-0", &theirs(&["5-0", "6-0"])).await;
        connection
    };
    let meet = async {
        assert_eq!(ids(&behind.next(&mut commands, &stream, id(9)).await.unwrap()), [3, 4]);
        behind.reached(id(4));
        behind.next(&mut commands, &stream, id(9)).await
    };
    let (behind, ahead, _connection) =
        tokio::join!(meet, ahead.next(&mut of_ahead, &stream, id(9)), server);
    assert!(Arc::ptr_eq(&behind.unwrap(), &ahead.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn one_that_gives_up_holds_nobody_up() {
    let mut test = Recovery::new();
    let [(mut behind, mut commands), (mut ahead, mut of_ahead)] = participants(&test, [2, 4]);
    let stream = test.node.stream.clone();
    let hanging = timeout(Duration::from_secs(1), behind.next(&mut commands, &stream, id(9)));
    let (hung, _connection) = tokio::join!(hanging, test.redis.accept());
    assert!(hung.is_err());
    drop(behind);
    let server = async {
        let mut connection = test.redis.accept().await;
        range(&mut connection, "4-1", "9-0", &[]).await;
        connection
    };
    let (page, _connection) = tokio::join!(ahead.next(&mut of_ahead, &stream, id(9)), server);
    assert_eq!(page.unwrap().end, id(9));
}

#[tokio::test(start_paused = true)]
async fn a_page_that_cannot_be_read_fails_for_all_at_once() {
    let mut test = Recovery::new();
    let [(mut a, mut of_a), (mut b, mut of_b)] = participants(&test, [2, 2]);
    let stream = test.node.stream.clone();
    let server = async {
        let mut connection = test.redis.accept().await;
        connection.expect("XRANGE").await.refuse("NOPERM no permissions").await;
        connection
    };
    let (a, b, _connection) =
        tokio::join!(a.next(&mut of_a, &stream, id(5)), b.next(&mut of_b, &stream, id(5)), server,);
    assert!(a.is_err() && b.is_err());
}

#[tokio::test(start_paused = true)]
async fn who_waits_while_others_make_progress_does_not_run_out_of_time() {
    let restores = Restores::new(Arc::new(Inbox::new(1_000, || {})));
    let begun = Instant::now();
    let others = async {
        for _ in 0..5 {
            sleep(Duration::from_secs(8)).await;
            restores.progressed();
        }
    };
    let work = std::future::pending::<Result<()>>();
    let (result, ()) = tokio::join!(restores.while_progressing(begun, work), others);
    assert!(matches!(result, Err(Error::Timeout { .. })));
    assert_eq!(begun.elapsed().as_secs(), 5 * 8 + 10);
}

fn packet(bytes: &Arc<MissedBytes>, length: usize) -> Missed {
    let make = || Some(Packet { text: "x".repeat(length), attachments: Vec::new() });
    let packet = SharedPacket::default().get(bytes, make).unwrap();
    Missed::Packet { id: id(1), packet }
}

#[tokio::test(start_paused = true)]
async fn what_restores_hold_is_bounded_and_one_can_always_answer() {
    let restores = Restores::new(Arc::new(Inbox::new(1_000, || {})));
    let is_admitted = async |restores: &Restores| {
        timeout(Duration::from_secs(1), restores.search()).await.is_ok()
    };
    assert!(is_admitted(&restores).await);
    let held = packet(&restores.bytes, 2_000);
    assert!(!is_admitted(&restores).await, "no memory is left");
    assert!(restores.answer().await.is_some(), "JS has taken everything");
    let answer = MissedList::new(vec![held], &restores.bytes);
    let waiting = timeout(Duration::from_secs(1), restores.answer());
    assert!(waiting.await.is_err(), "JS has to take this one first");
    drop(answer);
    assert!(restores.answer().await.is_some() && is_admitted(&restores).await);
}

#[tokio::test(start_paused = true)]
async fn one_that_fails_makes_room_for_one_that_waits() {
    let restores = Restores::new(Arc::new(Inbox::new(1_000, || {})));
    let held = packet(&restores.bytes, 2_000);
    let fails = async {
        sleep(Duration::from_secs(1)).await;
        drop(held);
    };
    let waiting = timeout(Duration::from_secs(2), restores.search());
    let (admitted, ()) = tokio::join!(waiting, fails);
    assert!(admitted.is_ok());
}
