//! Connections to Redis: settings, finding the server, dialling, one connection, backoff between
//! attempts.
//!
//! Everything above this module asks for a connection for a key and sends commands on it; how the
//! server is found (one address, a cluster's slots, a sentinel's answer) stays in here.

mod access;
mod backoff;
mod commands;
mod connection;
mod connector;
mod current_server;
mod dial;
mod identity;
mod pool;
mod race;
mod raw;
mod renewal;
mod resp;
mod sentinel;
mod settings;
mod slots;
mod subscriber;
mod transaction;

pub use access::{AskCredentials, CredentialsSource};
pub use backoff::Backoff;
pub use commands::{ANSWER_LIMIT, Commands};
pub use connection::Connection;
pub use connector::{Connector, KeyConnector, Target};
pub use current_server::ServerOf;
pub use dial::SEND_BUFFER;
#[cfg(test)]
pub(crate) use dial::{Dial, Socket};
#[cfg(any(test, fuzzing))]
pub(crate) use identity::parse_identity;
pub use identity::{Identity, identify, is_replica};
pub use pool::{Pool, RoutedCommands};
pub use raw::RawConnection;
pub use renewal::RENEWING;
pub use resp::{Odd, Values};
pub use settings::{Credentials, Kind, NodeSettings, SentinelSettings, Settings, TlsSettings};
pub use slots::Slots;
pub use subscriber::Subscriber;
pub use transaction::{Packed, Sent};

use redis::{Cmd, Value};

use super::error::Result;

/// Sends a command that does not block, and waits for its answer.
pub trait SendCommand {
    /// `key` is for the error's words.
    fn send_command(
        &mut self,
        name: &'static str,
        key: &str,
        command: &Cmd,
    ) -> impl Future<Output = Result<Value>> + Send;
}

impl SendCommand for Commands {
    async fn send_command(
        &mut self,
        name: &'static str,
        key: &str,
        command: &Cmd,
    ) -> Result<Value> {
        self.send(name, key, command).await
    }
}

impl SendCommand for Connection {
    async fn send_command(
        &mut self,
        name: &'static str,
        key: &str,
        command: &Cmd,
    ) -> Result<Value> {
        self.send(name, key, command).await
    }
}

impl SendCommand for RawConnection {
    async fn send_command(
        &mut self,
        name: &'static str,
        key: &str,
        command: &Cmd,
    ) -> Result<Value> {
        self.send(name, key, command).await
    }
}
