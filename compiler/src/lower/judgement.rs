//! How faithfully the file tree enforces each rule about files.

mod wild;

use std::collections::BTreeSet;

use super::atlas::Chart;
use super::claims::{Claim, ClaimKind, Claims, Findings};
use super::commands::opens_changing;
use super::coverage::{Actions, Side};
use super::mounts::{FileTree, Footing, Surface, is_visible};
use super::region::{Region, RegionKind};
use super::report::Cause;
use super::target::Holder;
use crate::bytes::AbsolutePath;
use crate::diagnostic::{Code, Diagnostic};
use crate::fidelity::Mechanism;
use crate::host::{Entry, Support};
use crate::plan::{Mediated, Writing};
use crate::policy::{Acceptance, Effect, PathAction, Policy, Rule, Subject};

const REPLACED: &str = "in a writable tree a mount holds only until something outside the sandbox replaces or removes what it covers: {}";
const CREATED: &str = "in a writable tree nothing stops a path that does not exist from being made: {}";
const CHANGED: &str = "in a writable tree a link can be replaced, and this leads through one: {}";
const LATER: &str = "in a writable tree nothing stops names that match from being made later: {}";
const UNSEEN: &str = "no tree is searched for existing files that match: {}";
const PRIVATE: &str = "in the sandbox's own `/tmp` nothing stops it from being made: {}";
const ALWAYS_THERE: &str = "`/proc` can always be read: {}";
const UNREADABLE: &str = "writing is refused too, because what must not be read is covered: {}";
const SOCKETS: &str = "no tree is searched for sockets, and those below answer: {}";
const BOUND: &str = "a mount holds only until a program outside binds the socket anew: {}";

const SEEN: &str = "what a name has that no mount covers cannot be read, but its metadata can be seen: {}";
const STARTED: &str = "what it starts can be looked into, because the policy opens `ptrace` or its like: {}";

/// Judges every claim and every pattern that could not be looked up. What mounts leave open of files and of sockets is
/// judged call by call where the machine can, and where a rule does not prefer what costs less: that is told.
pub(super) fn judge(
    policy: &Policy,
    chart: &Chart,
    claims: &Claims<'_>,
    regions: &[Region<'_>],
    tree: &FileTree,
    mediation: &Support,
    findings: &mut Findings,
) -> BTreeSet<Mediated> {
    let mut judge = Judge { policy, chart, claims, regions, tree, mediation, open: Vec::new(), findings };
    for (number, region) in regions.iter().enumerate() {
        for claim in region.claims.iter().filter_map(|claim| claims.list.get(*claim)) {
            judge.claim(number, region, claim);
        }
        if tree.holder == Holder::Mounts {
            judge.hidden(number, region);
        }
        if region.kind == RegionKind::Proc {
            judge.processes(region);
        }
    }
    judge.wild();
    judge.settle()
}

struct Judge<'a> {
    policy: &'a Policy,
    chart: &'a Chart,
    claims: &'a Claims<'a>,
    regions: &'a [Region<'a>],
    tree: &'a FileTree,
    /// Whether calls can be judged from outside.
    mediation: &'a Support,
    /// What mounts leave open, and judging calls would close.
    open: Vec<Open>,
    findings: &'a mut Findings,
}

/// Something that mounts leave open.
struct Open {
    /// What would close it.
    judged: Mediated,
    party: usize,
    cause: Cause,
    sentence: &'static str,
    text: String,
}

/// What becomes of one action at a claim.
enum Outcome {
    Exact(Mechanism),
    Weaker(&'static str),
}

impl<'a> Judge<'a> {
    /// What a rule is about: a closing `exec` is about reading too.
    fn actions(&self, party: usize) -> Option<Actions> {
        self.claims.parties.get(party).map(|party| party.actions)
    }

    fn claim(&mut self, number: usize, region: &Region<'_>, claim: &Claim<'_>) {
        let Some(rule) = self.policy.rules.get(claim.party) else { return self.own(region, claim) };
        let Subject::Path { .. } = &rule.subject else { return };
        let Some(actions) = self.actions(claim.party) else { return };
        match (rule.effect, claim.side) {
            (Effect::Allow, Side::Item) => self.opened(number, region, claim, actions),
            (Effect::Deny | Effect::Never, Side::Except) => {}
            (effect, _) => {
                for action in actions.in_tree() {
                    let outcome = self.closed(number, region, claim, action, effect);
                    self.tell(claim, outcome, action, actions);
                }
                self.tell_hidden(region, claim, actions);
            }
        }
    }

    /// What `/proc` tells of the sandbox's own processes is there whatever a rule closes.
    fn processes(&mut self, region: &Region<'_>) {
        for party in &region.closing {
            let closes = self.policy.rules.get(*party).is_some_and(|rule| rule.effect != Effect::Allow);
            if closes && self.actions(*party).is_some_and(|actions| actions.contains(PathAction::Read)) {
                let at = region.at.to_string();
                self.weaker(*party, Cause::Mechanism, ALWAYS_THERE, &at, PathAction::Read);
            }
        }
    }

    /// Without Landlock everything that is there can be read.
    fn hidden(&mut self, number: usize, region: &Region<'_>) {
        if self.shows(number, region) || !region.rights.write || region.rights.read || !is_visible(region) {
            return;
        }
        // What names the place itself is told with its own words.
        let named: BTreeSet<usize> = region
            .claims
            .iter()
            .filter_map(|claim| self.claims.list.get(*claim))
            .filter(|claim| claim.side == Side::Item)
            .map(|claim| claim.party)
            .collect();
        for party in region.opening.iter().filter(|party| !named.contains(party)) {
            let writes = self.actions(*party).is_some_and(|actions| actions.contains(PathAction::Write));
            if writes && let Some(report) = self.findings.report(*party) {
                report.stricter(UNREADABLE, &region.at.to_string());
            }
        }
    }

    /// Whether something can be written at the place of a region: it is the host's, or the private `/tmp`.
    fn shows(&self, number: usize, region: &Region<'_>) -> bool {
        match self.tree.surfaces.get(number) {
            Some(Surface::Tree { .. }) => true,
            Some(Surface::Private(_)) => region.kind == RegionKind::Tmp,
            _ => false,
        }
    }

    fn opened(&mut self, number: usize, region: &Region<'_>, claim: &Claim<'_>, actions: Actions) {
        let surface = self.tree.around(region);
        let kernel = matches!(region.at.components().next(), Some(b"proc" | b"sys"));
        let device = matches!(region.at.components().next(), Some(b"dev"));
        let shown = self.shows(number, region);
        let Some(report) = self.findings.report(claim.party) else { return };
        if region.rights.write && !region.rights.read && !shown && is_visible(region) {
            report.stricter(UNREADABLE, &claim.text);
        }
        if self.tree.holder != Holder::Landlock {
            report.by(Mechanism::Mount);
        }
        if self.tree.holder != Holder::Mounts {
            report.by(Mechanism::Landlock);
        }
        if kernel && actions.contains(PathAction::Write) {
            report.note("writing is always closed below `/proc` and `/sys`: {}", &claim.text);
        }
        if device && actions.in_tree().next().is_some() && surface == Surface::Fixed {
            report.note("opens nothing, because below `/dev` only `device` opens: {}", &claim.text);
        }
        if actions.contains(PathAction::Socket) && *region.entry == Entry::Directory {
            report.stricter(
                "only sockets written out by their own path are opened, not those below: {}",
                &claim.text,
            );
        }
        if *region.entry != Entry::Missing && actions.contains(PathAction::Exec) && !region.rights.read {
            report.note("executing also asks for `read`, which is not allowed there: {}", &claim.text);
        }
        if region.rights.write && !region.rights.read && region.closing.is_empty() && is_visible(region) {
            report.note("metadata can be seen, although only writing is allowed: {}", &claim.text);
        }
    }

    /// What becomes of an action at the place of something that closes it.
    fn closed(
        &self,
        number: usize,
        region: &Region<'_>,
        claim: &Claim<'_>,
        action: PathAction,
        effect: Effect,
    ) -> Option<Outcome> {
        let above = region.above.and_then(|above| self.regions.get(above));
        let surface = match claim.kind {
            ClaimKind::Watch => self.tree.surfaces.get(number).copied().unwrap_or(Surface::Bare),
            _ => self.tree.around(region),
        };
        let shows_sockets = action == PathAction::Socket && self.shows_sockets(surface, claim);
        let reached = match effect {
            // An `except` of an `allow` matters where that rule, or another one, opens what is around it.
            Effect::Allow if claim.kind == ClaimKind::Watch => region.rights.has(action),
            Effect::Allow => above.is_some_and(|above| above.rights.has(action)) && !region.open.has(action),
            _ if claim.kind == ClaimKind::Link => above.is_some_and(|above| above.open.has(action)),
            _ if claim.kind != ClaimKind::Watch && region.closing.binary_search(&claim.party).is_err() => {
                return None;
            }
            _ if shows_sockets => true,
            _ => region.reached.has(action) || self.private(region).is_some_and(|rights| rights.has(action)),
        };
        let always_there = action == PathAction::Read && region.at.components().next() == Some(b"proc");
        if !reached && !always_there {
            return Some(Outcome::Exact(Mechanism::Absence));
        }
        if self.tree.holder == Holder::Landlock && !always_there {
            return Some(Outcome::Exact(Mechanism::Landlock));
        }
        // Whoever serves outside binds sockets when they like, also where nobody inside writes.
        if shows_sockets {
            let directory = *region.entry == Entry::Directory;
            return Some(Outcome::Weaker(if directory { SOCKETS } else { BOUND }));
        }
        Some(match surface {
            Surface::Tree { writing, footing, .. } => {
                let loose = writing == Writing::Allowed || footing == Footing::Loose;
                match (loose, claim.kind, region.entry) {
                    (true, ClaimKind::Watch, _) => Outcome::Weaker(LATER),
                    (true, ClaimKind::Link, _) | (true, _, Entry::Link(_)) => Outcome::Weaker(CHANGED),
                    (true, _, Entry::Missing) => Outcome::Weaker(CREATED),
                    (true, ..) => Outcome::Weaker(REPLACED),
                    (false, _, Entry::Missing) => Outcome::Exact(Mechanism::Absence),
                    (false, ..) => Outcome::Exact(Mechanism::Mount),
                }
            }
            Surface::Private(rights) if rights.has(action) && !is_visible(region) => Outcome::Weaker(PRIVATE),
            Surface::Mask(Footing::Loose) | Surface::Passage(Footing::Loose) => Outcome::Weaker(REPLACED),
            Surface::Fixed if always_there => Outcome::Weaker(ALWAYS_THERE),
            Surface::Bare | Surface::Private(_) if is_visible(region) => Outcome::Exact(Mechanism::Mount),
            Surface::Mask(_) | Surface::Passage(_) => Outcome::Exact(Mechanism::Mount),
            Surface::Bare | Surface::Private(_) | Surface::Fixed => Outcome::Exact(Mechanism::Absence),
        })
    }

    /// Whether sockets of the host can be there: a tree of the host lies around the place of something, or beneath it.
    fn shows_sockets(&self, around: Surface, claim: &Claim<'_>) -> bool {
        let (at, mut trees) = (self.chart.path(claim.at), self.regions.iter().zip(&self.tree.surfaces));
        matches!(around, Surface::Tree { .. })
            || trees.any(|(region, surface)| {
                matches!(surface, Surface::Tree { .. })
                    && *region.entry == Entry::Directory
                    && region.at.is_within(at)
            })
    }

    /// What is effective in the private `/tmp`, if the region lies directly in it.
    fn private(&self, region: &Region<'_>) -> Option<super::coverage::Rights> {
        match self.tree.around(region) {
            Surface::Private(rights) => Some(rights),
            _ => None,
        }
    }

    fn tell(&mut self, claim: &Claim<'_>, outcome: Option<Outcome>, action: PathAction, actions: Actions) {
        let Some(report) = self.findings.report(claim.party) else { return };
        match outcome {
            None => {}
            Some(Outcome::Exact(mechanism)) => report.by(mechanism),
            Some(Outcome::Weaker(sentence)) => {
                let cause = match claim.kind {
                    ClaimKind::Match | ClaimKind::Watch => cause(actions),
                    ClaimKind::Object | ClaimKind::Link => Cause::Mechanism,
                };
                if [REPLACED, LATER, BOUND].contains(&sentence) {
                    report.by(Mechanism::Mount);
                }
                self.weaker(claim.party, cause, sentence, &claim.text, action);
            }
        }
    }

    /// Something is left open; of reading, writing and sockets it is not, where calls are judged.
    fn weaker(&mut self, party: usize, cause: Cause, sentence: &'static str, text: &str, action: PathAction) {
        let judged = match action {
            // What `/proc` tells of a process has more names than a rule knows.
            PathAction::Read if sentence != ALWAYS_THERE && self.names_reading(party) => {
                Some(Mediated::Reads)
            }
            PathAction::Write => Some(Mediated::Writes),
            PathAction::Socket => Some(Mediated::Sockets),
            _ => None,
        };
        if let Some(judged) = judged.filter(|_| *self.mediation == Support::Yes) {
            self.open.push(Open { judged, party, cause, sentence, text: text.to_owned() });
        } else if let Some(report) = self.findings.report(party) {
            report.weaker(cause, sentence, text);
        }
    }

    /// Whether a rule is about reading by its own words, and not because what must not be executed must not be read either.
    fn names_reading(&self, party: usize) -> bool {
        let rule = self.policy.rules.get(party);
        rule.is_some_and(|rule| {
            matches!(&rule.subject, Subject::Path { actions, .. } if actions.contains(&PathAction::Read))
        })
    }

    /// Has calls judged that a rule insists on.
    fn settle(&mut self) -> BTreeSet<Mediated> {
        let insists =
            |open: &&Open| self.policy.rules.get(open.party).is_some_and(|rule| insists(rule, open.cause));
        let mut mediated: BTreeSet<Mediated> =
            self.open.iter().filter(insists).map(|open| open.judged).collect();
        if mediated.contains(&Mediated::Sockets) && self.opens_movable_sockets() {
            mediated.insert(Mediated::Writes);
        }
        let reads = mediated.contains(&Mediated::Reads);
        let traced = opens_changing(self.policy);
        if reads {
            mediated.insert(Mediated::Writes);
            mediated.extend((!traced).then_some(Mediated::Starts));
        }
        for Open { judged, party, cause, sentence, text } in std::mem::take(&mut self.open) {
            let Some(report) = self.findings.report(party) else { continue };
            if mediated.contains(&judged) {
                report.by(Mechanism::Mediator);
            } else {
                report.weaker(cause, sentence, &text);
            }
            if reads && judged == Mediated::Reads {
                report.note(SEEN, &text);
                if traced {
                    report.weaker(Cause::Mechanism, STARTED, &text);
                }
            }
        }
        mediated
    }

    /// Whether a rule opens sockets by names that something inside could give to others.
    fn opens_movable_sockets(&self) -> bool {
        let opens = |party: usize, side: Side| {
            let sockets = self.actions(party).is_some_and(|actions| actions.contains(PathAction::Socket));
            let allows = self.claims.parties.get(party).is_some_and(|party| party.effect == Effect::Allow);
            sockets && allows == (side == Side::Item)
        };
        let claimed = self.claims.list.iter().filter(|claim| opens(claim.party, claim.side));
        let wild = self.claims.wild.iter().filter(|wild| opens(wild.party, wild.side));
        let mut named =
            claimed.map(|claim| self.chart.path(claim.at)).chain(wild.map(|wild| &wild.ground.prefix));
        let writable: Vec<&AbsolutePath> = self
            .regions
            .iter()
            .zip(&self.tree.surfaces)
            .filter(|(_, surface)| matches!(surface, Surface::Tree { writing: Writing::Allowed, .. }))
            .map(|(region, _)| region.at)
            .collect();
        named.any(|named| writable.iter().any(|at| named.is_within(at) || at.is_within(named)))
    }

    fn tell_hidden(&mut self, region: &Region<'_>, claim: &Claim<'_>, actions: Actions) {
        // Landlock covers nothing.
        if self.tree.holder != Holder::Landlock
            && actions.contains(PathAction::Read)
            && region.rights.write
            && !region.rights.read
            && matches!(self.tree.around(region), Surface::Tree { .. })
            && !matches!(region.entry, Entry::Missing | Entry::Link(_))
            && let Some(report) = self.findings.report(claim.party)
        {
            report.stricter(UNREADABLE, &claim.text);
        }
    }

    /// A file of fence's own that does not exist must not be made from inside either, nor a link to it replaced.
    fn own(&mut self, region: &Region<'_>, claim: &Claim<'_>) {
        // Where Landlock holds alone, nothing is made or replaced around what is closed.
        if self.tree.holder == Holder::Landlock {
            return;
        }
        let Surface::Tree { writing, footing, .. } = self.tree.around(region) else { return };
        let loose = writing == Writing::Allowed || footing == Footing::Loose;
        if loose && claim.kind == ClaimKind::Link {
            self.findings.diagnostics.push(
                Diagnostic::new(
                    Code::ProtectedMissing,
                    format!(
                        "`{}` leads through the link `{}`, which the policy lets be replaced from inside",
                        claim.text,
                        self.chart.path(claim.at)
                    ),
                )
                .help("put the file itself there, name the file that the link leads to, or allow no writing around the link"),
            );
        } else if loose && *region.entry == Entry::Missing && claim.kind != ClaimKind::Watch {
            self.findings.diagnostics.push(
                Diagnostic::new(
                    Code::ProtectedMissing,
                    format!("`{}` must not be made from inside, and the policy lets it be", claim.text),
                )
                .help("make it before the run, or allow no writing around it"),
            );
        }
    }
}

/// Whether a rule wants what mounts leave open to be judged call by call, although that costs.
fn insists(rule: &Rule, cause: Cause) -> bool {
    match (rule.effect, rule.acceptance) {
        (Effect::Deny, Acceptance::BestEffortCheaply) => false,
        (Effect::Deny, Acceptance::Cheaply) => cause != Cause::Pattern,
        _ => true,
    }
}

/// Only what is about reading, writing and sockets can be `cheaply`.
fn cause(actions: Actions) -> Cause {
    let beyond = [PathAction::Exec, PathAction::Device];
    let cheap = !beyond.into_iter().any(|action| actions.contains(action));
    if cheap { Cause::Pattern } else { Cause::Mechanism }
}
