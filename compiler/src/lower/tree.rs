//! The machine's file tree, its links followed a component at a time.

use std::borrow::Cow;
use std::collections::VecDeque;

use crate::bytes::AbsolutePath;
use crate::host::{Entry, Files, LinkText};

/// As many links as the kernel follows on one path.
const MOST_LINKS: usize = 40;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Walk {
    /// Where it ends; no component of it is a link.
    pub object: AbsolutePath,
    /// What lies there.
    pub entry: Entry,
    /// The links met on the way: where each stands, and what it holds.
    pub links: Vec<(AbsolutePath, LinkText)>,
}

/// Why a path leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A link that may not be followed here.
    Link(AbsolutePath),
    /// Too many links.
    Loop(AbsolutePath),
}

/// Whether links are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    /// Yes.
    Links,
    /// No: the first one ends the walk.
    Nothing,
}

/// Walks from the root along a path.
pub(super) fn walk(files: &mut dyn Files, path: &AbsolutePath) -> Result<Walk, Stop> {
    walk_on(files, Walk::root(), path.components(), Follow::Links)
}

impl Walk {
    /// Stands at `/`.
    pub(super) fn root() -> Walk {
        Walk { object: AbsolutePath::root(), entry: Entry::Directory, links: Vec::new() }
    }
}

/// Walks on from where a walk ended.
pub(super) fn walk_on<'a>(
    files: &mut dyn Files,
    mut walk: Walk,
    mut names: impl Iterator<Item = &'a [u8]>,
    follow: Follow,
) -> Result<Walk, Stop> {
    // What links say comes before the rest of the names.
    let mut ahead: VecDeque<Vec<u8>> = VecDeque::new();
    while let Some(name) = ahead.pop_front().map(Cow::Owned).or_else(|| names.next().map(Cow::Borrowed)) {
        match name.as_ref() {
            b"" | b"." => continue,
            b".." => {
                walk.object = walk.object.parent().unwrap_or_else(AbsolutePath::root);
                walk.entry = files.entry(&walk.object);
                continue;
            }
            _ => {}
        }
        let next = walk.object.join(&name);
        let entry = if walk.entry == Entry::Directory { files.entry(&next) } else { Entry::Missing };
        let Entry::Link(text) = entry else {
            walk.object = next;
            walk.entry = entry;
            continue;
        };
        if follow == Follow::Nothing {
            return Err(Stop::Link(next));
        }
        if walk.links.len() >= MOST_LINKS {
            return Err(Stop::Loop(next));
        }
        let bytes = text.bytes();
        if bytes.first() == Some(&b'/') {
            walk.object = AbsolutePath::root();
        }
        for part in bytes.split(|byte| *byte == b'/').rev() {
            ahead.push_front(part.to_vec());
        }
        walk.entry = Entry::Directory;
        walk.links.push((next, text));
    }
    Ok(walk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::FileFacts;

    fn path(text: &str) -> AbsolutePath {
        AbsolutePath::new(text.as_bytes()).unwrap()
    }

    fn tree() -> FileFacts {
        let link = |to: &str| Entry::Link(LinkText::new(to.as_bytes()));
        FileFacts::default()
            .with(path("/usr/bin/sh"), Entry::File)
            .with(path("/bin"), link("usr/bin"))
            .with(path("/a/up"), link("../bin/./sh"))
            .with(path("/a/gone"), link("/nowhere/x"))
            .with(path("/loop"), link("loop"))
    }

    #[test]
    fn links_are_followed_a_component_at_a_time() {
        for (from, to, entry, links) in [
            ("/usr/bin/sh", "/usr/bin/sh", Entry::File, 0),
            ("/bin/sh", "/usr/bin/sh", Entry::File, 1),
            ("/a/up", "/usr/bin/sh", Entry::File, 2),
            ("/a/gone/y", "/nowhere/x/y", Entry::Missing, 1),
            ("/usr/bin/sh/below", "/usr/bin/sh/below", Entry::Missing, 0),
            ("/", "/", Entry::Directory, 0),
        ] {
            let found = walk(&mut tree(), &path(from)).unwrap();
            assert_eq!((found.object, found.entry, found.links.len()), (path(to), entry, links), "{from}");
        }
    }

    #[test]
    fn a_walk_ends_at_a_loop_and_where_no_link_is_followed() {
        assert_eq!(walk(&mut tree(), &path("/loop/x")), Err(Stop::Loop(path("/loop"))));
        let names = [&b"a"[..], b"up"].into_iter();
        let stop = walk_on(&mut tree(), Walk::root(), names, Follow::Nothing);
        assert_eq!(stop, Err(Stop::Link(path("/a/up"))));
    }
}
