//! The places at which what is effective changes, each with what is effective there.

use std::collections::{BTreeMap, BTreeSet};

use super::claims::{ClaimKind, Claims};
use super::coverage::{ACTIONS, Coverage, Rights, Undo};
use super::values::TMP;
use crate::bytes::AbsolutePath;
use crate::host::{Entry, Files, LinkText};
use crate::policy::PathAction;

/// A place, and what is effective from there down to the next places.
#[derive(Clone, Debug)]
pub(super) struct Region {
    /// The place.
    pub at: AbsolutePath,
    /// What lies there on the host.
    pub entry: Entry,
    /// What makes it.
    pub kind: RegionKind,
    /// What is effective.
    pub rights: Rights,
    /// What some rule allows, closed or not.
    pub open: Rights,
    /// What some rule allows here or anywhere beneath.
    pub reached: Rights,
    /// The region that holds this one, by number.
    pub above: Option<usize>,
    /// All parties that cover it.
    pub parties: BTreeSet<usize>,
    /// Those that close something.
    pub closing: BTreeSet<usize>,
    /// Whether a rule closes sockets here.
    pub socket: SocketAccess,
    /// The claims that begin here, by number.
    pub claims: Vec<usize>,
    /// Whether it has to be pinned where it lies in a writable tree: a closed path lies beneath.
    pub pin: bool,
}

/// Whether a rule closes sockets at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocketAccess {
    /// One does.
    Closed,
    /// None does.
    NotClosed,
}

/// What makes a place special.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RegionKind {
    /// Rules alone.
    Plain,
    /// The directory the command starts in.
    Cwd,
    /// A link of the host.
    Link(LinkText),
    /// `/proc`
    Proc,
    /// `/dev`
    Dev,
    /// `/tmp`
    Tmp,
}

/// Finds the regions, in an order in which every one stands behind what holds it.
pub(super) fn survey(claims: &Claims, cwd: &AbsolutePath, files: &mut dyn Files) -> Vec<Region> {
    let mut places = Places::default();
    for (fixed, kind) in [
        (&b"/"[..], RegionKind::Plain),
        (b"/proc", RegionKind::Proc),
        (b"/dev", RegionKind::Dev),
        (b"/sys", RegionKind::Plain),
        (TMP, RegionKind::Tmp),
    ] {
        if let Some(path) = AbsolutePath::new(fixed) {
            places.add(&path).kind = Some(kind);
        }
    }
    for (at, link) in &claims.links {
        places.add(at).kind.get_or_insert_with(|| RegionKind::Link(link.text.clone()));
    }
    places.add(cwd).kind.get_or_insert(RegionKind::Cwd);
    for (number, claim) in claims.list.iter().enumerate() {
        places.add(&claim.at).claims.push(number);
    }
    let mut regions = walk(claims, &places, files);
    for pinned in pins(&regions) {
        places.add(&pinned).pin = true;
    }
    if places.0.len() != regions.len() || places.0.values().any(|place| place.pin) {
        regions = walk(claims, &places, files);
    }
    reach(&mut regions);
    regions
}

/// By path with `/` as the lowest byte: what lies beneath a path follows it at once.
#[derive(Default)]
struct Places(BTreeMap<Vec<u8>, Place>);

struct Place {
    at: AbsolutePath,
    kind: Option<RegionKind>,
    claims: Vec<usize>,
    pin: bool,
}

impl Places {
    fn add(&mut self, path: &AbsolutePath) -> &mut Place {
        let mut key = Vec::with_capacity(path.as_bytes().len());
        for name in path.components() {
            key.push(0);
            key.extend_from_slice(name);
        }
        self.0.entry(key).or_insert_with(|| Place {
            at: path.clone(),
            kind: None,
            claims: Vec::new(),
            pin: false,
        })
    }
}

fn walk(claims: &Claims, places: &Places, files: &mut dyn Files) -> Vec<Region> {
    let mut coverage = Coverage::new(&claims.parties);
    let mut regions: Vec<Region> = Vec::with_capacity(places.0.len());
    let mut stack: Vec<(usize, AbsolutePath, Undo)> = Vec::new();
    for place in places.0.values() {
        while let Some((_, _, undo)) = stack.pop_if(|(_, above, _)| !place.at.is_within(above)) {
            coverage.leave(undo);
        }
        let kind = place.kind.clone().unwrap_or(RegionKind::Plain);
        let begun = place.claims.iter().filter_map(|number| claims.list.get(*number));
        let mut undo = coverage.enter(
            begun
                .filter(|claim| matches!(claim.kind, ClaimKind::Object | ClaimKind::Match))
                .map(|claim| (claim.party, claim.side)),
        );
        let mut rights = coverage.rights();
        if is_kernel(&place.at) {
            rights.write = false;
        }
        regions.push(Region {
            at: place.at.clone(),
            entry: files.entry(&place.at),
            rights,
            open: Rights {
                read: coverage.is_open(PathAction::Read),
                write: coverage.is_open(PathAction::Write),
                exec: coverage.is_open(PathAction::Exec),
                socket: coverage.is_open(PathAction::Socket),
            },
            reached: Rights::default(),
            above: stack.last().map(|(number, _, _)| *number),
            parties: coverage.parties(),
            closing: coverage.closing_parties(),
            socket: if coverage.is_closed(PathAction::Socket) {
                SocketAccess::Closed
            } else {
                SocketAccess::NotClosed
            },
            claims: place.claims.clone(),
            pin: place.pin,
            kind: kind.clone(),
        });
        // What opens `/tmp` is about the directory of this run, not about the host's.
        if kind == RegionKind::Tmp {
            coverage.forget_openings(&mut undo);
        }
        stack.push((regions.len() - 1, place.at.clone(), undo));
    }
    regions
}

/// Below `/proc` and `/sys` nothing is ever written.
fn is_kernel(path: &AbsolutePath) -> bool {
    matches!(path.components().next(), Some(b"proc" | b"sys"))
}

/// The existing directories that could be moved aside together with something closed that lies beneath.
fn pins(regions: &[Region]) -> BTreeSet<AbsolutePath> {
    let mut pins = BTreeSet::new();
    for region in regions {
        let Some(above) = region.above.and_then(|number| regions.get(number)) else { continue };
        let narrows = ACTIONS.iter().any(|action| above.rights.has(*action) && !region.rights.has(*action));
        if !narrows || region.claims.is_empty() {
            continue;
        }
        let mut holder = Some(above);
        for directory in region.at.ancestors() {
            while let Some(wider) =
                holder.filter(|holder| !directory.is_within(&holder.at) || directory == holder.at)
            {
                holder = wider.above.and_then(|number| regions.get(number));
            }
            // It can be moved where the directory above it can be written.
            match holder {
                Some(holder) if holder.rights.write => pins.insert(directory),
                _ => break,
            };
        }
    }
    pins
}

fn reach(regions: &mut [Region]) {
    for number in (0..regions.len()).rev() {
        let Some((open, beneath, above)) = regions.get(number).map(|r| (r.open, r.reached, r.above)) else {
            continue;
        };
        let all = union(open, beneath);
        if let Some(region) = regions.get_mut(number) {
            region.reached = all;
        }
        if let Some(above) = above.and_then(|above| regions.get_mut(above)) {
            above.reached = union(above.reached, all);
        }
    }
}

/// What either of two has.
pub(super) fn union(one: Rights, other: Rights) -> Rights {
    Rights {
        read: one.read || other.read,
        write: one.write || other.write,
        exec: one.exec || other.exec,
        socket: one.socket || other.socket,
    }
}
