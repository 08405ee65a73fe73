//! Rules about connections: what of the network is brought to fence, and what decides about it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::claims::{Findings, is_for_linux};
use super::commands::Starts;
use super::report::{Cause, Report};
use crate::diagnostic::{Code, Diagnostic};
use crate::fidelity::Mechanism;
use crate::host::{Host, Support};
use crate::pattern::{ConnectPattern, HostPattern, PortRange, Variable};
use crate::plan::{AddressBlock, JudgedNetwork, NameBlock, NetworkPlan, POOL, PROXY, RESOLVER};
use crate::policy::{Effect, Item, LimitKind, Policy, Rule, SecretHolder, Subject, Tls, Written};
use crate::ports::PortSet;
use crate::reach;
use crate::world::World;

const OWN_LOOPBACK: &str = "loopback stays the sandbox's own; `localhost:PORT` opens the host's: {}";
const NAMES_LIE_THERE: &str = "addresses of 198.18.0.0/15 stand for names inside: {}";
const NO_TLS: &str = "requests cannot be seen in TLS, so connections to these hosts are only let through where they are plain HTTP: {}";
const NOT_ANSWERED: &str = "without a network namespace each connection is made by a process outside, which this machine does not let answer (`fence doctor` tells why), so there are none: {}";
const POOL_CLOSED: &str = "addresses of 198.18.0.0/15 are not connected to: {}";
pub(super) const ONLY_PROXY: &str =
    "only through the proxy, so a program that does not use its variables connects nowhere: {}";
const SSH_UNJUDGED: &str = "nothing judges what an ssh inside is asked to do: {}";

const SSH_OTHERS: &str =
    "what is judged is OpenSSH's `ssh`, not another program that speaks its protocol: {}";

/// The network of a policy: isolated if nothing may be connected to.
pub(super) fn plan(policy: &Policy, host: &Host, values: &BTreeMap<Variable, Vec<u8>>) -> NetworkPlan {
    let opens = |rule: &Rule| {
        rule.effect == Effect::Allow && matches!(rule.subject, Subject::Connect { .. }) && is_for_linux(rule)
    };
    if !policy.rules.iter().any(opens) {
        return NetworkPlan::Isolated;
    }
    let world = World {
        platform: host.platform,
        variables: values.clone(),
        links: BTreeMap::new(),
        hosts: BTreeMap::new(),
        protected: Vec::new(),
    };
    let names = name_blocks(reach::all_sets(policy, &world));
    let addresses = address_blocks(policy, &world);
    let host_ports = reach::host_ports(policy, &world);
    if names.is_empty() && addresses.is_empty() && host_ports.is_empty() {
        return NetworkPlan::Isolated;
    }
    NetworkPlan::Judged(JudgedNetwork {
        names,
        addresses,
        host_ports: host_ports.ranges().to_vec(),
        proxy: PROXY,
        resolver: RESOLVER,
        tls: policy.tls.unwrap_or(Tls::Strict),
        connect_time: smallest(policy, LimitKind::ConnectTime),
        idle_time: smallest(policy, LimitKind::IdleTime),
    })
}

/// The bits of the network part of a block of names: 32 blocks of 4,096 addresses, of which the first is fence's own.
const NAME_BLOCK: u8 = 20;

fn name_blocks(sets: BTreeSet<PortSet>) -> Vec<NameBlock> {
    let blocks: Vec<Ipv4Net> =
        POOL.subnets(NAME_BLOCK).map(|blocks| blocks.skip(1).collect()).unwrap_or_default();
    let mut sets: Vec<Vec<PortRange>> = sets.iter().map(|set| set.ranges().to_vec()).collect();
    if sets.len() > blocks.len() {
        sets.retain(|set| *set != [PortRange::ALL]);
        sets.truncate(blocks.len().saturating_sub(1));
        sets.push(vec![PortRange::ALL]);
    }
    blocks.into_iter().zip(sets).map(|(block, ports)| NameBlock { block, ports }).collect()
}

/// The most blocks of addresses that the kernel tells apart.
const MOST_BLOCKS: usize = 256;

fn address_blocks(policy: &Policy, world: &World) -> Vec<AddressBlock> {
    let mut blocks: BTreeMap<IpNet, PortSet> = BTreeMap::new();
    let opening = reach::connect_rules(policy, world).filter(|rule| rule.effect == Effect::Allow);
    for item in opening.flat_map(|rule| rule.items).filter(|item| !reach::means_loopback(item, world)) {
        let ports = PortSet::of([reach::ports_in(item)]);
        let opened = match reach::host_in(&item.pattern.host, world) {
            Some(HostPattern::Block(block)) => vec![block],
            Some(HostPattern::Any) => everything().to_vec(),
            _ => Vec::new(),
        };
        for block in opened {
            let known = blocks.entry(block).or_default();
            *known = known.union(&ports);
        }
    }
    if blocks.len() > MOST_BLOCKS {
        let ports = PortSet::of(blocks.values().flat_map(|ports| ports.ranges().to_vec()));
        blocks = everything().into_iter().map(|block| (block, ports.clone())).collect();
    }
    let blocks = blocks.into_iter();
    blocks.map(|(block, ports)| AddressBlock { block, ports: ports.ranges().to_vec() }).collect()
}

fn everything() -> [IpNet; 2] {
    [
        IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)),
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)),
    ]
}

fn smallest(policy: &Policy, kind: LimitKind) -> Option<u64> {
    use crate::question::Platform;
    let here = |platform: Option<Platform>| platform.is_none_or(|platform| platform == Platform::Linux);
    let limits = policy.limits.iter().filter(|limit| limit.kind == kind && here(limit.platform));
    limits.map(|limit| limit.amount).min()
}

/// What keeps programs from connecting to anything but fence.
#[derive(Clone, Copy)]
pub(super) enum Keeper<'a> {
    /// A network namespace.
    Namespace,
    /// Who makes connections in their place, to the proxy alone, where the machine lets it.
    Connector(&'a Support),
}

/// Reports how rules about the network are enforced.
pub(super) fn judge(
    policy: &Policy,
    network: &NetworkPlan,
    keeper: Keeper<'_>,
    starts: Starts,
    findings: &mut Findings,
) {
    for (number, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| is_for_linux(rule)) {
        let Some(report) = findings.reports.get_mut(number) else { continue };
        match &rule.subject {
            Subject::Connect { items, .. } => connect(rule.effect, items, network, keeper, report),
            Subject::Http { items, .. } => {
                by_network(network, keeper, report);
                if let NetworkPlan::Judged(_) = network {
                    for item in items {
                        report.stricter(NO_TLS, &item.text);
                    }
                } else if rule.effect == Effect::Allow {
                    items.iter().for_each(|item| {
                        report.note("opens nothing, as no connection is allowed: {}", &item.text)
                    });
                }
            }
            Subject::Listen { .. } => report.by(match keeper {
                Keeper::Namespace => Mechanism::Namespace,
                Keeper::Connector(_) => Mechanism::Seccomp,
            }),
            Subject::Ssh { items, .. } => match (rule.effect, network) {
                (Effect::Allow, _) if opens_every_ssh(rule) => {
                    report.by(Mechanism::Absence);
                    if *network == NetworkPlan::Isolated {
                        report.note("{} opens nothing: there are no connections", "ssh *");
                    }
                }
                (_, NetworkPlan::Judged(_)) if starts == Starts::Judged => {
                    by_network(network, keeper, report);
                    report.by(Mechanism::Mediator);
                    for item in items {
                        report.note(SSH_OTHERS, &item.text);
                    }
                }
                (Effect::Allow, NetworkPlan::Isolated) => {
                    by_network(network, keeper, report);
                    for item in items {
                        report.note("opens nothing, as no connection is allowed: {}", &item.text);
                    }
                }
                (_, NetworkPlan::Isolated) => by_network(network, keeper, report),
                (_, NetworkPlan::Judged(_)) => {
                    items.iter().for_each(|item| report.weaker(Cause::Mechanism, SSH_UNJUDGED, &item.text));
                }
            },
            _ => {}
        }
    }
}

fn connect(
    effect: Effect,
    items: &[Item<ConnectPattern>],
    network: &NetworkPlan,
    keeper: Keeper<'_>,
    report: &mut Report,
) {
    by_network(network, keeper, report);
    if effect != Effect::Allow {
        return;
    }
    for item in items {
        match (keeper, network) {
            (Keeper::Namespace, _) | (Keeper::Connector(Support::Yes), NetworkPlan::Isolated) => {}
            (Keeper::Connector(Support::No(_)), _) => report.stricter(NOT_ANSWERED, &item.text),
            (Keeper::Connector(Support::Yes), NetworkPlan::Judged(_)) => {
                report.stricter(ONLY_PROXY, &item.text);
            }
        }
        let HostPattern::Block(block) = &item.pattern.host else { continue };
        if block.addr().is_loopback() {
            continue;
        }
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let own = matches!(keeper, Keeper::Namespace);
        if own && loopback.iter().any(|address| block.contains(address)) {
            report.stricter(OWN_LOOPBACK, &item.text);
        }
        let pool = IpNet::V4(POOL);
        if block.contains(&pool) || pool.contains(block) {
            report.stricter(if own { NAMES_LIE_THERE } else { POOL_CLOSED }, &item.text);
        }
    }
}

fn by_network(network: &NetworkPlan, keeper: Keeper<'_>, report: &mut Report) {
    let judged = *network != NetworkPlan::Isolated;
    report.by(if judged { Mechanism::Proxy } else { Mechanism::Absence });
    report.by(match keeper {
        Keeper::Namespace => Mechanism::Namespace,
        Keeper::Connector(_) if judged => Mechanism::Mediator,
        Keeper::Connector(_) => Mechanism::Seccomp,
    });
}

/// Whether it is `allow ssh *`.
pub(super) fn opens_every_ssh(rule: &Rule) -> bool {
    let Subject::Ssh { items, except } = &rule.subject else { return false };
    rule.effect == Effect::Allow
        && except.is_empty()
        && items.iter().all(|item| item.pattern.host == HostPattern::Any && item.pattern.command.is_none())
}

/// The reports of secrets, of upstream proxies, and of the `tls` setting.
pub(super) fn settings(
    policy: &Policy,
    network: &NetworkPlan,
    findings: &mut Findings,
) -> (Vec<Report>, Vec<Report>, Option<Report>) {
    let mut secrets = Vec::new();
    for secret in &policy.secrets {
        let mut report = Report::default();
        let name = match &secret.holder {
            SecretHolder::Env(name) => name.clone(),
            SecretHolder::File(path) => path.to_string(),
        };
        report.stricter("nothing puts the value of {} in: this version ends no TLS", &name);
        secrets.push(report);
        findings.diagnostics.push(refusal("secrets put in by the proxy", secret.written));
    }
    let told = |name: &str| {
        let mut report = Report::default();
        if *network == NetworkPlan::Isolated {
            report.by(Mechanism::Absence);
            report.note("{} changes nothing: there are no connections", name);
        } else {
            report.by(Mechanism::Proxy);
        }
        report
    };
    let upstreams = policy.upstreams.iter().map(|_| told("upstream")).collect();
    (secrets, upstreams, policy.tls.map(|_| told("tls")))
}

fn refusal(what: &str, written: Written) -> Diagnostic {
    Diagnostic::new(Code::NotInThisVersion, format!("this version of fence has no {what}"))
        .at(written.place())
        .help("take the rule out, or wait for a version that has it")
}
