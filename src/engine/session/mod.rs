//! Sessions of connection state recovery: kept as keys in Redis, given back with what was missed.
//!
//! A restore happens at one position of the stream: what comes up to it is missed, what comes
//! after it is live. The marker between the two is the answer's place in the inbox.

mod attempt;
mod restore;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::error::{Error, Result};
use super::inbox::{Event, Inbox};
use super::redis::{Backoff, Connection, Connector};
use super::warnings::Warnings;
use super::wire::encode_session;

/// How long one restore may take with all its attempts: the client waits for its connection
/// meanwhile. Without Redis no packets would come anyway, and a fresh start is a hole for good.
const RESTORE_LIMIT: Duration = Duration::from_secs(10);
/// Where Redis has been away for longer than that already, clients are not kept waiting so long;
/// but longer than the pause between two attempts to connect.
const SHORT_LIMIT: Duration = Duration::from_secs(3);
/// Restores at a time: bounds what they hold in memory, and what Redis is asked for at once.
const RESTORES: usize = 32;

use attempt::{Attempt, is_passing, try_again};
pub use restore::Restore;

/// Stands for a session's key in errors: the key holds the session ID, which is the client's
/// secret.
const KEY_IN_WORDS: &str = "session keys (`sessionKeyPrefix`)";

/// Names the task in warnings.
const TASK: &str = "sessions";

/// What the session task is asked to do.
enum Job {
    Persist(Persist),
    Restore(Restore),
    /// A restore has failed for Redis's sake, on the connection with this number.
    Failed(u64, Error),
    /// A restore has worked.
    Restored,
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
    jobs: mpsc::UnboundedSender<Job>,
}

/// The session task's side.
pub struct SessionTask {
    connector: Arc<Connector>,
    inbox: Arc<Inbox>,
    warnings: Arc<Warnings>,
    jobs: mpsc::UnboundedReceiver<Job>,
    connection: Option<Connection>,
    /// Numbers the connections.
    connections: u64,
    backoff: Backoff,
    /// After a failure nothing is tried before this.
    unavailable_until: Option<(Instant, Error)>,
    /// Since when nothing has worked.
    away_since: Option<Instant>,
    /// Sessions that are not in Redis yet.
    unsaved: VecDeque<Persist>,
    restores: JoinSet<()>,
    permits: Arc<Semaphore>,
    own_jobs: mpsc::WeakUnboundedSender<Job>,
}

impl Sessions {
    /// Makes both sides; nothing is connected before the first job.
    pub fn new(
        connector: Arc<Connector>,
        inbox: Arc<Inbox>,
        warnings: Arc<Warnings>,
    ) -> (Self, SessionTask) {
        let (sender, jobs) = mpsc::unbounded_channel();
        let backoff = Backoff::new(connector.settings().reconnect_delay);
        let task = SessionTask {
            connector,
            inbox,
            warnings,
            jobs,
            connection: None,
            connections: 0,
            backoff,
            unavailable_until: None,
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
        self.ask(Job::Persist(Persist { key, session, keep, until: Instant::now() + keep }));
    }

    /// Gives a session back once; the answer comes through the inbox.
    pub fn restore(&self, restore: Restore) {
        self.ask(Job::Restore(restore));
    }

    /// Ends once everything asked for before was done.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        self.ask(Job::Stop { done });
        let _ = stopped.await;
    }

    fn ask(&self, job: Job) {
        // The task ends only with the engine: nobody is left to be told.
        let _ = self.jobs.send(job);
    }
}

impl SessionTask {
    /// Runs until it is stopped.
    pub async fn run(mut self) {
        while let Some(job) = self.next_job().await {
            match job {
                Some(Job::Persist(persist)) => self.unsaved.push_back(persist),
                Some(Job::Restore(restore)) => {
                    // Its own session may be among the unsaved ones.
                    self.save().await;
                    self.restore(restore).await;
                }
                Some(Job::Failed(number, error)) if number == self.connections => {
                    self.failed(&error);
                }
                Some(Job::Restored) => self.worked(),
                Some(Job::Failed(..)) | None => {}
                Some(Job::Stop { done }) => return self.stop(done).await,
            }
            if self.jobs.is_empty() {
                self.save().await;
            }
            while self.restores.try_join_next().is_some() {}
        }
    }

    /// The next job, or `Some(None)` when it is time to try again what could not be saved.
    async fn next_job(&mut self) -> Option<Option<Job>> {
        match &self.unavailable_until {
            Some((until, _)) if !self.unsaved.is_empty() => {
                tokio::select! {
                    job = self.jobs.recv() => job.map(Some),
                    () = sleep_until(*until) => Some(None),
                }
            }
            _ => self.jobs.recv().await.map(Some),
        }
    }

    /// The caller sets the time limit.
    async fn stop(mut self, done: oneshot::Sender<()>) {
        self.save().await;
        while let Some((until, _)) = &self.unavailable_until
            && !self.unsaved.is_empty()
        {
            sleep_until(*until).await;
            self.save().await;
        }
        while self.restores.join_next().await.is_some() {}
        // What restores that failed have put back.
        while let Ok(job) = self.jobs.try_recv() {
            if let Job::Persist(persist) = job {
                self.unsaved.push_back(persist);
            }
        }
        self.save().await;
        let _ = done.send(());
    }

    /// Saves what is unsaved, as far as Redis lets us.
    async fn save(&mut self) {
        while let Some(persist) = self.unsaved.pop_front() {
            if Instant::now() > persist.until {
                continue;
            }
            if let Err(error) = self.save_one(&persist).await {
                self.failed(&error);
                if !error.is_refusal() {
                    self.unsaved.push_front(persist);
                    return;
                }
            }
        }
    }

    async fn save_one(&mut self, persist: &Persist) -> Result<()> {
        let value = encode_session(&persist.session);
        let keep = persist.keep.as_millis().max(1) as u64;
        let mut command = redis::cmd("SET");
        command.arg(&persist.key).arg(value).arg("PX").arg(keep);
        self.connected().await?.send("SET", KEY_IN_WORDS, &command).await?;
        self.worked();
        self.warnings.clear(TASK);
        Ok(())
    }

    async fn restore(&mut self, restore: Restore) {
        match self.connected().await {
            Ok(connection) => {
                let attempt = Attempt {
                    commands: connection.commands(),
                    restore,
                    connection: self.connections,
                    inbox: self.inbox.clone(),
                    warnings: self.warnings.clone(),
                    permits: self.permits.clone(),
                    jobs: self.own_jobs.clone(),
                };
                self.restores.spawn(attempt.run());
            }
            Err(error) => {
                self.failed(&error);
                if is_passing(&error) && restore.asked.elapsed() < self.patience() {
                    self.restores.spawn(try_again(restore, self.own_jobs.clone()));
                } else {
                    let call = restore.call;
                    self.inbox.push(Event::Answer { call, result: Err(error), hold: None });
                }
            }
        }
    }

    /// How long a restore is tried while Redis is away.
    fn patience(&self) -> Duration {
        match self.away_since {
            Some(since) if since.elapsed() > RESTORE_LIMIT => SHORT_LIMIT,
            _ => RESTORE_LIMIT,
        }
    }

    async fn connected(&mut self) -> Result<&mut Connection> {
        if let Some((until, error)) = &self.unavailable_until
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        match &mut self.connection {
            Some(connection) => Ok(connection),
            empty => {
                let connection = self.connector.connect().await?;
                self.connections += 1;
                self.unavailable_until = None;
                self.warnings.clear(TASK);
                Ok(empty.insert(connection))
            }
        }
    }

    fn worked(&mut self) {
        self.backoff.reset();
        self.away_since = None;
    }

    /// Outages are said by the tasks that keep trying.
    fn failed(&mut self, error: &Error) {
        self.away_since.get_or_insert_with(Instant::now);
        tracing::debug!("{error}");
        if error.is_refusal() {
            self.warnings.warn(TASK, error);
        }
        if !error.connection_survives() {
            self.connection = None;
        }
        let is_over =
            self.unavailable_until.as_ref().is_none_or(|(until, _)| Instant::now() >= *until);
        if is_over && !matches!(error, Error::Refused { .. }) {
            self.unavailable_until = Some((Instant::now() + self.backoff.delay(), error.clone()));
        }
    }
}
