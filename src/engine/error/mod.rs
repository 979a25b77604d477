//! Every way in which the engine can fail, with stable codes for the JS side.

use std::time::Duration;

use super::address::Address;
use redis::{ErrorKind, RedisError, ServerErrorKind, Value};

/// Result of the engine's own operations.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong. `Display` says what to do; [`Error::code`] is stable and meant for programs.
///
/// No variant carries a password or a key.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The settings or options handed over by JS could not be used.
    #[error("invalid {what}: {reason}")]
    Settings {
        /// Which setting.
        what: &'static str,
        /// Why it cannot be used.
        reason: String,
    },
    /// No connection to Redis: it is down or unreachable, or the connection broke.
    #[error("no connection to Redis at {address}: {reason}")]
    Connection {
        /// `host:port` or the unix socket's path.
        address: String,
        /// The operating system's or the client library's words.
        reason: String,
    },
    /// The credentials provider gives none.
    #[error("the credentials provider has failed: {reason}")]
    Provider {
        /// Its words.
        reason: String,
    },
    /// TLS was refused by one of the two sides.
    #[error(
        "TLS handshake with Redis at {address} failed: {reason}; check `tls.ca`, `tls.cert`, `tls.key` and `tls.servername` of the Redis client"
    )]
    Tls {
        /// `host:port`.
        address: String,
        /// rustls's words.
        reason: String,
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
    #[error("Redis refused {command} on `{key}`: {reason}; {advice}")]
    Refused {
        /// The command's name.
        command: &'static str,
        /// The key or channel that it was for.
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
    /// Too much waits to be published.
    #[error(
        "{queued} bytes wait to be published, the bound is {bound}: the packet is not published and goes to clients of this process only; is Redis down? See the option `publishQueueBytes`"
    )]
    QueueFull {
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

/// The refusals that users meet, each with a code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
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
    pub fn code(&self) -> &'static str {
        match self {
            Error::Settings { .. } => "ERR_SIO_REDIS_SETTING",
            Error::Connection { .. } | Error::Provider { .. } => "ERR_SIO_REDIS_CONNECTION",
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
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Error::Refused { .. } | Error::Auth { .. } | Error::Tls { .. } | Error::Settings { .. }
        )
    }

    /// True when Redis has reached its `maxmemory`.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Error::Refused { refusal: Refusal::OutOfMemory, .. })
    }

    /// True when the server does not let this command through, for this user or for anybody.
    pub fn is_forbidden(&self) -> bool {
        let forbidden = [Refusal::NoPermission, Refusal::Unsupported, Refusal::Other];
        matches!(self, Error::Refused { refusal, .. } if forbidden.contains(refusal))
    }

    /// What is at fault: errors with the same cause need to be said once, whoever meets them.
    pub fn cause(&self) -> String {
        match self {
            Error::Refused { key, refusal: Refusal::WrongType | Refusal::OutOfMemory, .. } => {
                format!("{} {key}", self.code())
            }
            Error::Provider { .. } => format!("{} provider", self.code()),
            // Not the same as that the connection before has broken.
            Error::Connection { reason, .. } if is_turned_away(reason) => {
                format!("{} turned away", self.code())
            }
            // Each names another right or command.
            Error::Refused { command, .. } => format!("{} {command}", self.code()),
            _ => self.code().to_owned(),
        }
    }

    /// True when the connection on which this came up is still good.
    pub fn connection_survives(&self) -> bool {
        match self {
            // A replica, or what has become one, or a node cut off from its cluster: by now another
            // server may be the master.
            Error::Unavailable { reason, .. } => {
                !["READONLY", "MASTERDOWN", "CLUSTERDOWN"].iter().any(|at| reason.starts_with(at))
            }
            Error::Refused { .. } | Error::NotRestored(_) => true,
            _ => false,
        }
    }

    /// True when the server has answered, and nothing was done.
    pub fn is_answered(&self) -> bool {
        matches!(self, Error::Refused { .. } | Error::Unavailable { .. } | Error::Moved { .. })
    }

    /// Sorts an error of redis-rs, met while sending `command` for `key`.
    pub fn from_redis(command: &'static str, key: &str, address: &str, error: &RedisError) -> Self {
        let reason = server_words(error);
        if let Some(cause) = cause_of_abort(&reason) {
            return Error::from_redis(command, key, address, &cause);
        }
        match error.kind() {
            // The server hangs up on everybody (a herd after a restart), or on those from elsewhere.
            _ if is_turned_away(&reason) => {
                Error::Connection { address: address.to_owned(), reason }
            }
            // Passes by itself: replicas or a disk that are away.
            _ if reason.contains("NOREPLICAS") || reason.contains("MISCONF") => {
                Error::Unavailable { command, reason }
            }
            // What Redis says to a long command before the login.
            _ if reason.contains("unauthenticated") => {
                Error::Auth { address: address.to_owned(), reason }
            }
            ErrorKind::Server(kind) => match kind {
                ServerErrorKind::BusyLoading
                | ServerErrorKind::TryAgain
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly => Error::Unavailable { command, reason },
                ServerErrorKind::Moved | ServerErrorKind::Ask => {
                    Error::moved(key, address, reason, kind == ServerErrorKind::Ask)
                }
                _ => Error::refused(command, key, reason),
            },
            ErrorKind::Extension => match error.code().unwrap_or_default() {
                "BUSY" | "UNBLOCKED" => Error::Unavailable { command, reason },
                "NOAUTH" | "WRONGPASS" => Error::Auth { address: address.to_owned(), reason },
                _ => Error::refused(command, key, reason),
            },
            ErrorKind::AuthenticationFailed => Error::Auth { address: address.to_owned(), reason },
            // The connection ended in the middle of a reply.
            ErrorKind::Parse if error.to_string().contains("end of input") => {
                let reason = "the connection ended in the middle of a reply".to_owned();
                Error::Connection { address: address.to_owned(), reason }
            }
            // Something that is no Redis.
            ErrorKind::Parse => {
                Error::Protocol { command, reason: format!("{error} (from {address})") }
            }
            _ => Error::Connection { address: address.to_owned(), reason: error.to_string() },
        }
    }

    /// `reason` is `MOVED slot host:port`, or the same with ASK.
    fn moved(key: &str, address: &str, reason: String, asking: bool) -> Self {
        let to = reason.split_ascii_whitespace().nth(2).and_then(|to| {
            let writer = Address::Tcp(address.rsplit_once(':')?.0.to_owned(), 0);
            Address::parse(to, &writer)
        });
        Error::Moved { key: key.to_owned(), reason, to, asking }
    }

    fn refused(command: &'static str, key: &str, reason: String) -> Self {
        let (refusal, advice) = advice_for(&reason);
        let advice = match (refusal, loss_without(command)) {
            (Refusal::NoPermission, Some(loss)) => {
                format!("grant the ACL user this command, or go without: {loss}")
            }
            (Refusal::Unsupported | Refusal::Other, Some(loss)) => {
                format!("it can be done without: {loss}")
            }
            _ => advice.to_owned(),
        };
        Error::Refused { command, key: key.to_owned(), reason, advice, refusal }
    }
}

/// What is lost where a server refuses a command that is not needed: managed services and proxies
/// do not let everything through.
fn loss_without(command: &str) -> Option<&'static str> {
    Some(match command {
        "CLIENT" | "INFO" => "after a cut a packet may be written twice",
        "EXEC" | "MULTI" => "a batch may be written in part when Redis refuses some of it",
        "HELLO" => "PUB/SUB takes two connections, and `useShardedPubSub` does not work",
        "PUBSUB" => "only the nodes that are heard are counted, upstream's are not",
        "TIME" => "a node begins with what is written once it is connected, not once it is started",
        "ROLE" => "a master that was replaced is noticed only when it refuses to write",
        "XINFO" => "a stream that is deleted and written again within a second goes unnoticed",
        _ => return None,
    })
}

/// What a server says before it hangs up, whatever it was asked.
pub fn is_turned_away(reason: &str) -> bool {
    reason.contains("max number of clients") || reason.starts_with("DENIED ")
}

/// Why EXEC was refused, where the server's words hold those of another refusal.
fn cause_of_abort(reason: &str) -> Option<RedisError> {
    let (_, cause) = reason.split_once("Transaction discarded because of: ")?;
    match redis::parse_redis_value(format!("-{}\r\n", cause.trim()).as_bytes()) {
        Ok(Value::ServerError(error)) => Some(error.into()),
        _ => None,
    }
}

/// The error reply as the server sent it, which redis-rs takes apart. The arguments of a command
/// that the server does not know are left out: they hold users' data.
pub fn server_words(error: &RedisError) -> String {
    let words = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) if !detail.starts_with(code) => format!("{code} {detail}"),
        (_, Some(detail)) => detail.to_owned(),
        _ => error.to_string(),
    };
    match words.find(", with args beginning with") {
        Some(end) => words[..end].to_owned(),
        None => words,
    }
}

fn advice_for(reason: &str) -> (Refusal, &'static str) {
    const ADVICE: &[(&str, Refusal, &str)] = &[
        (
            "NOPERM",
            Refusal::NoPermission,
            "grant the ACL user this command, key and channel (see \"Permissions of the Redis user\" in docs/operations.md)",
        ),
        (
            "no permissions",
            Refusal::NoPermission,
            "grant the ACL user this command (see \"Permissions of the Redis user\" in docs/operations.md)",
        ),
        (
            "WRONGTYPE",
            Refusal::WrongType,
            "the key is used by something else: delete it or choose another `streamName`",
        ),
        (
            "OOM",
            Refusal::OutOfMemory,
            "raise Redis's `maxmemory`, or lower the adapter's option `maxLen`",
        ),
        (
            "unknown command",
            Refusal::Unsupported,
            "Redis 6.0 or newer is needed, and the command must not be renamed or disabled",
        ),
        (
            "cluster support disabled",
            Refusal::Other,
            "this is no Redis Cluster: pass a client, a URL or settings of a single server",
        ),
        ("unknown subcommand", Refusal::Unsupported, "a newer Redis is needed for this option"),
        (
            "unsupported command",
            Refusal::Unsupported,
            "the server, or a proxy before it, does not know this command, which is needed",
        ),
    ];
    ADVICE
        .iter()
        .find(|(pattern, ..)| reason.to_ascii_lowercase().contains(&pattern.to_ascii_lowercase()))
        .map_or((Refusal::Other, "see the server's message"), |(_, refusal, advice)| {
            (*refusal, *advice)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_data_stays_out_of_the_words() {
        let reply = "unknown command 'XADD', with args beginning with: 'socket.io' 'secret' ";
        let error = RedisError::from((ErrorKind::Extension, "ERR", reply.to_owned()));
        let error = Error::from_redis("XADD", "socket.io", "h:1", &error);
        assert_eq!(error.code(), "ERR_SIO_REDIS_UNSUPPORTED");
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn a_reply_cut_by_the_end_of_its_connection_is_a_lost_connection() {
        let whole = b"*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n";
        for end in 1..whole.len() {
            let error = redis::parse_redis_value(&whole[..end]).unwrap_err();
            let error = Error::from_redis("XRANGE", "socket.io", "h:1", &error);
            assert_eq!(error.code(), "ERR_SIO_REDIS_CONNECTION", "{end} bytes: {error}");
        }
        let error = redis::parse_redis_value(b"HTTP/1.1 400 Bad Request\r\n").unwrap_err();
        let error = Error::from_redis("XRANGE", "socket.io", "h:1", &error);
        assert_eq!(error.code(), "ERR_SIO_REDIS_PROTOCOL");
    }

    #[test]
    fn what_exec_is_refused_for_counts() {
        let abort = |cause: &str| {
            let words = format!("-EXECABORT Transaction discarded because of: {cause}\r\n");
            let error = redis::parse_redis_value(words.as_bytes()).unwrap().extract_error();
            Error::from_redis("EXEC", "socket.io", "h:1", &error.unwrap_err())
        };
        for (cause, code) in [
            ("READONLY You can't write against a read only replica.", "ERR_SIO_REDIS_UNAVAILABLE"),
            ("MASTERDOWN Link with MASTER is down", "ERR_SIO_REDIS_UNAVAILABLE"),
            ("OOM command not allowed when used memory > 'maxmemory'.", "ERR_SIO_REDIS_OOM"),
            ("NOPERM no permissions to run the 'exec' command", "ERR_SIO_REDIS_NOPERM"),
        ] {
            let error = abort(cause);
            assert_eq!(error.code(), code, "{error}");
            assert!(error.to_string().contains(cause), "{error}");
        }
    }

    #[test]
    fn what_can_be_done_without_is_said_with_the_loss() {
        for (reason, advice) in [
            ("NOPERM no permissions", "grant the ACL user this command, or go without: after a"),
            ("ERR unknown command 'CLIENT'", "it can be done without: after a cut"),
        ] {
            let error = Error::refused("CLIENT", "INFO", reason.to_owned()).to_string();
            assert!(error.contains(advice), "{error}");
        }
        let error = Error::refused("XADD", "key", "ERR unknown command 'XADD'".to_owned());
        assert!(error.to_string().contains("Redis 6.0 or newer is needed"), "{error}");
    }

    #[test]
    fn a_server_that_hangs_up_on_everybody_is_no_refusal() {
        for words in
            ["ERR max number of clients reached", "DENIED Redis is running in protected mode"]
        {
            let error = redis::parse_redis_value(format!("-{words}\r\n").as_bytes()).unwrap();
            let error = error.extract_error().unwrap_err();
            let error = Error::from_redis("XREAD", "socket.io", "h:1", &error);
            assert_eq!(error.code(), "ERR_SIO_REDIS_CONNECTION", "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn redirections_tell_where() {
        let tcp = |host: &str, port| Some(Address::Tcp(host.to_owned(), port));
        let moved = |words: &[u8]| {
            let error = redis::parse_redis_value(words).unwrap().extract_error().unwrap_err();
            match Error::from_redis("XADD", "socket.io", "h:1", &error) {
                Error::Moved { to, asking, .. } => (to, asking),
                error => panic!("{error}"),
            }
        };
        assert_eq!(moved(b"-MOVED 9972 10.0.0.1:7\r\n"), (tcp("10.0.0.1", 7), false));
        assert_eq!(moved(b"-ASK 9972 :7\r\n"), (tcp("h", 7), true));
        assert_eq!(moved(b"-MOVED 9972 ?:7\r\n"), (None, false));
    }

    #[test]
    fn refusals_get_a_code_and_advice() {
        let words = [
            ("NOPERM this user has no permissions", "ERR_SIO_REDIS_NOPERM"),
            ("WRONGTYPE Operation against a key", "ERR_SIO_REDIS_WRONGTYPE"),
            ("OOM command not allowed", "ERR_SIO_REDIS_OOM"),
            ("ERR unknown command 'XADD'", "ERR_SIO_REDIS_UNSUPPORTED"),
            ("ERR whatever", "ERR_SIO_REDIS_REFUSED"),
        ];
        for (reason, code) in words {
            let error = Error::refused("XADD", "socket.io", reason.to_owned());
            assert_eq!(error.code(), code);
            assert!(error.is_refusal());
            assert!(error.to_string().contains("XADD") && error.to_string().contains("socket.io"));
        }
    }
}
