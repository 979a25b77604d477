//! Finds out whether a batch in doubt has arrived, after its connection broke. If so, it stands
//! behind the last entry that Redis had acknowledged or the reader had read when the batch was
//! sent.

use super::{Sent, Writer};
use crate::engine::error::{Error, Result};
use crate::engine::redis::{Identity, RawConnection};
use crate::engine::stream::{Batch, read_entries, tail};
use crate::engine::wire::{EntryId, Origin, fields_of, parse_entry};

/// Names the end of old connections in warnings.
const KILLING: &str = "writer, CLIENT KILL";
/// Names the question where to begin in warnings.
const STARTING: &str = "writer, XREVRANGE";

impl Writer {
    /// Where nobody reads: the first batch stands behind the tail of the moment at which we connect
    /// first. Where Redis does not tell, all of the stream will be looked at.
    pub(super) async fn find_start(&mut self, connection: &mut RawConnection) -> Result<()> {
        match tail(connection, &self.stream.key).await {
            Ok(tail) => self.stream.cursor().written = tail.unwrap_or(EntryId::ZERO),
            Err(error @ Error::Refused { .. }) => self.warnings.warn(STARTING, &error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Where nobody reads, nobody notices that the stream was deleted or fell back either: new entries
    /// may have lower IDs than the last one that we have written.
    async fn heed_fall(&mut self) -> Result<()> {
        let stream = self.stream.clone();
        let tail = tail(self.connection()?, &stream.key).await?.unwrap_or(EntryId::ZERO);
        let mut cursor = stream.cursor();
        if tail < cursor.written {
            cursor.written = EntryId::ZERO;
        }
        Ok(())
    }

    /// Finds out whether a batch in doubt has arrived: its entries' IDs, or `None` when what is left
    /// in `batch` has not and cannot any more.
    pub(super) async fn settle(
        &mut self,
        batch: &mut Batch,
        doubt: &Sent,
    ) -> Result<Option<Vec<EntryId>>> {
        let old = doubt.identity.as_ref();
        let sure = self.end_old_connection(old).await?;
        if !sure {
            self.may_arrive_until = batch.seqs.end;
        }
        // What was read from a master that died may not have come to the replica that took over.
        if !self.is_elsewhere(old) && self.stream.cursor().own.has_read(&batch.seqs) {
            return Ok(Some(Vec::new()));
        }
        let (key, writer) = (self.stream.key.clone(), self.stream.writer_id);
        if self.is_unread() {
            self.heed_fall().await?;
        }
        let written = self.stream.cursor().written;
        let pages = self.pages.clone();
        let connection = self.connection()?;
        let mut ids = vec![None; batch.publishes.len()];
        let mut from = written.next();
        // One size for all pages: the next attempt begins at the first page again, and with pages that
        // grow on the way it would break at the same place for ever.
        let count = pages.now();
        loop {
            let page = read_entries(connection, &key, from, None, count).await;
            let page = page.inspect_err(|error| pages.failed(count, error))?;
            for raw in &page {
                let origin =
                    parse_entry(raw.id, fields_of(&raw.fields)).ok().and_then(|entry| entry.origin);
                let Some(Origin { writer: w, seq }) = origin else { continue };
                if w == writer && batch.seqs.contains(&seq) {
                    ids[(seq - batch.seqs.start) as usize] = Some(raw.id);
                }
            }
            match page.last() {
                Some(last) if page.len() == count && ids.contains(&None) => from = last.id.next(),
                _ => break,
            }
        }
        pages.worked();
        if doubt.as_one && ids.iter().any(Option::is_some) {
            // All or nothing: all of it was written, and what is missing was trimmed since.
            let trimmed = ids.iter().take_while(|id| id.is_none()).count();
            self.trimmed(batch, trimmed, &ids);
            ids.drain(..trimmed);
        }
        if !ids.contains(&None) {
            return Ok(Some(ids.into_iter().flatten().collect()));
        }
        // It is not there, or without MULTI in part. What was trimmed behind our last entry could
        // have held it.
        let connection = self.connection()?;
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

    /// The first `count` entries of a batch were written, and trimmed before they were looked for.
    fn trimmed(&mut self, batch: &mut Batch, count: usize, ids: &[Option<EntryId>]) {
        let Some(found) = ids.get(count).copied().flatten().filter(|_| count > 0) else { return };
        tracing::debug!("the first {count} entries of a batch were written and trimmed");
        self.measure(&batch.publishes[..count]);
        let mut cursor = self.stream.cursor();
        let seqs = batch.forget_first(count);
        cursor.own.trimmed(&seqs, found);
        self.written(cursor, count);
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
}
