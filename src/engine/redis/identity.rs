//! Who a connection is for the server: what it takes to end it from another one.

use redis::{FromRedisValue, Value};

use super::RawConnection;
use crate::engine::error::{Error, Result};

/// Names a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// CLIENT ID.
    pub client_id: String,
    /// Our side's address, as the server sees it.
    pub address: String,
    /// Which server, and which start of it: IDs start again with the server.
    pub run_id: String,
}

/// Asks the server who we are. Servers that do not tell leave a resend in doubt, no more.
pub async fn identify(connection: &mut RawConnection) -> Result<Identity> {
    let mut info = redis::cmd("CLIENT");
    info.arg("INFO");
    let client = text("CLIENT", connection.send("CLIENT", "INFO", &info).await?)?;
    let mut info = redis::cmd("INFO");
    info.arg("server");
    let server = text("INFO", connection.send("INFO", "server", &info).await?)?;
    let field = |name: &str| {
        client.split_whitespace().find_map(|field| field.strip_prefix(name)).map(str::to_owned)
    };
    let run_id = server.lines().find_map(|line| line.strip_prefix("run_id:")).map(str::to_owned);
    match (field("id="), field("addr="), run_id) {
        (Some(client_id), Some(address), Some(run_id)) => {
            Ok(Identity { client_id, address, run_id })
        }
        _ => Err(Error::Protocol { command: "CLIENT", reason: "no id, addr or run_id".to_owned() }),
    }
}

fn text(command: &'static str, reply: Value) -> Result<String> {
    String::from_redis_value(reply)
        .map_err(|_| Error::Protocol { command, reason: "no text".to_owned() })
}
