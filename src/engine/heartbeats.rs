//! The heartbeats of this node in its streams, when requests travel there
//! (`requestsVia: "stream"`): one task for all namespaces, on tokio, so that a blocked event loop
//! does not make the node look dead.

use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval};

use super::event::Notice;
use super::inbox::Inbox;
use super::namespaces::Namespaces;
use super::options::Options;
use super::presence::{Listening, Pace};
use super::stream::Stream;
use super::wire::HEARTBEAT;

/// Writes a heartbeat to each namespace in which this node has written nothing for too long, and
/// removes other nodes that are silent.
pub(crate) struct Heartbeats {
    pub(crate) namespaces: Arc<Namespaces>,
    pub(crate) streams: Vec<Arc<Stream>>,
    /// Tell which stream a namespace belongs to, and the intervals.
    pub(crate) options: Arc<Options>,
    /// Gets a notice when nodes have gone silent.
    pub(crate) inbox: Arc<Inbox>,
}

impl Heartbeats {
    /// Runs until it is dropped.
    pub(crate) async fn run(self) {
        let pace = Pace::of(&self.options);
        let mut ticks = interval(pace.check_interval());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // For each stream: how many publishes it had accepted after our last heartbeat.
        let mut spoken = vec![0; self.streams.len()];
        loop {
            ticks.tick().await;
            self.tick(pace, &mut spoken);
        }
    }

    fn tick(&self, pace: Pace, spoken: &mut [u64]) {
        let listening: Vec<Listening> =
            self.streams.iter().map(|stream| stream.cursor().listening).collect();
        // While Redis is away, no more than one round of heartbeats waits.
        let may_speak: Vec<bool> = self
            .streams
            .iter()
            .zip(&*spoken)
            .map(|(stream, count)| stream.queue.has_ended(*count))
            .collect();
        for namespace in self.namespaces.all() {
            let index = self.options.stream_of(&namespace.name);
            let (changes, has_to_speak) = {
                let mut presence = namespace.presence();
                let changes = presence.forget_silent(&listening[index], pace);
                (changes, presence.has_to_speak(pace))
            };
            changes.say();
            if let Some(notice) = Notice::members_changed(Some(namespace.handle), changes) {
                self.inbox.push(notice);
            }
            if has_to_speak && may_speak[index] {
                self.streams[index].say(&namespace, HEARTBEAT);
                spoken[index] = self.streams[index].queue.accepted();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::*;
    use crate::engine::event::Event;
    use crate::engine::namespaces::Namespace;
    use crate::engine::options;
    use crate::engine::wire::{ADAPTER_CLOSE, MessageType};

    const INTERVAL: Duration = Duration::from_secs(5);
    const SECOND: Duration = Duration::from_secs(1);

    fn pace() -> Pace {
        Pace::of(&options::defaults())
    }

    fn said(stream: &Stream) -> Vec<MessageType> {
        stream.queue.take_batch(usize::MAX).iter().map(|publish| publish.kind).collect()
    }

    fn heartbeats() -> (Heartbeats, Arc<Namespace>) {
        let namespaces = Arc::new(Namespaces::default());
        let namespace = namespaces.open("/", false, true);
        let inbox = Arc::new(Inbox::new(1 << 20, || {}));
        let heartbeats = Heartbeats {
            namespaces,
            streams: vec![Arc::new(Stream::new(
                0,
                "key".to_owned(),
                1 << 20,
                0,
                options::defaults().retention(),
                &inbox,
            ))],
            options: Arc::new(options::defaults()),
            inbox,
        };
        (heartbeats, namespace)
    }

    #[tokio::test(start_paused = true)]
    async fn speaks_before_the_interval_ends_unless_something_else_was_written() {
        let (heartbeats, namespace) = heartbeats();
        let stream = &heartbeats.streams[0];
        let mut spoken = vec![0];
        advance(3 * SECOND).await;
        heartbeats.tick(pace(), &mut spoken);
        assert!(namespace.presence().may_write());
        advance(4 * SECOND).await;
        heartbeats.tick(pace(), &mut spoken);
        assert!(said(stream).is_empty());
        advance(SECOND).await;
        heartbeats.tick(pace(), &mut spoken);
        assert_eq!(said(stream), [HEARTBEAT]);
        advance(INTERVAL).await;
        heartbeats.tick(pace(), &mut spoken);
        assert!(said(stream).is_empty(), "the last one was not written yet");
        stream.queue.end(1);
        heartbeats.tick(pace(), &mut spoken);
        assert_eq!(said(stream), [HEARTBEAT]);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_comes_behind_the_last_word() {
        let (heartbeats, namespace) = heartbeats();
        let stream = &heartbeats.streams[0];
        stream.say(&namespace, ADAPTER_CLOSE);
        stream.say(&namespace, HEARTBEAT);
        advance(INTERVAL).await;
        heartbeats.tick(pace(), &mut [0]);
        assert!(!namespace.presence().may_write());
        assert_eq!(said(stream), [ADAPTER_CLOSE]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_gone_is_said() {
        let (heartbeats, namespace) = heartbeats();
        let stream = &heartbeats.streams[0];
        namespace.presence().hear("a", HEARTBEAT);
        // The first `heard_all` starts the clocks.
        for _ in 0..=11 {
            assert!(heartbeats.inbox.drain(1).is_none());
            advance(SECOND).await;
            stream.cursor().listening.heard_all(Instant::now(), pace());
            heartbeats.tick(pace(), &mut [0]);
        }
        let said = heartbeats.inbox.drain(1).unwrap();
        let [Event::Notice(Notice::MembersChanged { namespace: handle, changes })] = &said[..]
        else {
            panic!("{said:?}")
        };
        assert_eq!((*handle, changes.silent.join(" ")), (Some(namespace.handle), "a".to_owned()));
    }
}
