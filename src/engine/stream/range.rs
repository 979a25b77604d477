//! Reads parts of a stream by XRANGE and XREVRANGE. The reader's hot path uses XREAD instead.

use std::collections::HashMap;

use redis::{FromRedisValue, Value};

use crate::engine::error::{Error, Result};
use crate::engine::redis::SendCommand;
use crate::engine::wire::EntryId;

/// An entry whose fields are not parsed yet.
pub(crate) struct RawEntry {
    pub(crate) id: EntryId,
    /// Names and values, alternating.
    pub(crate) fields: Vec<Value>,
}

impl RawEntry {
    /// The bytes of its fields.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |value: &Value| match value {
            Value::BulkString(bytes) => bytes.len(),
            _ => 0,
        };
        self.fields.iter().map(bytes).sum()
    }
}

/// The ID of a stream's last entry; `None` if the stream is empty.
pub(crate) async fn tail(connection: &mut impl SendCommand, key: &str) -> Result<Option<EntryId>> {
    let mut command = redis::cmd("XREVRANGE");
    command.arg(key).arg("+").arg("-").arg("COUNT").arg(1);
    let reply = connection.send_command("XREVRANGE", key, &command).await?;
    Ok(parse_entries("XREVRANGE", reply)?.first().map(|entry| entry.id))
}

/// The ID of the last entry older than `ms` by the server's clock; `None` if there is none.
pub(crate) async fn last_before(
    connection: &mut impl SendCommand,
    key: &str,
    ms: u64,
) -> Result<Option<EntryId>> {
    let Some(last) = ms.checked_sub(1) else { return Ok(None) };
    let mut command = redis::cmd("XREVRANGE");
    command.arg(key).arg(last).arg("-").arg("COUNT").arg(1);
    let reply = connection.send_command("XREVRANGE", key, &command).await?;
    Ok(parse_entries("XREVRANGE", reply)?.first().map(|entry| entry.id))
}

/// Whether a stream still has every entry that was ever added to it. False if the server does not
/// count them (it does since Redis 7.0).
pub(crate) async fn is_untrimmed(connection: &mut impl SendCommand, key: &str) -> Result<bool> {
    let mut command = redis::cmd("XINFO");
    command.arg("STREAM").arg(key);
    let reply = match connection.send_command("XINFO", key, &command).await {
        Err(Error::Refused { reason, .. }) if reason.contains("no such key") => return Ok(true),
        Err(Error::Refused { .. }) => return Ok(false),
        reply => HashMap::<String, Value>::from_redis_value(reply?),
    };
    let fields = reply.map_err(|_| unexpected("XINFO", "no names and values"))?;
    let count = |name| fields.get(name).and_then(|value| u64::from_redis_value_ref(value).ok());
    Ok(count("length").is_some_and(|length| count("entries-added") == Some(length)))
}

/// The server's clock, in ms. Redis makes entry IDs from the same clock.
pub(crate) async fn server_time(connection: &mut impl SendCommand) -> Result<u64> {
    let reply = connection.send_command("TIME", "", &redis::cmd("TIME")).await?;
    let (seconds, micros) = <(u64, u64)>::from_redis_value(reply)
        .map_err(|_| unexpected("TIME", "no seconds and microseconds"))?;
    Ok(seconds.saturating_mul(1_000).saturating_add(micros / 1_000))
}

/// Up to `count` entries from `first` to `last`, both included. Without `last`, up to the end.
pub(crate) async fn read_entries(
    connection: &mut impl SendCommand,
    key: &str,
    first: EntryId,
    last: Option<EntryId>,
    count: usize,
) -> Result<Vec<RawEntry>> {
    let last = last.map_or_else(|| "+".to_owned(), |id| id.to_string());
    let mut command = redis::cmd("XRANGE");
    command.arg(key).arg(first.to_string()).arg(last).arg("COUNT").arg(count);
    parse_entries("XRANGE", connection.send_command("XRANGE", key, &command).await?)
}

/// Up to `count` entries from `last` downwards, the latest first.
pub(crate) async fn read_backwards(
    connection: &mut impl SendCommand,
    key: &str,
    last: EntryId,
    count: usize,
) -> Result<Vec<RawEntry>> {
    let mut command = redis::cmd("XREVRANGE");
    command.arg(key).arg(last.to_string()).arg("-").arg("COUNT").arg(count);
    parse_entries("XREVRANGE", connection.send_command("XREVRANGE", key, &command).await?)
}

/// Parses `[[id, [name, value, …]], …]`. An entry that was deleted meanwhile has nil for its
/// fields.
pub(crate) fn parse_entries(command: &'static str, reply: Value) -> Result<Vec<RawEntry>> {
    let Value::Array(entries) = reply else {
        return Err(unexpected(command, "no array of entries"));
    };
    entries
        .into_iter()
        .map(|entry| {
            let Value::Array(entry) = entry else {
                return Err(unexpected(command, "an entry is no array"));
            };
            let Ok([Value::BulkString(id), fields]) = <[Value; 2]>::try_from(entry) else {
                return Err(unexpected(command, "an entry is no pair"));
            };
            let id = EntryId::from_bytes(&id).ok_or_else(|| unexpected(command, "no entry ID"))?;
            match fields {
                Value::Array(fields) => Ok(RawEntry { id, fields }),
                Value::Nil => Ok(RawEntry { id, fields: Vec::new() }),
                _ => Err(unexpected(command, "fields are no array")),
            }
        })
        .collect()
}

fn unexpected(command: &'static str, reason: &str) -> Error {
    Error::Protocol { command, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn entries_and_deleted_ones() {
        let fields = Value::Array(vec![string("a"), string("b")]);
        let reply = Value::Array(vec![
            Value::Array(vec![string("1-2"), fields]),
            Value::Array(vec![string("3-4"), Value::Nil]),
        ]);
        let entries = parse_entries("XRANGE", reply).unwrap();
        assert_eq!(entries[0].id, EntryId { ms: 1, seq: 2 });
        assert_eq!((entries[0].fields.len(), entries[1].fields.len()), (2, 0));
    }

    #[test]
    fn odd_replies_are_errors() {
        for odd in [
            Value::Okay,
            Value::Array(vec![string("x")]),
            Value::Array(vec![Value::Array(vec![string("1-1")])]),
            Value::Array(vec![Value::Array(vec![string("x"), Value::Array(vec![])])]),
        ] {
            assert!(matches!(parse_entries("XRANGE", odd), Err(Error::Protocol { .. })));
        }
    }
}
