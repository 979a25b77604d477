//! Tells the operator if clients start anew because the stream does not reach back far enough.

use std::sync::Arc;
use std::time::Duration;

use super::Restore;
use crate::engine::error::{Error, Result};
use crate::engine::redis::Pool;
use crate::engine::stream::{Stream, is_untrimmed, read_entries};
use crate::engine::warnings::Warnings;
use crate::engine::wire::EntryId;

/// Names these warnings.
const RETAINING: &str = "sessions, retention";

/// Warns, once, if Redis has trimmed the entry of this client's offset and the stream is shorter
/// than connection state recovery needs. A client that had received nothing for longer than that
/// is no reason to warn, nor is a stream that Redis has not trimmed. The offset comes from the client,
/// who may have made it up: whatever it is, the warning is about the stream.
pub(super) async fn warn_if_too_short(restore: &Restore, pool: &Arc<Pool>, warnings: &Warnings) {
    match too_short(&restore.stream, restore.offset, pool).await {
        Ok(Some(error)) => warnings.warn(RETAINING, &error),
        Ok(None) => {}
        Err(error) => tracing::debug!("the stream's length is not known: {error}"),
    }
}

async fn too_short(stream: &Stream, offset: EntryId, pool: &Arc<Pool>) -> Result<Option<Error>> {
    let Some(needed) = stream.retention.needed else { return Ok(None) };
    let commands = &mut pool.routed(&stream.key);
    let entries = read_entries(commands, &stream.key, EntryId::ZERO, None, 1).await?;
    let Some(first) = entries.first().map(|entry| entry.id) else { return Ok(None) };
    // The writer's check of a moment ago has seen this length.
    let (position, length) = {
        let cursor = stream.cursor();
        (cursor.position, cursor.lag.length())
    };
    let before = |id: EntryId| Duration::from_millis(position.ms.saturating_sub(id.ms));
    let (away, span) = (before(offset), before(first));
    let is_too_short = offset < first && away <= needed && span < needed;
    let Some(length) = length.filter(|_| is_too_short) else { return Ok(None) };
    if is_untrimmed(commands, &stream.key).await? {
        return Ok(None);
    }
    let advice = advice(stream, length, span, needed);
    Ok(Some(Error::StreamTooShort { key: stream.key.clone(), length, away, span, needed, advice }))
}

/// What to set so that the stream covers `needed` at the rate of its last `span`.
fn advice(stream: &Stream, length: u64, span: Duration, needed: Duration) -> String {
    let retention = &stream.retention;
    if let Some(max_age) = retention.max_age
        && max_age < needed
        && length < retention.max_len
    {
        return format!("set `maxAge` to {} or more", needed.as_millis());
    }
    let per_ms = length as f64 / (span.as_millis() as f64).max(1.0);
    let wanted = round_up(per_ms * needed.as_millis() as f64);
    if wanted <= retention.max_len {
        let max_len = retention.max_len;
        return format!("something trims it below `maxLen` ({max_len}): set it to that");
    }
    format!("set `maxLen` to {wanted} or more")
}

/// Two digits, the rest zeros.
fn round_up(number: f64) -> u64 {
    let unit = 10f64.powi((number.max(1.0).log10().floor() as i32 - 1).max(0));
    ((number / unit).ceil() * unit) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_are_enough() {
        let rounded = [0.0, 7.2, 99.0, 100.1, 123_456.0].map(round_up);
        assert_eq!(rounded, [0, 8, 99, 110, 130_000]);
    }
}
