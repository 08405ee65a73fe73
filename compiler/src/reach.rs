//! What may be connected to at all: the ports of a name and of loopback, by every rule.
//!
//! It bounds what [`decide`](crate::decide::decide) allows, so that the rest can be refused without asking it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::cover::{HostAsked, Need};
use crate::pattern::host::literal_host;
use crate::pattern::{ConnectPattern, DomainName, HostPattern, PortRange, Variable};
use crate::policy::{Effect, Item, Policy, Subject};
use crate::ports::PortSet;
use crate::world::World;

/// The ports that a name may be connected to on, if none of its addresses is internal or named by a rule.
#[must_use]
pub fn ports_of(policy: &Policy, world: &World, name: &DomainName) -> PortSet {
    let asked = HostAsked { world, name: Some(name), address: None, port: 0 };
    together(connect_rules(policy, world).map(|rule| rule.ports(&asked, Need::Name)))
}

/// The ports of loopback that lead to the host's: those of `localhost`, or of addresses of loopback alone. What is
/// about more than loopback leaves it to the sandbox.
#[must_use]
pub fn host_ports(policy: &Policy, world: &World) -> PortSet {
    let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let others = connect_rules(policy, world).flat_map(|rule| rule.loopback(world));
    addresses.into_iter().chain(others.collect::<BTreeSet<_>>()).fold(PortSet::default(), |all, address| {
        let asked = HostAsked { world, name: None, address: Some(address), port: 0 };
        let rules = connect_rules(policy, world).map(|rule| {
            let ports = rule.ports(&asked, Need::Address(address));
            let own = rule.effect != Effect::Allow;
            let named =
                PortSet::of(rule.items.iter().filter(|item| means_loopback(item, world)).map(ports_in));
            Ports { items: if own { ports.items } else { ports.items.both(&named) }, ..ports }
        });
        all.union(&together(rules))
    })
}

/// Every set of ports that some name may be connected to on, but the empty one.
#[must_use]
pub(crate) fn all_sets(policy: &Policy, world: &World) -> BTreeSet<PortSet> {
    let index = Index::new(policy, world);
    let mut sets: BTreeSet<PortSet> = index.classes().map(|class| index.ports(&class)).collect();
    sets.remove(&PortSet::default());
    sets
}

/// A rule about connections.
#[derive(Clone, Copy)]
pub(crate) struct ConnectRule<'p> {
    /// What it does.
    pub(crate) effect: Effect,
    /// Its items.
    pub(crate) items: &'p [Item<ConnectPattern>],
    /// Its exceptions.
    pub(crate) except: &'p [Item<ConnectPattern>],
}

/// The rules about connections that hold on the world's platform.
pub(crate) fn connect_rules<'p>(
    policy: &'p Policy,
    world: &World,
) -> impl Iterator<Item = ConnectRule<'p>> + use<'p> {
    let platform = world.platform;
    let here = policy.rules.iter().filter(move |rule| rule.platform.is_none_or(|named| named == platform));
    here.filter_map(|rule| match &rule.subject {
        Subject::Connect { items, except } => Some(ConnectRule { effect: rule.effect, items, except }),
        _ => None,
    })
}

/// The host that a pattern means in a world; `None` for a variable without a value.
pub(crate) fn host_in(pattern: &HostPattern, world: &World) -> Option<HostPattern> {
    let HostPattern::Environment(name) = pattern else { return Some(pattern.clone()) };
    let value = world.variables.get(&Variable::Environment(name.clone()))?;
    literal_host(std::str::from_utf8(value).ok()?)
}

/// The ports of an item.
pub(crate) fn ports_in(item: &Item<ConnectPattern>) -> PortRange {
    item.pattern.ports.unwrap_or(PortRange::ALL)
}

/// Whether an item is about loopback and nothing else.
pub(crate) fn means_loopback(item: &Item<ConnectPattern>, world: &World) -> bool {
    match host_in(&item.pattern.host, world) {
        Some(HostPattern::Localhost) => true,
        Some(HostPattern::Block(block)) => {
            block.addr().is_loopback() && (block.addr().is_ipv6() || block.prefix_len() >= 8)
        }
        _ => false,
    }
}

impl ConnectRule<'_> {
    /// What the rule says about one host, whatever the port.
    fn ports(&self, asked: &HostAsked<'_>, need: Need) -> Ports {
        let opened = |item: &&Item<ConnectPattern>| asked.host_opens(&item.pattern.host, need);
        let closed = |item: &&Item<ConnectPattern>| asked.host_closes(&item.pattern.host);
        let (items, except) = (self.items.iter(), self.except.iter());
        let (items, except) = match self.effect {
            Effect::Allow => (ranges(items.filter(opened)), ranges(except.filter(closed))),
            Effect::Deny | Effect::Never => (ranges(items.filter(closed)), ranges(except.filter(opened))),
        };
        Ports { effect: self.effect, items: PortSet::of(items), except: PortSet::of(except) }
    }

    /// The single addresses of loopback that the rule allows.
    fn loopback(&self, world: &World) -> Vec<IpAddr> {
        let loopback = self.items.iter().filter(|item| means_loopback(item, world));
        loopback
            .filter_map(|item| match host_in(&item.pattern.host, world) {
                Some(HostPattern::Block(block)) => Some(block.addr()),
                _ => None,
            })
            .collect()
    }
}

/// What one rule says about a host.
struct Ports {
    effect: Effect,
    items: PortSet,
    except: PortSet,
}

fn ranges<'a>(items: impl Iterator<Item = &'a Item<ConnectPattern>>) -> Vec<PortRange> {
    items.map(ports_in).collect()
}

fn together(rules: impl Iterator<Item = Ports>) -> PortSet {
    let (mut open, mut closed) = (Vec::new(), Vec::new());
    for rule in rules {
        let side = if rule.effect == Effect::Allow { &mut open } else { &mut closed };
        side.extend_from_slice(rule.items.without(&rule.except).ranges());
    }
    PortSet::of(open).without(&PortSet::of(closed))
}

/// Which names rules tell apart: names of one class are covered by the same items.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// No rule names it, or a name above it.
    Other,
    /// This name alone.
    Name(DomainName),
    /// The names below this one that no rule tells apart from each other.
    Below(DomainName),
}

/// The ports of the items and of the exceptions of rules, by their number.
type ByRule = BTreeMap<usize, (Vec<PortRange>, Vec<PortRange>)>;

/// Items by what they name, so that the classes of a large policy are looked at in a time that grows with their
/// number.
struct Index {
    items: BTreeMap<Class, ByRule>,
    effects: Vec<Effect>,
}

impl Index {
    fn new(policy: &Policy, world: &World) -> Index {
        let items = BTreeMap::from([(Class::Other, ByRule::new())]);
        let mut index = Index { items, effects: Vec::new() };
        for (number, rule) in connect_rules(policy, world).enumerate() {
            index.effects.push(rule.effect);
            for item in rule.items {
                if let Some(rules) = index.rules(item, world) {
                    rules.entry(number).or_default().0.push(ports_in(item));
                }
            }
            for item in rule.except {
                if let Some(rules) = index.rules(item, world) {
                    rules.entry(number).or_default().1.push(ports_in(item));
                }
            }
        }
        index
    }

    fn rules(&mut self, item: &Item<ConnectPattern>, world: &World) -> Option<&mut ByRule> {
        let class = match host_in(&item.pattern.host, world)? {
            HostPattern::Any => Class::Other,
            HostPattern::Name(name) => Class::Name(name),
            HostPattern::Below(above) => Class::Below(above),
            HostPattern::Localhost | HostPattern::Block(_) | HostPattern::Environment(_) => return None,
        };
        Some(self.items.entry(class).or_default())
    }

    fn classes(&self) -> impl Iterator<Item = Class> {
        self.items.keys().cloned()
    }

    /// The ports that the names of a class may be connected to on.
    fn ports(&self, class: &Class) -> PortSet {
        let mut rules = ByRule::new();
        for class in around(class) {
            for (number, (items, except)) in self.items.get(&class).into_iter().flatten() {
                let known = rules.entry(*number).or_default();
                known.0.extend_from_slice(items);
                known.1.extend_from_slice(except);
            }
        }
        together(rules.into_iter().filter_map(|(number, (items, except))| {
            let effect = *self.effects.get(number)?;
            Some(Ports { effect, items: PortSet::of(items), except: PortSet::of(except) })
        }))
    }
}

/// A class and every one that contains it.
fn around(class: &Class) -> Vec<Class> {
    let mut all = vec![Class::Other];
    let name = match class {
        Class::Other => return all,
        Class::Name(name) | Class::Below(name) => name,
    };
    all.push(class.clone());
    let mut rest = name.as_str();
    while let Some((_, above)) = rest.split_once('.') {
        all.extend(DomainName::new(above).ok().map(Class::Below));
        rest = above;
    }
    all
}
