//! What a person allows while a command runs, beyond its policy.

use crate::pattern::{CommandPattern, ConnectPattern, HostPattern, ProgramPattern, SshPattern};
use crate::policy::{Acceptance, Effect, Item, Policy, Rule, RuleId, Subject, Written};
use crate::question::Reason;
use crate::source::SourceId;

/// The policy by which something that was refused is judged once a person has allowed it: the `deny` rules that refused
/// it are set aside, and `asked` is allowed. Everything else is refused as before, and the numbers of the rules stay.
///
/// `None` where no person can allow it: a `never` refuses it, or the language itself.
#[must_use]
pub fn granted(policy: &Policy, refused: &Reason, asked: Subject) -> Option<Policy> {
    let aside: &[RuleId] = match refused {
        Reason::Rules(rules) => rules,
        Reason::NothingAllows => &[],
        Reason::AlwaysClosed(_) | Reason::AlwaysOpen(_) => return None,
    };
    let mut policy = policy.clone();
    for id in aside {
        let rule = policy.rules.get_mut(id.0 as usize)?;
        if rule.effect != Effect::Deny {
            return None;
        }
        empty(&mut rule.subject);
    }
    policy.rules.push(allowing(asked));
    Some(policy)
}

/// The policy that bounds what may be connected to while a person is asked: whatever no `never` closes.
#[must_use]
pub fn bounding(policy: &Policy) -> Policy {
    let mut policy = policy.clone();
    for rule in policy.rules.iter_mut().filter(|rule| rule.effect == Effect::Deny) {
        if let Subject::Connect { .. } = rule.subject {
            empty(&mut rule.subject);
        }
    }
    policy.rules.push(allowing(connecting(HostPattern::Any, None)));
    policy
}

/// Connecting to a host, at one port or at each.
#[must_use]
pub fn connecting(host: HostPattern, port: Option<u16>) -> Subject {
    use crate::pattern::PortRange;
    let ports = port.map(|port| PortRange { low: port, high: port });
    Subject::Connect { items: vec![item(ConnectPattern { host, ports })], except: Vec::new() }
}

/// Running any command.
#[must_use]
pub fn running() -> Subject {
    let any = CommandPattern { program: ProgramPattern::AnyCommand, words: Vec::new(), open_ended: true };
    Subject::Run { items: vec![item(any)], except: Vec::new() }
}

/// Asking any machine for anything by `ssh`.
#[must_use]
pub fn reaching() -> Subject {
    let any = SshPattern { host: HostPattern::Any, command: None };
    Subject::Ssh { items: vec![item(any)], except: Vec::new() }
}

/// A place that no text has.
const NOWHERE: Written = Written { source: SourceId(0), start: 0, end: 0, line: 0 };

fn item<P>(pattern: P) -> Item<P> {
    Item { text: String::new(), written: NOWHERE, pattern }
}

fn allowing(subject: Subject) -> Rule {
    Rule {
        effect: Effect::Allow,
        subject,
        acceptance: Acceptance::Exact,
        label: None,
        because: None,
        platform: None,
        written: NOWHERE,
    }
}

/// Leaves a rule in its place, about nothing.
fn empty(subject: &mut Subject) {
    match subject {
        Subject::Path { items, .. } => items.clear(),
        Subject::Run { items, .. } => items.clear(),
        Subject::Connect { items, .. } => items.clear(),
        Subject::Http { items, .. } => items.clear(),
        Subject::Listen { items, .. } => items.clear(),
        Subject::Name { items, .. } => items.clear(),
        Subject::Ssh { items, .. } => items.clear(),
        Subject::Tty => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::decide;
    use crate::pattern::DomainName;
    use crate::question::{Decision, Destination, Platform, Question, Start, Verdict};
    use crate::resolve::{Request, resolve};
    use crate::source::{LoadError, Loader, Origin, Reference, Source};
    use crate::world::World;

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

    fn name(name: &str) -> DomainName {
        DomainName::new(name).unwrap()
    }

    fn connect(policy: &Policy, host: &str, port: u16, address: Option<&str>) -> Decision {
        let address = address.map(|address| address.parse().unwrap());
        decide(policy, &world(), &Question::Connect(Destination { name: Some(name(host)), address, port }))
    }

    fn by_person(policy: &Policy, host: &str, port: u16) -> Option<Policy> {
        let refused = connect(policy, host, port, None);
        assert_eq!(refused.verdict, Verdict::Denied);
        granted(policy, &refused.reason, connecting(HostPattern::Name(name(host)), Some(port)))
    }

    #[test]
    fn what_is_allowed_is_this_and_nothing_else() {
        let policy = policy(
            "allow connect a.example:443\ndeny connect *.b.example as b\ndeny connect 192.0.2.0/24\nallow run true\nallow read write /srv",
        );
        for (host, port) in [("a.example", 80), ("x.b.example", 443), ("c.example", 22)] {
            let granted = by_person(&policy, host, port).unwrap();
            assert_eq!(connect(&granted, host, port, None).verdict, Verdict::Allowed);
            for (other, at) in
                [("a.example", 81), ("y.b.example", 443), ("c.example", 443), ("d.example", 22)]
            {
                assert_eq!(
                    connect(&granted, other, at, None).verdict,
                    Verdict::Denied,
                    "{host}: {other}:{at}"
                );
            }
            // A name may lead anywhere: what lies inside, and what another rule closes, stays closed.
            for address in ["127.0.0.1", "169.254.169.254", "10.0.0.1", "192.0.2.1", "64:ff9b::c000:201"] {
                assert_eq!(
                    connect(&granted, host, port, Some(address)).verdict,
                    Verdict::Denied,
                    "{address}"
                );
            }
            assert_eq!(granted.rules.get(..policy.rules.len()).map(<[_]>::len), Some(policy.rules.len()));
        }
    }

    #[test]
    fn no_person_allows_what_a_never_refuses() {
        let policy = policy("allow connect *\nnever connect a.example\ndeny connect *.example:443");
        assert_eq!(by_person(&policy, "a.example", 443), None);
        assert_eq!(by_person(&policy, "a.example", 80), None);
        assert!(by_person(&policy, "b.example", 443).is_some());
        let closed = Reason::AlwaysClosed("by the language".to_owned());
        assert_eq!(granted(&policy, &closed, running()), None);
    }

    #[test]
    fn a_command_is_asked_about_until_nothing_refuses_it() {
        let policy = policy("allow run *\ndeny run \"git push ...\" as push\nnever run \"git push --force\"");
        let run = |policy: &Policy, words: &[&str]| {
            let argv: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let start = Start { asked: words.first().copied().unwrap().to_owned(), resolved: None, argv };
            decide(policy, &world(), &Question::Run(start))
        };
        let refused = run(&policy, &["git", "push"]);
        let granted_one = granted(&policy, &refused.reason, running()).unwrap();
        assert_eq!(run(&granted_one, &["git", "push"]).verdict, Verdict::Allowed);
        let forced = run(&policy, &["git", "push", "--force"]);
        assert_eq!(granted(&policy, &forced.reason, running()), None);
        assert_eq!(run(&granted_one, &["git", "push", "--force"]).verdict, Verdict::Denied);
    }

    #[test]
    fn what_bounds_the_network_leaves_out_what_a_never_closes() {
        let bounds = bounding(&policy("deny connect *:25\nnever connect a.example"));
        assert_eq!(connect(&bounds, "b.example", 25, None).verdict, Verdict::Allowed);
        assert_eq!(connect(&bounds, "a.example", 443, None).verdict, Verdict::Denied);
    }
}
