//! The commands that write and read the keys of one session.

use std::time::Duration;

use redis::Cmd;

use super::ms;
use super::record::{FIRST, Generation};
use crate::engine::wire::encode_session;

pub(super) fn set(key: &str, session: &[u8], keep: Duration) -> Cmd {
    let mut command = redis::cmd("SET");
    command.arg(key).arg(encode_session(session)).arg("PX").arg(ms(keep));
    command
}

pub(super) fn hset(key: &str, generation: Generation, record: &[u8]) -> Cmd {
    let mut command = redis::cmd("HSET");
    command.arg(key).arg(generation).arg(record);
    command
}

/// Nobody is connected in this generation any more. It stays known for a while, or a save of an
/// earlier one, from a node that notices only now that the client has left it, would count again.
/// No node of ours has one before the first, and most sessions have no other.
pub(super) fn over(key: &str, generation: Generation, life: Duration) -> Vec<Cmd> {
    match generation {
        FIRST => vec![hdel(key, FIRST)],
        _ => vec![hset(key, generation, b""), pexpire(key, life)],
    }
}

pub(super) fn hgetall(key: &str) -> Cmd {
    let mut command = redis::cmd("HGETALL");
    command.arg(key);
    command
}

pub(super) fn hdel(key: &str, generation: Generation) -> Cmd {
    let mut command = redis::cmd("HDEL");
    command.arg(key).arg(generation);
    command
}

pub(super) fn pexpire(key: &str, life: Duration) -> Cmd {
    let mut command = redis::cmd("PEXPIRE");
    command.arg(key).arg(ms(life));
    command
}
