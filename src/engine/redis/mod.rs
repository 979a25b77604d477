//! Connections to Redis: settings, finding the server, dialling, one connection, backoff between
//! attempts.
//!
//! Everything above this module asks for a connection for a key and sends commands on it; how the
//! server is found (one address, a cluster's slots, a sentinel's answer) stays in here.

mod access;
mod address;
mod backoff;
mod connection;
mod connector;
mod dial;
mod identity;
mod pool;
mod raw;
mod renewal;
mod sentinel;
mod settings;
mod slots;
mod subscriber;
mod transaction;

pub use access::{AskCredentials, CredentialsSource};
pub use address::Address;
pub use backoff::Backoff;
pub use connection::{Commands, Connection};
pub use connector::{Connector, Place, Route};
#[cfg(any(test, fuzzing))]
pub(crate) use identity::parse_identity;
pub use identity::{Identity, identify};
pub use pool::{Home, Pool};
pub use raw::{RawConnection, digits, line_at, number};
pub use renewal::RENEWING;
pub use settings::{Credentials, Kind, NodeSettings, SentinelSettings, Settings, TlsSettings};
pub use slots::Slots;
pub use subscriber::Subscriber;
pub use transaction::{Packed, Sent};

use std::time::Duration;

use redis::{Cmd, Value};

use super::error::Result;

/// Sends a command that does not block, and waits for its answer.
pub trait Ask {
    /// `key` is for the error's words.
    fn ask(
        &mut self,
        name: &'static str,
        key: &str,
        command: &Cmd,
    ) -> impl Future<Output = Result<Value>> + Send;
}

impl Ask for Commands {
    async fn ask(&mut self, name: &'static str, key: &str, command: &Cmd) -> Result<Value> {
        self.send(name, key, command).await
    }
}

impl Ask for Connection {
    async fn ask(&mut self, name: &'static str, key: &str, command: &Cmd) -> Result<Value> {
        self.send(name, key, command).await
    }
}

impl Ask for RawConnection {
    async fn ask(&mut self, name: &'static str, key: &str, command: &Cmd) -> Result<Value> {
        self.send(name, key, command).await
    }
}

/// How long the server may take to answer a command that does not block.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(5);
