//! Connection settings, which `lib/connection/` makes from a JS client, a URL or an object.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::engine::address::Address;
use serde::Deserialize;

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    /// How servers are found.
    #[serde(default)]
    pub(crate) kind: Kind,
    /// Servers of the cluster to connect to first.
    #[serde(default)]
    pub(crate) nodes: Vec<NodeSettings>,
    /// Present with [`Kind::Sentinel`].
    pub(crate) sentinel: Option<SentinelSettings>,
    /// Maps `host:port`, as servers report it, to the address to connect to.
    #[serde(default)]
    pub(crate) nat_map: HashMap<String, NodeSettings>,
    /// Host name or IP address, IPv6 without brackets.
    pub(crate) host: Option<String>,
    /// TCP port; 6379 if missing.
    pub(crate) port: Option<u16>,
    /// Unix socket. Takes precedence over host and port.
    pub(crate) path: Option<String>,
    /// 4 or 6 to use only that address family.
    #[serde(default)]
    pub(crate) family: u8,
    /// Present if TLS is used.
    pub(crate) tls: Option<TlsSettings>,
    /// ACL user and password.
    #[serde(flatten)]
    pub(crate) credentials: Credentials,
    /// Database number.
    #[serde(default)]
    pub(crate) database: i64,
    /// Name shown by CLIENT LIST.
    pub(crate) client_name: Option<String>,
    /// Time limit for making a connection, in ms.
    pub(crate) connect_timeout: Option<u64>,
    /// Fixed time between two attempts, in ms. Without it the time grows.
    pub(crate) reconnect_delay: Option<u64>,
    /// Goes before stream and session keys.
    #[serde(default)]
    pub(crate) key_prefix: String,
    /// True if the prefix also goes before sharded PUB/SUB channels (ioredis does that).
    #[serde(default)]
    pub(crate) prefix_sharded_channels: bool,
    /// True if the engine must ask JS for the credentials at each connect.
    #[serde(default)]
    pub(crate) ask_credentials: bool,
}

/// How servers are found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Kind {
    /// One server.
    #[default]
    Standalone,
    /// A cluster: each key has a slot, and each slot has a master.
    Cluster,
    /// One master, whose address sentinels know.
    Sentinel,
}

/// One of several servers.
#[derive(Clone, Deserialize)]
pub(crate) struct NodeSettings {
    /// Host name or IP address, IPv6 without brackets.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u16,
    /// Set if this server has its own user or password.
    #[serde(flatten)]
    pub(crate) credentials: Credentials,
}

impl NodeSettings {
    pub(crate) fn address(&self) -> Address {
        Address::Tcp(self.host.clone(), self.port)
    }
}

#[derive(Clone, Deserialize)]
pub(crate) struct SentinelSettings {
    /// The name that the sentinels know the master by.
    pub(crate) name: String,
    pub(crate) nodes: Vec<NodeSettings>,
    /// ACL user and password of the sentinels, not of the master.
    #[serde(flatten)]
    pub(crate) credentials: Credentials,
    /// Present if the sentinels are reached by TLS.
    pub(crate) tls: Option<TlsSettings>,
}

/// User and password. `Debug` shows neither.
#[derive(Clone, Default, Deserialize)]
pub(crate) struct Credentials {
    /// ACL user; without it the server uses `default`.
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
}

/// TLS as the JS side prepared it. Everything is PEM, and keys are already decrypted.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TlsSettings {
    /// Trusted certificate authorities, PEM.
    #[serde(default)]
    pub(crate) ca: Vec<String>,
    /// Client certificate chain, PEM.
    pub(crate) cert: Option<String>,
    /// The client certificate's private key, PEM.
    pub(crate) key: Option<String>,
    /// The name expected in the server's certificate, if it is not the host.
    pub(crate) servername: Option<String>,
    /// False only if the user turned verification off.
    pub(crate) reject_unauthorized: bool,
}

impl Settings {
    /// The address of the only server, with [`Kind::Standalone`].
    pub(crate) fn address(&self) -> Address {
        match &self.path {
            Some(path) => Address::Unix(path.clone()),
            None => Address::Tcp(
                self.host.clone().unwrap_or_else(|| "localhost".to_owned()),
                self.port.unwrap_or(6379),
            ),
        }
    }

    /// Time limit for making a connection: 5 s if the setting is missing or 0.
    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout.filter(|ms| *ms > 0).unwrap_or(5_000))
    }

    /// A stream or session key with the user's prefix.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.key_prefix)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("kind", &self.kind)
            .field("address", &self.address().to_string())
            .field("tls", &self.tls.is_some())
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let settings: Settings = serde_json::from_str(
            r#"{"host":"h","username":"bob","password":"hunter2","tls":{"rejectUnauthorized":true,"key":"SECRET"}}"#,
        )
        .unwrap();
        let shown = format!("{settings:?} {:?}", settings.credentials);
        assert!(shown.contains("h:6379"));
        for secret in ["hunter2", "bob", "SECRET"] {
            assert!(!shown.contains(secret));
        }
    }

    #[test]
    fn defaults_are_redis_own() {
        let settings: Settings = serde_json::from_str("{}").unwrap();
        assert_eq!(settings.address().to_string(), "localhost:6379");
        assert_eq!(settings.connect_timeout(), Duration::from_secs(5));
        let unix: Settings = serde_json::from_str(r#"{"path":"/run/r.sock","host":"x"}"#).unwrap();
        assert_eq!(unix.address(), Address::Unix("/run/r.sock".to_owned()));
    }
}
