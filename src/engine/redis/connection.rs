//! A connection that a [`super::Connector`] makes, and that closes when it is dropped.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use tokio::task::JoinHandle;

use super::commands::Commands;
use super::current_server::ServerOf;
use super::progress::Progress;
use super::renewal::Renewal;
use crate::engine::address::Address;

/// An open connection. Dropping it closes the socket, even if answers are still missing.
pub(crate) struct Connection {
    commands: Commands,
    driver: JoinHandle<()>,
    /// Authenticates again when the credentials change.
    renewals: Option<JoinHandle<()>>,
    server: ServerOf,
}

impl Connection {
    /// Spawns `driver`, which moves the bytes of the connection and notes its `progress`.
    pub(super) fn new(
        inner: MultiplexedConnection,
        driver: impl Future<Output = ()> + Send + 'static,
        address: &Address,
        progress: Arc<Progress>,
    ) -> Self {
        let commands = Commands::new(inner, address, progress);
        let driver = tokio::spawn(driver);
        Self { commands, driver, renewals: None, server: ServerOf::default() }
    }

    /// From now on, the connection authenticates again when the credentials change.
    pub(super) fn stay_logged_in(&mut self, renewal: Option<Renewal>) {
        let commands = &self.commands;
        self.renewals = renewal.map(|renewal| tokio::spawn(renewal.keep(commands.clone())));
    }

    /// False if the connection has broken or another server has taken over.
    pub(crate) fn is_open(&self) -> bool {
        !self.driver.is_finished() && self.server.is_current()
    }

    /// Sets the server that the connection leads to.
    pub(super) fn leads_to(&mut self, server: ServerOf) {
        self.server = server;
    }

    /// A handle that sends commands while another object owns the connection. It does not keep the
    /// socket open: commands fail once the connection is dropped.
    pub(crate) fn commands(&self) -> Commands {
        self.commands.clone()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
        if let Some(renewals) = &self.renewals {
            renewals.abort();
        }
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
