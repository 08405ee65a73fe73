//! The devices that rules allow, beside those that are always there.

use std::collections::{BTreeMap, BTreeSet};

use super::claims::{Findings, is_for_linux};
use super::report::Cause;
use super::tree;
use crate::bytes::AbsolutePath;
use crate::fidelity::Mechanism;
use crate::host::{Entry, Files};
use crate::pattern::{Component, Grounded, PathPattern, Variable};
use crate::policy::{Effect, Item, PathAction, Policy, Rule, Subject};

/// The names in `/dev` that are always there.
const ALWAYS: [&[u8]; 13] = [
    b"null", b"zero", b"full", b"random", b"urandom", b"tty", b"ptmx", b"pts", b"shm", b"fd", b"stdin",
    b"stdout", b"stderr",
];

/// The devices that are allowed and exist, sorted.
pub(super) fn allowed(
    policy: &Policy,
    values: &BTreeMap<Variable, Vec<u8>>,
    files: &mut dyn Files,
    findings: &mut Findings,
) -> Vec<AbsolutePath> {
    let mut found = BTreeSet::new();
    for (number, rule, items, except) in rules(policy) {
        let Some(report) = findings.reports.get_mut(number) else { continue };
        if rule.effect != Effect::Allow {
            report.by(Mechanism::Absence);
            for item in items.iter().filter(|item| closes_always(item, values)) {
                report.weaker(Cause::Mechanism, "always there: {}", &item.text);
            }
            continue;
        }
        report.by(Mechanism::Mount);
        for item in items {
            let devices = devices(item, values, files);
            if devices.is_empty() {
                report.note("no device of this machine below `/dev`: {}", &item.text);
            }
            found.extend(devices.into_iter().filter(|device| !covers(except, values, device)));
        }
    }
    for (_, _, items, except) in rules(policy).filter(|(_, rule, ..)| rule.effect != Effect::Allow) {
        found.retain(|device| !covers(items, values, device) || covers(except, values, device));
    }
    found.retain(|device| !is_always(device));
    found.into_iter().collect()
}

type DeviceRule<'a> = (usize, &'a Rule, &'a [Item<PathPattern>], &'a [Item<PathPattern>]);

fn rules(policy: &Policy) -> impl Iterator<Item = DeviceRule<'_>> {
    policy.rules.iter().enumerate().filter(|(_, rule)| is_for_linux(rule)).filter_map(|(number, rule)| {
        match &rule.subject {
            Subject::Path { actions, items, except } if actions.contains(&PathAction::Device) => {
                Some((number, rule, items.as_slice(), except.as_slice()))
            }
            _ => None,
        }
    })
}

/// The devices at a path, in a directory of `/dev`, or among those that a wildcard matches there.
fn devices(
    item: &Item<PathPattern>,
    values: &BTreeMap<Variable, Vec<u8>>,
    files: &mut dyn Files,
) -> Vec<AbsolutePath> {
    let Ok(ground) = item.pattern.ground(values) else { return Vec::new() };
    let Ok(walk) = tree::walk(files, &ground.prefix) else { return Vec::new() };
    if !is_below_dev(&walk.object) && walk.object.as_bytes() != b"/dev" {
        return Vec::new();
    }
    let resolved = Grounded { prefix: walk.object.clone(), rest: ground.rest };
    let candidates = match (&walk.entry, resolved.rest.as_slice()) {
        (Entry::Special, _) => vec![walk.object],
        (Entry::Directory, [] | [Component::Glob(_)])
            if is_below_dev(&walk.object) || !resolved.rest.is_empty() =>
        {
            files.names(&walk.object).iter().map(|name| walk.object.join(name)).collect()
        }
        _ => Vec::new(),
    };
    candidates
        .into_iter()
        .filter(|path| resolved.matches_at_or_above(path) && files.entry(path) == Entry::Special)
        .collect()
}

fn covers(items: &[Item<PathPattern>], values: &BTreeMap<Variable, Vec<u8>>, path: &AbsolutePath) -> bool {
    items.iter().any(|item| item.pattern.ground(values).is_ok_and(|ground| ground.matches_at_or_above(path)))
}

fn closes_always(item: &Item<PathPattern>, values: &BTreeMap<Variable, Vec<u8>>) -> bool {
    let Ok(ground) = item.pattern.ground(values) else { return false };
    ALWAYS
        .iter()
        .filter_map(|name| AbsolutePath::new(&[b"/dev/", *name].concat()))
        .any(|path| ground.matches_at_or_above(&path))
}

fn is_below_dev(path: &AbsolutePath) -> bool {
    let mut names = path.components();
    names.next() == Some(b"dev") && names.next().is_some()
}

fn is_always(path: &AbsolutePath) -> bool {
    path.components().nth(1).is_some_and(|name| ALWAYS.contains(&name))
}
