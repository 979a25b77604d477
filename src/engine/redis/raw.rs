//! A connection that returns replies as bytes. The reader's replies are large, and the writer reads
//! its replies directly from the bytes. Neither needs a tree of values.

use std::time::Duration;

use redis::{Cmd, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::commands::ANSWER_LIMIT;
use super::current_server::ServerOf;
use super::dial::Socket;
use super::renewal::Renewal;
use super::resp::Walk;
use crate::engine::error::{Error, Result};

/// The space in bytes to reserve for each read from the socket.
const READ: usize = 64 << 10;

/// How to take a long reply in parts.
#[derive(Clone, Copy)]
pub(crate) struct Parts {
    /// When this many bytes have come and the reply is not complete, a part is taken.
    pub(crate) from: usize,
    /// Takes a part out of the bytes that have come, and leaves in them what is a reply with the
    /// rest. `None` if they hold no part yet.
    pub(crate) take: fn(&mut Vec<u8>) -> Option<Vec<u8>>,
}

/// An open connection. The socket closes when this is dropped.
pub(crate) struct RawConnection {
    pub(super) socket: Box<dyn Socket>,
    pub(super) address: String,
    /// Bytes that have come of the next reply.
    buffer: Vec<u8>,
    /// True if the server is taking over the key's slot. Each command, or transaction, then follows
    /// an ASKING.
    pub(super) asking: bool,
    /// Set if the credentials may change.
    pub(super) renewal: Option<Renewal>,
    pub(super) server: ServerOf,
    /// Added to the error if the connection ends before the first reply.
    before_first_reply: &'static str,
}

impl RawConnection {
    /// Takes a socket on which nothing was sent yet.
    pub(crate) fn new(socket: Box<dyn Socket>, address: String) -> Self {
        Self {
            socket,
            address,
            buffer: Vec::new(),
            asking: false,
            renewal: None,
            server: ServerOf::default(),
            before_first_reply: "",
        }
    }

    /// Sets what is added to the error if the connection ends before the first reply.
    pub(super) fn explain_silence(&mut self, why: &'static str) {
        self.before_first_reply = why;
    }

    /// Sets the server that the connection leads to.
    pub(super) fn leads_to(&mut self, server: ServerOf) {
        self.server = server;
    }

    /// The server's address, as it was dialled.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn server(&self) -> &ServerOf {
        &self.server
    }

    /// Takes the server out of the connection, so that a caller can wait for both at once.
    pub(crate) fn take_server(&mut self) -> ServerOf {
        std::mem::take(&mut self.server)
    }

    /// From now on, each command or transaction follows an ASKING.
    pub(super) fn prefix_with_asking(&mut self) {
        self.asking = true;
    }

    pub(crate) fn is_asking(&self) -> bool {
        self.asking
    }

    /// From now on, when the credentials have changed, the connection authenticates before its next
    /// command.
    pub(super) fn stay_logged_in(&mut self, renewal: Option<Renewal>) {
        self.renewal = renewal;
    }

    /// Sends a command and waits for its reply, in RESP2. An error reply is an error.
    ///
    /// After an error, or if this future is dropped, the connection must not be used any more: a
    /// late reply would be taken for the reply to the next command.
    pub(crate) async fn send_within(
        &mut self,
        limit: Duration,
        name: &'static str,
        key: &str,
        command: &Cmd,
    ) -> Result<Vec<u8>> {
        self.send_only_within(limit, name, command).await?;
        self.reply_within(limit, name, key).await
    }

    /// Sends a command without waiting for its reply, which [`RawConnection::reply_within`]
    /// returns.
    pub(crate) async fn send_only_within(
        &mut self,
        limit: Duration,
        name: &'static str,
        command: &Cmd,
    ) -> Result<()> {
        let mut bytes = Vec::new();
        command.write_packed_command(&mut bytes);
        self.write(&bytes, limit).await.map_err(|e| self.broken(name, limit, &e))
    }

    /// Waits for the reply to the command that was sent last.
    pub(crate) async fn reply_within(
        &mut self,
        limit: Duration,
        name: &'static str,
        key: &str,
    ) -> Result<Vec<u8>> {
        let reply = self.read(1, limit).await.map_err(|e| self.broken(name, limit, &e))?;
        if let [b'-', words @ ..] = reply.trim_ascii_end() {
            return Err(self.error(name, key, words));
        }
        Ok(reply)
    }

    /// Waits for the reply to the command that was sent last, or for a part of it. True if more
    /// parts follow, which [`RawConnection::next_part`] returns.
    pub(crate) async fn first_part(
        &mut self,
        limit: Duration,
        name: &'static str,
        key: &str,
        parts: Parts,
    ) -> Result<(Vec<u8>, bool)> {
        if self.asking {
            self.next_replies(1, limit).await.map_err(|e| self.broken(name, limit, &e))?;
        }
        let (reply, more) = self.part(limit, name, parts).await?;
        if let [b'-', words @ ..] = reply.trim_ascii_end() {
            return Err(self.error(name, key, words));
        }
        Ok((reply, more))
    }

    /// Waits for the next part of a reply.
    pub(crate) async fn next_part(
        &mut self,
        name: &'static str,
        parts: Parts,
    ) -> Result<(Vec<u8>, bool)> {
        self.part(ANSWER_LIMIT, name, parts).await
    }

    async fn part(
        &mut self,
        limit: Duration,
        name: &'static str,
        parts: Parts,
    ) -> Result<(Vec<u8>, bool)> {
        let part = self.next_in_parts(1, limit, Some(parts)).await;
        part.map_err(|e| self.broken(name, limit, &e))
    }

    /// Sends bytes and waits for `replies` replies.
    pub(super) async fn exchange_within(
        &mut self,
        limit: Duration,
        name: &'static str,
        commands: &[u8],
        replies: usize,
    ) -> Result<Vec<u8>> {
        let replies = match self.write(commands, ANSWER_LIMIT).await {
            Ok(()) => self.read(replies, limit).await,
            Err(error) => Err(error),
        };
        replies.map_err(|e| self.broken(name, limit, &e))
    }

    /// Makes an [`Error`] of an error reply.
    pub(super) fn error(&self, name: &'static str, key: &str, words: &[u8]) -> Error {
        Error::from_reply(name, key, &self.address, &String::from_utf8_lossy(words))
    }

    /// Sends a command that does not block, and waits for its reply.
    pub(crate) async fn send(
        &mut self,
        name: &'static str,
        key: &str,
        command: &Cmd,
    ) -> Result<Value> {
        let reply = self.send_within(ANSWER_LIMIT, name, key, command).await?;
        redis::parse_redis_value(&reply).map_err(|e| odd(name, &e.to_string()))
    }

    /// Resolves when an idle connection should be replaced: another server has taken over, or, with
    /// `also_when_ended`, the connection has ended or the server sends something. Nothing is lost
    /// if this future is dropped.
    pub(crate) async fn outdated(&mut self, also_when_ended: bool) {
        let Self { socket, buffer, server, .. } = self;
        tokio::select! {
            () = server.replaced() => {}
            // The result makes no difference.
            _ = socket.read_buf(buffer), if also_when_ended => {}
        }
    }

    async fn write(&mut self, commands: &[u8], limit: Duration) -> std::io::Result<()> {
        if let Some(auth) = self.renewal.as_mut().and_then(Renewal::due) {
            self.authenticate(&auth).await?;
        }
        if self.asking {
            self.write_bytes(b"*1\r\n$6\r\nASKING\r\n", limit).await?;
        }
        self.write_bytes(commands, limit).await
    }

    /// Writes all bytes, as long as the socket takes some of them within each `limit`. A slow link
    /// may take longer in total.
    async fn write_bytes(&mut self, mut bytes: &[u8], limit: Duration) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let written = within(limit, self.socket.write(bytes)).await?;
            if written == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[written..];
        }
        within(limit, self.socket.flush()).await
    }

    async fn read(&mut self, replies: usize, limit: Duration) -> std::io::Result<Vec<u8>> {
        if self.asking {
            self.next_replies(1, limit).await?;
        }
        self.next_replies(replies, limit).await
    }

    async fn authenticate(&mut self, auth: &Cmd) -> std::io::Result<()> {
        self.write_bytes(&auth.get_packed_command(), ANSWER_LIMIT).await?;
        let reply = self.next_replies(1, ANSWER_LIMIT).await?;
        if let ([b'-', words @ ..], Some(renewal)) = (reply.trim_ascii_end(), &self.renewal) {
            renewal.refused(&self.address, self.error("AUTH", "", words));
        }
        Ok(())
    }

    /// Reads until all replies are complete. The first bytes must come within `limit`, which may be
    /// long for a command that blocks. Each further part must come within [`ANSWER_LIMIT`].
    async fn next_replies(&mut self, count: usize, limit: Duration) -> std::io::Result<Vec<u8>> {
        Ok(self.next_in_parts(count, limit, None).await?.0)
    }

    /// The same, or a part of one reply. True if more parts follow.
    async fn next_in_parts(
        &mut self,
        count: usize,
        mut limit: Duration,
        parts: Option<Parts>,
    ) -> std::io::Result<(Vec<u8>, bool)> {
        let mut walk = Walk::new(count);
        loop {
            match walk.go_on(&self.buffer) {
                Ok(Some(end)) => {
                    self.before_first_reply = "";
                    let rest = self.buffer.split_off(end);
                    return Ok((std::mem::replace(&mut self.buffer, rest), false));
                }
                Ok(None) => {
                    if let Some(parts) = parts.filter(|parts| self.buffer.len() >= parts.from)
                        && let Some(part) = (parts.take)(&mut self.buffer)
                    {
                        return Ok((part, true));
                    }
                }
                Err(reason) => {
                    return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, reason));
                }
            }
            self.buffer.reserve(READ);
            if within(limit, self.socket.read_buf(&mut self.buffer)).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            limit = limit.min(ANSWER_LIMIT);
        }
    }

    fn broken(&self, name: &'static str, limit: Duration, error: &std::io::Error) -> Error {
        if error.kind() == std::io::ErrorKind::TimedOut {
            let address = self.address.clone();
            return Error::Timeout { command: name, address, after: limit };
        }
        if error.kind() == std::io::ErrorKind::InvalidData {
            return Error::no_reply(name, &self.address);
        }
        let reason = format!("{error}{}", self.before_first_reply);
        Error::Connection { address: self.address.clone(), reason }
    }
}

/// Time limits are for silence: a complete reply may take longer over a slow link.
async fn within<T>(
    limit: Duration,
    work: impl Future<Output = std::io::Result<T>>,
) -> std::io::Result<T> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

fn odd(command: &'static str, reason: &str) -> Error {
    Error::Protocol { command, reason: reason.to_owned() }
}
