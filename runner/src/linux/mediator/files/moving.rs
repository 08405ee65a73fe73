//! Giving things other names: moving and linking.
//!
//! What is moved must be allowed to be written under both names, and must not be allowed more under the new one. For a
//! directory that is asked of everything in it too, where a rule could tell one from the other.
//!
//! Where reading is judged, what may be read and keeps a name or another way to it must not be closed by a new one, and it is
//! asked once more after moving: somebody outside may have moved or made something in between, and then it is moved back.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileTypeExt;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::paths::Patterns;
use fence_compiler::policy::PathAction;
use nix::errno::Errno;
use nix::fcntl::readlinkat;

use super::ground::{Last, Named, Place, Reached, Spot, list, own_path, told_path};
use super::making::below;
use super::reading::is_lost;
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
            let (old, new) = ((from.directory(), &*from.name), (to.directory(), &*to.name));
            file::rename(old, new, flags)?;
            let mut stays = self.ask_moved(&from, &to);
            if flags & EXCHANGED != 0 {
                stays = stays.and_then(|()| self.ask_moved(&to, &from));
            }
            if let Err(no) = stays {
                file::rename(new, old, if flags == 0 { NOT_THERE_YET } else { flags })?;
                return Err(no);
            }
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
        if self.judges_reads() && status.kind() != libc::S_IFDIR && status.names > 1 {
            let tied = self.rules.ask_tied(&from.path, &to.path);
            tied.map_err(|refusal| refused(refusal, &from.parent))?;
        }
        match status.kind() {
            libc::S_IFDIR => self.ask_for_directory(from, to),
            libc::S_IFSOCK => self.ask_for_socket(status, &from.path, &to.path, &from.parent),
            libc::S_IFLNK => self.ask_to_lead(&to.parent, &to.path, &text_of(&from.parent, &plain(from)?)?),
            _ => Ok(()),
        }
    }

    /// Whether what was moved may have been, where it came from by now and with what is in it by now.
    fn ask_moved(&self, from: &Spot, to: &Spot) -> Result<(), No> {
        if !self.judges_reads() {
            return Ok(());
        }
        let path = |spot: &Spot| -> Result<AbsolutePath, Errno> {
            let name = plain(spot)?;
            Ok(self.tree.path(&spot.parent)?.join(name.to_bytes()))
        };
        let (old, new) = (path(from)?, path(to)?);
        self.rules.ask_both(&old, &new).map_err(|refusal| refused(refusal, &to.parent))?;
        let is_directory = to.status().is_ok_and(|status| status.kind() == libc::S_IFDIR);
        if is_directory && self.must_look(to, &old, &new) { self.ask_beneath(to, &old, &new) } else { Ok(()) }
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
        match self.must_look(from, &from.path, &to.path) {
            true => self.ask_beneath(from, &from.path, &to.path),
            false => Ok(()),
        }
    }

    /// Whether a rule could tell something in a directory under one name from the same under another; where it lies now.
    fn must_look(&self, at: &Spot, from: &AbsolutePath, to: &AbsolutePath) -> bool {
        let opens = self.knowing == Knowing::Sockets && self.rules.ask_socket(from, to).is_err();
        let closes = self.judges_reads() && self.rules.ask_tied(from, to).is_err();
        let is_there = |place: &AbsolutePath, one: &AbsolutePath| {
            there(at, below(place, one).unwrap_or_default()) != There::Nothing
        };
        opens
            || closes
            || [from, to].into_iter().any(|one| {
                let beneath = self.rules.beneath(one);
                beneath.patterns == Patterns::Some || beneath.places.iter().any(|place| is_there(place, one))
            })
    }

    /// Asks for everything in a directory, without holding more than one of its directories open. What takes too long is to be
    /// copied: each step of that is a call of its own.
    fn ask_beneath(&self, spot: &Spot, from: &AbsolutePath, to: &AbsolutePath) -> Result<(), No> {
        let mut at = list(spot.directory(), &plain(spot)?)?;
        let mut looked = 0_usize;
        let mut levels = vec![Level::of(&at, (from.clone(), to.clone()))?];
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
            self.rules.ask_both(&paths.0, &paths.1).map_err(|refusal| refused(refusal, &spot.parent))?;
            if self.judges_reads() && kind != Kind::Directory {
                self.ask_for_tie(&at, &name, kind, &paths)?;
            }
            if kind == Kind::Socket {
                let status = file::status(at.as_raw_fd(), &name)?;
                self.ask_for_socket(&status, &paths.0, &paths.1, &at)?;
            }
            if kind == Kind::Link {
                let text = text_of(&at, &name)?;
                self.rules.ask_link(&paths.1, &text).map_err(|refusal| refused(refusal, &spot.parent))?;
            }
            if kind == Kind::Directory {
                at = list(at.as_raw_fd(), &name)?;
                levels.push(Level::of(&at, paths)?);
            }
        }
        Ok(())
    }

    /// Whether something in a directory that is moved leads to what may be read, or is that, and is closed then.
    fn ask_for_tie(
        &self,
        at: &OwnedFd,
        name: &CStr,
        kind: Kind,
        (old, new): &(AbsolutePath, AbsolutePath),
    ) -> Result<(), No> {
        let Err(refusal) = self.rules.ask(PathAction::Read, new, &[]) else { return Ok(()) };
        let was_open = self.rules.ask_tied(old, new).is_err();
        let tied = match kind {
            // What leads out of the directory leads elsewhere from another place.
            Kind::Link => {
                was_open || text_of(at, name)?.split(|byte| *byte == b'/').any(|name| name == b"..")
            }
            _ => was_open && file::status(at.as_raw_fd(), name)?.names > 1,
        };
        if tied { Err(refused(refusal, at)) } else { Ok(()) }
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
            self.object(from, last)?
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
                let both = both.and_then(|()| match self.judges_reads() {
                    true => self.rules.ask_tied(path, &to.path),
                    false => Ok(()),
                });
                both.map_err(|refusal| refused(refusal, &object.file))?;
                // Nobody can tell what name that was.
                if self.judges_reads() && is_lost(path) {
                    return Err(No::Failed(Errno::EACCES));
                }
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
            if let Place::Inside(path) = &object.place
                && let Err(no) = self.ask_linked(&object.file, path, &to)
            {
                file::remove(to.directory(), &to.name, 0)?;
                return Err(no);
            }
        }
        self.rules.changed(&to.path, self.arbiter, self.tree);
        Ok(Done::Nothing)
    }
}

impl Caller<'_> {
    /// Whether what was linked may have its new name, by where both lie now.
    fn ask_linked(&self, file: &OwnedFd, judged: &AbsolutePath, to: &Spot) -> Result<(), No> {
        if !self.judges_reads() {
            return Ok(());
        }
        let old = told_path(file)?.filter(|path| path == judged || !is_lost(path)).ok_or(Errno::ENOENT)?;
        let new = self.tree.path(&to.parent)?.join(to.path.name().unwrap_or_default());
        let both = self.rules.ask_both(&old, &new).and_then(|()| self.rules.ask_tied(&old, &new));
        both.map_err(|refusal| refused(refusal, &to.parent))
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
