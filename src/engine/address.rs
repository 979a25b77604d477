//! Where a server listens.

use std::fmt;

/// A TCP port or a unix socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// Host name or IP address, IPv6 without brackets, and port.
    Tcp(String, u16),
    /// A unix socket's path.
    Unix(String),
}

impl Address {
    /// `host:port`, as servers of a cluster write it, IPv6 without brackets as well. If the host is
    /// missing, it is the host of `writer`, the server that wrote the text. `None` if the host is
    /// `?`: the server's address is not known.
    pub(crate) fn parse(text: &str, writer: &Address) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Self::told_by(writer, host, port.parse().ok()?)
    }

    /// The address that `writer` knows by this host and port.
    pub(crate) fn told_by(writer: &Address, host: &str, port: u16) -> Option<Self> {
        match (host, writer) {
            ("?", _) => None,
            ("", Address::Tcp(host, _)) => Some(Address::Tcp(host.clone(), port)),
            ("", Address::Unix(_)) => None,
            (host, _) => Some(Address::Tcp(host.to_owned(), port)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(host, port) => write!(f, "{host}:{port}"),
            Address::Unix(path) => f.write_str(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp(host.to_owned(), port)
    }

    #[test]
    fn addresses_as_servers_write_them() {
        let writer = tcp("w", 1);
        assert_eq!(Address::parse("10.0.0.1:7000", &writer), Some(tcp("10.0.0.1", 7000)));
        assert_eq!(Address::parse("::1:7000", &writer), Some(tcp("::1", 7000)));
        assert_eq!(Address::parse("[::1]:7000", &writer), Some(tcp("::1", 7000)));
        assert_eq!(Address::parse(":7000", &writer), Some(tcp("w", 7000)));
        for odd in ["?:7000", "host", "host:port", ""] {
            assert_eq!(Address::parse(odd, &writer), None, "{odd}");
        }
    }
}
