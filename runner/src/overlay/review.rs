//! An overlay beside the host.

use std::fs::File;
use std::io::{self, Read};

use fence_compiler::bytes::AbsolutePath;

use super::Error;
use super::apply::{Failure, Force, apply, enter, split};
use super::base::Base;
use super::change::{Change, changes, source};
use super::folder::{Folder, Held, Name, Place, places};
use super::prune::prune;
use super::tree::{At, NodeKind, open_below, open_top};

/// An overlay that nobody else uses meanwhile, compared with the host.
#[derive(Debug)]
pub struct Review {
    _held: Held,
    places: Vec<Reviewed>,
}

#[derive(Debug)]
struct Reviewed {
    place: Place,
    base: Base,
    changes: Vec<Change>,
}

/// The largest file that is read as text.
const LARGEST: u64 = 64 * 1024;

impl Review {
    /// Compares an overlay with the host.
    ///
    /// # Errors
    /// There is none, somebody uses it, or something cannot be read.
    pub fn of(folder: &Folder, name: &Name) -> Result<Review, Error> {
        let Some(held) = folder.hold(name)? else { return Err(Error::None(name.as_str().to_owned())) };
        let mut reviewed = Vec::new();
        for place in places(&held.place)? {
            let mut base = Base::read(&place)?;
            // A run that was killed has not done it.
            base.record(&place)?;
            base.write(&place)?;
            reviewed.push(Reviewed { changes: changes(&place, &base)?, base, place });
        }
        Ok(Review { _held: held, places: reviewed })
    }

    /// The differences, directories before what is in them.
    pub fn changes(&self) -> impl Iterator<Item = &Change> {
        self.places.iter().flat_map(|place| &place.changes)
    }

    /// What a change makes of a small file of text: before and after. `None` where it is no such file.
    #[must_use]
    pub fn texts(&self, change: &Change) -> Option<(String, String)> {
        let place = &self.places.iter().find(|place| *place.place.over() == change.over)?.place;
        let is_text = |node: &Option<super::Node>| {
            node.as_ref().is_none_or(|node| matches!(node.kind, NodeKind::File(size) if size <= LARGEST))
        };
        if !is_text(&change.before) || !is_text(&change.after) {
            return None;
        }
        let before = match &change.before {
            Some(_) => text(host_file(place, change).ok()?).ok()??,
            None => String::new(),
        };
        let after = match &change.after {
            Some(_) => text(held_file(place, change).ok()?).ok()??,
            None => String::new(),
        };
        Some((before, after))
    }

    /// Carries changes over to the host, and tells each that is done; the overlay keeps those that are left.
    ///
    /// # Errors
    /// What failed, and why: none after it is carried over. Or the overlay cannot be brought up to date.
    pub fn apply(
        &mut self,
        chosen: &dyn Fn(&Change) -> bool,
        force: Force,
        done: &mut dyn FnMut(&Change),
    ) -> Result<Option<(AbsolutePath, Failure)>, Error> {
        for Reviewed { place, base, changes } in &mut self.places {
            let wanted: Vec<&Change> = changes.iter().filter(|change| chosen(change)).collect();
            if wanted.is_empty() {
                continue;
            }
            let mut carried: Vec<Vec<u8>> = Vec::new();
            let result = apply(place, base, &wanted, force, &mut |change| {
                carried.push(change.below.clone());
                done(change);
            });
            base.begin(place)?;
            carried.iter().for_each(|below| base.forget(below));
            prune(place).map_err(Error::system("bring up to date", place.kept()))?;
            if open_top(place.kept()).ok().flatten().is_some() {
                base.record(place)?;
                base.write(place)?;
            }
            if let Err(failed) = result {
                return Ok(Some(failed));
            }
        }
        Ok(None)
    }
}

fn text(file: File) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    let is_text = bytes.len() as u64 <= LARGEST && !bytes.contains(&0);
    Ok(if is_text { String::from_utf8(bytes).ok() } else { None })
}

fn host_file(place: &Place, change: &Change) -> io::Result<File> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    if let Place::Copy { of, .. } = place {
        let parent = open_top(&of.parent().unwrap_or_else(AbsolutePath::root))?.ok_or_else(missing)?;
        return At { directory: &parent, name: of.name().unwrap_or_default() }.open_as_is();
    }
    let (above, name) = split(&change.below);
    let top = open_top(place.over())?.ok_or_else(missing)?;
    let directory = open_below(&top, above)?.ok_or_else(missing)?;
    At { directory: &directory, name }.open_as_is()
}

fn held_file(place: &Place, change: &Change) -> io::Result<File> {
    let (folder, held) = source(place);
    let folder = open_top(folder)?.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    let here = At { directory: &folder, name: held };
    if let Place::Copy { .. } = place {
        return here.open();
    }
    let (above, name) = split(&change.below);
    let top = here.enter()?;
    let entered = enter(&top, above)?;
    At { directory: &entered.last().unwrap_or(&top).directory, name }.open()
}
