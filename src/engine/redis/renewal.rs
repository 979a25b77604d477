//! Authenticates an open connection again when the credentials change.

use std::future::pending;
use std::sync::Arc;

use redis::Cmd;
use tokio::sync::watch;

use super::{Commands, Credentials};
use crate::engine::error::Error;
use crate::engine::warnings::Warnings;

/// The task in warnings about new credentials. Each change of the credentials clears them.
pub(crate) const RENEWING: &str = "credentials";
/// The task in the warning of a password that is not needed. Nothing clears it.
pub(crate) const LOGIN: &str = "login";

/// The words with which a server, since Redis 6.0 or before, refuses a password when the user
/// `default` has none.
const NO_PASSWORD: [&str; 2] = ["without any password configured", "no password is set"];

/// The changes of the credentials, as one connection receives them.
pub(crate) struct Renewal {
    news: watch::Receiver<Option<Credentials>>,
    warnings: Arc<Warnings>,
}

impl Renewal {
    /// Must be made before the connection asks for its own credentials. Only later changes count as
    /// new.
    pub(crate) fn new(
        news: &watch::Receiver<Option<Credentials>>,
        warnings: &Arc<Warnings>,
    ) -> Self {
        let mut news = news.clone();
        news.mark_unchanged();
        Self { news, warnings: warnings.clone() }
    }

    /// The AUTH to send before the next command, if the credentials have changed.
    pub(crate) fn due(&mut self) -> Option<Cmd> {
        // An error means that the engine has ended.
        let has_changed = self.news.has_changed().unwrap_or(false);
        has_changed.then(|| self.news.borrow_and_update().as_ref().and_then(auth)).flatten()
    }

    /// Sends AUTH each time that the credentials change. For a connection that takes commands at
    /// any time.
    pub(crate) async fn keep(mut self, mut commands: Commands) {
        while self.news.changed().await.is_ok() {
            let auth = self.news.borrow_and_update().as_ref().and_then(auth);
            if let Some(auth) = auth
                && let Err(error) = commands.send("AUTH", "", &auth).await
            {
                self.refused(commands.address(), error);
            }
        }
        // The engine has ended, and the connection ends with it.
        pending().await
    }

    /// Warns of a refused AUTH. The connection keeps its old login, as long as the server allows
    /// it.
    pub(crate) fn refused(&self, address: &str, error: Error) {
        let error = refused_login(address, error);
        tracing::debug!("not authenticated again: {error}");
        // If the connection broke, its owner notices and connects again.
        if let Error::NeedlessPassword { .. } = error {
            self.warnings.warn(LOGIN, &error);
        } else if error.is_refusal() {
            self.warnings.warn(RENEWING, &error);
        }
    }
}

/// AUTH with these credentials; `None` if they have no password.
pub(crate) fn auth(credentials: &Credentials) -> Option<Cmd> {
    let password = credentials.password.as_ref()?;
    let mut command = redis::cmd("AUTH");
    command.arg(&credentials.username).arg(password);
    Some(command)
}

/// Turns a refused AUTH into [`Error::Auth`], whatever the server's message is, or into
/// [`Error::NeedlessPassword`]. Leaves other errors as they are.
pub(crate) fn refused_login(address: &str, error: Error) -> Error {
    match error {
        Error::Refused { reason, .. } if NO_PASSWORD.iter().any(|words| reason.contains(words)) => {
            Error::NeedlessPassword { address: address.to_owned() }
        }
        Error::Refused { reason, .. } => Error::Auth { address: address.to_owned(), reason },
        error => error,
    }
}
