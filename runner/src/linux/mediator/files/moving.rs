//! Giving things other names: moving and linking.
//!
//! What is moved must be allowed to be written under both names, and must not be allowed more under the new one. For a
//! directory that is asked of everything in it too, where a rule could tell one from the other.

use std::ffi::{CString, OsStr};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::paths::Patterns;
use nix::errno::Errno;

use super::ground::{Last, Named, Place, Reached, Spot, list, own_path};
use super::making::below;
use super::{Act, Caller, Done, No, refused, refused_name};
use crate::linux::sys::file::{self, Status};

const NOT_THERE_YET: u32 = 1;
const EXCHANGED: u32 = 2;

impl Caller<'_> {
    pub(super) fn rename(&mut self, from: &Named, to: &Named, flags: u32) -> Result<Done, No> {
        if flags & !(NOT_THERE_YET | EXCHANGED) != 0 {
            return Err(No::Failed(Errno::EINVAL));
        }
        let (Reached::Name(from), Reached::Name(to)) =
            (self.locate(from, Last::Kept)?, self.locate(to, Last::Kept)?)
        else {
            return Err(No::Failed(Errno::EBUSY));
        };
        let status = from.status()?;
        self.ask_to_move(&from, &to, &status)?;
        if flags & EXCHANGED != 0 {
            let status = to.status()?;
            self.ask_to_move(&to, &from, &status)?;
        }
        if self.begin()? == Act::Now {
            file::rename((from.directory(), &from.name), (to.directory(), &to.name), flags)?;
        }
        self.rules.changed(&from.path, self.arbiter, self.tree);
        self.rules.changed(&to.path, self.arbiter, self.tree);
        Ok(Done::Nothing)
    }

    fn ask_to_move(&self, from: &Spot, to: &Spot, status: &Status) -> Result<(), No> {
        if let Err(refusal) = self.rules.ask_name(&from.path, &from.spellings) {
            return Err(refused_name(refusal, from));
        }
        let new = self.rules.ask_name(&to.path, &to.spellings);
        new.map_err(|refusal| refused(refusal, &to.parent))?;
        let both = self.rules.ask_both(&from.path, &to.path);
        both.map_err(|refusal| refused(refusal, &from.parent))?;
        if status.kind() == libc::S_IFDIR && self.may_matter(from, to) {
            self.ask_beneath(from, to)?;
        }
        Ok(())
    }

    /// Whether a rule could tell something in a directory under one name from the same under another.
    fn may_matter(&self, from: &Spot, to: &Spot) -> bool {
        [from, to].into_iter().any(|one| {
            let beneath = self.rules.beneath(&one.path);
            beneath.patterns == Patterns::Some
                || beneath.places.iter().any(|place| is_in(from, below(place, &one.path).unwrap_or_default()))
        })
    }

    /// Asks for everything in a directory, without holding more than one of its directories open.
    fn ask_beneath(&self, from: &Spot, to: &Spot) -> Result<(), No> {
        let name = from.name.to_bytes();
        let plain = CString::new(name.strip_suffix(b"/").unwrap_or(name)).map_err(|_| Errno::ENOENT)?;
        let mut at = list(from.directory(), &plain)?;
        let mut levels = vec![Level::of(&at, (from.path.clone(), to.path.clone()))?];
        while let Some(level) = levels.last_mut() {
            let Some((name, kind)) = level.names.pop() else {
                levels.pop();
                if let Some(above) = levels.last() {
                    at = list(at.as_raw_fd(), c"..")?;
                    if file::status(at.as_raw_fd(), c"")?.identity != above.identity {
                        // Somebody outside moves it meanwhile.
                        return Err(No::Failed(Errno::EBUSY));
                    }
                }
                continue;
            };
            let paths = (level.paths.0.join(name.to_bytes()), level.paths.1.join(name.to_bytes()));
            self.rules.ask_both(&paths.0, &paths.1).map_err(|refusal| refused(refusal, &from.parent))?;
            if kind == Kind::Directory {
                at = list(at.as_raw_fd(), &name)?;
                levels.push(Level::of(&at, paths)?);
            }
        }
        Ok(())
    }

    pub(super) fn link(&mut self, from: &Named, to: &Named, flags: i32) -> Result<Done, No> {
        let thread = self.notice.thread;
        let last = match flags & libc::AT_SYMLINK_FOLLOW == 0 && !from.path.ends_with(b"/") {
            true => Last::Kept,
            false => Last::Followed,
        };
        let object = if from.path.is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
            self.tree.described(thread, from.directory)?
        } else {
            match self.locate(from, last)? {
                Reached::Object(object) => object,
                Reached::Name(spot) => match self.tree.object(spot, last) {
                    Err(Errno::ELOOP) if last == Last::Followed => {
                        match self.tree.locate_slowly(thread, from, last)? {
                            Reached::Object(object) => object,
                            Reached::Name(spot) => self.tree.object(spot, last)?,
                        }
                    }
                    object => object?,
                },
            }
        };
        let Reached::Name(to) = self.locate(to, Last::Kept)? else {
            return Err(No::Failed(Errno::EEXIST));
        };
        if to.status().is_ok() {
            return Err(No::Failed(Errno::EEXIST));
        }
        let new = self.rules.ask_name(&to.path, &to.spellings);
        new.map_err(|refusal| refused(refusal, &to.parent))?;
        match &object.place {
            Place::Outside => return Err(No::Failed(Errno::EXDEV)),
            Place::Nowhere => {}
            Place::Inside(path) => {
                let old = self.rules.ask_name(path, &object.spellings);
                let both = old.and_then(|()| self.rules.ask_both(path, &to.path));
                both.map_err(|refusal| refused(refusal, &object.file))?;
            }
        }
        if self.begin()? == Act::Now {
            let from = (libc::AT_FDCWD, object.own_path());
            file::link((from.0, &from.1), (to.directory(), &to.name), libc::AT_SYMLINK_FOLLOW)?;
        }
        self.rules.changed(&to.path, self.arbiter, self.tree);
        Ok(Done::Nothing)
    }
}

/// A directory whose names are looked at.
struct Level {
    identity: (u32, u32, u64),
    names: Vec<(CString, Kind)>,
    /// Its path before and after.
    paths: (AbsolutePath, AbsolutePath),
}

impl Level {
    fn of(directory: &std::os::fd::OwnedFd, paths: (AbsolutePath, AbsolutePath)) -> Result<Level, Errno> {
        let identity = file::status(directory.as_raw_fd(), c"")?.identity;
        let mut names = Vec::new();
        let own = own_path(directory.as_raw_fd());
        let entries = std::fs::read_dir(OsStr::from_bytes(own.to_bytes())).map_err(errno)?;
        for entry in entries {
            let entry = entry.map_err(errno)?;
            let name = CString::new(entry.file_name().into_vec()).map_err(|_| Errno::EINVAL)?;
            let is_directory = entry.file_type().map_err(errno)?.is_dir();
            names.push((name, if is_directory { Kind::Directory } else { Kind::Other }));
        }
        Ok(Level { identity, names, paths })
    }
}

/// What lies in a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    Other,
}

fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// Whether something lies at a path below a name; a link on the way is followed as the kernel does outside.
fn is_in(spot: &Spot, below: &[u8]) -> bool {
    let name = spot.name.to_bytes();
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let path = if below.is_empty() { name.to_vec() } else { [name, b"/", below].concat() };
    CString::new(path).is_ok_and(|path| file::status(spot.directory(), &path).is_ok())
}
