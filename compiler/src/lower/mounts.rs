//! The mounts and Landlock rules that make the regions, parents first.

use std::collections::BTreeSet;

use super::atlas::{Chart, PlaceId};
use super::claims::Claims;
use super::coverage::{Rights, Side};
use super::region::{Pin, Region, RegionKind, SocketAccess, union};
use super::target::Holder;
use crate::bytes::AbsolutePath;
use crate::host::{Entry, Features, Support};
use crate::plan::{Devices, Executing, LandlockRule, MaskKind, Mount, ProcKind, TreeKind, Writing};
use crate::policy::{PathAction, RuleId};

/// The mode of a directory of fence's own: it can be passed, and not listed.
const PASSAGE: u32 = 0o111;
/// The mode of `/tmp`.
const SHARED: u32 = 0o1777;

/// What stands at a region's place inside, and beneath it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surface {
    /// Nothing of the host: the root of fence's own, or directories on it.
    Bare,
    /// The private `/tmp`, with what is effective there.
    Private(Rights),
    /// A tree of the host.
    Tree {
        /// What its mount allows.
        writing: Writing,
        /// What its mount allows.
        executing: Executing,
        /// Whether it, or a tree that it lies in, can be written from inside.
        footing: Footing,
    },
    /// A mask without anything within.
    Mask(Footing),
    /// A mask with something within.
    Passage(Footing),
    /// `/proc` or `/dev`.
    Fixed,
}

/// Whether a mount point lies in a writable tree, where somebody outside may well replace it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Footing {
    /// It does not.
    Firm,
    /// It does.
    Loose,
}

/// The file tree inside.
pub(super) struct FileTree {
    /// How it is made.
    pub mounts: Vec<Mount>,
    /// The second line.
    pub landlock: Vec<LandlockRule>,
    /// What stands at each region, by its number.
    pub surfaces: Vec<Surface>,
    /// Whether something is both writable and executable.
    pub writable_executable: bool,
    /// What holds it.
    pub holder: Holder,
}

impl FileTree {
    /// What stands around a region.
    pub(super) fn around(&self, region: &Region<'_>) -> Surface {
        region.above.and_then(|above| self.surfaces.get(above)).copied().unwrap_or(Surface::Bare)
    }
}

/// Makes the file tree.
pub(super) fn build(
    chart: &Chart,
    claims: &Claims<'_>,
    regions: &[Region<'_>],
    devices: Vec<AbsolutePath>,
    features: &Features,
    holder: Holder,
) -> FileTree {
    let tree = FileTree {
        mounts: Vec::new(),
        landlock: Vec::new(),
        surfaces: Vec::with_capacity(regions.len()),
        writable_executable: false,
        holder,
    };
    let mut builder = Builder {
        chart,
        claims,
        tree,
        rules: claims.rules,
        regions,
        wanted: wanted(regions),
        made: BTreeSet::from([PlaceId::ROOT]),
        granted: Vec::with_capacity(regions.len()),
        devices,
        features,
    };
    for region in regions {
        builder.region(region);
    }
    let mut tree = builder.tree;
    tree.landlock.sort_by(|one, other| one.path.cmp(&other.path));
    tree
}

/// Which regions hold something beneath that has to be there inside.
fn wanted(regions: &[Region<'_>]) -> Vec<bool> {
    let mut beneath = vec![false; regions.len()];
    for (number, region) in regions.iter().enumerate().rev() {
        let itself = region.kind == RegionKind::Cwd || is_visible(region);
        let wanted = itself || beneath.get(number) == Some(&true);
        if let Some(slot) = region.above.and_then(|above| beneath.get_mut(above)) {
            *slot |= wanted;
        }
    }
    beneath
}

/// Whether the host's object is there inside.
pub(super) fn is_visible(region: &Region<'_>) -> bool {
    let rights = region.rights;
    match region.entry {
        Entry::Missing | Entry::Link(_) => false,
        Entry::File | Entry::Directory | Entry::Fifo | Entry::Device => rights.read || rights.write,
        // Reading a socket means nothing: one that is closed is closed altogether.
        Entry::Socket => {
            region.socket == SocketAccess::NotClosed && (rights.socket || rights.read || rights.write)
        }
    }
}

struct Builder<'a> {
    chart: &'a Chart,
    claims: &'a Claims<'a>,
    tree: FileTree,
    rules: usize,
    regions: &'a [Region<'a>],
    wanted: Vec<bool>,
    /// What is there inside.
    made: BTreeSet<PlaceId>,
    /// What Landlock allows at each region, its own and from above.
    granted: Vec<Rights>,
    devices: Vec<AbsolutePath>,
    features: &'a Features,
}

impl Builder<'_> {
    fn region(&mut self, region: &Region<'_>) {
        let around = self.tree.around(region);
        let granted = region.above.and_then(|above| self.granted.get(above)).copied().unwrap_or_default();
        let surface = match &region.kind {
            RegionKind::Proc => self.proc(region),
            RegionKind::Dev => self.dev(region),
            // Where it would be readable though a rule closes that, it is covered as any other directory is.
            RegionKind::Tmp if !region.rights.read && (granted.read || self.only_covered(region)) => {
                self.place(region, around, granted)
            }
            RegionKind::Tmp => self.tmp(region),
            RegionKind::Link => {
                if matches!(around, Surface::Bare | Surface::Private(_) | Surface::Passage(_))
                    && self.leads_somewhere(region)
                    && let Entry::Link(target) = region.entry
                {
                    self.make_way(region);
                    self.made.insert(region.place);
                    self.tree.mounts.push(Mount::Link { at: region.at.clone(), target: target.clone() });
                }
                around
            }
            RegionKind::Plain | RegionKind::Cwd => self.place(region, around, granted),
        };
        let own = match region.kind {
            RegionKind::Proc | RegionKind::Dev => true,
            RegionKind::Tmp => matches!(surface, Surface::Private(_)),
            _ => false,
        };
        let granted = if own || matches!(surface, Surface::Tree { .. }) && is_visible(region) {
            self.grant(region, granted)
        } else {
            granted
        };
        self.granted.push(granted);
        self.tree.surfaces.push(surface);
    }

    /// Whether a rule closes reading, and there is no Landlock to hold it.
    fn only_covered(&self, region: &Region<'_>) -> bool {
        let reads = |party: &usize| {
            self.claims.parties.get(*party).is_some_and(|party| party.actions.contains(PathAction::Read))
        };
        self.tree.holder == Holder::Mounts && region.closing.iter().any(reads)
    }

    /// A link is made again if something that it leads to is there.
    fn leads_somewhere(&self, region: &Region<'_>) -> bool {
        let Some(link) = self.claims.links.get(&region.place) else { return false };
        let to: Vec<&AbsolutePath> = link.iter().map(|to| self.chart.path(*to)).collect();
        let leads = |place: &Region<'_>| to.iter().any(|to| to.is_within(place.at) || place.at.is_within(to));
        self.regions.iter().any(|place| {
            leads(place) && (is_visible(place) || matches!(place.kind, RegionKind::Cwd | RegionKind::Tmp))
        })
    }

    fn place(&mut self, region: &Region<'_>, around: Surface, granted: Rights) -> Surface {
        // Landlock only ever adds: what it lets be read above, it lets be read here. A mount always can be read.
        let readable = granted.read || self.tree.holder == Holder::Mounts;
        // A socket that is opened is shown: nothing is read from it by its name.
        let socket = *region.entry == Entry::Socket && region.rights.socket;
        let hides = !region.rights.read && readable && !socket;
        match around {
            Surface::Bare | Surface::Private(_) | Surface::Passage(_) if is_visible(region) && !hides => {
                self.make_way(region);
                let footing = if let Surface::Passage(footing) = around { footing } else { Footing::Firm };
                self.tree(region, footing)
            }
            Surface::Bare | Surface::Private(_) | Surface::Passage(_) => {
                if region.kind == RegionKind::Cwd {
                    self.make_way(region);
                    self.directory(region.place);
                }
                around
            }
            Surface::Tree { writing, executing, footing } => {
                if matches!(region.entry, Entry::Missing | Entry::Link(_)) {
                    return around;
                }
                let loose = writing == Writing::Allowed || footing == Footing::Loose;
                let footing = if loose { Footing::Loose } else { Footing::Firm };
                if !is_visible(region) || hides {
                    return self.mask(region, footing);
                }
                if *region.entry == Entry::Socket && !region.rights.read && !region.rights.write {
                    return around;
                }
                if (writing, executing) != (region.rights.writing(), region.rights.executing()) {
                    return self.tree(region, footing);
                }
                if region.pin == Pin::Needed
                    && writing == Writing::Allowed
                    && *region.entry == Entry::Directory
                {
                    self.tree
                        .mounts
                        .push(Mount::Pin { at: region.at.clone(), rules: self.closers_below(region) });
                }
                around
            }
            Surface::Mask(_) | Surface::Fixed => around,
        }
    }

    fn tree(&mut self, region: &Region<'_>, footing: Footing) -> Surface {
        let (writing, executing) = (region.rights.writing(), region.rights.executing());
        self.made.insert(region.place);
        self.tree.mounts.push(Mount::Tree {
            source: region.at.clone(),
            at: region.at.clone(),
            kind: if *region.entry == Entry::Directory { TreeKind::Directory } else { TreeKind::File },
            writing,
            executing,
            devices: Devices::Refused,
            rules: self.rules(region.opening.iter().chain(&region.closing)),
        });
        Surface::Tree { writing, executing, footing }
    }

    fn mask(&mut self, region: &Region<'_>, footing: Footing) -> Surface {
        let number = self.tree.surfaces.len();
        let (kind, surface) = if *region.entry != Entry::Directory {
            (MaskKind::File, Surface::Mask(footing))
        } else if self.wanted.get(number) == Some(&true) {
            self.made.insert(region.place);
            (MaskKind::Passage, Surface::Passage(footing))
        } else {
            (MaskKind::Directory, Surface::Mask(footing))
        };
        self.tree.mounts.push(Mount::Mask { at: region.at.clone(), kind, rules: self.closers(region) });
        surface
    }

    fn proc(&mut self, region: &Region<'_>) -> Surface {
        self.make_way(region);
        let how = match self.features.fresh_proc {
            Support::Yes => ProcKind::Fresh,
            Support::No(_) => ProcKind::Bound,
        };
        self.tree.mounts.push(Mount::Proc { at: region.at.clone(), how });
        Surface::Fixed
    }

    fn dev(&mut self, region: &Region<'_>) -> Surface {
        self.make_way(region);
        let devices = std::mem::take(&mut self.devices);
        self.tree.mounts.push(Mount::Dev { at: region.at.clone(), devices });
        Surface::Fixed
    }

    fn tmp(&mut self, region: &Region<'_>) -> Surface {
        self.make_way(region);
        self.made.insert(region.place);
        self.tree.mounts.push(Mount::Private {
            at: region.at.clone(),
            mode: SHARED,
            executing: region.rights.executing(),
        });
        Surface::Private(region.rights)
    }

    /// Adds what Landlock does not allow from above already.
    fn grant(&mut self, region: &Region<'_>, granted: Rights) -> Rights {
        let (rights, device) = match region.kind {
            RegionKind::Proc => (Rights { read: true, ..Rights::default() }, false),
            RegionKind::Dev => (Rights { read: true, write: true, ..Rights::default() }, true),
            _ => (region.rights, false),
        };
        let all = union(granted, rights);
        let adds = (rights.read && !granted.read)
            || (rights.write && !granted.write)
            || (rights.exec && !granted.exec)
            || device;
        if rights.write && rights.exec && region.kind != RegionKind::Dev {
            self.tree.writable_executable = true;
        }
        if adds {
            self.tree.landlock.push(LandlockRule {
                path: region.at.clone(),
                read: rights.read,
                write: rights.write,
                execute: rights.exec,
                device,
            });
        }
        all
    }

    /// Makes the directories above a place that are not there yet.
    fn make_way(&mut self, region: &Region<'_>) {
        let above = std::iter::successors(self.chart.above(region.place), |at| self.chart.above(*at));
        let missing: Vec<PlaceId> = above.take_while(|above| !self.made.contains(above)).collect();
        for directory in missing.into_iter().rev() {
            self.directory(directory);
        }
    }

    fn directory(&mut self, at: PlaceId) {
        if self.made.insert(at) {
            let at = self.chart.path(at).clone();
            self.tree.mounts.push(Mount::Directory { at, mode: PASSAGE });
        }
    }

    /// The rules among some parties, each once; fence itself is none.
    fn rules<'p>(&self, parties: impl Iterator<Item = &'p usize>) -> Vec<RuleId> {
        let mut rules: Vec<RuleId> = parties
            .filter(|party| **party < self.rules)
            .filter_map(|party| u32::try_from(*party).ok().map(RuleId))
            .collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }

    /// The rules that close something at a place: by an item of a `deny`, or by an `except` of an `allow`.
    fn closers(&self, region: &Region<'_>) -> Vec<RuleId> {
        let begun = region.claims.iter().filter_map(|number| self.claims.list.get(*number));
        let excepts = begun.filter(|claim| claim.side == Side::Except).map(|claim| &claim.party);
        self.rules(region.closing.iter().chain(excepts))
    }

    /// The rules that close something beneath a pinned directory.
    fn closers_below(&self, region: &Region<'_>) -> Vec<RuleId> {
        let below = self
            .regions
            .iter()
            .skip(self.tree.surfaces.len() + 1)
            .take_while(|below| below.at.is_within(region.at));
        self.rules(below.flat_map(|below| &below.closing))
    }
}
