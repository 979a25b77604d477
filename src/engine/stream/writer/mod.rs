//! Writes one stream. Sends what is queued in batches, one at a time. Redis takes all of a batch or
//! nothing.
//!
//! After a connection broke, the last batch is in doubt. The writer then makes sure that the server
//! reads nothing more from the old connection, searches the stream for the batch, and sends again
//! only what is missing. New publishes wait meanwhile.

mod check_stream;
mod connection;
mod send;
mod settle;
#[cfg(test)]
mod tests;

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Ages, BATCH_ENTRIES, Batch, Cursor, PageSize, Progress, Publish, Stream};
use crate::engine::error::{Error, Result};
use crate::engine::event::{Loss, StreamEvent};
use crate::engine::inbox::Inbox;
use crate::engine::redis::{Backoff, Connector, Identity, KeyConnector, RawConnection};
use crate::engine::stats::Stats;
use crate::engine::warnings::Warnings;
use crate::engine::wire::{EntryId, Origin};
use check_stream::Look;
use connection::outdated;
use settle::FailedInDoubt;

/// How often the writer compares the stream's ends with our position.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How long batches go without MULTI and EXEC after Redis refused EXEC, or MULTI while a slot
/// moved.
const EACH_ALONE: Duration = Duration::from_secs(30);

/// A large packet fails after this many connections broke over it alone.
const MOST_BREAKS: u32 = 3;
/// A packet is large from this many bytes on: Redis's own limits are not below 1 MB.
const LARGE: usize = 512 << 10;

/// How long the server may be read-only before publishes fail. A failover that changes where an
/// address leads is over by then.
const READ_ONLY_LIMIT: Duration = Duration::from_secs(10);

/// The most entries per page when the writer searches for a batch in doubt.
const PAGE: usize = 1_000;

/// Causes of warnings. Each is cleared separately.
const TASK: &str = "writer";
const EXECUTING: &str = "writer, EXEC";

/// Writes the publishes of a stream's queue.
pub(crate) struct Writer {
    /// Names this node.
    uid: Arc<str>,
    /// Stands before the sequence in the field `origin` of each entry.
    origin_prefix: String,
    stream: Arc<Stream>,
    route: KeyConnector,
    inbox: Arc<Inbox>,
    stats: Arc<Stats>,
    warnings: Arc<Warnings>,
    ages: Ages,
    /// Entries before this one are older than the stream keeps them.
    trim_before: Option<EntryId>,
    /// Whether the server knows `MINID`; `None` if the writer has not asked it yet.
    knows_min_id: Option<bool>,
    connection: Option<(RawConnection, Option<Identity>)>,
    /// For an emitter: whether [`Writer::find_start`] has succeeded.
    knows_start: bool,
    /// `run_id` of the server that we were last connected to.
    run_id: Option<String>,
    backoff: Backoff,
    /// Set if a connection was refused. Until this time the writer does not connect, and publishes
    /// fail at once with this error.
    refused_until: Option<(Instant, Error)>,
    /// Since when each server that the address leads to has been read-only, without another outage
    /// between.
    read_only_since: Option<Instant>,
    /// Set if Redis has refused EXEC, or MULTI while the slot moved. Until this time batches go
    /// without both.
    each_alone_until: Option<Instant>,
    /// Whether Redis accepts MULTI; `None` if the writer has not sent it yet. If not, Redis may
    /// execute only a part of a batch.
    accepts_multi: Option<bool>,
    batches: PageSize,
    /// How many entries per page the writer asks for when it searches for a batch in doubt.
    pages: Arc<PageSize>,
    /// Entries with lower sequences may still arrive from an old connection that the writer could
    /// not end, or other nodes may have read them: from a server that has been replaced, or before
    /// Redis has trimmed them.
    may_arrive_until: u64,
    /// A batch that failed while it was in doubt. Before the writer sends anything else, it finds out
    /// whether that batch had arrived.
    failed_in_doubt: Option<FailedInDoubt>,
    next_seq: u64,
    /// The sequence behind the last entry of which the writer knows that it was written.
    written_up_to: u64,
    /// The next check must not wait: the IDs of the stream may have fallen.
    is_check_due: bool,
    /// When a check last found that the stream is the one that we read.
    sound_at: Option<Instant>,
    /// The last look at the stream on this connection.
    look: Option<Look>,
    /// A loss that was reported and has not ended yet.
    reported: Option<Loss>,
}

/// A batch on its way.
struct Delivery {
    batch: Batch,
    /// Set while the batch is in doubt.
    doubt: Option<Sent>,
    /// How often a connection broke over it.
    breaks: u32,
}

/// How a batch in doubt was sent. It may have arrived, or may still arrive.
struct Sent {
    /// Names the connection that broke. `None` if the server did not report it.
    identity: Option<Identity>,
    /// The batch was one transaction: all of it has arrived, or nothing.
    as_one: bool,
}

impl Writer {
    pub(crate) fn new(
        uid: Arc<str>,
        stream: Arc<Stream>,
        connector: Arc<Connector>,
        inbox: Arc<Inbox>,
        stats: Arc<Stats>,
        warnings: Arc<Warnings>,
    ) -> Self {
        let backoff = connector.backoff();
        let route = KeyConnector::new(connector, stream.key.clone());
        Self {
            uid,
            origin_prefix: Origin::prefix(stream.writer_id),
            stream,
            route,
            inbox,
            stats,
            warnings,
            ages: Ages::default(),
            trim_before: None,
            knows_min_id: None,
            connection: None,
            knows_start: false,
            run_id: None,
            backoff,
            refused_until: None,
            read_only_since: None,
            each_alone_until: None,
            accepts_multi: None,
            batches: PageSize::new(BATCH_ENTRIES),
            pages: Arc::new(PageSize::new(PAGE)),
            may_arrive_until: 0,
            failed_in_doubt: None,
            next_seq: 1,
            written_up_to: 1,
            is_check_due: false,
            sound_at: None,
            look: None,
            reported: None,
        }
    }

    /// Runs until it is dropped. Writes nothing before the reader knows its first position: the
    /// reader would miss our own entries. An emitter has no reader. So it does not check for
    /// losses, and it connects only when there is something to write.
    pub(crate) async fn run(mut self) {
        let mut progress = self.stream.progress.subscribe();
        let started = progress.wait_for(|progress| *progress != Progress::Starting).await;
        if let Ok(Progress::At(position)) = started.map(|progress| *progress) {
            self.stream.cursor().written = position;
        }
        let stream = self.stream.clone();
        let is_read = !self.is_unread();
        let mut checked = Instant::now();
        let mut check = interval(CHECK_INTERVAL);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                // On a node, the check notices once a second if the connection has ended.
                () = outdated(&mut self.connection, !is_read) => self.drop_connection(),
                publishes = stream.queue.next_batch(self.batches.now()) => self.deliver(publishes).await,
                _ = check.tick(), if is_read => self.is_check_due = true,
            }
            // There may always be another batch.
            let is_overdue = is_read && checked.elapsed() >= 2 * CHECK_INTERVAL;
            if std::mem::take(&mut self.is_check_due) || is_overdue {
                self.check_stream().await;
                checked = Instant::now();
            }
        }
    }

    /// Sends publishes as one batch, until Redis has taken or refused it. If a connection broke over
    /// it, puts the publishes back: the writer sends them in smaller batches.
    ///
    /// Each of them is in `OwnEntries` or in the queue whenever this waits, since the engine may end
    /// then ([`Stream::end_rest`]).
    async fn deliver(&mut self, publishes: Vec<Publish>) {
        let batch = self.begin(publishes);
        let mut delivery = Delivery { batch, doubt: None, breaks: 0 };
        loop {
            match self.try_to_deliver(&mut delivery).await {
                Ok(Some(ids)) => return self.acknowledged(&delivery.batch, &ids),
                Ok(None) if delivery.batch.publishes.len() > 1 => {
                    return self.put_back(delivery.batch);
                }
                Ok(None) => {
                    if let Some(error) = self.too_large(&delivery) {
                        self.warnings.warn(TASK, &error);
                        return self.refused(&delivery.batch, &error, None);
                    }
                }
                Err(error) => {
                    if self.give_up(&mut delivery, &error) {
                        return;
                    }
                    self.backoff.wait().await;
                }
            }
        }
    }

    /// Makes a batch, and notes that the reader may meet it from now on.
    fn begin(&mut self, publishes: Vec<Publish>) -> Batch {
        let batch = Batch::new(self.next_seq, publishes);
        let (last, count) = {
            let mut cursor = self.stream.cursor();
            cursor.own.sent(self.next_seq, &batch.publishes);
            cursor.written = cursor.written.max(cursor.position);
            if self.is_unread() {
                (cursor.written, self.next_seq)
            } else {
                (cursor.position, cursor.read)
            }
        };
        self.trim_before = self.ages.trim_before(&self.stream.retention, last, count);
        batch
    }

    fn put_back(&mut self, batch: Batch) {
        self.batches.broke(batch.publishes.len());
        self.stream.cursor().own.take_back(&batch.seqs);
        self.stream.queue.put_back(batch.publishes);
    }

    /// Handles an error that kept a batch from being written. Returns true if the batch has failed
    /// for good.
    fn give_up(&mut self, delivery: &mut Delivery, error: &Error) -> bool {
        let is_exec = matches!(error, Error::Refused { command: "EXEC", .. });
        self.note_other_outage(error);
        if !self.route.heed(error) {
            self.warnings.warn(if is_exec { EXECUTING } else { TASK }, error);
        }
        if is_exec && !error.is_out_of_memory() {
            // Redis executed nothing, and the connection may still be within the transaction.
            self.drop_connection();
            self.each_alone_until = Some(Instant::now() + EACH_ALONE);
            return false;
        }
        if !error.connection_survives() {
            self.drop_connection();
        }
        if error.is_read_only() || matches!(error, Error::Moved { .. }) {
            // The server is not the master any more: the reader must look for the new one as well.
            self.stream.restart_reader.notify_one();
        }
        let read_only = self.read_only_for_long(error);
        let failed = read_only.as_ref().or(Some(error).filter(|error| error.is_refusal()));
        if let Some(error) = failed {
            self.refused(&delivery.batch, error, delivery.doubt.take());
        }
        failed.is_some()
    }

    /// Notes an error. If it is not that of a read-only server, a server that is read-only afterwards
    /// may be one that is about to become the master.
    fn note_other_outage(&mut self, error: &Error) {
        if !error.is_read_only() {
            self.read_only_since = None;
        }
    }

    /// If the server, and those that took its place, have been read-only for so long that it is no
    /// failover: the error with which publishes fail, so that local clients get them. The writer
    /// looks for a master at intervals.
    fn read_only_for_long(&mut self, error: &Error) -> Option<Error> {
        if !error.is_read_only() {
            return None;
        }
        let now = Instant::now();
        let for_long = now - *self.read_only_since.get_or_insert(now);
        if for_long < READ_ONLY_LIMIT {
            return None;
        }
        if self.refused_until.as_ref().is_none_or(|(until, _)| *until <= now) {
            self.refused_until = Some((now + self.backoff.delay(), error.clone()));
        }
        let error = Error::ReadOnly { key: self.stream.key.clone(), for_long };
        self.warnings.warn(TASK, &error);
        Some(error)
    }

    /// Sends a batch or, if it is in doubt, settles it. Returns the entries' IDs. Returns `None` if
    /// the connection broke over the batch and what is left of it was not written.
    async fn try_to_deliver(&mut self, delivery: &mut Delivery) -> Result<Option<Vec<EntryId>>> {
        self.ensure_connection().await?;
        if self.trim_before.is_some() && self.knows_min_id.is_none() {
            self.knows_min_id = Some(self.ask_for_min_id().await?);
        }
        self.settle_failed(&mut delivery.batch).await?;
        let Delivery { batch, doubt, breaks } = delivery;
        if let Some(sent) = doubt {
            let found = self.settle(batch, sent).await?;
            if found.is_some() {
                tracing::debug!("a batch of {} had arrived before the cut", batch.publishes.len());
                return Ok(found);
            }
            *doubt = None;
            return Ok(None);
        }
        if self.goes_as_one() && self.accepts_multi.is_none() && batch.publishes.len() > 1 {
            self.accepts_multi = Some(self.ask_for_multi().await?);
        }
        let as_one = self.goes_as_one() && self.accepts_multi != Some(false);
        let result = self.send(batch, as_one).await;
        if result.as_ref().is_err_and(|e| !e.connection_survives() && !e.is_answered()) {
            let identity = self.connection.as_ref().and_then(|(_, identity)| identity.clone());
            *doubt = Some(Sent { identity, as_one });
            *breaks += 1;
        }
        result.map(Some)
    }

    /// The error of a single large packet over which several connections broke: the server, or
    /// something before it, has a limit. Connections with small packets break for other reasons.
    fn too_large(&self, delivery: &Delivery) -> Option<Error> {
        let bytes: usize = delivery.batch.publishes.iter().map(Publish::size).sum();
        (delivery.breaks >= MOST_BREAKS && bytes >= LARGE).then(|| Error::TooLarge {
            command: "XADD",
            key: self.stream.key.clone(),
            bytes,
        })
    }

    /// Whether this is the writer of an emitter.
    fn is_unread(&self) -> bool {
        *self.stream.progress.borrow() == Progress::Unread
    }

    fn acknowledged(&mut self, batch: &Batch, ids: &[EntryId]) {
        self.next_seq = batch.seqs.end;
        self.written_up_to = self.next_seq;
        self.read_only_since = None;
        self.backoff.reset();
        self.batches.worked();
        self.warnings.clear(TASK);
        self.measure(&batch.publishes);
        let stream = self.stream.clone();
        let mut cursor = stream.cursor();
        ids.first().into_iter().for_each(|id| self.ages.check(*id));
        // Without IDs, the reader has met the batch: our position is not before it.
        cursor.written = ids.last().copied().unwrap_or(cursor.position);
        let reader = cursor.reader_at(stream.writer_id);
        cursor.own.acknowledged(batch.seqs.start, ids, reader);
        self.written(cursor, batch.publishes.len());
    }

    /// Counts how long these publishes took until now, when Redis has acknowledged them.
    fn measure<'a>(&self, publishes: impl IntoIterator<Item = &'a Publish>) {
        let now = Instant::now();
        let latencies = publishes.into_iter().map(|publish| now - publish.at);
        self.stats.publish_latency.add(latencies);
    }

    /// Notes that `count` publishes are in the stream, and completes what nobody else will
    /// complete.
    fn written(&mut self, mut cursor: MutexGuard<'_, Cursor>, count: usize) {
        self.stats.published.add(count as u64);
        cursor.local_only.accepted();
        // If the reader does not read, or is beyond them already, it will not complete them. A check
        // shows what it means if it is beyond them and has not met them.
        let progress = *self.stream.progress.borrow();
        let done = match progress {
            Progress::Refused => {
                cursor.complete_unread();
                Vec::new()
            }
            Progress::Unread => cursor.own.take_acknowledged(),
            Progress::Starting | Progress::At(_) => {
                self.is_check_due = cursor.own.are_unsure();
                let position = cursor.position;
                cursor.own.passed(position)
            }
        };
        cursor.inbox.push_all(done.into_iter().map(StreamEvent::Published));
        drop(cursor);
        self.stream.queue.end(count);
    }

    fn refused(&mut self, batch: &Batch, error: &Error, doubt: Option<Sent>) {
        let is_in_doubt = doubt.is_some();
        if is_in_doubt || batch.seqs.start < self.may_arrive_until {
            // The entries may be in the stream after all, so their sequences must not be used
            // again. The next entry tells that they are unconfirmed.
            self.next_seq = batch.seqs.end;
        }
        if let Some(Sent { identity, .. }) = doubt {
            let (seqs, written) = (batch.seqs.clone(), self.stream.cursor().written);
            self.failed_in_doubt = Some(FailedInDoubt { seqs, identity, written });
        }
        if matches!(error, Error::Refused { command: "EXEC", .. }) {
            // The server is still within the transaction on this connection.
            self.drop_connection();
        }
        let of_js = batch.publishes.iter().filter(|publish| publish.ticket.is_some()).count();
        self.stats.failed.add(of_js as u64);
        let mut cursor = self.stream.cursor();
        if of_js > 0 {
            cursor.delivered_without_entry();
        } else {
            cursor.local_only.refused(); // heartbeats, which no client gets
        }
        let done = cursor.own.refused(batch.seqs.start, error);
        cursor.inbox.push_all(done.into_iter().map(StreamEvent::Published));
        drop(cursor);
        self.stream.queue.end(batch.publishes.len());
    }
}

/// How long the last flush may go without progress when the engine ends.
pub(crate) const FLUSH_LIMIT: Duration = Duration::from_secs(5);
