//! One connection: made by a [`Connector`], closed when dropped.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::aio::SendError;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, ProtocolVersion, PushInfo,
    RedisConnectionInfo, RedisError, ServerError, Value,
};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::{ANSWER_LIMIT, Credentials, RawConnection, Settings, dial};
use crate::engine::error::{Error, Result};

/// Asks JS for the credentials, for clients with a credentials provider.
pub type CredentialsSource =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Credentials>> + Send>> + Send + Sync>;

/// Makes connections as the settings say.
pub struct Connector {
    settings: Settings,
    tls: Option<TlsConnector>,
    credentials: Option<CredentialsSource>,
}

impl Connector {
    /// Reads certificates and keys; nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Settings`] when a certificate or key cannot be used.
    pub fn new(settings: Settings, credentials: Option<CredentialsSource>) -> Result<Self> {
        let tls = settings.tls.as_ref().map(dial::tls_connector).transpose()?;
        Ok(Self { settings, tls, credentials })
    }

    /// The settings that connections are made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A connection for commands, in RESP2.
    pub async fn connect(&self) -> Result<Connection> {
        self.open(ProtocolVersion::RESP2, None).await
    }

    /// A connection for PUB/SUB and commands, in RESP3: `on_push` is called with what is pushed,
    /// and told of the end of the connection. It must not block.
    pub async fn connect_push(
        &self,
        on_push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<Connection> {
        let on_push = Box::new(on_push);
        self.open(ProtocolVersion::RESP3, Some(on_push)).await
    }

    /// A connection whose replies are handed over as bytes, in RESP2.
    pub async fn connect_raw(&self) -> Result<RawConnection> {
        let credentials = self.credentials().await?;
        let socket = dial::dial(&self.settings, self.tls.as_ref()).await?;
        let mut connection = RawConnection::new(socket, self.settings.address());
        if let Some(password) = credentials.password {
            let mut auth = redis::cmd("AUTH");
            auth.arg(credentials.username).arg(password);
            connection.send("AUTH", "connection", &auth).await.map_err(|error| match error {
                Error::Refused { reason, .. } => {
                    Error::Auth { address: self.settings.address(), reason }
                }
                error => error,
            })?;
        }
        if self.settings.database != 0 {
            let mut select = redis::cmd("SELECT");
            select.arg(self.settings.database);
            connection.send("SELECT", "database", &select).await?;
        }
        if let Some(name) = &self.settings.client_name {
            let named = connection.send("CLIENT", name, &set_name(name)).await;
            ignore_refusal(named)?;
        }
        Ok(connection)
    }

    async fn credentials(&self) -> Result<Credentials> {
        match &self.credentials {
            Some(ask) => ask().await,
            None => Ok(self.settings.credentials.clone()),
        }
    }

    async fn open(
        &self,
        protocol: ProtocolVersion,
        on_push: Option<Box<dyn Fn(PushInfo) + Send + Sync>>,
    ) -> Result<Connection> {
        let address = self.settings.address();
        let credentials = self.credentials().await?;
        let mut info = RedisConnectionInfo::default()
            .set_db(self.settings.database)
            .set_protocol(protocol)
            .set_skip_set_lib_name();
        if let Some(username) = credentials.username {
            info = info.set_username(username);
        }
        if let Some(password) = credentials.password {
            info = info.set_password(password);
        }
        let socket = dial::dial(&self.settings, self.tls.as_ref()).await?;
        let mut config = AsyncConnectionConfig::new().set_response_timeout(None);
        if let Some(on_push) = on_push {
            config = config.set_push_sender(move |push| {
                on_push(push);
                Ok::<(), SendError>(())
            });
        }
        let handshake = MultiplexedConnection::new_with_config(&info, socket, config);
        let (connection, driver) = limited("HELLO", ANSWER_LIMIT, handshake)
            .await?
            .map_err(|e| handshake_error(&address, &e))?;
        let commands = Commands { inner: connection, address: address.into() };
        let mut connection = Connection { commands, driver: tokio::spawn(driver) };
        if let Some(name) = &self.settings.client_name {
            let named = connection.send("CLIENT", name, &set_name(name)).await;
            ignore_refusal(named)?;
        }
        Ok(connection)
    }
}

fn set_name(name: &str) -> Cmd {
    let mut command = redis::cmd("CLIENT");
    command.arg("SETNAME").arg(name);
    command
}

/// A connection's name only helps humans: servers that forbid CLIENT do not matter.
fn ignore_refusal(named: Result<Value>) -> Result<()> {
    match named {
        Err(error) if !error.connection_survives() => Err(error),
        Err(error) => {
            tracing::debug!("connection not named: {error}");
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

/// An open connection. The socket closes when this is dropped, whatever is on its way.
pub struct Connection {
    commands: Commands,
    driver: JoinHandle<()>,
}

impl Connection {
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

    /// Sends commands as one transaction: their answers, or the first refusal. Where MULTI itself
    /// is refused, each answer is for itself.
    pub async fn send_transaction(
        &mut self,
        limit: Duration,
        name: &'static str,
        key: &str,
        commands: Vec<Cmd>,
    ) -> Result<Transaction> {
        let count = commands.len();
        let mut pipeline = Pipeline::with_capacity(count + 2);
        pipeline.ignore_errors();
        if count > 1 {
            pipeline.cmd("MULTI");
        }
        for command in commands {
            pipeline.add_command(command);
        }
        if count > 1 {
            pipeline.cmd("EXEC");
        }
        let mut answers = self.send_all_within(limit, name, key, &pipeline).await?;
        if count <= 1 {
            return Ok(Transaction { answers, not_as_one: None });
        }
        let executed = answers.pop();
        let begun = answers.remove(0);
        if let Value::ServerError(error) = begun {
            // Without MULTI the commands were executed as they came, each for itself.
            let error = self.error_reply("MULTI", key, error);
            return Ok(Transaction { answers, not_as_one: Some(error) });
        }
        for answer in &answers {
            if let Value::ServerError(error) = answer {
                return Err(self.error_reply(name, key, error.clone()));
            }
        }
        match executed {
            Some(Value::Array(answers)) => Ok(Transaction { answers, not_as_one: None }),
            Some(Value::ServerError(error)) => Err(self.error_reply("EXEC", key, error)),
            _ => Err(Error::Protocol { command: "EXEC", reason: "no array".to_owned() }),
        }
    }

    /// Sorts an error reply that stood among a pipeline's answers.
    pub fn error_reply(&self, name: &'static str, key: &str, reply: ServerError) -> Error {
        Error::from_redis(name, key, &self.address, &RedisError::from(reply))
    }
}

/// What became of a transaction.
pub struct Transaction {
    /// One for each command; may be [`Value::ServerError`].
    pub answers: Vec<Value>,
    /// Set when Redis refused MULTI: each command was executed, or refused, for itself.
    pub not_as_one: Option<Error>,
}

async fn limited<T>(
    command: &'static str,
    limit: Duration,
    work: impl Future<Output = T>,
) -> Result<T> {
    tokio::time::timeout(limit, work).await.map_err(|_| Error::Timeout { command, after: limit })
}

/// Errors of the first commands: HELLO, AUTH and SELECT.
fn handshake_error(address: &str, error: &RedisError) -> Error {
    let words = error.to_string();
    let refused_login = ["WRONGPASS", "NOAUTH", "invalid password", "no password is set"]
        .iter()
        .any(|sign| words.contains(sign));
    match error.kind() {
        _ if words.contains("max number of clients") => {
            Error::Connection { address: address.to_owned(), reason: words }
        }
        ErrorKind::AuthenticationFailed => {
            Error::Auth { address: address.to_owned(), reason: words }
        }
        _ if refused_login => Error::Auth { address: address.to_owned(), reason: words },
        ErrorKind::RESP3NotSupported => Error::from_redis(
            "HELLO",
            "connection",
            address,
            &RedisError::from((ErrorKind::Extension, "ERR", "unknown command 'HELLO'".to_owned())),
        ),
        _ if words.contains("select") => Error::from_redis("SELECT", "database", address, error),
        _ => Error::from_redis("HELLO", "connection", address, error),
    }
}
