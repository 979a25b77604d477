//! What an engine writes to its streams.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::Engine;
use crate::engine::error::{Error, Result};
use crate::engine::event::{Completion, Local, StreamEvent, Ticket};
use crate::engine::namespaces::Namespace;
use crate::engine::stream::{Publish, kept_by_js};
use crate::engine::wire::{Data, MessageType};

impl Engine {
    /// Writes a message to the namespace's stream. The publish ends with
    /// [`StreamEvent::Published`].
    ///
    /// # Errors
    /// [`Error::QueueFull`], [`Error::Closed`].
    pub(crate) fn publish(
        &self,
        namespace: &Arc<Namespace>,
        kind: MessageType,
        data: Option<Data>,
    ) -> Result<Ticket> {
        let ticket = self.next_ticket.fetch_add(1, Ordering::Relaxed);
        self.publish_as(ticket, namespace, kind, data).map(|()| ticket)
    }

    /// Writes messages to the namespace's stream, in order. Returns the ticket of the first; those
    /// of the others follow. Each ends with [`StreamEvent::Published`], also if it is refused.
    pub(crate) fn publish_all(
        &self,
        namespace: &Arc<Namespace>,
        kind: MessageType,
        all: Vec<Data>,
    ) -> Ticket {
        let first = self.next_ticket.fetch_add(all.len() as u32, Ordering::Relaxed);
        for (i, data) in (0..).zip(all) {
            let ticket = first.wrapping_add(i);
            if let Err(error) = self.publish_as(ticket, namespace, kind, Some(data)) {
                let done = Completion { ticket, outcome: Err(error), local: Local::Js };
                self.stream(&namespace.name).cursor().inbox.push(StreamEvent::Published(done));
            }
        }
        first
    }

    /// Whether the queue of the namespace's stream takes `bytes` more.
    pub(crate) fn has_room(&self, namespace: &Namespace, bytes: usize) -> bool {
        self.stream(&namespace.name).queue.has_room(bytes)
    }

    fn publish_as(
        &self,
        ticket: Ticket,
        namespace: &Arc<Namespace>,
        kind: MessageType,
        data: Option<Data>,
    ) -> Result<()> {
        if self.closing.load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        if self.speaks_in_streams() && !namespace.presence().may_write() {
            return Err(Error::Closed);
        }
        let stream = self.stream(&namespace.name);
        let queued = stream.queue.push(Publish {
            ticket: Some(ticket),
            namespace: namespace.clone(),
            kind,
            kept_by_js: kept_by_js(self.options.role, data.as_ref()),
            data,
            at: Instant::now(),
        });
        if queued.is_err() {
            self.stats.failed.add(1);
            stream.cursor().delivered_without_entry();
        }
        queued
    }
}
