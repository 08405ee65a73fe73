//! The world of this machine: what a question about a run is asked in.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::host::Host;
use fence_compiler::pattern::{PathPattern, ProgramPattern, Root};
use fence_compiler::policy::{Policy, Subject};
use fence_compiler::world::World;

/// How many links a path may lead through, as in the kernel.
const MOST_LINKS: usize = 40;

/// Of which items of a policy the way is followed, beside that of the paths asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    /// Of the programs that rules on commands name by path.
    Programs,
    /// Of these, and of every path.
    Everything,
}

/// The world of a machine, with the links on the way to each of these paths, and to what the policy names.
#[must_use]
pub fn world(host: &Host, policy: &Policy, paths: &[&AbsolutePath], ways: Ways) -> World {
    let variables = fence_compiler::lower::values::of(host, policy);
    let mut links = Links::default();
    paths.iter().for_each(|path| links.follow(path));
    for pattern in named(policy, ways) {
        if pattern.root != Root::Anywhere
            && let Ok(ground) = pattern.ground(&variables)
        {
            links.follow(&ground.prefix);
        }
    }
    World {
        platform: host.platform,
        variables,
        links: links.found,
        hosts: BTreeMap::new(),
        protected: host.protected.clone(),
    }
}

fn named(policy: &Policy, ways: Ways) -> Vec<&PathPattern> {
    let mut found = Vec::new();
    for rule in &policy.rules {
        match &rule.subject {
            Subject::Path { items, except, .. } if ways == Ways::Everything => {
                found.extend(items.iter().chain(except).map(|item| &item.pattern));
            }
            Subject::Run { items, except } => {
                found.extend(items.iter().chain(except).filter_map(|item| match &item.pattern.program {
                    ProgramPattern::Path(path) => Some(path),
                    ProgramPattern::AnyCommand | ProgramPattern::Name(_) => None,
                }));
            }
            _ => {}
        }
    }
    found
}

/// The links found so far: where each stands (its parent resolved), and what it holds.
#[derive(Default)]
struct Links {
    found: BTreeMap<AbsolutePath, Vec<u8>>,
    /// What is no link.
    others: BTreeSet<AbsolutePath>,
}

impl Links {
    fn at(&mut self, path: &AbsolutePath) -> Option<Vec<u8>> {
        if let Some(target) = self.found.get(path) {
            return Some(target.clone());
        }
        if self.others.contains(path) {
            return None;
        }
        match std::fs::read_link(Path::new(OsStr::from_bytes(path.as_bytes()))) {
            Ok(target) => {
                let target = target.as_os_str().as_bytes().to_vec();
                self.found.insert(path.clone(), target.clone());
                Some(target)
            }
            Err(_) => {
                self.others.insert(path.clone());
                None
            }
        }
    }

    /// Finds those that a path leads through, the last component's too.
    fn follow(&mut self, path: &AbsolutePath) {
        let mut open: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
        let mut at = AbsolutePath::root();
        let mut followed = 0;
        while let Some(name) = open.pop() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    at = at.parent().unwrap_or(at);
                    continue;
                }
                _ => {}
            }
            let next = at.join(&name);
            let Some(target) = self.at(&next) else {
                at = next;
                continue;
            };
            followed += 1;
            if followed > MOST_LINKS {
                break;
            }
            if target.first() == Some(&b'/') {
                at = AbsolutePath::root();
            }
            open.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use fence_compiler::bytes::AbsolutePath;

    use super::Links;

    #[test]
    fn every_link_on_the_way_is_met() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        fs::create_dir(top.join("real")).unwrap();
        symlink("real", top.join("one")).unwrap();
        symlink(top.join("one"), top.join("two")).unwrap();
        symlink("../two/file", top.join("real/turn")).unwrap();
        symlink("loop", top.join("loop")).unwrap();
        let absolute = |name: &str| AbsolutePath::new(top.join(name).as_os_str().as_bytes()).unwrap();
        let met = |name: &str| {
            let mut links = Links::default();
            links.follow(&absolute(name));
            links
                .found
                .into_iter()
                .filter(|(at, _)| at.is_within(&absolute("")))
                .map(|(at, _)| at.to_string().replace(&format!("{}/", top.display()), ""))
                .collect::<Vec<_>>()
        };
        assert_eq!(met("two/x"), ["one", "two"]);
        assert_eq!(met("one/turn"), ["one", "real/turn", "two"]);
        assert_eq!(met("real/x"), Vec::<String>::new());
        assert_eq!(met("loop"), ["loop"]);
    }
}
