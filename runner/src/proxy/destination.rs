//! What is connected to: a name or an address, and a port, in one form.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use fence_compiler::pattern::DomainName;
use fence_compiler::question::Destination;

/// A host, as a program asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Host {
    /// By a name, `localhost` among them.
    Name(DomainName),
    /// By an address; never an IPv4-mapped one.
    Address(IpAddr),
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) host: Host,
    pub(super) port: u16,
}

/// A text is no host, or no port.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoTarget(pub(super) &'static str);

impl Target {
    /// Reads `HOST:PORT` or, where a port goes without saying, `HOST`; an IPv6 address stands in brackets.
    pub(super) fn read(authority: &str, default: Option<u16>) -> Result<Target, NoTarget> {
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (address, after) = rest.split_once(']').ok_or(NoTarget("`[` has no `]`"))?;
                let address = address.parse().map_err(|_| NoTarget("no IPv6 address stands in brackets"))?;
                let port = match after.strip_prefix(':') {
                    None if after.is_empty() => None,
                    None => return Err(NoTarget("something else than a port follows the address")),
                    port => port,
                };
                (Host::address(IpAddr::V6(address)), port)
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (Host::read(host)?, Some(port)),
                None => (Host::read(authority)?, None),
            },
        };
        let port = match port {
            Some(digits) => read_port(digits)?,
            None => default.ok_or(NoTarget("the port is missing"))?,
        };
        Ok(Target { host, port })
    }

    /// The same for a policy.
    pub(super) fn destination(&self) -> Destination {
        match &self.host {
            Host::Name(name) => Destination { name: Some(name.clone()), address: None, port: self.port },
            Host::Address(address) => Destination { name: None, address: Some(*address), port: self.port },
        }
    }

    /// Whether it is the host's own loopback.
    pub(super) fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Name(name) => name.as_str() == "localhost",
            Host::Address(address) => address.is_loopback(),
        }
    }

    /// The name, if it was asked for by one that other names can be compared with.
    pub(super) fn name(&self) -> Option<&DomainName> {
        match &self.host {
            Host::Name(name) if name.as_str() != "localhost" => Some(name),
            Host::Name(_) | Host::Address(_) => None,
        }
    }
}

impl Host {
    /// Reads a host without a port: a name in any spelling, or an address in its plain one.
    pub(super) fn read(text: &str) -> Result<Host, NoTarget> {
        match text.parse::<IpAddr>() {
            Ok(address) => Ok(Host::address(address)),
            Err(_) => {
                let name = DomainName::new(text)
                    .map_err(|_| NoTarget("it is neither a host name nor an address in its plain form"))?;
                Ok(Host::Name(name))
            }
        }
    }

    pub(super) fn address(address: IpAddr) -> Host {
        Host::Address(address.to_canonical())
    }
}

fn read_port(digits: &str) -> Result<u16, NoTarget> {
    let plain = !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit());
    match digits.parse::<u16>() {
        Ok(port) if port > 0 && plain => Ok(port),
        _ => Err(NoTarget("a port is a number from 1 to 65535")),
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Target {
        Target { host: Host::address(address.ip()), port: address.port() }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address(address) => write!(f, "{}", SocketAddr::new(*address, self.port)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_host_are_one_target() {
        for (written, meant) in [
            ("example.com:443", "example.com:443"),
            ("EXAMPLE.com.:443", "example.com:443"),
            ("bücher.example:80", "xn--bcher-kva.example:80"),
            ("1.2.3.4:80", "1.2.3.4:80"),
            ("[2001:DB8::1]:443", "[2001:db8::1]:443"),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
            ("[::ffff:7f00:1]:80", "127.0.0.1:80"),
            ("localhost:1", "localhost:1"),
        ] {
            assert_eq!(Target::read(written, None).unwrap().to_string(), meant);
        }
        assert_eq!(Target::read("a.example", Some(80)).unwrap().to_string(), "a.example:80");
        assert_eq!(Target::read("[::1]", Some(80)).unwrap().to_string(), "[::1]:80");
    }

    #[test]
    fn what_programs_read_differently_is_no_target() {
        for text in [
            "",
            ":80",
            "a.example",
            "a.example:",
            "a.example:0",
            "a.example:65536",
            "a.example:+80",
            "a.example: 80",
            "a.example:000080",
            "127.1:80",
            "2130706433:80",
            "0x7f.1:80",
            "0177.0.0.1:80",
            "127.0.0.1.:80",
            "[::1:80",
            "[::1]80",
            "[1.2.3.4]:80",
            "[fe80::1%eth0]:80",
            "::1:80",
            "user@a.example:80",
            "a.example/x:80",
            "a.example:80:80",
            "a\0.example:80",
            "a\r.example:80",
            "a b:80",
            "*.example:80",
            "http://a.example:80",
        ] {
            assert!(Target::read(text, None).is_err(), "{text:?}");
        }
    }
}
