//! What the policy says of what a call reaches.

use std::collections::{BTreeMap, BTreeSet};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::paths::{Beneath, PathRules};
use fence_compiler::policy::PathAction;
use fence_compiler::question::{Decision, Reason, Verdict};

use super::ground::Tree;
use crate::launch::{Arbiter, Links, Ways};
use crate::linux::sys;
use crate::preflight::Refusal;

/// The rules about files, with the links on the way to what they name as they are now.
pub(super) struct Rules {
    paths: PathRules,
    ways: Ways,
    /// The links that were there before anybody inside could make any.
    opening: Links,
    /// The links on the way to what rules close.
    closing: Links,
    /// Every place on the way to what rules close: a link that appears there matters.
    places: BTreeSet<AbsolutePath>,
    /// When links were last looked at.
    looked: u64,
}

/// How long links that somebody outside may change are taken for what they were, in nanoseconds.
const FRESH: u64 = 1_000_000_000;

/// How many links one way may lead through, as in the kernel.
const MOST_LINKS: usize = 40;

/// What is said of a link that is to be changed.
const LINK: &str = "a link that a rule leads through stays what it is while the command runs";

impl Rules {
    /// Prepares the rules for a file tree that nobody has changed yet.
    pub(super) fn new(arbiter: &dyn Arbiter, tree: &Tree) -> Rules {
        let ways = arbiter.ways();
        let (opening, _) = follow(tree, &ways.opening);
        let (closing, places) = follow(tree, &ways.closing);
        let paths = arbiter.paths(&opening, &closing);
        Rules { paths, ways, opening, closing, places, looked: sys::now() }
    }

    /// Looks at the links again if that was long ago.
    pub(super) fn refresh(&mut self, arbiter: &dyn Arbiter, tree: &Tree) {
        if sys::now().saturating_sub(self.looked) > FRESH {
            self.look(arbiter, tree);
        }
    }

    /// Looks at the links again if what was changed may have changed one.
    pub(super) fn changed(&mut self, path: &AbsolutePath, arbiter: &dyn Arbiter, tree: &Tree) {
        if self.places.contains(path) {
            self.look(arbiter, tree);
        }
    }

    fn look(&mut self, arbiter: &dyn Arbiter, tree: &Tree) {
        let (closing, places) = follow(tree, &self.ways.closing);
        if closing != self.closing {
            self.paths = arbiter.paths(&self.opening, &closing);
            self.closing = closing;
        }
        self.places = places;
        self.looked = sys::now();
    }

    /// Whether something may be done with what lies at a path.
    pub(super) fn ask(
        &self,
        action: PathAction,
        path: &AbsolutePath,
        spellings: &[AbsolutePath],
    ) -> Result<(), Refusal> {
        // What has another name yet may be told with a word behind its old one.
        let decision = match path.as_bytes().strip_suffix(b" (deleted)").and_then(AbsolutePath::new) {
            Some(plain) => self.paths.decide(action, path, &[spellings, &[plain]].concat()),
            None => self.paths.decide(action, path, spellings),
        };
        match decision.verdict {
            Verdict::Allowed => Ok(()),
            Verdict::Denied => Err(refusal(action, path, decision)),
        }
    }

    /// Whether a name may be given to something else: a link that rules lead through may not.
    pub(super) fn ask_name(&self, path: &AbsolutePath, spellings: &[AbsolutePath]) -> Result<(), Refusal> {
        self.ask(PathAction::Write, path, spellings)?;
        if self.closing.contains_key(path) || self.opening.contains_key(path) {
            let reason = Reason::AlwaysClosed(LINK.to_owned());
            let decision = Decision { verdict: Verdict::Denied, reason, assumptions: Vec::new() };
            return Err(refusal(PathAction::Write, path, decision));
        }
        Ok(())
    }

    /// Whether something may have another name: both may be written, and the new one opens nothing.
    pub(super) fn ask_both(&self, from: &AbsolutePath, to: &AbsolutePath) -> Result<(), Refusal> {
        self.ask(PathAction::Write, from, &[])?;
        self.ask(PathAction::Write, to, &[])?;
        match (self.ask(PathAction::Read, from, &[]), self.ask(PathAction::Read, to, &[])) {
            (Err(refusal), Ok(())) => Err(refusal),
            _ => Ok(()),
        }
    }

    /// What rules say of something beneath a directory alone.
    pub(super) fn beneath(&self, directory: &AbsolutePath) -> Beneath {
        self.paths.beneath(directory)
    }
}

fn refusal(action: PathAction, path: &AbsolutePath, decision: Decision) -> Refusal {
    let action = if action == PathAction::Write { "write" } else { "read" };
    Refusal { action, item: path.to_string(), decision }
}

/// The links on the way to places, the last component's too, and every place on these ways.
fn follow(tree: &Tree, ways: &[AbsolutePath]) -> (Links, BTreeSet<AbsolutePath>) {
    let mut links = BTreeMap::new();
    let mut places = BTreeSet::new();
    for way in ways {
        let mut rest: Vec<Vec<u8>> = way.components().rev().map(<[u8]>::to_vec).collect();
        let mut at = AbsolutePath::root();
        let mut followed = 0;
        while let Some(name) = rest.pop() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    at = at.parent().unwrap_or(at);
                    continue;
                }
                _ => {}
            }
            let next = at.join(&name);
            let target = match links.get(&next) {
                Some(target) => Some(Vec::clone(target)),
                None if places.contains(&next) => None,
                None => tree.link(&next),
            };
            places.insert(next.clone());
            let Some(target) = target else {
                at = next;
                continue;
            };
            links.insert(next, target.clone());
            followed += 1;
            if followed > MOST_LINKS {
                break;
            }
            if target.first() == Some(&b'/') {
                at = AbsolutePath::root();
            }
            rest.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
        }
    }
    (links, places)
}
