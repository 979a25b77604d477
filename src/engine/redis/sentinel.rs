//! Asks sentinels for the master, and checks the one that they name.

use redis::{FromRedisValue, Value};

use super::{Connection, SendCommand};
use crate::engine::address::Address;
use crate::engine::error::{Error, Outage, Result};
use crate::engine::warnings::Warnings;

/// The task in warnings about this check.
const ASKING_ROLE: &str = "ROLE";

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
