//! The one decision: whether a policy allows a connection or a request.

use std::net::IpAddr;

use fence_compiler::decide::decide;
use fence_compiler::grant::connecting;
use fence_compiler::pattern::{ConnectPattern, DomainName, PortRange};
use fence_compiler::policy::{Effect, Policy, Rule, RuleId, Subject};
use fence_compiler::question::{Decision, Destination, Question, Reason, Verdict};
use fence_compiler::reach::ports_of;
use fence_compiler::world::World;

use super::destination::{Host, Target};

/// A policy in its world.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) policy: Policy,
    pub(super) world: World,
}

impl Judge {
    /// Whether something may be connected to, whatever addresses a name has.
    pub(super) fn connect(&self, target: &Target) -> Decision {
        decide(&self.policy, &self.world, &Question::Connect(target.destination()))
    }

    /// Who decides about a target that is refused, once the person has allowed it; `None` where no person may.
    pub(super) fn granting(&self, target: &Target) -> Option<Judge> {
        let policy = connecting(&self.policy, &self.world, &target.destination())?;
        Some(Judge { policy, world: self.world.clone() })
    }

    /// Of the addresses that a name has, those that may be connected to under it; the decision is that about all of
    /// them if there is none.
    pub(super) fn addresses(&self, target: &Target, found: &[IpAddr]) -> Result<Vec<IpAddr>, Decision> {
        let mut refused: Option<Decision> = None;
        let mut allowed = Vec::new();
        for address in found.iter().map(IpAddr::to_canonical) {
            let asked = Destination { address: Some(address), ..target.destination() };
            let decision = decide(&self.policy, &self.world, &Question::Connect(asked));
            match decision.verdict {
                Verdict::Allowed if !allowed.contains(&address) => allowed.push(address),
                Verdict::Allowed => {}
                Verdict::Denied => refused = Some(merged(refused, decision)),
            }
        }
        if allowed.is_empty() { Err(refused.unwrap_or_else(|| self.connect(target))) } else { Ok(allowed) }
    }

    /// Whether a request may be made.
    pub(super) fn request(&self, target: &Target, method: &str, path: &str) -> Decision {
        let destination = target.destination();
        let question = Question::Http { method: method.to_owned(), destination, path: path.to_owned() };
        decide(&self.policy, &self.world, &question)
    }

    /// The rules about requests to this host: where there is one, what cannot be read as requests cannot be allowed.
    pub(super) fn request_rules(&self, target: &Target) -> Vec<RuleId> {
        let asked = target.destination();
        let host = fence_compiler::cover::HostAsked {
            world: &self.world,
            name: asked.name.as_ref(),
            address: asked.address,
            port: asked.port,
        };
        let about = |rule: &Rule| match &rule.subject {
            Subject::Http { items, .. } => items.iter().any(|item| {
                let pattern = ConnectPattern { host: item.pattern.host.clone(), ports: item.pattern.ports };
                host.is_meant(&pattern, fence_compiler::pattern::Polarity::Closing)
            }),
            _ => false,
        };
        self.rules().filter(|(_, rule)| about(rule)).map(|(id, _)| id).collect()
    }

    /// The ports at which a name may be connected to, whatever its addresses.
    pub(super) fn ports(&self, name: &DomainName) -> Vec<PortRange> {
        ports_of(&self.policy, &self.world, name).ranges().to_vec()
    }

    /// The decision about a name at the first of its ports; at all ports, if it has none.
    pub(super) fn name(&self, name: &DomainName) -> Decision {
        let at = |port| self.connect(&Target { host: Host::Name(name.clone()), port });
        if let Some(first) = self.ports(name).first() {
            return at(first.low);
        }
        let refused = self.bounds().into_iter().map(at).fold(None, |all, next| Some(merged(all, next)));
        refused.unwrap_or(Decision {
            verdict: Verdict::Denied,
            reason: Reason::NothingAllows,
            assumptions: Vec::new(),
        })
    }

    /// The ports at which a decision may change, from 1 upwards: between two of them it is the same.
    fn bounds(&self) -> Vec<u16> {
        let mut bounds = vec![1];
        for (_, rule) in self.rules() {
            let Subject::Connect { items, except } = &rule.subject else { continue };
            for ports in items.iter().chain(except).filter_map(|item| item.pattern.ports) {
                bounds.push(ports.low);
                bounds.extend(ports.high.checked_add(1));
            }
        }
        bounds.sort_unstable();
        bounds.dedup();
        bounds
    }

    /// The rules of this platform.
    fn rules(&self) -> impl Iterator<Item = (RuleId, &Rule)> {
        let here = |rule: &Rule| rule.platform.is_none_or(|named| named == self.world.platform);
        (0..).map(RuleId).zip(&self.policy.rules).filter(move |(_, rule)| here(rule))
    }

    /// A refusal by the rules about requests, of what cannot be read.
    pub(super) fn unreadable(&self, rules: Vec<RuleId>) -> Decision {
        let opening = rules
            .iter()
            .all(|id| self.policy.rules.get(id.0 as usize).is_some_and(|rule| rule.effect == Effect::Allow));
        let assumptions = vec![
            if opening {
                "only requests that these rules allow pass, and what cannot be read is none"
            } else {
                "these rules close requests, and what cannot be read could be one"
            }
            .to_owned(),
        ];
        Decision { verdict: Verdict::Denied, reason: Reason::Rules(rules), assumptions }
    }
}

/// Two refusals as one.
fn merged(before: Option<Decision>, next: Decision) -> Decision {
    let Some(mut before) = before else { return next };
    match (&mut before.reason, next.reason) {
        (Reason::Rules(rules), Reason::Rules(more)) => {
            rules.extend(more);
            rules.sort_unstable();
            rules.dedup();
        }
        (Reason::NothingAllows, reason) => before.reason = reason,
        _ => {}
    }
    before
}

#[cfg(test)]
mod tests {
    use super::super::testing::judge;
    use super::*;

    fn target(text: &str) -> Target {
        Target::read(text, None).unwrap()
    }

    #[test]
    fn a_name_has_the_ports_that_its_rules_leave() {
        let judge = judge(
            "allow connect *.a.example:443, x.a.example:20-30, b.example\ndeny connect *:25, b.example:1-100\nallow connect localhost:5432",
        );
        let ports = |name: &str| {
            let name = DomainName::new(name).unwrap();
            judge.ports(&name).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(ports("y.a.example"), ["443"]);
        assert_eq!(ports("x.a.example"), ["20-24", "26-30", "443"]);
        assert_eq!(ports("b.example"), ["101-65535"]);
        assert_eq!(ports("a.example"), Vec::<String>::new());
    }

    #[test]
    fn of_a_names_addresses_only_those_that_are_allowed_are_left() {
        let judge =
            judge("allow connect a.example:443, b.example:443, 10.1.0.0/16\ndeny connect 192.0.2.0/24");
        let addresses = |name: &str, found: &[&str]| {
            let found: Vec<IpAddr> = found.iter().map(|text| text.parse().unwrap()).collect();
            judge.addresses(&target(name), &found).map(|all| all.len()).unwrap_or(0)
        };
        assert_eq!(addresses("a.example:443", &["203.0.113.1", "127.0.0.1", "::1", "169.254.169.254"]), 1);
        assert_eq!(addresses("a.example:443", &["192.0.2.1", "::ffff:192.0.2.1", "64:ff9b::192.0.2.1"]), 0);
        assert_eq!(addresses("a.example:443", &["10.1.2.3", "10.2.2.3"]), 1);
        assert_eq!(
            addresses("a.example:443", &["::ffff:10.2.2.3", "64:ff9b::a02:203", "2002:a02:203::1"]),
            0
        );
        assert_eq!(addresses("c.example:443", &["203.0.113.1"]), 0);
        assert_eq!(addresses("a.example:80", &["203.0.113.1"]), 0);
    }
}
