//! One restore: takes the session out of Redis, finds what its client missed, in memory or in the
//! stream, and answers at one position of the stream.

use std::sync::Arc;
use std::time::Duration;

use redis::Value;
use tokio::time::Instant;

use super::{KEY_IN_WORDS, Persist};
use crate::engine::error::{Error, Result};
use crate::engine::inbox::{Answer, CallId, Event, Inbox};
use crate::engine::namespaces::Namespace;
use crate::engine::redis::{ANSWER_LIMIT, Commands};
use crate::engine::stream::{
    EntryId, Marks, Missed, Progress, Returning, Step, Stream, read_entries, tail,
};
use crate::engine::wire::{
    BROADCAST, BroadcastHead, SessionHead, decode_session, fields_of, parse_entry,
};

/// Entries per XRANGE.
const PAGE: usize = 500;
/// How long a restore waits for our own reader to reach the client's offset.
const CATCH_UP: Duration = Duration::from_secs(2);

/// A client that came back.
pub struct Restore {
    /// The call to answer.
    pub call: CallId,
    /// The namespace's stream.
    pub stream: Arc<Stream>,
    /// The namespace's name.
    pub nsp: String,
    /// The namespace, held open until the socket has joined its rooms.
    pub namespace: Option<Arc<Namespace>>,
    /// The session's key, prefixes included.
    pub key: String,
    /// The last entry that the client has seen, as it says.
    pub offset: EntryId,
    /// When it was asked for.
    pub asked: Instant,
}

impl Restore {
    /// Answers through the inbox, at the position up to which everything missed was found.
    /// What was taken out of Redis is left in `taken`, to be put back if this comes to nothing.
    pub(super) async fn run(
        &self,
        mut commands: Commands,
        inbox: &Inbox,
        taken: &mut Option<Persist>,
    ) -> Result<()> {
        let (session, keep) = self.take_session(&mut commands).await?;
        let (key, until) = (self.key.clone(), Instant::now() + keep);
        *taken = Some(Persist { key, session: session.clone(), keep, until });
        let head =
            SessionHead::decode(&session).ok_or(Error::NotRestored("the session is damaged"))?;
        // A client that received nothing in its session comes back with the offset of the one
        // before it: what lies between the two was never meant for it.
        let from = self.offset.max(head.began);
        let encodes = self.namespace.as_ref().is_some_and(|namespace| namespace.encodes);
        let client = Returning { nsp: &self.nsp, rooms: &head.rooms, encodes };
        let search = Search { stream: &self.stream, client, offset: self.offset, from };
        search.reader_is_there(&mut commands).await?;
        if !search.offset_exists(&mut commands).await? {
            return Err(Error::NotRestored("the offset is not in the stream (any more)"));
        }
        let mut found = Found { reached: from, missed: Vec::new(), marks: Marks::default() };
        while let Some(history_from) = search.in_memory(&mut found, |missed, position| {
            let hold = self.namespace.as_ref().map(Namespace::hold);
            let answer = Answer::Session { session: session.clone(), missed, position };
            inbox.push(Event::Answer { call: self.call, result: Ok(answer), hold });
        })? {
            search.read_page(&mut commands, &mut found, history_from).await?;
            if found.reached >= history_from && !search.offset_in_stream(&mut commands).await? {
                return Err(Error::NotRestored("the stream was trimmed past the offset"));
            }
        }
        Ok(())
    }

    /// The session is read and deleted at once: it is restored once. With it comes how much longer
    /// it would have been kept.
    async fn take_session(&self, connection: &mut Commands) -> Result<(Vec<u8>, Duration)> {
        let commands = ["PTTL", "GET", "DEL"].map(|name| {
            let mut command = redis::cmd(name);
            command.arg(&self.key);
            command
        });
        let replies =
            connection.send_transaction(ANSWER_LIMIT, "GET", KEY_IN_WORDS, commands.into()).await?;
        let mut replies = replies.answers.into_iter();
        match (replies.next(), replies.next()) {
            (Some(Value::Int(keep)), Some(Value::BulkString(value))) => {
                let session =
                    decode_session(&value).ok_or(Error::NotRestored("the session is damaged"))?;
                Ok((session, Duration::from_millis(keep.max(1).unsigned_abs())))
            }
            (_, Some(Value::ServerError(error))) => {
                Err(connection.error_reply("GET", KEY_IN_WORDS, error))
            }
            _ => Err(Error::NotRestored("no such session, or it has expired")),
        }
    }
}

/// What is looked for.
struct Search<'a> {
    stream: &'a Stream,
    client: Returning<'a>,
    /// The last entry that the client has seen: nothing was trimmed while it is there.
    offset: EntryId,
    /// Everything after this entry was missed; not before the offset.
    from: EntryId,
}

/// What was found so far.
struct Found {
    /// Up to here.
    reached: EntryId,
    missed: Vec<Missed>,
    /// How far the writers have come in what was read.
    marks: Marks,
}

impl Search<'_> {
    /// When the history reaches back far enough, adds what it holds, and calls `done` with
    /// everything and the reader's position while the reader stands still: what it hands on next
    /// comes behind. Otherwise says from where on the history is there.
    fn in_memory(
        &self,
        found: &mut Found,
        done: impl FnOnce(Vec<Missed>, EntryId),
    ) -> Result<Option<EntryId>> {
        let cursor = self.stream.cursor();
        if self.from <= cursor.hole_behind {
            return Err(Error::NotRestored("entries behind the offset were lost"));
        }
        match cursor.history.covered_from() {
            None => Err(Error::NotRestored("recovery is off")),
            Some(from) if from > cursor.position => {
                Err(Error::NotRestored("the stream is being read again"))
            }
            Some(from) if from <= found.reached => {
                let mut missed = std::mem::take(&mut found.missed);
                missed.extend(cursor.history.missed(&self.client, found.reached));
                done(missed, cursor.position);
                Ok(None)
            }
            // Meanwhile the history goes on, and may let go of what was just beyond it.
            from => Ok(from),
        }
    }

    /// A client may have seen more of the stream on another node than our reader has read. What
    /// lies behind the stream's end, nobody has seen.
    async fn reader_is_there(&self, commands: &mut Commands) -> Result<()> {
        const AHEAD: Error = Error::NotRestored("the offset is ahead of the stream");
        if self.stream.cursor().position >= self.from {
            return Ok(());
        }
        if tail(commands, &self.stream.key).await?.is_none_or(|tail| tail < self.from) {
            return Err(AHEAD);
        }
        let mut progress = self.stream.progress.subscribe();
        let reached = progress.wait_for(|progress| match progress {
            Progress::At(position) => *position >= self.from,
            Progress::Starting | Progress::Refused => false,
        });
        match tokio::time::timeout(CATCH_UP, reached).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(AHEAD),
        }
    }

    async fn offset_exists(&self, commands: &mut Commands) -> Result<bool> {
        let in_history = {
            let cursor = self.stream.cursor();
            cursor.history.contains(self.offset)
        };
        Ok(in_history || self.offset_in_stream(commands).await?)
    }

    async fn offset_in_stream(&self, commands: &mut Commands) -> Result<bool> {
        let (key, offset) = (&self.stream.key, self.offset);
        Ok(!read_entries(commands, key, offset, Some(offset), 1).await?.is_empty())
    }

    /// Reads a page on from what was reached, up to `last`.
    async fn read_page(
        &self,
        commands: &mut Commands,
        found: &mut Found,
        last: EntryId,
    ) -> Result<()> {
        let first = found.reached.next();
        let page = read_entries(commands, &self.stream.key, first, Some(last), PAGE).await?;
        let whole = page.len() < PAGE;
        for raw in page {
            found.reached = raw.id;
            let Ok(entry) = parse_entry(raw.id, fields_of(&raw.fields)) else { continue };
            let step = entry.origin.map(|origin| found.marks.step(origin));
            if let Some(Step::Gap(_)) = step {
                return Err(Error::NotRestored("entries behind the offset were lost"));
            }
            let Some(data) = entry.data.filter(|_| step != Some(Step::Double)) else { continue };
            if entry.kind == BROADCAST && *entry.nsp == *self.client.nsp {
                let head = BroadcastHead::decode(&data);
                found.missed.extend(Missed::of(&self.client, entry.id, &data, head.as_ref()));
            }
        }
        if whole {
            found.reached = last;
        }
        Ok(())
    }
}
