//! PUB/SUB: requests and answers come out as they went in, in order, none of them before the
//! entries that it must not overtake, and none from other streams.

use std::sync::Arc;

use super::BETWEEN_ENTRIES;
use crate::engine::control::Control;
use crate::engine::event::{Event, StreamEvent};
use crate::engine::inbox::Inbox;
use crate::engine::namespaces::Namespace;
use crate::engine::options;
use crate::engine::redis::{Connector, Push};
use crate::engine::stats::Stats;
use crate::engine::stream::{Progress, Stream};
use crate::engine::warnings::Warnings;
use crate::engine::wire::{EntryId, is_msgpack, request_head};

const UID: &str = "0123456789abcdef";
/// The identity of the node's streams.
const STREAM: &str = "0/socket.io/1";

/// The input is a list of steps: each is a letter and the bytes that go with it.
pub(crate) fn run(input: &[u8]) {
    let node = Node::new();
    let mut sent: Vec<&[u8]> = Vec::new();
    let mut received: Vec<Vec<u8>> = Vec::new();
    for step in input.split(|byte| *byte == BETWEEN_ENTRIES) {
        let Some((kind, bytes)) = step.split_first() else { continue };
        match kind {
            b'q' | b'a' => {
                sent.push(bytes);
                let last = if *kind == b'q' { String::new() } else { format!("{UID}#") };
                node.push(&format!("socket.io#/#{last}"), bytes);
            }
            b'm' => node.push("socket.io#members#", bytes),
            b's' => node.push(&String::from_utf8_lossy(bytes), b"x"),
            b'p' => node.advance(std::str::from_utf8(bytes).ok().and_then(|id| id.parse().ok())),
            _ => node.drain(&mut received),
        }
    }
    node.advance(Some(EntryId { ms: u64::MAX, seq: u64::MAX }));
    node.drain(&mut received);
    let (dropped, malformed) = (node.stats.dropped.get(), node.stats.malformed.get());
    let (sound, not_msgpack): (Vec<&[u8]>, Vec<&[u8]>) =
        sent.iter().copied().partition(|payload| is_msgpack(payload));
    let is_ignored = |payload: &&&[u8]| {
        let head = request_head(payload);
        head.uid == Some(UID) || head.stream.is_some_and(|stream| stream != STREAM)
    };
    let ignored = sound.iter().filter(is_ignored).count() as u64;
    assert_eq!(received.len() as u64 + dropped + malformed + ignored, sent.len() as u64);
    assert_eq!(malformed, not_msgpack.len() as u64);
    let mut sent = sent.into_iter();
    let is_in_order = received.iter().all(|payload| sent.any(|sent| sent == payload));
    assert!(is_in_order, "{received:?}");
}

/// A node with one namespace, as far as PUB/SUB needs it.
struct Node {
    control: Control,
    stream: Arc<Stream>,
    inbox: Arc<Inbox>,
    stats: Arc<Stats>,
}

impl Node {
    fn new() -> Self {
        // Small, so that it overflows.
        let inbox = Arc::new(Inbox::new(1 << 10, || {}));
        let stats = Arc::new(Stats::default());
        let settings = serde_json::from_str("{}").expect("settings");
        let warnings = Arc::new(Warnings::new(inbox.clone()));
        let connector =
            Arc::new(Connector::new(settings, None, warnings.clone()).expect("no certificates"));
        let (uid, options) = (UID.into(), Arc::new(options::defaults()));
        let (control, ..) =
            Control::new(uid, options, connector, inbox.clone(), stats.clone(), warnings);
        let stream = Arc::new(Stream::new(
            0,
            "key".to_owned(),
            1 << 20,
            0,
            options::defaults().retention(),
            &inbox,
        ));
        control.open("/", &Arc::new(Namespace::new(0, "/", false, true)), &stream);
        let node = Self { control, stream, inbox, stats };
        node.advance(Some(EntryId::ZERO));
        node
    }

    fn push(&self, channel: &str, payload: &[u8]) {
        self.control.receive(Push::Message { channel, payload });
    }

    /// Moves the reader's position.
    fn advance(&self, to: Option<EntryId>) {
        let mut cursor = self.stream.cursor();
        cursor.position = cursor.position.max(to.unwrap_or(EntryId::ZERO));
        self.stream.progress.send_replace(Progress::At(cursor.position));
        drop(cursor);
        self.control.release_deferred();
    }

    /// Drains the inbox, as JS does.
    fn drain(&self, received: &mut Vec<Vec<u8>>) {
        let reached = self.stream.cursor().position;
        for event in self.inbox.drain(usize::MAX).unwrap_or_default() {
            if let Event::Stream(StreamEvent::Message { payload, .. }) = event {
                let head = request_head(&payload);
                assert!(head.position.is_none_or(|position| position <= reached));
                assert!(head.stream.is_none_or(|stream| stream == STREAM));
                assert_ne!(head.uid, Some(UID));
                received.push(payload);
            }
        }
    }
}
