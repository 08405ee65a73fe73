//! The rules of netfilter inside: one table, one chain that refuses, one that brings what is left to the listener.

use std::net::IpAddr;

use fence_compiler::pattern::PortRange;
use fence_compiler::plan::{JudgedNetwork, POOL};
use ipnet::{IpNet, Ipv4Net};

use super::LISTENER;
use super::message::{APPEND, CREATE, Message, attribute, nested, netfilter, number, text};

/// The group of the log to which refused packets go.
pub(in crate::linux) const LOG_GROUP: u16 = 1;

/// Whether refused packets are told to whoever listens to the log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Log {
    /// They are.
    Refused,
    /// They are not: the kernel has no such log.
    Nothing,
}

/// Changes of the rules, each of them made as a whole, in order.
pub(super) fn batches(network: &JudgedNetwork, log: Log) -> Vec<Vec<u8>> {
    let chains = vec![
        Message::new(NEW_TABLE, CREATE, &netfilter(INET, 0)).with(&text(TABLE_NAME, TABLE)).bytes(),
        chain(REFUSE, "filter", -150),
        chain(STEER, "nat", -100),
    ];
    let rules = refusing(network, log).into_iter().map(|rule| rule.bytes(REFUSE));
    let rules = rules.chain(steering(network).into_iter().map(|rule| rule.bytes(STEER)));
    let messages: Vec<Vec<u8>> = chains.into_iter().chain(rules).collect();
    // One change is one message to the kernel, whose size is limited.
    messages.chunks(MOST_AT_ONCE).map(batch).collect()
}

/// The most messages of one change: each has less than 400 bytes.
const MOST_AT_ONCE: usize = 400;

/// What is refused before anything is sent, and before addresses are replaced.
fn refusing(network: &JudgedNetwork, log: Log) -> Vec<Rule> {
    let mut rules = vec![Rule::default().established().accept()];
    // Loopback is the sandbox's own, but for the listener, which is reached by what is steered there alone.
    let listener = PortRange { low: LISTENER, high: LISTENER };
    for range in network.host_ports.iter().filter(|range| range.contains(LISTENER)) {
        rules.extend(loopback().map(|own| Rule::default().to(own).tcp_port(*range).accept()));
    }
    rules.extend(loopback().map(|own| Rule::default().to(own).tcp_port(listener).reset()));
    rules.extend(loopback().map(|own| Rule::default().to(own).accept()));
    let resolver = IpNet::from(IpAddr::V4(network.resolver));
    let names = PortRange { low: 53, high: 53 };
    rules.push(Rule::default().to(resolver).tcp_port(names).accept());
    rules.push(Rule::default().to(resolver).port(UDP, names).accept());
    let proxy = PortRange { low: network.proxy.port(), high: network.proxy.port() };
    rules.push(Rule::default().to(IpNet::from(IpAddr::V4(*network.proxy.ip()))).tcp_port(proxy).accept());
    for names in &network.names {
        rules.extend(
            names.ports.iter().map(|range| Rule::default().to(names.block.into()).tcp_port(*range).accept()),
        );
    }
    // What stands for a name is never an address, whatever rules say about addresses.
    if log == Log::Refused {
        rules.push(Rule::default().to(POOL.into()).protocol(TCP).log());
    }
    rules.push(Rule::default().to(POOL.into()).protocol(TCP).reset());
    for addresses in &network.addresses {
        rules.extend(
            addresses.ports.iter().map(|range| Rule::default().to(addresses.block).tcp_port(*range).accept()),
        );
    }
    // What the rejections below answer with.
    rules.push(Rule::default().family(V4).protocol(ICMP).unreachable(3).accept());
    rules.push(Rule::default().family(V6).protocol(ICMP6).unreachable(1).accept());
    if log == Log::Refused {
        rules.push(Rule::default().log());
    }
    rules.push(Rule::default().protocol(TCP).reset());
    rules.push(Rule::default().prohibited());
    rules
}

/// Where what was not refused goes.
fn steering(network: &JudgedNetwork) -> Vec<Rule> {
    let resolver = IpNet::from(IpAddr::V4(network.resolver));
    let mut rules = vec![Rule::default().to(resolver).accept()];
    for range in &network.host_ports {
        rules.extend(loopback().map(|own| Rule::default().to(own).tcp_port(*range).redirect()));
    }
    rules.extend(loopback().map(|own| Rule::default().to(own).accept()));
    rules.push(Rule::default().protocol(TCP).redirect());
    rules
}

fn loopback() -> [IpNet; 2] {
    [
        IpNet::V4(Ipv4Net::new_assert(std::net::Ipv4Addr::new(127, 0, 0, 0), 8)),
        IpNet::from(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)),
    ]
}

const TABLE: &str = "fence";
const REFUSE: &str = "refuse";
const STEER: &str = "steer";

const INET: u8 = 1;
const SUBSYSTEM: u16 = 10;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const NEW_CHAIN: u16 = (SUBSYSTEM << 8) | 3;
const NEW_RULE: u16 = (SUBSYSTEM << 8) | 6;
const TABLE_NAME: u16 = 1;

fn batch(messages: &[Vec<u8>]) -> Vec<u8> {
    const BEGIN: u16 = 0x10;
    const END: u16 = 0x11;
    let frame = |kind| Message::new(kind, 0, &netfilter(0, SUBSYSTEM)).bytes();
    [frame(BEGIN), messages.concat(), frame(END)].concat()
}

/// A chain that everything sent from here passes.
fn chain(name: &str, kind: &str, priority: i32) -> Vec<u8> {
    const OUTPUT: u32 = 3;
    const ACCEPT: u32 = 1;
    let hook = nested(4, &[number(1, OUTPUT), number(2, priority.cast_unsigned())]);
    Message::new(NEW_CHAIN, CREATE, &netfilter(INET, 0))
        .with(&text(1, TABLE))
        .with(&text(3, name))
        .with(&hook)
        .with(&number(5, ACCEPT))
        .with(&text(7, kind))
        .bytes()
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;
const V4: u8 = 2;
const V6: u8 = 10;

/// A rule: expressions that are gone through until one does not match.
#[derive(Default)]
struct Rule(Vec<Vec<u8>>);

/// The register that values go through.
const REGISTER: u32 = 1;

impl Rule {
    fn bytes(self, chain: &str) -> Vec<u8> {
        Message::new(NEW_RULE, CREATE | APPEND, &netfilter(INET, 0))
            .with(&text(1, TABLE))
            .with(&text(2, chain))
            .with(&nested(4, &self.0))
            .bytes()
    }

    fn with(mut self, name: &str, attributes: &[Vec<u8>]) -> Rule {
        self.0.push(nested(1, &[text(1, name), nested(2, attributes)]));
        self
    }

    /// Loads something known of the packet.
    fn meta(self, key: u32) -> Rule {
        self.with("meta", &[number(2, key), number(1, REGISTER)])
    }

    /// Loads a part of a header: 1 that of the network, 2 that of the transport.
    fn payload(self, header: u32, offset: u32, length: u32) -> Rule {
        let place = [number(1, REGISTER), number(2, header), number(3, offset), number(4, length)];
        self.with("payload", &place)
    }

    fn equals(self, value: &[u8]) -> Rule {
        const EQUAL: u32 = 0;
        self.with("cmp", &[number(1, REGISTER), number(2, EQUAL), data(3, value)])
    }

    fn masked(self, mask: &[u8]) -> Rule {
        let length = u32::try_from(mask.len()).unwrap_or(0);
        let nothing = vec![0; mask.len()];
        let registers = [number(1, REGISTER), number(2, REGISTER), number(3, length)];
        self.with("bitwise", &[registers.concat(), data(4, mask), data(5, &nothing)])
    }

    fn family(self, family: u8) -> Rule {
        const FAMILY: u32 = 15;
        self.meta(FAMILY).equals(&[family])
    }

    fn protocol(self, protocol: u8) -> Rule {
        const PROTOCOL: u32 = 16;
        self.meta(PROTOCOL).equals(&[protocol])
    }

    /// Matches a destination.
    fn to(self, block: IpNet) -> Rule {
        const NETWORK: u32 = 1;
        let rule = self.family(if block.addr().is_ipv4() { V4 } else { V6 });
        if block.prefix_len() == 0 {
            return rule;
        }
        let (address, mask, offset) = match block {
            IpNet::V4(net) => (net.network().octets().to_vec(), net.netmask().octets().to_vec(), 16),
            IpNet::V6(net) => (net.network().octets().to_vec(), net.netmask().octets().to_vec(), 24),
        };
        let loaded = rule.payload(NETWORK, offset, u32::try_from(address.len()).unwrap_or(0));
        let whole = block.prefix_len() == block.max_prefix_len();
        if whole { loaded.equals(&address) } else { loaded.masked(&mask).equals(&address) }
    }

    /// Matches a destination's port.
    fn port(self, protocol: u8, range: PortRange) -> Rule {
        const TRANSPORT: u32 = 2;
        const EQUAL: u32 = 0;
        let rule = self.protocol(protocol);
        if range == PortRange::ALL {
            return rule;
        }
        let loaded = rule.payload(TRANSPORT, 2, 2);
        let (low, high) = (range.low.to_be_bytes(), range.high.to_be_bytes());
        if low == high {
            return loaded.equals(&low);
        }
        loaded.with("range", &[number(1, REGISTER), number(2, EQUAL), data(3, &low), data(4, &high)])
    }

    fn tcp_port(self, range: PortRange) -> Rule {
        self.port(TCP, range)
    }

    /// Matches an answer of ICMP with this type.
    fn unreachable(self, kind: u8) -> Rule {
        const TRANSPORT: u32 = 2;
        self.payload(TRANSPORT, 0, 1).equals(&[kind])
    }

    /// Matches what belongs to a connection that stands, or answers one.
    fn established(self) -> Rule {
        const STATE: u32 = 0;
        const NOT_EQUAL: u32 = 1;
        const ESTABLISHED_OR_RELATED: u32 = 2 | 4;
        let state = self.with("ct", &[number(2, STATE), number(1, REGISTER)]);
        let masked = state.masked(&ESTABLISHED_OR_RELATED.to_ne_bytes());
        masked.with("cmp", &[number(1, REGISTER), number(2, NOT_EQUAL), data(3, &[0; 4])])
    }

    fn accept(self) -> Rule {
        const VERDICT: u32 = 0;
        const ACCEPT: u32 = 1;
        let verdict = nested(2, &[nested(2, &[number(1, ACCEPT)])]);
        self.with("immediate", &[number(1, VERDICT), verdict])
    }

    /// Brings it to the listener.
    fn redirect(self) -> Rule {
        let port = data(2, &LISTENER.to_be_bytes());
        self.with("immediate", &[number(1, REGISTER), port]).with("redir", &[number(1, REGISTER)])
    }

    /// Answers a TCP packet by a reset: `connect` fails at once.
    fn reset(self) -> Rule {
        const RESET: u32 = 1;
        self.with("reject", &[number(1, RESET), attribute(2, &[0])])
    }

    /// Answers that it is prohibited.
    fn prohibited(self) -> Rule {
        const EITHER_FAMILY: u32 = 2;
        const PROHIBITED: u8 = 3;
        self.with("reject", &[number(1, EITHER_FAMILY), attribute(2, &[PROHIBITED])])
    }

    fn log(self) -> Rule {
        self.with("log", &[attribute(1, &LOG_GROUP.to_be_bytes())])
    }
}

fn data(kind: u16, value: &[u8]) -> Vec<u8> {
    nested(kind, &[attribute(1, value)])
}
