//! Questions to a server about itself and a connection: the connection's identity, by which another
//! connection can end it, and the server's `run_id`.

use redis::{FromRedisValue, Value};

use super::{RawConnection, SendCommand};
use crate::engine::error::{Error, Result};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The ID that the server gave the connection (CLIENT ID).
    pub(crate) client_id: String,
    /// The address of our end of the connection, as the server sees it.
    pub(crate) address: String,
    /// The server's `run_id`. After a restart of the server it differs, and client IDs start again.
    pub(crate) run_id: String,
}

/// The server's `run_id`. It identifies the server and changes with each restart.
pub(super) async fn run_id(connection: &mut impl SendCommand) -> Result<String> {
    let server = info(connection, "server").await?;
    run_id_in(&server)
        .ok_or_else(|| Error::Protocol { command: "INFO", reason: "no run_id".to_owned() })
}

/// Whether XADD knows `MINID`, which Redis does since 6.2. Forks tell the version of Redis that they
/// are compatible with.
pub(crate) async fn knows_min_id(connection: &mut impl SendCommand) -> Result<bool> {
    let server = info(connection, "server").await?;
    let version = server.lines().find_map(|line| line.strip_prefix("redis_version:"));
    let parsed = version.and_then(|version| {
        let mut numbers = version.trim_end().split('.').map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    let no_version = || Error::Protocol { command: "INFO", reason: "no redis_version".to_owned() };
    Ok(parsed.ok_or_else(no_version)? >= (6, 2))
}

async fn info(connection: &mut impl SendCommand, section: &'static str) -> Result<String> {
    let mut command = redis::cmd("INFO");
    command.arg(section);
    text("INFO", connection.send_command("INFO", section, &command).await?)
}

/// Asks the server for this connection's identity. If the server does not tell, the writer may
/// write a batch in doubt twice. Nothing else changes.
pub(crate) async fn identify(connection: &mut RawConnection) -> Result<Identity> {
    let mut command = redis::cmd("CLIENT");
    command.arg("INFO");
    let client = text("CLIENT", connection.send("CLIENT", "INFO", &command).await?)?;
    // The connector has asked already, unless the server is one of a cluster.
    let known = connection.server().run_id().map(|known| known.to_string());
    let run_id = match known {
        Some(run_id) => run_id,
        None => run_id(connection).await?,
    };
    parse_client(&client, run_id)
        .ok_or_else(|| Error::Protocol { command: "CLIENT", reason: "no id or addr".to_owned() })
}

/// Parses the replies to CLIENT INFO and INFO.
#[cfg(any(test, fuzzing))]
pub(crate) fn parse_identity(client: &str, server: &str) -> Option<Identity> {
    parse_client(client, run_id_in(server)?)
}

fn parse_client(client: &str, run_id: String) -> Option<Identity> {
    let field = |name: &str| {
        client.split_whitespace().find_map(|field| field.strip_prefix(name)).map(str::to_owned)
    };
    Some(Identity { client_id: field("id=")?, address: field("addr=")?, run_id })
}

fn run_id_in(server: &str) -> Option<String> {
    server.lines().find_map(|line| line.strip_prefix("run_id:")).map(|id| id.trim_end().to_owned())
}

fn text(command: &'static str, reply: Value) -> Result<String> {
    String::from_redis_value(reply)
        .map_err(|_| Error::Protocol { command, reason: "no text".to_owned() })
}
