//! Bridges `tracing` to the `debug` package: lines go to the inbox of the engine whose task wrote
//! them, since several engines, also in several threads of Node, share this library.

use std::fmt::{self, Write};
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event as TracingEvent, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::event::Notice;
use super::inbox::Inbox;

/// The dispatcher under which the engine's tasks run: it writes to the inbox, or nowhere.
pub(crate) fn dispatch(inbox: &Arc<Inbox>, enabled: bool) -> Dispatch {
    if !enabled {
        return Dispatch::none();
    }
    Dispatch::new(Registry::default().with(ToInbox(inbox.clone())))
}

struct ToInbox(Arc<Inbox>);

impl<S: Subscriber> Layer<S> for ToInbox {
    fn on_event(&self, event: &TracingEvent<'_>, _context: Context<'_, S>) {
        if !event.metadata().target().starts_with(env!("CARGO_CRATE_NAME")) {
            return;
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        // If the inbox is full, the line is dropped.
        let _ = self.0.offer(Notice::Debug(line.0));
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
        // Writing to a string cannot fail.
        debug_assert!(written.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::event::Event;

    #[test]
    fn lines_reach_the_inbox_of_their_engine_only() {
        let (a, b) = (Arc::new(Inbox::new(1000, || {})), Arc::new(Inbox::new(1000, || {})));
        let (on, off) = (dispatch(&a, true), dispatch(&b, false));
        tracing::dispatcher::with_default(&on, || tracing::debug!(n = 3, "hello {}", "you"));
        tracing::dispatcher::with_default(&off, || tracing::debug!("nobody listens"));
        assert!(b.drain(10).is_none());
        match a.drain(10).unwrap().as_slice() {
            [Event::Notice(Notice::Debug(line))] => assert_eq!(line, "hello you n=3"),
            other => panic!("{other:?}"),
        }
    }
}
