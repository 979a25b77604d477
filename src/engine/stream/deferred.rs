//! Requests that arrived over PUB/SUB before the entries that their sender had written earlier.
//! They are deferred until the reader has read those entries, but for a bounded time only.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::event::StreamEvent;
use crate::engine::wire::EntryId;

/// The longest time for which a request is deferred: its sender's entries may be lost, or our
/// reader may have no connection.
const LIMIT: Duration = Duration::from_secs(1);

/// Deferred requests, in the order in which they arrived.
#[derive(Debug, Default)]
pub(crate) struct DeferredRequests {
    requests: VecDeque<(EntryId, Instant, StreamEvent)>,
    bytes: usize,
}

impl DeferredRequests {
    /// Defers a request until the reader has read the entry `until`. A later request waits behind
    /// it, since requests must not overtake each other.
    pub(crate) fn defer(&mut self, until: EntryId, event: StreamEvent) {
        self.bytes += event.size();
        self.requests.push_back((until, Instant::now(), event));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The requests' size in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the requests that need not wait any more: the reader is at `position`, or their time
    /// is over.
    pub(crate) fn release(&mut self, position: EntryId) -> Vec<StreamEvent> {
        let mut released = Vec::new();
        while let Some((.., event)) = self
            .requests
            .pop_front_if(|(until, since, _)| *until <= position || since.elapsed() >= LIMIT)
        {
            self.bytes -= event.size();
            released.push(event);
        }
        released
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    fn event(byte: u8) -> StreamEvent {
        StreamEvent::Message { namespace: 0, payload: vec![byte] }
    }

    fn released(deferred: &mut DeferredRequests, position: u64) -> Vec<u8> {
        let bytes = deferred.release(id(position)).into_iter().map(|event| match event {
            StreamEvent::Message { payload, .. } => payload[0],
            other => panic!("{other:?}"),
        });
        bytes.collect()
    }

    #[tokio::test(start_paused = true)]
    async fn released_in_order_by_position_or_by_time() {
        let mut deferred = DeferredRequests::default();
        deferred.defer(id(5), event(1));
        deferred.defer(id(0), event(2));
        deferred.defer(id(9), event(3));
        assert_eq!(released(&mut deferred, 4), [0u8; 0]);
        assert_eq!(released(&mut deferred, 5), [1, 2]);
        tokio::time::advance(LIMIT).await;
        assert_eq!(released(&mut deferred, 5), [3]);
        assert!(deferred.is_empty());
    }
}
