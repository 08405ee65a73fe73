//! The world of this machine: what a question about a run is asked in.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::host::Host;
use fence_compiler::policy::Policy;
use fence_compiler::world::World;

/// How many links a path may lead through, as in the kernel.
const MOST_LINKS: usize = 40;

/// The world of a machine, with the links on the way to each of these paths.
#[must_use]
pub fn world(host: &Host, policy: &Policy, paths: &[&AbsolutePath]) -> World {
    let mut links = BTreeMap::new();
    for path in paths {
        links.extend(links_on(path));
    }
    World {
        platform: host.platform,
        variables: fence_compiler::lower::values::of(host, policy),
        links,
        hosts: BTreeMap::new(),
        protected: host.protected.clone(),
    }
}

/// The links that a path leads through, the last component's too: where each stands (its parent resolved), and
/// what it holds.
fn links_on(path: &AbsolutePath) -> BTreeMap<AbsolutePath, Vec<u8>> {
    let mut links = BTreeMap::new();
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
        let Ok(target) = std::fs::read_link(Path::new(OsStr::from_bytes(next.as_bytes()))) else {
            at = next;
            continue;
        };
        followed += 1;
        if followed > MOST_LINKS {
            break;
        }
        let target = target.as_os_str().as_bytes().to_vec();
        if target.first() == Some(&b'/') {
            at = AbsolutePath::root();
        }
        open.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
        links.insert(next, target);
    }
    links
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use fence_compiler::bytes::AbsolutePath;

    use super::links_on;

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
            links_on(&absolute(name))
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
