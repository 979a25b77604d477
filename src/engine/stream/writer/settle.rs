//! Finds out whether a batch in doubt has arrived. If it has, it is behind the last entry that
//! Redis had acknowledged or the reader had read when the writer sent the batch.

use std::ops::Range;

use super::{Sent, Writer};
use crate::engine::error::{Error, Result};
use crate::engine::redis::{Identity, RawConnection};
use crate::engine::stream::{Batch, read_entries, tail};
use crate::engine::wire::{EntryId, Origin, fields_of, parse_entry};

/// Cause of warnings about CLIENT KILL, which ends old connections.
const KILLING: &str = "writer, CLIENT KILL";
/// Cause of warnings about XREVRANGE, which finds the start for an emitter.
const STARTING: &str = "writer, XREVRANGE";

/// A batch that failed while it was in doubt, since Redis refused the next connection or the search.
pub(super) struct FailedInDoubt {
    pub(super) seqs: Range<u64>,
    /// The connection that broke.
    pub(super) identity: Option<Identity>,
    /// `Cursor::written` at that time: its entries are behind this one.
    pub(super) written: EntryId,
}

impl Writer {
    /// For an emitter, which has no reader: notes the stream's tail when it first connects, since
    /// its first batch will be behind that. If Redis refuses to report the tail, [`Writer::settle`]
    /// searches the whole stream.
    pub(super) async fn find_start(&mut self, connection: &mut RawConnection) -> Result<()> {
        match tail(connection, &self.stream.key).await {
            Ok(tail) => self.stream.cursor().written = tail.unwrap_or(EntryId::ZERO),
            Err(error @ Error::Refused { .. }) => self.warnings.warn(STARTING, &error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// For an emitter, which has no reader: checks whether the stream was deleted or fell back. If
    /// so, new entries may have lower IDs than the last one that it wrote, so the search must begin
    /// at the stream's start.
    async fn heed_fall(&mut self) -> Result<()> {
        let stream = self.stream.clone();
        let tail = tail(self.connection()?, &stream.key).await?.unwrap_or(EntryId::ZERO);
        let mut cursor = stream.cursor();
        if tail < cursor.written {
            cursor.written = EntryId::ZERO;
        }
        Ok(())
    }

    /// Finds out whether a batch in doubt has arrived. Returns its entries' IDs, or no IDs if the
    /// reader has met all of it. Returns `None` if the writer must send what is left in `batch`.
    pub(super) async fn settle(
        &mut self,
        batch: &mut Batch,
        doubt: &Sent,
    ) -> Result<Option<Vec<EntryId>>> {
        let old = doubt.identity.as_ref();
        let sure = self.end_old_connection(old).await?;
        if !sure || self.is_elsewhere(old) {
            self.may_arrive_until = batch.seqs.end;
        }
        // What the reader read from a master that died may not have reached the replica that took
        // over.
        if !self.is_elsewhere(old) && self.stream.cursor().own.has_read(&batch.seqs) {
            return Ok(Some(Vec::new()));
        }
        if self.is_unread() {
            self.heed_fall().await?;
        }
        let written = self.stream.cursor().written;
        let mut ids = self.search(&batch.seqs, written).await?;
        if doubt.as_one && ids.iter().any(Option::is_some) {
            // It was one transaction, so all of it was written, and Redis has trimmed what is
            // missing.
            let trimmed = ids.iter().take_while(|id| id.is_none()).count();
            self.trimmed(batch, trimmed, &ids);
            ids.drain(..trimmed);
        }
        if !ids.contains(&None) {
            return Ok(Some(ids.into_iter().flatten().collect()));
        }
        // The batch is not there or, if it went without MULTI, only a part is. If Redis has trimmed
        // entries behind our last one, the batch may have been among them.
        let trimmed = self.is_trimmed_behind(written).await?;
        if trimmed {
            self.may_arrive_until = batch.seqs.end;
        }
        self.taken_in_part(batch, &ids);
        if !sure || trimmed {
            self.stats.doubtful.add(batch.publishes.len() as u64);
            tracing::debug!("a batch of {} is sent again in doubt", batch.publishes.len());
        }
        Ok(None)
    }

    /// Finds out whether a batch that failed while it was in doubt had arrived. If it surely had not,
    /// `batch`, which was not sent yet, gets its sequences: a gap would look like a loss. The packets
    /// themselves are settled: local clients got them when the batch failed.
    pub(super) async fn settle_failed(&mut self, batch: &mut Batch) -> Result<()> {
        let Some(failed) = self.failed_in_doubt.take() else { return Ok(()) };
        match self.may_have_arrived(&failed).await {
            Ok(false) => {
                let first = failed.seqs.start;
                let mut cursor = self.stream.cursor();
                cursor.own.renumber(&batch.seqs, first, &batch.publishes);
                batch.renumber(first);
                self.next_seq = first;
                Ok(())
            }
            // Redis does not let us look. Publishes must not fail because of that.
            Ok(true) | Err(Error::Refused { .. }) => Ok(()),
            Err(error) => {
                self.failed_in_doubt = Some(failed);
                Err(error)
            }
        }
    }

    async fn may_have_arrived(&mut self, failed: &FailedInDoubt) -> Result<bool> {
        let FailedInDoubt { seqs, identity, written } = failed;
        let old = identity.as_ref();
        // It may have been in doubt before, on another connection than the one that is known.
        if seqs.start < self.may_arrive_until {
            return Ok(true);
        }
        if self.is_elsewhere(old) || !self.end_old_connection(old).await? {
            return Ok(true);
        }
        if self.is_unread() {
            self.heed_fall().await?;
        }
        let written = {
            let cursor = self.stream.cursor();
            let highest = cursor.sequences.highest(self.stream.writer_id);
            if highest.is_some_and(|met| met >= seqs.start) {
                return Ok(true);
            }
            cursor.written.min(*written)
        };
        let ids = self.search(seqs, written).await?;
        Ok(ids.iter().any(Option::is_some) || self.is_trimmed_behind(written).await?)
    }

    /// Searches the stream behind `written` for own entries. Returns the ID of each that is there.
    async fn search(
        &mut self,
        seqs: &Range<u64>,
        written: EntryId,
    ) -> Result<Vec<Option<EntryId>>> {
        let (stream, pages) = (self.stream.clone(), self.pages.clone());
        let connection = self.connection()?;
        let mut ids = vec![None; (seqs.end - seqs.start) as usize];
        let mut from = written.next();
        // All pages have one size. After a break the next attempt begins at the first page again:
        // if pages grew on the way, each attempt would break at the same place.
        let count = stream.page_of(&pages);
        loop {
            let page = read_entries(connection, &stream.key, from, None, count).await;
            let page = page.inspect_err(|error| pages.failed(count, error))?;
            for raw in &page {
                let origin =
                    parse_entry(raw.id, fields_of(&raw.fields)).ok().and_then(|entry| entry.origin);
                let Some(Origin { writer, seq, .. }) = origin else { continue };
                if writer == stream.writer_id && seqs.contains(&seq) {
                    ids[(seq - seqs.start) as usize] = Some(raw.id);
                }
            }
            match page.last() {
                Some(last) if page.len() == count && ids.contains(&None) => from = last.id.next(),
                _ => break,
            }
        }
        pages.worked();
        Ok(ids)
    }

    /// Whether Redis may have trimmed entries behind `written`.
    async fn is_trimmed_behind(&mut self, written: EntryId) -> Result<bool> {
        if written == EntryId::ZERO {
            return Ok(false);
        }
        let key = self.stream.key.clone();
        let connection = self.connection()?;
        let first = read_entries(connection, &key, EntryId::ZERO, None, 1).await?;
        Ok(first.first().is_some_and(|first| first.id > written)
            && tail(connection, &key).await?.is_some_and(|tail| tail > written))
    }

    /// Takes the first `count` publishes out of a batch: they were written, and Redis trimmed their
    /// entries before the writer searched for them.
    fn trimmed(&mut self, batch: &mut Batch, count: usize, ids: &[Option<EntryId>]) {
        let Some(found) = ids.get(count).copied().flatten().filter(|_| count > 0) else { return };
        tracing::debug!("the first {count} entries of a batch were written and trimmed");
        self.measure(&batch.publishes[..count]);
        let stream = self.stream.clone();
        let mut cursor = stream.cursor();
        let seqs = batch.forget_first(count);
        cursor.own.trimmed(&seqs, found);
        self.written_up_to = seqs.end;
        self.written(cursor, count);
    }

    /// True if the connection leads to another server than before, or to another start of it.
    fn is_elsewhere(&self, old: Option<&Identity>) -> bool {
        let new = self.connection.as_ref().and_then(|(_, identity)| identity.as_ref());
        old.zip(new).is_some_and(|(old, new)| old.run_id != new.run_id)
    }

    /// Makes sure that the server reads nothing more from the old connection. Returns false if it
    /// cannot make sure.
    async fn end_old_connection(&mut self, old: Option<&Identity>) -> Result<bool> {
        let Some((connection, new)) = &mut self.connection else { return Err(Error::Closed) };
        let (Some(old), Some(new)) = (old, new) else { return Ok(false) };
        if old.run_id != new.run_id {
            // The server was started again, which ended the old connection. Or another server is
            // the key's master now: the old one refuses what it still reads from the old
            // connection, or writes it to a stream that does not count any more.
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
}
