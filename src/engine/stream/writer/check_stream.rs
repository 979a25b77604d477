//! Checks two things once a second: whether the stream is still the one that the reader has read,
//! which XREAD does not show, and whether the writer's server is still a master.

use std::time::Duration;

use tokio::time::Instant;

use super::Writer;
use crate::engine::error::{Error, Refusal, Result};
use crate::engine::event::{Loss, StreamEvent};
use crate::engine::redis::{Replication, replication};
use crate::engine::stream::{
    Answer, Cursor, Ends, Finding, MasterSeen, ServerName, ends, ends_by_range, exists, server_time,
};
use crate::engine::wire::EntryId;

/// An answer with the stream's state of up to this many bytes costs nothing worth saving.
const SMALL: usize = 4 << 10;
/// How many bytes of larger ones to ask for per second.
const RATE: f64 = (1 << 20) as f64;
/// The same while nothing comes: all nodes of a cluster ask, and then nothing else does.
const QUIET_RATE: f64 = (100 << 10) as f64;
/// The longest time between two looks at the stream.
const LONGEST: Duration = Duration::from_secs(60);

/// A look at the stream's state.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    at: Instant,
    /// The size of the answer: it holds the first and the last entry, which may have megabytes.
    bytes: usize,
    /// The cursor's at that moment.
    position: EntryId,
    moves: u64,
}

impl Look {
    /// Whether it is enough for now that the key still exists: too little time has passed for another
    /// answer of this size.
    fn is_enough(&self, position: EntryId, moves: u64) -> bool {
        let is_quiet = self.position == position && self.moves == moves;
        let rate = if is_quiet { QUIET_RATE } else { RATE };
        self.bytes > SMALL
            && self.at.elapsed() < Duration::from_secs_f64(self.bytes as f64 / rate).min(LONGEST)
    }
}

/// What a look at the stream has seen.
struct Seen {
    /// `None` if the stream does not exist.
    ends: Option<Ends>,
    /// When Redis was asked.
    asked: Instant,
    /// The cursor's at that moment.
    position: EntryId,
    moves: u64,
    /// The reader has not moved since the look before.
    has_stood: bool,
    /// If the stream does not exist: what it had at the last sound check had IDs up to this one.
    old_until: Option<EntryId>,
}

/// An ID that no entry may have.
const NEVER: &str = "0-0";

/// Cause of warnings about XINFO.
const CHECKING: &str = "writer, XINFO";

impl Writer {
    /// Checks whether the stream is still the one that we read. Most errors are only logged for
    /// debugging, since the reader or the next batch meets them as well and reports them.
    pub(super) async fn check_stream(&mut self) {
        let Err(error) = self.look_at_stream().await else { return };
        tracing::debug!("stream not looked at: {error}");
        if let Error::Refused { refusal: Refusal::WrongType, .. } = error {
            self.report_once(Loss::WrongType);
        } else if !error.connection_survives() {
            self.note_other_outage(&error);
            self.route.heed(&error);
            self.drop_connection();
        }
    }

    async fn look_at_stream(&mut self) -> Result<()> {
        self.ensure_connection().await?;
        self.compare().await?;
        let is_refused = self.stream.cursor().local_only.is_refused();
        if is_refused && self.connection.is_some() && self.accepts_writes().await? {
            self.read_only_since = None;
            self.stream.cursor().local_only.accepted();
        }
        Ok(())
    }

    /// Whether Redis would accept an entry from us. Asks with an XADD that writes nothing, since no
    /// entry may have the ID `0-0`. Redis replies that only when it executes the command, so it would
    /// execute another XADD as well.
    async fn accepts_writes(&mut self) -> Result<bool> {
        let stream = self.stream.clone();
        let mut command = redis::cmd("XADD");
        command.arg(&stream.key).arg(NEVER).arg("uid").arg(&*self.uid);
        match self.connection()?.send("XADD", &stream.key, &command).await {
            Err(Error::Refused { reason, refusal, .. }) => {
                Ok(refusal == Refusal::Other && reason.contains(NEVER))
            }
            Err(error) if error.connection_survives() => Ok(false),
            reply => reply.map(|_| true),
        }
    }

    async fn compare(&mut self) -> Result<()> {
        let replication = self.replication().await?;
        if replication.is_replica {
            // A master that was replaced keeps its connections open, and an idle one would not
            // notice.
            tracing::debug!("{}: the server has become a replica", self.stream.key);
            self.drop_connection();
            return Ok(());
        }
        let stream = self.stream.clone();
        let (position, moves, is_unsure) = {
            let cursor = stream.cursor();
            if self.is_of_other_server(&cursor) || is_of_other_history(&cursor, &replication) {
                return Ok(());
            }
            (cursor.position, cursor.moves, cursor.own.are_unsure())
        };
        let asked = Instant::now();
        if !is_unsure
            && self.look.is_some_and(|look| look.is_enough(position, moves))
            && exists(self.connection()?, &stream.key).await?
        {
            self.sound_at = Some(asked);
            return Ok(());
        }
        let (ends, bytes) = self.ends(&stream.key).await?;
        let has_stood = self.look.is_some_and(|l| (l.position, l.moves) == (position, moves));
        self.look = Some(Look { at: asked, bytes, position, moves });
        let old_until = if ends.is_none() { self.sound_until().await? } else { None };
        self.judge(&Seen { ends, asked, position, moves, has_stood, old_until });
        Ok(())
    }

    /// Compares what a look has seen with what the reader has read.
    fn judge(&mut self, seen: &Seen) {
        let Seen { ends, asked, position, moves, .. } = *seen;
        let stream = self.stream.clone();
        let mut cursor = stream.cursor();
        let first = cursor.lag.first();
        cursor.measure(ends, asked);
        let has_moved = cursor.position != position;
        let reaches_us = ends.is_some_and(|ends| ends.last >= position);
        if cursor.moves != moves || (has_moved && !reaches_us) {
            // What the reader has read meanwhile may have been on its way for long, or may be of
            // another stream already. The next check compares.
            self.look = None;
            return;
        }
        let finding = cursor.watch.compare(ends, position);
        if let Some(ends) = ends.filter(|_| finding != Finding::FellBack) {
            let (position, read) = (cursor.position, cursor.read);
            let counted = cursor.watch.expect(ends, position, read);
            self.stream.report_counted(&mut cursor, counted, &self.stats);
        }
        cursor.own.are_sure();
        match finding {
            Finding::Sound => {
                complete_own(&mut cursor, seen);
                self.reported = None;
                self.sound_at = Some(asked);
            }
            Finding::Trimmed => {
                complete_own(&mut cursor, seen);
                self.look = None;
                // A replica may still have them. The reader looks there itself.
                cursor.may_be_trimmed |= !has_moved && cursor.replica_shares().is_none();
            }
            Finding::Deleted if ends.is_some() => {
                cursor.is_of_another_stream();
                self.begin_anew(&mut cursor, seen, Loss::Deleted);
            }
            Finding::Deleted | Finding::FellBack => {
                self.read_again(&mut cursor, seen, first);
                let is_gone = finding == Finding::Deleted;
                let loss = if is_gone { Loss::Deleted } else { Loss::FellBack };
                self.begin_anew(&mut cursor, seen, loss);
            }
        }
    }

    /// Has the reader read the stream from its start again. New entries may have lower IDs than those
    /// that it has read. A stream that is gone may come back out of a backup: the entries that it had
    /// at the last sound check are not new then. `first` is the first entry that the stream had.
    fn read_again(&mut self, cursor: &mut Cursor, seen: &Seen, first: EntryId) {
        let read = cursor.position;
        let old_until = seen.old_until.map(|id| id.min(read));
        cursor.read_again_to = seen.ends.map(|ends| ends.last).or(old_until);
        cursor.position = EntryId::ZERO;
        self.ages.forget();
        cursor.written = EntryId::ZERO;
        cursor.moves += 1;
        self.stream.restart_reader.notify_one();
        cursor.lag.start_over();
        // The history does not cover what is read again: a restore finds it in the stream.
        let covered_from = cursor.read_again_to.unwrap_or(EntryId::ZERO);
        cursor.history.restart(covered_from);
        cursor.ids_fell(first..=read, covered_from);
    }

    /// Completes own entries that are gone, and reports the loss: it is another stream, or its IDs
    /// have fallen.
    fn begin_anew(&mut self, cursor: &mut Cursor, seen: &Seen, loss: Loss) {
        self.look = None;
        cursor.measure(seen.ends, seen.asked);
        // Others may stand in the stream, among entries of other nodes.
        let done = cursor.own.take_behind(seen.ends.map(|ends| ends.last));
        cursor.inbox.push_all(done.into_iter().map(StreamEvent::Published));
        self.report(cursor, loss);
    }

    /// The server's replication, which the reader gets to know if the server is a master. A server
    /// that does not report its role counts as one: if it is a replica, it refuses to write.
    async fn replication(&mut self) -> Result<Replication> {
        let asked = Instant::now();
        let connection = self.connection()?;
        let (answer, seen) = match replication(connection).await {
            Err(Error::Refused { .. } | Error::Protocol { .. }) => (Replication::default(), None),
            Err(error) => return Err(error),
            Ok(answer) => {
                let server = ServerName {
                    address: connection.address().to_owned(),
                    run_id: connection.server().run_id().cloned(),
                };
                let seen = MasterSeen { server, replication: answer.clone(), asked };
                let is_master = !answer.is_replica;
                (answer, is_master.then_some(seen))
            }
        };
        self.stream.master.send_replace(seen);
        Ok(answer)
    }

    /// True while the reader and the writer are connected to different servers. Then the position
    /// of one shows nothing about the stream of the other. One of them will soon follow the other.
    fn is_of_other_server(&self, cursor: &Cursor) -> bool {
        let ours =
            self.connection.as_ref().and_then(|(connection, _)| connection.server().run_id());
        cursor.read_from.as_ref().zip(ours).is_some_and(|(read_from, ours)| read_from != ours)
    }

    /// The entry ID that the server's clock would have given at the last sound check. `None` if
    /// there was no such check, or if Redis refuses TIME.
    async fn sound_until(&mut self) -> Result<Option<EntryId>> {
        let Some(sound_at) = self.sound_at else { return Ok(None) };
        match server_time(self.connection()?).await {
            Ok(now) => {
                let ms = now.saturating_sub(sound_at.elapsed().as_millis() as u64);
                Ok(Some(EntryId { ms, seq: 0 }))
            }
            Err(Error::Refused { .. } | Error::Protocol { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn ends(&mut self, key: &str) -> Result<Answer> {
        match ends(self.connection()?, key).await {
            Err(error) if error.is_forbidden() => {
                self.warnings.warn(CHECKING, &error);
                ends_by_range(self.connection()?, key).await
            }
            ends => {
                self.warnings.clear(CHECKING);
                ends
            }
        }
    }

    fn report(&self, cursor: &mut Cursor, loss: Loss) {
        self.stats.resets.add(1);
        self.stats.losses.add(1);
        cursor.inbox.push(StreamEvent::Lost { stream: self.stream.index, loss, entries: None });
    }

    fn report_once(&mut self, loss: Loss) {
        if self.reported.replace(loss) != Some(loss) {
            self.report(&mut self.stream.cursor(), loss);
        }
    }
}

/// Completes own entries that the reader does not meet any more, since it is beyond them or the
/// stream was emptied.
fn complete_own(cursor: &mut Cursor, seen: &Seen) {
    let has_moved = cursor.position != seen.position;
    // A replica may still have what the master has not.
    let is_certain = cursor.replica_shares().is_none() || seen.has_stood;
    let emptied_at = seen.ends.filter(|ends| ends.first > ends.last && !has_moved && is_certain);
    let position = emptied_at.map_or(cursor.position, |ends| ends.last.max(cursor.position));
    let done = cursor.own.passed(position);
    cursor.inbox.push_all(done.into_iter().map(StreamEvent::Published));
}

/// True if the reader reads from a replica whose data is not that of the writer's server, as after a
/// failover. The reader will soon leave that replica.
fn is_of_other_history(cursor: &Cursor, replication: &Replication) -> bool {
    cursor.replica_shares().is_some_and(|history| !replication.continues(history))
}
