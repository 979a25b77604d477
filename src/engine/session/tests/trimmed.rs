//! Warnings of a stream that does not reach back far enough for connection state recovery.

use std::time::Duration;

use tokio::time::Instant;

use super::{Recovery, find, forget, get, range, theirs};
use crate::engine::error::Error;
use crate::engine::options::{Retention, defaults};
use crate::engine::stream::Ends;
use crate::engine::wire::EntryId;
use crate::testing::{ScriptedConnection, id, reply};

/// Clients may come back within two minutes. The reader is at `500000-0`; the stream holds the
/// last ten seconds.
fn two_minutes() -> Recovery {
    let needed = Some(Duration::from_secs(120));
    let test = Recovery::with_retention(Retention { needed, ..defaults().retention() });
    let mut cursor = test.node.stream.cursor();
    cursor.position = id(500_000);
    cursor.history.restart(id(500_000));
    let (first, last) = (id(490_000), id(500_000));
    let ends = Ends { first, last, length: Some(100), added: Some(1_000) };
    cursor.measure(Some(ends), Instant::now());
    drop(cursor);
    test
}

/// The client's session is there, but not the entry of its offset.
async fn refuse(test: &Recovery, connection: &mut ScriptedConnection, offset: EntryId) {
    test.restore_from(offset, None);
    get(connection).await;
    let offset = offset.to_string();
    range(connection, &offset, &offset, &[]).await;
    forget(connection).await;
    assert_eq!(test.reason().await, "the offset is not in the stream (any more)");
    range(connection, "0-0", "+", &theirs(&["490000-0"])).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_offset_was_trimmed_in_its_time_is_warned_of() {
    let mut test = two_minutes();
    test.restore(450_000);
    let mut connection = test.redis.accept().await;
    get(&mut connection).await;
    range(&mut connection, "450000-0", "450000-0", &[]).await;
    forget(&mut connection).await;
    test.reason().await;
    range(&mut connection, "0-0", "+", &theirs(&["490000-0"])).await;
    let trimmed = reply::info("490000-0", "500000-0", 100, 1_000);
    connection.expect("XINFO").await.reply(trimmed).await;
    match connection.while_answering(test.node.warning()).await {
        Error::StreamTooShort { away, span, .. } => {
            assert_eq!((away.as_secs(), span.as_secs()), (50, 10));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_a_client_has_made_up_causes_no_warning() {
    let mut test = two_minutes();
    // Without a session nobody looks at the stream.
    test.restore_from(EntryId { ms: 1, seq: 1 }, None);
    let mut connection = test.redis.accept().await;
    find(&mut connection, None, &[]).await;
    test.reason().await;
    // With one, from before anybody could come back.
    for offset in [EntryId { ms: 1, seq: 1 }, id(379_999)] {
        refuse(&test, &mut connection, offset).await;
    }
    // Of a stream that was begun a moment ago, and never trimmed.
    refuse(&test, &mut connection, id(450_000)).await;
    let whole = reply::info("490000-0", "500000-0", 100, 100);
    connection.expect("XINFO").await.reply(whole).await;
    // All warnings so far would stand before this refusal.
    test.restore(450_000);
    find(&mut connection, None, &[]).await;
    test.reason().await;
    assert!(test.node.events().is_empty());
}
