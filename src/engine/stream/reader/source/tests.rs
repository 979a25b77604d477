//! The reader between a scripted master and scripted replicas. "Reading from replicas" in
//! docs/architecture.md lists the branches.

use tokio::time::advance;

use super::*;
use crate::testing::{ScriptedConnection, ScriptedRedis, TestNode, id, reply};

const MASTER: &str = "role:master\r\nmaster_replid:h1\r\nmaster_repl_offset:100\r\n\
     slave0:ip=a,port=1,state=online,offset=100,lag=0\r\n";
const REPLICA: &str =
    "role:slave\r\nmaster_link_status:up\r\nmaster_replid:h1\r\nslave_repl_offset:100\r\n";

/// The master as the writer sees it now, if it reports this.
fn seen(info: &str) -> MasterSeen {
    // By another address than the reader's.
    let server = ServerName { address: "127.0.0.1:6379".to_owned(), run_id: Some("run-1".into()) };
    MasterSeen { server, replication: Replication::parse(info), asked: Instant::now() }
}

/// The reader has come to `5-0` on the master, and waits there.
async fn on_the_master() -> (ScriptedRedis, TestNode, ScriptedConnection) {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::new(&redis);
    let mut reader = node.reader();
    reader.read_from = ReadFrom::Replica;
    tokio::spawn(reader.run());
    let mut master = redis.accept().await;
    let tail = reply::array(&[reply::entry_of_upstream("5-0")]);
    master.expect("XREVRANGE").await.reply(tail).await;
    no_page(&mut master, "5-0").await;
    master.expect("XREAD BLOCK 5000").await;
    (redis, node, master)
}

async fn no_page(connection: &mut ScriptedConnection, from: &str) {
    let command = connection.expect("XREAD").await;
    assert_eq!(command.words.last().unwrap(), from);
    command.reply(reply::no_page()).await;
}

/// The replica answers INFO.
async fn informs(replica: &mut ScriptedConnection, info: &str) {
    replica.expect("INFO replication").await.reply(reply::text(info)).await;
}

/// The reader has gone on to the replica `a:1`, and waits there.
async fn on_a_replica() -> (ScriptedRedis, TestNode, ScriptedConnection) {
    let (mut redis, node, mut master) = on_the_master().await;
    node.stream.master.send_replace(Some(seen(MASTER)));
    let mut replica = redis.accept_at("a:1").await;
    informs(&mut replica, REPLICA).await;
    no_page(&mut replica, "5-0").await;
    master.closed().await;
    (redis, node, replica)
}

#[tokio::test(start_paused = true)]
async fn it_goes_on_at_a_replica_that_has_what_the_master_has() {
    let (_redis, node, mut replica) = on_a_replica().await;
    let read = replica.expect("XREAD BLOCK 1000").await;
    assert_eq!(read.words.last().unwrap(), "5-0");
    read.reply(reply::page(&[reply::entry_of("6-0", 7, 1)])).await;
    // This is the first entry of its writer, so it does not show whether others are missing.
    let last = reply::array(&[reply::entry_of_upstream("5-0")]);
    replica.expect("XRANGE").await.reply(last).await;
    assert_eq!(node.delivered().await, id(6));
    let to = node.stream.cursor().connected_to.clone().unwrap();
    assert_eq!((&*to.address, to.shares.as_deref()), ("a:1", Some("h1")));
    assert_eq!(node.stream.cursor().read_from.as_deref(), Some("run-1"), "the master's");
    assert_eq!(node.stats.reconnects.get(), 0);
    // It asks once a second whether the replica is fit.
    replica.expect("XREAD BLOCK 1000").await;
    advance(CHECK_INTERVAL).await;
    replica.send(&reply::no_page()).await;
    informs(&mut replica, REPLICA).await;
    replica.expect("XREAD BLOCK 1000").await;
}

#[tokio::test(start_paused = true)]
async fn what_the_writer_has_seen_before_does_not_count() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::new(&redis);
    node.stream.master.send_replace(Some(seen(MASTER)));
    advance(Duration::from_secs(1)).await;
    let mut reader = node.reader();
    reader.read_from = ReadFrom::Replica;
    tokio::spawn(reader.run());
    let mut master = redis.accept().await;
    let tail = reply::array(&[reply::entry_of_upstream("5-0")]);
    master.expect("XREVRANGE").await.reply(tail).await;
    no_page(&mut master, "5-0").await;
    master.expect("XREAD BLOCK").await;
    sleep(Duration::from_secs(3)).await;
    assert!(!redis.is_dialled(), "the stream may have been deleted since");
    node.stream.master.send_replace(Some(seen(MASTER)));
    redis.accept_at("a:1").await;
}

#[tokio::test(start_paused = true)]
async fn another_server_than_the_readers_master_has_other_replicas() {
    let (mut redis, node, _master) = on_the_master().await;
    let mut other = seen(MASTER);
    other.server.run_id = Some("run-2".into());
    node.stream.master.send_replace(Some(other));
    sleep(Duration::from_secs(3)).await;
    assert!(!redis.is_dialled());
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_not_fit_is_not_joined() {
    for unfit in [
        REPLICA.replace("h1", "h2"),
        REPLICA.replace("up", "down"),
        "role:master\r\nmaster_replid:h1\r\nmaster_repl_offset:100\r\n".to_owned(),
    ] {
        let (mut redis, node, _master) = on_the_master().await;
        node.stream.master.send_replace(Some(seen(MASTER)));
        let mut replica = redis.accept_at("a:1").await;
        informs(&mut replica, &unfit).await;
        replica.closed().await;
        assert!(node.stream.cursor().replica_shares().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_behind_may_catch_up_for_a_second() {
    let behind = REPLICA.replace("100", "99");
    for catches_up in [true, false] {
        let (mut redis, node, _master) = on_the_master().await;
        node.stream.master.send_replace(Some(seen(MASTER)));
        let mut replica = redis.accept_at("a:1").await;
        let since = Instant::now();
        let patience = if catches_up { MOST_LAG / 2 } else { MOST_LAG };
        while since.elapsed() <= patience {
            informs(&mut replica, &behind).await;
        }
        if catches_up {
            informs(&mut replica, REPLICA).await;
            no_page(&mut replica, "5-0").await;
        } else {
            replica.closed().await;
        }
        assert_eq!(node.stream.cursor().replica_shares().is_some(), catches_up);
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_does_not_answer_is_left_within_seconds() {
    let (mut redis, node, mut replica) = on_a_replica().await;
    replica.expect("XREAD BLOCK 1000").await;
    let hangs_since = Instant::now();
    let mut master = redis.accept_at("localhost:6379").await;
    assert!(hangs_since.elapsed() <= CHECK_INTERVAL + GRACE_OF_REPLICA);
    replica.closed().await;
    no_page(&mut master, "5-0").await;
    // It does not come back at once.
    let left = Instant::now();
    node.stream.master.send_replace(Some(seen(MASTER)));
    let serve = async {
        loop {
            let command = master.expect("XREAD BLOCK 5000").await;
            sleep(Duration::from_secs(5)).await;
            command.reply(reply::no_page()).await;
        }
    };
    tokio::select! {
        _ = redis.accept_at("a:1") => {}
        () = serve => {}
    }
    assert!(left.elapsed() >= FIRST_AVOIDED);
    assert_eq!(node.stats.reconnects.get(), 1);
    assert!(node.events().is_empty(), "no warning: the master was read");
}

#[tokio::test(start_paused = true)]
async fn whatever_changes_the_position_takes_it_back_to_the_master() {
    let (mut redis, node, mut replica) = on_a_replica().await;
    replica.expect("XREAD BLOCK 1000").await;
    {
        let mut cursor = node.stream.cursor();
        cursor.position = crate::engine::wire::EntryId::ZERO;
        cursor.moves += 1;
    }
    node.stream.restart_reader.notify_one();
    let mut master = redis.accept_at("localhost:6379").await;
    replica.closed().await;
    no_page(&mut master, "0-0").await;
}

#[tokio::test(start_paused = true)]
async fn entries_that_are_missing_before_a_page_are_noticed_on_the_replica() {
    let (_redis, node, mut replica) = on_a_replica().await;
    let page = reply::page(&[reply::entry_of_upstream("9-0")]);
    replica.expect("XREAD BLOCK 1000").await.reply(page).await;
    let position = replica.expect("XRANGE").await;
    assert_eq!(position.words[2], "5-0");
    position.reply(reply::array(&[])).await;
    assert!(matches!(node.lost().await, (crate::engine::event::Loss::Trimmed, None)));
    assert_eq!(node.delivered().await, id(9));
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_replica_for_long_hears_it() {
    let (redis, node, mut master) = on_the_master().await;
    drop(redis);
    let since = Instant::now();
    let wait = async {
        loop {
            node.stream.master.send_replace(Some(seen(MASTER)));
            sleep(Duration::from_secs(1)).await;
            if let Some(event) = node.events().pop() {
                return event;
            }
        }
    };
    let answers = async {
        loop {
            sleep(Duration::from_secs(4)).await;
            master.send(&reply::no_page()).await;
        }
    };
    let event = tokio::select! { event = wait => event, () = answers => panic!() };
    assert!(since.elapsed() >= WARN_AFTER);
    let text = format!("{event:?}");
    assert!(text.contains("NoReplica") && text.contains("a:1"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn who_reads_from_an_unknown_master_hears_that_too() {
    let redis = ScriptedRedis::new();
    let node = TestNode::new(&redis);
    let mut reader = node.reader();
    reader.read_from = ReadFrom::Replica;
    let mut source = Source::new(&reader);
    let since = Instant::now();
    assert!(timeout(WARN_AFTER / 2, source.search(None, None, since)).await.is_err());
    assert!(node.events().is_empty(), "it may become known");
    assert!(timeout(WARN_AFTER, source.search(None, None, since)).await.is_err());
    let warned = format!("{:?}", node.events());
    assert!(warned.contains("NoReplica") && warned.contains("INFO"), "{warned}");
}

/// A replica that was joined a second ago.
async fn joined() -> Replica {
    let replica = Replica::new(Address::Tcp("a".to_owned(), 1), &Replication::parse(MASTER));
    advance(Duration::from_secs(1)).await;
    replica
}

#[tokio::test(start_paused = true)]
async fn signs_by_which_a_replica_is_left() {
    let mut replica = joined().await;
    let fit = Replication::parse(REPLICA);
    assert!(replica.judge(&fit, Some(&seen(MASTER)), false).is_ok());
    for unfit in [
        REPLICA.replace("up", "down"),
        REPLICA.replace("h1", "h2"),
        REPLICA.replace("slave", "master"),
        String::new(),
    ] {
        assert!(replica.judge(&Replication::parse(&unfit), None, false).is_err(), "{unfit}");
    }
    let other = MASTER.replace("h1", "h2");
    assert!(replica.judge(&fit, Some(&seen(&other)), false).is_err(), "another master");
    let mut before = seen(&other);
    before.asked = replica.since - Duration::from_secs(1);
    assert!(replica.judge(&fit, Some(&before), false).is_ok(), "it was seen before");
}

#[tokio::test(start_paused = true)]
async fn a_replica_is_late_if_it_does_not_get_to_where_the_master_was() {
    let mut replica = joined().await;
    let at = |offset: &str| Replication::parse(&REPLICA.replace("100", offset));
    let master =
        |offset: &str| seen(&MASTER.replace("offset:100\r", &format!("offset:{offset}\r")));
    // It follows at a distance of half a second.
    for step in 1..10_u64 {
        let (now, ahead) = ((step * 100).to_string(), (step * 100 + 50).to_string());
        assert!(replica.judge(&at(&now), Some(&master(&ahead)), false).is_ok());
        advance(CHECK_INTERVAL).await;
    }
    assert!(replica.judge(&at("950"), Some(&master("2000")), false).is_ok());
    advance(MOST_LAG + Duration::from_millis(1)).await;
    let ahead = master("3000");
    assert!(replica.judge(&at("1999"), Some(&ahead), true).is_ok(), "only it has what comes next");
    assert!(replica.judge(&at("1999"), Some(&ahead), false).is_err());
    assert!(replica.judge(&at("2000"), Some(&ahead), false).is_ok());
    advance(MOST_LAG_IF_TRIMMED + Duration::from_millis(1)).await;
    assert!(replica.judge(&at("2000"), Some(&ahead), true).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_replica_is_avoided_for_longer_each_time() {
    let redis = ScriptedRedis::new();
    let mut source = Source::new(&TestNode::new(&redis).reader());
    let address = |port| Address::Tcp("a".to_owned(), port);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        source.avoid(address(1), Duration::from_secs(3), LONGEST_AVOIDED);
        pauses.push(source.left.back().unwrap().pause.as_secs());
        assert_eq!(source.left.len(), 1);
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    source.pass_over(address(1));
    assert_eq!(source.left.back().unwrap().pause, LONGEST_AVOIDED, "it was left again and again");
    source.avoid(address(1), PROVEN, LONGEST_AVOIDED);
    assert_eq!(source.left.back().unwrap().pause, FIRST_AVOIDED);
    for port in 2..200 {
        source.pass_over(address(port));
    }
    assert_eq!(source.left.len(), MOST_LEFT);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_was_not_fit_to_join_is_asked_again_within_a_minute() {
    let redis = ScriptedRedis::new();
    let mut source = Source::new(&TestNode::new(&redis).reader());
    for _ in 0..9 {
        source.pass_over(Address::Tcp("a".to_owned(), 1));
    }
    let left = source.left.back().unwrap();
    assert_eq!(left.pause, LONGEST_UNFIT);
    assert!(left.until <= Instant::now() + LONGEST_UNFIT * 3 / 2);
}
