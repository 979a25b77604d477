//! Sessions that expire: who tells, and how often.

use std::time::Duration;

use tokio::time::Instant;

use super::{KEY, RECORDS, Recovery, SESSION};
use crate::engine::event::{Event, Notice};
use crate::engine::options::{Options, defaults};
use crate::engine::session::What;
use crate::testing::{ScriptedConnection, reply};

const DEADLINES: &str = "sio:session:expiry:deadlines";
const OURS: &str = "sio:session:expiry:of:ours";
const NODES: &str = "sio:session:expiry:nodes";
/// The entry of the first generation of the session.
const ENTRY: &str = "1 p /";

impl Recovery {
    /// A node that tells when sessions expire.
    fn telling_expired() -> Self {
        Self::with_options(&Options { expired_sessions: true, ..defaults() })
    }

    async fn expired(&self) {
        match self.node.event().await {
            Event::Notice(Notice::SessionExpired { session, .. }) => assert_eq!(session, SESSION),
            other => panic!("an expired session expected, {other:?} came"),
        }
    }
}

const KEEP: Duration = Duration::from_secs(120);

fn live(is_new: bool) -> What {
    What::Live { namespace: 3, session: SESSION.to_vec(), keep: KEEP, is_new }
}

/// A connection on which a node with nothing to tell gets its answers.
async fn quiet(test: &mut Recovery) -> ScriptedConnection {
    let mut connection = test.redis.accept().await;
    connection.answer("ZRANGEBYSCORE", reply::array(&[]));
    connection.answer("SET sio:session:node:ours", reply::ok());
    connection.answer("ZADD sio:session:expiry:nodes", reply::int(0));
    connection
}

/// Answers that another node has begun the second generation.
async fn taken(connection: &mut ScriptedConnection) {
    let records = ["1", "", "2", "connected theirs"].map(reply::text);
    connection.expect(&format!("HGETALL {RECORDS}")).await.reply(reply::array(&records)).await;
}

/// Answers the deletion of the entry among those of this node.
async fn forgotten(connection: &mut ScriptedConnection) {
    let command = connection.expect(&format!("ZREM {OURS}")).await;
    assert_eq!(command.words[2..], [ENTRY]);
    command.reply(reply::int(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_another_node_has_taken_leaves_no_entry_of_this_node() {
    let mut test = Recovery::telling_expired();
    test.save(KEY, 1, live(false), KEEP);
    let mut connection = quiet(&mut test).await;
    connection.answer(&format!("ZADD {OURS}"), reply::int(1));
    connection.expect(&format!("HSET {RECORDS} 1")).await.reply(reply::int(1)).await;
    connection.expect(&format!("PEXPIRE {RECORDS}")).await.reply(reply::int(1)).await;
    taken(&mut connection).await;
    connection.answer(&format!("HDEL {RECORDS} 1"), reply::int(1));
    forgotten(&mut connection).await;
    connection.answer(&format!("ZREM {OURS}"), reply::int(0));
    let event = connection.while_answering(test.node.event()).await;
    assert!(matches!(event, Event::Notice(Notice::SessionTaken { has_expired: false, .. })));
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_session_was_told_to_have_expired_is_told_apart() {
    let mut test = Recovery::telling_expired();
    test.save(KEY, 1, live(false), KEEP);
    let mut connection = quiet(&mut test).await;
    connection.answer(&format!("ZADD {OURS}"), reply::int(1));
    connection.expect(&format!("HSET {RECORDS} 1")).await.reply(reply::int(1)).await;
    connection.expect(&format!("PEXPIRE {RECORDS}")).await.reply(reply::int(1)).await;
    let records = ["1", "", "2", "expired theirs\n\u{0}"].map(reply::text);
    connection.expect(&format!("HGETALL {RECORDS}")).await.reply(reply::array(&records)).await;
    connection.answer(&format!("HDEL {RECORDS} 1"), reply::int(1));
    connection.answer(&format!("ZREM {OURS}"), reply::int(1));
    let event = connection.while_answering(test.node.event()).await;
    assert!(matches!(event, Event::Notice(Notice::SessionTaken { has_expired: true, .. })));
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_end_is_noticed_late_leaves_no_entry_of_this_node() {
    let mut test = Recovery::telling_expired();
    let session = SESSION.to_vec();
    test.save(KEY, 1, What::Ended { session, keep: KEEP }, KEEP);
    let mut connection = quiet(&mut test).await;
    taken(&mut connection).await;
    // Neither is the session saved, nor is a time set at which it expires.
    forgotten(&mut connection).await;
    connection.while_answering(tokio::time::sleep(Duration::from_secs(5))).await;
}

#[tokio::test(start_paused = true)]
async fn the_entry_of_a_client_moves_with_it() {
    let mut test = Recovery::telling_expired();
    let mut connection = quiet(&mut test).await;
    test.save(KEY, 1, live(true), KEEP);
    connection.answer(&format!("HSET {RECORDS} 1"), reply::int(1));
    connection.answer(&format!("PEXPIRE {RECORDS}"), reply::int(1));
    let command = connection.expect(&format!("ZADD {OURS}")).await;
    assert_eq!(command.words[2..], ["0", ENTRY]);
    command.reply(reply::int(1)).await;
    let session = SESSION.to_vec();
    test.save(KEY, 1, What::Ended { session, keep: KEEP }, KEEP);
    let records = ["1", "connected ours"].map(reply::text);
    connection.answer(&format!("HGETALL {RECORDS}"), reply::array(&records));
    connection.answer(&format!("SET {KEY}"), reply::ok());
    let command = connection.expect(&format!("ZADD {DEADLINES}")).await;
    assert_eq!(command.words[3], ENTRY);
    command.reply(reply::int(1)).await;
    forgotten(&mut connection).await;
    // Of a client that leaves for good nothing is told, so nothing is left.
    test.save(KEY, 1, What::Left, KEEP);
    connection.answer(&format!("HDEL {RECORDS} 1"), reply::int(1));
    forgotten(&mut connection).await;
}

fn ended() -> Vec<u8> {
    [b"ended\n", SESSION].concat()
}

/// Answers a look for nodes.
async fn nodes(connection: &mut ScriptedConnection, uids: &[&str]) {
    let uids: Vec<_> = uids.iter().map(|uid| reply::text(uid)).collect();
    let command = connection.expect(&format!("ZRANGEBYSCORE {NODES} -inf +inf")).await;
    command.reply(reply::array(&uids)).await;
}

/// Answers a look for sessions whose time is over.
async fn due(connection: &mut ScriptedConnection, entries: &[&str]) {
    let entries: Vec<_> = entries.iter().map(|entry| reply::text(entry)).collect();
    let command = connection.expect(&format!("ZRANGEBYSCORE {DEADLINES}")).await;
    command.reply(reply::array(&entries)).await;
}

/// Answers what has become of the session, which has expired as far as its key shows.
async fn records(connection: &mut ScriptedConnection, records: &[(&str, &[u8])]) {
    connection.expect(&format!("PTTL {KEY}")).await.reply(reply::int(-2)).await;
    let fields =
        records.iter().flat_map(|(field, value)| [reply::text(field), reply::bytes(value)]);
    let command = connection.expect(&format!("HGETALL {RECORDS}")).await;
    command.reply(reply::array(&fields.collect::<Vec<_>>())).await;
}

async fn claim(connection: &mut ScriptedConnection, is_first: bool) {
    let command = connection.expect(&format!("HSETNX {RECORDS} 2")).await;
    assert!(command.words[3].starts_with("expired ours\n"), "{:?}", command.words);
    command.reply(reply::int(is_first.into())).await;
    connection.expect(&format!("HDEL {RECORDS} 1")).await.reply(reply::int(1)).await;
    connection.expect(&format!("PEXPIRE {RECORDS}")).await.reply(reply::int(1)).await;
}

/// Answers that the entry is deleted, and that nothing old is left.
async fn done(connection: &mut ScriptedConnection) {
    let command = connection.expect(&format!("ZREM {DEADLINES}")).await;
    assert_eq!(command.words[2..], [ENTRY]);
    command.reply(reply::int(1)).await;
    due(connection, &[]).await;
}

#[tokio::test(start_paused = true)]
async fn the_node_that_claims_a_session_tells_that_it_has_expired() {
    let mut test = Recovery::telling_expired();
    let mut connection = test.redis.accept().await;
    nodes(&mut connection, &["ours"]).await;
    due(&mut connection, &[ENTRY]).await;
    records(&mut connection, &[("1", &ended())]).await;
    claim(&mut connection, true).await;
    test.expired().await;
    done(&mut connection).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_too_late_tells_nothing() {
    let mut test = Recovery::telling_expired();
    let mut connection = test.redis.accept().await;
    nodes(&mut connection, &["ours"]).await;
    // Another node was faster, the client is back, or it has left for good.
    for (round, last) in
        [&b""[..], b"connected theirs\n\x80", b"expired theirs\n\x80"].iter().enumerate()
    {
        if round > 0 {
            connection.answer("ZRANGEBYSCORE sio:session:expiry:nodes", reply::array(&[]));
        }
        due(&mut connection, &[ENTRY]).await;
        records(&mut connection, &[("1", &ended()), ("2", last)]).await;
        done(&mut connection).await;
    }
    due(&mut connection, &[ENTRY]).await;
    records(&mut connection, &[("1", &ended())]).await;
    claim(&mut connection, false).await;
    done(&mut connection).await;
    assert!(test.node.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_was_lost_is_told_once() {
    let mut test = Recovery::telling_expired();
    let mut connection = test.redis.accept().await;
    nodes(&mut connection, &["ours"]).await;
    due(&mut connection, &[ENTRY]).await;
    records(&mut connection, &[("1", &ended())]).await;
    connection.expect("HSETNX").await;
    drop(connection);
    let mut connection = test.redis.accept().await;
    let claimed = [b"expired ours\n", SESSION].concat();
    connection.answer("ZRANGEBYSCORE sio:session:expiry:nodes", reply::array(&[]));
    due(&mut connection, &[ENTRY]).await;
    records(&mut connection, &[("1", &ended()), ("2", &claimed)]).await;
    test.expired().await;
    // Neither does it tell twice if it cannot delete the entry.
    connection.expect("ZREM").await;
    drop(connection);
    let mut connection = test.redis.accept().await;
    connection.answer("ZRANGEBYSCORE sio:session:expiry:nodes", reply::array(&[]));
    due(&mut connection, &[ENTRY]).await;
    done(&mut connection).await;
    assert!(test.node.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_session_that_can_be_restored_is_looked_at_later() {
    let mut test = Recovery::telling_expired();
    let mut connection = test.redis.accept().await;
    nodes(&mut connection, &["ours"]).await;
    due(&mut connection, &[ENTRY]).await;
    connection.expect(&format!("PTTL {KEY}")).await.reply(reply::int(7_000)).await;
    connection.expect("HGETALL").await.reply(reply::array(&[])).await;
    let command = connection.expect(&format!("ZADD {DEADLINES}")).await;
    assert_eq!(command.words[3], ENTRY);
    command.reply(reply::int(0)).await;
    due(&mut connection, &[]).await;
    assert!(test.node.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_counts_as_gone_when_it_was_silent_for_the_timeout() {
    let mut test = Recovery::telling_expired();
    let mut connection = test.redis.accept().await;
    let begin = Instant::now();
    let of = "sio:session:expiry:of:theirs";
    connection.answer(&format!("ZRANGEBYSCORE {DEADLINES}"), reply::array(&[]));
    connection.answer("PTTL sio:session:node:theirs", reply::int(-2));
    connection.answer(
        &format!("ZRANGEBYSCORE {NODES}"),
        reply::array(&["ours", "theirs"].map(reply::text)),
    );
    let command = connection.expect(&format!("ZRANGEBYSCORE {of}")).await;
    assert!(begin.elapsed() >= Duration::from_secs(10), "{:?}", begin.elapsed());
    command.reply(reply::array(&[reply::text(ENTRY)])).await;
    let command = connection.expect(&format!("ZADD {DEADLINES}")).await;
    assert_eq!(command.words[3], ENTRY);
    command.reply(reply::int(1)).await;
    let command = connection.expect(&format!("ZREM {of}")).await;
    assert_eq!(command.words[2..], [ENTRY]);
    command.reply(reply::int(1)).await;
    connection.expect(&format!("ZRANGEBYSCORE {of}")).await.reply(reply::array(&[])).await;
    connection.expect(&format!("ZREM {NODES} theirs")).await.reply(reply::int(1)).await;
    connection.while_answering(tokio::time::sleep(Duration::from_secs(8))).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_another_one_has_reported_as_gone_and_that_is_back_gets_its_whole_time() {
    let mut test = Recovery::telling_expired();
    let mut connection = test.redis.accept().await;
    connection.answer(&format!("ZRANGEBYSCORE {DEADLINES}"), reply::array(&[]));
    connection.answer("PTTL sio:session:node:theirs", reply::int(-2));
    for uids in [&["theirs"][..], &[], &["theirs"]] {
        let uids: Vec<_> = uids.iter().map(|uid| reply::text(uid)).collect();
        connection.answer(&format!("ZRANGEBYSCORE {NODES}"), reply::array(&uids));
        connection.while_answering(tokio::time::sleep(Duration::from_secs(8))).await;
    }
}
