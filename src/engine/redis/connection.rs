//! One connection: made by a [`super::Connector`], closed when dropped.

use std::future::Future;
use std::ops::{Deref, DerefMut};

use redis::aio::MultiplexedConnection;
use tokio::task::JoinHandle;

use super::commands::Commands;
use super::current_server::ServerOf;
use super::renewal::Renewal;
use crate::engine::address::Address;

/// An open connection. The socket closes when this is dropped, whatever is on its way.
pub(crate) struct Connection {
    commands: Commands,
    driver: JoinHandle<()>,
    server: ServerOf,
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
        let commands = Commands::new(inner, address, asking);
        let driver = match renewal {
            None => tokio::spawn(driver),
            Some(renewal) => {
                let renewals = renewal.keep(commands.clone());
                tokio::spawn(async move {
                    tokio::select! { () = driver => {} () = renewals => {} }
                })
            }
        };
        Self { commands, driver, server: ServerOf::default() }
    }

    /// False when the connection has broken, or another server has taken over.
    pub(crate) fn is_open(&self) -> bool {
        !self.driver.is_finished() && self.server.is_current()
    }

    /// The server that it leads to is this one.
    pub(super) fn leads_to(&mut self, server: ServerOf) {
        self.server = server;
    }

    /// The server that it leads to.
    pub(crate) fn server(&mut self) -> &mut ServerOf {
        &mut self.server
    }

    /// A handle for sending commands while the connection is owned elsewhere. It does not keep the
    /// socket open: commands fail once the connection was dropped.
    pub(crate) fn commands(&self) -> Commands {
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
