//! One connection per server, opened when it is first needed. Used for keys that are spread over a
//! cluster, and for commands to each of its servers.

mod groups;

use std::collections::HashMap;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::{ANSWER_LIMIT, Backoff, Commands, Connection, Connector, SendCommand, Target};
use crate::engine::error::{Error, Outage, Result};
pub(crate) use groups::{Group, GroupSent};

/// The most redirections (MOVED or ASK) that one command follows.
const REDIRECTIONS: usize = 5;

/// After this time without a command, the pool gives up the connection to a server when it connects
/// to another one: the server may have left the cluster.
const IDLE: Duration = Duration::from_secs(5 * 60);

/// After this time without a failure, the pool waits as after a first failure.
const STABLE: Duration = Duration::from_secs(10);

pub(crate) struct Pool {
    connector: Arc<Connector>,
    slots: Mutex<HashMap<Target, Arc<AsyncMutex<PoolSlot>>>>,
    /// How many connections have broken.
    breaks: AtomicU64,
}

/// The connection to one server. Locked while the pool connects.
struct PoolSlot {
    connection: Option<Connection>,
    /// When a command has last needed the connection.
    used: Instant,
    backoff: Backoff,
    /// After a failure, the pool does not connect before this time and returns this error instead.
    unavailable_until: Option<(Instant, Error)>,
}

impl Pool {
    pub(crate) fn new(connector: Arc<Connector>) -> Arc<Self> {
        Arc::new(Self { connector, slots: Mutex::default(), breaks: AtomicU64::new(0) })
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Commands that always go to the server of `key`.
    pub(crate) fn routed(self: &Arc<Self>, key: &str) -> RoutedCommands {
        RoutedCommands { pool: self.clone(), key: key.to_owned() }
    }

    /// The open connection to a server. Connects if there is none.
    pub(crate) async fn at(&self, target: &Target) -> Result<Commands> {
        let slot = self.slot(target);
        let mut slot = slot.lock().await;
        slot.used = Instant::now();
        if let Some(connection) = slot.connection.as_ref().filter(|open| open.is_open()) {
            return Ok(connection.commands());
        }
        self.drop_broken(&mut slot);
        if let Some((until, error)) = &slot.unavailable_until
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        self.drop_idle();
        match self.connector.connect(target).await {
            Ok(connection) => {
                let commands = connection.commands();
                slot.connection = Some(connection);
                Ok(commands)
            }
            Err(error) => {
                slot.wait_after(&error);
                Err(error)
            }
        }
    }

    /// Handles an error of a command to this server: the pool waits before it connects again, and
    /// drops the connection if it is no longer good.
    pub(crate) async fn failed(&self, target: &Target, error: &Error) {
        if matches!(error, Error::Moved { .. }) {
            // The server works, and serves other keys.
            return;
        }
        if !error.connection_survives() || matches!(error, Error::Unavailable { .. }) {
            let slot = self.slot(target);
            let mut slot = slot.lock().await;
            slot.wait_after(error);
            if !error.connection_survives() {
                self.drop_broken(&mut slot);
            }
        }
    }

    /// Redis can be reached again, as another connection has shown: nothing waits any longer.
    pub(crate) fn wake(&self) {
        for slot in self.slots().values() {
            // Whoever holds the lock connects at this moment.
            if let Ok(mut slot) = slot.try_lock() {
                slot.unavailable_until = None;
                slot.backoff.reset();
            }
        }
    }

    /// How many connections have broken so far, also of those that nobody needs at present.
    pub(crate) fn breaks(&self) -> u64 {
        for slot in self.slots().values() {
            // Whoever holds the lock notices it.
            if let Ok(mut slot) = slot.try_lock()
                && slot.connection.as_ref().is_some_and(|connection| !connection.is_open())
            {
                self.drop_broken(&mut slot);
            }
        }
        self.breaks.load(Ordering::Relaxed)
    }

    fn drop_broken(&self, slot: &mut PoolSlot) {
        if slot.connection.take().is_some() {
            self.breaks.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Target, Arc<AsyncMutex<PoolSlot>>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, target: &Target) -> Arc<AsyncMutex<PoolSlot>> {
        let slot = || PoolSlot {
            connection: None,
            used: Instant::now(),
            backoff: self.connector.backoff(),
            unavailable_until: None,
        };
        self.slots()
            .entry(target.clone())
            .or_insert_with(|| Arc::new(AsyncMutex::new(slot())))
            .clone()
    }

    fn drop_idle(&self) {
        self.slots().retain(|_, slot| match Arc::get_mut(slot) {
            Some(slot) => slot.get_mut().used.elapsed() < IDLE,
            // Somebody is about to use it.
            None => true,
        });
    }
}

impl PoolSlot {
    fn wait_after(&mut self, error: &Error) {
        let is_over =
            self.unavailable_until.as_ref().is_none_or(|(until, _)| Instant::now() >= *until);
        if is_over {
            let since = self.unavailable_until.as_ref().map(|(until, _)| until.elapsed());
            if since.is_some_and(|since| since >= STABLE) {
                self.backoff.reset();
            }
            self.unavailable_until = Some((Instant::now() + self.backoff.delay(), error.clone()));
        }
    }
}

/// Commands to the server of one key. They follow the key when it moves to another server.
pub(crate) struct RoutedCommands {
    pool: Arc<Pool>,
    key: String,
}

impl RoutedCommands {
    /// Sends commands in one go; see [`Commands::send_each`]. A command is sent again only if the
    /// server has answered that another one serves its key. The others keep their answers: while a
    /// slot is on its way, some of its keys may be at one server and some at the other.
    pub(crate) async fn send_each(
        &mut self,
        limit: Duration,
        name: &'static str,
        key: &str,
        commands: &[Cmd],
    ) -> Result<Vec<Value>> {
        let connector = &self.pool.connector;
        let mut target = connector.target_of(&self.key).await?;
        let mut answers = vec![None; commands.len()];
        for _ in 0..REDIRECTIONS {
            let errors = match self.pool.at(&target).await {
                Ok(mut connection) => {
                    let is_open = |(command, answer): (&Cmd, &Option<Value>)| {
                        answer.is_none().then(|| command.clone())
                    };
                    let open = commands.iter().zip(&answers).filter_map(is_open);
                    let sent = connection.send_many(limit, name, key, open).await;
                    sent.map_or_else(|error| vec![error], |sent| note(&mut answers, sent))
                }
                Err(error) => vec![error],
            };
            let mut elsewhere = None;
            for error in errors {
                if !error.connection_survives() {
                    // What the connector knows of the slots is wrong, or soon will be.
                    connector.forget();
                }
                elsewhere = connector.redirection(&error);
                if elsewhere.is_none() {
                    self.pool.failed(&target, &error).await;
                    return Err(error);
                }
            }
            match elsewhere {
                Some(elsewhere) => target = elsewhere,
                None => return Ok(answers.into_iter().flatten().collect()),
            }
        }
        Err(Error::Unavailable {
            command: "CLUSTER",
            reason: "too many redirections".to_owned(),
            outage: Outage::Passing,
        })
    }
}

/// Notes the answers to the commands that had none. Returns the errors among them.
fn note(answers: &mut [Option<Value>], sent: Vec<Result<Value>>) -> Vec<Error> {
    let mut errors = Vec::new();
    for (answer, sent) in answers.iter_mut().filter(|answer| answer.is_none()).zip(sent) {
        match sent {
            Ok(value) => *answer = Some(value),
            Err(error) => errors.push(error),
        }
    }
    errors
}

impl SendCommand for RoutedCommands {
    async fn send_command(
        &mut self,
        name: &'static str,
        key: &str,
        command: &Cmd,
    ) -> Result<Value> {
        let answers = self.send_each(ANSWER_LIMIT, name, key, slice::from_ref(command)).await?;
        Ok(answers.into_iter().next().unwrap_or(Value::Nil))
    }
}

#[cfg(test)]
mod tests;
