//! Sessions of connection state recovery: kept as keys in Redis, given back with what was missed.
//!
//! A restore happens at one position of the stream: what comes up to it is missed, what comes
//! after it is live. The marker between the two is the answer's place in the inbox.

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

/// The time between two attempts of a restore.
const RETRY: Duration = Duration::from_millis(100);
/// How long one restore may take: the client waits for its connection meanwhile.
const RESTORE_LIMIT: Duration = Duration::from_secs(10);
/// Restores at a time: bounds what they hold in memory, and what Redis is asked for at once.
const RESTORES: usize = 32;

pub use restore::Restore;

/// Stands for a session's key in errors: the key holds the session ID, which is the client's
/// secret.
const KEY_IN_WORDS: &str = "session keys (`sessionKeyPrefix`)";

/// Causes of warnings, each cleared by itself.
const TASK: &str = "sessions";
const RESTORING: &str = "sessions, restores";

/// What the session task is asked to do.
enum Job {
    Persist(Persist),
    Restore(Restore),
    /// A restore has found the connection broken, the one with this number.
    Broken(u64),
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
                Some(Job::Broken(number)) if number == self.connections => self.connection = None,
                Some(Job::Broken(_)) | None => {}
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
        self.backoff.reset();
        self.warnings.clear(TASK);
        Ok(())
    }

    async fn restore(&mut self, restore: Restore) {
        let commands = match self.connected().await {
            Ok(connection) => connection.commands(),
            Err(error) => {
                self.failed(&error);
                if restore.may_try_again(&error) {
                    self.restores.spawn(try_again(restore, self.own_jobs.clone()));
                } else {
                    let call = restore.call;
                    self.inbox.push(Event::Answer { call, result: Err(error), hold: None });
                }
                return;
            }
        };
        let number = self.connections;
        let (inbox, warnings) = (self.inbox.clone(), self.warnings.clone());
        let (permits, own_jobs) = (self.permits.clone(), self.own_jobs.clone());
        self.restores.spawn(async move {
            let call = restore.call;
            let mut taken = None;
            let work = async {
                // Only a closed semaphore refuses, and this one is never closed.
                let _permit = permits.acquire().await;
                restore.run(commands, &inbox, &mut taken).await
            };
            let error = match tokio::time::timeout(RESTORE_LIMIT, work).await {
                Ok(Ok(())) => return warnings.clear(RESTORING),
                Ok(Err(error)) => error,
                Err(_) => Error::Timeout { command: "XRANGE", after: RESTORE_LIMIT },
            };
            if let Error::NotRestored(_) = error {
                tracing::debug!("{error}");
                warnings.clear(RESTORING);
            } else if let Some(jobs) = own_jobs.upgrade() {
                if error.is_refusal() {
                    warnings.warn(RESTORING, &error);
                }
                // It is not the session's fault: the next attempt finds it again.
                let _ = taken.map(|taken| jobs.send(Job::Persist(taken)));
                if !error.connection_survives() {
                    let _ = jobs.send(Job::Broken(number));
                }
                drop(jobs);
                if restore.may_try_again(&error) {
                    return try_again(restore, own_jobs).await;
                }
            }
            inbox.push(Event::Answer { call, result: Err(error), hold: None });
        });
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

    /// Outages are said by the tasks that keep trying.
    fn failed(&mut self, error: &Error) {
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

/// Asks for a restore once more, a little later.
async fn try_again(restore: Restore, jobs: mpsc::WeakUnboundedSender<Job>) {
    tokio::time::sleep(RETRY).await;
    if let Some(jobs) = jobs.upgrade() {
        let _ = jobs.send(Job::Restore(restore));
    }
}
