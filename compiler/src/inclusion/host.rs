//! Patterns of hosts.

use std::net::IpAddr;

use crate::pattern::HostPattern;

/// Whether every host that `inner` covers is surely covered by `outer`.
pub(super) fn is_within(inner: &HostPattern, outer: &HostPattern) -> bool {
    match (inner, outer) {
        (_, HostPattern::Any) => true,
        (HostPattern::Name(one), HostPattern::Name(other)) => one == other,
        (HostPattern::Name(name), HostPattern::Below(above)) => name.is_below(above),
        (HostPattern::Below(one), HostPattern::Below(above)) => one == above || one.is_below(above),
        (HostPattern::Block(one), HostPattern::Block(other)) => other.contains(one),
        (HostPattern::Block(block), HostPattern::Localhost) => {
            block.prefix_len() == block.max_prefix_len()
                && match block.addr() {
                    IpAddr::V4(address) => address == std::net::Ipv4Addr::LOCALHOST,
                    IpAddr::V6(address) => address == std::net::Ipv6Addr::LOCALHOST,
                }
        }
        (one, other) => one == other,
    }
}

/// Whether surely no host is covered by both.
pub(super) fn are_apart(one: &HostPattern, other: &HostPattern) -> bool {
    match (one, other) {
        (HostPattern::Name(one), HostPattern::Name(other)) => one != other,
        (HostPattern::Name(name), HostPattern::Below(above))
        | (HostPattern::Below(above), HostPattern::Name(name)) => !name.is_below(above),
        (HostPattern::Below(one), HostPattern::Below(other)) => {
            one != other && !one.is_below(other) && !other.is_below(one)
        }
        (HostPattern::Block(one), HostPattern::Block(other)) => !one.contains(other) && !other.contains(one),
        _ => false,
    }
}
