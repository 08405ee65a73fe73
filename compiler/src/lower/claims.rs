//! What the rules say about places of this machine: patterns with values put in, links followed, and the
//! first wildcard looked up.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::atlas::{Atlas, Follow, PlaceId, Stop, Walk};
use super::coverage::{Actions, Party, Side};
use super::report::Report;
use crate::bytes::AbsolutePath;
use crate::diagnostic::{Code, Diagnostic};
use crate::host::{Entry, Host};
use crate::pattern::{Component, Grounded, NoValue, PathPattern, Polarity, Root, Variable, path_value};
use crate::policy::{Effect, Item, PathAction, Policy, Rule, Subject};
use crate::question::Platform;
use crate::source::Place;

/// A place that an item is about.
#[derive(Clone, Debug)]
pub(super) struct Claim<'p> {
    /// Whose: an index into [`Claims::parties`].
    pub party: usize,
    /// Whether it is behind `except`.
    pub side: Side,
    /// The place.
    pub at: PlaceId,
    /// The item, for messages.
    pub text: Cow<'p, str>,
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
pub(super) struct Wild<'p> {
    /// Whose.
    pub party: usize,
    /// Whether it is behind `except`.
    pub side: Side,
    /// The pattern.
    pub ground: Grounded,
    /// The item, for messages.
    pub text: &'p str,
}

/// Everything that is said about places.
pub(super) struct Claims<'p> {
    /// The rules of the policy, by number, then what fence itself closes.
    pub parties: Vec<Party>,
    /// How many of them are rules.
    pub rules: usize,
    /// What they claim.
    pub list: Vec<Claim<'p>>,
    /// What cannot be looked up.
    pub wild: Vec<Wild<'p>>,
    /// The links of the host on the way to what is allowed, and what the ways through each lead to.
    pub links: BTreeMap<PlaceId, BTreeSet<PlaceId>>,
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
pub(super) fn gather<'p>(
    policy: &'p Policy,
    host: &Host,
    values: &BTreeMap<Variable, Vec<u8>>,
    atlas: &mut Atlas<'_>,
    findings: &mut Findings,
) -> Claims<'p> {
    let parties: Vec<Party> = policy.rules.iter().map(party).collect();
    let rules = parties.len();
    let claims = Claims { parties, rules, list: Vec::new(), wild: Vec::new(), links: BTreeMap::new() };
    let mut gatherer = Gatherer { claims, values, begun: BTreeMap::new(), atlas, findings };
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
    let actions = match &rule.subject {
        _ if !is_for_linux(rule) => Actions::default(),
        Subject::Path { actions, .. } => {
            let mut actions: Actions = actions.iter().copied().collect();
            if rule.effect != Effect::Allow && actions.contains(PathAction::Exec) {
                actions.insert(PathAction::Read);
            }
            actions
        }
        Subject::Run { .. } if rule.effect != Effect::Allow => {
            [PathAction::Read, PathAction::Exec].into_iter().collect()
        }
        _ => Actions::default(),
    };
    Party { effect: rule.effect, actions }
}

/// Directories that programs name, and that are links on many systems.
const SYSTEM: [&[u8]; 8] =
    [b"/bin", b"/sbin", b"/lib", b"/lib32", b"/lib64", b"/libx32", b"/var/run", b"/var/lock"];

/// The names of policies that are found without being named.
const FOUND: [&[u8]; 3] = [b"policy.fence", b"policy.fence.yaml", b"policy.fence.json"];

struct Gatherer<'a, 'f, 'p> {
    claims: Claims<'p>,
    values: &'a BTreeMap<Variable, Vec<u8>>,
    /// Where the values of variables lead to.
    begun: BTreeMap<&'p Variable, Result<Result<Walk, Stop>, NoValue>>,
    atlas: &'a mut Atlas<'f>,
    findings: &'a mut Findings,
}

impl<'p> Gatherer<'_, '_, 'p> {
    fn item(&mut self, party: usize, side: Side, polarity: Polarity, item: &'p Item<PathPattern>) {
        let PathPattern { root, components } = &item.pattern;
        let begun = match self.begin(root) {
            Ok(begun) => begun,
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
        if *root == Root::Anywhere {
            let rest = std::iter::once(&Component::AnyDepth).chain(components).cloned().collect();
            return self.wild(party, side, polarity, item, Grounded { prefix: AbsolutePath::root(), rest });
        }
        // What opens follows no link below a variable, but the person's own home.
        let follow = match (root, polarity) {
            (Root::Variable(variable), Polarity::Opening) if *variable != Variable::Home => Follow::Nothing,
            _ => Follow::Links,
        };
        let names = components.iter().map_while(literal);
        let rest = components.get(names.clone().count()..).unwrap_or_default();
        match begun.and_then(|walk| self.atlas.walk_on(walk, names, follow)) {
            Ok(walk) => self.rest(party, side, polarity, item, rest, walk),
            Err(Stop::Link(_)) => {
                self.note(party, "opens nothing, because links are not followed there: {}", &item.text);
            }
            Err(Stop::Loop(at)) => match polarity {
                Polarity::Opening => self.note(
                    party,
                    "opens nothing, because it leads through a loop of links: {}",
                    &item.text,
                ),
                Polarity::Closing => self.claim(party, side, at, item, ClaimKind::Link),
            },
        }
    }

    /// Walks to where a pattern begins.
    fn begin(&mut self, root: &'p Root) -> Result<Result<Walk, Stop>, NoValue> {
        let Root::Variable(variable) = root else { return Ok(Ok(Walk::root())) };
        if let Some(begun) = self.begun.get(variable) {
            return begun.clone();
        }
        let begun = path_value(variable, self.values).map(|value| self.atlas.walk(&value));
        self.begun.insert(variable, begun.clone());
        begun
    }

    /// Claims what lies at the end of the literal beginning, or what the first wildcard matches there.
    fn rest(
        &mut self,
        party: usize,
        side: Side,
        polarity: Polarity,
        item: &'p Item<PathPattern>,
        whole: &[Component],
        walk: Walk,
    ) {
        let mut rest = whole;
        while let [before @ .., Component::AnyDepth] = rest {
            rest = before;
        }
        match rest {
            [] => {
                if polarity == Polarity::Opening && *self.atlas.entry(walk.at) == Entry::Missing {
                    self.note(party, "opens nothing, because it does not exist: {}", &item.text);
                }
                self.met(party, side, polarity, item, &walk, ClaimKind::Object);
            }
            [Component::Glob(glob), after @ ..] if after.iter().all(|one| literal(one).is_some()) => {
                let is_directory = *self.atlas.entry(walk.at) == Entry::Directory;
                let names = if is_directory { self.atlas.names(walk.at) } else { [].into() };
                // What a wildcard matches opens nothing through a link: the name says nothing about its target.
                let follow = match polarity {
                    Polarity::Closing => Follow::Links,
                    Polarity::Opening => Follow::Nothing,
                };
                for name in names.iter().filter(|name| glob.matches(name)) {
                    let ahead = std::iter::once(name.as_slice()).chain(after.iter().filter_map(literal));
                    match self.atlas.walk_on(walk.clone(), ahead, follow) {
                        Ok(found)
                            if polarity == Polarity::Opening
                                && *self.atlas.entry(found.at) == Entry::Missing => {}
                        Ok(found) => {
                            if polarity == Polarity::Closing && found.links.len() > walk.links.len() {
                                self.stricter(
                                    party,
                                    "what it leads to through a link is closed under its own name too: {}",
                                    &item.text,
                                );
                            }
                            self.met(party, side, polarity, item, &found, ClaimKind::Match);
                        }
                        Err(Stop::Link(at) | Stop::Loop(at)) => match polarity {
                            Polarity::Opening => {}
                            Polarity::Closing => self.claim(party, side, at, item, ClaimKind::Link),
                        },
                    }
                }
                match polarity {
                    Polarity::Opening => {
                        self.stricter(party, "what is made later and matches stays closed: {}", &item.text)
                    }
                    Polarity::Closing => self.claim(party, side, walk.at, item, ClaimKind::Watch),
                }
            }
            rest => {
                let prefix = self.atlas.path(walk.at).clone();
                self.wild(party, side, polarity, item, Grounded { prefix, rest: rest.to_vec() });
            }
        }
    }

    /// Keeps a pattern for which a tree would have to be searched.
    fn wild(
        &mut self,
        party: usize,
        side: Side,
        polarity: Polarity,
        item: &'p Item<PathPattern>,
        ground: Grounded,
    ) {
        if polarity == Polarity::Opening && side == Side::Item {
            self.stricter(
                party,
                "opens nothing, because no tree is searched for what matches: {}",
                &item.text,
            );
        } else {
            self.claims.wild.push(Wild { party, side, ground, text: &item.text });
        }
    }

    fn met(
        &mut self,
        party: usize,
        side: Side,
        polarity: Polarity,
        item: &'p Item<PathPattern>,
        walk: &Walk,
        kind: ClaimKind,
    ) {
        match polarity {
            Polarity::Opening => self.links(walk),
            Polarity::Closing => {
                for at in &walk.links {
                    self.claim(party, side, *at, item, ClaimKind::Link);
                }
            }
        }
        self.claim(party, side, walk.at, item, kind);
    }

    fn claim(&mut self, party: usize, side: Side, at: PlaceId, item: &'p Item<PathPattern>, kind: ClaimKind) {
        self.claims.list.push(Claim { party, side, at, text: Cow::Borrowed(&item.text), kind });
    }

    /// The texts of the policy, fence's own state, and every policy that could be found are never writable.
    fn protect(&mut self, host: &Host) {
        let party = self.claims.parties.len();
        let actions = [PathAction::Write].into_iter().collect();
        self.claims.parties.push(Party { effect: Effect::Deny, actions });
        let own = |at, path: &AbsolutePath, kind| {
            let text = Cow::Owned(path.to_string());
            Claim { party, side: Side::Item, at, text, kind }
        };
        for path in &host.protected {
            if let Ok(walk) = self.atlas.walk(path) {
                self.claims.list.extend(walk.links.iter().map(|at| own(*at, path, ClaimKind::Link)));
                self.claims.list.push(own(walk.at, path, ClaimKind::Object));
            }
        }
        // What is found through another link later is not what was trusted.
        for directory in std::iter::once(host.cwd.clone()).chain(host.cwd.ancestors()) {
            for path in FOUND.map(|name| directory.join(name)) {
                if let Ok(walk) = self.atlas.walk(&path)
                    && *self.atlas.entry(walk.at) != Entry::Missing
                {
                    self.claims.list.push(own(walk.at, &path, ClaimKind::Object));
                }
            }
        }
    }

    /// The links on the way to a directory that programs go to by name.
    fn way_to(&mut self, path: &AbsolutePath) {
        if let Ok(walk) = self.atlas.walk(path) {
            self.links(&walk);
        }
    }

    fn links(&mut self, walk: &Walk) {
        for at in &walk.links {
            self.claims.links.entry(*at).or_default().insert(walk.at);
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

/// The name that a component is, if it is no wildcard.
fn literal(component: &Component) -> Option<&[u8]> {
    match component {
        Component::Literal(text) => Some(text.as_bytes()),
        _ => None,
    }
}
