//! What is told of patterns: no tree is searched for what they match.

use std::collections::{BTreeMap, BTreeSet};

use super::{Judge, LATER, UNSEEN, cause};
use crate::bytes::AbsolutePath;
use crate::fidelity::Mechanism;
use crate::host::Entry;
use crate::lower::claims::{ClaimKind, Wild};
use crate::lower::coverage::{Actions, Side};
use crate::lower::mounts::{Footing, Surface, is_visible};
use crate::lower::region::{Region, RegionKind};
use crate::lower::target::Holder;
use crate::plan::Writing;
use crate::policy::{Effect, PathAction};

impl<'a> Judge<'a> {
    /// Tells of each pattern what the trees that it reaches leave open.
    pub(super) fn wild(&mut self) {
        let mut excepted: BTreeMap<usize, BTreeSet<&AbsolutePath>> = BTreeMap::new();
        for claim in &self.claims.list {
            if claim.side == Side::Except && matches!(claim.kind, ClaimKind::Object | ClaimKind::Match) {
                excepted.entry(claim.party).or_default().insert(self.chart.path(claim.at));
            }
        }
        let trees = self.trees();
        for wild in &self.claims.wild {
            let Some(rule) = self.policy.rules.get(wild.party) else { continue };
            let Some(actions) = self.actions(wild.party) else { continue };
            if rule.effect != Effect::Allow && wild.side == Side::Except {
                self.wild_except(wild, actions);
                continue;
            }
            let left_out = excepted.get(&wild.party).filter(|_| wild.side == Side::Item);
            for action in actions.in_tree() {
                // Where Landlock holds alone, nothing can be connected to.
                if action == PathAction::Socket && self.tree.holder == Holder::Landlock {
                    if let Some(report) = self.findings.report(wild.party) {
                        report.by(Mechanism::Landlock);
                    }
                    continue;
                }
                let found = wild_reach(&trees, wild, action, left_out);
                let cause = cause(actions);
                for sentence in &found {
                    self.weaker(wild.party, cause, sentence, wild.text, action);
                }
                if found.is_empty()
                    && let Some(report) = self.findings.report(wild.party)
                {
                    report.by(Mechanism::Absence);
                }
            }
        }
    }

    /// What an `except` with wildcards leaves open is closed where its rule covers something.
    fn wild_except(&mut self, wild: &Wild<'_>, actions: Actions) {
        let covers = self.regions.iter().any(|region| {
            region.closing.binary_search(&wild.party).is_ok()
                && (region.at.is_within(&wild.ground.prefix) || wild.ground.prefix.is_within(region.at))
                && actions.in_tree().any(|action| region.reached.has(action))
        });
        if covers && let Some(report) = self.findings.report(wild.party) {
            report.stricter(
                "excepts nothing where the rule covers what exists, because no tree is searched: {}",
                wild.text,
            );
        }
    }

    /// The regions in which files are there, and what is said of a pattern that could match some of them.
    fn trees(&self) -> Vec<(&'a Region<'a>, &'static [&'static str])> {
        let mut trees = Vec::new();
        for (region, surface) in self.regions.iter().zip(&self.tree.surfaces) {
            let sentences: &[&str] = match surface {
                Surface::Tree { writing: Writing::Allowed, .. }
                | Surface::Tree { footing: Footing::Loose, .. } => &[LATER, UNSEEN],
                Surface::Private(_) => &[LATER],
                Surface::Tree { .. } => &[UNSEEN],
                _ => continue,
            };
            if is_visible(region) || region.kind == RegionKind::Tmp {
                trees.push((region, sentences));
            }
        }
        trees
    }
}

/// What is said of a pattern where an action is effective at places that it could match.
fn wild_reach(
    trees: &[(&Region<'_>, &'static [&'static str])],
    wild: &Wild<'_>,
    action: PathAction,
    left_out: Option<&BTreeSet<&AbsolutePath>>,
) -> BTreeSet<&'static str> {
    let ground = &wild.ground;
    let mut found = BTreeSet::new();
    for (region, sentences) in trees {
        let socket = action == PathAction::Socket && *region.entry == Entry::Directory;
        if !(region.rights.has(action) || socket) || sentences.iter().all(|sentence| found.contains(sentence))
        {
            continue;
        }
        let near = region.at.is_within(&ground.prefix) || ground.prefix.is_within(region.at);
        let could = || *region.entry == Entry::Directory || ground.matches_at_or_above(region.at);
        let out = || {
            left_out.is_some_and(|out| {
                out.iter().any(|except| region.at.is_within(except) || ground.prefix.is_within(except))
            })
        };
        if near && could() && !out() {
            found.extend(sentences.iter().copied());
        }
    }
    found
}
