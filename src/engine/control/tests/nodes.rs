//! Which nodes there are: heartbeats, hellos, goodbyes, and counts.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::{ANSWERS, PAYLOAD, REQUESTS, Test, said, says, says_from};
use crate::engine::error::Error;
use crate::engine::event::{Event, Notice, StreamEvent, SubscriberCount};
use crate::engine::options;
use crate::engine::wire::with_request_head;
use crate::testing::{id, reply};

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

    // After a failover, the slots do not name the old master for a moment. It is asked all the same, as
    // long as it answers.
    let range = [reply::int(0), reply::int(16_383), node("a")];
    test.redis.answer("CLUSTER SLOTS", reply::array(&[reply::array(&range)]));
    connection.while_answering(sleep(Duration::from_secs(1))).await;
    test.control.count_subscribers(1, "/", vec![]);
    let mut seed = test.redis.accept().await;
    let mut b = seed.while_answering(test.redis.accept_at("b:1")).await;
    a.expect("PUBSUB").await.reply(count([2, 1, 0])).await;
    b.expect("PUBSUB").await.reply(count([1, 0, 1])).await;
    assert_eq!(test.count().await.unwrap(), heard);
    test.control.count_subscribers(1, "/", vec![]);
    a.expect("PUBSUB").await.reply(count([2, 1, 0])).await;
    drop(b);
    test.redis.refuse().await;
    let alone = SubscriberCount { known: vec![], others: 1, present: vec![] };
    assert_eq!(test.count().await.unwrap(), alone);
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

#[tokio::test(start_paused = true)]
async fn requests_go_out_together_with_one_count_for_all() {
    let mut test = Test::new();
    let mut connection = test.connected().await;
    test.request_and_count(1);
    test.request_and_count(2);
    let before = Instant::now();
    for command in ["PUBLISH", "PUBLISH", "PUBSUB NUMSUB"] {
        connection.expect(command).await;
    }
    assert_eq!(before.elapsed().as_secs(), 0, "none waits for the reply to another one");
    let counts = [reply::text(REQUESTS), reply::int(3), reply::text(ANSWERS), reply::int(1)];
    for reply in [reply::int(3), reply::int(3), reply::array(&counts)] {
        connection.send(&reply).await;
    }
    for _ in 0..2 {
        assert_eq!(test.count().await.unwrap().others, 2);
    }
}
