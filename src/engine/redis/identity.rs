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
    parse_identity(&client, &server).ok_or_else(|| Error::Protocol {
        command: "CLIENT",
        reason: "no id, addr or run_id".to_owned(),
    })
}

/// Out of the texts of CLIENT INFO and INFO.
pub(crate) fn parse_identity(client: &str, server: &str) -> Option<Identity> {
    let field = |name: &str| {
        client.split_whitespace().find_map(|field| field.strip_prefix(name)).map(str::to_owned)
    };
    let run_id = server.lines().find_map(|line| line.strip_prefix("run_id:"))?.to_owned();
    Some(Identity { client_id: field("id=")?, address: field("addr=")?, run_id })
}

fn text(command: &'static str, reply: Value) -> Result<String> {
    String::from_redis_value(reply)
        .map_err(|_| Error::Protocol { command, reason: "no text".to_owned() })
}
