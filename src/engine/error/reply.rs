//! Sorts error replies of Redis by their codes: which [`Error`] each is, and what users can do
//! about it.
//!
//! Most errors have the same code, `ERR`. For those, the words of the message decide.

use redis::{ErrorKind, RedisError};

use super::{Error, Outage, Refusal};
use crate::engine::address::Address;

impl Error {
    /// Makes an [`Error`] of an error of redis-rs, which came up while sending `command` for `key`.
    pub(crate) fn from_redis(
        command: &'static str,
        key: &str,
        address: &str,
        error: &RedisError,
    ) -> Self {
        if error.code().is_some() {
            return Error::from_reply(command, key, address, &server_words(error));
        }
        let connection =
            |reason: &str| Error::Connection { address: address.to_owned(), reason: reason.into() };
        match error.kind() {
            // Here redis-rs does not pass on what the server has replied.
            ErrorKind::AuthenticationFailed => Error::Auth {
                address: address.to_owned(),
                reason: "the login has failed".to_owned(),
            },
            ErrorKind::Parse if error.to_string().contains("end of input") => {
                connection("the connection ended in the middle of a reply")
            }
            ErrorKind::Parse => Error::no_reply(command, address),
            _ => connection(&error.to_string()),
        }
    }

    /// Makes an [`Error`] of an error reply: `words` is the reply without its `-`.
    pub(crate) fn from_reply(command: &'static str, key: &str, address: &str, words: &str) -> Self {
        if let Some((_, cause)) = words.split_once("Transaction discarded because of: ") {
            return Error::from_reply(command, key, address, cause.trim());
        }
        let reason = without_arguments(words).to_owned();
        let unavailable = |outage| Error::Unavailable { command, reason: reason.clone(), outage };
        let at = || address.to_owned();
        let code = words.split_ascii_whitespace().next().unwrap_or_default();
        match code {
            // What a master replies to blocked clients when it becomes a replica.
            "UNBLOCKED" if words.contains("instance state changed") => {
                unavailable(Outage::NotMaster)
            }
            "LOADING" | "TRYAGAIN" | "BUSY" | "UNBLOCKED" | "MISCONF" => {
                unavailable(Outage::Passing)
            }
            "READONLY" | "MASTERDOWN" | "CLUSTERDOWN" | "NOREPLICAS" => {
                unavailable(Outage::NotMaster)
            }
            "MOVED" | "ASK" => Error::moved(key, address, reason, code == "ASK"),
            "NOAUTH" | "WRONGPASS" => Error::Auth { address: at(), reason },
            _ if is_turned_away(words) => Error::TurnedAway { address: at(), reason },
            // Redis replies this if a long command comes before the login.
            "ERR" if words.contains("unauthenticated") => Error::Auth { address: at(), reason },
            _ => Error::refused(command, key, code, reason),
        }
    }

    /// For bytes that are not a reply of Redis.
    pub(crate) fn no_reply(command: &'static str, address: &str) -> Self {
        let reason = format!(
            "what comes from {address} is not Redis's protocol: does another service listen there, or does it expect TLS (`rediss://`, or `tls` in the settings)?"
        );
        Error::Protocol { command, reason }
    }

    /// `reason` is `MOVED slot host:port` or `ASK slot host:port`.
    fn moved(key: &str, address: &str, reason: String, asking: bool) -> Self {
        let to = reason.split_ascii_whitespace().nth(2).and_then(|to| {
            let writer = Address::Tcp(address.rsplit_once(':')?.0.to_owned(), 0);
            Address::parse(to, &writer)
        });
        Error::Moved { key: key.to_owned(), reason, to, asking }
    }

    fn refused(command: &'static str, key: &str, code: &str, reason: String) -> Self {
        let (refusal, advice) = advice_for(code, &reason);
        let advice = match (refusal, loss_without(command), advice_for_command(command)) {
            (Refusal::NoPermission, Some(loss), _) => {
                format!("grant the ACL user this command, or go without: {loss}")
            }
            (Refusal::Unsupported | Refusal::Other, Some(loss), _) => {
                format!("it can be done without: {loss}")
            }
            (Refusal::Unsupported | Refusal::Other, None, Some(advice)) => advice.to_owned(),
            _ => advice.to_owned(),
        };
        Error::Refused { command, key: key.to_owned(), reason, advice, refusal }
    }
}

/// What is lost if a server refuses a command that the engine can do without. Managed services and
/// proxies refuse many commands.
fn loss_without(command: &str) -> Option<&'static str> {
    Some(match command {
        "CLIENT" | "INFO" => "after a cut a packet may be written twice",
        "EXEC" | "MULTI" => "a batch may be written in part when Redis refuses some of it",
        "HELLO" => "PUB/SUB takes two connections",
        "PUBSUB" => "only the nodes that are heard are counted, upstream's are not",
        "HSET" => {
            "clients of a killed node start anew, and so do clients that are back before their node has noticed that they had gone"
        }
        "ZADD" | "ZREM" | "ZRANGEBYSCORE" => "it is not told when sessions expire",
        "TIME" => "a node begins with what is written once it is connected, not once it is started",
        "ROLE" => "a master that was replaced is noticed only when it refuses to write",
        "XINFO" => "a stream that is deleted and written again within a second goes unnoticed",
        _ => return None,
    })
}

/// Advice if a server does not know or does not accept a command that an option or a setting
/// requires.
fn advice_for_command(command: &str) -> Option<&'static str> {
    Some(match command {
        "SSUBSCRIBE" | "SUNSUBSCRIBE" | "SPUBLISH" => {
            "the option `useShardedPubSub` needs Redis 7.0 or newer; until then requests and answers do not reach the other nodes: set it to `false`"
        }
        "SELECT" => {
            "choose a database that the server has (`databases` in its configuration; a cluster has number 0 only)"
        }
        _ => return None,
    })
}

/// True for the messages that a server sends before it ends the connection, whatever the command
/// was.
fn is_turned_away(words: &str) -> bool {
    words.contains("max number of clients") || words.starts_with("DENIED ")
}

/// Puts an error reply together again as the server sent it: redis-rs takes it apart.
fn server_words(error: &RedisError) -> String {
    let words = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) if !detail.starts_with(code) => format!("{code} {detail}"),
        (_, Some(detail)) => detail.to_owned(),
        (Some(code), None) => code.to_owned(),
        (None, None) => error.to_string(),
    };
    without_arguments(&words).to_owned()
}

/// Cuts off the arguments of a command that the server does not know: they hold users' data.
fn without_arguments(words: &str) -> &str {
    words.find(", with args beginning with").map_or(words, |end| &words[..end])
}

fn advice_for(code: &str, reason: &str) -> (Refusal, &'static str) {
    match code {
        "NOPERM" => (
            Refusal::NoPermission,
            "grant the ACL user this command, key and channel; this package's document \"Operations\" lists all that are needed",
        ),
        "WRONGTYPE" => (
            Refusal::WrongType,
            "the key is used by something else: delete it or choose another `streamName`",
        ),
        "OOM" => (
            Refusal::OutOfMemory,
            "raise Redis's `maxmemory`, or lower the adapter's option `maxLen`",
        ),
        _ => advice_for_words(&reason.to_ascii_lowercase()),
    }
}

/// For errors without their own code, and for the messages of proxies. `reason` is in lower case.
fn advice_for_words(reason: &str) -> (Refusal, &'static str) {
    const ADVICE: &[(&str, Refusal, &str)] = &[
        (
            "no permissions",
            Refusal::NoPermission,
            "grant the ACL user this command; this package's document \"Operations\" lists all that are needed",
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
        (
            "exhausted the last possible id",
            Refusal::Other,
            "somebody has written an entry with the highest ID that there is: delete the stream's key, or choose another `streamName`",
        ),
        ("unknown subcommand", Refusal::Unsupported, "a newer Redis is needed for this option"),
        (
            "unsupported command",
            Refusal::Unsupported,
            "the server, or a proxy before it, does not know this command, which is needed",
        ),
    ];
    let found = ADVICE.iter().find(|(words, ..)| reason.contains(words));
    found.map_or((Refusal::Other, "see the server's message"), |(_, refusal, advice)| {
        (*refusal, *advice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_data_stays_out_of_the_words() {
        let reply = "ERR unknown command 'XADD', with args beginning with: 'socket.io' 'secret' ";
        let error = Error::from_reply("XADD", "socket.io", "h:1", reply);
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
            let error = Error::from_reply("CLIENT", "INFO", "h:1", reason).to_string();
            assert!(error.contains(advice), "{error}");
        }
        let error = Error::from_reply("XADD", "key", "h:1", "ERR unknown command 'XADD'");
        assert!(error.to_string().contains("Redis 6.0 or newer is needed"), "{error}");
    }

    #[test]
    fn a_server_that_may_be_no_master_any_more_costs_the_connection() {
        for (words, survives) in [
            ("READONLY You can't write against a read only replica.", false),
            ("MASTERDOWN Link with MASTER is down", false),
            ("CLUSTERDOWN The cluster is down", false),
            // The master was cut off from its replicas, and one of them may be the master by now.
            ("NOREPLICAS Not enough good replicas to write.", false),
            ("LOADING Redis is loading the dataset in memory", true),
            ("TRYAGAIN Multiple keys request during rehashing of slot", true),
            ("BUSY Redis is busy running a script.", true),
            ("UNBLOCKED client unblocked via CLIENT UNBLOCK", true),
            ("UNBLOCKED force unblock from blocking operation, instance state changed", false),
            ("MISCONF Errors writing to the AOF file", true),
        ] {
            let abort = format!("EXECABORT Transaction discarded because of: {words}");
            for words in [words, &abort] {
                let parsed = redis::parse_redis_value(format!("-{words}\r\n").as_bytes()).unwrap();
                let error = parsed.extract_error().unwrap_err();
                let error = Error::from_redis("XADD", "socket.io", "h:1", &error);
                assert_eq!(error.code(), "ERR_SIO_REDIS_UNAVAILABLE", "{error}");
                assert!(error.is_answered() && !error.is_refusal());
                assert_eq!(error.connection_survives(), survives, "{error}");
            }
        }
    }

    #[test]
    fn what_an_option_asks_for_is_said_with_the_option() {
        for (command, words, advice) in [
            (
                "SSUBSCRIBE",
                "ERR unknown command 'SSUBSCRIBE'",
                "`useShardedPubSub` needs Redis 7.0",
            ),
            ("SELECT", "ERR DB index is out of range", "`databases`"),
        ] {
            let error = Error::from_reply(command, "", "h:1", words).to_string();
            assert!(error.contains(advice) && !error.contains("``"), "{error}");
        }
        let error = Error::from_reply("SPUBLISH", "channel", "h:1", "NOPERM no").to_string();
        assert!(error.contains("grant the ACL user"), "{error}");
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
            ("ERR The stream has exhausted the last possible ID", "ERR_SIO_REDIS_REFUSED"),
            ("NOPERM this user has no permissions", "ERR_SIO_REDIS_NOPERM"),
            ("WRONGTYPE Operation against a key", "ERR_SIO_REDIS_WRONGTYPE"),
            ("OOM command not allowed", "ERR_SIO_REDIS_OOM"),
            ("ERR unknown command 'XADD'", "ERR_SIO_REDIS_UNSUPPORTED"),
            ("ERR whatever", "ERR_SIO_REDIS_REFUSED"),
        ];
        for (reason, code) in words {
            let error = Error::from_reply("XADD", "socket.io", "h:1", reason);
            assert_eq!(error.code(), code);
            assert!(error.is_refusal());
            assert!(error.to_string().contains("XADD") && error.to_string().contains("socket.io"));
        }
    }
}
