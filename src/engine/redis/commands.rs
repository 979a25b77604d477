//! Commands on a connection that another object owns. Each command is sent at once and waits for
//! its answer.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisError, ServerError, Value};

use super::progress::Progress;
use crate::engine::address::Address;
use crate::engine::error::{Error, Result};

/// How long the server may take to answer a command that does not block.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct Commands {
    inner: MultiplexedConnection,
    address: Arc<str>,
    /// True if the server is taking over the key's slot. Each command, or transaction, then follows
    /// an ASKING.
    asking: bool,
    progress: Arc<Progress>,
}

impl Commands {
    /// `inner` leads to the server at `address`, over a socket that notes its `progress`.
    pub(super) fn new(
        inner: MultiplexedConnection,
        address: &Address,
        progress: Arc<Progress>,
    ) -> Self {
        Self { inner, address: address.to_string().into(), asking: false, progress }
    }

    /// From now on, each command or transaction follows an ASKING.
    pub(super) fn prefix_with_asking(&mut self) {
        self.asking = true;
    }

    /// Sends one command and waits for its answer, unless the connection makes no progress for 5 s.
    /// `key` only appears in error messages.
    pub(crate) async fn send(
        &mut self,
        name: &'static str,
        key: &str,
        command: &Cmd,
    ) -> Result<Value> {
        self.send_within(ANSWER_LIMIT, name, key, command).await
    }

    /// Like [`Commands::send`], with a time limit of its own, for commands that block.
    pub(crate) async fn send_within(
        &mut self,
        limit: Duration,
        name: &'static str,
        key: &str,
        command: &Cmd,
    ) -> Result<Value> {
        if self.asking {
            let answers = self.send_each(limit, name, key, slice::from_ref(command)).await?;
            return Ok(answers.into_iter().next().unwrap_or(Value::Nil));
        }
        let work = self.inner.send_packed_command(command);
        let answer = self.progress.limited(name, &self.address, limit, work).await?;
        answer
            .and_then(Value::extract_error)
            .map_err(|e| Error::from_redis(name, key, &self.address, &e))
    }

    /// Sends commands in one go. Returns their answers, or the first refusal.
    pub(crate) async fn send_each(
        &mut self,
        limit: Duration,
        name: &'static str,
        key: &str,
        commands: &[Cmd],
    ) -> Result<Vec<Value>> {
        self.send_many(limit, name, key, commands.iter().cloned()).await?.into_iter().collect()
    }

    /// Sends commands in one go. Returns the answer, or the refusal, of each.
    pub(crate) async fn send_many(
        &mut self,
        limit: Duration,
        name: &'static str,
        key: &str,
        commands: impl Iterator<Item = Cmd>,
    ) -> Result<Vec<Result<Value>>> {
        let mut pipeline = Pipeline::new();
        // Otherwise redis-rs wraps the server's message into its own.
        pipeline.ignore_errors();
        for command in commands {
            if self.asking {
                pipeline.cmd("ASKING").ignore();
            }
            pipeline.add_command(command);
        }
        let work = pipeline.query_async(&mut self.inner);
        let answers: Vec<Value> = self
            .progress
            .limited(name, &self.address, limit, work)
            .await?
            .map_err(|e| Error::from_redis(name, key, &self.address, &e))?;
        let sort = |answer| match answer {
            Value::ServerError(error) => Err(self.error_reply(name, key, error)),
            answer => Ok(answer),
        };
        Ok(answers.into_iter().map(sort).collect())
    }

    /// The server's address, for error messages.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Makes an [`Error`] of an error reply among a pipeline's answers.
    pub(crate) fn error_reply(&self, name: &'static str, key: &str, reply: ServerError) -> Error {
        Error::from_redis(name, key, &self.address, &RedisError::from(reply))
    }
}

/// Waits for `work` up to `limit`. Then it fails with [`Error::Timeout`] of `command` and the server
/// at `address`.
pub(super) async fn limited<T>(
    command: &'static str,
    address: &str,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T> {
    let address = || address.to_owned();
    let late = |_| Error::Timeout { command, address: address(), after: limit };
    tokio::time::timeout(limit, work).await.map_err(late)
}
