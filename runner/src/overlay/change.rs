//! What a layer holds that the host has not.

use std::io;
use std::os::fd::OwnedFd;

use fence_compiler::bytes::AbsolutePath;

use super::base::{Base, Reach, Sight, whole};
use super::folder::Place;
use super::tree::{At, Node, NodeKind, is_whiteout, joined, names, open_below, open_top};
use super::{Error, content};

/// One difference between an overlay and the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The directory that the layer is over.
    pub over: AbsolutePath,
    /// Where on the host.
    pub path: AbsolutePath,
    /// What the host has there.
    pub before: Option<Node>,
    /// What the overlay has there.
    pub after: Option<Node>,
    /// What the host did to it since it was written, if something.
    pub conflict: Option<Conflict>,
    /// Where it lies below the directory that the layer is over.
    pub(super) below: Vec<u8>,
}

/// What the host did since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// Something is there now.
    Appeared,
    /// What was there is gone.
    Vanished,
    /// It is not what it was.
    Changed,
    /// It was changed while the run went on, perhaps before it was written.
    Meanwhile,
}

impl Conflict {
    /// In words.
    #[must_use]
    pub fn told(self) -> &'static str {
        match self {
            Conflict::Appeared => "the host has made it since",
            Conflict::Vanished => "the host has removed it since",
            Conflict::Changed => "the host has changed it since",
            Conflict::Meanwhile => "the host changed it while the run went on",
        }
    }
}

/// How deep directories within one another are looked at.
pub(super) const DEEPEST: usize = 128;

/// The differences of one place, directories before what is in them.
///
/// # Errors
/// Something cannot be read.
pub(super) fn changes(place: &Place, base: &Base) -> Result<Vec<Change>, Error> {
    let over = place.over();
    let mut walk = Walk { over, base, found: Vec::new() };
    let doing = Error::system("compare", over);
    let done = match place {
        Place::Layer { kept, .. } => walk.layer(kept),
        Place::Copy { kept, .. } => walk.copy(kept),
    };
    done.map_err(doing)?;
    Ok(walk.found)
}

/// The folder of a place and the name in it of what is compared.
pub(super) fn source(place: &Place) -> (&AbsolutePath, &'static [u8]) {
    match place {
        Place::Layer { kept, .. } => (kept, b"upper"),
        Place::Copy { kept, .. } => (kept, b"copy"),
    }
}

struct Walk<'a> {
    over: &'a AbsolutePath,
    base: &'a Base,
    found: Vec<Change>,
}

impl Walk<'_> {
    fn layer(&mut self, kept: &AbsolutePath) -> io::Result<()> {
        let Some(folder) = open_top(kept)? else { return Ok(()) };
        let upper = At { directory: &folder, name: b"upper" };
        let Some((node, _)) = upper.look()? else { return Ok(()) };
        let entered = upper.enter()?;
        let host = open_top(self.over)?;
        let there = match self.over.parent().map(|parent| open_top(&parent)).transpose()?.flatten() {
            Some(parent) => At { directory: &parent, name: self.over.name().unwrap_or_default() }.look()?,
            None => None,
        };
        self.node(b"", there.map(|(node, _)| node), Some(node))?;
        self.directory(b"", &entered.directory, host.as_ref(), Sight::Through, 0)
    }

    fn copy(&mut self, kept: &AbsolutePath) -> io::Result<()> {
        let parent = self.over.parent().unwrap_or_else(AbsolutePath::root);
        let (Some(folder), host) = (open_top(kept)?, open_top(&parent)?) else { return Ok(()) };
        let copy = At { directory: &folder, name: b"copy" };
        let name = self.over.name().unwrap_or_default();
        let there = match &host {
            Some(host) => At { directory: host, name }.look()?,
            None => None,
        };
        let after = copy.look()?.map(|(node, _)| node);
        let before = there.map(|(node, _)| node);
        if let Some(host) = &host
            && same(copy, after.as_ref(), At { directory: host, name }, before.as_ref())?
        {
            return Ok(());
        }
        self.node(b"", before, after)
    }

    /// Compares a directory of a layer with the host's at its place.
    fn directory(
        &mut self,
        below: &[u8],
        upper: &OwnedFd,
        host: Option<&OwnedFd>,
        sight: Sight,
        depth: usize,
    ) -> io::Result<()> {
        let sight = sight.within(upper);
        if depth > DEEPEST {
            return Err(io::Error::other(format!("directories lie more than {DEEPEST} within one another")));
        }
        let held = names(upper)?;
        if sight == Sight::Covered
            && let Some(host) = host
        {
            for name in names(host)? {
                if held.binary_search(&name).is_err() {
                    let before = At { directory: host, name: &name }.look()?.map(|(node, _)| node);
                    self.node(&joined(below, &name), before, None)?;
                }
            }
        }
        for name in held {
            let path = joined(below, &name);
            let here = At { directory: upper, name: &name };
            let Some((node, found)) = here.look()? else { continue };
            let there = match host {
                Some(directory) => At { directory, name: &name }.look()?.map(|(node, _)| node),
                None => None,
            };
            if is_whiteout(&found) {
                if there.is_some() {
                    self.node(&path, there, None)?;
                }
                continue;
            }
            let is_directory = node.kind == NodeKind::Directory;
            let merged =
                is_directory && there.as_ref().is_some_and(|there| there.kind == NodeKind::Directory);
            let equal = match host {
                Some(directory) => same(here, Some(&node), At { directory, name: &name }, there.as_ref())?,
                None => false,
            };
            if !equal {
                self.node(&path, there, Some(node))?;
            }
            if is_directory {
                let entered = here.enter()?;
                let host = match host {
                    Some(host) if merged => open_below(host, &name)?,
                    _ => None,
                };
                self.directory(&path, &entered.directory, host.as_ref(), sight, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Notes a difference, if it is one.
    fn node(&mut self, below: &[u8], before: Option<Node>, after: Option<Node>) -> io::Result<()> {
        let is_directory =
            |node: &Option<Node>| node.as_ref().is_some_and(|node| node.kind == NodeKind::Directory);
        if is_directory(&before) && before == after {
            return Ok(());
        }
        let reach = if is_directory(&after) { Reach::Alone } else { Reach::Everything };
        // The directory of a layer itself is never written down.
        let known = !below.is_empty() || !is_directory(&after);
        let conflict = if known { self.base.conflict(self.over, below, reach)? } else { None };
        self.found.push(Change {
            over: self.over.clone(),
            path: whole(self.over, below),
            before,
            after,
            conflict,
            below: below.to_vec(),
        });
        Ok(())
    }
}

/// Whether two places hold the same: content and mode, whatever the times.
pub(super) fn same(
    here: At<'_>,
    one: Option<&Node>,
    there: At<'_>,
    other: Option<&Node>,
) -> io::Result<bool> {
    let (Some(one), Some(other)) = (one, other) else { return Ok(one.is_none() && other.is_none()) };
    match (&one.kind, &other.kind) {
        (NodeKind::File(length), NodeKind::File(size)) => {
            Ok(length == size && one.mode == other.mode && same_content(here, there)?)
        }
        (NodeKind::Link(text), NodeKind::Link(other)) => Ok(text == other),
        (one_kind, other_kind) => Ok(one_kind == other_kind && one.mode == other.mode),
    }
}

/// Whether two files hold the same. One of the host's that cannot be read counts as another.
pub(super) fn same_content(here: At<'_>, there: At<'_>) -> io::Result<bool> {
    let mut one = here.open()?;
    let Ok(mut other) = there.open_as_is() else { return Ok(false) };
    content::same(&mut one, &mut other)
}
