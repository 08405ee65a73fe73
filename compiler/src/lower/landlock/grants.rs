//! Which trees and files Landlock's rules name, so that nothing closed lies beneath one.

use std::collections::{BTreeMap, BTreeSet};

use super::super::atlas::{Atlas, PlaceId};
use super::super::coverage::Rights;
use crate::bytes::AbsolutePath;
use crate::host::Entry;
use crate::plan::LandlockRule;

/// A place at which what is effective changes.
pub(super) struct Spot {
    /// The place.
    pub place: PlaceId,
    /// Its path.
    pub path: AbsolutePath,
    /// Whether it is a directory.
    pub directory: bool,
    /// Whether nothing is there that a right could be given to.
    pub missing: bool,
    /// What is effective.
    pub rights: Rights,
    /// What must not be had in it under names that are made later.
    pub watched: Rights,
    /// The parties that open something here, sorted.
    pub opening: Vec<usize>,
    /// The claims that begin here, by number.
    pub claims: Vec<usize>,
}

/// The rights that Landlock has.
const KINDS: [Kind; 3] = [Kind::Read, Kind::Write, Kind::Execute];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Execute,
}

impl Kind {
    fn of(self, rights: Rights) -> Access {
        let has = match self {
            Kind::Read => rights.read,
            Kind::Write => rights.write,
            Kind::Execute => rights.exec,
        };
        if has { Access::Given } else { Access::Refused }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Given,
    Refused,
}

/// The rules in the making.
pub(super) struct Grants<'a, 'f> {
    spots: &'a [Spot],
    atlas: &'a mut Atlas<'f>,
    /// The spots by their places.
    at: BTreeMap<PlaceId, usize>,
    /// Every directory above a spot.
    above: BTreeSet<PlaceId>,
    given: BTreeMap<AbsolutePath, Rights>,
    divided: BTreeSet<usize>,
}

impl<'a, 'f> Grants<'a, 'f> {
    /// Spots stand behind those that hold them.
    pub(super) fn new(spots: &'a [Spot], atlas: &'a mut Atlas<'f>) -> Grants<'a, 'f> {
        let at = spots.iter().enumerate().map(|(number, spot)| (spot.place, number)).collect();
        let mut above = BTreeSet::new();
        for spot in spots {
            let mut directory = atlas.chart().above(spot.place);
            while let Some(at) = directory {
                if !above.insert(at) {
                    break;
                }
                directory = atlas.chart().above(at);
            }
        }
        Grants { spots, atlas, at, above, given: BTreeMap::new(), divided: BTreeSet::new() }
    }

    /// Gives every spot what is effective there, and nothing more.
    pub(super) fn all(&mut self) {
        for kind in KINDS {
            // What is given from above, by the number of the spot.
            let mut whole: Vec<Access> = Vec::with_capacity(self.spots.len());
            let mut stack: Vec<usize> = Vec::new();
            for (number, spot) in self.spots.iter().enumerate() {
                while stack
                    .pop_if(|above| {
                        self.spots.get(*above).is_some_and(|above| !spot.path.is_within(&above.path))
                    })
                    .is_some()
                {}
                let from_above = stack.last().and_then(|above| whole.get(*above)).copied();
                let given = match (from_above, kind.of(spot.rights)) {
                    (Some(Access::Given), _) => Access::Given,
                    (_, Access::Refused) => Access::Refused,
                    (_, Access::Given) if spot.missing => Access::Refused,
                    (_, Access::Given) => self.give(number, spot, kind),
                };
                whole.push(given);
                stack.push(number);
            }
        }
    }

    /// Gives a right to a whole spot, or to the parts of it in which nothing is closed.
    fn give(&mut self, number: usize, spot: &Spot, kind: Kind) -> Access {
        let rest = self.spots.get(number + 1..).unwrap_or_default();
        let beneath = rest.iter().take_while(|below| below.path.is_within(&spot.path));
        let closed = beneath.clone().any(|below| kind.of(below.rights) == Access::Refused)
            || std::iter::once(spot).chain(beneath).any(|one| kind.of(one.watched) == Access::Given);
        if !closed || !spot.directory {
            self.add(spot.path.clone(), kind);
            return Access::Given;
        }
        self.divided.insert(number);
        self.divide(spot.place, kind);
        Access::Refused
    }

    /// Gives a right to what lies in a directory, but for the way to other spots, which have their own turn.
    fn divide(&mut self, directory: PlaceId, kind: Kind) {
        for name in self.atlas.names(directory).iter() {
            let child = self.atlas.child(directory, name);
            if self.at.contains_key(&child) {
                continue;
            }
            if self.above.contains(&child) {
                self.divide(child, kind);
            } else if !matches!(self.atlas.entry(child), Entry::Missing | Entry::Link(_)) {
                let path = self.atlas.path(child).clone();
                self.add(path, kind);
            }
        }
    }

    fn add(&mut self, path: AbsolutePath, kind: Kind) {
        let given = self.given.entry(path).or_default();
        match kind {
            Kind::Read => given.read = true,
            Kind::Write => given.write = true,
            Kind::Execute => given.exec = true,
        }
    }

    /// The rules, and the spots that were divided, by number.
    pub(super) fn finish(self) -> (Vec<LandlockRule>, Vec<usize>) {
        let rules = self
            .given
            .into_iter()
            .map(|(path, rights)| LandlockRule {
                path,
                read: rights.read,
                write: rights.write,
                execute: rights.exec,
                device: false,
            })
            .collect();
        (rules, self.divided.into_iter().collect())
    }
}
