//! The writer, against servers that the test plays.

use crate::testing::{ScriptedRedis, TestNode, id};

#[tokio::test(start_paused = true)]
async fn a_batch_is_one_transaction_and_ends_at_its_place() {
    let mut redis = ScriptedRedis::new();
    let node = TestNode::new(&redis);
    node.publish(1);
    node.publish(2);
    node.start_writer_at(id(5));
    let mut connection = redis.accept().await;
    let batch = connection.expect_batch(2).await;
    assert!(batch.is_transaction);
    assert_eq!(batch.seqs(), [1, 2]);
    batch.execute(&["6-0", "7-0"]).await;
    while node.stats.published.get() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(node.events().is_empty(), "they complete when the reader comes by");
    assert_eq!(node.stream.cursor().written, id(7));
}
