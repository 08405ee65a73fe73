//! The network: what the kernel lets through to loopback, and what only the proxy carries.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::super::claims::Findings;
use super::super::network::ONLY_PROXY;
use super::super::report::{Cause, Report};
use super::places::is_for_macos;
use crate::decide::decide;
use crate::fidelity::Mechanism;
use crate::pattern::{HostPattern, PortRange};
use crate::policy::{Effect, Policy, Rule, Subject};
use crate::profile::ProxyPlan;
use crate::question::{Destination, Question, Verdict};
use crate::world::World;

/// Ports of loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// These.
    Only(Vec<u16>),
    /// All but these.
    AllBut(Vec<u16>),
}

impl Ports {
    /// How many ports are written down.
    fn listed(&self) -> usize {
        match self {
            Ports::Only(ports) | Ports::AllBut(ports) => ports.len(),
        }
    }
}

/// What the profile says about the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Whether there is a proxy.
    pub proxy: ProxyPlan,
    /// The ports of the host's loopback that are reached without one.
    pub loopback: Ports,
    /// The ports that may be bound there.
    pub listen: Ports,
    /// The rules that open something.
    pub opening: Vec<usize>,
}

const OWN: &str =
    "processes inside do not reach it: on macOS a port of loopback belongs to the whole machine: {}";
const ASKED: &str =
    "what an ssh is asked is judged for the command that fence starts, not for what that one starts: {}";

const TOO_MANY: &str =
    "a profile lists ports one by one, so of this many only those are opened that `--publish` names: {}";

/// As many ports that may be bound are listed.
const MOST_LISTED: usize = 512;

/// Decides which ports are open, and reports how each rule about the network is enforced.
pub fn plan(policy: &Policy, world: &World, publish: &BTreeSet<u16>, findings: &mut Findings) -> Network {
    let proxied = rules(policy).any(|(_, rule)| rule.effect == Effect::Allow && needs_proxy(rule));
    let connects = rules(policy)
        .any(|(_, rule)| rule.effect == Effect::Allow && matches!(rule.subject, Subject::Connect { .. }));
    let proxy = if proxied { ProxyPlan::Loopback } else { ProxyPlan::None };
    let mut opening = Vec::new();
    for (number, rule) in rules(policy) {
        let opens = rule.effect == Effect::Allow;
        let Some(report) = findings.reports.get_mut(number) else { continue };
        match &rule.subject {
            Subject::Connect { items, .. } => {
                report.by(Mechanism::Seatbelt);
                if proxied {
                    report.by(Mechanism::Proxy);
                }
                for item in items.iter().filter(|item| opens && item.pattern.host != HostPattern::Localhost) {
                    report.stricter(ONLY_PROXY, &item.text);
                }
            }
            Subject::Http { .. } if proxied => report.by(Mechanism::Proxy),
            Subject::Http { .. } => report.by(Mechanism::Absence),
            Subject::Listen { items, .. } => {
                report.by(Mechanism::Seatbelt);
                for item in items.iter().filter(|_| opens) {
                    report.note(OWN, &item.text);
                }
            }
            Subject::Ssh { items, .. } => {
                let every = items
                    .iter()
                    .all(|item| item.pattern.host == HostPattern::Any && item.pattern.command.is_none());
                if !connects {
                    report.by(Mechanism::Absence);
                } else if opens && every {
                    report.by(Mechanism::Proxy);
                } else {
                    report.by(Mechanism::Preflight);
                    for item in items {
                        report.weaker(Cause::Mechanism, ASKED, &item.text);
                    }
                }
                continue;
            }
            _ => continue,
        }
        if opens {
            opening.push(number);
        }
    }
    let (connected, listened) = (ranges(policy, Which::Connect), ranges(policy, Which::Listen));
    let loopback = ports(&connected, |port| connects && is_reached(policy, world, port));
    let may_listen = |port: u16| is_allowed(policy, world, &Question::Listen(port));
    let mut listen = ports(&listened, may_listen);
    if listen.listed() > MOST_LISTED {
        listen = Ports::Only(publish.iter().copied().filter(|port| may_listen(*port)).collect());
        for (number, rule) in rules(policy).filter(|(_, rule)| rule.effect == Effect::Allow) {
            let Subject::Listen { items, .. } = &rule.subject else { continue };
            let Some(report) = findings.reports.get_mut(number) else { continue };
            items.iter().for_each(|item| report.stricter(TOO_MANY, &item.text));
        }
    }
    Network { proxy, loopback, listen, opening }
}

/// The reports of secrets, of upstream proxies, and of the `tls` setting: all of them are the proxy's.
pub fn settings(policy: &Policy) -> (Vec<Report>, Vec<Report>, Option<Report>) {
    let proxied = || {
        let mut report = Report::default();
        report.by(Mechanism::Proxy);
        report
    };
    (
        policy.secrets.iter().map(|_| proxied()).collect(),
        policy.upstreams.iter().map(|_| proxied()).collect(),
        policy.tls.map(|_| proxied()),
    )
}

fn rules(policy: &Policy) -> impl Iterator<Item = (usize, &Rule)> {
    policy.rules.iter().enumerate().filter(|(_, rule)| is_for_macos(rule))
}

/// Whether a rule is about more than the host's loopback.
fn needs_proxy(rule: &Rule) -> bool {
    match &rule.subject {
        Subject::Connect { items, .. } => {
            items.iter().any(|item| item.pattern.host != HostPattern::Localhost)
        }
        Subject::Http { .. } => true,
        _ => false,
    }
}

/// The kernel sees addresses only, and takes both of loopback for the same: each of them must be allowed.
fn is_reached(policy: &Policy, world: &World, port: u16) -> bool {
    [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].into_iter().all(|address| {
        let destination = Destination { name: None, address: Some(address), port };
        is_allowed(policy, world, &Question::Connect(destination))
    })
}

fn is_allowed(policy: &Policy, world: &World, question: &Question) -> bool {
    decide(policy, world, question).verdict == Verdict::Allowed
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Connect,
    Listen,
}

/// The ranges of ports that rules write down.
fn ranges(policy: &Policy, which: Which) -> Vec<PortRange> {
    let mut found = Vec::new();
    for (_, rule) in rules(policy) {
        match &rule.subject {
            Subject::Connect { items, except } if which == Which::Connect => {
                found.extend(items.iter().chain(except).filter_map(|item| item.pattern.ports));
            }
            Subject::Listen { items, except } if which == Which::Listen => {
                found.extend(items.iter().chain(except).map(|item| item.pattern));
            }
            _ => {}
        }
    }
    found
}

/// The ports that are open: between two edges of written ranges, one answer holds for all.
fn ports(ranges: &[PortRange], is_open: impl Fn(u16) -> bool) -> Ports {
    let mut edges: BTreeSet<u16> = BTreeSet::from([1]);
    for range in ranges {
        edges.insert(range.low);
        edges.extend(range.high.checked_add(1));
    }
    let edges: Vec<u16> = edges.into_iter().collect();
    let mut open = Vec::new();
    let mut closed = Vec::new();
    for (index, low) in edges.iter().enumerate() {
        let high = edges.get(index + 1).map_or(u16::MAX, |next| next - 1);
        if is_open(*low) { &mut open } else { &mut closed }.push(*low..=high);
    }
    let size = |ranges: &[RangeInclusive<u16>]| ranges.iter().map(ExactSizeIterator::len).sum::<usize>();
    if size(&open) > size(&closed) {
        Ports::AllBut(closed.into_iter().flatten().collect())
    } else {
        Ports::Only(open.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_asked_for_once_a_range() {
        let range = |low, high| PortRange { low, high };
        let asked = std::cell::Cell::new(0);
        let found = ports(&[range(22, 22), range(3000, 3002)], |port| {
            asked.set(asked.get() + 1);
            (3000..=3002).contains(&port)
        });
        assert_eq!(found, Ports::Only(vec![3000, 3001, 3002]));
        assert_eq!(asked.get(), 5);
        assert_eq!(ports(&[range(22, 22)], |port| port != 22), Ports::AllBut(vec![22]));
        assert_eq!(ports(&[], |_| true), Ports::AllBut(Vec::new()));
        assert_eq!(ports(&[], |_| false), Ports::Only(Vec::new()));
    }
}
