//! Takes out of a layer what the host has, too.

use std::io;
use std::os::fd::OwnedFd;

use fence_compiler::bytes::AbsolutePath;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::change::{same, source};
use super::folder::Place;
use super::removal::remove_tree;
use super::tree::{At, NodeKind, is_whiteout, names, open_below, open_top};
use crate::linux::is_opaque_directory as is_opaque;

/// Takes out of a place what is the same on the host, so that what the host does later is seen again.
///
/// # Errors
/// Something cannot be looked at or removed; what is seen is the same.
pub(super) fn prune(place: &Place) -> io::Result<()> {
    let (path, name) = source(place);
    let Some(folder) = open_top(path)? else { return Ok(()) };
    let here = At { directory: &folder, name };
    match place {
        Place::Layer { over, .. } => {
            if let Some(host) = open_top(over)? {
                prune_directory(&path.join(name), &here.enter()?.directory, &host)?;
            }
        }
        Place::Copy { of, .. } => {
            let parent = of.parent().map(|parent| open_top(&parent)).transpose()?.flatten();
            let Some(parent) = parent else { return Ok(()) };
            let there = At { directory: &parent, name: of.name().unwrap_or_default() };
            let (copy, host) = (here.look()?.map(|(node, _)| node), there.look()?.map(|(node, _)| node));
            if same(here, copy.as_ref(), there, host.as_ref())? {
                remove_tree(path)?;
            }
        }
    }
    Ok(())
}

/// Whether nothing is left of a directory that the host has not.
fn prune_directory(path: &AbsolutePath, upper: &OwnedFd, host: &OwnedFd) -> io::Result<bool> {
    if is_opaque(upper) {
        // It covers the host's: it goes as a whole, or not at all.
        return is_same_tree(upper, host);
    }
    let mut nothing = true;
    for name in names(upper)? {
        let (here, there) = (At { directory: upper, name: &name }, At { directory: host, name: &name });
        let Some((node, found)) = here.look()? else { continue };
        let other = there.look()?.map(|(node, _)| node);
        if is_whiteout(&found) {
            if other.is_none() {
                unlinkat(upper, name.as_slice(), UnlinkatFlags::NoRemoveDir)?;
            } else {
                nothing = false;
            }
        } else if node.kind != NodeKind::Directory {
            if same(here, Some(&node), there, other.as_ref())? {
                unlinkat(upper, name.as_slice(), UnlinkatFlags::NoRemoveDir)?;
            } else {
                nothing = false;
            }
        } else if other.as_ref().is_some_and(|other| other.kind == NodeKind::Directory)
            && let Some(host) = open_below(host, &name)?
        {
            let within = path.join(&name);
            let entered = here.enter()?;
            let empty = prune_directory(&within, &entered.directory, &host)?;
            drop(entered);
            if empty && other.as_ref() == Some(&node) {
                remove_tree(&within)?;
            } else {
                nothing = false;
            }
        } else {
            // One that the host does not let be entered: an empty one in the layer adds nothing to it.
            let entered = here.enter()?;
            let adds = is_opaque(&entered.directory) || !names(&entered.directory)?.is_empty();
            drop(entered);
            if adds || other.as_ref() != Some(&node) {
                nothing = false;
            } else {
                remove_tree(&path.join(&name))?;
            }
        }
    }
    Ok(nothing)
}

/// Whether two trees hold the same.
fn is_same_tree(upper: &OwnedFd, host: &OwnedFd) -> io::Result<bool> {
    let held = names(upper)?;
    let mut visible = Vec::new();
    for name in &held {
        let here = At { directory: upper, name };
        let Some((node, found)) = here.look()? else { continue };
        if is_whiteout(&found) {
            continue;
        }
        let there = At { directory: host, name };
        let other = there.look()?.map(|(node, _)| node);
        if !same(here, Some(&node), there, other.as_ref())? {
            return Ok(false);
        }
        if node.kind == NodeKind::Directory {
            let Some(host) = open_below(host, name)? else { return Ok(false) };
            if !is_same_tree(&here.enter()?.directory, &host)? {
                return Ok(false);
            }
        }
        visible.push(name.clone());
    }
    Ok(names(host)? == visible)
}
