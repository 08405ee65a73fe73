//! Giving things other names: moving and linking.
//!
//! What is moved must be allowed to be written under both names, and must not be allowed more under the new one. For a
//! directory that is asked of everything in it too, where a rule could tell one from the other.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileTypeExt;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::paths::Patterns;
use nix::errno::Errno;
use nix::fcntl::readlinkat;

use super::ground::{Last, Named, Place, Reached, Spot, list, own_path};
use super::making::below;
use super::{Act, Caller, Done, Knowing, No, refused, refused_name};
use crate::linux::sys::file::{self, Status};

const NOT_THERE_YET: u32 = 1;
const EXCHANGED: u32 = 2;

/// How long the path of something may be that a directory is moved with.
const LONGEST_PATH: usize = 4095;
/// How many names a directory may hold that is looked through before it is moved, and after how many it is looked whether
/// somebody still waits for that.
const MOST_NAMES: usize = 200_000;
const NAMES_AT_ONCE: usize = 256;

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
        from.ask_mount()?;
        to.ask_mount()?;
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
        match status.kind() {
            libc::S_IFDIR => self.ask_for_directory(from, to),
            libc::S_IFSOCK => self.ask_for_socket(status, &from.path, &to.path, &from.parent),
            libc::S_IFLNK => self.ask_to_lead(&to.parent, &to.path, &text_of(&from.parent, &plain(from)?)?),
            _ => Ok(()),
        }
    }

    /// A socket of the sandbox's own may have any name.
    fn ask_for_socket(
        &self,
        status: &Status,
        from: &AbsolutePath,
        to: &AbsolutePath,
        at: &OwnedFd,
    ) -> Result<(), No> {
        if self.knowing == Knowing::Nothing || self.sockets.has(status) {
            return Ok(());
        }
        self.rules.ask_socket(from, to).map_err(|refusal| refused(refusal, at))
    }

    fn ask_for_directory(&self, from: &Spot, to: &Spot) -> Result<(), No> {
        self.rules.ask_directory(&from.path).map_err(|refusal| refused(refusal, &from.parent))?;
        for place in &self.rules.beneath(&to.path).places {
            // Nobody looks at what is behind a link, and it may lead elsewhere under the new name.
            if there(from, below(place, &to.path).unwrap_or_default()) == There::BehindLink {
                let at = self.rules.ask_name(place, &[]);
                at.map_err(|refusal| refused(refusal, &from.parent))?;
            }
        }
        for place in self.rules.turned_beneath(&to.path) {
            let rest = [below(place, &to.path).unwrap_or_default(), b"/."].concat();
            if there(from, &rest) == There::BehindLink {
                self.rules.ask_link(place, b".").map_err(|refusal| refused(refusal, &from.parent))?;
            }
        }
        let opens = self.knowing == Knowing::Sockets && self.rules.ask_socket(&from.path, &to.path).is_err();
        if opens || self.may_matter(from, to) { self.ask_beneath(from, to) } else { Ok(()) }
    }

    /// Whether a rule could tell something in a directory under one name from the same under another.
    fn may_matter(&self, from: &Spot, to: &Spot) -> bool {
        [from, to].into_iter().any(|one| {
            let beneath = self.rules.beneath(&one.path);
            beneath.patterns == Patterns::Some
                || beneath
                    .places
                    .iter()
                    .any(|place| there(from, below(place, &one.path).unwrap_or_default()) != There::Nothing)
        })
    }

    /// Asks for everything in a directory, without holding more than one of its directories open. What takes too long is to be
    /// copied: each step of that is a call of its own.
    fn ask_beneath(&self, from: &Spot, to: &Spot) -> Result<(), No> {
        let mut at = list(from.directory(), &plain(from)?)?;
        let mut looked = 0_usize;
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
            looked += 1;
            if looked > MOST_NAMES {
                return Err(No::Failed(Errno::EXDEV));
            }
            if looked.is_multiple_of(NAMES_AT_ONCE) {
                self.goes_on()?;
            }
            let paths = (level.paths.0.join(name.to_bytes()), level.paths.1.join(name.to_bytes()));
            if [&paths.0, &paths.1].into_iter().any(|path| path.as_bytes().len() > LONGEST_PATH) {
                return Err(No::Failed(Errno::EXDEV));
            }
            self.rules.ask_both(&paths.0, &paths.1).map_err(|refusal| refused(refusal, &from.parent))?;
            if kind == Kind::Socket {
                let status = file::status(at.as_raw_fd(), &name)?;
                self.ask_for_socket(&status, &paths.0, &paths.1, &at)?;
            }
            if kind == Kind::Link {
                let text = text_of(&at, &name)?;
                self.rules.ask_link(&paths.1, &text).map_err(|refusal| refused(refusal, &from.parent))?;
            }
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
        let status = file::status(object.file.as_raw_fd(), c"")?;
        match (status.kind(), &object.place) {
            (libc::S_IFLNK, _) => {
                self.ask_to_lead(&to.parent, &to.path, &text_of(&object.file, c"")?)?;
            }
            (libc::S_IFSOCK, Place::Inside(path)) => {
                self.ask_for_socket(&status, path, &to.path, &object.file)?;
            }
            _ => {}
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
    fn of(directory: &OwnedFd, paths: (AbsolutePath, AbsolutePath)) -> Result<Level, Errno> {
        let identity = file::status(directory.as_raw_fd(), c"")?.identity;
        let mut names = Vec::new();
        let own = own_path(directory.as_raw_fd());
        let entries = std::fs::read_dir(OsStr::from_bytes(own.to_bytes())).map_err(errno)?;
        for entry in entries {
            let entry = entry.map_err(errno)?;
            if names.len() >= MOST_NAMES {
                return Err(Errno::EXDEV);
            }
            let name = CString::new(entry.file_name().into_vec()).map_err(|_| Errno::EINVAL)?;
            let kind = entry.file_type().map_err(errno)?;
            names.push((
                name,
                match () {
                    () if kind.is_dir() => Kind::Directory,
                    () if kind.is_symlink() => Kind::Link,
                    () if kind.is_socket() => Kind::Socket,
                    () => Kind::Other,
                },
            ));
        }
        Ok(Level { identity, names, paths })
    }
}

/// What lies in a directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Directory,
    Link,
    Socket,
    Other,
}

fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// What lies at a path below a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    /// Something, or what nobody can look at.
    Something,
    /// A link stands on the way there.
    BehindLink,
}

fn there(spot: &Spot, below: &[u8]) -> There {
    let Ok(name) = plain(spot) else { return There::Nothing };
    let mut path = name.into_bytes();
    let mut names = below.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    loop {
        // No link is before the last component: it would have been seen there.
        let status = CString::new(path.as_slice()).map_err(|_| Errno::ENOENT);
        let status = status.and_then(|path| file::status(spot.directory(), &path));
        let Some(name) = names.next() else {
            return if matches!(status, Err(Errno::ENOENT | Errno::ENOTDIR)) {
                There::Nothing
            } else {
                There::Something
            };
        };
        match status {
            Ok(status) if status.kind() == libc::S_IFLNK => return There::BehindLink,
            Ok(status) if status.kind() == libc::S_IFDIR => {}
            Ok(_) | Err(Errno::ENOENT | Errno::ENOTDIR) => return There::Nothing,
            Err(_) => return There::Something,
        }
        path = [&path, &b"/"[..], name].concat();
    }
}

/// A name without the slash behind it.
fn plain(spot: &Spot) -> Result<CString, Errno> {
    let name = spot.name.to_bytes();
    CString::new(name.strip_suffix(b"/").unwrap_or(name)).map_err(|_| Errno::ENOENT)
}

/// The text of a link: of a name in a directory, or without one of what is open.
fn text_of(at: &OwnedFd, name: &CStr) -> Result<Vec<u8>, Errno> {
    readlinkat(at, name).map(|text| text.as_bytes().to_vec())
}
