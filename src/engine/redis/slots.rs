//! Knows which master of a cluster serves which keys, and which replicas it has.

use std::ops::RangeInclusive;

use redis::Value;

use crate::engine::address::Address;
use crate::engine::error::{Error, Result};

const SLOTS: u16 = 16_384;

/// The slots and servers of a cluster, as one of its servers reported them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slots {
    ranges: Vec<Range>,
    /// Masters and replicas.
    nodes: Vec<Address>,
}

/// Slots with a master.
#[derive(Debug, PartialEq, Eq)]
struct Range {
    slots: RangeInclusive<u16>,
    master: Address,
    replicas: Vec<Address>,
}

impl Slots {
    /// Parses the reply to CLUSTER SLOTS: `[[first, last, [host, port, …], …], …]`, with the master
    /// first. If a host is nil or empty, it is the host of `writer`, the server that answered.
    /// `reachable` maps an address to the one that this node connects to.
    pub(crate) fn parse(
        reply: &Value,
        writer: &Address,
        reachable: impl Fn(Address) -> Address,
    ) -> Result<Self> {
        let Value::Array(entries) = reply else { return Err(odd("no array")) };
        let (mut ranges, mut nodes) = (Vec::with_capacity(entries.len()), Vec::new());
        for entry in entries {
            let Value::Array(entry) = entry else { return Err(odd("a range is no array")) };
            let [Value::Int(first), Value::Int(last), servers @ ..] = entry.as_slice() else {
                return Err(odd("a range has no bounds"));
            };
            let bound = |bound: &i64| u16::try_from(*bound).map_err(|_| odd("no slot"));
            let mut servers = servers.iter().map(|server| node(server, writer).map(&reachable));
            let master = servers.next().flatten();
            let replicas: Vec<Address> = servers.flatten().collect();
            nodes.extend(replicas.iter().cloned());
            if let Some(master) = master {
                nodes.push(master.clone());
                ranges.push(Range { slots: bound(first)?..=bound(last)?, master, replicas });
            }
        }
        nodes.sort_unstable_by_key(Address::to_string);
        nodes.dedup();
        Ok(Self { ranges, nodes })
    }

    /// The master of a key's slot; `None` if the slot has no master.
    pub(crate) fn master_of(&self, key: &str) -> Option<&Address> {
        self.range_of(key).map(|range| &range.master)
    }

    /// The replicas of the master of a key's slot.
    pub(crate) fn replicas_of(&self, key: &str) -> &[Address] {
        self.range_of(key).map_or(&[], |range| &range.replicas)
    }

    fn range_of(&self, key: &str) -> Option<&Range> {
        let slot = slot_of(key);
        self.ranges.iter().find(|range| range.slots.contains(&slot))
    }

    /// The number of slots that have a master.
    pub(crate) fn count(&self) -> usize {
        self.ranges.iter().map(|range| range.slots.len()).sum()
    }

    /// True if all slots have a master.
    pub(crate) fn is_whole(&self) -> bool {
        self.count() >= SLOTS.into()
    }

    /// The masters that serve slots, in a fixed order.
    pub(crate) fn masters(&self) -> Vec<Address> {
        let mut masters: Vec<_> = self.ranges.iter().map(|range| range.master.clone()).collect();
        masters.sort_unstable_by_key(Address::to_string);
        masters.dedup();
        masters
    }

    /// All masters and replicas.
    pub(crate) fn nodes(&self) -> &[Address] {
        &self.nodes
    }
}

/// A key's slot.
fn slot_of(key: &str) -> u16 {
    let hashed = hash_tag(key).unwrap_or(key);
    crc16::State::<crc16::XMODEM>::calculate(hashed.as_bytes()) % SLOTS
}

/// The text between the first `{` and the next `}` of a key. If there is some, it alone decides in
/// which slot the key is.
pub(crate) fn hash_tag(key: &str) -> Option<&str> {
    let (tag, _) = key.split_once('{')?.1.split_once('}')?;
    Some(tag).filter(|tag| !tag.is_empty())
}

/// Parses `[host, port, …]`. `None` if the server's address is not known.
fn node(server: &Value, writer: &Address) -> Option<Address> {
    let Value::Array(server) = server else { return None };
    let [host, Value::Int(port), ..] = server.as_slice() else { return None };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        Value::Nil => "",
        _ => return None,
    };
    Address::told_by(writer, host, u16::try_from(*port).ok()?)
}

fn odd(reason: &str) -> Error {
    Error::Protocol { command: "CLUSTER", reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp(host.to_owned(), port)
    }

    fn server(host: Option<&str>, port: i64) -> Value {
        let host = host.map_or(Value::Nil, |host| Value::BulkString(host.into()));
        Value::Array(vec![host, Value::Int(port), Value::BulkString("id".into())])
    }

    fn range(first: i64, last: i64, servers: Vec<Value>) -> Value {
        Value::Array([vec![Value::Int(first), Value::Int(last)], servers].concat())
    }

    #[test]
    fn slots_are_those_of_cluster_keyslot() {
        for (key, slot) in [
            ("socket.io", 9972),
            ("socket.io-1", 5395),
            ("123456789", 12739),
            ("{user1000}.following", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("é€", 934),
            ("", 0),
        ] {
            assert_eq!(slot_of(key), slot, "{key}");
        }
    }

    #[test]
    fn masters_and_replicas() {
        let reply = Value::Array(vec![
            range(0, 5460, vec![server(Some("a"), 1), server(Some("b"), 2)]),
            range(5461, 9000, vec![server(None, 3), server(Some("?"), 4)]),
            range(9001, 10_000, vec![server(Some(""), 5)]),
            range(10_001, 10_002, vec![server(Some("?"), 6), server(Some("a"), 1)]),
        ]);
        let slots = Slots::parse(&reply, &tcp("w", 9), |address| address).unwrap();
        assert_eq!(slots.nodes(), [tcp("a", 1), tcp("b", 2), tcp("w", 3), tcp("w", 5)]);
        assert_eq!(slots.master_of("{user1000}.x"), Some(&tcp("a", 1)));
        assert_eq!(slots.master_of("socket.io"), Some(&tcp("w", 5)));
        assert_eq!(slots.master_of("123456789"), None);
        assert_eq!(slots.replicas_of("{user1000}.x"), [tcp("b", 2)]);
        assert!(slots.replicas_of("socket.io").is_empty(), "it has none");
        assert!(slots.replicas_of("123456789").is_empty(), "nobody serves it");
    }

    #[test]
    fn odd_replies_are_errors() {
        for reply in [
            Value::Okay,
            Value::Array(vec![Value::Okay]),
            Value::Array(vec![Value::Array(vec![Value::Int(1)])]),
            Value::Array(vec![range(-1, 2, vec![server(Some("a"), 1)])]),
        ] {
            assert!(Slots::parse(&reply, &tcp("w", 9), |address| address).is_err());
        }
    }
}
