//! Hosts: names, addresses, and the addresses that hide in other addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::pattern::host::literal_host;
use crate::pattern::{ConnectPattern, DomainName, HostPattern, Polarity, Variable};
use crate::policy::Item;
use crate::world::World;

/// A host and a port that are asked about: one name or none, one address or none.
#[derive(Clone, Copy, Debug)]
pub struct HostAsked<'a> {
    /// The values of variables.
    pub world: &'a World,
    /// The name, if it was asked for by name.
    pub name: Option<&'a DomainName>,
    /// The address, if one is known.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// What has to be opened before a host may be connected to. Several items may open one part each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The name that was asked for.
    Name,
    /// An address, by an item that contains it.
    Address(IpAddr),
    /// A public address, by an item that contains it or by `*`.
    PublicAddress(IpAddr),
    /// Nothing is known of the host, so nothing opens it.
    Unknown,
}

impl HostAsked<'_> {
    /// What has to be opened, all of it.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        let mut needs: Vec<Need> = self.name.map(|_| Need::Name).into_iter().collect();
        match self.address.map(canonical) {
            Some(address) if is_internal(address) => {
                needs.push(Need::Address(address));
                let hidden = embedded(address).into_iter().map(IpAddr::V4).filter(|v4| is_internal(*v4));
                needs.extend(hidden.map(Need::Address));
            }
            Some(address) if self.name.is_none() => needs.push(Need::PublicAddress(address)),
            None if self.name.is_none() => needs.push(Need::Unknown),
            _ => {}
        }
        needs
    }

    /// Whether an opening item opens this part.
    #[must_use]
    pub fn opens(&self, pattern: &ConnectPattern, need: Need) -> bool {
        self.port_fits(pattern) && self.host_opens(&pattern.host, need)
    }

    /// Whether an opening item opens this part on the ports that it names.
    pub(crate) fn host_opens(&self, host: &HostPattern, need: Need) -> bool {
        match (host, need) {
            (HostPattern::Environment(name), need) => {
                self.environment(name).is_some_and(|host| self.host_opens(&host, need))
            }
            (HostPattern::Any, Need::Name | Need::PublicAddress(_)) => true,
            (HostPattern::Name(name), Need::Name) => self.name == Some(name),
            (HostPattern::Below(above), Need::Name) => self.name.is_some_and(|name| name.is_below(above)),
            (HostPattern::Localhost, Need::Name) => self.is_localhost(),
            (HostPattern::Block(net), Need::Address(address) | Need::PublicAddress(address)) => {
                net.contains(&address)
            }
            (HostPattern::Localhost, Need::Address(address)) => {
                address == IpAddr::V4(Ipv4Addr::LOCALHOST) || address == IpAddr::V6(Ipv6Addr::LOCALHOST)
            }
            _ => false,
        }
    }

    /// Whether these items together open the host: the `except` of something that closes.
    #[must_use]
    pub fn all_opened_by(&self, items: &[Item<ConnectPattern>]) -> bool {
        self.needs().iter().all(|need| items.iter().any(|item| self.opens(&item.pattern, *need)))
    }

    /// Whether a closing item covers the host, by its name or by any of the addresses that it may stand for.
    #[must_use]
    pub fn closes(&self, pattern: &ConnectPattern) -> bool {
        self.port_fits(pattern) && self.host_closes(&pattern.host)
    }

    /// Whether a closing item covers the host on the ports that it names.
    pub(crate) fn host_closes(&self, host: &HostPattern) -> bool {
        let addresses = || self.address.into_iter().flat_map(meanings);
        match host {
            HostPattern::Any => true,
            HostPattern::Name(name) => self.name == Some(name),
            HostPattern::Below(above) => self.name.is_some_and(|name| name.is_below(above)),
            HostPattern::Block(net) => addresses().any(|address| net.contains(&address)),
            HostPattern::Localhost => self.is_localhost() || addresses().any(|address| address.is_loopback()),
            HostPattern::Environment(name) => {
                self.environment(name).is_some_and(|host| self.host_closes(&host))
            }
        }
    }

    /// Whether an item means this host and port, where another action judges what is connected to: by its name if
    /// it was asked for by name, else by its address; `*` means every host.
    #[must_use]
    pub fn is_meant(&self, pattern: &ConnectPattern, polarity: Polarity) -> bool {
        let by_name = HostAsked { address: if self.name.is_some() { None } else { self.address }, ..*self };
        match polarity {
            Polarity::Closing => self.closes(pattern),
            Polarity::Opening => {
                self.port_fits(pattern)
                    && (pattern.host == HostPattern::Any
                        || by_name.needs().iter().all(|need| self.host_opens(&pattern.host, *need)))
            }
        }
    }

    /// Whether the name is the host's own loopback.
    #[must_use]
    pub fn is_localhost(&self) -> bool {
        self.name.is_some_and(|name| name.as_str() == "localhost")
    }

    fn port_fits(&self, pattern: &ConnectPattern) -> bool {
        pattern.ports.is_none_or(|ports| ports.contains(self.port))
    }

    fn environment(&self, name: &str) -> Option<HostPattern> {
        let value = self.world.variables.get(&Variable::Environment(name.to_owned()))?;
        literal_host(std::str::from_utf8(value).ok()?)
    }
}

/// Whether an address is internal: loopback, link-local, private, carrier-grade NAT, unique-local, multicast,
/// unspecified, broadcast, or an IPv4-mapped, NAT64 or 6to4 form of one of these.
#[must_use]
pub fn is_internal(address: IpAddr) -> bool {
    match canonical(address) {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_loopback()
                || v4.is_link_local()
                || v4.is_private()
                || (a == 100 && (64..128).contains(&b))
                || v4.is_multicast()
                || v4.is_unspecified()
                || v4.is_broadcast()
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                || v6.is_unique_local()
                || embedded(IpAddr::V6(v6)).into_iter().any(|v4| is_internal(IpAddr::V4(v4)))
        }
    }
}

/// An IPv4-mapped address as the IPv4 address that it is.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The IPv4 addresses that an IPv6 address leads to: mapped, NAT64 (RFC 6052, RFC 8215), 6to4 (RFC 3056).
fn embedded(address: IpAddr) -> Vec<Ipv4Addr> {
    let IpAddr::V6(v6) = address else { return Vec::new() };
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => vec![v4(high, low)],
        [0x64, 0xff9b, 1, _, _, _, high, low] => vec![v4(high, low)],
        [0x2002, high, low, ..] => vec![v4(high, low)],
        _ => Vec::new(),
    }
}

/// Every address that one may stand for, itself first.
pub(crate) fn meanings(address: IpAddr) -> Vec<IpAddr> {
    let mut all = vec![address];
    let v4 = match address {
        IpAddr::V4(v4) => vec![v4],
        IpAddr::V6(v6) => {
            let compatible = v6.to_ipv4().filter(|_| !v6.is_loopback() && !v6.is_unspecified());
            embedded(address).into_iter().chain(local_translations(v6)).chain(compatible).collect()
        }
    };
    for v4 in v4 {
        let [a, b, c, d] = v4.octets().map(u16::from);
        let (high, low) = ((a << 8) | b, (c << 8) | d);
        all.push(IpAddr::V4(v4));
        all.push(IpAddr::V6(v4.to_ipv6_mapped()));
        all.push(IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low)));
        all.push(IpAddr::V6(Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 0)));
    }
    // Linux connects the unspecified address to loopback.
    if address.to_canonical().is_unspecified() {
        all.extend([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
    }
    all
}

/// The IPv4 addresses that one of the block for local translation (RFC 8215) holds where its prefix is shorter
/// than 96 bits: behind 48, 56 or 64 bits, the byte at 64 left out (RFC 6052).
fn local_translations(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let [0x64, 0xff9b, 1, ..] = address.segments() else { return Vec::new() };
    let [.., f, g, _, h, i, j, k, _, _, _] = address.octets();
    let all = [[f, g, h, i], [g, h, i, j], [h, i, j, k]].map(Ipv4Addr::from);
    all.into_iter().filter(|v4| !v4.is_unspecified()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_addresses_are_exactly_these() {
        for text in [
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "10.0.0.1",
            "172.16.0.0",
            "172.31.255.255",
            "192.168.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "224.0.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::a00:1",
            "2002:7f00:1::",
        ] {
            assert!(is_internal(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "172.32.0.0",
            "172.15.255.255",
            "100.63.255.255",
            "100.128.0.0",
            "169.253.0.1",
            "2001:db8::1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::",
        ] {
            assert!(!is_internal(text.parse().unwrap()), "{text}");
        }
    }
}
