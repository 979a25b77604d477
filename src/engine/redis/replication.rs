//! What a server reports about its replication: whether it is a master or a replica, which history
//! of writes its data comes from, and how far it has come.

use redis::{FromRedisValue, Value};

use super::SendCommand;
use crate::engine::address::Address;
use crate::engine::error::{Error, Result};

/// The answer to INFO replication.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Replication {
    /// A replica refuses writes, and what is published on it reaches no other server.
    pub(crate) is_replica: bool,
    /// `master_replid`: names the history of writes. A replica has that of its master. A replica
    /// that becomes a master begins another one. Empty if the server does not report it.
    pub(crate) history: String,
    /// `master_replid2`: the history that this one continues; empty if there is none.
    earlier: String,
    /// How many bytes of the history the server has executed.
    pub(crate) offset: u64,
    /// A replica's: whether its connection to its master is open and it has the master's data.
    pub(crate) has_link: bool,
    /// A master's: the replicas that are online, as the master knows them.
    pub(crate) replicas: Vec<Address>,
}

impl Replication {
    /// Parses the answer to INFO replication.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        let (mut of_master, mut of_replica) = (0, None);
        for line in text.lines() {
            let Some((name, value)) = line.trim_end().split_once(':') else { continue };
            match name {
                "role" => parsed.is_replica = value == "slave",
                "master_replid" => value.clone_into(&mut parsed.history),
                "master_replid2" if value.bytes().any(|digit| digit != b'0') => {
                    value.clone_into(&mut parsed.earlier);
                }
                "master_repl_offset" => of_master = value.parse().unwrap_or_default(),
                "slave_repl_offset" => of_replica = value.parse().ok(),
                "master_link_status" => parsed.has_link = value == "up",
                _ => parsed.replicas.extend(online_replica(name, value)),
            }
        }
        parsed.offset = of_replica.filter(|_| parsed.is_replica).unwrap_or(of_master);
        parsed
    }

    /// Whether the server's data continues this history, or is a part of it.
    pub(crate) fn continues(&self, history: &str) -> bool {
        self.history == history || self.earlier == history
    }
}

/// Asks a server for its replication.
pub(crate) async fn replication(connection: &mut impl SendCommand) -> Result<Replication> {
    let mut command = redis::cmd("INFO");
    command.arg("replication");
    let reply: Value = connection.send_command("INFO", "replication", &command).await?;
    let text = String::from_redis_value(reply)
        .map_err(|_| Error::Protocol { command: "INFO", reason: "no text".to_owned() })?;
    Ok(Replication::parse(&text))
}

/// Parses `slave<number>:ip=<ip>,port=<port>,state=online,…`.
fn online_replica(name: &str, value: &str) -> Option<Address> {
    let number = name.strip_prefix("slave")?;
    number.parse::<u32>().ok()?;
    let field = |name: &str| value.split(',').find_map(|field| field.strip_prefix(name));
    let (ip, port, state) = (field("ip=")?, field("port=")?, field("state=")?);
    (state == "online" && !ip.is_empty()).then_some(Address::Tcp(ip.to_owned(), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_names_its_history_and_the_replicas_that_are_online() {
        let master = Replication::parse(
            "# Replication\r\nrole:master\r\nconnected_slaves:3\r\n\
             slave0:ip=10.0.0.2,port=6380,state=online,offset=1400,lag=0\r\n\
             slave1:ip=::1,port=6381,state=online,offset=1400,lag=1,type=replica\r\n\
             slave2:ip=10.0.0.4,port=6380,state=wait_bgsave,offset=0,lag=0\r\n\
             master_failover_state:no-failover\r\nmaster_replid:aa11\r\n\
             master_replid2:0000000000000000000000000000000000000000\r\n\
             master_repl_offset:1414\r\nsecond_repl_offset:-1\r\n",
        );
        let replicas =
            vec![Address::Tcp("10.0.0.2".into(), 6380), Address::Tcp("::1".into(), 6381)];
        assert_eq!(master.replicas, replicas);
        assert!(!master.is_replica && !master.has_link);
        assert_eq!((master.history.as_str(), master.offset), ("aa11", 1414));
        assert!(master.continues("aa11") && !master.continues("bb22"));
        assert!(!master.continues("0000000000000000000000000000000000000000"));
    }

    #[test]
    fn a_replica_tells_what_it_has_executed() {
        let text = "role:slave\r\nmaster_host:10.0.0.1\r\nmaster_link_status:up\r\n\
             slave_read_repl_offset:900\r\nslave_repl_offset:880\r\nconnected_slaves:0\r\n\
             master_replid:aa11\r\nmaster_replid2:bb22\r\nmaster_repl_offset:890\r\n";
        let replica = Replication::parse(text);
        assert!(replica.is_replica && replica.has_link);
        assert_eq!(replica.offset, 880);
        assert!(replica.continues("aa11") && replica.continues("bb22"));
        let down = Replication::parse(&text.replace("status:up", "status:down"));
        assert!(!down.has_link);
        assert_eq!(Replication::parse("role:master\r\n").history, "");
    }
}
