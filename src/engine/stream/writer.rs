//! Writes one stream: what is queued goes out in batches, each all or nothing, one at a time.
//!
//! After a connection broke it is not known whether the last batch arrived. The writer then makes
//! sure that nothing more comes out of the old connection, looks for the batch in the stream, and
//! sends again only what is not there. New publishes wait meanwhile.

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    Batch, Completion, Cursor, EntryId, Finding, Progress, Publish, Stream, Watch, ends,
    read_entries, tail,
};
use crate::engine::error::{Error, Refusal, Result};
use crate::engine::inbox::{Event, Inbox, Loss};
use crate::engine::redis::{
    ANSWER_LIMIT, Backoff, Commands, Connection, Connector, Identity, Route, identify,
};
use crate::engine::stats::Stats;
use crate::engine::warnings::Warnings;
use crate::engine::wire::{Origin, fields_of, parse_entry};

/// Entries per page when looking for a batch in doubt.
const PAGE: usize = 1_000;
/// Bytes per second at which a batch may go out, at the least: the server answers behind it.
const SLOWEST_UPLOAD: f64 = 65_536.0;
/// How often the stream's ends are compared with our position.
const LOOK: Duration = Duration::from_secs(1);

/// Causes of warnings, each cleared by itself.
const TASK: &str = "writer";
const IDENTIFYING: &str = "writer, CLIENT INFO and INFO";
const KILLING: &str = "writer, CLIENT KILL";
const AS_ONE: &str = "writer, MULTI";
const EXECUTING: &str = "writer, EXEC";

/// Writes what is queued.
pub struct Writer {
    /// This node.
    uid: Arc<str>,
    stream: Arc<Stream>,
    route: Route,
    inbox: Arc<Inbox>,
    stats: Arc<Stats>,
    warnings: Arc<Warnings>,
    max_len: u64,
    connection: Option<(Connection, Option<Identity>)>,
    connected_before: bool,
    /// The server that we were connected to last.
    run_id: Option<String>,
    backoff: Backoff,
    /// A refused connection is not tried again before this: publishes fail at once until then.
    refused_until: Option<(Instant, Error)>,
    /// The sequence of the next entry.
    next_seq: u64,
    watch: Watch,
    /// A loss that goes on, and was said.
    reported: Option<Loss>,
}

/// What is known of a batch that was sent on a connection that broke.
enum Doubt {
    /// It never left, or was answered.
    None,
    /// It may have arrived, or still arrive from the connection with this identity.
    Sent(Option<Identity>),
}

impl Writer {
    /// A writer that has written nothing.
    pub fn new(
        uid: Arc<str>,
        stream: Arc<Stream>,
        connector: Arc<Connector>,
        inbox: Arc<Inbox>,
        stats: Arc<Stats>,
        warnings: Arc<Warnings>,
        max_len: u64,
    ) -> Self {
        let backoff = connector.backoff();
        let route = Route::new(connector, stream.key.clone());
        Self {
            uid,
            stream,
            route,
            inbox,
            stats,
            warnings,
            max_len,
            connection: None,
            connected_before: false,
            run_id: None,
            backoff,
            refused_until: None,
            next_seq: 1,
            watch: Watch::default(),
            reported: None,
        }
    }

    /// Runs until it is dropped. Nothing is written before the reader knows where it starts, or
    /// it would miss our own entries.
    pub async fn run(mut self) {
        let mut progress = self.stream.progress.subscribe();
        let started = progress.wait_for(|progress| *progress != Progress::Starting).await;
        if let Ok(Progress::At(position)) = started.map(|progress| *progress) {
            self.stream.cursor().written = position;
        }
        let stream = self.stream.clone();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                publishes = stream.queue.next_batch() => {
                    stream.cursor().own.sent(self.next_seq, &publishes);
                    self.deliver(Batch::new(self.next_seq, publishes)).await;
                }
                _ = look.tick() => self.look().await,
            }
        }
    }

    /// Sends a batch until Redis has taken or refused it.
    async fn deliver(&mut self, mut batch: Batch) {
        let mut doubt = Doubt::None;
        loop {
            match self.try_to_deliver(&mut batch, &mut doubt).await {
                Ok(ids) => return self.acknowledged(&batch, &ids),
                Err(error) => {
                    let is_exec = matches!(error, Error::Refused { command: "EXEC", .. });
                    if !self.route.heed(&error) {
                        self.warnings.warn(if is_exec { EXECUTING } else { TASK }, &error);
                    }
                    if error.is_refusal() {
                        if !error.connection_survives() {
                            self.connection = None;
                        }
                        return self.refused(&batch, &error, &doubt);
                    }
                    if !error.connection_survives() {
                        self.connection = None;
                        if error.is_answered() {
                            // Not the master any more: the reader is to look for it as well.
                            self.stream.moved.notify_one();
                        }
                    }
                }
            }
            self.backoff.wait().await;
        }
    }

    async fn try_to_deliver(
        &mut self,
        batch: &mut Batch,
        doubt: &mut Doubt,
    ) -> Result<Vec<EntryId>> {
        self.ensure_connection().await?;
        if let Doubt::Sent(old) = doubt {
            let found = self.settle(batch, old.as_ref()).await?;
            *doubt = Doubt::None;
            if let Some(ids) = found {
                tracing::debug!("a batch of {} had arrived before the cut", ids.len());
                return Ok(ids);
            }
        }
        let result = self.send(batch).await;
        if result.as_ref().is_err_and(|e| !e.connection_survives() && !e.is_answered()) {
            let identity = self.connection.as_ref().and_then(|(_, identity)| identity.clone());
            *doubt = Doubt::Sent(identity);
        }
        result
    }

    async fn ensure_connection(&mut self) -> Result<()> {
        if self.connection.is_some() {
            return Ok(());
        }
        if let Some((until, error)) = &self.refused_until
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        let mut connection = match self.route.connect().await {
            Ok(connection) => connection,
            Err(error) => return Err(self.not_connected(error)),
        };
        let identity = match identify(&mut connection).await {
            Ok(identity) => {
                self.warnings.clear(IDENTIFYING);
                Some(identity)
            }
            Err(error @ (Error::Refused { .. } | Error::Protocol { .. })) => {
                self.warnings.warn(IDENTIFYING, &error);
                None
            }
            Err(error) => return Err(self.not_connected(error)),
        };
        if std::mem::replace(&mut self.connected_before, true) {
            self.stats.reconnects.add(1);
        }
        self.refused_until = None;
        let run_id = identity.as_ref().map(|identity| identity.run_id.clone());
        let last_run_id = std::mem::replace(&mut self.run_id, run_id);
        if last_run_id.is_some() && last_run_id != self.run_id {
            // The reader may still wait for an answer of a server that hangs.
            self.stream.moved.notify_one();
        }
        self.connection = Some((connection, identity));
        Ok(())
    }

    /// Where we were refused, publishes fail at once until it is time to try again.
    fn not_connected(&mut self, error: Error) -> Error {
        if error.is_refusal() {
            let until = Instant::now() + self.backoff.delay();
            self.refused_until = Some((until, error.clone()));
        }
        error
    }

    fn connection(&mut self) -> Result<&mut Commands> {
        self.connection.as_mut().map(|(connection, _)| &mut **connection).ok_or(Error::Closed)
    }

    /// The entries' IDs. Where Redis takes a part of a batch that was not one transaction, the error
    /// is that of the rest, which is left in `batch`.
    async fn send(&mut self, batch: &mut Batch) -> Result<Vec<EntryId>> {
        let commands = batch.seqs.clone().zip(&batch.publishes);
        let commands = commands.map(|(seq, publish)| self.xadd(seq, publish)).collect();
        let stream = self.stream.clone();
        let bytes: usize = batch.publishes.iter().map(Publish::size).sum();
        let limit = ANSWER_LIMIT + Duration::from_secs_f64(bytes as f64 / SLOWEST_UPLOAD);
        let connection = self.connection()?;
        let sent = connection.send_transaction(limit, "XADD", &stream.key, commands).await?;
        if let Some(error) = sent.not_as_one {
            self.warnings.warn(AS_ONE, &error);
        } else if batch.publishes.len() > 1 {
            self.warnings.clear(AS_ONE);
            self.warnings.clear(EXECUTING);
        }
        if sent.answers.len() != batch.publishes.len() {
            let count = sent.answers.len();
            let reason = format!("{count} IDs for {} entries", batch.publishes.len());
            return Err(Error::Protocol { command: "XADD", reason });
        }
        let connection = self.connection()?;
        let (mut ids, mut refused) = (Vec::with_capacity(sent.answers.len()), None);
        for answer in sent.answers {
            ids.push(match answer {
                Value::ServerError(error) => {
                    refused.get_or_insert(connection.error_reply("XADD", &stream.key, error));
                    None
                }
                answer => Some(parse_id(answer)?),
            });
        }
        if let Some(error) = refused {
            self.taken_in_part(batch, &ids);
            return Err(error);
        }
        Ok(ids.into_iter().flatten().collect())
    }

    /// Leaves in a batch what Redis did not take.
    fn taken_in_part(&mut self, batch: &mut Batch, ids: &[Option<EntryId>]) {
        let Some(last) = ids.iter().copied().flatten().next_back() else { return };
        let mut cursor = self.stream.cursor();
        let before = batch.publishes.len();
        batch.keep_rest(ids, &mut cursor.own);
        cursor.written = last;
        self.next_seq = batch.seqs.start;
        self.written(cursor, before - batch.publishes.len());
    }

    fn xadd(&self, seq: u64, publish: &Publish) -> Cmd {
        let mut command = redis::cmd("XADD");
        command.arg(&self.stream.key).arg("MAXLEN").arg("~").arg(self.max_len).arg("*");
        command.arg("uid").arg(&*self.uid).arg("nsp").arg(&*publish.namespace.name);
        command.arg("type").arg(publish.kind);
        if let Some(data) = &publish.data {
            command.arg("data").arg(&*data.to_field());
        }
        command.arg("wid").arg(format!("{:016x}", self.stream.writer_id));
        command.arg("seq").arg(seq);
        command
    }

    /// Finds out whether a batch in doubt has arrived: its entries' IDs, or `None` when what is left
    /// in `batch` has not and cannot any more.
    async fn settle(
        &mut self,
        batch: &mut Batch,
        old: Option<&Identity>,
    ) -> Result<Option<Vec<EntryId>>> {
        let sure = self.end_old_connection(old).await?;
        // What was read from a master that died may not have come to the replica that took over.
        if !self.is_elsewhere(old) && self.was_read_back(batch) {
            return Ok(Some(Vec::new()));
        }
        let (key, writer) = (self.stream.key.clone(), self.stream.writer_id);
        // It stands behind the last entry that Redis acknowledged, or nowhere.
        let written = self.stream.cursor().written;
        let connection = self.connection()?;
        let mut ids = vec![None; batch.publishes.len()];
        let mut from = written.next();
        loop {
            let page = read_entries(connection, &key, from, None, PAGE).await?;
            for raw in &page {
                let origin =
                    parse_entry(raw.id, fields_of(&raw.fields)).ok().and_then(|entry| entry.origin);
                let Some(Origin { writer: w, seq }) = origin else { continue };
                if w == writer && batch.seqs.contains(&seq) {
                    ids[(seq - batch.seqs.start) as usize] = Some(raw.id);
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE && ids.contains(&None) => from = last.id.next(),
                _ => break,
            }
        }
        if !ids.contains(&None) {
            return Ok(Some(ids.into_iter().flatten().collect()));
        }
        // It is not there, or without MULTI in part. What was trimmed behind our last entry could
        // have held it.
        let first = read_entries(connection, &key, EntryId::ZERO, None, 1).await?;
        let trimmed = first.first().is_some_and(|first| first.id > written)
            && tail(connection, &key).await?.is_some_and(|tail| tail > written);
        let trimmed = trimmed && written != EntryId::ZERO;
        self.taken_in_part(batch, &ids);
        if !sure || trimmed {
            self.stats.doubtful.add(batch.publishes.len() as u64);
            tracing::debug!("a batch of {} is sent again in doubt", batch.publishes.len());
        }
        Ok(None)
    }

    /// True when the connection leads to another server, or another start of it, than before.
    fn is_elsewhere(&self, old: Option<&Identity>) -> bool {
        let new = self.connection.as_ref().and_then(|(_, identity)| identity.as_ref());
        old.zip(new).is_some_and(|(old, new)| old.run_id != new.run_id)
    }

    /// Makes sure that the server reads nothing more from the old connection. False when that
    /// could not be made sure.
    async fn end_old_connection(&mut self, old: Option<&Identity>) -> Result<bool> {
        let Some((connection, new)) = &mut self.connection else { return Err(Error::Closed) };
        let (Some(old), Some(new)) = (old, new) else { return Ok(false) };
        if old.run_id != new.run_id {
            // It was started again, and the old connection ended with it. Or another server is the
            // key's master: what still comes out of the old connection is refused, or goes into a
            // stream that is not the one any more.
            return Ok(true);
        }
        let mut command = redis::cmd("CLIENT");
        command.arg("KILL").arg("ID").arg(&old.client_id).arg("ADDR").arg(&old.address);
        match connection.send("CLIENT", &old.client_id, &command).await {
            Ok(_) => {
                self.warnings.clear(KILLING);
                Ok(true)
            }
            Err(error) if error.connection_survives() => {
                self.warnings.warn(KILLING, &error);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The reader may have met the batch already. Its last entry proves all: without MULTI a part
    /// of it may be there.
    fn was_read_back(&self, batch: &Batch) -> bool {
        !self.stream.cursor().own.is_waiting_for(batch.seqs.end - 1)
    }

    fn acknowledged(&mut self, batch: &Batch, ids: &[EntryId]) {
        self.next_seq = batch.seqs.end;
        self.backoff.reset();
        self.warnings.clear(TASK);
        let mut cursor = self.stream.cursor();
        // Without IDs the batch was read back: it stands before our position.
        cursor.written = ids.last().copied().unwrap_or(cursor.position);
        cursor.own.acknowledged(batch.seqs.start, ids);
        self.written(cursor, batch.publishes.len());
    }

    /// So many publishes are in the stream.
    fn written(&self, mut cursor: MutexGuard<'_, Cursor>, count: usize) {
        self.stats.published.add(count as u64);
        // Where the reader has passed already, or reads nothing at all, nobody else completes.
        let done = if *self.stream.progress.borrow() == Progress::Refused {
            cursor.own.take_acknowledged()
        } else {
            let position = cursor.position;
            cursor.own.passed(position)
        };
        self.hand_over(cursor, done);
        self.stream.queue.end(count);
    }

    fn refused(&mut self, batch: &Batch, error: &Error, doubt: &Doubt) {
        if matches!(doubt, Doubt::Sent(_)) {
            // They may be in the stream after all: these sequences are used up.
            self.next_seq = batch.seqs.end;
        }
        if matches!(error, Error::Refused { command: "EXEC", .. }) {
            // The connection is still within the transaction.
            self.connection = None;
        }
        self.stats.failed.add(batch.publishes.len() as u64);
        let mut cursor = self.stream.cursor();
        let done = cursor.own.refused(batch.seqs.start, error);
        self.hand_over(cursor, done);
        self.stream.queue.end(batch.publishes.len());
    }

    /// Looks whether the stream is still the one that we read. What stands in the way is met, and
    /// said, by the reader or by the next batch as well.
    async fn look(&mut self) {
        let result = match self.ensure_connection().await {
            Ok(()) => self.compare().await,
            Err(error) => Err(error),
        };
        let Err(error) = result else { return };
        tracing::debug!("stream not looked at: {error}");
        if let Error::Refused { refusal: Refusal::WrongType, .. } = error {
            self.report_once(Loss::WrongType);
        } else if !error.connection_survives() {
            self.route.heed(&error);
            self.connection = None;
        }
    }

    async fn compare(&mut self) -> Result<()> {
        let stream = self.stream.clone();
        let (position, moves) = {
            let cursor = stream.cursor();
            (cursor.position, cursor.moves)
        };
        let (key, connection) = (&stream.key, self.connection()?);
        let ends = ends(connection, key).await?;
        let mut cursor = stream.cursor();
        if cursor.position != position || cursor.moves != moves {
            // Entries came in meanwhile, which is a good sign; the next look compares.
            return Ok(());
        }
        let finding = self.watch.look(ends, cursor.position, cursor.read);
        let loss = match finding {
            Finding::Sound => {
                self.reported = None;
                return Ok(());
            }
            Finding::Trimmed => {
                cursor.trimmed = true;
                return Ok(());
            }
            Finding::Deleted => Loss::Deleted,
            Finding::FellBack => Loss::FellBack,
        };
        let goes_on = finding == Finding::Deleted && ends.is_some();
        if !goes_on {
            // New entries may have lower IDs than what we have read.
            cursor.read_again_to = ends.map(|ends| ends.last);
            cursor.position = EntryId::ZERO;
            cursor.written = EntryId::ZERO;
            cursor.moves += 1;
            stream.moved.notify_one();
        }
        // What is read again is not remembered: a restore finds it in the stream.
        let covered_from = if goes_on { Some(cursor.position) } else { cursor.read_again_to };
        cursor.history.restart(covered_from.unwrap_or(EntryId::ZERO));
        cursor.hole_behind = covered_from.unwrap_or(EntryId::ZERO).max(cursor.hole_behind);
        let done = cursor.own.take_acknowledged();
        self.hand_over(cursor, done);
        self.report(loss);
        Ok(())
    }

    fn report(&mut self, loss: Loss) {
        self.stats.resets.add(1);
        self.inbox.push(Event::Lost { stream: self.stream.index, loss, entries: None });
    }

    fn report_once(&mut self, loss: Loss) {
        if self.reported.replace(loss) != Some(loss) {
            self.report(loss);
        }
    }

    /// Pushes completions before the cursor is let go, so that they stay in the stream's order.
    fn hand_over(&self, cursor: MutexGuard<'_, Cursor>, done: Vec<Completion>) {
        self.inbox.push_all(done.into_iter().map(Event::Published));
        drop(cursor);
    }
}

fn parse_id(reply: Value) -> Result<EntryId> {
    let id = match &reply {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok().and_then(|id| id.parse().ok()),
        _ => None,
    };
    id.ok_or(Error::Protocol { command: "XADD", reason: "no entry ID".to_owned() })
}

/// How long a flush may take when the engine ends.
pub const FLUSH_LIMIT: Duration = Duration::from_secs(5);
