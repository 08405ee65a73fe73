//! Statements in force that contradict one another, or that a reader would take for something else.

use std::collections::BTreeMap;

use super::effect::InForce;
use super::findings::Findings;
use super::graph::Graph;
use super::rule::{Draft, Reading, State};
use crate::diagnostic::{Code, Diagnostic};
use crate::inclusion::Inclusion;
use crate::pattern::{
    CommandPattern, Component, ConnectPattern, HostPattern, HttpPattern, NamePattern, PathPattern, PortRange,
    ProgramPattern, Root, SshPattern,
};
use crate::policy::{Effect, Item, NameAction, PathAction, Rule, SecretHolder, Subject, Written};
use crate::question::Platform;
use crate::source::{Origin, SourceId};

/// The most pairs of items that are compared for a warning: in a policy of tens of thousands of rules the last
/// ones are not looked at. Errors are looked for everywhere.
const MOST_COMPARED: usize = 4_000_000;

/// Tells all of them.
pub(super) fn report(in_force: &InForce, graph: &Graph, findings: &mut Findings) {
    let rules: Vec<&Draft> = in_force.rules.iter().filter(|draft| draft.state == State::Complete).collect();
    let by_kind = ByKind::of(&rules);
    let view = View { graph };
    by_kind.paths.report(&view, findings);
    by_kind.runs.report(&view, findings);
    by_kind.connects.report(&view, findings);
    by_kind.https.report(&view, findings);
    by_kind.listens.report(&view, findings);
    by_kind.names.report(&view, findings);
    by_kind.sshs.report(&view, findings);
    loopback(&by_kind, findings);
    variables(in_force, &by_kind, findings);
}

/// What can be asked about a text.
struct View<'a> {
    graph: &'a Graph,
}

impl View<'_> {
    fn is_built_in(&self, source: SourceId) -> bool {
        let origin = self.graph.units.get(source.0 as usize).map(|unit| &unit.origin);
        matches!(origin, Some(Origin::BuiltIn(_)))
    }
}

/// One rule's items of one kind.
struct Part<'a, A, P> {
    rule: &'a Rule,
    reading: Reading,
    actions: &'a [A],
    items: &'a [Item<P>],
    except: &'a [Item<P>],
}

/// The rules of one kind of items.
struct Parts<'a, A, P>(Vec<Part<'a, A, P>>);

/// An item of a `never`, with its rule.
type Candidate<'p, 'a, A, P> = (&'p Part<'a, A, P>, &'a Item<P>);

/// All rules by the kind of their items.
struct ByKind<'a> {
    paths: Parts<'a, PathAction, PathPattern>,
    runs: Parts<'a, &'static str, CommandPattern>,
    connects: Parts<'a, &'static str, ConnectPattern>,
    https: Parts<'a, &'static str, HttpPattern>,
    listens: Parts<'a, &'static str, PortRange>,
    names: Parts<'a, NameAction, NamePattern>,
    sshs: Parts<'a, &'static str, SshPattern>,
}

impl<'a> ByKind<'a> {
    fn of(rules: &[&'a Draft]) -> ByKind<'a> {
        let mut by_kind = ByKind {
            paths: Parts(Vec::new()),
            runs: Parts(Vec::new()),
            connects: Parts(Vec::new()),
            https: Parts(Vec::new()),
            listens: Parts(Vec::new()),
            names: Parts(Vec::new()),
            sshs: Parts(Vec::new()),
        };
        for draft in rules {
            match &draft.rule.subject {
                Subject::Path { actions, items, except } => by_kind.paths.add(actions, draft, items, except),
                Subject::Run { items, except } => by_kind.runs.add(&["run"], draft, items, except),
                Subject::Connect { items, except } => {
                    by_kind.connects.add(&["connect"], draft, items, except);
                }
                Subject::Http { items, except } => by_kind.https.add(&["http"], draft, items, except),
                Subject::Listen { items, except } => by_kind.listens.add(&["listen"], draft, items, except),
                Subject::Name { action, items, except } => {
                    by_kind.names.add(std::slice::from_ref(action), draft, items, except);
                }
                Subject::Ssh { items, except } => by_kind.sshs.add(&["ssh"], draft, items, except),
                Subject::Tty => {}
            }
        }
        by_kind
    }
}

/// Something by which only a few of many patterns need to be compared.
trait Indexed {
    /// Keys of which an inner pattern has at least one whenever it lies inside an outer pattern with it;
    /// `None`: this one must be compared with every other.
    fn outer_key(&self) -> Option<String>;
    /// The keys of all outer patterns that this one may lie inside of.
    fn inner_keys(&self) -> Vec<String>;
}

impl<'a, A: Copy + PartialEq + ActionName, P: Inclusion + Indexed> Parts<'a, A, P> {
    fn add(&mut self, actions: &'a [A], draft: &'a Draft, items: &'a [Item<P>], except: &'a [Item<P>]) {
        self.0.push(Part { rule: &draft.rule, reading: draft.reading, actions, items, except });
    }

    fn report(&self, view: &View<'_>, findings: &mut Findings) {
        self.inside_never(view, findings);
        self.excepts(view, findings);
    }

    /// Tells each `allow` item that lies wholly inside a `never` item.
    fn inside_never(&self, view: &View<'_>, findings: &mut Findings) {
        let mut keyed: BTreeMap<String, Vec<Candidate<'_, 'a, A, P>>> = BTreeMap::new();
        let mut others: Vec<Candidate<'_, 'a, A, P>> = Vec::new();
        let is_new = |part: &Part<'a, A, P>| part.reading == Reading::Now;
        let allows = || self.0.iter().filter(|part| part.rule.effect == Effect::Allow);
        let nevers = || self.0.iter().filter(|part| part.rule.effect == Effect::Never);
        let (new_allow, new_never) = (allows().any(is_new), nevers().any(is_new));
        for part in nevers().filter(|part| new_allow || is_new(part)) {
            for item in part.items {
                match item.pattern.outer_key() {
                    Some(key) => keyed.entry(key).or_default().push((part, item)),
                    None => others.push((part, item)),
                }
            }
        }
        if keyed.is_empty() && others.is_empty() {
            return;
        }
        for allow in allows().filter(|allow| new_never || is_new(allow)) {
            for item in allow.items {
                let keys = item.pattern.inner_keys();
                let near = keys.iter().filter_map(|key| keyed.get(key)).flatten().chain(&others);
                let mut inside: Vec<_> = near
                    .filter(|(never, _)| is_new(allow) || is_new(never))
                    .filter(|(never, outer)| lies_inside(allow, item, never, outer))
                    .collect();
                inside.sort_by_key(|(_, outer)| order(outer.written));
                if let Some((never, outer)) = inside.first() {
                    let action = allow.actions.iter().find(|action| never.actions.contains(action));
                    let action = action.map_or("", |action| action.name());
                    findings.push(inside_never(view, item.into(), (*outer).into(), action));
                }
            }
        }
    }

    /// Warns of an `except` that does not do what a reader may think, once for each rule.
    fn excepts(&self, view: &View<'_>, findings: &mut Findings) {
        let items: usize = self.0.iter().map(|part| part.items.len()).sum();
        let own =
            |part: &&Part<'a, A, P>| !part.except.is_empty() && !view.is_built_in(part.rule.written.source);
        for part in self.0.iter().filter(own).take(MOST_COMPARED / items.max(1)) {
            let found = part.except.iter().find_map(|except| match part.rule.effect {
                Effect::Allow => self.on_allow(part, except),
                Effect::Deny | Effect::Never => self.on_deny(part, except),
            });
            if let Some(found) = found {
                findings.push(found);
            }
        }
    }

    /// An `except` of an `allow` that another `allow` opens all the same.
    fn on_allow(&self, part: &Part<'a, A, P>, except: &Item<P>) -> Option<Diagnostic> {
        let opens = |other: &&Part<'a, A, P>| {
            other.rule.effect == Effect::Allow
                && !std::ptr::eq(other.rule, part.rule)
                && part.actions.iter().any(|action| other.actions.contains(action))
                && other.except.iter().all(|one| except.pattern.is_apart_from(&one.pattern))
        };
        let (other, item) = self.0.iter().filter(opens).find_map(|other| {
            let item = other.items.iter().find(|item| except.pattern.is_within(&item.pattern))?;
            Some((other, item))
        })?;
        let closed = |closing: &&Part<'a, A, P>| {
            closing.rule.effect != Effect::Allow
                && part.actions.iter().all(|action| closing.actions.contains(action))
                && closing.items.iter().any(|item| except.pattern.is_within(&item.pattern))
        };
        if self.0.iter().any(|one| closed(&one)) {
            return None;
        }
        let action = part.actions.iter().find(|action| other.actions.contains(action))?;
        Some(
            Diagnostic::new(
                Code::ExceptForbidsNothing,
                format!("`{}` is left out of this rule and allowed by another", except.text),
            )
            .at(except.written.place())
            .related(item.written.place(), "this rule allows it")
            .help(format!(
                "an `except` forbids nothing; to forbid it write `deny {} {}`",
                action.name(),
                except.text
            )),
        )
    }

    /// An `except` of a `deny` or `never` that nothing allows, in a text that allows other things. Where another
    /// rule closes it by itself, a reader sees that.
    fn on_deny(&self, part: &Part<'a, A, P>, except: &Item<P>) -> Option<Diagnostic> {
        let allows: Vec<&Part<'a, A, P>> = self
            .0
            .iter()
            .filter(|other| {
                other.rule.effect == Effect::Allow
                    && part.actions.iter().any(|action| other.actions.contains(action))
            })
            .collect();
        let apart = allows
            .iter()
            .flat_map(|allow| allow.items)
            .all(|item| except.pattern.is_apart_from(&item.pattern));
        let here = part.rule.written.source;
        let closed = self.0.iter().any(|other| {
            other.rule.effect != Effect::Allow
                && !std::ptr::eq(other.rule, part.rule)
                && part.actions.iter().any(|action| other.actions.contains(action))
                && other.items.iter().any(|item| except.pattern.is_within(&item.pattern))
        });
        if !apart || closed || !allows.iter().any(|allow| allow.rule.written.source == here) {
            return None;
        }
        let action = part.actions.first()?;
        Some(
            Diagnostic::new(
                Code::ExceptAllowsNothing,
                format!("`{}` is left out of this rule, and nothing allows it", except.text),
            )
            .at(except.written.place())
            .help(format!(
                "an `except` allows nothing; to allow it write `allow {} {}`",
                action.name(),
                except.text
            )),
        )
    }
}

fn lies_inside<A: PartialEq, P: Inclusion>(
    allow: &Part<'_, A, P>,
    item: &Item<P>,
    never: &Part<'_, A, P>,
    outer: &Item<P>,
) -> bool {
    allow.actions.iter().any(|action| never.actions.contains(action))
        && meet(allow.rule.platform, never.rule.platform)
        && item.pattern.is_within(&outer.pattern)
        && never.except.iter().all(|except| item.pattern.is_apart_from(&except.pattern))
}

/// Whether two rules can hold on one platform.
fn meet(one: Option<Platform>, other: Option<Platform>) -> bool {
    one.is_none() || other.is_none() || one == other
}

/// An item without its pattern.
struct Shown<'a> {
    text: &'a str,
    written: Written,
}

impl<'a, P> From<&'a Item<P>> for Shown<'a> {
    fn from(item: &'a Item<P>) -> Shown<'a> {
        Shown { text: &item.text, written: item.written }
    }
}

/// The finding stands where its author can change it: at the `never` where the `allow` comes with fence.
fn inside_never(view: &View<'_>, allow: Shown<'_>, never: Shown<'_>, action: &str) -> Diagnostic {
    let (allow_built_in, never_built_in) =
        (view.is_built_in(allow.written.source), view.is_built_in(never.written.source));
    if allow_built_in && !never_built_in {
        return Diagnostic::new(
            Code::AllowInsideNever,
            format!(
                "`never {action} {}` closes the whole of `{}`, which an included rule allows",
                never.text, allow.text
            ),
        )
        .at(never.written.place())
        .related(allow.written.place(), "the `allow` is here")
        .help(
            "write less into the `never`, leave the included rule out by its label, or write `deny` instead",
        );
    }
    Diagnostic::new(
        Code::AllowInsideNever,
        format!(
            "`{}` lies wholly inside `never {action} {}`, so this `allow` can never hold",
            allow.text, never.text
        ),
    )
    .at(allow.written.place())
    .related(never.written.place(), "the `never` is here")
    .help("leave the item out: no rule opens what a `never` closes")
}

/// Tells ports of loopback that lead to the host and are the sandbox's own at once.
fn loopback(by_kind: &ByKind<'_>, findings: &mut Findings) {
    let listens: Vec<(&Rule, &Item<PortRange>)> = by_kind
        .listens
        .0
        .iter()
        .filter(|part| part.rule.effect == Effect::Allow)
        .flat_map(|part| part.items.iter().map(|item| (part.rule, item)))
        .collect();
    for part in by_kind.connects.0.iter().filter(|part| part.rule.effect == Effect::Allow) {
        for item in part.items.iter().filter(|item| is_loopback(&item.pattern.host)) {
            let ports = item.pattern.ports.unwrap_or(PortRange::ALL);
            let other = listens.iter().find(|(rule, listen)| {
                meet(rule.platform, part.rule.platform) && !ports.is_apart_from(&listen.pattern)
            });
            let Some((_, listen)) = other else { continue };
            let found = match item.pattern.ports {
                None => Diagnostic::new(
                    Code::LoopbackConflict,
                    format!(
                        "`{}` without a port takes every port of loopback, beside `listen {}`",
                        item.text, listen.text
                    ),
                )
                .help(format!("name the host's ports: `{}:5432`", item.text)),
                Some(_) => Diagnostic::new(
                    Code::LoopbackConflict,
                    format!(
                        "`{}` leads to the host, and `listen {}` is the sandbox's own",
                        item.text, listen.text
                    ),
                )
                .help("a port of loopback belongs to one side: take it out of one of the two rules"),
            };
            findings
                .push(found.at(item.written.place()).related(listen.written.place(), "the `listen` is here"));
        }
    }
}

fn is_loopback(host: &HostPattern) -> bool {
    match host {
        HostPattern::Localhost => true,
        HostPattern::Block(block) => block.addr().is_loopback(),
        _ => false,
    }
}

/// Tells variables of the command that are set to two values, set and denied, or secret and something else.
fn variables(in_force: &InForce, by_kind: &ByKind<'_>, findings: &mut Findings) {
    for (name, set) in &in_force.sets {
        let Some(first) = in_force.set.get(name) else { continue };
        if first.value != set.value {
            findings.push(
                Diagnostic::new(Code::SetTwice, format!("`{name}` is set to two different values"))
                    .at(set.written.place())
                    .related(first.written.place(), "the other one is here")
                    .help("leave one of them out, in an included policy by its label"),
            );
        }
    }
    for (name, set) in &in_force.sets {
        let denied = by_kind.names.0.iter().find_map(|part| {
            let env = part.actions.contains(&NameAction::Env) && part.rule.effect != Effect::Allow;
            let excepted = part.except.iter().any(|item| item.pattern.matches(name));
            let item = part.items.iter().find(|item| item.pattern.matches(name))?;
            (env && !excepted).then_some((part.rule, item))
        });
        if let Some((rule, item)) = denied {
            let word = if rule.effect == Effect::Never { "never" } else { "deny" };
            findings.push(
                Diagnostic::new(
                    Code::SetDenied,
                    format!("`{name}` is set here and closed by `{word} env {}`", item.text),
                )
                .at(set.written.place())
                .related(item.written.place(), format!("the `{word}` is here"))
                .help("leave one of the two out, or except the name from the other rule"),
            );
        }
    }
    for secret in &in_force.secrets {
        let SecretHolder::Env(name) = &secret.holder else { continue };
        if let Some((_, set)) = in_force.sets.iter().find(|(set, _)| set == name) {
            findings.push(
                Diagnostic::new(
                    Code::SecretConflict,
                    format!("`{name}` is a secret, and its value is set elsewhere"),
                )
                .at(secret.written.place())
                .related(set.written.place(), "it is set here")
                .help("leave the `set` out: the command sees a placeholder in a secret"),
            );
        }
    }
}

fn order(written: Written) -> (SourceId, u32, u32) {
    (written.source, written.start, written.end)
}

/// The word of an action.
trait ActionName {
    fn name(&self) -> &'static str;
}

impl ActionName for &'static str {
    fn name(&self) -> &'static str {
        self
    }
}

impl ActionName for PathAction {
    fn name(&self) -> &'static str {
        match self {
            PathAction::Read => "read",
            PathAction::Write => "write",
            PathAction::Exec => "exec",
            PathAction::Socket => "socket",
            PathAction::Device => "device",
        }
    }
}

impl ActionName for NameAction {
    fn name(&self) -> &'static str {
        match self {
            NameAction::Env => "env",
            NameAction::Syscall => "syscall",
            NameAction::MachLookup => "mach-lookup",
            NameAction::MachRegister => "mach-register",
            NameAction::IoKit => "iokit",
        }
    }
}

impl Indexed for PathPattern {
    /// The root and the names written out behind it, or for a pattern that begins anywhere its last name.
    fn outer_key(&self) -> Option<String> {
        match (&self.root, self.components.last()) {
            (Root::Anywhere, Some(Component::Literal(last))) => Some(format!("**/{last}")),
            (Root::Anywhere, _) => None,
            (Root::Slash, None) => None,
            (root, _) => beginnings(root, &self.components).pop(),
        }
    }

    fn inner_keys(&self) -> Vec<String> {
        let names = self.components.iter().filter_map(Component::as_literal);
        let mut keys: Vec<String> = names.map(|name| format!("**/{name}")).collect();
        keys.extend(beginnings(&self.root, &self.components));
        keys.sort();
        keys.dedup();
        keys
    }
}

/// The root alone, then with one name more each, as long as the names are written out.
fn beginnings(root: &Root, components: &[Component]) -> Vec<String> {
    let mut key = root_key(root);
    let mut keys = vec![key.clone()];
    for component in components {
        let Component::Literal(name) = component else { break };
        key.push('/');
        key.push_str(name);
        keys.push(key.clone());
    }
    keys
}

/// The workspace may be either of two others, so that the three have one key.
fn root_key(root: &Root) -> String {
    use crate::pattern::Variable;
    match root {
        Root::Slash => String::new(),
        Root::Anywhere => "**".to_owned(),
        Root::Variable(Variable::Cwd | Variable::GitRoot | Variable::Workspace) => "$workspace".to_owned(),
        Root::Variable(variable) => format!("{variable:?}"),
    }
}

impl Indexed for ConnectPattern {
    fn outer_key(&self) -> Option<String> {
        match &self.host {
            HostPattern::Name(name) => Some(name.as_str().to_owned()),
            _ => None,
        }
    }

    fn inner_keys(&self) -> Vec<String> {
        match &self.host {
            HostPattern::Name(name) => vec![name.as_str().to_owned()],
            _ => Vec::new(),
        }
    }
}

impl Indexed for CommandPattern {
    fn outer_key(&self) -> Option<String> {
        match &self.program {
            ProgramPattern::Name(name) => name.0.as_literal().map(str::to_owned),
            ProgramPattern::AnyCommand | ProgramPattern::Path(_) => None,
        }
    }

    fn inner_keys(&self) -> Vec<String> {
        match &self.program {
            ProgramPattern::Path(path) => match path.components.last() {
                Some(Component::Literal(name)) => vec![name.clone()],
                _ => Vec::new(),
            },
            ProgramPattern::AnyCommand | ProgramPattern::Name(_) => self.outer_key().into_iter().collect(),
        }
    }
}

impl Indexed for NamePattern {
    fn outer_key(&self) -> Option<String> {
        self.0.as_literal().map(str::to_owned)
    }

    fn inner_keys(&self) -> Vec<String> {
        self.outer_key().into_iter().collect()
    }
}

macro_rules! compare_all {
    ($($pattern:ty),*) => {
        $(impl Indexed for $pattern {
            fn outer_key(&self) -> Option<String> {
                None
            }

            fn inner_keys(&self) -> Vec<String> {
                Vec::new()
            }
        })*
    };
}

compare_all!(HttpPattern, PortRange, SshPattern);
