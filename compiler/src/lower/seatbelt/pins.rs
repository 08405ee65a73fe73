//! Directories on the way to what is closed: a profile knows paths, so nobody may give such a directory another
//! name, or put another one in its place.

use std::collections::BTreeSet;

use super::super::report::{Cause, Report};
use super::places::{Place, exists, is_beneath};
use super::tag::RunId;
use crate::bytes::AbsolutePath;
use crate::host::Host;
use crate::lower::atlas::Atlas;
use crate::pattern::{Component, Grounded};
use crate::policy::Acceptance;

/// What stays where it is.
#[derive(Debug, Default)]
pub struct Pins {
    /// Neither moved, removed nor made.
    pub held: BTreeSet<AbsolutePath>,
    /// Made, but neither moved nor removed.
    pub kept: BTreeSet<AbsolutePath>,
    /// The same as `held`, for every name that matches.
    pub patterns: BTreeSet<Grounded>,
}

impl Pins {
    /// Holds every directory above a place that something writable holds.
    pub fn hold(&mut self, place: &Place, writable: &[&Place]) {
        self.held.extend(above(place, writable));
    }
}

/// A place that is closed, and what is known of it.
pub struct About<'a> {
    /// The place.
    pub place: &'a Place,
    /// The item.
    pub text: &'a str,
    /// What its rule accepts.
    pub acceptance: Option<Acceptance>,
    /// What is writable.
    pub writable: &'a [&'a Place],
}

const MADE: &str = "a directory that is made elsewhere can be moved to where the one above it would lie: {}";
const UNMADE: &str = "the directories above it that do not exist cannot be made: {}";
const CARRIED: &str = "a directory with a match in it can be moved to where the pattern does not reach: {}";
const RENAMED: &str = "a directory on the way to what matches can be made or moved under another name: {}";
const HELD: &str = "no directory on the way to what matches can be made, moved or removed: {}";

/// Pins what lies above a place, and reports what that leaves open or closes beyond.
pub fn pin(
    about: &About<'_>,
    host: &Host,
    run: &RunId,
    atlas: &mut Atlas<'_>,
    report: &mut Report,
    pins: &mut Pins,
) {
    let best_effort =
        matches!(about.acceptance, Some(Acceptance::BestEffort | Acceptance::BestEffortCheaply));
    let cheaply = matches!(about.acceptance, Some(Acceptance::Cheaply | Acceptance::BestEffortCheaply));
    for path in above(about.place, about.writable) {
        let is_there = std::iter::once(&host.cwd)
            .chain(&host.git_root)
            .chain(&host.git_common)
            .chain([&host.person.home, &run.tmp()])
            .any(|known| known.is_within(&path))
            || exists(atlas, &path);
        if is_there {
            pins.held.insert(path);
        } else if best_effort {
            report.weaker(Cause::Mechanism, MADE, about.text);
            pins.kept.insert(path);
        } else {
            report.stricter(UNMADE, about.text);
            pins.held.insert(path);
        }
    }
    let Grounded { prefix, rest } = &about.place.0;
    let depth = rest.iter().position(|component| *component == Component::AnyDepth);
    if let Some(depth) = depth {
        let beyond =
            about.writable.iter().any(|open| !is_beneath(&open.0.prefix, prefix) && !is_dev(&open.0.prefix));
        if depth > 0 || (beyond && !prefix.is_root()) {
            report.weaker(Cause::Pattern, CARRIED, about.text);
        }
    }
    for length in 1..rest.len() {
        let Some((way, _)) = rest.split_at_checked(length) else { continue };
        if way.last() == Some(&Component::AnyDepth) {
            continue;
        }
        if cheaply {
            report.weaker(Cause::Pattern, RENAMED, about.text);
        } else {
            report.stricter(HELD, about.text);
            pins.patterns.insert(Grounded { prefix: prefix.clone(), rest: way.to_vec() });
        }
    }
}

/// The directories above a place that something writable holds, the nearest first.
fn above(place: &Place, writable: &[&Place]) -> Vec<AbsolutePath> {
    let Grounded { prefix, rest } = &place.0;
    let own = (!rest.is_empty() && !prefix.is_root()).then(|| prefix.clone());
    let held =
        |path: &AbsolutePath| !path.is_root() && writable.iter().any(|open| is_beneath(path, &open.0.prefix));
    own.into_iter().chain(prefix.ancestors()).filter(held).collect()
}

fn is_dev(path: &AbsolutePath) -> bool {
    path.as_bytes() == b"/dev"
}
