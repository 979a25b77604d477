//! Connections to Redis: settings, dialling, one connection, backoff between attempts.
//!
//! Everything above this module asks a [`Connector`] for a [`Connection`] and sends commands on
//! it; how the server is found (one address today, a cluster's slot or a sentinel's answer later)
//! stays in here.

mod backoff;
mod connection;
mod dial;
mod identity;
mod raw;
mod settings;

pub use backoff::Backoff;
pub use connection::{Commands, Connection, Connector, CredentialsSource, Transaction};
pub use identity::{Identity, identify};
pub use raw::{RawConnection, line_at, number};
pub use settings::{Credentials, Settings, TlsSettings};

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

impl Ask for RawConnection {
    async fn ask(&mut self, name: &'static str, key: &str, command: &Cmd) -> Result<Value> {
        self.send(name, key, command).await
    }
}

/// How long the server may take to answer a command that does not block.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(5);
