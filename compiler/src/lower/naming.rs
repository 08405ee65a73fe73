//! The files by which programs resolve names: fence's own, wherever anything may be connected to. A name that is not
//! allowed is then refused by itself, and told.

use super::atlas::{Atlas, Chart, PlaceId};
use super::mounts::{FileTree, Surface};
use super::region::Region;
use crate::bytes::AbsolutePath;
use crate::host::Entry;
use crate::plan::{LandlockRule, Mount, NamesFile, NetworkPlan};

/// A file that the C library looks for.
pub(super) struct Sought {
    file: NamesFile,
    /// Where it looks.
    place: PlaceId,
    /// What is there on the host, through links.
    leads: Option<PlaceId>,
}

/// Looks at the host's files, where fence's own are needed.
pub(super) fn seek(network: &NetworkPlan, atlas: &mut Atlas<'_>) -> Vec<Sought> {
    if *network == NetworkPlan::Isolated {
        return Vec::new();
    }
    let known = [
        (NamesFile::Hosts, "hosts"),
        (NamesFile::Resolver, "resolv.conf"),
        (NamesFile::Order, "nsswitch.conf"),
    ];
    known
        .into_iter()
        .map(|(file, name)| {
            let path = etc().join(name.as_bytes());
            let leads = atlas.walk(&path).ok().map(|walk| walk.at);
            let place = atlas.place(&path);
            leads.into_iter().chain([place]).for_each(|at| {
                atlas.entry(at);
            });
            Sought { file, place, leads }
        })
        .collect()
}

/// Puts them where the C library looks, over the host's.
///
/// What a rule closes stays closed: the mask that covers it stands.
pub(super) fn place(sought: Vec<Sought>, chart: &Chart, regions: &[Region<'_>], tree: &mut FileTree) {
    for Sought { file, place, leads } in sought {
        let is_shown = |at: &AbsolutePath| matches!(surface(at, regions, tree), Surface::Tree { .. });
        let at = match leads {
            // The name in the directory leads there inside too.
            Some(leads) if is_shown(&etc()) || is_shown(chart.path(leads)) => leads,
            _ => place,
        };
        let path = chart.path(at).clone();
        let can_be_there = match surface(&path, regions, tree) {
            Surface::Tree { .. } => *chart.seen(at) == Entry::File,
            Surface::Bare | Surface::Private(_) => true,
            Surface::Passage(_) | Surface::Mask(_) | Surface::Fixed => false,
        };
        if !can_be_there {
            continue;
        }
        tree.mounts.push(Mount::Names { at: path.clone(), file });
        if !tree.landlock.iter().any(|rule| rule.path == path) {
            let (write, execute, device) = (false, false, false);
            tree.landlock.push(LandlockRule { path, read: true, write, execute, device });
        }
    }
    tree.landlock.sort_by(|one, other| one.path.cmp(&other.path));
}

fn etc() -> AbsolutePath {
    AbsolutePath::root().join(b"etc")
}

/// What stands at a place inside.
fn surface(at: &AbsolutePath, regions: &[Region<'_>], tree: &FileTree) -> Surface {
    let around = regions.iter().zip(&tree.surfaces).filter(|(region, _)| at.is_within(region.at));
    around
        .max_by_key(|(region, _)| region.at.components().count())
        .map_or(Surface::Bare, |(_, surface)| *surface)
}
