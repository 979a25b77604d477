//! One attempt at a restore, and what follows if Redis is away meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::restore::{DAMAGED, GONE, NO_OFFSET, Outcome, TRIMMED};
use super::restores::Restores;
use super::store::Store;
use super::trimmed::warn_if_too_short;
use super::{Restore, SessionJob};
use crate::engine::error::Error;
use crate::engine::event::{Answer, Notice};
use crate::engine::inbox::Inbox;
use crate::engine::stats::Stats;
use crate::engine::warnings::Warnings;
use crate::engine::wire::EntryId;

/// The time between two attempts.
const RETRY: Duration = Duration::from_millis(100);

/// How long a restore is tried while others make progress. socket.io's `connectTimeout` ends the
/// client's connection a little later.
pub(super) const LONGEST: Duration = Duration::from_secs(40);

/// Names restores in warnings.
const RESTORING: &str = "sessions, restores";

/// What an attempt needs of the session task.
pub(super) struct Attempt {
    pub(crate) restore: Restore,
    /// How long the restore is tried while Redis is away.
    pub(crate) patience: Duration,
    /// Until when other nodes may still save sessions that they could not save during an outage.
    pub(crate) others_may_save_until: Option<Instant>,
    pub(crate) store: Arc<Store>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) warnings: Arc<Warnings>,
    /// What all restores share.
    pub(crate) shared: Arc<Restores>,
    pub(crate) jobs: mpsc::WeakUnboundedSender<SessionJob>,
}

impl Attempt {
    /// Restores the session, or asks for another attempt if that may help.
    pub(crate) async fn run(self) {
        let Self { restore, patience, others_may_save_until, .. } = self;
        let Self { store, inbox, stats, warnings, shared, jobs, .. } = self;
        let mut taken = None;
        let work = async {
            let _place = shared.search().await;
            restore.run(&store, &shared, &mut taken).await
        };
        let result = shared.while_progressing(restore.asked, work).await;
        let error = match result {
            Ok(outcome) => {
                match outcome {
                    Outcome::Restored => {
                        shared.progressed();
                        stats.restores.add(1);
                        stats.restore_latency.add([restore.asked.elapsed()]);
                    }
                    Outcome::Owned(owner) => {
                        let result = Ok(Answer::Owned { owner });
                        inbox.push(Notice::Answered { call: restore.call, result });
                    }
                }
                enqueue(&jobs, SessionJob::Answered);
                return warnings.clear(RESTORING);
            }
            Err(error) => error,
        };
        if let Error::NotRestored(_) = error {
            tracing::debug!("{error}");
            warnings.clear(RESTORING);
            enqueue(&jobs, SessionJob::Answered);
        } else {
            // The session itself is valid: it goes back to Redis, where the next attempt finds it.
            if let Some(taken) = taken {
                enqueue(&jobs, SessionJob::Save(vec![taken]));
            }
            if error.is_refusal() {
                warnings.warn(RESTORING, &error);
            }
            if is_passing(&error) {
                enqueue(&jobs, SessionJob::Failed);
            }
        }
        let may_wait =
            shared.stuck_for(restore.asked) < patience && restore.asked.elapsed() < LONGEST;
        let may_come = matches!(error, Error::NotRestored(GONE))
            && others_may_save_until.is_some_and(|until| Instant::now() < until);
        if (is_passing(&error) || may_come) && may_wait {
            return try_again(restore, jobs).await;
        }
        stats.restores_refused.add(1);
        if matches!(error, Error::NotRestored(DAMAGED)) {
            stats.malformed.add(1);
        }
        let is_trimmed = matches!(error, Error::NotRestored(NO_OFFSET | TRIMMED));
        inbox.push(Notice::Answered { call: restore.call, result: Err(error) });
        if is_trimmed && restore.offset > EntryId::ZERO {
            warn_if_too_short(&restore, store.pool(), &warnings).await;
        }
    }
}

/// Whether a restore that failed with this error may work in a moment: Redis is away, does not
/// answer, loads its data or is full, or there are no valid credentials for it at present.
fn is_passing(error: &Error) -> bool {
    error.is_out_of_memory()
        || matches!(
            error,
            Error::Connection { .. }
                | Error::Auth { .. }
                | Error::Tls { .. }
                | Error::TurnedAway { .. }
                | Error::Provider { .. }
                | Error::Timeout { .. }
                | Error::Unavailable { .. }
                | Error::Moved { .. }
        )
}

/// Asks for a restore once more, a little later.
async fn try_again(restore: Restore, jobs: mpsc::WeakUnboundedSender<SessionJob>) {
    sleep(RETRY).await;
    enqueue(&jobs, SessionJob::Restore(restore));
}

/// The engine may have ended: then nobody waits for the job.
fn enqueue(jobs: &mpsc::WeakUnboundedSender<SessionJob>, job: SessionJob) {
    if let Some(jobs) = jobs.upgrade() {
        let _ = jobs.send(job);
    }
}
