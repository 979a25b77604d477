//! Authenticates a connection that stands again when the credentials change.

use std::future::pending;
use std::sync::Arc;

use redis::Cmd;
use tokio::sync::watch;

use super::{Commands, Credentials};
use crate::engine::error::Error;
use crate::engine::warnings::Warnings;

/// Names logins anew in warnings; cleared with each change of the credentials.
pub(crate) const RENEWING: &str = "credentials";

/// One connection's look-out for new credentials.
pub(crate) struct Renewal {
    news: watch::Receiver<Option<Credentials>>,
    warnings: Arc<Warnings>,
}

impl Renewal {
    /// To be made before the credentials for the connection are asked for: what changes from then
    /// on is news.
    pub(crate) fn new(
        news: &watch::Receiver<Option<Credentials>>,
        warnings: &Arc<Warnings>,
    ) -> Self {
        let mut news = news.clone();
        news.mark_unchanged();
        Self { news, warnings: warnings.clone() }
    }

    /// The AUTH to be sent before the next command, if the credentials have changed.
    pub(crate) fn due(&mut self) -> Option<Cmd> {
        // An error means that the engine has ended.
        let has_changed = self.news.has_changed().unwrap_or(false);
        has_changed.then(|| self.news.borrow_and_update().as_ref().and_then(auth)).flatten()
    }

    /// Sends AUTH whenever the credentials change, on a connection that takes commands at any time.
    pub(crate) async fn keep(mut self, mut commands: Commands) {
        while self.news.changed().await.is_ok() {
            let auth = self.news.borrow_and_update().as_ref().and_then(auth);
            if let Some(auth) = auth
                && let Err(error) = commands.send("AUTH", "", &auth).await
            {
                self.refused(commands.address(), error);
            }
        }
        // The engine has ended, and the connection will with it.
        pending().await
    }

    /// A refusal is said. The connection goes on as who it was, as long as the server lets it.
    pub(crate) fn refused(&self, address: &str, error: Error) {
        let error = refused_login(address, error);
        tracing::debug!("not authenticated again: {error}");
        // Whose connection breaks notices, and connects again.
        if error.is_refusal() {
            self.warnings.warn(RENEWING, &error);
        }
    }
}

/// AUTH with these credentials; `None` where there is nothing to log in with.
pub(crate) fn auth(credentials: &Credentials) -> Option<Cmd> {
    let password = credentials.password.as_ref()?;
    let mut command = redis::cmd("AUTH");
    command.arg(&credentials.username).arg(password);
    Some(command)
}

/// What AUTH is refused with, whatever words the server has for it.
pub(crate) fn refused_login(address: &str, error: Error) -> Error {
    match error {
        Error::Refused { reason, .. } => Error::Auth { address: address.to_owned(), reason },
        error => error,
    }
}
