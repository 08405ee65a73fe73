//! What the rules say about places of this machine: patterns with values put in, links followed, and the
//! first wildcard looked up.

use std::collections::{BTreeMap, BTreeSet};

use super::coverage::{Party, Side};
use super::report::Report;
use super::tree::{self, Follow, Stop, Walk};
use crate::bytes::AbsolutePath;
use crate::diagnostic::{Code, Diagnostic};
use crate::host::{Entry, Files, Host, LinkText};
use crate::pattern::{Component, Grounded, PathPattern, Polarity, Root, Variable, path_value};
use crate::policy::{Effect, Item, PathAction, Policy, Rule, Subject};
use crate::question::Platform;
use crate::source::Place;

/// A place that an item is about.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// Whose: an index into [`Claims::parties`].
    pub party: usize,
    /// Whether it is behind `except`.
    pub side: Side,
    /// The place: no component of it is a link.
    pub at: AbsolutePath,
    /// The item, for messages.
    pub text: String,
    /// What the place has to do with the item.
    pub kind: ClaimKind,
}

/// What a place has to do with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClaimKind {
    /// The item covers it and everything beneath.
    Object,
    /// The same, but it was found because a wildcard matched an existing name.
    Match,
    /// The item leads through the link that stands here.
    Link,
    /// Names made in this directory later would match the item.
    Watch,
}

/// An item whose wildcard cannot be looked up without walking a tree.
#[derive(Clone, Debug)]
pub(super) struct Wild {
    /// Whose.
    pub party: usize,
    /// Whether it is behind `except`.
    pub side: Side,
    /// The pattern.
    pub ground: Grounded,
    /// The item, for messages.
    pub text: String,
}

/// Everything that is said about places.
pub(super) struct Claims {
    /// The rules of the policy, by number, then what fence itself closes.
    pub parties: Vec<Party>,
    /// How many of them are rules.
    pub rules: usize,
    /// What they claim.
    pub list: Vec<Claim>,
    /// What cannot be looked up.
    pub wild: Vec<Wild>,
    /// The links on the way to what is allowed.
    pub links: BTreeMap<AbsolutePath, LinkOnTheWay>,
}

/// A link of the host on the way to something.
#[derive(Clone, Debug)]
pub(super) struct LinkOnTheWay {
    /// What it holds.
    pub text: LinkText,
    /// What the ways through it lead to.
    pub to: BTreeSet<AbsolutePath>,
}

/// What has been found out so far about the rules.
pub(super) struct Findings {
    /// One report a rule.
    pub reports: Vec<Report>,
    /// What is wrong.
    pub diagnostics: Vec<Diagnostic>,
}

impl Findings {
    /// The report of a rule; fence's own claims have none.
    pub(super) fn report(&mut self, party: usize) -> Option<&mut Report> {
        self.reports.get_mut(party)
    }
}

/// Whether a rule is for this platform.
pub(super) fn is_for_linux(rule: &Rule) -> bool {
    rule.platform.is_none_or(|platform| platform == Platform::Linux)
}

/// Gathers the claims of all rules about files.
pub(super) fn gather(
    policy: &Policy,
    host: &Host,
    values: &BTreeMap<Variable, Vec<u8>>,
    files: &mut dyn Files,
    findings: &mut Findings,
) -> Claims {
    let parties: Vec<Party> = policy.rules.iter().map(party).collect();
    let rules = parties.len();
    let claims = Claims { parties, rules, list: Vec::new(), wild: Vec::new(), links: BTreeMap::new() };
    let mut gatherer = Gatherer { claims, values, files, findings };
    for (number, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| is_for_linux(rule)) {
        let Subject::Path { actions, items, except } = &rule.subject else { continue };
        if actions.iter().all(|action| *action == PathAction::Device) {
            continue;
        }
        let polarity = match rule.effect {
            Effect::Allow => Polarity::Opening,
            Effect::Deny | Effect::Never => Polarity::Closing,
        };
        for item in items {
            gatherer.item(number, Side::Item, polarity, item);
        }
        for item in except {
            gatherer.item(number, Side::Except, polarity.opposite(), item);
        }
    }
    gatherer.protect(host);
    gatherer.way_to(&host.cwd);
    gatherer.way_to(&host.person.home);
    for directory in SYSTEM.iter().filter_map(|path| AbsolutePath::new(path)) {
        gatherer.way_to(&directory);
    }
    gatherer.claims
}

/// What is said of an item that is about nothing on this machine.
pub(super) const NO_VALUE: &str = "about nothing here, because its variable has no value: {}";

/// What closes nothing protects nothing, although its author wrote that it does.
pub(super) fn closes_nothing(text: &str, variable: &str, place: Place) -> Diagnostic {
    Diagnostic::new(Code::NoValueToClose, format!("`{text}` closes nothing: `${variable}` has no value"))
        .at(place)
        .help("give the variable a value, an absolute path other than `/`, or take the item out")
}

/// A closing `exec` closes reading too: else a loader or a copy would run the file.
fn party(rule: &Rule) -> Party {
    let mut actions = BTreeSet::new();
    if is_for_linux(rule) {
        match &rule.subject {
            Subject::Path { actions: written, .. } => {
                actions.extend(written);
                if rule.effect != Effect::Allow && written.contains(&PathAction::Exec) {
                    actions.insert(PathAction::Read);
                }
            }
            Subject::Run { .. } if rule.effect != Effect::Allow => {
                actions.extend([PathAction::Read, PathAction::Exec]);
            }
            _ => {}
        }
    }
    Party { effect: rule.effect, actions }
}

/// Directories that programs name, and that are links on many systems.
const SYSTEM: [&[u8]; 8] =
    [b"/bin", b"/sbin", b"/lib", b"/lib32", b"/lib64", b"/libx32", b"/var/run", b"/var/lock"];

/// The names of policies that are found without being named.
const FOUND: [&[u8]; 3] = [b"policy.fence", b"policy.fence.yaml", b"policy.fence.json"];

struct Gatherer<'a> {
    claims: Claims,
    values: &'a BTreeMap<Variable, Vec<u8>>,
    files: &'a mut dyn Files,
    findings: &'a mut Findings,
}

impl Gatherer<'_> {
    fn item(&mut self, party: usize, side: Side, polarity: Polarity, item: &Item<PathPattern>) {
        let ground = match item.pattern.ground(self.values) {
            Ok(ground) => ground,
            Err(missing) => {
                let outside = missing.variable.is_optional();
                match polarity {
                    Polarity::Closing if !outside => {
                        let variable = missing.variable.name();
                        let place = item.written.place();
                        self.findings.diagnostics.push(closes_nothing(&item.text, variable, place));
                    }
                    _ => self.note(party, NO_VALUE, &item.text),
                }
                return;
            }
        };
        match self.begin(&item.pattern, &ground, polarity) {
            Ok(walk) => self.rest(party, side, polarity, item, ground, walk),
            Err(Stop::Link(_)) => {
                self.note(party, "opens nothing, because links are not followed there: {}", &item.text);
            }
            Err(Stop::Loop(at)) => match polarity {
                Polarity::Opening => self.note(
                    party,
                    "opens nothing, because it leads through a loop of links: {}",
                    &item.text,
                ),
                Polarity::Closing => self.claim(party, side, at, &item.text, ClaimKind::Link),
            },
        }
    }

    /// Walks to the end of the literal beginning.
    fn begin(&mut self, pattern: &PathPattern, ground: &Grounded, polarity: Polarity) -> Result<Walk, Stop> {
        let Root::Variable(variable) = &pattern.root else { return tree::walk(self.files, &ground.prefix) };
        if polarity == Polarity::Closing || *variable == Variable::Home {
            return tree::walk(self.files, &ground.prefix);
        }
        let value = path_value(variable, self.values).unwrap_or_else(|_| AbsolutePath::root());
        let walk = tree::walk(self.files, &value)?;
        let names = ground.prefix.components().skip(value.components().count());
        tree::walk_on(self.files, walk, names, Follow::Nothing)
    }

    /// Claims what lies at the end of the literal beginning, or what the first wildcard matches there.
    fn rest(
        &mut self,
        party: usize,
        side: Side,
        polarity: Polarity,
        item: &Item<PathPattern>,
        ground: Grounded,
        walk: Walk,
    ) {
        let mut rest = ground.rest.as_slice();
        while let [before @ .., Component::AnyDepth] = rest {
            rest = before;
        }
        match rest {
            [] => {
                if polarity == Polarity::Opening && walk.entry == Entry::Missing {
                    self.note(party, "opens nothing, because it does not exist: {}", &item.text);
                }
                self.met(party, side, polarity, &item.text, walk, ClaimKind::Object);
            }
            [Component::Glob(glob), after @ ..]
                if after.iter().all(|component| matches!(component, Component::Literal(_))) =>
            {
                let names =
                    if walk.entry == Entry::Directory { self.files.names(&walk.object) } else { Vec::new() };
                // What a wildcard matches opens nothing through a link: the name says nothing about its target.
                let follow = match polarity {
                    Polarity::Closing => Follow::Links,
                    Polarity::Opening => Follow::Nothing,
                };
                for name in names.iter().filter(|name| glob.matches(name)) {
                    let literal = after.iter().filter_map(|component| match component {
                        Component::Literal(text) => Some(text.as_bytes()),
                        _ => None,
                    });
                    let ahead = std::iter::once(name.as_slice()).chain(literal);
                    match tree::walk_on(self.files, walk.clone(), ahead, follow) {
                        Ok(found) if polarity == Polarity::Opening && found.entry == Entry::Missing => {}
                        Ok(found) => {
                            if polarity == Polarity::Closing && found.links.len() > walk.links.len() {
                                self.stricter(
                                    party,
                                    "what it leads to through a link is closed under its own name too: {}",
                                    &item.text,
                                );
                            }
                            self.met(party, side, polarity, &item.text, found, ClaimKind::Match);
                        }
                        Err(Stop::Link(at) | Stop::Loop(at)) => match polarity {
                            Polarity::Opening => {}
                            Polarity::Closing => self.claim(party, side, at, &item.text, ClaimKind::Link),
                        },
                    }
                }
                match polarity {
                    Polarity::Opening => {
                        self.stricter(party, "what is made later and matches stays closed: {}", &item.text)
                    }
                    Polarity::Closing => self.claim(party, side, walk.object, &item.text, ClaimKind::Watch),
                }
            }
            rest => {
                let ground = Grounded { prefix: walk.object, rest: rest.to_vec() };
                if polarity == Polarity::Opening && side == Side::Item {
                    self.stricter(
                        party,
                        "opens nothing, because no tree is searched for what matches: {}",
                        &item.text,
                    );
                } else {
                    self.claims.wild.push(Wild { party, side, ground, text: item.text.clone() });
                }
            }
        }
    }

    fn met(&mut self, party: usize, side: Side, polarity: Polarity, text: &str, walk: Walk, kind: ClaimKind) {
        match polarity {
            Polarity::Opening => self.links(&walk),
            Polarity::Closing => {
                for (at, _) in &walk.links {
                    self.claim(party, side, at.clone(), text, ClaimKind::Link);
                }
            }
        }
        self.claim(party, side, walk.object, text, kind);
    }

    fn claim(&mut self, party: usize, side: Side, at: AbsolutePath, text: &str, kind: ClaimKind) {
        self.claims.list.push(Claim { party, side, at, text: text.to_owned(), kind });
    }

    /// The texts of the policy, fence's own state, and every policy that could be found are never writable.
    fn protect(&mut self, host: &Host) {
        let party = self.claims.parties.len();
        self.claims
            .parties
            .push(Party { effect: Effect::Deny, actions: BTreeSet::from([PathAction::Write]) });
        for path in &host.protected {
            if let Ok(walk) = tree::walk(self.files, path) {
                let text = path.to_string();
                self.met(party, Side::Item, Polarity::Closing, &text, walk, ClaimKind::Object);
            }
        }
        // What is found through another link later is not what was trusted.
        for directory in std::iter::once(host.cwd.clone()).chain(host.cwd.ancestors()) {
            for path in FOUND.map(|name| directory.join(name)) {
                if let Ok(walk) = tree::walk(self.files, &path)
                    && walk.entry != Entry::Missing
                {
                    self.claim(party, Side::Item, walk.object, &path.to_string(), ClaimKind::Object);
                }
            }
        }
    }

    /// The links on the way to a directory that programs go to by name.
    fn way_to(&mut self, path: &AbsolutePath) {
        if let Ok(walk) = tree::walk(self.files, path) {
            self.links(&walk);
        }
    }

    fn links(&mut self, walk: &Walk) {
        for (at, text) in &walk.links {
            let link = self.claims.links.entry(at.clone());
            let link = link.or_insert_with(|| LinkOnTheWay { text: text.clone(), to: BTreeSet::new() });
            link.to.insert(walk.object.clone());
        }
    }

    fn note(&mut self, party: usize, sentence: &'static str, text: &str) {
        if let Some(report) = self.findings.report(party) {
            report.note(sentence, text);
        }
    }

    fn stricter(&mut self, party: usize, sentence: &'static str, text: &str) {
        if let Some(report) = self.findings.report(party) {
            report.stricter(sentence, text);
        }
    }
}
