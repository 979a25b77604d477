//! Opens the socket to one server and logs in.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, Value};
use tokio::sync::watch;
use tokio::time::timeout;

use super::commands::limited;
use super::dial::{Dial, IS_IT_TLS, Socket};
use super::progress::{Progress, Watched};
use super::renewal::{LOGIN, Renewal, auth, refused_login};
use super::{
    ANSWER_LIMIT, Connection, Credentials, NodeSettings, RawConnection, SentinelSettings, Settings,
};
use crate::engine::address::Address;
use crate::engine::error::{Error, Result};
use crate::engine::warnings::Warnings;

/// Asks JS for the credentials.
pub(crate) type AskCredentials =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Credentials>> + Send>> + Send + Sync>;

/// Credentials from the client's credentials provider.
pub(crate) struct CredentialsSource {
    /// Called at each connect.
    pub(crate) ask: AskCredentials,
    /// Changes when open connections must authenticate again.
    pub(crate) renewed: watch::Receiver<Option<Credentials>>,
}

/// Added to the error if a connection without TLS ends before the server has replied.
const IS_IT_PLAIN: &str = " before the first reply (does this port expect TLS? Then use `rediss://`, or `tls` in the settings)";

/// What is needed to connect and log in to servers of one kind: those that hold the data, or the
/// sentinels.
pub(crate) struct Access {
    dialer: Arc<dyn Dial>,
    has_tls: bool,
    credentials: Credentials,
    /// Credentials of servers that have their own.
    own_credentials: HashMap<Address, Credentials>,
    source: Option<CredentialsSource>,
    warnings: Arc<Warnings>,
    database: i64,
    client_name: Option<String>,
    connect_timeout: Duration,
}

impl Access {
    /// Access to the servers that hold the data. Does not connect yet.
    pub(crate) fn to_data(
        settings: &Settings,
        dialer: Arc<dyn Dial>,
        source: Option<CredentialsSource>,
        warnings: Arc<Warnings>,
    ) -> Self {
        Self {
            dialer,
            has_tls: settings.tls.is_some(),
            credentials: settings.credentials.clone(),
            own_credentials: own_credentials(&settings.nodes),
            source,
            warnings,
            database: settings.database,
            client_name: settings.client_name.clone(),
            connect_timeout: settings.connect_timeout(),
        }
    }

    /// Access to the sentinels. Does not connect yet.
    pub(crate) fn to_sentinels(
        settings: &Settings,
        sentinel: &SentinelSettings,
        dialer: Arc<dyn Dial>,
        warnings: Arc<Warnings>,
    ) -> Self {
        Self {
            dialer,
            has_tls: sentinel.tls.is_some(),
            credentials: sentinel.credentials.clone(),
            own_credentials: own_credentials(&sentinel.nodes),
            source: None,
            warnings,
            database: 0,
            client_name: settings.client_name.clone(),
            connect_timeout: settings.connect_timeout(),
        }
    }

    /// A connection for commands, in RESP2. With `asking`, each command follows an ASKING.
    pub(crate) async fn open(&self, address: &Address, asking: bool) -> Result<Connection> {
        let renewal = self.renewal();
        let credentials = self.credentials(address).await?;
        // The login and the database come later, since redis-rs does not tell what the server has
        // replied to them.
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        let progress = Progress::new();
        let socket = Watched::new(self.dial(address).await?, &progress, true);
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let at = address.to_string();
        let handshake = MultiplexedConnection::new_with_config(&info, socket, config);
        let (connection, driver) = limited("HELLO", &at, ANSWER_LIMIT, handshake)
            .await?
            .map_err(|e| Error::from_redis("HELLO", "", &at, &e))?;
        let mut connection = Connection::new(connection, driver, address, progress);
        if let Some(auth) = auth(&credentials) {
            let login = connection.send("AUTH", "", &auth).await;
            self.logged_in(&at, login.map_err(|error| self.explain_silence(error)))?;
        }
        if self.database != 0 {
            connection.send("SELECT", "", &select(self.database)).await?;
        }
        if let Some(name) = &self.client_name {
            let named = connection.send("CLIENT", name, &set_name(name)).await;
            ignore_refusal(named)?;
        }
        connection.stay_logged_in(renewal);
        if asking {
            connection.prefix_with_asking();
        }
        Ok(connection)
    }

    /// A connection that returns replies as bytes, in RESP2.
    pub(crate) async fn open_raw(&self, address: &Address, asking: bool) -> Result<RawConnection> {
        let renewal = self.renewal();
        let credentials = self.credentials(address).await?;
        let socket = self.dial(address).await?;
        let mut connection = RawConnection::new(socket, address.to_string());
        if !self.has_tls {
            connection.explain_silence(IS_IT_PLAIN);
        }
        if let Some(auth) = auth(&credentials) {
            let login = connection.send("AUTH", "", &auth).await;
            self.logged_in(&address.to_string(), login)?;
        }
        if self.database != 0 {
            connection.send("SELECT", "", &select(self.database)).await?;
        }
        if let Some(name) = &self.client_name {
            let named = connection.send("CLIENT", name, &set_name(name)).await;
            ignore_refusal(named)?;
        }
        if asking {
            connection.prefix_with_asking();
        }
        connection.stay_logged_in(renewal);
        Ok(connection)
    }

    /// What `open` gives. If that is an error, the next attempt begins with another address of the
    /// host name.
    pub(crate) async fn attempt<T>(&self, open: impl Future<Output = Result<T>>) -> Result<T> {
        let attempts = self.dialer.attempts();
        let number = attempts.number();
        let opened = open.await;
        if opened.is_err() {
            attempts.failed(number);
        }
        opened
    }

    async fn dial(&self, address: &Address) -> Result<Box<dyn Socket>> {
        let dialled = timeout(self.connect_timeout, self.dialer.dial(address));
        dialled.await.unwrap_or_else(|_| {
            let limit = self.connect_timeout.as_millis();
            let reason = if self.has_tls {
                format!("no answer, or none to the TLS handshake, within {limit} ms ({IS_IT_TLS})")
            } else {
                format!("no answer within {limit} ms")
            };
            Err(Error::Connection { address: address.to_string(), reason })
        })
    }

    fn renewal(&self) -> Option<Renewal> {
        self.source.as_ref().map(|source| Renewal::new(&source.renewed, &self.warnings))
    }

    async fn credentials(&self, address: &Address) -> Result<Credentials> {
        match &self.source {
            Some(source) => (source.ask)().await,
            None => {
                let own = self.own_credentials.get(address);
                Ok(own.unwrap_or(&self.credentials).clone())
            }
        }
    }

    /// Checks the reply to AUTH. A password that the server does not ask for is no obstacle: clients
    /// connect as well.
    fn logged_in(&self, address: &str, login: Result<Value>) -> Result<()> {
        match login.map_err(|error| refused_login(address, error)) {
            Err(needless @ Error::NeedlessPassword { .. }) => {
                self.warnings.warn(LOGIN, &needless);
                Ok(())
            }
            login => login.map(drop),
        }
    }

    /// Adds advice if a connection ended before its first reply.
    fn explain_silence(&self, error: Error) -> Error {
        match error {
            Error::Connection { address, reason } if !self.has_tls => {
                Error::Connection { address, reason: reason + IS_IT_PLAIN }
            }
            error => error,
        }
    }
}

fn own_credentials(nodes: &[NodeSettings]) -> HashMap<Address, Credentials> {
    let own = nodes.iter().filter(|node| node.credentials.password.is_some());
    own.map(|node| (node.address(), node.credentials.clone())).collect()
}

fn set_name(name: &str) -> Cmd {
    let mut command = redis::cmd("CLIENT");
    command.arg("SETNAME").arg(name);
    command
}

/// A connection's name only helps humans, so a server may refuse CLIENT SETNAME.
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

fn select(database: i64) -> Cmd {
    let mut command = redis::cmd("SELECT");
    command.arg(database);
    command
}
