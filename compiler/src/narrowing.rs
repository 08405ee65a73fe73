//! Whether a policy allows nothing that another does not, told from their rules alone, whatever the world.
//!
//! The answer is on the safe side: what cannot be told to be no wider counts as wider. Patterns are compared by what they
//! are, and by what they mean only where opening and closing read them alike.

use crate::pattern::{
    CommandPattern, ConnectPattern, HostPattern, HttpPattern, NamePattern, PathPattern, PortRange, SshPattern,
};
use crate::policy::{
    Acceptance, Effect, Item, Limit, LimitKind, NameAction, PathAction, Policy, Rule, RuleId, Subject, Tls,
};
use crate::question::Platform;

/// What makes a policy wider than the one in force.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wider {
    /// This rule of the next policy opens what no rule in force does by itself.
    Opens(RuleId),
    /// This rule in force closes or bounds what no rule of the next policy does by itself.
    Lifts(RuleId),
    /// The limit in force (its index) has none in the next policy that is as small.
    Limit(usize),
    /// Something that is no rule differs; in a few words.
    Other(&'static str),
}

/// What makes `next` wider than `now`, or may do so; empty: it surely allows nothing that `now` does not.
#[must_use]
pub fn wider(now: &Policy, next: &Policy, platform: Platform) -> Vec<Wider> {
    let texts = if same_texts(now, next) { Texts::Same } else { Texts::Others };
    let (held, said) = (Parts::of(now, platform), Parts::of(next, platform));
    // Where an `allow http` is about a host, it bounds what may be asked there: the first of them narrows, another may
    // open, and one fewer may open everything.
    let unbounded = !held.opening.iter().any(Part::bounds_requests);
    let opens = said
        .opening
        .iter()
        .filter(|part| !(unbounded && part.bounds_requests()))
        .filter(|part| !held.opening.iter().any(|other| part.opens_within(other, texts)))
        .map(|part| Wider::Opens(part.rule));
    let lifts = held
        .closing
        .iter()
        .filter(|part| !said.closing.iter().any(|other| part.closes_within(other, texts)))
        .map(|part| Wider::Lifts(part.rule));
    let bounds = held
        .opening
        .iter()
        .filter(|part| part.bounds_requests())
        .filter(|part| !said.opening.iter().any(|other| other.item == part.item))
        .map(|part| Wider::Lifts(part.rule));
    let mut wider: Vec<Wider> = opens.chain(lifts).chain(bounds).collect();
    wider.extend(limits(now, next, platform));
    wider.extend(others(now, next));
    wider.sort();
    wider.dedup();
    wider
}

/// Whether both policies are made of the same texts, in one order: then `$policy_dir` is the same in both.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Texts {
    Same,
    Others,
}

fn same_texts(now: &Policy, next: &Policy) -> bool {
    now.sources.iter().map(|source| &source.origin).eq(next.sources.iter().map(|source| &source.origin))
}

/// A rule with one of its actions and items: a rule covers what any of its items does, so each can be looked at by itself.
struct Part<'p> {
    rule: RuleId,
    item: What<'p>,
    except: Vec<What<'p>>,
    acceptance: Acceptance,
}

/// An item, with the action that it is about.
#[derive(Clone, Copy, Debug, PartialEq)]
enum What<'p> {
    Path(PathAction, &'p PathPattern),
    Run(&'p CommandPattern),
    Connect(&'p ConnectPattern),
    Http(&'p HttpPattern),
    Listen(&'p PortRange),
    Name(NameAction, &'p NamePattern),
    Ssh(&'p SshPattern),
    Tty,
}

struct Parts<'p> {
    opening: Vec<Part<'p>>,
    closing: Vec<Part<'p>>,
}

impl<'p> Parts<'p> {
    fn of(policy: &'p Policy, platform: Platform) -> Parts<'p> {
        let mut parts = Parts { opening: Vec::new(), closing: Vec::new() };
        let here = |rule: &&Rule| rule.platform.is_none_or(|named| named == platform);
        for (id, rule) in (0..).map(RuleId).zip(&policy.rules).filter(|(_, rule)| here(rule)) {
            let side = if rule.effect == Effect::Allow { &mut parts.opening } else { &mut parts.closing };
            side.extend(whats(&rule.subject).into_iter().map(|(item, except)| Part {
                rule: id,
                item,
                except,
                acceptance: rule.acceptance,
            }));
        }
        parts
    }
}

/// The items of a rule, once for each of its actions, each with what the rule leaves out.
fn whats(subject: &Subject) -> Vec<(What<'_>, Vec<What<'_>>)> {
    match subject {
        Subject::Path { actions, items, except } => actions
            .iter()
            .flat_map(|action| each(items, except, |pattern| What::Path(*action, pattern)))
            .collect(),
        Subject::Run { items, except } => each(items, except, What::Run),
        Subject::Connect { items, except } => each(items, except, What::Connect),
        Subject::Http { items, except } => each(items, except, What::Http),
        Subject::Listen { items, except } => each(items, except, What::Listen),
        Subject::Name { action, items, except } => {
            each(items, except, |pattern| What::Name(*action, pattern))
        }
        Subject::Ssh { items, except } => each(items, except, What::Ssh),
        Subject::Tty => vec![(What::Tty, Vec::new())],
    }
}

fn each<'p, P>(
    items: &'p [Item<P>],
    except: &'p [Item<P>],
    what: impl Fn(&'p P) -> What<'p>,
) -> Vec<(What<'p>, Vec<What<'p>>)> {
    let except: Vec<What<'p>> = except.iter().map(|item| what(&item.pattern)).collect();
    items.iter().map(|item| (what(&item.pattern), except.clone())).collect()
}

impl Part<'_> {
    fn bounds_requests(&self) -> bool {
        matches!(self.item, What::Http(_))
    }

    /// Whether this part, read as one that opens, opens only what the other does.
    fn opens_within(&self, other: &Part<'_>, texts: Texts) -> bool {
        self.item.is_within(&other.item, texts)
            && other.except.iter().all(|out| self.except.iter().any(|own| out.is_within(own, texts)))
    }

    /// Whether the other part, as one that closes, closes all that this one does, and is held as strictly.
    fn closes_within(&self, other: &Part<'_>, texts: Texts) -> bool {
        let as_strictly = other.acceptance == self.acceptance || other.acceptance == Acceptance::Exact;
        as_strictly && self.opens_within(other, texts)
    }
}

impl What<'_> {
    /// Whether everything that this item covers is covered by the other, in whichever way both are read.
    fn is_within(&self, outer: &What<'_>, texts: Texts) -> bool {
        if texts == Texts::Others && self.is_of_a_text() {
            return false;
        }
        self == outer
            || match (self, outer) {
                (What::Connect(inner), What::Connect(outer)) => {
                    host_within(&inner.host, &outer.host) && ports_within(inner.ports, outer.ports)
                }
                (What::Listen(inner), What::Listen(outer)) => ports_within(Some(**inner), Some(**outer)),
                (What::Name(inner_action, inner), What::Name(outer_action, outer)) => {
                    inner_action == outer_action
                        && inner.0.as_literal().is_some_and(|name| outer.0.matches(name.as_bytes()))
                }
                _ => false,
            }
    }

    /// Whether its meaning hangs on where the text lies that it is written in.
    fn is_of_a_text(&self) -> bool {
        format!("{self:?}").contains("PolicyDir")
    }
}

fn host_within(inner: &HostPattern, outer: &HostPattern) -> bool {
    match (inner, outer) {
        // `*` opens every name; an address behind it that is internal needs its own rule in either case.
        (HostPattern::Name(_) | HostPattern::Below(_), HostPattern::Any) => true,
        (HostPattern::Name(name) | HostPattern::Below(name), HostPattern::Below(above)) => {
            inner == outer || name.is_below(above)
        }
        _ => inner == outer,
    }
}

fn ports_within(inner: Option<PortRange>, outer: Option<PortRange>) -> bool {
    match (inner, outer) {
        (_, None) => true,
        (None, Some(outer)) => outer == PortRange::ALL,
        (Some(inner), Some(outer)) => outer.low <= inner.low && inner.high <= outer.high,
    }
}

fn limits(now: &Policy, next: &Policy, platform: Platform) -> Vec<Wider> {
    let here = |limit: &&Limit| limit.platform.is_none_or(|named| named == platform);
    let smallest = |policy: &Policy, kind: LimitKind| {
        policy.limits.iter().filter(here).filter(|limit| limit.kind == kind).map(|limit| limit.amount).min()
    };
    now.limits
        .iter()
        .enumerate()
        .filter(|(_, limit)| here(limit))
        .filter(|(_, limit)| {
            let held = smallest(now, limit.kind);
            held == Some(limit.amount) && smallest(next, limit.kind).is_none_or(|amount| Some(amount) > held)
        })
        .map(|(index, _)| Wider::Limit(index))
        .collect()
}

fn others(now: &Policy, next: &Policy) -> Vec<Wider> {
    let mut others = Vec::new();
    let sets =
        next.set.iter().all(|(name, set)| now.set.get(name).is_some_and(|held| held.value == set.value));
    if !sets {
        others.push(Wider::Other("a `set env` that is not in force, or another value for one"));
    }
    let secrets = |policy: &Policy| -> Vec<String> {
        let to = |secret: &crate::policy::Secret| {
            let hosts: Vec<_> = secret.to.iter().map(|item| &item.pattern).collect();
            format!("{:?} {hosts:?}", secret.holder)
        };
        let mut secrets: Vec<String> = policy.secrets.iter().map(to).collect();
        secrets.sort();
        secrets
    };
    if secrets(now) != secrets(next) {
        others.push(Wider::Other("other secrets"));
    }
    let tls = |policy: &Policy| policy.tls.unwrap_or(Tls::Strict);
    if tls(next) == Tls::Relaxed && tls(now) == Tls::Strict {
        others.push(Wider::Other("`tls relaxed`"));
    }
    let upstreams = |policy: &Policy| -> Vec<String> {
        let hosts = |upstream: &crate::policy::Upstream| {
            let hosts: Vec<_> = upstream.hosts.iter().map(|item| &item.pattern).collect();
            format!("{} {} {} {hosts:?}", upstream.scheme, upstream.host, upstream.port)
        };
        policy.upstreams.iter().map(hosts).collect()
    };
    if upstreams(now) != upstreams(next) {
        others.push(Wider::Other("other upstream proxies"));
    }
    others
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Severity;
    use crate::resolve::{Request, resolve};
    use crate::source::{LoadError, Loader, Origin, Reference, Source};

    struct Nothing;

    impl Loader for Nothing {
        fn load(&self, _: Reference<'_>, _: &Origin) -> Result<Source, LoadError> {
            Err(LoadError::NoDirectory)
        }
    }

    fn policy(rules: &str) -> Policy {
        let main = Source {
            origin: Origin::Given("test".to_owned()),
            name: "test".to_owned(),
            text: format!("fence 1\npolicy testing \"A test\"\n{rules}\n"),
        };
        let resolved = resolve(&Request { mains: vec![main], ..Request::default() }, &Nothing);
        let errors: Vec<_> =
            resolved.diagnostics.iter().filter(|found| found.severity == Severity::Error).collect();
        assert!(errors.is_empty(), "{errors:?}");
        resolved.policy
    }

    const NOW: &str = "allow run *\ndeny run \"git push\" best-effort\nallow connect *.a.example:1-100, b.example\nallow connect * except c.example\ndeny connect d.example:25\nallow env A_*\nlimit files 100\nset env X = \"1\"";

    #[test]
    fn fewer_rules_that_open_and_more_that_close_are_no_wider() {
        let now = policy(NOW);
        for (from, to) in [
            ("", ""),
            ("allow run *\n", ""),
            ("allow run *", "allow run * except \"npm publish\""),
            ("\"git push\" best-effort", "\"git push\", \"npm publish\" best-effort"),
            ("*.a.example:1-100, b.example", "x.a.example:5-6"),
            ("* except c.example", "* except c.example, e.example"),
            ("* except c.example", "e.example except *.c.example, c.example"),
            ("d.example:25", "d.example"),
            ("A_*", "A_B"),
            ("files 100", "files 50"),
            ("set env X = \"1\"", "limit time 5s\ndeny write /x"),
        ] {
            let next = policy(&NOW.replacen(from, to, 1));
            assert_eq!(wider(&now, &next, Platform::Linux), [], "{from} → {to}");
        }
    }

    #[test]
    fn what_may_be_wider_is_told_with_its_rule() {
        let now = policy(NOW);
        let opens = |id| vec![Wider::Opens(RuleId(id))];
        let lifts = |id| vec![Wider::Lifts(RuleId(id))];
        for (from, to, expected) in [
            ("b.example", "b.example, localhost", opens(2)),
            ("*.a.example:1-100, b.example", "10.0.0.0/8", opens(2)),
            ("* except c.example", "*", opens(3)),
            ("\"git push\"", "\"git push origin\"", lifts(1)),
            ("\"git push\" best-effort\n", "\"git push\" best-effort except \"git push x\"\n", lifts(1)),
            ("d.example:25", "d.example:24", lifts(4)),
            ("allow env A_*", "allow env *", opens(5)),
            ("allow env A_*", "allow env A_*\nallow tty", opens(6)),
            ("files 100", "files 101", vec![Wider::Limit(0)]),
            (
                "\"1\"",
                "\"2\"",
                vec![Wider::Other("a `set env` that is not in force, or another value for one")],
            ),
        ] {
            let next = policy(&NOW.replacen(from, to, 1));
            assert_eq!(wider(&now, &next, Platform::Linux), expected, "{from} → {to}");
        }
    }

    #[test]
    fn requests_are_bounded_only_once() {
        let open = policy("allow connect a.example");
        let one = policy("allow connect a.example\nallow http \"GET a.example/x\"");
        let two = policy("allow connect a.example\nallow http \"GET a.example/x\", \"GET a.example/y\"");
        assert_eq!(wider(&open, &one, Platform::Linux), []);
        assert_eq!(wider(&one, &one, Platform::Linux), []);
        assert_eq!(wider(&one, &two, Platform::Linux), [Wider::Opens(RuleId(1))]);
        assert_eq!(wider(&two, &one, Platform::Linux), [Wider::Lifts(RuleId(1))]);
        assert_eq!(wider(&one, &open, Platform::Linux), [Wider::Lifts(RuleId(1))]);
    }
}
