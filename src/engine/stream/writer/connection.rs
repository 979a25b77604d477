//! The writer's connection: how it is made, what a new one changes, and when it is given up.

use tokio::time::Instant;

use super::Writer;
use crate::engine::error::{Error, Result};
use crate::engine::redis::{Identity, RawConnection, identify};

/// Cause of warnings about commands that name the connection.
const IDENTIFYING: &str = "writer, CLIENT INFO and INFO";

impl Writer {
    /// Connects if there is no connection. Publishes fail at once for a while after a refusal.
    pub(super) async fn ensure_connection(&mut self) -> Result<()> {
        if self.connection.is_some() {
            return Ok(());
        }
        self.stream.writer_health.lost();
        if let Some((until, error)) = &self.refused_until
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        let mut connection = match self.route.connect_raw().await {
            Ok(connection) => connection,
            Err(error) => return Err(self.not_connected(error)),
        };
        let identity = match identify(&mut connection).await {
            Ok(identity) => {
                self.warnings.clear(IDENTIFYING);
                Some(identity)
            }
            Err(error @ (Error::Refused { .. } | Error::Protocol { .. })) => {
                self.warnings.warn(IDENTIFYING, &error);
                None
            }
            Err(error) => return Err(self.not_connected(error)),
        };
        if self.is_unread() && !self.knows_start {
            if let Err(error) = self.find_start(&mut connection).await {
                return Err(self.not_connected(error));
            }
            self.knows_start = true;
        }
        self.stream.writer_health.connected(&self.stats, &self.inbox);
        self.refused_until = None;
        let run_id = identity.as_ref().map(|identity| identity.run_id.clone());
        let last_run_id = std::mem::replace(&mut self.run_id, run_id);
        let is_another = last_run_id.is_some() && last_run_id != self.run_id;
        if is_another || self.run_id.is_none() {
            // Another server may have another clock, or a stream of lower IDs.
            self.ages.forget();
            self.trim_before = None;
        }
        self.knows_min_id = None;
        if is_another && connection.server().run_id().is_none() {
            // In a cluster, the reader may still wait for a reply from a server that hangs.
            self.stream.restart_reader.notify_one();
        }
        self.connection = Some((connection, identity));
        Ok(())
    }

    /// If the connection was refused, publishes fail at once until it is time to try again.
    fn not_connected(&mut self, error: Error) -> Error {
        if error.is_refusal() {
            let until = Instant::now() + self.backoff.delay();
            self.refused_until = Some((until, error.clone()));
        }
        error
    }

    pub(super) fn drop_connection(&mut self) {
        self.connection = None;
        self.look = None;
        self.stream.writer_health.lost();
    }

    pub(super) fn connection(&mut self) -> Result<&mut RawConnection> {
        self.connection.as_mut().map(|(connection, _)| connection).ok_or(Error::Closed)
    }
}

/// Resolves when an idle connection should be replaced, so that the next batch does not get in
/// doubt on it.
pub(super) async fn outdated(
    connection: &mut Option<(RawConnection, Option<Identity>)>,
    also_when_ended: bool,
) {
    match connection {
        Some((connection, _)) => connection.outdated(also_when_ended).await,
        None => std::future::pending().await,
    }
}
