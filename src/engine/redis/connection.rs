//! One connection: made by a [`super::Connector`], closed when dropped.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, RedisError, ServerError, Value};
use tokio::task::JoinHandle;

use super::renewal::Renewal;
use super::{ANSWER_LIMIT, Address};
use crate::engine::error::{Error, Result};

/// An open connection. The socket closes when this is dropped, whatever is on its way.
pub struct Connection {
    commands: Commands,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Owns what drives the connection. With `asking` each command follows an ASKING; with
    /// `renewal` it is authenticated again when the credentials change.
    pub(super) fn new(
        inner: MultiplexedConnection,
        driver: impl Future<Output = ()> + Send + 'static,
        address: &Address,
        asking: bool,
        renewal: Option<Renewal>,
    ) -> Self {
        let commands = Commands { inner, address: address.to_string().into(), asking };
        let driver = match renewal {
            None => tokio::spawn(driver),
            Some(renewal) => {
                let renewals = renewal.keep(commands.clone());
                tokio::spawn(async move {
                    tokio::select! { () = driver => {} () = renewals => {} }
                })
            }
        };
        Self { commands, driver }
    }

    /// False when the connection has broken.
    pub fn is_open(&self) -> bool {
        !self.driver.is_finished()
    }

    /// A handle for sending commands while the connection is owned elsewhere. It does not keep the
    /// socket open: commands fail once the connection was dropped.
    pub fn commands(&self) -> Commands {
        self.commands.clone()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Deref for Connection {
    type Target = Commands;

    fn deref(&self) -> &Commands {
        &self.commands
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Commands {
        &mut self.commands
    }
}

/// Sends commands on a connection and waits for their answers.
#[derive(Clone)]
pub struct Commands {
    inner: MultiplexedConnection,
    address: Arc<str>,
    /// Set on a node that takes over the key's slot: each command, or transaction, follows an
    /// ASKING.
    asking: bool,
}

impl Commands {
    /// Sends one command and waits for its answer, at most 5 s. `key` is for the error's words.
    pub async fn send(&mut self, name: &'static str, key: &str, command: &Cmd) -> Result<Value> {
        self.send_within(ANSWER_LIMIT, name, key, command).await
    }

    /// The same with a time limit of its own, for commands that block.
    pub async fn send_within(
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
        let answer = limited(name, limit, self.inner.send_packed_command(command)).await?;
        answer
            .and_then(Value::extract_error)
            .map_err(|e| Error::from_redis(name, key, &self.address, &e))
    }

    /// Sends a pipeline and waits for all answers. With [`Pipeline::ignore_errors`] single error
    /// replies are [`Value::ServerError`]s among the answers.
    pub async fn send_all(
        &mut self,
        name: &'static str,
        key: &str,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>> {
        self.send_all_within(ANSWER_LIMIT, name, key, pipeline).await
    }

    async fn send_all_within(
        &mut self,
        limit: Duration,
        name: &'static str,
        key: &str,
        pipeline: &Pipeline,
    ) -> Result<Vec<Value>> {
        let answers = limited(name, limit, pipeline.query_async(&mut self.inner));
        answers.await?.map_err(|e| Error::from_redis(name, key, &self.address, &e))
    }

    /// Sends commands in one go: their answers, or the first refusal.
    pub async fn send_each(
        &mut self,
        limit: Duration,
        name: &'static str,
        key: &str,
        commands: &[Cmd],
    ) -> Result<Vec<Value>> {
        let mut pipeline = Pipeline::with_capacity(2 * commands.len());
        // Or the server's words were wrapped into others.
        pipeline.ignore_errors();
        for command in commands {
            if self.asking {
                pipeline.cmd("ASKING").ignore();
            }
            pipeline.add_command(command.clone());
        }
        let answers = self.send_all_within(limit, name, key, &pipeline).await?;
        let sort = |answer| match answer {
            Value::ServerError(error) => Err(self.error_reply(name, key, error)),
            answer => Ok(answer),
        };
        answers.into_iter().map(sort).collect()
    }

    /// The server's address, for messages.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sorts an error reply that stood among a pipeline's answers.
    pub fn error_reply(&self, name: &'static str, key: &str, reply: ServerError) -> Error {
        Error::from_redis(name, key, &self.address, &RedisError::from(reply))
    }
}

pub(super) async fn limited<T>(
    command: &'static str,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T> {
    tokio::time::timeout(limit, work).await.map_err(|_| Error::Timeout { command, after: limit })
}
