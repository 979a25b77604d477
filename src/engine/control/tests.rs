//! PUB/SUB, against scripted servers. "PUB/SUB: control" in docs/architecture.md names the
//! branches.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::Control;
use crate::engine::error::Error;
use crate::engine::event::{Answer, Event, Notice, StreamEvent, SubscriberCount};
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
        self.control.request("/", PAYLOAD.to_vec(), &self.node.stream).unwrap();
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
    let mut first = test.redis.accept().await;
    first.expect("HELLO").await.refuse("ERR unknown command 'HELLO'").await;
    let mut subscriber = test.redis.accept().await;
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
    test.control.request("/", b"\x81\xa3uid\xa1b".to_vec(), &test.node.stream).unwrap();
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
async fn nodes_are_counted_by_their_own_channels_and_the_rest_by_number() {
    let mut test = Test::new();
    let mut connection = test.connected().await;
    let before = Instant::now();
    says(&mut connection, "theirs", "hello").await;
    said(&mut connection, "alive").await;
    assert_eq!(before.elapsed().as_secs(), 0, "who has just come is told at once");
    assert!(matches!(test.node.event().await, Event::Notice(Notice::MembersChanged { .. })));
    test.control.count_subscribers(1, "/", vec!["gone".to_owned()]);
    let command = connection.expect("PUBSUB NUMSUB").await;
    let channels = [REQUESTS, ANSWERS, "socket.io#/#theirs#", "socket.io#/#gone#"];
    assert_eq!(command.words[2..], channels);
    let counts = [4, 1, 1, 0];
    let reply: Vec<_> = channels
        .iter()
        .zip(counts)
        .flat_map(|(channel, count)| [reply::text(channel), reply::int(count)])
        .collect();
    command.reply(reply::array(&reply)).await;
    let known = vec!["theirs".to_owned()];
    let count = SubscriberCount { known, others: 2, present: vec![false] };
    assert_eq!(test.count().await.unwrap(), count);
}

#[tokio::test(start_paused = true)]
async fn requests_from_other_streams_are_ignored_and_their_nodes_count_for_nothing() {
    let settings = r#"{"database":1,"keyPrefix":"app:"}"#;
    let mut test = Test::with(settings, options::defaults());
    let mut connection = test.redis.accept().await;
    connection.answer("PUBLISH", reply::int(0));
    connection.while_answering(sleep(Duration::from_millis(1))).await;
    let ours = with_request_head(PAYLOAD.to_vec(), id(5), "1/app:socket.io/1");
    for other in ["0/app:socket.io/1", "1/socket.io/1", "1/app:socket.io/2", ""] {
        let theirs = with_request_head(PAYLOAD.to_vec(), id(9), other);
        connection.publish(REQUESTS, &theirs).await;
        says_from(&mut connection, other, &format!("of {other}"), "alive").await;
    }
    connection.publish(REQUESTS, &ours).await;
    match connection.while_answering(test.node.event()).await {
        Event::Stream(StreamEvent::Message { payload, .. }) => assert_eq!(payload, ours),
        other => panic!("{other:?}"),
    }
    test.control.count_subscribers(1, "/", vec![]);
    let command = connection.expect("PUBSUB NUMSUB").await;
    // This node, one of each other application, and one of which nothing is known.
    let counts = [6, 1, 1, 1, 1, 1];
    let named = command.words[2..].iter().zip(counts);
    let flat = named.flat_map(|(channel, count)| [reply::text(channel), reply::int(count)]);
    let reply = reply::array(&flat.collect::<Vec<_>>());
    command.reply(reply).await;
    let count = SubscriberCount { known: vec![], others: 1, present: vec![] };
    assert_eq!(connection.while_answering(test.count()).await.unwrap(), count);
    assert_eq!(test.control.members(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_permission_to_count_those_who_are_heard_count() {
    let mut test = Test::new();
    let mut connection = test.connected().await;
    says(&mut connection, "theirs", "alive").await;
    assert!(matches!(test.node.event().await, Event::Notice(Notice::MembersChanged { .. })));
    let asked = vec!["theirs".to_owned(), "gone".to_owned()];
    test.control.count_subscribers(1, "/", asked);
    connection.expect("PUBSUB").await.refuse("NOPERM no permissions").await;
    assert!(matches!(test.node.warning().await, Error::Refused { command: "PUBSUB", .. }));
    let known = vec!["theirs".to_owned()];
    let count = SubscriberCount { known, others: 0, present: vec![true, false] };
    assert_eq!(test.count().await.unwrap(), count);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_silent_for_too_long_is_reported_as_gone() {
    let mut test = Test::new();
    let mut connection = test.connected().await;
    says(&mut connection, "theirs", "alive").await;
    assert!(matches!(test.node.event().await, Event::Notice(Notice::MembersChanged { .. })));
    let before = Instant::now();
    connection.answer("PUBLISH", reply::int(0));
    let event = connection.while_answering(test.node.event()).await;
    let Event::Notice(Notice::MembersChanged { changes, .. }) = event else { panic!("{event:?}") };
    assert_eq!(changes.silent, ["theirs"]);
    assert!((10..=12).contains(&before.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn in_a_cluster_all_nodes_are_asked_and_one_that_hangs_holds_nobody_up() {
    let settings = r#"{"kind":"cluster","nodes":[{"host":"a","port":1}]}"#;
    let mut test = Test::with(settings, options::defaults());
    let node = |host| reply::array(&[reply::text(host), reply::int(1), reply::text("id")]);
    let range = [reply::int(0), reply::int(16_383), node("a"), node("b")];
    let slots = reply::array(&[reply::array(&range)]);
    test.redis.answer("CLUSTER SLOTS", slots);
    let mut seed = test.redis.accept_at("a:1").await;
    let mut connection = seed.while_answering(test.connected()).await;
    says(&mut connection, "theirs", "alive").await;
    assert!(matches!(test.node.event().await, Event::Notice(Notice::MembersChanged { .. })));
    test.control.count_subscribers(1, "/", vec![]);
    let count = |of: [i64; 3]| {
        let channels = [REQUESTS, ANSWERS, "socket.io#/#theirs#"];
        let counts = channels.iter().zip(of);
        let flat = counts.flat_map(|(channel, count)| [reply::text(channel), reply::int(count)]);
        reply::array(&flat.collect::<Vec<_>>())
    };
    let mut a = test.redis.accept_at("a:1").await;
    let mut b = test.redis.accept_at("b:1").await;
    a.expect("PUBSUB").await.reply(count([2, 1, 0])).await;
    b.expect("PUBSUB").await.reply(count([1, 0, 1])).await;
    let known = vec!["theirs".to_owned()];
    let all = SubscriberCount { known, others: 1, present: vec![] };
    assert_eq!(test.count().await.unwrap(), all);

    // A node whose heartbeats arrive may be subscribed at the server that does not answer.
    test.control.count_subscribers(1, "/", vec![]);
    a.expect("PUBSUB").await.reply(count([2, 1, 0])).await;
    b.expect("PUBSUB").await;
    let before = Instant::now();
    let known = vec!["theirs".to_owned()];
    let heard = SubscriberCount { known, others: 1, present: vec![] };
    assert_eq!(connection.while_answering(test.count()).await.unwrap(), heard);
    assert_eq!(before.elapsed().as_secs(), 1);
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

#[tokio::test(start_paused = true)]
async fn it_says_goodbye_once_everything_is_sent() {
    let mut test = Test::new();
    let mut connection = test.connected().await;
    test.request();
    let (done, stopped) = oneshot::channel();
    let control = test.control;
    tokio::spawn(async move {
        control.stop().await;
        let _ = done.send(());
    });
    connection.expect(&format!("PUBLISH {REQUESTS}")).await.reply(reply::int(1)).await;
    said(&mut connection, "bye").await;
    stopped.await.unwrap();
    connection.closed().await;
}

#[tokio::test(start_paused = true)]
async fn many_hellos_get_few_answers_and_one_of_them_alone_gets_its_at_once() {
    const NODES: usize = 100;
    let mut test = Test::new();
    let mut connection = test.connected().await;
    sleep(Duration::from_secs(1)).await;
    let mut answers = 0;
    for node in 0..NODES {
        says(&mut connection, &format!("node {node}"), "hello").await;
        let answer = said(&mut connection, "alive");
        answers += usize::from(timeout(Duration::from_millis(10), answer).await.is_ok());
    }
    assert!((1..=NODES / 5).contains(&answers), "{answers} answers to {NODES} hellos");
    timeout(Duration::from_secs(1), said(&mut connection, "alive")).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let before = Instant::now();
    says(&mut connection, "one more", "hello").await;
    said(&mut connection, "alive").await;
    assert_eq!(before.elapsed().as_millis(), 0);
}
