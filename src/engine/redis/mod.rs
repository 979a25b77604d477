//! Connections to Redis: settings, finding the server, dialling, one connection, backoff between
//! attempts.
//!
//! The modules above this one ask for a connection for a key and send commands on it. Only this
//! module knows how the server is found: by one address, by a cluster's slots, or from a sentinel.

mod access;
mod backoff;
mod commands;
mod connection;
mod connector;
mod current_server;
mod dial;
mod identity;
mod pool;
mod progress;
mod push_connection;
mod race;
mod raw;
mod renewal;
mod replication;
mod resp;
mod sentinel;
mod sentinel_watch;
mod settings;
mod slots;
mod target;
mod told;
mod transaction;
mod unnamed;

pub(crate) use access::CredentialsSource;
pub(crate) use backoff::Backoff;
pub(crate) use commands::{ANSWER_LIMIT, Commands};
pub(crate) use connection::Connection;
pub(crate) use connector::{Connector, KeyConnector};
pub(crate) use current_server::ServerOf;
pub(crate) use dial::SEND_BUFFER;
#[cfg(test)]
pub(crate) use dial::{Attempts, Dial, Socket};
#[cfg(any(test, fuzzing))]
pub(crate) use identity::parse_identity;
pub(crate) use identity::{Identity, identify, knows_min_id};
pub(crate) use pool::{Group, GroupSent, Pool, RoutedCommands};
pub(crate) use push_connection::{ChannelCommand, Push, PushConnection};
pub(crate) use raw::{Parts, RawConnection};
pub(crate) use renewal::RENEWING;
pub(crate) use replication::{Replication, replication};
pub(crate) use resp::{Odd, Values, Walk};
pub(crate) use sentinel_watch::SentinelWatch;
pub(crate) use settings::{
    Credentials, Kind, NodeSettings, SentinelSettings, Settings, TlsSettings,
};
pub(crate) use slots::{Slots, hash_tag};
pub(crate) use target::Target;
pub(crate) use transaction::Packed;
#[cfg(any(test, fuzzing))]
pub(crate) use transaction::Sent;

use redis::{Cmd, Value};

use super::error::Result;

/// Sends a command that does not block, and waits for its answer.
pub(crate) trait SendCommand {
    /// `key` only appears in error messages.
    fn send_command(
        &mut self,
        name: &'static str,
        key: &str,
        command: &Cmd,
    ) -> impl Future<Output = Result<Value>> + Send;
}

/// Implements [`SendCommand`] by the method `send` of a type.
macro_rules! sends_commands {
    ($($type:ty),*) => {$(
        impl SendCommand for $type {
            async fn send_command(
                &mut self,
                name: &'static str,
                key: &str,
                command: &Cmd,
            ) -> Result<Value> {
                self.send(name, key, command).await
            }
        }
    )*};
}

sends_commands!(Commands, Connection, RawConnection);
