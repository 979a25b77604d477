//! Asks sentinels for the master, and checks the one that they name.

use std::time::Duration;

use redis::{FromRedisValue, Value};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::{Connection, SendCommand};
use crate::engine::address::Address;
use crate::engine::error::{Error, Outage, Result};
use crate::engine::warnings::Warnings;

/// The task in warnings about this check.
const ASKING_ROLE: &str = "ROLE";
/// The channel in which a sentinel reports that another master has taken over.
pub(super) const SWITCHED: &str = "+switch-master";
/// After the first answer, the others are waited for this long.
const FOR_THE_OTHERS: Duration = Duration::from_millis(300);

/// Asks all sentinels at once. Returns the master that more than half of them name. If there is none,
/// returns the one that most of those name who answer soon. A sentinel that is cut off from the others
/// goes on naming the old master, which may still run. `Err` holds all failures.
pub(super) async fn elect<F>(
    sentinels: Vec<Address>,
    ask: impl Fn(Address) -> F,
) -> std::result::Result<Address, Vec<Error>>
where
    F: Future<Output = Result<Address>> + Send + 'static,
{
    let majority = sentinels.len() / 2 + 1;
    let mut questions: JoinSet<_> = sentinels.into_iter().map(ask).collect();
    let (mut votes, mut failures) = (Vec::new(), Vec::new());
    let mut deadline = None;
    loop {
        let answer = match deadline {
            Some(deadline) => timeout_at(deadline, questions.join_next()).await.unwrap_or_default(),
            None => questions.join_next().await,
        };
        match answer {
            Some(Ok(Ok(master))) => {
                deadline.get_or_insert_with(|| Instant::now() + FOR_THE_OTHERS);
                votes.push(master.clone());
                if count(&votes, &master) >= majority {
                    return Ok(master);
                }
            }
            Some(Ok(Err(failure))) => failures.push(failure),
            // The question has panicked.
            Some(Err(_)) => {}
            None => break,
        }
    }
    // Of several with the same number, the one that was named first.
    let most = votes.iter().rev().max_by_key(|master| count(&votes, master));
    most.cloned().ok_or(failures)
}

fn count(votes: &[Address], master: &Address) -> usize {
    votes.iter().filter(|named| *named == master).count()
}

pub(crate) async fn master(connection: &mut Connection, name: &str) -> Result<Address> {
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    match connection.send("SENTINEL", name, &command).await? {
        Value::Nil => Err(unavailable(format!("the sentinels know no master `{name}`"))),
        reply => match <(String, u16)>::from_redis_value(reply) {
            Ok((host, port)) => Ok(Address::Tcp(host, port)),
            Err(_) => Err(odd("no host and port")),
        },
    }
}

/// Checks that the server is a master: a sentinel may not know yet that it no longer is one.
pub(crate) async fn check_role(
    connection: &mut impl SendCommand,
    address: &Address,
    warnings: &Warnings,
) -> Result<()> {
    let reply = match connection.send_command("ROLE", "", &redis::cmd("ROLE")).await {
        Ok(reply) => reply,
        // Without the check, a replica still refuses writes.
        Err(error @ Error::Refused { .. }) => {
            warnings.warn(ASKING_ROLE, &error);
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    warnings.clear(ASKING_ROLE);
    let Value::Array(role) = reply else { return Err(odd("no array")) };
    match role.first() {
        Some(Value::BulkString(role)) if role == b"master" => Ok(()),
        _ => Err(unavailable(format!("{address}, which the sentinels name, is no master (yet)"))),
    }
}

fn unavailable(reason: String) -> Error {
    Error::Unavailable { command: "SENTINEL", reason, outage: Outage::Passing }
}

fn odd(reason: &str) -> Error {
    Error::Protocol { command: "SENTINEL", reason: reason.to_owned() }
}
