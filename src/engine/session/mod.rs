//! Sessions of connection state recovery: saved as keys in Redis, and restored with the packets
//! that the client missed.
//!
//! A restore happens at one position of the stream: the client has missed the entries up to it, and
//! gets later ones live. The answer's place in the inbox separates the two. The task saves many
//! sessions at a time, beside restores: all clients of a node may disconnect at once.

mod attempt;
mod restore;
#[cfg(test)]
mod tests;
mod trimmed;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::instrument::WithSubscriber;

use super::error::Result;
use super::inbox::Inbox;
use super::redis::{Backoff, Connector, Pool, SendCommand};
use super::stats::Stats;
use super::warnings::Warnings;
use super::wire::encode_session;

/// How long one restore may take with all its attempts. The client waits for its connection
/// meanwhile: without Redis it would get no packets anyway, and a client that starts anew never
/// gets the packets that it missed.
const RESTORE_LIMIT: Duration = Duration::from_secs(10);
/// The same if Redis has already been away for longer than `RESTORE_LIMIT`. It is longer than the
/// pause between two attempts to connect.
const SHORT_LIMIT: Duration = Duration::from_secs(3);
/// The most sessions that are saved at a time, and the most bytes of them.
const SAVES: usize = 4_096;
const SAVED_BYTES: usize = 4 << 20;
/// The most restores at a time: bounds their memory, and what they ask of Redis at once.
const RESTORES: usize = 32;

use attempt::Attempt;
pub(crate) use restore::Restore;

/// Replaces a session's key in errors: the key holds the session ID, which is the client's secret.
const KEY_IN_WORDS: &str = "session keys (`sessionKeyPrefix`)";

/// Names the task in warnings.
const TASK: &str = "sessions";

/// What the session task is asked to do.
enum SessionJob {
    Persist(Persist),
    Restore(Restore),
    /// A restore has failed because of Redis.
    Failed,
    /// Redis has answered a restore.
    Answered,
    Stop {
        done: oneshot::Sender<()>,
    },
}

/// A session to save.
struct Persist {
    key: String,
    session: Vec<u8>,
    keep: Duration,
    /// The session expires at this moment.
    until: Instant,
}

/// Gives jobs to the session task; callers never wait.
pub(crate) struct Sessions {
    jobs: mpsc::UnboundedSender<SessionJob>,
    /// How many sessions were saved.
    saved: watch::Receiver<u64>,
}

/// Sessions of one client that are not in Redis yet.
#[derive(Default)]
struct Pending {
    count: usize,
    /// Restores that wait until these sessions are in Redis.
    restores: Vec<Restore>,
}

/// Saves that are under way, each with its session and its result.
type Saves = FuturesUnordered<BoxFuture<'static, (Persist, Result<()>)>>;

/// The task behind [`Sessions`].
pub(crate) struct SessionTask {
    pool: Arc<Pool>,
    inbox: Arc<Inbox>,
    stats: Arc<Stats>,
    warnings: Arc<Warnings>,
    jobs: mpsc::UnboundedReceiver<SessionJob>,
    backoff: Backoff,
    /// When to try again to save the sessions that failed.
    save_again: Option<Instant>,
    /// Since when Redis has been away.
    away_since: Option<Instant>,
    /// Sessions that are not in Redis yet, in the order in which they came.
    unsaved: VecDeque<Persist>,
    saving: Saves,
    /// Keys of sessions that are not in Redis yet.
    pending: HashMap<String, Pending>,
    /// Keys of the sessions whose last save has failed.
    failed_keys: HashSet<String>,
    /// How many were saved.
    saved: watch::Sender<u64>,
    restores: JoinSet<()>,
    permits: Arc<Semaphore>,
    own_jobs: mpsc::WeakUnboundedSender<SessionJob>,
}

impl Sessions {
    /// Makes both sides; nothing is connected before the first job.
    pub(crate) fn new(
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
            saving: FuturesUnordered::new(),
            pending: HashMap::new(),
            failed_keys: HashSet::new(),
            saved: watch::Sender::new(0),
            restores: JoinSet::new(),
            permits: Arc::new(Semaphore::new(RESTORES)),
            own_jobs: sender.downgrade(),
        };
        (Self { jobs: sender, saved: task.saved.subscribe() }, task)
    }

    /// Saves a session for the time `keep`. During an outage, the task tries again until that time
    /// is over.
    pub(crate) fn persist(&self, key: String, session: Vec<u8>, keep: Duration) {
        self.enqueue(SessionJob::Persist(Persist {
            key,
            session,
            keep,
            until: Instant::now() + keep,
        }));
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
                    Some(SessionJob::Persist(persist)) => self.keep(persist),
                    Some(SessionJob::Restore(restore)) => self.restore(restore),
                    Some(SessionJob::Failed) => self.failed(),
                    Some(SessionJob::Answered) => self.worked(),
                    Some(SessionJob::Stop { done }) => return self.stop(done).await,
                    None => return,
                },
                ended = next_save(&mut self.saving, self.save_again) => self.save_ended(ended),
                Some(_) = self.restores.join_next() => {}
            }
        }
    }

    /// The caller sets the time limit.
    async fn stop(mut self, done: oneshot::Sender<()>) {
        loop {
            self.save();
            // Restores that failed may put sessions back.
            while let Ok(job) = self.jobs.try_recv() {
                match job {
                    SessionJob::Persist(persist) => self.keep(persist),
                    SessionJob::Answered => self.worked(),
                    _ => {}
                }
            }
            if self.saving.is_empty() && self.unsaved.is_empty() && self.restores.is_empty() {
                break;
            }
            tokio::select! {
                ended = next_save(&mut self.saving, self.save_again) => self.save_ended(ended),
                Some(_) = self.restores.join_next() => {}
            }
        }
        let _ = done.send(());
    }

    /// Begins to save unsaved sessions, unless saves are under way. Restores can begin meanwhile.
    fn save(&mut self) {
        let is_waiting = self.save_again.is_some_and(|until| Instant::now() < until);
        if is_waiting || !self.saving.is_empty() {
            return;
        }
        self.save_again = None;
        let (some, expired) = take_some(&mut self.unsaved, &self.failed_keys);
        self.failed_keys.clear();
        expired.iter().for_each(|persist| self.settled(&persist.key));
        for persist in some {
            let pool = self.pool.clone();
            let save = async move {
                let result = save_one(&pool, &persist).await;
                (persist, result)
            };
            self.saving.push(save.boxed());
        }
    }

    /// Queues a session to save.
    fn keep(&mut self, persist: Persist) {
        self.pending.entry(persist.key.clone()).or_default().count += 1;
        self.unsaved.push_back(persist);
    }

    /// A save has ended. `None` means that it is time to try the failed ones again.
    fn save_ended(&mut self, ended: Option<(Persist, Result<()>)>) {
        let Some((persist, result)) = ended else { return };
        if self.is_done(&result) {
            self.settled(&persist.key);
        } else {
            self.stop_waiting(&persist.key);
            self.failed_keys.insert(persist.key.clone());
            // At the front, so that it stays before a newer session of the same client.
            self.unsaved.push_front(persist);
        }
        if self.saving.is_empty() && !self.failed_keys.is_empty() {
            self.save_again = Some(Instant::now() + self.backoff.delay());
        }
    }

    /// A session was saved, or never will be. If it was the last one of its client, the restores
    /// that wait for it begin.
    fn settled(&mut self, key: &str) {
        let Some(pending) = self.pending.get_mut(key) else { return };
        pending.count -= 1;
        if pending.count == 0 {
            let Pending { restores, .. } = self.pending.remove(key).unwrap_or_default();
            restores.into_iter().for_each(|restore| self.restore(restore));
        }
    }

    /// A session could not be saved yet: restores that have waited long enough go on without it.
    fn stop_waiting(&mut self, key: &str) {
        let patience = self.patience();
        let Some(pending) = self.pending.get_mut(key) else { return };
        let is_over = |restore: &mut Restore| restore.asked.elapsed() >= patience;
        let over: Vec<Restore> = pending.restores.extract_if(.., is_over).collect();
        over.into_iter().for_each(|restore| self.restore(restore));
    }

    /// False if the save must be tried again. Other tasks report outages, so this warns of refusals
    /// only.
    fn is_done(&mut self, saved: &Result<()>) -> bool {
        let Err(error) = saved else {
            self.worked();
            self.stats.sessions_saved.add(1);
            self.saved.send_modify(|saved| *saved += 1);
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
        let patience = self.patience();
        if restore.asked.elapsed() < patience
            && let Some(pending) = self.pending.get_mut(&restore.key)
        {
            // The session is still on its way to Redis: the client left a moment ago, or Redis is
            // away.
            return pending.restores.push(restore);
        }
        let attempt = Attempt {
            restore,
            patience,
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
        // Redis is back: sessions that wait for it are saved at once.
        self.save_again = None;
    }

    fn failed(&mut self) {
        self.away_since.get_or_insert_with(Instant::now);
    }
}

/// Takes sessions that may be saved together, oldest first, and sessions that have expired. It
/// takes only the first session of each key, so that the newest one is saved last. Keys that have
/// just failed come last: in a cluster, keys whose master is away delay no others.
fn take_some(
    unsaved: &mut VecDeque<Persist>,
    failed_keys: &HashSet<String>,
) -> (Vec<Persist>, Vec<Persist>) {
    let now = Instant::now();
    let (mut some, mut keys, mut bytes) = (Vec::new(), HashSet::new(), 0);
    let (late, first): (Vec<_>, Vec<_>) =
        unsaved.drain(..).partition(|persist| failed_keys.contains(&persist.key));
    let (expired, rest): (Vec<_>, Vec<_>) =
        first.into_iter().chain(late).partition(|persist| now > persist.until);
    for persist in rest {
        let is_first = keys.insert(persist.key.clone());
        if is_first && some.len() < SAVES && bytes < SAVED_BYTES {
            bytes += persist.session.len();
            some.push(persist);
        } else {
            unsaved.push_back(persist);
        }
    }
    (some, expired)
}

/// Resolves when a save has ended, or, if none is under way, when it is time to begin one.
async fn next_save(
    saving: &mut Saves,
    save_again: Option<Instant>,
) -> Option<(Persist, Result<()>)> {
    match (saving.next().await, save_again) {
        (Some(ended), _) => Some(ended),
        (None, Some(moment)) => {
            sleep_until(moment).await;
            None
        }
        (None, None) => std::future::pending().await,
    }
}

async fn save_one(pool: &Arc<Pool>, persist: &Persist) -> Result<()> {
    let value = encode_session(&persist.session);
    let keep = persist.keep.as_millis().max(1) as u64;
    let mut command = redis::cmd("SET");
    command.arg(&persist.key).arg(value).arg("PX").arg(keep);
    pool.routed(&persist.key).send_command("SET", KEY_IN_WORDS, &command).await.map(drop)
}
