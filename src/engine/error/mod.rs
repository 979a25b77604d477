//! Every way in which the engine can fail, with stable codes for the JS side.
//!
//! - `reply`: which of them an error reply of Redis is, and what to do about it.

mod reply;

use std::time::Duration;

use super::address::Address;
pub(crate) use reply::{is_turned_away, server_words};

/// Result of the engine's own operations.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// What went wrong. `Display` says what to do; [`Error::code`] is stable and meant for programs.
///
/// No variant carries a password or a key.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Error {
    /// The settings or options handed over by JS could not be used.
    #[error("invalid {what}: {reason}")]
    Settings {
        /// Which setting.
        what: &'static str,
        /// Why it cannot be used.
        reason: String,
    },
    /// No connection to Redis: it is down or unreachable, or the connection broke.
    #[error("no connection to Redis at {address}: {reason}; {TRIED_AGAIN}")]
    Connection {
        /// `host:port` or the unix socket's path.
        address: String,
        /// The operating system's or the client library's words.
        reason: String,
    },
    /// The server hangs up on us before it does anything: on everybody, as when a herd comes back after
    /// a restart, or on those from elsewhere.
    #[error("Redis at {address} turns connections away: {reason}; {TRIED_AGAIN}")]
    TurnedAway {
        /// `host:port` or the unix socket's path.
        address: String,
        /// The server's words.
        reason: String,
    },
    /// The credentials provider gives none.
    #[error("the credentials provider has failed: {reason}")]
    Provider {
        /// Its words.
        reason: String,
    },
    /// TLS was refused by one of the two sides.
    #[error("TLS handshake with Redis at {address} failed: {reason}; {advice}")]
    Tls {
        /// `host:port`.
        address: String,
        /// rustls's words.
        reason: String,
        /// What to do about it.
        advice: &'static str,
    },
    /// Redis refused the user or the password.
    #[error(
        "Redis at {address} refused the credentials: {reason}; check `username` and `password` of the Redis client"
    )]
    Auth {
        /// `host:port` or the unix socket's path.
        address: String,
        /// The server's words.
        reason: String,
    },
    /// Redis refused a command, and would refuse it again.
    #[error("Redis refused {command}{}: {reason}; {advice}", on(.key))]
    Refused {
        /// The command's name.
        command: &'static str,
        /// The key or channel that it was for; empty when it was for none.
        key: String,
        /// The server's words.
        reason: String,
        /// What to do about it.
        advice: String,
        /// Which refusal this is.
        refusal: Refusal,
    },
    /// Redis cannot serve the command now (loading, failing over, busy): it is tried again.
    #[error("Redis cannot serve {command} now: {reason}")]
    Unavailable {
        /// The command's name.
        command: &'static str,
        /// The server's words.
        reason: String,
        /// Who may be able to.
        outage: Outage,
    },
    /// Another node of a cluster serves the key: MOVED or ASK.
    #[error(
        "another node of the Redis Cluster serves `{key}` ({reason}): with a client, a URL or settings of a single server, pass those of a cluster instead"
    )]
    Moved {
        /// The key or channel.
        key: String,
        /// The server's words.
        reason: String,
        /// Where it is, as the server says.
        to: Option<Address>,
        /// Its slot is on its way there: ASK.
        asking: bool,
    },
    /// An answer did not come in time.
    #[error("Redis did not answer {command} within {} ms", .after.as_millis())]
    Timeout {
        /// The command's name.
        command: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The server sent something that the command cannot answer.
    #[error("Redis answered {command} with something unexpected: {reason}")]
    Protocol {
        /// The command's name.
        command: &'static str,
        /// What was wrong about it.
        reason: String,
    },
    /// Too much waits to be published, or the packet alone is too large.
    #[error(
        "{}: the packet is not published and goes to clients of this process only",
        too_much(*.size, *.queued, *.bound)
    )]
    QueueFull {
        /// What the packet takes.
        size: usize,
        /// What waits.
        queued: usize,
        /// The bound, option `publishQueueBytes`.
        bound: usize,
    },
    /// Connections break over one large packet: a limit of the server, or of something before it.
    #[error(
        "Redis ended the connection each time that {command} with {bytes} bytes was sent for `{key}`: the packet is not published and goes to clients of this process only; is it larger than Redis's `proto-max-bulk-len` or `client-query-buffer-limit`, or than a limit of the service or proxy?"
    )]
    TooLarge {
        /// The command's name.
        command: &'static str,
        /// The key.
        key: String,
        /// How large the packet is.
        bytes: usize,
    },
    /// Nodes of the 0.1/0.2 protocol write to the stream, and this one speaks that of 0.3.
    #[error(
        "nodes of @socket.io/redis-streams-adapter 0.1 or 0.2, or of this package with `requestsVia: \"stream\"`, share the stream `{key}`: requests and acknowledgements do not reach them; set `requestsVia: \"stream\"` on all nodes to work with them"
    )]
    OldNodes {
        /// The stream's key.
        key: String,
    },
    /// A session cannot be restored, or not provably without a hole.
    #[error("session not restored: {0}")]
    NotRestored(&'static str),
    /// The engine was closed.
    #[error("the adapter is closed")]
    Closed,
}

/// What operators have to know of an outage.
const TRIED_AGAIN: &str = "this is tried again until it works; meanwhile packets wait, up to `publishQueueBytes`, and clients get them afterwards";

fn on(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!(" on `{key}`") }
}

fn too_much(size: usize, queued: usize, bound: usize) -> String {
    if size > bound {
        return format!(
            "a packet of {size} bytes is larger than the option `publishQueueBytes` ({bound}) allows"
        );
    }
    format!(
        "{queued} bytes wait to be published, and with {size} more that is above the option `publishQueueBytes` ({bound}); is Redis down, or slower than what is emitted?"
    )
}

/// What stands in the way of a server that cannot serve a command now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outage {
    /// It passes on this server: it loads its data, is busy, or cannot write to its disk.
    Passing,
    /// This server is not the master, or is cut off from the others: by now another one may be the
    /// master.
    NotMaster,
}

/// The refusals that users meet, each with a code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    /// An ACL rule forbids the command, the key or the channel.
    NoPermission,
    /// The key holds something that is no stream.
    WrongType,
    /// `maxmemory` is reached.
    OutOfMemory,
    /// The server does not know the command.
    Unsupported,
    /// Any other error reply.
    Other,
}

impl Error {
    /// Stable code, carried by JS errors and warnings as `code`.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Error::Settings { .. } => "ERR_SIO_REDIS_SETTING",
            Error::Connection { .. } | Error::TurnedAway { .. } | Error::Provider { .. } => {
                "ERR_SIO_REDIS_CONNECTION"
            }
            Error::Tls { .. } => "ERR_SIO_REDIS_TLS",
            Error::Auth { .. } => "ERR_SIO_REDIS_AUTH",
            Error::Refused { refusal, .. } => match refusal {
                Refusal::NoPermission => "ERR_SIO_REDIS_NOPERM",
                Refusal::WrongType => "ERR_SIO_REDIS_WRONGTYPE",
                Refusal::OutOfMemory => "ERR_SIO_REDIS_OOM",
                Refusal::Unsupported => "ERR_SIO_REDIS_UNSUPPORTED",
                Refusal::Other => "ERR_SIO_REDIS_REFUSED",
            },
            Error::Unavailable { .. } | Error::Moved { .. } => "ERR_SIO_REDIS_UNAVAILABLE",
            Error::Timeout { .. } => "ERR_SIO_REDIS_TIMEOUT",
            Error::Protocol { .. } => "ERR_SIO_REDIS_PROTOCOL",
            Error::TooLarge { .. } => "ERR_SIO_REDIS_TOO_LARGE",
            Error::QueueFull { .. } => "ERR_SIO_REDIS_QUEUE_FULL",
            Error::OldNodes { .. } => "ERR_SIO_REDIS_OLD_NODES",
            Error::NotRestored(_) => "ERR_SIO_REDIS_NOT_RESTORED",
            Error::Closed => "ERR_SIO_REDIS_CLOSED",
        }
    }

    /// True when trying the same again cannot help until somebody changes Redis or the settings.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Error::Refused { .. } | Error::Auth { .. } | Error::Tls { .. } | Error::Settings { .. }
        )
    }

    /// True when Redis has reached its `maxmemory`.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        matches!(self, Error::Refused { refusal: Refusal::OutOfMemory, .. })
    }

    /// True when the server does not let this command through, for this user or for anybody.
    pub(crate) fn is_forbidden(&self) -> bool {
        let forbidden = [Refusal::NoPermission, Refusal::Unsupported, Refusal::Other];
        matches!(self, Error::Refused { refusal, .. } if forbidden.contains(refusal))
    }

    /// What is at fault: errors with the same cause need to be said once, whoever meets them.
    pub(crate) fn cause(&self) -> String {
        match self {
            Error::Refused { key, refusal: Refusal::WrongType | Refusal::OutOfMemory, .. } => {
                format!("{} {key}", self.code())
            }
            Error::Provider { .. } => format!("{} provider", self.code()),
            // Not the same as that the connection before has broken.
            Error::TurnedAway { .. } => format!("{} turned away", self.code()),
            // Each names another right or command.
            Error::Refused { command, .. } => format!("{} {command}", self.code()),
            _ => self.code().to_owned(),
        }
    }

    /// True when the connection on which this came up is still good.
    pub(crate) fn connection_survives(&self) -> bool {
        match self {
            Error::Unavailable { outage, .. } => *outage == Outage::Passing,
            Error::Refused { .. } | Error::NotRestored(_) => true,
            _ => false,
        }
    }

    /// True when the server has answered, and nothing was done.
    pub(crate) fn is_answered(&self) -> bool {
        matches!(self, Error::Refused { .. } | Error::Unavailable { .. } | Error::Moved { .. })
    }
}
