//! Sessions of connection state recovery: kept as keys in Redis, given back with what was missed.
//!
//! A restore happens at one position of the stream: what comes up to it is missed, what comes
//! after it is live. The marker between the two is the answer's place in the inbox.

mod attempt;
mod restore;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::instrument::WithSubscriber;

use super::error::Result;
use super::inbox::Inbox;
use super::redis::{Backoff, Connector, Pool, SendCommand};
use super::stats::Stats;
use super::warnings::Warnings;
use super::wire::encode_session;

/// How long one restore may take with all its attempts: the client waits for its connection
/// meanwhile. Without Redis no packets would come anyway, and a fresh start is a hole for good.
const RESTORE_LIMIT: Duration = Duration::from_secs(10);
/// Where Redis has been away for longer than that already, clients are not kept waiting so long;
/// but longer than the pause between two attempts to connect.
const SHORT_LIMIT: Duration = Duration::from_secs(3);
/// Sessions saved at a time: all clients of a node may go at once.
const SAVES: usize = 256;
/// Restores at a time: bounds what they hold in memory, and what Redis is asked for at once.
const RESTORES: usize = 32;

use attempt::{Attempt, try_again};
pub use restore::Restore;

/// Stands for a session's key in errors: the key holds the session ID, which is the client's
/// secret.
const KEY_IN_WORDS: &str = "session keys (`sessionKeyPrefix`)";

/// Names the task in warnings.
const TASK: &str = "sessions";

/// What the session task is asked to do.
enum SessionJob {
    Persist(Persist),
    Restore(Restore),
    /// A restore has failed for Redis's sake.
    Failed,
    /// Redis has answered a restore.
    Answered,
    Stop {
        done: oneshot::Sender<()>,
    },
}

/// A session to be kept.
struct Persist {
    key: String,
    session: Vec<u8>,
    keep: Duration,
    /// Nobody needs it after that.
    until: Instant,
}

/// Asks the session task to do things; callers never wait.
pub struct Sessions {
    jobs: mpsc::UnboundedSender<SessionJob>,
}

/// The session task's side.
pub struct SessionTask {
    pool: Arc<Pool>,
    inbox: Arc<Inbox>,
    stats: Arc<Stats>,
    warnings: Arc<Warnings>,
    jobs: mpsc::UnboundedReceiver<SessionJob>,
    backoff: Backoff,
    /// When it is time to try again what could not be saved.
    save_again: Option<Instant>,
    /// Since when nothing has worked.
    away_since: Option<Instant>,
    /// Sessions that are not in Redis yet.
    unsaved: VecDeque<Persist>,
    restores: JoinSet<()>,
    permits: Arc<Semaphore>,
    own_jobs: mpsc::WeakUnboundedSender<SessionJob>,
}

impl Sessions {
    /// Makes both sides; nothing is connected before the first job.
    pub fn new(
        connector: Arc<Connector>,
        inbox: Arc<Inbox>,
        stats: Arc<Stats>,
        warnings: Arc<Warnings>,
    ) -> (Self, SessionTask) {
        let (sender, jobs) = mpsc::unbounded_channel();
        let backoff = connector.backoff();
        let task = SessionTask {
            pool: Pool::new(connector),
            inbox,
            stats,
            warnings,
            jobs,
            backoff,
            save_again: None,
            away_since: None,
            unsaved: VecDeque::new(),
            restores: JoinSet::new(),
            permits: Arc::new(Semaphore::new(RESTORES)),
            own_jobs: sender.downgrade(),
        };
        (Self { jobs: sender }, task)
    }

    /// Keeps a session for a time; tried again through an outage until that time is over.
    pub fn persist(&self, key: String, session: Vec<u8>, keep: Duration) {
        self.enqueue(SessionJob::Persist(Persist {
            key,
            session,
            keep,
            until: Instant::now() + keep,
        }));
    }

    /// Gives a session back once; the answer comes through the inbox.
    pub fn restore(&self, restore: Restore) {
        self.enqueue(SessionJob::Restore(restore));
    }

    /// Ends once everything asked for before was done.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        self.enqueue(SessionJob::Stop { done });
        let _ = stopped.await;
    }

    fn enqueue(&self, job: SessionJob) {
        // The task ends only with the engine: nobody is left to be told.
        let _ = self.jobs.send(job);
    }
}

impl SessionTask {
    /// Runs until it is stopped.
    pub async fn run(mut self) {
        while let Some(job) = self.next_job().await {
            match job {
                Some(SessionJob::Persist(persist)) => self.unsaved.push_back(persist),
                Some(SessionJob::Restore(restore)) => {
                    self.save().await;
                    self.restore(restore);
                }
                Some(SessionJob::Failed) => self.failed(),
                Some(SessionJob::Answered) => self.worked(),
                None => {}
                Some(SessionJob::Stop { done }) => return self.stop(done).await,
            }
            if self.jobs.is_empty() {
                self.save().await;
            }
            while self.restores.try_join_next().is_some() {}
        }
    }

    /// The next job, or `Some(None)` when it is time to try again what could not be saved.
    async fn next_job(&mut self) -> Option<Option<SessionJob>> {
        match self.save_again {
            Some(until) => {
                tokio::select! {
                    job = self.jobs.recv() => job.map(Some),
                    () = sleep_until(until) => Some(None),
                }
            }
            None => self.jobs.recv().await.map(Some),
        }
    }

    /// The caller sets the time limit.
    async fn stop(mut self, done: oneshot::Sender<()>) {
        self.save().await;
        while let Some(until) = self.save_again {
            sleep_until(until).await;
            self.save().await;
        }
        while self.restores.join_next().await.is_some() {}
        // What restores that failed have put back.
        while let Ok(job) = self.jobs.try_recv() {
            if let SessionJob::Persist(persist) = job {
                self.unsaved.push_back(persist);
            }
        }
        self.save().await;
        let _ = done.send(());
    }

    /// Saves what is unsaved, as far as Redis lets us. In a cluster a session may have to wait for
    /// its master while others are saved.
    async fn save(&mut self) {
        if self.save_again.is_some_and(|until| Instant::now() < until) {
            return;
        }
        let mut rest = std::mem::take(&mut self.unsaved);
        let mut waiting_keys = HashSet::new();
        while !rest.is_empty() {
            let some = take_some(&mut rest, &mut self.unsaved, &waiting_keys);
            let saved = join_all(some.iter().map(|persist| save_one(&self.pool, persist))).await;
            for (persist, result) in some.into_iter().zip(saved) {
                if !self.is_done(&result) {
                    waiting_keys.insert(persist.key.clone());
                    self.unsaved.push_back(persist);
                }
            }
        }
        let is_waiting = !self.unsaved.is_empty();
        self.save_again = is_waiting.then(|| Instant::now() + self.backoff.delay());
    }

    /// False when it is to be tried again. Outages are said by the tasks that keep trying.
    fn is_done(&mut self, saved: &Result<()>) -> bool {
        let Err(error) = saved else {
            self.worked();
            self.stats.sessions_saved.add(1);
            self.warnings.clear(TASK);
            return true;
        };
        tracing::debug!("{error}");
        self.failed();
        if error.is_refusal() {
            self.warnings.warn(TASK, error);
        }
        error.is_refusal()
    }

    fn restore(&mut self, restore: Restore) {
        let is_unsaved = self.unsaved.iter().any(|persist| persist.key == restore.key);
        if is_unsaved && restore.asked.elapsed() < self.patience() {
            // Its client was here before Redis went away.
            let again = try_again(restore, self.own_jobs.clone());
            self.restores.spawn(again.with_current_subscriber());
            return;
        }
        let attempt = Attempt {
            restore,
            patience: self.patience(),
            pool: self.pool.clone(),
            inbox: self.inbox.clone(),
            stats: self.stats.clone(),
            warnings: self.warnings.clone(),
            permits: self.permits.clone(),
            jobs: self.own_jobs.clone(),
        };
        self.restores.spawn(attempt.run().with_current_subscriber());
    }

    /// How long a restore is tried while Redis is away.
    fn patience(&self) -> Duration {
        match self.away_since {
            Some(since) if since.elapsed() > RESTORE_LIMIT => SHORT_LIMIT,
            _ => RESTORE_LIMIT,
        }
    }

    fn worked(&mut self) {
        self.backoff.reset();
        self.away_since = None;
        // Redis is there: what waits for it is saved at once.
        self.save_again = None;
    }

    fn failed(&mut self) {
        self.away_since.get_or_insert_with(Instant::now);
    }
}

/// Takes sessions that may be saved together: of one key only the first, since the last one saved is
/// the one that is kept. What has to wait goes to `waiting`; what nobody needs any more goes away.
fn take_some(
    rest: &mut VecDeque<Persist>,
    waiting: &mut VecDeque<Persist>,
    waiting_keys: &HashSet<String>,
) -> Vec<Persist> {
    let (mut some, mut keys) = (Vec::new(), HashSet::new());
    let now = Instant::now();
    while some.len() < SAVES
        && let Some(persist) = rest.pop_front_if(|persist| !keys.contains(&persist.key))
    {
        if waiting_keys.contains(&persist.key) {
            waiting.push_back(persist);
        } else if now <= persist.until {
            keys.insert(persist.key.clone());
            some.push(persist);
        }
    }
    some
}

async fn save_one(pool: &Arc<Pool>, persist: &Persist) -> Result<()> {
    let value = encode_session(&persist.session);
    let keep = persist.keep.as_millis().max(1) as u64;
    let mut command = redis::cmd("SET");
    command.arg(&persist.key).arg(value).arg("PX").arg(keep);
    pool.routed(&persist.key).send_command("SET", KEY_IN_WORDS, &command).await.map(drop)
}
