//! Requests that came by PUB/SUB ahead of the stream: deferred, for a bounded time, until the
//! reader has read what their sender had written before.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::event::StreamEvent;
use crate::engine::wire::EntryId;

/// How long a request is held. Its sender's entries may be lost, or our reader cut off.
const LIMIT: Duration = Duration::from_secs(1);

/// The requests held, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct DeferredRequests {
    requests: VecDeque<(EntryId, Instant, StreamEvent)>,
    bytes: usize,
}

impl DeferredRequests {
    /// Holds a request until the reader has come to `until`. What comes behind a held one has to
    /// wait for it: requests do not overtake each other either.
    pub(crate) fn defer(&mut self, until: EntryId, event: StreamEvent) {
        self.bytes += event.size();
        self.requests.push_back((until, Instant::now(), event));
    }

    /// True when nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Their bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes those whose turn it is: the reader is at `position`, or they were held long enough.
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
        StreamEvent::Message { namespace: 0, payload: vec![byte], pin: None }
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
