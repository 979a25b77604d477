//! Sessions of connection state recovery: saved as keys in Redis, and restored with the packets
//! that the client missed.
//!
//! A restore happens at one position of the stream: the client has missed the entries up to it, and
//! gets later ones live. The answer's place in the inbox separates the two. The task saves many
//! sessions at a time, beside restores: all clients of a node may disconnect at once.

mod alive;
mod attempt;
mod commands;
mod doubles;
mod doubt;
mod expiry;
mod index;
mod keys;
mod lanes;
mod pages;
mod record;
mod restore;
mod restores;
mod retries;
mod save;
mod saving;
mod store;
mod unsaved;
#[cfg(test)]
mod tests;
mod together;
mod trimmed;
mod waits;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::instrument::WithSubscriber;

use super::event::{Answer, CallId, Notice};
use super::inbox::Inbox;
use super::namespaces::Namespaces;
use super::options::Options;
use super::redis::{Connector, Pool};
use super::stats::{Reconnected, Stats};
use super::warnings::Warnings;

/// How long one restore may take with all its attempts. The client waits for its connection
/// meanwhile: without Redis it would get no packets anyway, and a client that starts anew never
/// gets the packets that it missed.
const RESTORE_LIMIT: Duration = Duration::from_secs(10);
/// The same if Redis has already been away for longer than `RESTORE_LIMIT`. It is longer than the
/// pause between two attempts to connect.
const SHORT_LIMIT: Duration = Duration::from_secs(3);
/// For how long after this node has reached Redis again others may still be about to: sessions that
/// they could not save meanwhile come within this time.
const GRACE: Duration = Duration::from_secs(3);

use alive::Alive;
use attempt::Attempt;
use doubt::Doubt;
use expiry::Expiry;
pub(crate) use keys::SessionKeys;
use lanes::Lanes;
pub(crate) use record::Generation;
pub(crate) use restore::{Gone, Restore};
use restores::Restores;
pub(crate) use save::{LiveSession, Save, What};
use saving::next_saves;
use store::Store;
use together::Saved;
use unsaved::Unsaved;
use waits::Waiting;

/// Replaces a session's key in errors: the key holds the session ID, which is the client's secret.
const KEY_IN_WORDS: &str = "session keys (`sessionKeyPrefix`)";

/// What the session task is asked to do.
enum SessionJob {
    Save(Vec<Save>),
    Restore(Restore),
    /// Answers the call when the session with this key is in Redis.
    Wait {
        key: String,
        call: CallId,
    },
    /// A restore has failed because of Redis.
    Failed,
    /// Redis has answered a restore.
    Answered,
    Stop {
        done: oneshot::Sender<()>,
    },
}

/// Gives jobs to the session task; callers never wait.
pub(crate) struct Sessions {
    jobs: mpsc::UnboundedSender<SessionJob>,
    /// How many sessions were saved.
    saved: watch::Receiver<u64>,
    /// How many sessions of clients that have gone are not in Redis yet.
    unsaved: Arc<AtomicU64>,
}

/// Saves that are under way.
type Saves = FuturesUnordered<BoxFuture<'static, Vec<Saved>>>;

/// The task behind [`Sessions`].
pub(crate) struct SessionTask {
    store: Arc<Store>,
    inbox: Arc<Inbox>,
    stats: Arc<Stats>,
    warnings: Arc<Warnings>,
    jobs: mpsc::UnboundedReceiver<SessionJob>,
    /// Since when Redis has been away.
    away_since: Option<Instant>,
    unsaved: Unsaved,
    saving: Saves,
    /// How many were saved.
    saved: watch::Sender<u64>,
    /// When one was last saved.
    saved_at: Instant,
    /// The size from which on sessions are too large, and until when that is taken for granted.
    too_large: Option<(usize, Instant)>,
    /// Restores, and signs of life.
    tasks: JoinSet<()>,
    /// What the restores share.
    shared: Arc<Restores>,
    own_jobs: mpsc::WeakUnboundedSender<SessionJob>,
    alive: Alive,
    expiry: Expiry,
    doubt: Doubt,
    reconnected: watch::Receiver<Reconnected>,
}

impl Sessions {
    /// Makes both sides; nothing is connected before the first job. `uid` is the node's.
    pub(crate) fn new(
        uid: &Arc<str>,
        options: &Options,
        connector: Arc<Connector>,
        inbox: Arc<Inbox>,
        stats: Arc<Stats>,
        warnings: Arc<Warnings>,
        namespaces: Arc<Namespaces>,
    ) -> (Self, SessionTask) {
        let (sender, jobs) = mpsc::unbounded_channel();
        let backoff = connector.backoff();
        let prefix = connector.settings().key(&options.session_key_prefix);
        let of = connector.clone();
        let lanes = Lanes::new(Box::new(move |key| of.known_target(key)));
        let pool = Pool::new(connector);
        let (live, said) = (options.live_sessions, warnings.clone());
        let tells_expired = options.expired_sessions;
        let store = Arc::new(Store::new(pool, prefix, uid.clone(), live, tells_expired, said));
        let (interval, silence) = (options.heartbeat_interval(), options.heartbeat_timeout());
        let shared = Restores::new(inbox.clone());
        let reconnected = stats.reconnects.subscribe();
        let task = SessionTask {
            alive: Alive::new(store.clone(), interval, silence),
            expiry: Expiry::new(store.clone(), namespaces, inbox.clone(), interval, silence),
            doubt: Doubt::new(store.clone()),
            store,
            inbox,
            stats,
            warnings,
            jobs,
            away_since: None,
            unsaved: Unsaved::new(options.publish_queue_bytes, backoff, lanes),
            saving: FuturesUnordered::new(),
            saved: watch::Sender::new(0),
            saved_at: Instant::now(),
            too_large: None,
            tasks: JoinSet::new(),
            shared,
            own_jobs: sender.downgrade(),
            reconnected,
        };
        let (saved, unsaved) = (task.saved.subscribe(), task.unsaved.of_gone.count.clone());
        (Self { jobs: sender, saved, unsaved }, task)
    }

    /// Writes what has become of sessions. During an outage, the task tries again until nobody
    /// needs it any more.
    pub(crate) fn save(&self, saves: Vec<Save>) {
        self.enqueue(SessionJob::Save(saves));
    }

    /// How many sessions of clients that have gone are not in Redis yet.
    pub(crate) fn unsaved(&self) -> u64 {
        self.unsaved.load(Ordering::Relaxed)
    }

    /// Answers the call when the client's session is in Redis.
    pub(crate) fn wait_for(&self, keys: SessionKeys, call: CallId) {
        self.enqueue(SessionJob::Wait { key: keys.ended, call });
    }

    /// Restores a session, at most once; the answer comes through the inbox.
    pub(crate) fn restore(&self, restore: Restore) {
        self.enqueue(SessionJob::Restore(restore));
    }

    /// Ends the task once all jobs before are done. Returns false if no session could be saved for
    /// as long as `limit`.
    pub(crate) async fn stop(&self, limit: Duration) -> bool {
        let (done, mut stopped) = oneshot::channel();
        self.enqueue(SessionJob::Stop { done });
        let mut saved = self.saved.clone();
        loop {
            saved.mark_unchanged();
            let progress = async {
                tokio::select! {
                    // An error means that the task has ended already.
                    _ = &mut stopped => true,
                    Ok(()) = saved.changed() => false,
                }
            };
            match timeout(limit, progress).await {
                Ok(true) => return true,
                Ok(false) => {}
                Err(_) => return false,
            }
        }
    }

    fn enqueue(&self, job: SessionJob) {
        // The task ends only with the engine: then nobody waits for the job.
        let _ = self.jobs.send(job);
    }
}

impl SessionTask {
    /// Runs until it is stopped.
    pub(crate) async fn run(mut self) {
        loop {
            self.save();
            tokio::select! {
                job = self.jobs.recv() => match job {
                    Some(SessionJob::Stop { done }) => return self.stop(done).await,
                    Some(job) => self.work(job),
                    None => return,
                },
                ended = next_saves(&mut self.saving, self.unsaved.due()) => {
                    ended.into_iter().for_each(|saved| self.save_ended(saved));
                }
                Some(_) = self.tasks.join_next() => {}
                Ok(()) = self.reconnected.changed() => self.wake(),
                () = self.unsaved.waits.is_due() => self.end_waits(),
                () = self.alive.is_due() => {
                    self.tasks.spawn(self.alive.show().with_current_subscriber());
                }
                () = self.expiry.is_due() => {
                    self.tasks.spawn(self.expiry.look().with_current_subscriber());
                }
                () = self.doubt.is_due() => {
                    if self.doubt.look() {
                        self.inbox.push(Notice::RecordsInDoubt);
                    }
                }
            }
        }
    }

    fn work(&mut self, job: SessionJob) {
        match job {
            SessionJob::Save(saves) => saves.into_iter().for_each(|save| self.keep(save)),
            SessionJob::Restore(restore) => self.restore(restore),
            SessionJob::Wait { key, call } => {
                let waiting = self.unsaved.wait(&key, Waiting::Call(call));
                waiting.into_iter().for_each(|waiting| self.release(waiting));
            }
            SessionJob::Failed => self.failed(),
            SessionJob::Answered => self.worked(),
            SessionJob::Stop { .. } => {}
        }
    }

    /// The caller sets the time limit.
    async fn stop(mut self, done: oneshot::Sender<()>) {
        loop {
            self.save();
            // Restores that failed may put sessions back.
            while let Ok(job) = self.jobs.try_recv() {
                if !matches!(job, SessionJob::Restore(_)) {
                    self.work(job);
                }
            }
            if self.saving.is_empty() && self.unsaved.is_empty() && self.tasks.is_empty() {
                break;
            }
            tokio::select! {
                ended = next_saves(&mut self.saving, self.unsaved.due()) => {
                    ended.into_iter().for_each(|saved| self.save_ended(saved));
                }
                Some(_) = self.tasks.join_next() => {}
                Ok(()) = self.reconnected.changed() => self.wake(),
                () = self.unsaved.waits.is_due() => self.end_waits(),
            }
        }
        self.alive.end().await;
        let _ = done.send(());
    }

    /// The session that this has waited for is in Redis, or never will be.
    fn release(&mut self, waiting: Waiting) {
        match waiting {
            Waiting::Restore(restore) => {
                self.shared.progressed();
                self.restore(restore);
            }
            Waiting::Call(call) => {
                self.inbox.push(Notice::Answered { call, result: Ok(Answer::Done) });
            }
        }
    }

    fn restore(&mut self, restore: Restore) {
        // The session may still be on its way to Redis: the client left a moment ago, or Redis is
        // away. What Redis holds of it by now is an old view.
        let key = restore.keys.ended.clone();
        if let Some(Waiting::Restore(restore)) = self.unsaved.wait(&key, Waiting::Restore(restore))
        {
            self.attempt(restore);
        }
    }

    fn attempt(&mut self, restore: Restore) {
        let attempt = Attempt {
            restore,
            patience: self.patience(),
            others_may_save_until: self.reconnected.borrow().at.map(|at| at + GRACE),
            store: self.store.clone(),
            inbox: self.inbox.clone(),
            stats: self.stats.clone(),
            warnings: self.warnings.clone(),
            shared: self.shared.clone(),
            jobs: self.own_jobs.clone(),
        };
        self.tasks.spawn(attempt.run().with_current_subscriber());
    }

    /// How long a restore is tried while Redis is away.
    fn patience(&self) -> Duration {
        match self.away_since {
            Some(since) if since.elapsed() > RESTORE_LIMIT => SHORT_LIMIT,
            _ => RESTORE_LIMIT,
        }
    }

    fn worked(&mut self) {
        self.away_since = None;
        self.unsaved.hurry();
    }

    /// Another connection of this node has reached Redis again.
    fn wake(&mut self) {
        self.store.pool().wake();
        self.alive.hurry();
        self.unsaved.release();
    }

    fn failed(&mut self) {
        self.away_since.get_or_insert_with(Instant::now);
    }
}

fn ms(time: Duration) -> u64 {
    time.as_millis().clamp(1, i64::MAX as u128 / 2) as u64
}
