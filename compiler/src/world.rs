//! The world that a question is asked in.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use crate::bytes::AbsolutePath;
use crate::fold;
use crate::pattern::{DomainName, Variable};
use crate::question::Platform;

/// A platform, values of variables, links, addresses of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// The platform.
    pub platform: Platform,
    /// The values that variables have; a variable that is not here has none.
    pub variables: BTreeMap<Variable, Vec<u8>>,
    /// The links: where each stands (its parent resolved), and the text it holds.
    pub links: BTreeMap<AbsolutePath, Vec<u8>>,
    /// The addresses of names; a name that is not here has one public address that no rule mentions.
    pub hosts: BTreeMap<DomainName, Vec<IpAddr>>,
    /// Files that are never writable from inside: the texts the policy was read from, fence's own state.
    pub protected: Vec<AbsolutePath>,
}

/// How many links one path may lead over, as in Linux's `path_resolution(7)`.
const MOST_LINKS: usize = 40;

/// Whether a link stands where a name in another spelling leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// Names are compared byte by byte.
    Exact,
    /// Names are compared after normalisation and case folding.
    Folded,
}

/// A path, resolved a component at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The path as it was spelled, then as it stood at each link met.
    pub spellings: Vec<AbsolutePath>,
    /// What it leads to.
    pub object: AbsolutePath,
}

/// A path leads over more than 40 links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many links")]
pub struct TooManyLinks;

impl World {
    /// The world of a test that gives nothing: `$home` is `/home/user`, `$cwd` and `$git_root` are `$home/work`,
    /// `$tmp` is `/tmp`; no environment variable has a value, there are no links, and every name has one public
    /// address that no rule mentions.
    #[must_use]
    pub fn test_default(platform: Platform) -> World {
        let variables = [
            (Variable::Home, "/home/user"),
            (Variable::Cwd, "/home/user/work"),
            (Variable::GitRoot, "/home/user/work"),
            (Variable::Tmp, "/tmp"),
            (Variable::User, "user"),
        ];
        World {
            platform,
            variables: variables.into_iter().map(|(name, value)| (name, value.as_bytes().to_vec())).collect(),
            links: BTreeMap::new(),
            hosts: BTreeMap::new(),
            protected: Vec::new(),
        }
    }

    /// Resolves a path, links included, whether or not anything exists there.
    ///
    /// # Errors
    /// The path leads over more than 40 links.
    pub fn resolve(&self, path: &AbsolutePath, spelling: Spelling) -> Result<Resolution, TooManyLinks> {
        self.resolve_from(&AbsolutePath::root(), path.as_bytes(), spelling)
    }

    /// Resolves a path that may be relative to a directory and may hold `..`.
    ///
    /// # Errors
    /// The path leads over more than 40 links.
    pub fn resolve_from(
        &self,
        directory: &AbsolutePath,
        path: &[u8],
        spelling: Spelling,
    ) -> Result<Resolution, TooManyLinks> {
        let mut object = AbsolutePath::root();
        let mut rest: VecDeque<&[u8]> = names(path).collect();
        if !path.starts_with(b"/") {
            directory.components().rev().for_each(|name| rest.push_front(name));
        }
        let mut spellings = vec![with_names(&object, &rest)];
        // Without links the path leads to what it spells.
        if self.links.is_empty()
            && !rest.contains(&b"..".as_slice())
            && let [written] = spellings.as_slice()
        {
            return Ok(Resolution { object: written.clone(), spellings });
        }
        while let Some(name) = rest.pop_front() {
            if name == b".." {
                object = object.parent().unwrap_or(object);
                continue;
            }
            let next = object.join(name);
            let Some(text) = self.link_at(&next, spelling) else {
                object = next;
                continue;
            };
            spellings.push(with_names(&next, &rest));
            if spellings.len() > MOST_LINKS + 1 {
                return Err(TooManyLinks);
            }
            if text.starts_with(b"/") {
                object = AbsolutePath::root();
            }
            let target: Vec<&[u8]> = names(text).collect();
            target.into_iter().rev().for_each(|name| rest.push_front(name));
        }
        Ok(Resolution { spellings, object })
    }

    fn link_at(&self, path: &AbsolutePath, spelling: Spelling) -> Option<&[u8]> {
        if let Some(text) = self.links.get(path) {
            return Some(text);
        }
        if spelling == Spelling::Exact {
            return None;
        }
        let folded = fold::composed(path.as_bytes());
        let mut found = self.links.iter().filter(|(link, _)| fold::composed(link.as_bytes()) == folded);
        found.next().map(|(_, text)| text.as_slice())
    }
}

/// The names of a path or a link's text, `..` among them.
fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}

/// The path with the names that are still to be resolved, up to the first `..`.
fn with_names(path: &AbsolutePath, rest: &VecDeque<&[u8]>) -> AbsolutePath {
    path.join_all(rest.iter().copied().take_while(|name| *name != b".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> AbsolutePath {
        AbsolutePath::new(text.as_bytes()).unwrap()
    }

    fn world(links: &[(&str, &str)]) -> World {
        let mut world = World::test_default(Platform::Linux);
        world.links = links.iter().map(|(from, to)| (path(from), to.as_bytes().to_vec())).collect();
        world
    }

    #[test]
    fn links_are_followed_a_component_at_a_time() {
        for (links, asked, object, met) in [
            (&[("/a", "/b")][..], "/a/x", "/b/x", 1),
            (&[("/a/l", "../b/./c/")], "/a/l/x", "/b/c/x", 1),
            (&[("/a", "b"), ("/b", "c")], "/a", "/c", 2),
            (&[("/d/l", "x/../../e")], "/d/l/f", "/e/f", 1),
            (&[("/a", "/b/l"), ("/b/l", "/c")], "/a/x", "/c/x", 2),
            (&[("/a", "..")], "/a/x", "/x", 1),
            (&[], "/a", "/a", 0),
        ] {
            let found = world(links).resolve(&path(asked), Spelling::Exact).unwrap();
            assert_eq!((found.object, found.spellings.len() - 1), (path(object), met), "{asked}");
        }
    }

    #[test]
    fn a_loop_ends() {
        let looped = world(&[("/a", "/b"), ("/b", "/a")]);
        assert_eq!(looped.resolve(&path("/a"), Spelling::Exact), Err(TooManyLinks));
        assert!(looped.resolve(&path("/c"), Spelling::Exact).is_ok());
        let growing = world(&[("/a", "/a/b/c/d")]);
        assert_eq!(growing.resolve(&path("/a"), Spelling::Exact), Err(TooManyLinks));
    }

    #[test]
    fn a_link_in_another_spelling_is_met_when_folded() {
        let world = world(&[("/Users/x/Notes", "/etc")]);
        let asked = path("/users/x/NOTES/a");
        assert_eq!(world.resolve(&asked, Spelling::Exact).unwrap().object, asked);
        assert_eq!(world.resolve(&asked, Spelling::Folded).unwrap().object, path("/etc/a"));
    }
}
