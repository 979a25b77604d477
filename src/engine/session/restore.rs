//! One restore: takes the session out of Redis, finds what its client missed, in memory or in the
//! stream, and answers at one position of the stream.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::keys::SessionKeys;
use super::pages::{Broadcast, Page, read_page};
use super::record::Generation;
use super::restores::Restores;
use super::save::Save;
use super::store::{Found, Search, Store};
use crate::engine::error::{Error, Result};
use crate::engine::event::{CallId, StreamEvent};
use crate::engine::missed::{Missed, MissedList};
use crate::engine::namespaces::Namespace;
use crate::engine::redis::RoutedCommands;
use crate::engine::stream::{
    Cursor, Progress, Returning, Step, Stream, WriterSequences, is_untrimmed, read_entries, tail,
};
use crate::engine::wire::EntryId;

/// How long a restore waits for our own reader to reach the client's offset.
const CATCH_UP: Duration = Duration::from_secs(8);

/// A writer that sends entries again does so within this time.
const DOUBLED_WITHIN: Duration = Duration::from_secs(60);

/// How many broadcasts a restore encodes before other tasks get their turn.
const AT_ONCE: usize = 256;

pub(super) const GONE: &str = "no such session, or it has expired";
/// A client may not take a session to a namespace whose middlewares have not accepted it.
pub(super) const OTHER_NAMESPACE: &str = "the session is of another namespace";
/// The session cannot be read.
pub(super) const DAMAGED: &str = "the session is damaged";
/// The offset is not in the stream, or not any more.
pub(super) const NO_OFFSET: &str = "the offset is not in the stream (any more)";
/// Redis has trimmed the offset's entry while the restore read what follows.
pub(super) const TRIMMED: &str = "the stream was trimmed past the offset";
const NO_SESSION: Error = Error::NotRestored(GONE);

/// A restore for a client that came back.
pub(crate) struct Restore {
    pub(crate) call: CallId,
    pub(crate) stream: Arc<Stream>,
    pub(crate) namespace: Option<Arc<Namespace>>,
    pub(crate) keys: SessionKeys,
    /// The last entry that the client has received, according to the client; [`EntryId::ZERO`] if
    /// it has received none.
    pub(crate) offset: EntryId,
    /// The node that the client was connected to, if it is known that it has the client no more.
    pub(crate) gone: Option<Gone>,
    /// The uid of this node.
    pub(crate) uid: Arc<str>,
    /// When JS asked for the restore.
    pub(crate) asked: Instant,
    /// Whether an attempt of this restore may have taken the session.
    pub(crate) has_taken: AtomicBool,
}

/// A node that does not have a client any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) owner: String,
    /// True if the node itself does not answer. Then nobody knows what it last sent to the client.
    pub(crate) is_dead: bool,
}

/// How a restore ended.
pub(super) enum Outcome {
    /// The answer is in the inbox.
    Restored,
    /// The client is still connected to this node, which must be asked first.
    Owned(String),
}

impl Restore {
    /// Restores the session and answers through the inbox. A session that it takes out of Redis is
    /// left in `taken`, so that the caller can put it back if the restore fails.
    pub(super) async fn run(
        &self,
        store: &Store,
        shared: &Restores,
        taken: &mut Option<Save>,
    ) -> Result<Outcome> {
        loop {
            let found = match store.read(&self.keys, &self.name()).await? {
                Search::Found(found) => found,
                Search::Gone => return Err(NO_SESSION),
                Search::Damaged => {
                    store.delete_damaged(&self.keys).await?;
                    return Err(Error::NotRestored(DAMAGED));
                }
            };
            if found.head.nsp.as_ref().is_some_and(|nsp| *nsp != self.keys.nsp) {
                return Err(Error::NotRestored(OTHER_NAMESPACE));
            }
            if let Some(owner) = self.to_be_asked(&found) {
                return Ok(Outcome::Owned(owner.to_owned()));
            }
            let result = self.give_back(store, shared, &found, taken).await;
            if let Err(Error::NotRestored(reason)) = result
                && reason != GONE
                && taken.is_none()
            {
                store.delete(&self.keys, &found).await?;
            }
            // If another node was faster, the client may still be there.
            if result? {
                return Ok(Outcome::Restored);
            }
        }
    }

    /// Tells this restore from all others.
    fn name(&self) -> String {
        format!("{} {}", self.uid, self.call)
    }

    /// The node that still has the client, as far as is known.
    fn to_be_asked<'a>(&self, found: &'a Found) -> Option<&'a str> {
        let owner = found.owner()?;
        let is_gone = self.gone.as_ref().is_some_and(|gone| gone.owner == owner);
        (owner != &*self.uid && !is_gone).then_some(owner)
    }

    /// Returns false if another node has taken the session.
    async fn give_back(
        &self,
        store: &Store,
        shared: &Restores,
        found: &Found,
        taken: &mut Option<Save>,
    ) -> Result<bool> {
        self.is_certain(store, found).await?;
        let head = &found.head;
        // A client that received nothing in its session comes back with the offset of the session
        // before, or with none. The entries between the two were not for this client.
        let mut from = self.offset.max(head.began);
        let mut offset = if self.offset == EntryId::ZERO { head.began } else { self.offset };
        let mut is_entry = self.offset > EntryId::ZERO;
        if let Some(sent) = head.sent.filter(|sent| sent.last == from && sent.up_to > from) {
            // It has everything that it was sent. The stream need not reach back to that.
            (from, offset, is_entry) = (sent.up_to, sent.up_to, false);
        }
        let encodes = self.namespace.as_ref().is_some_and(|namespace| namespace.encodes);
        let bytes = &shared.bytes;
        let client = Returning { nsp: &self.keys.nsp, rooms: &head.rooms, encodes, bytes };
        let local_mark = head.local_mark;
        let search = Missing { stream: &self.stream, client, shared, offset, from, local_mark };
        let commands = &mut store.pool().routed(&self.stream.key);
        search.reader_is_there(commands).await?;
        self.ids_have_not_fallen(commands).await?;
        let exists = if is_entry {
            search.offset_exists(commands).await?
        } else {
            search.place_exists(commands).await?
        };
        if !exists {
            return Err(Error::NotRestored(NO_OFFSET));
        }
        let mut missed = Gathered {
            reached: from,
            missed: Vec::new(),
            known: vec![EntryId::ZERO..=from],
            has_caught_up: false,
            sequences: WriterSequences::default(),
        };
        // This may take long. The session stays in Redis meanwhile, in case this node dies.
        search.read_up_to_history(commands, &mut missed).await?;
        if missed.reached > from {
            self.stream.restore_pages.worked();
        }
        let _place = shared.answer().await;
        self.has_taken.store(true, Ordering::Relaxed);
        let Some((generation, back)) =
            store.take(&self.keys, found, self.offset, &self.name()).await?
        else {
            return Ok(false);
        };
        *taken = Some(back);
        loop {
            search.take_from_history(&mut missed).await?;
            if self.answer_from_history(&search, &mut missed, &found.session, generation)? {
                return Ok(true);
            }
            // The history has dropped the entries that come next: read them from the stream.
            search.read_up_to_history(commands, &mut missed).await?;
        }
    }

    /// Refuses if the IDs of the stream have fallen and our reader has not noticed it yet: the offset
    /// and the history may count in different ways then. One look serves all restores that were
    /// asked for before it.
    async fn ids_have_not_fallen(&self, commands: &mut RoutedCommands) -> Result<()> {
        let mut tail_asked = self.stream.tail_asked.lock().await;
        if tail_asked.is_some_and(|tail_asked| tail_asked > self.asked) {
            return Ok(());
        }
        let (position, now) = (self.stream.cursor().position, Instant::now());
        if tail(commands, &self.stream.key).await?.unwrap_or(EntryId::ZERO) < position {
            return Err(Error::NotRestored("the stream has ended before what was read"));
        }
        *tail_asked = Some(now);
        Ok(())
    }

    /// Refuses a session of a dead node if nobody can know what it has sent to the client, or if
    /// it has died too long ago.
    async fn is_certain(&self, store: &Store, found: &Found) -> Result<()> {
        let Some(owner) = found.owner() else { return Ok(()) };
        // The packets that a client gets in front of its CONNECT do not show in its offset before
        // the CONNECT has arrived. Only a restore that has not been answered has sent none.
        let is_own = owner == &*self.uid && self.has_taken.load(Ordering::Relaxed);
        if !is_own && found.restoring_from().is_some_and(|offset| self.offset <= offset) {
            return Err(Error::NotRestored("its node did not finish the last restore"));
        }
        let is_dead = self.gone.as_ref().is_some_and(|gone| gone.is_dead);
        if !is_dead || store.is_honoured(owner).await? { Ok(()) } else { Err(NO_SESSION) }
    }

    /// Answers if the history reaches back to what was found so far; otherwise returns false. It
    /// holds the cursor's lock, so the entry that the reader hands on next is the first live one.
    fn answer_from_history(
        &self,
        search: &Missing<'_>,
        found: &mut Gathered,
        session: &[u8],
        generation: Generation,
    ) -> Result<bool> {
        let mut cursor = self.stream.cursor();
        if search.history_from(&cursor, found)? > found.reached {
            return Ok(false);
        }
        let mut missed = std::mem::take(&mut found.missed);
        let rest = cursor.candidates(&search.client, found.reached);
        missed.extend(rest.iter().filter_map(|candidate| search.client.missed_of(candidate)));
        let restored = StreamEvent::Restored {
            call: self.call,
            session: session.to_vec(),
            generation,
            missed: Arc::new(MissedList::new(missed, search.client.bytes)),
            position: cursor.position,
        };
        cursor.inbox.push(restored);
        Ok(true)
    }
}

/// What a restore looks for.
struct Missing<'a> {
    stream: &'a Stream,
    client: Returning<'a>,
    shared: &'a Restores,
    /// The last entry that the client has received, or a later one up to which nothing was for the
    /// client. While it is in the stream, nothing behind it was trimmed.
    offset: EntryId,
    /// The client missed everything after this entry, which is never before `offset`.
    from: EntryId,
    /// Stands for the packets without an entry that the client has got, if there were any.
    local_mark: Option<u64>,
}

/// What was found so far.
struct Gathered {
    /// The ID of the entry up to which `missed` is complete.
    reached: EntryId,
    missed: Vec<Missed>,
    /// What the reader has read of these parts of the stream, the client has, or it is in `missed`,
    /// also if it is not in the stream any more.
    known: Vec<RangeInclusive<EntryId>>,
    /// Whether it has read all that was older than the history at some moment.
    has_caught_up: bool,
    /// The sequences of the writers in what was read.
    sequences: WriterSequences,
}

impl Gathered {
    /// Whether the client has the entry `id`, which our reader has read, or gets it.
    fn has(&self, id: EntryId) -> bool {
        self.known.iter().any(|known| known.contains(&id))
    }
}

impl Missing<'_> {
    /// The ID of the entry behind which the history has what was not found so far. An error if packets behind `from` were
    /// lost or have no entries, if recovery is off, or if the stream is being read again.
    fn history_from(&self, cursor: &Cursor, found: &Gathered) -> Result<EntryId> {
        if self.from <= cursor.hole_behind && cursor.hole_behind > EntryId::ZERO {
            return Err(Error::NotRestored("entries behind the offset were lost"));
        }
        if cursor.local_only.may_lack(self.from, self.local_mark) {
            return Err(Error::NotRestored("packets behind the offset are not in the stream"));
        }
        if cursor.ambiguous.as_ref().is_some_and(|ids| ids.contains(&self.offset)) {
            return Err(Error::NotRestored("the offset may mean two entries"));
        }
        match cursor.history.covered_from() {
            None => Err(Error::NotRestored("recovery is off")),
            Some(from) if from > cursor.position => {
                Err(Error::NotRestored("the stream is being read again"))
            }
            Some(from) => Ok(cursor.doubles.whole_behind(from, |first| found.has(first))),
        }
    }

    /// Reads the entries that are older than the history from the stream. The history may drop
    /// entries meanwhile, so this goes on until the two meet.
    async fn read_up_to_history(
        &self,
        commands: &mut RoutedCommands,
        found: &mut Gathered,
    ) -> Result<()> {
        if self.may_miss_doubles() {
            self.shared.find_doubles(commands, self.stream).await?;
        }
        loop {
            let history_from = self.history_from(&self.stream.cursor(), found)?;
            if history_from <= found.reached {
                return Ok(());
            }
            if std::mem::replace(&mut found.has_caught_up, true) {
                // Little is left: to wait for others would take longer than to read it.
                while found.reached < history_from {
                    let reached = found.reached;
                    let page = read_page(commands, self.stream, reached, history_from).await?;
                    self.gather(&page, found)?;
                }
            } else {
                self.read_together(commands, found, history_from).await?;
            }
            if !self.is_in_stream(commands).await? {
                return Err(Error::NotRestored(TRIMMED));
            }
        }
    }

    /// Whether entries behind `from` may double some from before this node began to read, which our
    /// reader has not met.
    fn may_miss_doubles(&self) -> bool {
        let read_since = self.stream.cursor().read_since;
        read_since > EntryId::ZERO
            && self.from.ms <= read_since.ms.saturating_add(DOUBLED_WITHIN.as_millis() as u64)
    }

    /// Takes what the history holds so far. Without the cursor's lock: the client may have missed
    /// thousands of broadcasts, and the reader and the JS thread (`stats()`) wait for that lock.
    async fn take_from_history(&self, found: &mut Gathered) -> Result<()> {
        let candidates = {
            let cursor = self.stream.cursor();
            if self.history_from(&cursor, found)? > found.reached {
                return Ok(());
            }
            let candidates = cursor.candidates(&self.client, found.reached);
            found.known.push(found.reached.next()..=cursor.position);
            found.reached = cursor.position.max(found.reached);
            candidates
        };
        for some in candidates.chunks(AT_ONCE) {
            found.missed.extend(some.iter().filter_map(|each| self.client.missed_of(each)));
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Waits until our reader has reached `from`: the client may have received later entries on
    /// another node. Refuses an offset behind the stream's end, which nobody can have received.
    async fn reader_is_there(&self, commands: &mut RoutedCommands) -> Result<()> {
        if self.stream.cursor().position >= self.from {
            return Ok(());
        }
        if tail(commands, &self.stream.key).await?.is_none_or(|tail| tail < self.from) {
            return Err(Error::NotRestored("the offset is ahead of the stream"));
        }
        let mut progress = self.stream.progress.subscribe();
        let reached = progress.wait_for(|progress| match progress {
            Progress::At(position) => *position >= self.from,
            Progress::Starting | Progress::Refused | Progress::Unread => false,
        });
        match tokio::time::timeout(CATCH_UP, reached).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Error::NotRestored("this node is too far behind the stream")),
        }
    }

    async fn offset_exists(&self, commands: &mut RoutedCommands) -> Result<bool> {
        let (is_known, is_covered) = {
            let cursor = self.stream.cursor();
            let covered_from = cursor.history.covered_from();
            let is_covered = covered_from.is_some_and(|from| from < self.offset)
                && self.offset <= cursor.position;
            // A client that comes from another node may have received a double, which is not in
            // the history.
            let is_known =
                cursor.history.contains(self.offset) || cursor.doubles.contains(self.offset);
            (is_known, is_covered)
        };
        // If the offset should be in the history and is not, it is of another stream: one whose IDs
        // have begun again, which this node has not noticed yet.
        Ok(is_known || (!is_covered && self.is_in_stream(commands).await?))
    }

    /// Whether everything behind a place that one of our nodes has noted is there. Unlike an offset,
    /// it need not be an entry.
    async fn place_exists(&self, commands: &mut RoutedCommands) -> Result<bool> {
        let is_covered = {
            let cursor = self.stream.cursor();
            let covered_from = cursor.history.covered_from();
            covered_from.is_some_and(|from| from <= self.offset) && self.offset <= cursor.position
        };
        Ok(is_covered || self.is_in_stream(commands).await?)
    }

    /// Whether the offset is in the stream, so that everything behind it is.
    async fn is_in_stream(&self, commands: &mut RoutedCommands) -> Result<bool> {
        let (key, offset) = (&self.stream.key, self.offset);
        if offset == EntryId::ZERO {
            return is_untrimmed(commands, key).await;
        }
        Ok(!read_entries(commands, key, offset, Some(offset), 1).await?.is_empty())
    }

    /// Reads, together with other restores, from `found.reached` up to `last` at least.
    async fn read_together(
        &self,
        commands: &mut RoutedCommands,
        found: &mut Gathered,
        last: EntryId,
    ) -> Result<()> {
        let mut pages = self.shared.pages(self.stream).join(found.reached);
        while found.reached < last {
            let page = pages.next(commands, self.stream, last).await?;
            self.shared.progressed();
            self.gather(&page, found)?;
            pages.reached(found.reached);
        }
        Ok(())
    }

    /// Adds what the client missed of a page, behind `found.reached`.
    fn gather(&self, page: &Page, found: &mut Gathered) -> Result<()> {
        let first = page.entries.partition_point(|entry| entry.id <= found.reached);
        let doubles = self.stream.cursor().doubles.between(found.reached, page.end);
        for entry in &page.entries[first..] {
            let doubled = doubles.get(&entry.id).copied();
            if doubled.is_some_and(|first| found.has(first)) {
                continue;
            }
            let step = entry.origin.map(|origin| found.sequences.step(origin));
            if let Some(Step::Gap(_)) = step {
                return Err(Error::NotRestored("entries behind the offset were lost"));
            }
            let is_ours = step != Some(Step::Duplicate) && *entry.nsp == *self.client.nsp;
            let Some(broadcast) = entry.broadcast.as_ref().filter(|_| is_ours) else { continue };
            let Broadcast { data, head, packet } = broadcast;
            let judged_by = doubled.unwrap_or(entry.id);
            let missed = self.client.missed(entry.id, judged_by, data, head.as_ref(), packet);
            found.missed.extend(missed);
        }
        found.reached = page.end;
        Ok(())
    }
}
