//! Sessions that are saved and restored, against a scripted server. "Connection state recovery" in
//! docs/architecture.md names the branches.

mod crowds;
mod doubt;
mod expiry;
mod outages;
mod records;
mod refusals;
mod restores;
mod saves;
mod together;
mod trimmed;
mod waits;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::time::Instant;

use super::{Gone, Restore, Save, SessionKeys, Sessions, What};
use crate::engine::error::Error;
use crate::engine::event::{Event, Notice, StreamEvent};
use crate::engine::missed::Missed;
use crate::engine::options::{Options, Retention, defaults};
use crate::engine::stream::{PageEntry, page};
use crate::engine::wire::{EntryId, encode_session};
use crate::testing::{ScriptedConnection, ScriptedRedis, TestNode, id, reply};

const KEY: &str = "sio:session:p";
const RECORDS: &str = "sio:session:live:{sio:session:p}";

/// How long the records live, ms: sessions are kept for a day.
const RECORDS_TTL: i64 = 25 * 3_600_000;

/// A client in its own room since `1-0`: `{sid: "s", rooms: ["s"], since: ["1-0"]}`.
const SESSION: &[u8] = b"\x83\xa3sid\xa1s\xa5rooms\x91\xa1s\xa5since\x91\xa31-0";

/// A node whose reader is at `9-0` and whose history holds the entries after `5-0`.
struct Recovery {
    redis: ScriptedRedis,
    node: TestNode,
    sessions: Sessions,
}

impl Recovery {
    fn new() -> Self {
        Self::with_options(&defaults())
    }

    fn with_options(options: &Options) -> Self {
        Self::with(options, options.retention())
    }

    fn with_retention(retention: Retention) -> Self {
        Self::with(&defaults(), retention)
    }

    fn with(options: &Options, retention: Retention) -> Self {
        let redis = ScriptedRedis::new();
        let node = TestNode::with_retention(&redis, retention);
        Self::at(redis, node, options)
    }

    fn at(redis: ScriptedRedis, node: TestNode, options: &Options) -> Self {
        {
            let mut cursor = node.stream.cursor();
            cursor.position = id(5);
            cursor.history.start(id(5));
        }
        // No restore of a test asks for the tail, unless the test is about that.
        *node.stream.tail_asked.try_lock().unwrap() =
            Some(Instant::now() + Duration::from_secs(3_600));
        let (sessions, task) = Sessions::new(
            &node.uid,
            options,
            node.connector.clone(),
            node.inbox.clone(),
            node.stats.clone(),
            node.warnings.clone(),
            node.namespaces.clone(),
        );
        tokio::spawn(task.run());
        let recovery = Self { redis, node, sessions };
        recovery.read(&[6, 7, 8, 9]);
        recovery.node.events();
        recovery
    }

    /// The reader hands entries on.
    fn read(&self, ids: &[u64]) {
        let entries: Vec<_> =
            ids.iter().map(|ms| reply::entry_of_upstream(&format!("{ms}-0"))).collect();
        self.read_entries(&entries);
    }

    fn read_entries(&self, entries: &[Vec<u8>]) {
        let bytes = reply::page(entries);
        let entries: Vec<PageEntry<'_>> = page(&bytes).unwrap();
        let moves = self.node.stream.cursor().moves;
        self.node.reader().hand_on(&entries, moves, false);
    }

    /// A client comes back that has received everything up to `offset`.
    fn restore(&self, offset: u64) {
        self.restore_from(id(offset), None);
    }

    fn restore_from(&self, offset: EntryId, gone: Option<Gone>) {
        self.sessions.restore(Restore {
            call: 1,
            stream: self.node.stream.clone(),
            namespace: Some(self.node.namespace.clone()),
            keys: keys(KEY),
            offset,
            gone,
            uid: self.node.uid.clone(),
            asked: Instant::now(),
            has_taken: AtomicBool::new(false),
        });
    }

    /// Saves a session that has no generations.
    fn persist(&self, key: &str, keep: Duration) {
        self.save(key, 0, What::Ended { session: SESSION.to_vec(), keep }, keep);
    }

    fn save(&self, key: &str, generation: u32, what: What, keep: Duration) {
        self.sessions.save(vec![Save::new(keys(key), generation, what, keep)]);
    }

    /// The entries that the client has missed, in order, and the position from which it is live.
    async fn restored(&self) -> (Vec<u64>, EntryId) {
        let (session, missed, position) = self.given_back().await;
        assert_eq!(session, SESSION);
        (missed, position)
    }

    /// The entries that the client has missed, in order.
    async fn missed(&self) -> Vec<u64> {
        self.given_back().await.1
    }

    async fn given_back(&self) -> (Vec<u8>, Vec<u64>, EntryId) {
        loop {
            match self.node.event().await {
                Event::Stream(StreamEvent::Restored { missed, position, session, .. }) => {
                    return (session, missed.iter().map(ms_of).collect(), position);
                }
                Event::Stream(StreamEvent::Broadcast(_)) => {}
                other => panic!("a session expected, {other:?} came"),
            }
        }
    }

    /// Why the session was not restored.
    async fn refusal(&self) -> Error {
        match self.node.event().await {
            Event::Notice(Notice::Answered { call: 1, result: Err(error) }) => error,
            other => panic!("a refusal expected, {other:?} came"),
        }
    }

    /// The same, if the session or the stream is the reason.
    async fn reason(&self) -> &'static str {
        match self.refusal().await {
            Error::NotRestored(reason) => reason,
            other => panic!("{other:?}"),
        }
    }
}

fn ms_of(missed: &Missed) -> u64 {
    missed.id().ms
}

fn keys(key: &str) -> SessionKeys {
    SessionKeys::new("sio:session:", "/", key.strip_prefix("sio:session:").unwrap())
}

/// Answers a read of the session, which expires in a minute.
async fn get(connection: &mut ScriptedConnection) {
    find(connection, Some(SESSION), &[]).await;
}

/// Answers a read of a session, if there is one, and of its records.
async fn find(
    connection: &mut ScriptedConnection,
    session: Option<&[u8]>,
    records: &[(u32, &[u8])],
) {
    let ttl = if session.is_some() { 60_000 } else { -2 };
    connection.expect(&format!("PTTL {KEY}")).await.reply(reply::int(ttl)).await;
    let session = session.map_or(reply::nil(), |session| reply::text(&encode_session(session)));
    connection.expect(&format!("GET {KEY}")).await.reply(session).await;
    let records: Vec<_> = records
        .iter()
        .flat_map(|(generation, record)| {
            [reply::text(&generation.to_string()), reply::bytes(record)]
        })
        .collect();
    let command = connection.expect(&format!("HGETALL {RECORDS}")).await;
    command.reply(reply::array(&records)).await;
    connection.expect(&format!("PTTL {RECORDS}")).await.reply(reply::int(RECORDS_TTL)).await;
}

/// Answers the deletion of the session, which was there.
async fn take(connection: &mut ScriptedConnection) {
    claim(connection, 1).await;
    delete(connection).await;
}

/// Answers that no other node has begun this generation.
async fn claim(connection: &mut ScriptedConnection, generation: u32) {
    let command = connection.expect(&format!("HSETNX {RECORDS} {generation}")).await;
    command.reply(reply::int(1)).await;
    let command = connection.expect(&format!("PEXPIRE {RECORDS}")).await;
    assert_eq!(command.words[2], RECORDS_TTL.to_string(), "if it is put back, it lasts as before");
    command.reply(reply::int(1)).await;
}

/// Answers the deletion of a session without generations that is refused.
async fn forget(connection: &mut ScriptedConnection) {
    connection.expect(&format!("DEL {KEY}")).await.reply(reply::int(1)).await;
}

async fn delete(connection: &mut ScriptedConnection) {
    connection.expect(&format!("DEL {KEY}")).await.reply(reply::int(1)).await;
    connection.expect(&format!("HDEL {RECORDS}")).await.reply(reply::int(0)).await;
}

/// Answers an XRANGE of this part of the stream with these entries.
async fn range(connection: &mut ScriptedConnection, first: &str, last: &str, entries: &[Vec<u8>]) {
    let command = connection.expect("XRANGE").await;
    assert_eq!(command.words[2..4], [first, last]);
    command.reply(reply::array(entries)).await;
}

fn theirs(ids: &[&str]) -> Vec<Vec<u8>> {
    ids.iter().map(|id| reply::entry_of_upstream(id)).collect()
}
