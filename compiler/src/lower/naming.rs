//! The files by which programs resolve names: fence's own, wherever anything may be connected to. A name that is not
//! allowed is then refused by itself, and told.

use super::mounts::{FileTree, Surface};
use super::region::Region;
use super::tree;
use crate::bytes::AbsolutePath;
use crate::host::{Entry, Files};
use crate::plan::{LandlockRule, Mount, NamesFile, NetworkPlan};

/// Puts them where the C library looks, over the host's.
///
/// What a rule closes stays closed: the mask that covers it stands.
pub(super) fn place(network: &NetworkPlan, regions: &[Region], tree: &mut FileTree, files: &mut dyn Files) {
    if *network == NetworkPlan::Isolated {
        return;
    }
    let etc = AbsolutePath::root().join(b"etc");
    let known = [
        (NamesFile::Hosts, "hosts"),
        (NamesFile::Resolver, "resolv.conf"),
        (NamesFile::Order, "nsswitch.conf"),
    ];
    for (file, name) in known {
        let path = etc.join(name.as_bytes());
        let shown = matches!(surface(&etc, regions, tree), Surface::Tree { .. });
        let walked = tree::walk(files, &path).ok();
        let at = match walked {
            // The name in the directory leads there inside too.
            Some(walk) if shown => walk.object,
            Some(walk) if matches!(surface(&walk.object, regions, tree), Surface::Tree { .. }) => walk.object,
            _ => path,
        };
        let can_be_there = match surface(&at, regions, tree) {
            Surface::Tree { .. } => files.entry(&at) == Entry::File,
            Surface::Bare | Surface::Private(_) => true,
            Surface::Passage(_) | Surface::Mask(_) | Surface::Fixed => false,
        };
        if !can_be_there {
            continue;
        }
        tree.mounts.push(Mount::Names { at: at.clone(), file });
        if !tree.landlock.iter().any(|rule| rule.path == at) {
            let (write, execute, device) = (false, false, false);
            tree.landlock.push(LandlockRule { path: at, read: true, write, execute, device });
        }
    }
    tree.landlock.sort_by(|one, other| one.path.cmp(&other.path));
}

/// What stands at a place inside.
fn surface(at: &AbsolutePath, regions: &[Region], tree: &FileTree) -> Surface {
    let around = regions.iter().zip(&tree.surfaces).filter(|(region, _)| at.is_within(&region.at));
    around
        .max_by_key(|(region, _)| region.at.components().count())
        .map_or(Surface::Bare, |(_, surface)| *surface)
}
