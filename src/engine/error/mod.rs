//! Every way in which the engine can fail, with stable codes for the JS side.
//!
//! - `reply`: makes an [`Error`] of an error reply of Redis, with advice.

mod reply;

use std::time::Duration;

use super::address::Address;

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// What went wrong. `Display` tells users what to do. [`Error::code`] is stable and meant for
/// programs.
///
/// No variant carries a password or a private key.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Error {
    /// The engine cannot use the settings or options that JS passed.
    #[error("invalid {what}: {reason}")]
    Settings {
        /// The setting or option, by the name that users know.
        what: &'static str,
        reason: String,
    },
    /// There is no connection to Redis: the server is down or unreachable, or the connection broke.
    #[error("no connection to Redis at {address}: {reason}; {TRIED_AGAIN}")]
    Connection {
        /// `host:port` or the unix socket's path.
        address: String,
        /// The message of the operating system or of the client library.
        reason: String,
    },
    /// The server ends the connection before it executes anything. It does so to everybody when it
    /// has too many clients, for example when all come back after a restart. In protected mode it
    /// does so to clients from other hosts.
    #[error("Redis at {address} turns connections away: {reason}; {TRIED_AGAIN}")]
    TurnedAway {
        /// `host:port` or the unix socket's path.
        address: String,
        /// The server's message.
        reason: String,
    },
    /// The credentials provider has failed.
    #[error("the credentials provider has failed: {reason}")]
    Provider {
        /// The provider's message.
        reason: String,
    },
    /// One of the two sides refused the TLS handshake.
    #[error("TLS handshake with Redis at {address} failed: {reason}; {advice}")]
    Tls {
        /// `host:port`.
        address: String,
        /// rustls's message.
        reason: String,
        advice: &'static str,
    },
    /// Redis refused the user or the password.
    #[error(
        "Redis at {address} refused the credentials: {reason}; check `username` and `password` of the Redis client"
    )]
    Auth {
        /// `host:port` or the unix socket's path.
        address: String,
        /// The server's message.
        reason: String,
    },
    /// The settings have a password, and the server asks for none. The connection is used without a
    /// login.
    #[error(
        "Redis at {address} has no password for its user `default`, but the Redis client has one: the adapter goes on without a login; leave out `password`, or set a password in Redis"
    )]
    NeedlessPassword {
        /// `host:port` or the unix socket's path.
        address: String,
    },
    /// Redis refused a command, and would refuse it again.
    #[error("Redis refused {command}{}: {reason}; {advice}", on(.key))]
    Refused {
        command: &'static str,
        /// The key or channel of the command; empty if it has none.
        key: String,
        /// The server's message.
        reason: String,
        advice: String,
        refusal: Refusal,
    },
    /// Redis cannot serve the command now (loading, failing over, busy). The engine tries again.
    #[error("Redis cannot serve {command} now: {reason};{} {TRIED_AGAIN}", .outage.in_words())]
    Unavailable {
        command: &'static str,
        /// The server's message.
        reason: String,
        /// Whether the same server can serve it later, or only another one.
        outage: Outage,
    },
    /// The server that the address leads to has been a replica for long.
    #[error(
        "Redis has been read-only for {} s: what this node publishes to `{key}` reaches its own clients only; give the adapter the address of the master", .for_long.as_secs()
    )]
    ReadOnly { key: String, for_long: Duration },
    /// Another server of the cluster serves the key: MOVED or ASK.
    #[error(
        "another node of the Redis Cluster serves `{key}` ({reason}): with a client, a URL or settings of a single server, pass those of a cluster instead"
    )]
    Moved {
        /// The key or channel.
        key: String,
        /// The server's message.
        reason: String,
        /// The address of that server, if the reply names one.
        to: Option<Address>,
        /// True for ASK: that server is taking over the slot.
        asking: bool,
    },
    /// Redis did not answer in time.
    #[error(
        "Redis{} did not answer {command} within {} ms: it, or the network to it, is overloaded or stopped; {TRIED_AGAIN}",
        at(.address), .after.as_millis()
    )]
    Timeout {
        command: &'static str,
        /// `host:port` or the unix socket's path; empty if it is not known.
        address: String,
        /// The time limit that passed.
        after: Duration,
    },
    /// The server sent something that is no answer to the command.
    #[error("Redis answered {command} with something unexpected: {reason}")]
    Protocol {
        command: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Too many bytes wait to be published, or the packet alone is too large.
    #[error(
        "{}: the packet is not published and goes to clients of this process only",
        too_much(*.size, *.queued, *.bound)
    )]
    QueueFull {
        /// What the packet takes while it waits, in bytes.
        size: usize,
        /// Bytes that wait already.
        queued: usize,
        /// The option `publishQueueBytes`, in bytes.
        bound: usize,
    },
    /// The sessions of clients that have gone take too many bytes while they wait for Redis.
    #[error(
        "sessions of clients that have gone wait for Redis and take as much as `publishQueueBytes` allows ({bound} bytes): clients that go now start anew when they come back"
    )]
    SessionsFull {
        /// The option `publishQueueBytes`, in bytes.
        bound: usize,
    },
    /// The connection breaks each time that the writer sends a large packet. The server, or
    /// something before it, has a limit.
    #[error(
        "Redis ended the connection each time that {command} with {bytes} bytes was sent for `{key}`: the packet is not published and goes to clients of this process only; is it larger than Redis's `proto-max-bulk-len` or `client-query-buffer-limit`, or than a limit of the service or proxy?"
    )]
    TooLarge {
        command: &'static str,
        key: String,
        /// The packet's size.
        bytes: usize,
    },
    /// The connection breaks each time that a large session is saved.
    #[error(
        "Redis ended the connection each time that a session of {bytes} bytes was saved: its client starts anew when it comes back; keep less in `socket.data`, or is the session larger than Redis's `proto-max-bulk-len` or `client-query-buffer-limit`, or than a limit of the service or proxy?"
    )]
    SessionTooLarge {
        /// The session's size.
        bytes: usize,
    },
    /// Nodes of the 0.1/0.2 protocol write to the stream, and this node speaks that of 0.3.
    #[error(
        "nodes of @socket.io/redis-streams-adapter 0.1 or 0.2, or of this package with `requestsVia: \"stream\"`, share the stream `{key}`: requests and acknowledgements do not reach them; set `requestsVia: \"stream\"` on all nodes to work with them"
    )]
    OldNodes {
        /// The stream's key.
        key: String,
    },
    /// The reader may read from replicas, and none is fit for it.
    #[error(
        "no replica to read from: {reason}; the adapter reads from the master, and goes on looking for a replica (`readFrom`)"
    )]
    NoReplica {
        /// What is wrong with the last one that was looked at.
        reason: String,
    },
    /// The server cannot trim the stream by age.
    #[error(
        "Redis does not know `XADD … MINID`, which came with 6.2, or does not tell its version: age does not bound the stream `{key}`, and it keeps up to {max_len} entries (`maxLen`)"
    )]
    NoMinId {
        /// The stream's key.
        key: String,
        max_len: u64,
    },
    /// Clients were refused because the stream does not reach back as far as they were away.
    #[error(
        "a client came back after {:.1} s and was not recovered: the stream `{key}` holds {length} entries, those of the last {:.1} s, and connection state recovery may need {:.0} s; {advice}, on all nodes and emitters",
        .away.as_secs_f64(), .span.as_secs_f64(), .needed.as_secs_f64()
    )]
    StreamTooShort {
        /// The stream's key.
        key: String,
        length: u64,
        away: Duration,
        /// From the first entry to the last one.
        span: Duration,
        needed: Duration,
        advice: String,
    },
    /// A session cannot be restored, or the engine cannot prove that no packet is missing.
    #[error("session not restored: {0}")]
    NotRestored(&'static str),
    /// The engine was closed.
    #[error("the adapter is closed")]
    Closed,
    /// The engine was closed before Redis had taken everything.
    #[error(
        "the adapter was closed before Redis had taken {packets} packets: they went to clients of this process only; `close()` waits for Redis as long as it takes something within 5 s"
    )]
    ClosedEarly {
        /// How many packets, joins, leaves and disconnects were not written.
        packets: u64,
    },
    /// The engine was closed before Redis had taken the sessions of clients that have gone.
    #[error(
        "the adapter was closed before Redis had taken the sessions of {clients} clients: they start anew when they come back; `close()` waits for Redis as long as it takes something within 5 s"
    )]
    ClosedUnsaved {
        /// How many sessions were not saved.
        clients: u64,
    },
}

/// What operators have to know about an outage.
const TRIED_AGAIN: &str = "this is tried again until it works; meanwhile packets wait, up to `publishQueueBytes`, and clients get them afterwards";

fn on(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!(" on `{key}`") }
}

fn at(address: &str) -> String {
    if address.is_empty() { String::new() } else { format!(" at {address}") }
}

fn too_much(size: usize, queued: usize, bound: usize) -> String {
    if size > bound {
        return format!(
            "a packet that takes {size} bytes while it waits is larger than the option `publishQueueBytes` ({bound}) allows"
        );
    }
    format!(
        "{queued} bytes wait to be published, and with {size} more that is above the option `publishQueueBytes` ({bound}); is Redis down, or slower than what is emitted?"
    )
}

/// Why a server cannot serve a command now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outage {
    /// It passes on the same server, which loads its data, is busy, or cannot write to its disk.
    Passing,
    /// This server is not the master, or is cut off from the others. Another one may be the master
    /// by now.
    NotMaster,
}

/// The kinds of refusals that users meet. Each has its own code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    /// An ACL rule forbids the command, the key or the channel.
    NoPermission,
    /// The key holds something that is not a stream.
    WrongType,
    /// `maxmemory` is reached.
    OutOfMemory,
    /// The server does not know the command.
    Unsupported,
    /// Any other error reply.
    Other,
}

impl Outage {
    /// Redis's own words do not tell it: a master that became a replica replies with UNBLOCKED.
    fn in_words(self) -> &'static str {
        match self {
            Outage::Passing => "",
            Outage::NotMaster => {
                " this server is not the master any more, or is cut off from the others: the adapter looks for another one as well;"
            }
        }
    }
}

impl Error {
    /// A stable code, which JS errors and warnings carry as `code`.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Error::Settings { .. } => "ERR_SIO_REDIS_SETTING",
            Error::Connection { .. } | Error::TurnedAway { .. } | Error::Provider { .. } => {
                "ERR_SIO_REDIS_CONNECTION"
            }
            Error::Tls { .. } => "ERR_SIO_REDIS_TLS",
            Error::Auth { .. } | Error::NeedlessPassword { .. } => "ERR_SIO_REDIS_AUTH",
            Error::Refused { refusal, .. } => match refusal {
                Refusal::NoPermission => "ERR_SIO_REDIS_NOPERM",
                Refusal::WrongType => "ERR_SIO_REDIS_WRONGTYPE",
                Refusal::OutOfMemory => "ERR_SIO_REDIS_OOM",
                Refusal::Unsupported => "ERR_SIO_REDIS_UNSUPPORTED",
                Refusal::Other => "ERR_SIO_REDIS_REFUSED",
            },
            Error::Unavailable { .. } | Error::ReadOnly { .. } | Error::Moved { .. } => {
                "ERR_SIO_REDIS_UNAVAILABLE"
            }
            Error::Timeout { .. } => "ERR_SIO_REDIS_TIMEOUT",
            Error::Protocol { .. } => "ERR_SIO_REDIS_PROTOCOL",
            Error::TooLarge { .. } | Error::SessionTooLarge { .. } => "ERR_SIO_REDIS_TOO_LARGE",
            Error::QueueFull { .. } | Error::SessionsFull { .. } => "ERR_SIO_REDIS_QUEUE_FULL",
            Error::OldNodes { .. } => "ERR_SIO_REDIS_OLD_NODES",
            Error::NoMinId { .. } => "ERR_SIO_REDIS_NO_MINID",
            Error::NoReplica { .. } => "ERR_SIO_REDIS_NO_REPLICA",
            Error::StreamTooShort { .. } => "ERR_SIO_REDIS_STREAM_TOO_SHORT",
            Error::NotRestored(_) => "ERR_SIO_REDIS_NOT_RESTORED",
            Error::Closed | Error::ClosedEarly { .. } | Error::ClosedUnsaved { .. } => {
                "ERR_SIO_REDIS_CLOSED"
            }
        }
    }

    /// True if another attempt cannot succeed until somebody changes Redis or the settings.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Error::Refused { .. } | Error::Auth { .. } | Error::Tls { .. } | Error::Settings { .. }
        )
    }

    /// True for a refusal that may end while the node runs: Redis is full, or its users, passwords
    /// or certificates are about to change.
    pub(crate) fn may_pass(&self) -> bool {
        let passing = [Refusal::NoPermission, Refusal::OutOfMemory];
        match self {
            Error::Auth { .. } | Error::Tls { .. } => true,
            Error::Refused { refusal, .. } => passing.contains(refusal),
            _ => false,
        }
    }

    /// True if the server does not know the command, or forbids it or its key.
    pub(crate) fn is_unavailable_command(&self) -> bool {
        matches!(self, Error::Refused { refusal: Refusal::NoPermission | Refusal::Unsupported, .. })
    }

    /// True if the server is a replica, or refuses to write as a replica does.
    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self, Error::Unavailable { reason, .. } if reason.starts_with("READONLY"))
    }

    pub(crate) fn is_out_of_memory(&self) -> bool {
        matches!(self, Error::Refused { refusal: Refusal::OutOfMemory, .. })
    }

    /// True if the server does not allow this command, for this user or for anybody.
    pub(crate) fn is_forbidden(&self) -> bool {
        let forbidden = [Refusal::NoPermission, Refusal::Unsupported, Refusal::Other];
        matches!(self, Error::Refused { refusal, .. } if forbidden.contains(refusal))
    }

    /// What is at fault. The engine warns once of all errors with the same cause, whichever task
    /// meets them.
    pub(crate) fn cause(&self) -> String {
        match self {
            Error::Refused { key, refusal: Refusal::WrongType | Refusal::OutOfMemory, .. } => {
                format!("{} {key}", self.code())
            }
            Error::Provider { .. } => format!("{} provider", self.code()),
            Error::NeedlessPassword { .. } => format!("{} needless", self.code()),
            // Another one than that of a server that is busy or loads its data.
            Error::Unavailable { outage: Outage::NotMaster, .. } => {
                format!("{} not the master", self.code())
            }
            Error::ReadOnly { .. } => format!("{} read-only", self.code()),
            Error::SessionTooLarge { .. } => format!("{} session", self.code()),
            // This is another cause than a broken connection.
            Error::TurnedAway { .. } => format!("{} turned away", self.code()),
            // Each command may need another permission.
            Error::Refused { command, .. } => format!("{} {command}", self.code()),
            _ => self.code().to_owned(),
        }
    }

    /// True if Redis is down, or lets the engine do nothing at present.
    pub(crate) fn is_outage(&self) -> bool {
        matches!(
            self,
            Error::Connection { .. }
                | Error::TurnedAway { .. }
                | Error::Tls { .. }
                | Error::Auth { .. }
                | Error::Timeout { .. }
                | Error::Unavailable { .. }
        )
    }

    /// True if the connection on which this error came up can still be used.
    pub(crate) fn connection_survives(&self) -> bool {
        match self {
            Error::Unavailable { outage, .. } => *outage == Outage::Passing,
            Error::Refused { .. } | Error::NotRestored(_) => true,
            _ => false,
        }
    }

    /// True if the server answered and executed nothing.
    pub(crate) fn is_answered(&self) -> bool {
        matches!(self, Error::Refused { .. } | Error::Unavailable { .. } | Error::Moved { .. })
    }
}
