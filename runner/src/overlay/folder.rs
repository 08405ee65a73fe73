//! Where the overlays of a person lie.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::str::FromStr;
use std::time::SystemTime;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::host::Person;
use sha2::{Digest, Sha256};

use super::Error;
use super::removal::remove_tree;
use crate::load::to_path;
use crate::trust::{own_state_folder, owned, state_folder};

/// The overlays of a person.
#[derive(Clone, Debug)]
pub struct Folder {
    place: AbsolutePath,
    person: Person,
}

/// The name of an overlay.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

/// An overlay that nobody else uses meanwhile.
#[derive(Debug)]
pub struct Held {
    /// What it is called.
    pub name: Name,
    /// Its folder.
    pub place: AbsolutePath,
    _lock: File,
}

/// What takes what is written to one place of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A layer over a directory.
    Layer {
        /// The directory.
        over: AbsolutePath,
        /// Where the layer lies.
        kept: AbsolutePath,
    },
    /// A copy of a file.
    Copy {
        /// The file.
        of: AbsolutePath,
        /// The folder that the copy lies in.
        kept: AbsolutePath,
    },
}

impl Place {
    /// What it is over.
    #[must_use]
    pub fn over(&self) -> &AbsolutePath {
        match self {
            Place::Layer { over: path, .. } | Place::Copy { of: path, .. } => path,
        }
    }

    /// Its folder.
    #[must_use]
    pub fn kept(&self) -> &AbsolutePath {
        match self {
            Place::Layer { kept, .. } | Place::Copy { kept, .. } => kept,
        }
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Name, Error> {
        const LONGEST: usize = 64;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let fits = (1..=LONGEST).contains(&text.len()) && !text.starts_with(['-', '.']);
        if fits && text.chars().all(plain) && text != "tmp" {
            Ok(Name(text.to_owned()))
        } else {
            Err(Error::Name(crate::audit::visible(text)))
        }
    }
}

impl Name {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Folder {
    /// That of a person.
    #[must_use]
    pub fn of(person: &Person) -> Folder {
        let state = state_folder(&person.home);
        // The kernel is given a path without links.
        let real = to_path(&state).canonicalize().ok();
        let state = real.and_then(|real| AbsolutePath::new(real.as_os_str().as_bytes())).unwrap_or(state);
        Folder { place: state.join(b"overlays"), person: person.clone() }
    }

    /// The names that are taken, in order.
    ///
    /// # Errors
    /// The folder cannot be relied on.
    pub fn names(&self) -> Result<Vec<Name>, Error> {
        if !self.is_there(&self.place)? {
            return Ok(Vec::new());
        }
        let entries = fs::read_dir(to_path(&self.place)).map_err(Error::system("read", &self.place))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<Name> = names.filter_map(|name| name.parse().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// Where an overlay lies, if it is there.
    ///
    /// # Errors
    /// Its folder cannot be relied on.
    pub fn find(&self, name: &Name) -> Result<Option<AbsolutePath>, Error> {
        let place = self.place.join(name.0.as_bytes());
        Ok((self.is_there(&self.place)? && self.is_there(&place)?).then_some(place))
    }

    /// Takes an overlay for oneself; `None` if it is not there.
    ///
    /// # Errors
    /// Its folder cannot be relied on, or somebody uses it.
    pub fn hold(&self, name: &Name) -> Result<Option<Held>, Error> {
        match self.find(name)? {
            None => Ok(None),
            Some(place) => self.lock(name, place).map(Some),
        }
    }

    /// Takes an overlay for oneself, and makes it if it is not there.
    ///
    /// # Errors
    /// It cannot be made, its folder cannot be relied on, or somebody uses it.
    pub fn make(&self, name: &Name) -> Result<Held, Error> {
        own_state_folder(&self.person.home, self.person.uid)?;
        // It may just have been made; then it has no links either.
        let made = Folder::of(&self.person);
        let place = made.place.join(name.0.as_bytes());
        for folder in [&made.place, &place] {
            private(folder).map_err(Error::system("make", folder))?;
            made.is_there(folder)?;
        }
        made.lock(name, place)
    }

    /// Where an overlay would lie.
    #[must_use]
    pub fn would_lie(&self, name: &Name) -> AbsolutePath {
        self.place.join(name.0.as_bytes())
    }

    /// Drops an overlay with everything in it.
    ///
    /// # Errors
    /// There is none, somebody uses it, or something of it cannot be removed.
    pub fn discard(&self, name: &Name) -> Result<(), Error> {
        const GONE: &str = ".discarded-";
        let Some(held) = self.hold(name)? else { return Err(Error::None(name.0.clone())) };
        let gone = self.place.join(format!("{GONE}{}-{}", std::process::id(), name.0).as_bytes());
        fs::rename(to_path(&held.place), to_path(&gone)).map_err(Error::system("remove", &held.place))?;
        remove_tree(&gone).map_err(Error::system("remove", &gone))?;
        // What is left of those whose removal was interrupted.
        for entry in fs::read_dir(to_path(&self.place)).into_iter().flatten().flatten() {
            if entry.file_name().as_bytes().starts_with(GONE.as_bytes()) {
                let left = self.place.join(entry.file_name().as_bytes());
                match remove_tree(&left) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(Error::system("remove", &left)(error));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn lock(&self, name: &Name, place: AbsolutePath) -> Result<Held, Error> {
        let path = place.join(b"lock");
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let lock = options.open(to_path(&path)).map_err(Error::system("open", &path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Held { name: name.clone(), place, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse(name.0.clone())),
            Err(TryLockError::Error(error)) => Err(Error::system("lock", &path)(error)),
        }
    }

    /// Whether a folder is there; one that others can enter is an error.
    fn is_there(&self, folder: &AbsolutePath) -> Result<bool, Error> {
        match fs::symlink_metadata(to_path(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::system("look at", folder)(error)),
            Ok(found) if !found.is_dir() => {
                Err(Error::system("use", folder)(io::ErrorKind::NotADirectory.into()))
            }
            Ok(found) => {
                owned(folder, &found, self.person.uid)?;
                Ok(true)
            }
        }
    }
}

/// When an overlay was last used by a run.
#[must_use]
pub fn last_used(place: &AbsolutePath) -> Option<SystemTime> {
    fs::metadata(to_path(&place.join(b"lock"))).ok()?.modified().ok()
}

/// The places that an overlay has something for, by what they are over.
///
/// # Errors
/// They cannot be read.
pub fn places(overlay: &AbsolutePath) -> Result<Vec<Place>, Error> {
    let mut places = Vec::new();
    for (kind, folder) in [(Kind::Layer, overlay.join(b"layers")), (Kind::Copy, overlay.join(b"files"))] {
        let entries = match fs::read_dir(to_path(&folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(Error::system("read", &folder))?,
        };
        for entry in entries.flatten() {
            let kept = folder.join(entry.file_name().as_bytes());
            let file = kept.join(b"over");
            let over = match fs::read(to_path(&file)) {
                // Whoever made it was killed before anything could be written to it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(Error::system("read", &file))?,
            };
            let Some(over) = AbsolutePath::new(&over).filter(|over| place_of(overlay, kind, over) == kept)
            else {
                return Err(Error::system("use", &file)(io::ErrorKind::InvalidData.into()));
            };
            places.push(match kind {
                Kind::Layer => Place::Layer { over, kept },
                Kind::Copy => Place::Copy { of: over, kept },
            });
        }
    }
    places.sort_by(|one, other| one.over().cmp(other.over()));
    Ok(places)
}

/// What a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A layer over a directory.
    Layer,
    /// A copy of a file.
    Copy,
}

/// The folder of what takes what is written to a place of the host: a path may be longer than a name.
pub(super) fn place_of(overlay: &AbsolutePath, kind: Kind, over: &AbsolutePath) -> AbsolutePath {
    let hash = Sha256::digest(over.as_bytes());
    let name: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let folder = if kind == Kind::Layer { &b"layers"[..] } else { b"files" };
    overlay.join(folder).join(name.as_bytes())
}

/// Makes a directory for oneself alone, if there is none.
pub(super) fn private(folder: &AbsolutePath) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(to_path(folder)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
