//! What a person allows while a command runs, beyond its policy.

use crate::cover::{HostAsked, is_internal};
use crate::decide::decide;
use crate::pattern::{ConnectPattern, HostPattern, PortRange};
use crate::policy::{Acceptance, Effect, Item, Policy, Rule, Subject, Written};
use crate::question::{Destination, Question, Reason, Verdict};
use crate::source::SourceId;
use crate::world::World;

/// Whether a person can allow what is refused for this reason: no `never` refuses it, and not the language itself.
#[must_use]
pub fn can_be_asked(policy: &Policy, refused: &Reason) -> bool {
    match refused {
        Reason::NothingAllows => true,
        Reason::Rules(rules) => rules
            .iter()
            .all(|id| policy.rules.get(id.0 as usize).is_some_and(|rule| rule.effect == Effect::Deny)),
        Reason::AlwaysClosed(_) | Reason::AlwaysOpen(_) => false,
    }
}

/// The policy by which connecting to a destination is judged once a person has allowed it: the items of `deny` rules that
/// refuse it are set aside, and it is allowed. Whatever else these rules close stays closed, and the numbers of the rules stay.
///
/// `None` where no person can allow it, and for internal addresses: what answers there is told to a policy, not to somebody in a hurry.
#[must_use]
pub fn connecting(policy: &Policy, world: &World, destination: &Destination) -> Option<Policy> {
    let question = Question::Connect(destination.clone());
    let refused = decide(policy, world, &question).reason;
    if !can_be_asked(policy, &refused) {
        return None;
    }
    let Destination { name, address, port } = destination;
    let host = HostAsked { world, name: name.as_ref(), address: *address, port: *port };
    if host.is_localhost() || address.is_some_and(is_internal) {
        return None;
    }
    let mut granted = policy.clone();
    if let Reason::Rules(rules) = refused {
        for id in rules {
            let rule = granted.rules.get_mut(id.0 as usize)?;
            let written = rule.clone();
            if let Subject::Connect { items, except } = &mut rule.subject {
                items.retain(|item| {
                    let subject = Subject::Connect { items: vec![item.clone()], except: except.clone() };
                    let rules = vec![Rule { subject, ..written.clone() }];
                    let alone = decide(&Policy { rules, ..policy.clone() }, world, &question);
                    alone.reason == Reason::NothingAllows
                });
            }
        }
    }
    let ports = Some(PortRange { low: *port, high: *port });
    let host = match (name, address) {
        (Some(name), _) => HostPattern::Name(name.clone()),
        (None, Some(address)) => HostPattern::Block((*address).into()),
        (None, None) => return None,
    };
    granted.rules.push(allowing(ConnectPattern { host, ports }));
    (decide(&granted, world, &question).verdict == Verdict::Allowed).then_some(granted)
}

/// The policy that bounds what may be connected to while a person is asked: whatever no `never` closes.
#[must_use]
pub fn bounding(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    for rule in policy.rules.iter_mut().filter(|rule| rule.effect == Effect::Deny) {
        if let Subject::Connect { items, .. } = &mut rule.subject {
            items.clear();
        }
    }
    policy.rules.push(allowing(ConnectPattern { host: HostPattern::Any, ports: None }));
    policy
}

fn allowing(pattern: ConnectPattern) -> Rule {
    // No text has it.
    let nowhere = Written { source: SourceId(0), start: 0, end: 0, line: 0 };
    let items = vec![Item { text: String::new(), written: nowhere, pattern }];
    Rule {
        effect: Effect::Allow,
        subject: Subject::Connect { items, except: Vec::new() },
        acceptance: Acceptance::Exact,
        label: None,
        because: None,
        platform: None,
        written: nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::DomainName;
    use crate::question::{Decision, Platform};
    use crate::resolve::{Request, resolve};
    use crate::source::{LoadError, Loader, Origin, Reference, Source};

    struct Nothing;

    impl Loader for Nothing {
        fn load(&self, _: Reference<'_>, _: &Origin) -> Result<Source, LoadError> {
            Err(LoadError::NoDirectory)
        }
    }

    fn policy(text: &str) -> Policy {
        let source = Source {
            origin: Origin::BuiltIn("p".to_owned()),
            name: "p".to_owned(),
            text: format!("fence 1\n{text}\n"),
        };
        let resolved = resolve(&Request { mains: vec![source], ..Request::default() }, &Nothing);
        assert_eq!(resolved.diagnostics, []);
        resolved.policy
    }

    fn world() -> World {
        World {
            platform: Platform::Linux,
            variables: [].into(),
            links: [].into(),
            hosts: [].into(),
            protected: Vec::new(),
        }
    }

    fn destination(host: &str, port: u16, address: Option<&str>) -> Destination {
        let address = address.map(|address| address.parse().unwrap());
        Destination { name: Some(DomainName::new(host).unwrap()), address, port }
    }

    fn connect(policy: &Policy, host: &str, port: u16, address: Option<&str>) -> Decision {
        decide(policy, &world(), &Question::Connect(destination(host, port, address)))
    }

    fn by_person(policy: &Policy, host: &str, port: u16) -> Option<Policy> {
        assert_eq!(connect(policy, host, port, None).verdict, Verdict::Denied);
        connecting(policy, &world(), &destination(host, port, None))
    }

    #[test]
    fn what_is_allowed_is_this_and_nothing_else() {
        let policy = policy(
            "allow connect a.example:443\ndeny connect *.b.example, 192.0.2.0/24 as b\nallow run true\nallow read write /srv",
        );
        for (host, port) in [("a.example", 80), ("x.b.example", 443), ("c.example", 22)] {
            let granted = by_person(&policy, host, port).unwrap();
            assert_eq!(connect(&granted, host, port, None).verdict, Verdict::Allowed);
            for (other, at) in [("a.example", 81), ("c.example", 443), ("d.example", 22)] {
                assert_eq!(
                    connect(&granted, other, at, None).verdict,
                    Verdict::Denied,
                    "{host}: {other}:{at}"
                );
            }
            // A name may lead anywhere: what lies inside, and what the same rule closes beside it, stays closed.
            for address in ["127.0.0.1", "169.254.169.254", "10.0.0.1", "192.0.2.1", "64:ff9b::c000:201"] {
                assert_eq!(
                    connect(&granted, host, port, Some(address)).verdict,
                    Verdict::Denied,
                    "{host}: {address}"
                );
            }
            assert_eq!(granted.rules.len(), policy.rules.len() + 1);
        }
    }

    #[test]
    fn a_rule_keeps_what_it_closes_beside_what_is_allowed() {
        let policy = policy("allow connect *\ndeny connect a.example, b.example, 192.0.2.1");
        let granted = by_person(&policy, "a.example", 443).unwrap();
        assert_eq!(connect(&granted, "a.example", 443, None).verdict, Verdict::Allowed);
        assert_eq!(connect(&granted, "b.example", 443, None).verdict, Verdict::Denied);
        assert_eq!(connect(&granted, "a.example", 443, Some("192.0.2.1")).verdict, Verdict::Denied);
        assert_eq!(connect(&granted, "a.example", 443, Some("198.51.100.1")).verdict, Verdict::Allowed);
    }

    #[test]
    fn no_person_allows_what_a_never_refuses() {
        let policy = policy("allow connect *\nnever connect a.example\ndeny connect *.example:443");
        assert_eq!(by_person(&policy, "a.example", 443), None);
        assert_eq!(by_person(&policy, "a.example", 80), None);
        assert!(by_person(&policy, "b.example", 443).is_some());
        assert!(!can_be_asked(&policy, &Reason::AlwaysClosed("by the language".to_owned())));
    }

    #[test]
    fn nobody_is_asked_about_what_lies_inside() {
        let policy = policy("allow connect a.example");
        for address in
            ["127.0.0.1", "169.254.169.254", "10.0.0.1", "fe80::1", "64:ff9b::a00:1", "::ffff:10.0.0.1"]
        {
            let address = address.parse().ok();
            assert_eq!(connecting(&policy, &world(), &Destination { name: None, address, port: 80 }), None);
        }
        let address = "192.0.2.1".parse().ok();
        assert!(connecting(&policy, &world(), &Destination { name: None, address, port: 80 }).is_some());
        assert_eq!(connecting(&policy, &world(), &destination("localhost", 80, None)), None);
    }

    #[test]
    fn what_bounds_the_network_leaves_out_what_a_never_closes() {
        let bounds = bounding(&policy("deny connect *:25\nnever connect a.example"));
        assert_eq!(connect(&bounds, "b.example", 25, None).verdict, Verdict::Allowed);
        assert_eq!(connect(&bounds, "a.example", 443, None).verdict, Verdict::Denied);
    }
}
