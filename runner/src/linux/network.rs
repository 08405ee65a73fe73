//! The network inside, prepared: routes that bring every connection to loopback, rules that refuse what no rule of the
//! policy may allow and bring the rest to one listener, and the sockets that are handed to the parent.

mod files;
mod firewall;
mod message;
mod route;

use std::net::{Ipv4Addr, SocketAddrV4};

use fence_compiler::pattern::PortRange;
use fence_compiler::plan::JudgedNetwork;

pub(crate) use files::names_file;
pub(super) use firewall::LOG_GROUP;

use super::operation::{Attempt, Operation, Step};

/// The port of the listener. No process inside has the right to bind one as low as this, so that it takes none that a
/// program may want; and nothing but the kernel's rules leads to it.
pub(super) const LISTENER: u16 = 1;

/// The most ports of the host's loopback that are kept from being bound inside.
const MOST_HELD: usize = 64;

/// What makes the network, in order; the sockets go to the parent through a channel.
pub(super) fn steps(network: &JudgedNetwork, channel: std::os::fd::RawFd) -> Vec<Step> {
    let firewall = |log| firewall::batches(network, log);
    let resolver = SocketAddrV4::new(network.resolver, 53);
    [
        Operation::Loopback,
        Operation::Netlink {
            protocol: libc::NETLINK_ROUTE,
            attempt: Attempt::Must,
            messages: vec![route::everywhere_v4(Ipv4Addr::LOCALHOST)],
        },
        // Without it every IPv6 address but the own one is unreachable.
        Operation::Netlink {
            protocol: libc::NETLINK_ROUTE,
            attempt: Attempt::May,
            messages: vec![route::everywhere_v6()],
        },
        Operation::Firewall {
            logging: firewall(firewall::Log::Refused),
            silent: firewall(firewall::Log::Nothing),
        },
        Operation::HandOver { channel, listener: LISTENER, resolver, log: message::bind_log(LOG_GROUP) },
    ]
    .map(Step::from)
    .into()
}

/// The ports of the host's loopback that nobody inside can bind, where they are few.
pub(super) fn held(network: &JudgedNetwork) -> Vec<u16> {
    let count = |range: &PortRange| usize::from(range.high - range.low) + 1;
    if network.host_ports.iter().map(count).sum::<usize>() > MOST_HELD {
        return Vec::new();
    }
    network.host_ports.iter().flat_map(|range| range.low..=range.high).filter(|port| *port >= 1024).collect()
}
