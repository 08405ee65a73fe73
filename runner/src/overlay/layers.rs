//! The layers of a run.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::host::Person;
use fence_compiler::plan::overlay::{Alone, Layer, Layers, overlaid};
use fence_compiler::plan::{Keep, LinuxPlan, Mount};

use super::Error;
use super::base::Base;
use super::content;
use super::folder::{self, Folder, Held, Kind, Name, Place, place_of, private};
use super::view::Merged;
use crate::linux::mounted_places;
use crate::load::to_path;

/// The overlay of a run.
#[derive(Debug)]
pub struct Overlay {
    person: Person,
    lies: Lies,
}

/// Where it lies.
#[derive(Debug)]
enum Lies {
    /// In memory.
    InMemory,
    /// In a folder that is there.
    Here { held: Held, places: Vec<Place> },
    /// In a folder that is made when the run starts.
    Later { folder: Folder, name: Name },
}

impl Overlay {
    /// One that ends with the run.
    #[must_use]
    pub fn in_memory(person: &Person) -> Overlay {
        Overlay { person: person.clone(), lies: Lies::InMemory }
    }

    /// One that is kept. Nothing is made yet.
    ///
    /// # Errors
    /// What is there cannot be relied on, or somebody uses it.
    pub fn named(person: &Person, name: &Name) -> Result<Overlay, Error> {
        let folder = Folder::of(person);
        let lies = match folder.hold(name)? {
            Some(held) => Lies::Here { places: folder::places(&held.place)?, held },
            None => Lies::Later { folder, name: name.clone() },
        };
        Ok(Overlay { person: person.clone(), lies })
    }

    /// What it is called, if it is kept.
    #[must_use]
    pub fn name(&self) -> Option<&Name> {
        match &self.lies {
            Lies::InMemory => None,
            Lies::Here { held, .. } => Some(&held.name),
            Lies::Later { name, .. } => Some(name),
        }
    }

    /// The machine's files as the run will see them: with what the overlay holds already.
    #[must_use]
    pub fn files(&self) -> Merged {
        Merged::new(self.places())
    }

    fn places(&self) -> &[Place] {
        if let Lies::Here { places, .. } = &self.lies { places } else { &[] }
    }

    /// Puts the overlay under what a plan lets be written.
    ///
    /// # Errors
    /// Something cannot be under a layer, or the run would see the host's files where the overlay has something.
    pub fn under(&self, plan: LinuxPlan) -> Result<LinuxPlan, Error> {
        let mut fitting = Fitting { overlay: self, mounted: mounted_places() };
        let plan = overlaid(plan, &mut fitting).map_err(Error::Unfit)?;
        let unseen = self.places().iter().map(Place::over).find(|over| {
            let near = |at: &AbsolutePath| at.is_within(over) || over.is_within(at);
            let used = |mount: &Mount| match mount {
                Mount::Layer { over: at, .. } | Mount::Copy { at, .. } => at == *over,
                _ => false,
            };
            let seen = |mount: &Mount| matches!(mount, Mount::Tree { at, .. } if near(at));
            !plan.mounts.iter().any(used) && plan.mounts.iter().any(seen)
        });
        match unseen {
            Some(over) => {
                let name = self.name().map_or_else(String::new, |name| name.as_str().to_owned());
                Err(Error::Unseen { name, over: over.clone() })
            }
            None => Ok(plan),
        }
    }

    /// Makes the folders of what the plan keeps.
    ///
    /// # Errors
    /// They cannot be made, or somebody else took the name meanwhile.
    pub fn make(&mut self, plan: &LinuxPlan) -> Result<(), Error> {
        if let Lies::Later { folder, name } = &self.lies {
            let held = folder.make(name)?;
            self.lies = Lies::Here { places: folder::places(&held.place)?, held };
        }
        let Lies::Here { held, .. } = &self.lies else { return Ok(()) };
        for folder in [&held.place.join(b"layers"), &held.place.join(b"files")] {
            private(folder).map_err(Error::system("make", folder))?;
        }
        for mount in &plan.mounts {
            match mount {
                Mount::Layer { over, keep: Keep::Kept(kept), mode } => {
                    make_layer(over, kept, *mode).map_err(Error::system("make", kept))?;
                }
                Mount::Copy { at, keep: Keep::Kept(copy), mode, .. } => {
                    let kept = copy.parent().unwrap_or_else(AbsolutePath::root);
                    make_copy(at, &kept, copy, *mode).map_err(Error::system("copy", at))?;
                }
                _ => {}
            }
        }
        for place in used(plan) {
            let mut base = Base::read(&place)?;
            // A run that was killed has not done it.
            base.record(&place)?;
            base.begin(&place)?;
        }
        Ok(())
    }

    /// Looks at what the host has where the run has written.
    ///
    /// # Errors
    /// Something cannot be looked at.
    pub fn record(&self, plan: &LinuxPlan) -> Result<(), Error> {
        for place in used(plan) {
            let mut base = Base::read(&place)?;
            base.record(&place)?;
            base.write(&place)?;
        }
        Ok(())
    }
}

/// The places that a plan keeps something for.
fn used(plan: &LinuxPlan) -> impl Iterator<Item = Place> {
    plan.mounts.iter().filter_map(|mount| match mount {
        Mount::Layer { over, keep: Keep::Kept(kept), .. } => {
            Some(Place::Layer { over: over.clone(), kept: kept.clone() })
        }
        Mount::Copy { at, keep: Keep::Kept(copy), .. } => {
            Some(Place::Copy { of: at.clone(), kept: copy.parent()? })
        }
        _ => None,
    })
}

fn make_layer(over: &AbsolutePath, kept: &AbsolutePath, mode: u32) -> io::Result<()> {
    private(kept)?;
    private(&kept.join(b"work"))?;
    let upper = kept.join(b"upper");
    match DirBuilder::new().mode(0o700).create(to_path(&upper)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => {
            other?;
            fs::set_permissions(to_path(&upper), fs::Permissions::from_mode(mode))?;
        }
    }
    write_over(over, kept)
}

/// Says what a folder is for: last, so that a folder that says it is whole.
fn write_over(over: &AbsolutePath, kept: &AbsolutePath) -> io::Result<()> {
    let (file, beside) = (kept.join(b"over"), kept.join(b"over-new"));
    if fs::symlink_metadata(to_path(&file)).is_err() {
        fs::write(to_path(&beside), over.as_bytes())?;
        fs::rename(to_path(&beside), to_path(&file))?;
    }
    Ok(())
}

fn make_copy(of: &AbsolutePath, kept: &AbsolutePath, copy: &AbsolutePath, mode: u32) -> io::Result<()> {
    private(kept)?;
    if fs::symlink_metadata(to_path(&kept.join(b"over"))).is_err() {
        let mut options = File::options();
        let mut from =
            options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(to_path(of))?;
        let mut to =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(to_path(copy))?;
        content::copy(&mut from, &mut to)?;
        to.set_permissions(fs::Permissions::from_mode(mode))?;
        to.set_modified(from.metadata()?.modified()?)?;
    }
    write_over(of, kept)
}

/// Finds what takes what is written.
struct Fitting<'a> {
    overlay: &'a Overlay,
    mounted: Vec<AbsolutePath>,
}

impl Fitting<'_> {
    fn keep(&self, kind: Kind, over: &AbsolutePath) -> Keep {
        let place = match &self.overlay.lies {
            Lies::InMemory => return Keep::Run,
            Lies::Here { held, .. } => held.place.clone(),
            Lies::Later { folder, name } => folder.would_lie(name),
        };
        let kept = place_of(&place, kind, over);
        Keep::Kept(if kind == Kind::Copy { kept.join(b"copy") } else { kept })
    }

    /// What the kernel would say less well.
    fn refuse(&self, path: &AbsolutePath, found: &fs::Metadata) -> Result<(), String> {
        if found.uid() != self.overlay.person.uid {
            return Err(format!(
                "`{path}` may be written and belongs to user {}: what is written over it would be yours",
                found.uid()
            ));
        }
        Ok(())
    }
}

impl Layers for Fitting<'_> {
    fn over(&mut self, directory: &AbsolutePath) -> Result<Layer, String> {
        let found = fs::symlink_metadata(to_path(directory))
            .map_err(|error| format!("`{directory}` cannot be looked at: {error}"))?;
        self.refuse(directory, &found)?;
        if let Some(below) =
            self.mounted.iter().find(|place| *place != directory && place.is_within(directory))
        {
            return Err(format!(
                "`{directory}` may be written, and something is mounted below it, at `{below}`: a layer cannot take what is written there"
            ));
        }
        let keep = self.keep(Kind::Layer, directory);
        if let Keep::Kept(kept) = &keep {
            if kept.is_within(directory) || directory.is_within(kept) {
                return Err(format!(
                    "`{directory}` may be written, and the overlay itself would lie in it: `--overlay tmp` lies in memory, and XDG_STATE_HOME moves fence's state"
                ));
            }
            let near =
                self.overlay.places().iter().map(Place::over).find(|over| {
                    *over != directory && (over.is_within(directory) || directory.is_within(over))
                });
            if let Some(near) = near {
                return Err(format!(
                    "the overlay has something for `{near}`, and this policy lets `{directory}` be written as one: take another name"
                ));
            }
        }
        Ok(Layer { keep, mode: found.mode() & 0o1777 })
    }

    fn file(&mut self, file: &AbsolutePath) -> Result<Alone, String> {
        let found = fs::symlink_metadata(to_path(file))
            .map_err(|error| format!("`{file}` cannot be looked at: {error}"))?;
        if found.file_type().is_socket() {
            return Ok(Alone::Socket);
        }
        if !found.is_file() {
            return Err(format!(
                "`{file}` may be written and is no file: what is written there goes to whoever reads it"
            ));
        }
        self.refuse(file, &found)?;
        let keep = self.keep(Kind::Copy, file);
        if let Keep::Kept(_) = keep
            && let Some(near) = self
                .overlay
                .places()
                .iter()
                .find(|place| matches!(place, Place::Layer { over, .. } if file.is_within(over)))
        {
            return Err(format!(
                "the overlay has something for `{}`, and this policy lets `{file}` alone be written: take another name",
                near.over()
            ));
        }
        Ok(Alone::Copied { keep, mode: found.mode() & 0o777 })
    }
}
