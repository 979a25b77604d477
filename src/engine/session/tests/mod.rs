//! Sessions that are saved and restored, against a scripted server. "Connection state recovery" in
//! docs/architecture.md names the branches.

mod restores;
mod saves;

use std::time::Duration;

use tokio::time::Instant;

use super::{Restore, Sessions};
use crate::engine::error::Error;
use crate::engine::event::{Event, Missed, Notice, StreamEvent};
use crate::engine::stream::{PageEntry, page};
use crate::engine::wire::{EntryId, encode_session};
use crate::testing::{ScriptedConnection, ScriptedRedis, TestNode, id, reply};

const KEY: &str = "sio:session:p";

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
        let redis = ScriptedRedis::new();
        let node = TestNode::new(&redis);
        {
            let mut cursor = node.stream.cursor();
            cursor.position = id(5);
            cursor.history.start(id(5));
        }
        // No restore of a test asks for the tail, unless the test is about that.
        *node.stream.tail_asked.try_lock().unwrap() =
            Some(Instant::now() + Duration::from_secs(3_600));
        let (sessions, task) = Sessions::new(
            node.connector.clone(),
            node.inbox.clone(),
            node.stats.clone(),
            node.warnings.clone(),
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
        let bytes = reply::page(&entries);
        let entries: Vec<PageEntry<'_>> = page(&bytes).unwrap();
        let moves = self.node.stream.cursor().moves;
        self.node.reader().hand_on(&entries, moves);
    }

    /// A client comes back that has received everything up to `offset`.
    fn restore(&self, offset: u64) {
        self.sessions.restore(Restore {
            call: 1,
            stream: self.node.stream.clone(),
            nsp: "/".to_owned(),
            namespace: Some(self.node.namespace.clone()),
            key: KEY.to_owned(),
            offset: id(offset),
            asked: Instant::now(),
        });
    }

    fn persist(&self, key: &str, keep: Duration) {
        self.sessions.persist(key.to_owned(), SESSION.to_vec(), keep);
    }

    /// The entries that the client has missed, in order, and the position from which it is live.
    async fn restored(&self) -> (Vec<u64>, EntryId) {
        loop {
            match self.node.event().await {
                Event::Stream(StreamEvent::Restored { missed, position, session, .. }) => {
                    assert_eq!(session, SESSION);
                    return (missed.iter().map(ms_of).collect(), position);
                }
                Event::Stream(StreamEvent::Broadcast { .. }) => {}
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
    match missed {
        Missed::Entry { id, .. } => id.ms,
        Missed::Packet(packet) => {
            let offset = packet.text.split('"').nth_back(1).unwrap();
            offset.parse::<EntryId>().unwrap().ms
        }
    }
}

/// Answers a read of the session, which expires in a minute.
async fn get(connection: &mut ScriptedConnection) {
    connection.expect(&format!("PTTL {KEY}")).await.reply(reply::int(60_000)).await;
    let session = reply::text(&encode_session(SESSION));
    connection.expect(&format!("GET {KEY}")).await.reply(session).await;
}

/// Answers the deletion of the session, which was there.
async fn take(connection: &mut ScriptedConnection) {
    connection.expect(&format!("DEL {KEY}")).await.reply(reply::int(1)).await;
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
