//! Sends a batch as one transaction. Writes RESP directly, since this is the hot path.

use std::time::Duration;

use tokio::time::Instant;

use super::{EACH_ALONE, Writer};
use crate::engine::error::{Error, Result};
use crate::engine::redis::{ANSWER_LIMIT, Packed, SEND_BUFFER, knows_min_id};
use crate::engine::stream::{Batch, Publish};
use crate::engine::wire::{EntryId, ORIGIN, Origin};

/// The lowest rate, in bytes per second, at which the kernel may send what it has taken. The server
/// replies only behind these bytes. TCP itself notices if they do not leave at all.
const SLOWEST_UPLOAD: f64 = 4_096.0;

/// While entries are trimmed by their age, each of so many is trimmed by their number instead.
const LENGTH_EVERY: u64 = 16;

/// Cause of the warning about a server that cannot trim by age.
const TRIMMING: &str = "writer, MINID";

/// Cause of warnings about a refused MULTI.
const AS_ONE: &str = "writer, MULTI";

impl Writer {
    /// Sends a batch and returns the entries' IDs. `as_one` is true if Redis will take all of it or
    /// nothing. If Redis takes only a part, this returns the error of the rest, and leaves the rest in
    /// `batch`.
    pub(super) async fn send(&mut self, batch: &mut Batch, as_one: bool) -> Result<Vec<EntryId>> {
        let bytes: usize = batch.publishes.iter().map(Publish::size).sum();
        let unseen = bytes.min(SEND_BUFFER);
        let limit = ANSWER_LIMIT + Duration::from_secs_f64(unseen as f64 / SLOWEST_UPLOAD);
        let mut commands = Packed::with_capacity(2 * bytes);
        for (seq, publish) in batch.seqs.clone().zip(&batch.publishes) {
            // In a transaction, the entries before this one are written if this one is.
            let comes_with_others = as_one && seq > batch.seqs.start;
            let unconfirmed = if comes_with_others { 0 } else { seq - self.written_up_to };
            self.add(&mut commands, seq, unconfirmed, publish);
        }
        // If Redis has refused MULTI before, it may accept it by now.
        let tries_multi = self.goes_as_one();
        let stream = self.stream.clone();
        let connection = self.connection()?;
        let answers = if tries_multi {
            let sent = connection.send_transaction(limit, "XADD", &stream.key, commands).await?;
            let is_asking = connection.is_asking();
            if batch.publishes.len() > 1 {
                self.accepts_multi = Some(sent.not_as_one.is_none());
            }
            if let Some(error) = sent.not_as_one {
                self.warnings.warn(AS_ONE, &error);
                // ASKING holds for one command, and that was the refused MULTI.
                if is_asking && error.is_forbidden() {
                    self.each_alone_until = Some(Instant::now() + EACH_ALONE);
                }
            } else if batch.publishes.len() > 1 {
                self.each_alone_until = None;
                self.warnings.clear(AS_ONE);
                self.warnings.clear(super::EXECUTING);
            }
            sent.answers
        } else {
            connection.send_each(limit, "XADD", &stream.key, &commands).await?
        };
        let (mut ids, mut refused) = (Vec::with_capacity(answers.len()), None);
        for answer in answers {
            ids.push(match answer {
                Ok(id) => Some(parse_id(&id)?),
                Err(error) => {
                    refused.get_or_insert(error);
                    None
                }
            });
        }
        if let Some(error) = refused {
            self.taken_in_part(batch, &ids);
            return Err(error);
        }
        Ok(ids.into_iter().flatten().collect())
    }

    /// Whether batches go out as transactions now.
    pub(super) fn goes_as_one(&self) -> bool {
        self.each_alone_until.is_none_or(|until| Instant::now() >= until)
    }

    /// Notes what Redis took of a batch, and leaves the rest in it.
    pub(super) fn taken_in_part(&mut self, batch: &mut Batch, ids: &[Option<EntryId>]) {
        let Some(last) = ids.iter().copied().flatten().next_back() else { return };
        let taken = ids.iter().zip(&batch.publishes).filter(|(id, _)| id.is_some());
        self.measure(taken.map(|(_, publish)| publish));
        let stream = self.stream.clone();
        let mut cursor = stream.cursor();
        let before = batch.publishes.len();
        let reader = cursor.reader_at(stream.writer_id);
        batch.keep_rest(ids, &mut cursor.own, reader);
        cursor.written = last;
        self.next_seq = batch.seqs.start;
        self.written_up_to = self.next_seq;
        self.written(cursor, before - batch.publishes.len());
        // Redis has taken something, so the rest need not wait longer.
        self.backoff.reset();
    }

    /// Asks the server whether XADD knows `MINID`. If it does not, or does not tell its version,
    /// only the number of entries bounds the stream.
    pub(super) async fn ask_for_min_id(&mut self) -> Result<bool> {
        let knows = match knows_min_id(self.connection()?).await {
            Err(Error::Refused { .. } | Error::Protocol { .. }) => false,
            answer => answer?,
        };
        if !knows {
            let (key, max_len) = (self.stream.key.clone(), self.stream.retention.max_len);
            self.warnings.warn(TRIMMING, &Error::NoMinId { key, max_len });
        }
        Ok(knows)
    }

    /// Asks the server whether it accepts MULTI, by a transaction of no commands. Without that, the
    /// entries of the first batch could not tell readers that all those before them were written.
    pub(super) async fn ask_for_multi(&mut self) -> Result<bool> {
        let stream = self.stream.clone();
        let none = Packed::with_capacity(0);
        let connection = self.connection()?;
        let sent = connection.send_transaction(ANSWER_LIMIT, "MULTI", &stream.key, none).await?;
        Ok(sent.not_as_one.is_none())
    }

    /// Adds the XADD of the entry `seq`. Of so many sequences right before it, the writer does not
    /// know whether they were written.
    fn add(&self, commands: &mut Packed, seq: u64, unconfirmed: u64, publish: &Publish) {
        let data = publish.data.as_ref().map(|data| data.to_field());
        commands.command("XADD", 13 + 2 * usize::from(data.is_some()));
        commands.arg(&self.stream.key);
        match self.trim_before.filter(|_| self.knows_min_id == Some(true)) {
            // XADD takes one of the two. The number of entries needs to be bounded now and then.
            Some(id) if !seq.is_multiple_of(LENGTH_EVERY) => {
                commands.arg("MINID").arg("~").arg(&id.to_string());
            }
            _ => {
                commands.arg("MAXLEN").arg("~").number(self.stream.retention.max_len);
            }
        }
        commands.arg("*");
        commands.arg("uid").arg(&self.uid).arg("nsp").arg(&publish.namespace.name);
        commands.arg("type").number(publish.kind.into());
        if let Some(data) = data {
            commands.arg("data").arg(&data);
        }
        let suffix = Origin::suffix(unconfirmed);
        commands.arg(ORIGIN).number_within(&self.origin_prefix, seq, &suffix);
    }
}

fn parse_id(id: &[u8]) -> Result<EntryId> {
    EntryId::from_bytes(id)
        .ok_or(Error::Protocol { command: "XADD", reason: "no entry ID".to_owned() })
}
