//! Where the sessions are found that may expire: sorted sets, if the option `expiredSessions` is on.
//!
//! - `expiry:deadlines`: the sessions that have ended, by the time at which they expire;
//! - `expiry:of:<uid>`: the sessions of the clients that are connected to a node;
//! - `expiry:nodes`: the nodes that have such a set.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::{Cmd, Value};

use super::keys::SessionKeys;
use super::record::Generation;
use super::save::Save;
use super::{KEY_IN_WORDS, ms};
use crate::engine::error::Result;
use crate::engine::redis::{ANSWER_LIMIT, Pool};
use crate::engine::warnings::Warnings;

/// How many entries one command returns.
pub(super) const PAGE: usize = 200;

/// Names this in warnings.
const EXPIRY: &str = "sessions, expiry";

/// What must be looked at. Does nothing unless the option is on.
pub(super) struct Index {
    pool: Arc<Pool>,
    pub(super) prefix: String,
    pub(super) uid: Arc<str>,
    warnings: Arc<Warnings>,
    is_on: bool,
    /// True once Redis has refused the commands.
    is_refused: AtomicBool,
}

impl Index {
    pub(super) fn new(
        pool: Arc<Pool>,
        prefix: String,
        uid: Arc<str>,
        is_on: bool,
        warnings: Arc<Warnings>,
    ) -> Self {
        Self { pool, prefix, uid, warnings, is_on, is_refused: AtomicBool::new(false) }
    }

    pub(super) fn is_on(&self) -> bool {
        self.is_on && !self.is_refused.load(Ordering::Relaxed)
    }

    /// Clients are connected to this node.
    pub(super) async fn connected(&self, saves: &[&Save]) -> Result<()> {
        if !self.is_on() || saves.is_empty() {
            return Ok(());
        }
        self.add(&self.of(&self.uid), 0, &entries_of(saves)).await
    }

    /// The client has gone, and may come back within the time `keep`.
    pub(super) async fn ended(
        &self,
        keys: &SessionKeys,
        generation: Generation,
        keep: Duration,
    ) -> Result<()> {
        let entry = [entry_of(keys, generation)];
        let (deadlines, of_node) = (self.deadlines(), self.of(&self.uid));
        let (added, removed) = tokio::join!(
            self.add(&deadlines, now() + ms(keep), &entry),
            self.remove(&of_node, &entry),
        );
        added.and(removed)
    }

    /// The client has left this node for good, or another node has it.
    pub(super) async fn left(&self, keys: &SessionKeys, generation: Generation) -> Result<()> {
        self.remove(&self.of(&self.uid), &[entry_of(keys, generation)]).await
    }

    /// Clients have left this node for good.
    pub(super) async fn all_left(&self, saves: &[&Save]) -> Result<()> {
        if !self.is_on() || saves.is_empty() {
            return Ok(());
        }
        self.remove(&self.of(&self.uid), &entries_of(saves)).await
    }

    /// This node has sessions of connected clients.
    pub(super) async fn has_node(&self) -> Result<()> {
        self.add(&self.nodes(), 0, &[self.uid.to_string()]).await
    }

    /// This node has none any more.
    pub(super) async fn has_node_no_more(&self) -> Result<()> {
        self.remove(&self.nodes(), &[self.uid.to_string()]).await
    }

    pub(super) fn deadlines(&self) -> String {
        format!("{}expiry:deadlines", self.prefix)
    }

    pub(super) fn nodes(&self) -> String {
        format!("{}expiry:nodes", self.prefix)
    }

    pub(super) fn of(&self, uid: &str) -> String {
        format!("{}expiry:of:{uid}", self.prefix)
    }

    pub(super) async fn add(&self, key: &str, score: u64, entries: &[String]) -> Result<()> {
        let mut command = redis::cmd("ZADD");
        command.arg(key);
        for entry in entries {
            command.arg(score).arg(entry);
        }
        self.send(key, "ZADD", command).await.map(drop)
    }

    pub(super) async fn remove(&self, key: &str, entries: &[String]) -> Result<()> {
        let mut command = redis::cmd("ZREM");
        command.arg(key).arg(entries);
        self.send(key, "ZREM", command).await.map(drop)
    }

    /// Some entries with scores up to `to`, the lowest first, without the first `skip`.
    pub(super) async fn page(&self, key: &str, to: &str, skip: usize) -> Result<Vec<String>> {
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(key).arg("-inf").arg(to).arg("LIMIT").arg(skip).arg(PAGE);
        let entries = match self.send(key, "ZRANGEBYSCORE", command).await? {
            Value::Array(entries) => entries,
            _ => Vec::new(),
        };
        let text = |entry| match entry {
            Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
            _ => None,
        };
        Ok(entries.into_iter().filter_map(text).collect())
    }

    /// If Redis forbids the commands, warns, and does nothing from now on.
    async fn send(&self, key: &str, name: &'static str, command: Cmd) -> Result<Value> {
        if !self.is_on() {
            return Ok(Value::Nil);
        }
        let mut routed = self.pool.routed(key);
        match routed.send_each(ANSWER_LIMIT, name, KEY_IN_WORDS, &[command]).await {
            Ok(answers) => Ok(answers.into_iter().next().unwrap_or(Value::Nil)),
            Err(error) if error.is_unavailable_command() => {
                self.is_refused.store(true, Ordering::Relaxed);
                self.warnings.warn(EXPIRY, &error);
                Ok(Value::Nil)
            }
            Err(error) => Err(error),
        }
    }
}

fn entries_of(saves: &[&Save]) -> Vec<String> {
    saves.iter().map(|save| entry_of(&save.keys, save.generation)).collect()
}

/// Names one generation of a session. The namespace comes last, since its name may hold anything.
fn entry_of(keys: &SessionKeys, generation: Generation) -> String {
    format!("{generation} {} {}", keys.pid, keys.nsp)
}

/// ms since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, ms)
}
