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
pub(in crate::linux::mediator) struct Rules {
    paths: PathRules,
    /// What is judged of files by what closes it.
    judged: &'static [PathAction],
    ways: Ways,
    /// The links that were there before anybody inside could make any.
    opening: Links,
    /// The links on the way to what rules close.
    closing: Links,
    /// The other places on the way there.
    way: Way,
    /// When links were last looked at.
    looked: u64,
}

/// How long links that somebody outside may change are taken for what they were, in nanoseconds.
const FRESH: u64 = 1_000_000_000;

/// How many links one way may lead through, as in the kernel.
const MOST_LINKS: usize = 40;

/// What is said of a link that is to be changed.
const LINK: &str = "a link that a rule leads through stays what it is while the command runs";

/// What is said of a link where none may be.
const TURNED: &str =
    "a link that a rule leads through goes on from here with `..`, which would lead elsewhere from a link";

/// What is said of a link that could bring something to names that a pattern closes.
const PATTERN: &str =
    "a link here could lead to what a pattern closes beneath this name and not where it leads";

impl Rules {
    /// Prepares the rules for a file tree that nobody has changed yet.
    pub(in crate::linux::mediator) fn new(
        arbiter: &dyn Arbiter,
        tree: &Tree,
        judged: &'static [PathAction],
    ) -> Rules {
        let ways = arbiter.ways();
        let (opening, _) = follow(tree, &ways.opening);
        let (closing, way) = follow(tree, &ways.closing);
        let paths = arbiter.paths(&opening, &closing);
        Rules { paths, judged, ways, opening, closing, way, looked: sys::now() }
    }

    /// Looks at the links again if that was long ago.
    pub(in crate::linux::mediator) fn refresh(&mut self, arbiter: &dyn Arbiter, tree: &Tree) {
        if sys::now().saturating_sub(self.looked) > FRESH {
            self.look(arbiter, tree);
        }
    }

    /// Looks at the links again if what was changed may have changed one.
    pub(super) fn changed(&mut self, path: &AbsolutePath, arbiter: &dyn Arbiter, tree: &Tree) {
        if self.way.places.contains(path) {
            self.look(arbiter, tree);
        }
    }

    fn look(&mut self, arbiter: &dyn Arbiter, tree: &Tree) {
        let (closing, way) = follow(tree, &self.ways.closing);
        if closing != self.closing {
            self.paths = arbiter.paths(&self.opening, &closing);
            self.closing = closing;
        }
        self.way = way;
        self.looked = sys::now();
    }

    /// What the rules say of what lies at a path, and was reached by these.
    pub(in crate::linux::mediator) fn decide(
        &self,
        action: PathAction,
        path: &AbsolutePath,
        spellings: &[AbsolutePath],
    ) -> Decision {
        self.paths.decide(action, path, spellings)
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
            Some(plain) => self.decide(action, path, &[spellings, &[plain]].concat()),
            None => self.decide(action, path, spellings),
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
            return Err(always(path, LINK));
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

    /// Whether what may be read under one name and keeps that may get another: not one that is closed, because what somebody
    /// outside writes there could be read under the first.
    pub(super) fn ask_tied(&self, from: &AbsolutePath, to: &AbsolutePath) -> Result<(), Refusal> {
        match (self.ask(PathAction::Read, from, &[]), self.ask(PathAction::Read, to, &[])) {
            (Ok(()), Err(refusal)) => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Whether a socket of the host's may have another name: the new one opens nothing.
    pub(super) fn ask_socket(&self, from: &AbsolutePath, to: &AbsolutePath) -> Result<(), Refusal> {
        match (self.ask(PathAction::Socket, from, &[]), self.ask(PathAction::Socket, to, &[])) {
            (Err(refusal), Ok(())) => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Whether a directory may have another name: one that holds a link which rules lead through may not, because they would
    /// be followed without it from then on.
    pub(super) fn ask_directory(&self, path: &AbsolutePath) -> Result<(), Refusal> {
        let holds = |links: &Links| links.keys().any(|link| link.is_within(path));
        if holds(&self.closing) || holds(&self.opening) {
            return Err(always(path, LINK));
        }
        Ok(())
    }

    /// The places beneath a directory that must be no links, because a rule goes on with `..` behind them.
    pub(super) fn turned_beneath(&self, directory: &AbsolutePath) -> impl Iterator<Item = &AbsolutePath> {
        self.way.turned.iter().filter(move |place| *place != directory && place.is_within(directory))
    }

    /// Whether a link may stand at a path, as far as patterns and ways tell.
    pub(super) fn ask_link(&self, link: &AbsolutePath, target: &[u8]) -> Result<(), Refusal> {
        if self.way.turned.contains(link) {
            return Err(always(link, TURNED));
        }
        let there = led_to(link, target);
        if self.paths.leads_astray(link, there.as_ref(), self.judged) {
            return Err(always(link, PATTERN));
        }
        Ok(())
    }

    /// What rules say of something beneath a directory alone.
    pub(super) fn beneath(&self, directory: &AbsolutePath) -> Beneath {
        self.paths.beneath(directory)
    }
}

fn always(path: &AbsolutePath, why: &str) -> Refusal {
    let reason = Reason::AlwaysClosed(why.to_owned());
    refusal(PathAction::Write, path, Decision { verdict: Verdict::Denied, reason, assumptions: Vec::new() })
}

/// Where a link leads by its text, if no link has to be followed to tell that.
fn led_to(link: &AbsolutePath, target: &[u8]) -> Option<AbsolutePath> {
    let mut at = if target.first() == Some(&b'/') { AbsolutePath::root() } else { link.parent()? };
    let mut named = false;
    for name in target.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            // Behind a name that may be a link, this is not the directory around it.
            b".." if named => return None,
            b".." => at = at.parent().unwrap_or(at),
            name => {
                at = at.join(name);
                named = true;
            }
        }
    }
    Some(at)
}

fn refusal(action: PathAction, path: &AbsolutePath, decision: Decision) -> Refusal {
    let action = match action {
        PathAction::Write => "write",
        PathAction::Socket => "socket",
        _ => "read",
    };
    Refusal { action, item: path.to_string(), decision }
}

/// The places on the way to what rules name.
#[derive(Default)]
struct Way {
    /// Each of them: a link that appears there matters.
    places: BTreeSet<AbsolutePath>,
    /// Those behind which the way goes on with `..`: from a link there it would go on elsewhere.
    turned: BTreeSet<AbsolutePath>,
}

/// The links on the way to places, the last component's too, and the places on these ways.
fn follow(tree: &Tree, ways: &[AbsolutePath]) -> (Links, Way) {
    let mut links = BTreeMap::new();
    let Way { mut places, mut turned } = Way::default();
    for way in ways {
        let mut rest: Vec<Vec<u8>> = way.components().rev().map(<[u8]>::to_vec).collect();
        let mut at = AbsolutePath::root();
        let mut followed = 0;
        while let Some(name) = rest.pop() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    turned.insert(at.clone());
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
    (links, Way { places, turned })
}

#[cfg(test)]
mod tests {
    use fence_compiler::question::Platform;
    use fence_compiler::world::World;

    use super::super::calls::Opens;
    use super::*;
    use crate::proxy::testing::policy;

    /// Whether a link brings something to a name that a rule closes by a pattern: in `/home/user/work`, beside which `/tmp`
    /// can be written.
    #[test]
    fn links_are_told_by_whether_a_pattern_goes_on_where_they_lead() {
        let world = World::test_default(Platform::Linux);
        let path = |text: &str| AbsolutePath::new(format!("/home/user/work/{text}").as_bytes()).unwrap();
        for (rule, link, target, astray) in [
            ("**/kept", "a", "b", false),
            ("**/kept", "a", "/tmp/b", false),
            ("**/kept", "a", "x/../b", false),
            ("**/conf/kept", "conf", "b", true),
            ("**/conf/kept", "a/conf", "../b/conf", false),
            ("**/conf/kept", "conf", "x/../conf", true),
            ("**/conf/kept", "conf", "/usr/conf", false),
            ("**/conf/kept", "conf", "/usr/share", false),
            ("**/conf/kept", "conf", "/", true),
            ("**/conf/**/kept", "a/conf/b", "c", false),
            ("**/conf/**/kept", "conf/b", "../c", true),
            ("$cwd/**/kept", "a", "b/c", false),
            ("$cwd/**/kept", "a", "/tmp/b", true),
            ("$cwd/**/kept", "a", "/usr/bin", false),
            ("$cwd/*/kept", "a", "b", false),
            ("$cwd/*/kept", "a", "b/c", true),
            ("$cwd/*/kept", "a/b", "..", false),
            ("$cwd/a/*/kept", "a", "b", true),
            ("$cwd/a/kept", "a", "b", false),
        ] {
            let there = led_to(&path(link), target.as_bytes());
            for (closed, judged, astray) in [
                ("write", Opens::Writing.actions(), astray),
                ("read", Opens::All.actions(), astray),
                ("read", Opens::Writing.actions(), false),
            ] {
                let rules = format!("allow read write $cwd, $tmp\nallow read /usr\ndeny {closed} {rule}");
                let rules = PathRules::new(&policy(&rules), &world, world.clone());
                let led = rules.leads_astray(&path(link), there.as_ref(), judged);
                assert_eq!(led, astray, "{closed} {rule} {link} {target}");
            }
        }
    }
}
