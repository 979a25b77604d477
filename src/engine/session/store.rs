//! The sessions in Redis: every command that reads or changes them.
//!
//! A session that has ended is a string, as in upstream, under a key of its own. Beside it a hash
//! holds the records of its generations (see `record.rs`). A restore first adds the next generation
//! to the hash, which one node of all can, and only then takes the session.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{Cmd, Value};

use super::commands::{hdel, hgetall, hset, over, pexpire, set};
use super::index::Index;
use super::keys::{SessionKeys, node_key};
use super::record::{
    Generation, Holder, Last, NOT_OURS, RECORD_LIFE, Record, claimed, ended, expired, holder,
    is_newest, last_of, newest,
};
use super::save::{Save, Taken, What};
use super::{KEY_IN_WORDS, ms};
use crate::engine::error::Result;
use crate::engine::redis::{ANSWER_LIMIT, Pool, RoutedCommands, SendCommand};
use crate::engine::warnings::Warnings;
use crate::engine::wire::{EntryId, SessionHead, decode_session};

/// How long the last generation of an ended session is known, beyond the session: for nodes that
/// notice only then that the client has left them.
const MARGIN: Duration = Duration::from_secs(5 * 60);

/// Names the records in warnings.
const RECORDS: &str = "sessions, records";

pub(super) struct Store {
    pool: Arc<Pool>,
    prefix: String,
    uid: Arc<str>,
    warnings: Arc<Warnings>,
    /// Whether the sessions of connected clients are kept.
    keeps_live: bool,
    /// Finds the sessions that expire.
    index: Index,
    /// True once Redis has refused the commands for records. Sessions then have none.
    refuses_records: AtomicBool,
}

/// A session that may be restored.
#[derive(Debug)]
pub(super) struct Found {
    /// msgpack of `{sid, pid, rooms, data, …}`.
    pub(super) session: Vec<u8>,
    pub(super) head: SessionHead,
    /// [`NOT_OURS`] if an upstream node has saved it.
    generation: Generation,
    /// The generation that a restore begins.
    next: Generation,
    /// For how long the records must live at least: a restore that fails puts the session back.
    life: Duration,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// Its client has gone; Redis keeps it for this time.
    Ended(Duration),
    /// Its client was connected to a node.
    Record(Record),
}

/// What has become of a session whose time may be over.
#[derive(Debug)]
pub(super) enum Expired {
    /// This node tells so, and no other one.
    Now(Vec<u8>),
    /// It can be restored for this time.
    NotYet(Duration),
    /// Its client is connected to this node.
    Connected(String),
    /// The client is back, or has left, or another node tells.
    Otherwise,
}

/// What a search for a session has found.
#[derive(Debug)]
pub(super) enum Search {
    Found(Box<Found>),
    Gone,
    Damaged,
}

impl Found {
    /// The node that the client was connected to when the session was written; `None` if the
    /// client has gone.
    pub(super) fn owner(&self) -> Option<&str> {
        match &self.source {
            Source::Record(record) => Some(&record.owner),
            Source::Ended(_) => None,
        }
    }

    /// Set if its owner was restoring it: the client's offset at that time.
    pub(super) fn restoring_from(&self) -> Option<EntryId> {
        match &self.source {
            Source::Record(record) => record.restoring_from,
            Source::Ended(_) => None,
        }
    }
}

impl Store {
    /// `prefix` begins the session keys.
    pub(super) fn new(
        pool: Arc<Pool>,
        prefix: String,
        uid: Arc<str>,
        keeps_live: bool,
        tells_expired: bool,
        warnings: Arc<Warnings>,
    ) -> Self {
        let refuses_records = AtomicBool::new(false);
        let index =
            Index::new(pool.clone(), prefix.clone(), uid.clone(), tells_expired, warnings.clone());
        Self { pool, prefix, uid, warnings, keeps_live, index, refuses_records }
    }

    pub(super) fn keeps_live(&self) -> bool {
        self.keeps_live
    }

    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn has_records(&self) -> bool {
        !self.refuses_records.load(Ordering::Relaxed)
    }

    /// Sends `records`, if Redis permits them, behind `commands`. Returns all answers.
    async fn send(
        &self,
        keys: &SessionKeys,
        commands: Vec<Cmd>,
        records: Vec<Cmd>,
    ) -> Result<Vec<Value>> {
        let name = if commands.is_empty() { "HSET" } else { "SET" };
        let mut routed = self.routed(keys);
        if records.is_empty() || !self.has_records() {
            return routed.send_each(ANSWER_LIMIT, name, KEY_IN_WORDS, &commands).await;
        }
        let all = [commands.as_slice(), &records].concat();
        match routed.send_each(ANSWER_LIMIT, name, KEY_IN_WORDS, &all).await {
            Err(error) if error.is_unavailable_command() => {
                let answers = match commands.as_slice() {
                    [] => Vec::new(),
                    some => routed.send_each(ANSWER_LIMIT, name, KEY_IN_WORDS, some).await?,
                };
                self.send_records(&mut routed, &records).await?;
                Ok(answers)
            }
            result => result,
        }
    }

    /// Finds out whether Redis forbids the commands for records. If it does, sessions have none from
    /// now on.
    async fn send_records(&self, routed: &mut RoutedCommands, records: &[Cmd]) -> Result<()> {
        match routed.send_each(ANSWER_LIMIT, "HSET", KEY_IN_WORDS, records).await {
            Err(error) if error.is_unavailable_command() => {
                self.refuses_records.store(true, Ordering::Relaxed);
                self.warnings.warn(RECORDS, &error);
                Ok(())
            }
            result => result.map(drop),
        }
    }

    fn routed(&self, keys: &SessionKeys) -> RoutedCommands {
        self.pool.routed(&keys.ended)
    }

    /// Writes a change. Returns who has the client: if another node has begun a later generation, it
    /// is not this node's any more.
    pub(super) async fn save(&self, save: &Save) -> Result<Holder> {
        let Save { keys, generation, what, tries, .. } = save;
        // This node may notice late that its client has left it, and a save that is tried again may
        // have arrived. What another node does between this look and the save, its generation tells.
        let may_be_old = match what {
            What::Ended { .. } => true,
            What::Live { .. } => *tries > 0,
            What::Left | What::Returned(_) => false,
        };
        if !may_be_old || *generation == NOT_OURS {
            return self.write(save).await;
        }
        let holder = self.holder(keys, *generation).await?;
        if holder != Holder::ThisNode {
            self.index.left(keys, *generation).await?;
            return Ok(holder);
        }
        let written = self.write(save).await;
        if written.as_ref().is_err_and(|e| !e.connection_survives() && !e.is_answered())
            && self.has_records()
        {
            // The look has shown that the connection worked.
            save.breaks.fetch_add(1, Ordering::Relaxed);
        }
        written
    }

    async fn write(&self, save: &Save) -> Result<Holder> {
        let Save { keys, generation, what, .. } = save;
        let (live, generation) = (&keys.live, *generation);
        let index = &self.index;
        match what {
            What::Ended { session, keep } => {
                let record = match generation {
                    NOT_OURS => Vec::new(),
                    _ if index.is_on() => {
                        let life = pexpire(live, *keep + RECORD_LIFE);
                        vec![hset(live, generation, &ended(session)), life]
                    }
                    _ => over(live, generation, *keep + MARGIN),
                };
                let saved = self.send(keys, vec![set(&keys.ended, session, *keep)], record);
                if generation == NOT_OURS {
                    saved.await?;
                } else {
                    tokio::try_join!(saved, index.ended(keys, generation, *keep))?;
                }
            }
            What::Live { session, keep, .. } => {
                let record = self.record(live, generation, session, *keep);
                save.has_record.store(true, Ordering::Relaxed);
                let one = [save];
                let (answers, ()) =
                    tokio::try_join!(self.send(keys, Vec::new(), record), index.connected(&one))?;
                if save.was_gone(&answers) {
                    return self.holder_now(save).await;
                }
            }
            What::Left => {
                let over = self.send(keys, Vec::new(), over(live, generation, RECORD_LIFE));
                tokio::try_join!(over, index.left(keys, generation))?;
            }
            What::Returned(taken) => {
                let ended = taken.is_ended.then(|| set(&keys.ended, &taken.session, taken.keep));
                let records =
                    vec![hset(live, generation, &taken.record), hdel(live, taken.claimed)];
                self.send(keys, ended.into_iter().collect(), records).await?;
            }
        }
        Ok(Holder::ThisNode)
    }

    /// Writes the record of a connected client.
    pub(super) fn record(
        &self,
        live: &str,
        generation: Generation,
        session: &[u8],
        keep: Duration,
    ) -> Vec<Cmd> {
        let session = session.to_vec();
        let record = Record { owner: self.uid.to_string(), restoring_from: None, session };
        vec![hset(live, generation, &record.encode()), pexpire(live, keep + RECORD_LIFE)]
    }

    /// Who has a client whose record was gone. If it is not this node, the record that was written is
    /// deleted.
    pub(super) async fn holder_now(&self, save: &Save) -> Result<Holder> {
        let Save { keys, generation, .. } = save;
        let holder = self.holder(keys, *generation).await?;
        if holder != Holder::ThisNode {
            let forgotten = self.send(keys, Vec::new(), vec![hdel(&keys.live, *generation)]);
            tokio::try_join!(forgotten, self.index.left(keys, *generation))?;
        }
        Ok(holder)
    }

    async fn holder(&self, keys: &SessionKeys, generation: Generation) -> Result<Holder> {
        let answers = self.send(keys, Vec::new(), vec![hgetall(&keys.live)]).await?;
        Ok(answers.first().map_or(Holder::ThisNode, |records| holder(records, generation)))
    }

    /// Looks for a session. Changes nothing. `restore` names who looks.
    pub(super) async fn read(&self, keys: &SessionKeys, restore: &str) -> Result<Search> {
        let ask = |name, key: &str| {
            let mut command = redis::cmd(name);
            command.arg(key);
            command
        };
        let commands = vec![ask("PTTL", &keys.ended), ask("GET", &keys.ended)];
        let records = vec![hgetall(&keys.live), ask("PTTL", &keys.live)];
        let answers = self.send(keys, commands, records).await?;
        let (newest, record) = answers.get(2).map(newest).unwrap_or_default();
        // The answer to the claim of an attempt before was lost.
        let is_claimed = answers.get(2).is_some_and(|all| is_newest(all, &claimed(restore)));
        let life = answers.get(3).map_or(RECORD_LIFE, time_left).max(RECORD_LIFE);
        if let [keep @ Value::Int(_), Value::BulkString(value), ..] = answers.as_slice() {
            let keep = time_left(keep);
            match decoded(value) {
                // Without a generation, an upstream node has saved it, after all of ours.
                Some((session, head))
                    if is_claimed || head.generation.is_none_or(|own| own >= newest) =>
                {
                    let generation = head.generation.unwrap_or(NOT_OURS);
                    let (next, source) = (generation.max(newest) + 1, Source::Ended(keep));
                    let life = life.max(keep + MARGIN);
                    let found = Found { session, head, generation, next, life, source };
                    return Ok(Search::Found(Box::new(found)));
                }
                None if record.is_none() => return Ok(Search::Damaged),
                // A node has saved it that did not know of the restore.
                Some(_) | None => {}
            }
        }
        let Some(record) = record else { return Ok(Search::Gone) };
        let session = record.session.clone();
        let Some(head) = SessionHead::decode(&session) else { return Ok(Search::Damaged) };
        let (generation, next, source) = (newest, newest + 1, Source::Record(record));
        Ok(Search::Found(Box::new(Found { session, head, generation, next, life, source })))
    }

    /// Takes a session for a client that comes back with `offset`. Of all nodes that try, one does:
    /// it gets the new generation, and the session in case it must be put back. `None` if another
    /// node was faster. `restore` names who takes it.
    pub(super) async fn take(
        &self,
        keys: &SessionKeys,
        found: &Found,
        offset: EntryId,
        restore: &str,
    ) -> Result<Option<(Generation, Save)>> {
        let mut routed = self.routed(keys);
        if self.has_records() {
            let record = self.keeps_live.then(|| Record {
                owner: self.uid.to_string(),
                restoring_from: Some(offset),
                session: found.session.clone(),
            });
            let mut claim = redis::cmd("HSETNX");
            let record = record.as_ref().map_or_else(|| claimed(restore), Record::encode);
            claim.arg(&keys.live).arg(found.next).arg(record);
            let claim = [claim, pexpire(&keys.live, found.life)];
            let answers = routed.send_each(ANSWER_LIMIT, "HSETNX", KEY_IN_WORDS, &claim).await?;
            if answers.first() != Some(&Value::Int(1)) {
                return Ok(None);
            }
        }
        let mut del = redis::cmd("DEL");
        del.arg(&keys.ended);
        let records = vec![hdel(&keys.live, found.generation)];
        let answers = self.send(keys, vec![del], records).await?;
        let keep = match found.source {
            // An upstream node may have taken it meanwhile.
            Source::Ended(_) if answers.first() != Some(&Value::Int(1)) => {
                self.send(keys, Vec::new(), over(&keys.live, found.next, RECORD_LIFE)).await?;
                return Ok(None);
            }
            Source::Ended(keep) => keep,
            Source::Record(_) => RECORD_LIFE,
        };
        let record = match &found.source {
            Source::Record(record) => record.encode(),
            Source::Ended(_) if self.index.is_on() => ended(&found.session),
            Source::Ended(_) => Vec::new(),
        };
        let taken = Taken {
            session: found.session.clone(),
            keep,
            claimed: found.next,
            record,
            is_ended: found.owner().is_none(),
        };
        let back = Save::new(keys.clone(), found.generation, What::Returned(taken), keep);
        Ok(Some((found.next, back)))
    }

    /// Deletes a session that would be refused again. If it is gone, another node has taken it, and
    /// may put it back. If it is told when sessions expire, it stays until then.
    pub(super) async fn delete(&self, keys: &SessionKeys, found: &Found) -> Result<bool> {
        if self.index.is_on() {
            return Ok(true);
        }
        let mut del = redis::cmd("DEL");
        del.arg(&keys.ended);
        let records = match found.generation {
            NOT_OURS => Vec::new(),
            generation => over(&keys.live, generation, RECORD_LIFE),
        };
        let answers = self.send(keys, vec![del], records).await?;
        Ok(found.owner().is_some() || answers.first() == Some(&Value::Int(1)))
    }

    /// Deletes a session that cannot be read.
    pub(super) async fn delete_damaged(&self, keys: &SessionKeys) -> Result<()> {
        let del = |key: &str| {
            let mut command = redis::cmd("DEL");
            command.arg(key);
            command
        };
        self.send(keys, vec![del(&keys.ended)], vec![del(&keys.live)]).await.map(drop)
    }

    /// Claims a session whose time may be over, so that nobody restores it any more.
    pub(super) async fn expire(
        &self,
        keys: &SessionKeys,
        generation: Generation,
    ) -> Result<Expired> {
        let mut pttl = redis::cmd("PTTL");
        pttl.arg(&keys.ended);
        let answers = self.send(keys, vec![pttl], vec![hgetall(&keys.live)]).await?;
        if let Some(Value::Int(left @ 1..)) = answers.first() {
            return Ok(Expired::NotYet(Duration::from_millis(left.unsigned_abs())));
        }
        let records = answers.get(1).unwrap_or(&Value::Nil);
        let session = match last_of(records, generation, &self.uid) {
            Last::Connected(Record { owner, session, .. }) => {
                if self.is_honoured(&owner).await? {
                    return Ok(Expired::Connected(owner));
                }
                session
            }
            Last::Ended(session) => session,
            // The answer to the claim was lost.
            Last::Claimed(session) => return Ok(Expired::Now(session)),
            Last::Other => return Ok(Expired::Otherwise),
        };
        let mut claim = redis::cmd("HSETNX");
        claim.arg(&keys.live).arg(generation + 1).arg(expired(&self.uid, &session));
        let commands = vec![claim, hdel(&keys.live, generation), pexpire(&keys.live, RECORD_LIFE)];
        let answers = self.send(keys, Vec::new(), commands).await?;
        let is_ours = answers.first() == Some(&Value::Int(1));
        Ok(if is_ours { Expired::Now(session) } else { Expired::Otherwise })
    }

    /// Whether the sessions of a node that is gone may still be restored.
    pub(super) async fn is_honoured(&self, owner: &str) -> Result<bool> {
        let reply = self.send_for_node(owner, "PTTL", &[]).await?;
        Ok(matches!(reply, Value::Int(left) if left >= 0))
    }

    /// Shows that this node is alive: its sessions are honoured for the time `keep` from now on.
    pub(super) async fn show_alive(&self, keep: Duration) -> Result<()> {
        let keep = ms(keep).to_string();
        self.send_for_node(&self.uid, "SET", &["1", "PX", &keep]).await?;
        self.index.has_node().await
    }

    /// This node ends, and has no sessions any more.
    pub(super) async fn hide(&self) -> Result<()> {
        self.send_for_node(&self.uid, "DEL", &[]).await?;
        self.index.has_node_no_more().await
    }

    /// Sends a command for the key of a node.
    async fn send_for_node(&self, uid: &str, name: &'static str, args: &[&str]) -> Result<Value> {
        let key = node_key(&self.prefix, uid);
        let mut command = redis::cmd(name);
        command.arg(&key).arg(args);
        self.pool.routed(&key).send_command(name, KEY_IN_WORDS, &command).await
    }
}

/// The time in a reply to PTTL; the shortest one if the key is gone.
fn time_left(reply: &Value) -> Duration {
    match reply {
        Value::Int(left) => Duration::from_millis((*left).max(1).unsigned_abs()),
        _ => Duration::from_millis(1),
    }
}

/// The msgpack in a session key's value, and its head.
fn decoded(value: &[u8]) -> Option<(Vec<u8>, SessionHead)> {
    let session = decode_session(value)?;
    let head = SessionHead::decode(&session)?;
    Some((session, head))
}
