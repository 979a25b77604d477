//! PUB/SUB, against scripted servers. "PUB/SUB: control" in docs/architecture.md names the
//! branches.

mod nodes;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::Control;
use crate::engine::error::Error;
use crate::engine::event::{Answer, CallId, Event, Notice, StreamEvent, SubscriberCount};
use crate::engine::options::{self, Options};
use crate::engine::stream::Progress;
use crate::engine::wire::{request_head, with_request_head};
use crate::testing::{ScriptedConnection, ScriptedRedis, TestNode, id, reply};

const REQUESTS: &str = "socket.io#/#";
const ANSWERS: &str = "socket.io#/#ours#";
const MEMBERS: &str = "socket.io#members#";
/// The identity of the node's streams.
const STREAM: &str = "0/socket.io/1";
/// msgpack of `{uid: "a"}`.
const PAYLOAD: &[u8] = b"\x81\xa3uid\xa1a";

/// A node whose reader is at `5-0`, with the namespace `/`.
struct Test {
    redis: ScriptedRedis,
    node: TestNode,
    control: Control,
}

impl Test {
    fn new() -> Self {
        Self::with("{}", options::defaults())
    }

    fn with(settings: &str, options: Options) -> Self {
        let redis = ScriptedRedis::new();
        let node = TestNode::with_settings(&redis, settings);
        node.stream.cursor().position = id(5);
        node.stream.cursor().written = id(5);
        node.stream.progress.send_replace(Progress::At(id(5)));
        let (control, task, order_task) = Control::new(
            node.uid.clone(),
            Arc::new(options),
            node.connector.clone(),
            node.inbox.clone(),
            node.stats.clone(),
            node.warnings.clone(),
        );
        tokio::spawn(task.run());
        tokio::spawn(order_task.run());
        control.open("/", &node.namespace, &node.stream);
        Self { redis, node, control }
    }

    /// Accepts the connection, and returns it after the subscriptions and the hello.
    async fn connected(&mut self) -> ScriptedConnection {
        let mut connection = self.redis.accept().await;
        said(&mut connection, "hello").await;
        idle(&mut connection).await;
        connection
    }

    fn request(&self) {
        self.control.request("/", PAYLOAD.to_vec(), None, &self.node.stream).unwrap();
    }

    fn request_and_count(&self, call: CallId) {
        self.control.request("/", PAYLOAD.to_vec(), Some(call), &self.node.stream).unwrap();
    }

    /// The next event, which must be the answer to a count.
    async fn count(&self) -> Result<SubscriberCount, Error> {
        match self.node.event().await {
            Event::Notice(Notice::Answered { result, .. }) => result.map(|answer| match answer {
                Answer::Subscribers(count) => count,
                other => panic!("{other:?}"),
            }),
            other => panic!("a count expected, {other:?} came"),
        }
    }
}

/// Answers the commands that are left, such as the subscriptions of the opened namespace.
async fn idle(connection: &mut ScriptedConnection) {
    connection.while_answering(sleep(Duration::from_millis(1))).await;
}

/// Expects a message of this node on the members channel.
async fn said(connection: &mut ScriptedConnection, news: &str) {
    let command = connection.expect("PUBLISH").await;
    let message = format!(r#"{{"uid":"ours","news":"{news}","stream":"{STREAM}"}}"#);
    assert_eq!(command.words[1..], [MEMBERS, &message]);
    command.reply(reply::int(0)).await;
}

/// Sends a message of another node on the members channel.
async fn says(connection: &mut ScriptedConnection, uid: &str, news: &str) {
    says_from(connection, STREAM, uid, news).await;
}

/// Sends a message of another node, which has these streams, on the members channel.
async fn says_from(connection: &mut ScriptedConnection, stream: &str, uid: &str, news: &str) {
    let message = format!(r#"{{"uid":"{uid}","news":"{news}","stream":"{stream}"}}"#);
    connection.publish(MEMBERS, message.as_bytes()).await;
}

#[tokio::test(start_paused = true)]
async fn it_subscribes_to_all_then_says_hello_and_that_it_is_there_from_time_to_time() {
    let mut test = Test::new();
    let mut connection = test.connected().await;
    for channel in [REQUESTS, ANSWERS, MEMBERS] {
        assert!(connection.has_answered(&format!("SUBSCRIBE {channel}")), "{channel}");
    }
    assert!(test.control.is_connected());
    let before = Instant::now();
    said(&mut connection, "alive").await;
    assert!((4_990..=5_000).contains(&before.elapsed().as_millis()));
    test.control.close("/");
    connection.expect(&format!("UNSUBSCRIBE {REQUESTS}")).await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_subscription_is_tried_again_with_each_heartbeat() {
    let mut test = Test::new();
    let mut connection = test.redis.accept().await;
    let words = "NOPERM no permissions to access a channel";
    connection.expect(&format!("SUBSCRIBE {REQUESTS}")).await.refuse(words).await;
    said(&mut connection, "hello").await;
    // For the job that opened the namespace, then with each heartbeat.
    connection.expect(&format!("SUBSCRIBE {REQUESTS}")).await.refuse(words).await;
    said(&mut connection, "alive").await;
    connection.expect(&format!("SUBSCRIBE {REQUESTS}")).await.refuse(words).await;
    assert!(matches!(test.node.warning().await, Error::Refused { .. }));
    said(&mut connection, "alive").await;
    let subscribed = reply::push(&[reply::text("subscribe"), reply::text(REQUESTS), reply::int(1)]);
    connection.expect(&format!("SUBSCRIBE {REQUESTS}")).await.reply(subscribed).await;
    assert!(test.node.events().is_empty(), "warned of once");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_refused_again_after_a_cut_is_warned_of_again() {
    let mut test = Test::new();
    for _ in 0..2 {
        let mut connection = test.redis.accept().await;
        connection.answer("PUBLISH", reply::int(0));
        connection.answer(&format!("SUBSCRIBE {REQUESTS}"), reply::error("NOPERM no permissions"));
        idle(&mut connection).await;
        assert!(matches!(test.node.warning().await, Error::Refused { .. }));
        drop(connection);
        assert!(matches!(test.node.warning().await, Error::Connection { .. }));
        // The next connection may subscribe, up to the first heartbeat at least.
        let mut connection = test.redis.accept().await;
        connection.answer("PUBLISH", reply::int(0));
        connection.while_answering(sleep(Duration::from_secs(6))).await;
        drop(connection);
        assert!(matches!(test.node.warning().await, Error::Connection { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_cut_everything_is_subscribed_to_again() {
    let mut test = Test::new();
    drop(test.connected().await);
    test.redis.refuse().await;
    let mut connection = test.redis.accept().await;
    connection.expect("HELLO 3").await.reply(b"%1\r\n$5\r\nproto\r\n:3\r\n".to_vec()).await;
    said(&mut connection, "hello").await;
    for channel in [REQUESTS, ANSWERS, MEMBERS] {
        assert!(connection.has_answered(&format!("SUBSCRIBE {channel}")), "{channel}");
    }
    assert!(matches!(test.node.warning().await, Error::Connection { .. }));
    connection.answer("PUBLISH", reply::int(0));
    connection.while_answering(sleep(Duration::from_millis(1))).await;
    assert_eq!(test.node.stats.reconnects.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_resp3_gets_two_connections() {
    let mut test = Test::new();
    let mut subscriber = test.redis.accept().await;
    subscriber.expect("HELLO").await.refuse("ERR unknown command 'HELLO'").await;
    let mut commands = subscriber.while_answering(test.redis.accept()).await;
    let hello = subscriber.while_answering(said(&mut commands, "hello"));
    timeout(Duration::from_secs(1), hello).await.unwrap();
    assert!(subscriber.has_answered("SUBSCRIBE"));
    assert!(matches!(test.node.warning().await, Error::Refused { command: "HELLO", .. }));
    subscriber.publish(REQUESTS, PAYLOAD).await;
    match subscriber.while_answering(test.node.event()).await {
        Event::Stream(StreamEvent::Message { payload, .. }) => assert_eq!(payload, PAYLOAD),
        other => panic!("{other:?}"),
    }
    // The server may close the idle connection for commands.
    subscriber.while_answering(said(&mut commands, "alive")).await;
    idle(&mut subscriber).await;
    drop(commands);
    idle(&mut subscriber).await;
    test.control.respond("/", "theirs", PAYLOAD.to_vec()).unwrap();
    let mut commands = subscriber.while_answering(test.redis.accept()).await;
    commands.expect("PUBLISH socket.io#/#theirs#").await.reply(reply::int(1)).await;
    // The connection for commands ends with the subscriber.
    drop(subscriber);
    test.redis.accept().await.expect("HELLO").await;
}

#[tokio::test(start_paused = true)]
async fn a_request_waits_for_the_publishes_before_it_and_tells_the_position() {
    let mut test = Test::new();
    let mut connection = test.connected().await;
    test.node.publish(1);
    test.request();
    let early = connection.while_answering(sleep(Duration::from_millis(900)));
    early.await;
    test.node.stream.cursor().written = id(6);
    test.node.stream.queue.end(1);
    let command = connection.expect(&format!("PUBLISH {REQUESTS}")).await;
    let message = &command.words[2];
    assert!(message.contains("6-0") && message.ends_with(STREAM), "{message}");
    command.reply(reply::int(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_overtakes_publishes_that_cannot_be_written_after_a_second() {
    let mut test = Test::new();
    let mut connection = test.connected().await;
    test.node.publish(1);
    let before = Instant::now();
    test.request();
    // Requests do not overtake each other.
    test.control.request("/", b"\x81\xa3uid\xa1b".to_vec(), None, &test.node.stream).unwrap();
    let first = connection.expect(&format!("PUBLISH {REQUESTS}")).await;
    assert_eq!(before.elapsed().as_secs(), 1);
    first.reply(reply::int(1)).await;
    let second = connection.expect(&format!("PUBLISH {REQUESTS}")).await;
    assert!(second.words[2].contains("uid\u{fffd}b"), "{:?}", second.words);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_ahead_of_our_reader_waits_for_it() {
    let mut test = Test::new();
    let mut connection = test.connected().await;
    let ahead = with_request_head(PAYLOAD.to_vec(), id(6), STREAM);
    assert_eq!(request_head(&ahead).position, Some(id(6)));
    connection.publish(REQUESTS, &ahead).await;
    connection.publish(REQUESTS, PAYLOAD).await;
    connection.while_answering(sleep(Duration::from_millis(300))).await;
    assert!(test.node.events().is_empty(), "what comes behind it waits as well");
    // The wait ends after a while: a message that comes too early is better than none.
    for expected in [&ahead[..], PAYLOAD] {
        match connection.while_answering(test.node.event()).await {
            Event::Stream(StreamEvent::Message { payload, .. }) => assert_eq!(payload, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_channel_brings_back_is_for_nobody_here() {
    let mut test = Test::new();
    let mut connection = test.connected().await;
    let own = [b"\x81\xa3uid\xa4", test.node.uid.as_bytes()].concat();
    assert_eq!(request_head(&own).uid, Some(&*test.node.uid));
    // Our reader may not have come as far: others do not wait for what is ignored.
    connection.publish(REQUESTS, &with_request_head(own, id(6), STREAM)).await;
    connection.publish(REQUESTS, PAYLOAD).await;
    match connection.while_answering(test.node.event()).await {
        Event::Stream(StreamEvent::Message { payload, .. }) => assert_eq!(payload, PAYLOAD),
        other => panic!("{other:?}"),
    }
    assert_eq!(test.node.stats.delivered.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_when_the_connection_broke_is_not_sent_again() {
    let mut test = Test::new();
    let mut connection = test.connected().await;
    test.request();
    connection.expect(&format!("PUBLISH {REQUESTS}")).await;
    drop(connection);
    let mut connection = test.connected().await;
    let again = connection.while_answering(sleep(Duration::from_secs(4)));
    again.await;
    assert_eq!(test.node.stats.dropped.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_is_dropped_and_warned_of() {
    let mut test = Test::new();
    let mut connection = test.connected().await;
    test.request();
    connection.expect("PUBLISH").await.refuse("NOPERM no permissions").await;
    assert!(matches!(test.node.warning().await, Error::Refused { command: "PUBLISH", .. }));
    assert_eq!(test.node.stats.dropped.get(), 1);
    test.request();
    connection.expect("PUBLISH").await.reply(reply::int(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_the_server_ends_is_made_again_where_the_slot_is() {
    let settings = r#"{"kind":"cluster","nodes":[{"host":"a","port":1}]}"#;
    let options = Options { use_sharded_pub_sub: true, ..options::defaults() };
    let mut test = Test::with(settings, options);
    let mut seed = test.redis.accept_at("a:1").await;
    let mut connection = seed.while_answering(test.redis.accept_at("a:1")).await;
    connection.answer("SPUBLISH", reply::int(0));
    connection.answer("PUBSUB SHARDNUMSUB", reply::array(&[]));
    connection.while_answering(sleep(Duration::from_millis(200))).await;
    assert!(connection.has_answered(&format!("SSUBSCRIBE {REQUESTS}")));
    let ended = [reply::text("sunsubscribe"), reply::text(REQUESTS), reply::int(0)];
    connection.send(&reply::push(&ended)).await;
    // The node asks which master has the slot now.
    let mut seed = connection.while_answering(test.redis.accept()).await;
    let master = reply::array(&[reply::text("b"), reply::int(1), reply::text("id")]);
    let range = reply::array(&[reply::int(0), reply::int(16_383), master]);
    seed.expect("CLUSTER SLOTS").await.reply(reply::array(&[range])).await;
    let mut elsewhere = connection.while_answering(test.redis.accept_at("b:1")).await;
    elsewhere.expect(&format!("SSUBSCRIBE {REQUESTS}")).await;
}
