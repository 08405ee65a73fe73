//! The devices that rules allow, beside those that are always there.

use std::collections::{BTreeMap, BTreeSet};

use super::atlas::{Atlas, PlaceId};
use super::claims::{Claim, ClaimKind, Claims, Findings, Wild, is_for_linux};
use super::coverage::Side;
use super::report::{Cause, Report};
use crate::bytes::AbsolutePath;
use crate::fidelity::Mechanism;
use crate::host::Entry;
use crate::pattern::{Component, Grounded, PathPattern, Polarity, Variable};
use crate::policy::{Effect, Item, PathAction, Policy, Subject};

/// The names in `/dev` that are always there.
const ALWAYS: [&[u8]; 13] = [
    b"null", b"zero", b"full", b"random", b"urandom", b"tty", b"ptmx", b"pts", b"shm", b"fd", b"stdin",
    b"stdout", b"stderr",
];

/// The devices that are allowed and exist, sorted.
pub(super) fn allowed(
    policy: &Policy,
    values: &BTreeMap<Variable, Vec<u8>>,
    atlas: &mut Atlas<'_>,
    claims: &Claims<'_>,
    findings: &mut Findings,
) -> Vec<AbsolutePath> {
    let mut found = BTreeSet::new();
    for (number, items, except) in opening(policy) {
        let Some(report) = findings.reports.get_mut(number) else { continue };
        report.by(Mechanism::Mount);
        let except = grounds(except, values, atlas, Polarity::Closing);
        for item in items {
            let devices = devices(item, values, atlas);
            if devices.is_empty() {
                report.note("no device of this machine below `/dev`: {}", &item.text);
            }
            found.extend(devices.into_iter().filter(|device| !covers(&except, device)));
        }
    }
    let near = Near::new(claims, atlas);
    let always: Vec<AbsolutePath> = always().collect();
    for closing in closing(policy) {
        let Some(report) = findings.reports.get_mut(closing.number) else { continue };
        if closing.actions.contains(&PathAction::Device) {
            report.by(Mechanism::Absence);
            let except = grounds(closing.except, values, atlas, Polarity::Opening);
            for item in closing.items {
                let ground = grounds(std::slice::from_ref(item), values, atlas, Polarity::Closing);
                let closes = |device: &AbsolutePath| covers(&ground, device) && !covers(&except, device);
                close(&mut found, &always, &closing, &item.text, report, closes);
            }
        } else {
            for text in near.texts(closing.number) {
                let closes = |device: &AbsolutePath| near.closes(closing.number, text, device);
                close(&mut found, &always, &closing, text, report, closes);
            }
        }
    }
    found.retain(|device| !is_always(device));
    found.into_iter().collect()
}

/// Takes away the devices that an item closes, and reports what that means.
fn close(
    found: &mut BTreeSet<AbsolutePath>,
    always: &[AbsolutePath],
    closing: &Closing<'_>,
    text: &str,
    report: &mut Report,
    closes: impl Fn(&AbsolutePath) -> bool,
) {
    if always.iter().any(&closes) {
        report.weaker(Cause::Mechanism, "always there: {}", text);
    }
    let before = found.len();
    found.retain(|device| !closes(device));
    if found.len() < before && !closes_all(closing.actions) {
        report.stricter(HIDDEN, text);
    }
}

const HIDDEN: &str = "a device is there or not there, so it is closed altogether: {}";

/// Whether nothing is left of a device of which these actions are closed.
fn closes_all(actions: &[PathAction]) -> bool {
    actions.contains(&PathAction::Device)
        || [PathAction::Read, PathAction::Write].iter().all(|action| actions.contains(action))
}

type Paths<'a> = &'a [Item<PathPattern>];

/// The rules that open devices.
fn opening(policy: &Policy) -> impl Iterator<Item = (usize, Paths<'_>, Paths<'_>)> {
    policy.rules.iter().enumerate().filter(|(_, rule)| is_for_linux(rule)).filter_map(|(number, rule)| {
        match &rule.subject {
            Subject::Path { actions, items, except }
                if rule.effect == Effect::Allow && actions.contains(&PathAction::Device) =>
            {
                Some((number, items.as_slice(), except.as_slice()))
            }
            _ => None,
        }
    })
}

/// A rule that closes devices.
struct Closing<'a> {
    number: usize,
    actions: &'a [PathAction],
    items: Paths<'a>,
    except: Paths<'a>,
}

/// The rules that close devices: also those that close reading, as `exec` does, or writing.
fn closing(policy: &Policy) -> impl Iterator<Item = Closing<'_>> {
    policy.rules.iter().enumerate().filter(|(_, rule)| is_for_linux(rule)).filter_map(|(number, rule)| {
        match &rule.subject {
            Subject::Path { actions, items, except }
                if rule.effect != Effect::Allow
                    && actions.iter().any(|action| *action != PathAction::Socket) =>
            {
                Some(Closing { number, actions, items, except })
            }
            _ => None,
        }
    })
}

/// What rules on files say about `/dev`, about something beneath, or about `/`: few of all claims, by rule. (Rules on
/// devices claim nothing in the file tree.)
#[derive(Default)]
struct Near<'a> {
    claims: BTreeMap<usize, Vec<(AbsolutePath, &'a Claim<'a>)>>,
    wild: BTreeMap<usize, Vec<&'a Wild<'a>>>,
}

impl<'a> Near<'a> {
    fn new(claims: &'a Claims<'_>, atlas: &Atlas<'_>) -> Near<'a> {
        let is_near = |path: &AbsolutePath| {
            let mut names = path.components();
            matches!(names.next(), None | Some(b"dev"))
        };
        let mut near = Near::default();
        // A directory that is watched for names says nothing about those that are there.
        for claim in claims.list.iter().filter(|claim| claim.kind != ClaimKind::Watch) {
            let path = atlas.path(claim.at);
            if is_near(path) {
                near.claims.entry(claim.party).or_default().push((path.clone(), claim));
            }
        }
        for wild in claims.wild.iter().filter(|wild| is_near(&wild.ground.prefix)) {
            near.wild.entry(wild.party).or_default().push(wild);
        }
        near
    }

    /// The items of a rule that are near, in their order.
    fn texts(&self, rule: usize) -> Vec<&'a str> {
        let claims = self.claims.get(&rule).into_iter().flatten();
        let wild = self.wild.get(&rule).into_iter().flatten();
        let mut texts: Vec<&str> = claims
            .filter(|(_, claim)| claim.side == Side::Item)
            .map(|(_, claim)| claim.text.as_ref())
            .chain(wild.filter(|wild| wild.side == Side::Item).map(|wild| wild.text))
            .collect();
        texts.dedup();
        texts
    }

    /// Whether an item of a rule covers a device and nothing behind `except` does.
    fn closes(&self, rule: usize, text: &str, device: &AbsolutePath) -> bool {
        let covered = |is: &dyn Fn(Side, &str) -> bool| {
            let claims = self.claims.get(&rule).into_iter().flatten();
            let wild = self.wild.get(&rule).into_iter().flatten();
            claims.filter(|(_, claim)| is(claim.side, &claim.text)).any(|(path, _)| device.is_within(path))
                || wild
                    .filter(|wild| is(wild.side, wild.text))
                    .any(|wild| wild.ground.matches_at_or_above(device))
        };
        covered(&|side, item| side == Side::Item && item == text) && !covered(&|side, _| side == Side::Except)
    }
}

/// Patterns with their values put in and the links of their literal beginning followed; what closes is about
/// the beginning as it is written, too.
fn grounds(
    items: &[Item<PathPattern>],
    values: &BTreeMap<Variable, Vec<u8>>,
    atlas: &mut Atlas<'_>,
    polarity: Polarity,
) -> Vec<Grounded> {
    let mut grounds = Vec::new();
    for ground in items.iter().filter_map(|item| item.pattern.ground(values).ok()) {
        if let Ok(walk) = atlas.walk(&ground.prefix)
            && *atlas.path(walk.at) != ground.prefix
        {
            grounds.push(Grounded { prefix: atlas.path(walk.at).clone(), rest: ground.rest.clone() });
            if polarity == Polarity::Opening {
                continue;
            }
        }
        grounds.push(ground);
    }
    grounds
}

/// The devices at a path, in a directory of `/dev`, or among those that a wildcard matches there.
fn devices(
    item: &Item<PathPattern>,
    values: &BTreeMap<Variable, Vec<u8>>,
    atlas: &mut Atlas<'_>,
) -> Vec<AbsolutePath> {
    let Ok(ground) = item.pattern.ground(values) else { return Vec::new() };
    let Ok(walk) = atlas.walk(&ground.prefix) else { return Vec::new() };
    let object = atlas.path(walk.at).clone();
    if !is_below_dev(&object) && object.as_bytes() != b"/dev" {
        return Vec::new();
    }
    let resolved = Grounded { prefix: object, rest: ground.rest };
    let candidates = match (atlas.entry(walk.at), resolved.rest.as_slice()) {
        (Entry::Device, _) => vec![walk.at],
        (Entry::Directory, [] | [Component::Glob(_)])
            if is_below_dev(&resolved.prefix) || !resolved.rest.is_empty() =>
        {
            let names = atlas.names(walk.at);
            names.iter().map(|name| atlas.child(walk.at, name)).collect()
        }
        _ => Vec::new(),
    };
    let mut is_device =
        |at: &PlaceId| resolved.matches_at_or_above(atlas.path(*at)) && *atlas.entry(*at) == Entry::Device;
    let devices: Vec<PlaceId> = candidates.into_iter().filter(|at| is_device(at)).collect();
    devices.into_iter().map(|at| atlas.path(at).clone()).collect()
}

fn covers(grounds: &[Grounded], path: &AbsolutePath) -> bool {
    grounds.iter().any(|ground| ground.matches_at_or_above(path))
}

fn always() -> impl Iterator<Item = AbsolutePath> {
    ALWAYS.iter().filter_map(|name| AbsolutePath::new(&[b"/dev/", *name].concat()))
}

fn is_below_dev(path: &AbsolutePath) -> bool {
    let mut names = path.components();
    names.next() == Some(b"dev") && names.next().is_some()
}

fn is_always(path: &AbsolutePath) -> bool {
    path.components().nth(1).is_some_and(|name| ALWAYS.contains(&name))
}
