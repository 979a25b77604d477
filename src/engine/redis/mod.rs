//! Connections to Redis: settings, dialling, one connection, backoff between attempts.
//!
//! Everything above this module asks a [`Connector`] for a [`Connection`] and sends commands on
//! it; how the server is found (one address today, a cluster's slot or a sentinel's answer later)
//! stays in here.

mod backoff;
mod connection;
mod dial;
mod settings;

pub use backoff::Backoff;
pub use connection::{Commands, Connection, Connector, CredentialsSource, Transaction};
pub use settings::{Credentials, Settings, TlsSettings};
