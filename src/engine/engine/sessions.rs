//! What an engine does with the sessions of connection state recovery, and the positions in the
//! stream that a session notes.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::time::Instant;

use super::Engine;
use crate::engine::error::{Error, Result};
use crate::engine::event::CallId;
use crate::engine::session::{Generation, Gone, LiveSession, Restore, Save, SessionKeys, What};
use crate::engine::wire::EntryId;

impl Engine {
    /// The ID of the entry up to which own entries were delivered here while the stream could not
    /// be read. While publishes get no entries, the highest ID: no offset shows what a client has
    /// received.
    pub(crate) fn delivered_ahead(&self, nsp: &str) -> EntryId {
        let mut cursor = self.stream(nsp).cursor();
        if self.inbox.is_idle() {
            cursor.handled_all();
        }
        if cursor.local_only.is_going_on() { EntryId::MAX } else { cursor.delivered_ahead }
    }

    /// Stands for all packets without an entry that clients of this node have got, if there were any.
    pub(crate) fn local_mark(&self, nsp: &str) -> Option<u64> {
        self.stream(nsp).cursor().local_only.mark()
    }

    /// The ID of the entry behind which the reader has begun. Earlier entries were for no client of
    /// this node.
    pub(crate) fn read_since(&self, nsp: &str) -> EntryId {
        self.stream(nsp).cursor().read_since
    }

    /// The ID of the entry up to which the clients of this node were sent everything that was for
    /// them; `None` if that is not certain for what came behind `after`.
    pub(crate) fn sent_up_to(&self, nsp: &str, after: EntryId) -> Option<EntryId> {
        let mut cursor = self.stream(nsp).cursor();
        if self.inbox.is_idle() {
            cursor.handled_all();
        }
        cursor.sent_up_to(after)
    }

    /// Writes what has become of a session, which is honoured for the time `keep`.
    pub(crate) fn save_session(
        &self,
        nsp: &str,
        pid: &str,
        generation: Generation,
        what: What,
        keep: Duration,
    ) {
        if let Some(services) = &self.services {
            let save = Save::new(self.session_keys(nsp, pid), generation, what, keep);
            services.sessions.save(vec![save]);
        }
    }

    /// Writes the sessions of connected clients, which are honoured for the time `keep` if this node
    /// dies.
    pub(crate) fn keep_sessions(
        &self,
        nsp: &str,
        sessions: impl Iterator<Item = LiveSession>,
        keep: Duration,
    ) {
        let (Some(services), Some(namespace)) = (&self.services, self.namespaces.get(nsp)) else {
            return;
        };
        let prefix = self.settings.key(&self.options.session_key_prefix);
        let save = |live: LiveSession| {
            let LiveSession { pid, generation, is_new, session } = live;
            let what = What::Live { namespace: namespace.handle, session, keep, is_new };
            Save::new(SessionKeys::new(&prefix, nsp, &pid), generation, what, keep)
        };
        services.sessions.save(sessions.map(save).collect());
    }

    /// Answers the call when what was saved of a session is in Redis.
    pub(crate) fn wait_for_session(&self, call: CallId, nsp: &str, pid: &str) {
        if let Some(services) = &self.services {
            services.sessions.wait_for(self.session_keys(nsp, pid), call);
        }
    }

    /// Restores a session; see [`StreamEvent::Restored`](crate::engine::event::StreamEvent::Restored)
    /// and [`Answer::Owned`](crate::engine::event::Answer::Owned). `offset` is `None` if the client
    /// has received nothing yet.
    ///
    /// # Errors
    /// [`Error::NotRestored`] if the offset, which comes from the client, is no entry ID.
    pub(crate) fn restore_session(
        &self,
        call: CallId,
        nsp: &str,
        pid: &str,
        offset: Option<&str>,
        gone: Option<Gone>,
    ) -> Result<()> {
        let entry = |offset: &str| offset.parse().ok().filter(|id| *id > EntryId::ZERO);
        let Some(offset) = offset.map_or(Some(EntryId::ZERO), entry) else {
            self.stats.restores_refused.add(1);
            return Err(Error::NotRestored("the offset is no entry ID"));
        };
        let services =
            self.services.as_ref().ok_or(Error::NotRestored("an emitter has no sessions"))?;
        services.sessions.restore(Restore {
            call,
            stream: self.stream(nsp).clone(),
            namespace: self.namespaces.get(nsp),
            keys: self.session_keys(nsp, pid),
            offset,
            gone,
            uid: self.uid.clone(),
            asked: Instant::now(),
            has_taken: AtomicBool::new(false),
        });
        Ok(())
    }

    fn session_keys(&self, nsp: &str, pid: &str) -> SessionKeys {
        SessionKeys::new(&self.settings.key(&self.options.session_key_prefix), nsp, pid)
    }
}
