//! Sends many commands as one transaction over a [`RawConnection`]. They are written as bytes, and
//! the replies are read from the bytes.

use std::time::Duration;

use super::RawConnection;
use super::resp::{Head, Values};
use crate::engine::error::{Error, Result};

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// Commands in RESP, one after the other.
pub(crate) struct Packed {
    /// Begins with MULTI, so that the whole transaction leaves in one write.
    bytes: Vec<u8>,
    /// The offset in `bytes` at which each command begins.
    starts: Vec<usize>,
}

impl Packed {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        let mut packed = Vec::with_capacity(MULTI.len() + bytes + EXEC.len());
        packed.extend_from_slice(MULTI);
        Self { bytes: packed, starts: Vec::new() }
    }

    /// Begins a command with `args` arguments, which the caller adds.
    pub(crate) fn command(&mut self, name: &str, args: usize) -> &mut Self {
        self.starts.push(self.bytes.len());
        self.length(b'*', args + 1);
        self.arg(name)
    }

    pub(crate) fn arg(&mut self, arg: &str) -> &mut Self {
        self.length(b'$', arg.len());
        self.bytes.extend_from_slice(arg.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    pub(crate) fn number(&mut self, arg: u64) -> &mut Self {
        self.number_within("", arg, "")
    }

    /// An argument with a number in it.
    pub(crate) fn number_within(&mut self, prefix: &str, number: u64, suffix: &str) -> &mut Self {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number);
        self.length(b'$', prefix.len() + digits.len() + suffix.len());
        for part in [prefix, digits, suffix, "\r\n"] {
            self.bytes.extend_from_slice(part.as_bytes());
        }
        self
    }

    fn length(&mut self, kind: u8, length: usize) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }
}

/// The result of a transaction.
#[derive(Debug)]
pub(crate) struct Sent {
    /// One answer for each command: the string that Redis replied, or its error.
    pub(crate) answers: Vec<Result<Vec<u8>>>,
    /// Set if Redis refused MULTI. Then Redis executed or refused each command by itself.
    pub(crate) not_as_one: Option<Error>,
}

impl RawConnection {
    /// Sends commands as one transaction; a single one needs none. Returns their answers, or the
    /// first refusal. If Redis refuses MULTI itself, the commands run one by one and each has its own
    /// answer.
    ///
    /// If this future is dropped, the connection must not be used any more, as for
    /// [`RawConnection::send_within`].
    pub(crate) async fn send_transaction(
        &mut self,
        limit: Duration,
        name: &'static str,
        key: &str,
        mut commands: Packed,
    ) -> Result<Sent> {
        if commands.starts.len() == 1 {
            let answers = self.send_each(limit, name, key, &commands).await?;
            return Ok(Sent { answers, not_as_one: None });
        }
        commands.bytes.extend_from_slice(EXEC);
        let count = commands.starts.len();
        let reply = self.exchange_within(limit, name, &commands.bytes, count + 2).await?;
        let sort = |name: &'static str, words: &[u8]| self.error(name, key, words);
        Replies { values: Values(&reply), sort: &sort }.transaction(name, count)
    }

    /// Sends commands without a transaction and returns an answer for each. They leave in one
    /// write, except if the server is taking over the slot: an ASKING is valid for one command
    /// only.
    ///
    /// If this future is dropped, the connection must not be used any more, as for
    /// [`RawConnection::send_within`].
    pub(crate) async fn send_each(
        &mut self,
        limit: Duration,
        name: &'static str,
        key: &str,
        commands: &Packed,
    ) -> Result<Vec<Result<Vec<u8>>>> {
        let at_a_time = if self.is_asking() { 1 } else { commands.starts.len().max(1) };
        let mut answers = Vec::with_capacity(commands.starts.len());
        for (i, starts) in commands.starts.chunks(at_a_time).enumerate() {
            let (first, next) = (starts[0], (i + 1) * at_a_time);
            let end = commands.starts.get(next).copied().unwrap_or(commands.bytes.len());
            let bytes = &commands.bytes[first..end];
            let reply = self.exchange_within(limit, name, bytes, starts.len()).await?;
            let sort = |name: &'static str, words: &[u8]| self.error(name, key, words);
            let mut replies = Replies { values: Values(&reply), sort: &sort };
            answers.append(&mut replies.strings(name, starts.len())?);
        }
        Ok(answers)
    }
}

/// Replies that have arrived completely.
struct Replies<'a, F> {
    values: Values<'a>,
    /// Makes an error of an error reply.
    sort: &'a F,
}

impl<'a, F: Fn(&'static str, &[u8]) -> Error> Replies<'a, F> {
    fn transaction(&mut self, name: &'static str, count: usize) -> Result<Sent> {
        if let Some(error) = self.status("MULTI")? {
            // Without MULTI, Redis has executed each command by itself.
            return Ok(Sent { answers: self.strings(name, count)?, not_as_one: Some(error) });
        }
        let mut refused = None;
        for _ in 0..count {
            refused = refused.or(self.status(name)?);
        }
        if let Some(error) = refused {
            return Err(error);
        }
        match self.head("EXEC")? {
            Head::Error(words) => Err((self.sort)("EXEC", words)),
            Head::Array(length) if length == Some(count) => {
                Ok(Sent { answers: self.strings(name, count)?, not_as_one: None })
            }
            _ => Err(odd("EXEC")),
        }
    }

    /// Reads a reply that should be `+OK` or `+QUEUED`. Returns the error if it is one.
    fn status(&mut self, name: &'static str) -> Result<Option<Error>> {
        match self.head(name)? {
            Head::Status => Ok(None),
            Head::Error(words) => Ok(Some((self.sort)(name, words))),
            _ => Err(odd(name)),
        }
    }

    fn strings(&mut self, name: &'static str, count: usize) -> Result<Vec<Result<Vec<u8>>>> {
        (0..count).map(|_| self.string(name)).collect()
    }

    /// Reads a string, or an error reply in its place.
    fn string(&mut self, name: &'static str) -> Result<Result<Vec<u8>>> {
        match self.head(name)? {
            Head::Error(words) => Ok(Err((self.sort)(name, words))),
            Head::String(Some(length)) => {
                self.values.text(length).map(|text| Ok(text.to_vec())).map_err(|_| odd(name))
            }
            _ => Err(odd(name)),
        }
    }

    fn head(&mut self, name: &'static str) -> Result<Head<'a>> {
        self.values.head().map_err(|_| odd(name))
    }
}

fn odd(command: &'static str) -> Error {
    Error::Protocol { command, reason: "not what a transaction is answered with".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::error::Outage;

    /// The results of two commands.
    fn sent(replies: &str) -> Result<(Vec<Option<String>>, bool)> {
        let sort = |command, line: &[u8]| {
            let reason = String::from_utf8(line.to_vec()).unwrap();
            Error::Unavailable { command, reason, outage: Outage::Passing }
        };
        let mut replies = Replies { values: Values(replies.as_bytes()), sort: &sort };
        let sent = replies.transaction("XADD", 2)?;
        let text = |answer: Result<Vec<u8>>| Some(String::from_utf8(answer.ok()?).unwrap());
        Ok((sent.answers.into_iter().map(text).collect(), sent.not_as_one.is_none()))
    }

    #[test]
    fn commands_as_redis_rs_writes_them() {
        let mut packed = Packed::with_capacity(0);
        packed.command("XADD", 4).arg("key").arg("").number(12).number_within("a:", 345, ":6");
        let mut command = redis::cmd("XADD");
        command.arg("key").arg("").arg(12).arg("a:345:6");
        assert_eq!(packed.bytes[MULTI.len()..], command.get_packed_command());
    }

    #[test]
    fn answers_of_a_transaction() {
        let ids = || vec![Some("1-1".to_owned()), Some("1-2".to_owned())];
        let executed = "*2\r\n$3\r\n1-1\r\n$3\r\n1-2\r\n";
        let whole = format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n{executed}");
        assert_eq!(sent(&whole).unwrap(), (ids(), true));
        let refused = "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n$3\r\n1-1\r\n-OOM no\r\n";
        assert_eq!(sent(refused).unwrap(), (vec![Some("1-1".to_owned()), None], true));
        let no_multi = "-NOPERM\r\n$3\r\n1-1\r\n$3\r\n1-2\r\n-ERR EXEC without MULTI\r\n";
        assert_eq!(sent(no_multi).unwrap(), (ids(), false));
    }

    #[test]
    fn a_transaction_that_was_not_executed_is_an_error() {
        for (replies, words) in [
            ("+OK\r\n-LOADING\r\n-OOM\r\n-EXECABORT\r\n", "LOADING"),
            ("+OK\r\n+QUEUED\r\n+QUEUED\r\n-EXECABORT\r\n", "EXECABORT"),
            ("+OK\r\n+QUEUED\r\n+QUEUED\r\n*-1\r\n", "EXEC"),
            ("+OK\r\n+QUEUED\r\n+QUEUED\r\n*1\r\n$3\r\n1-1\r\n", "EXEC"),
            ("+OK\r\n:1\r\n", "XADD"),
            ("", "MULTI"),
        ] {
            let error = sent(replies).unwrap_err().to_string();
            assert!(error.contains(words), "{replies:?}: {error}");
        }
    }
}
