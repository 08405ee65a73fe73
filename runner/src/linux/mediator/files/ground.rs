//! Where calls lead that name files: walked as the caller would, on the mediator's own copy of the path.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use fence_compiler::bytes::AbsolutePath;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, readlinkat};
use nix::sys::stat::{SFlag, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use super::super::place::{MOST_LINKS, Own, is_same, know, leads_anywhere, path_of, process_of, step};
use crate::linux::elsewhere::unescape;
use crate::linux::sys::file::{self, How, NO_LINKS, Status};

/// The file tree inside, which is one for all: nobody there can change a root or a mount.
pub(in crate::linux::mediator) struct Tree {
    root: Rc<OwnedFd>,
    /// The devices of the sandbox's own file systems.
    private: BTreeSet<(u32, u32)>,
    /// Where each mount is, by its number.
    mounts: BTreeMap<u64, AbsolutePath>,
}

/// A path that a call names, relative to a directory of the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::linux::mediator) struct Named {
    /// The number of the directory, or `AT_FDCWD`.
    pub(in crate::linux::mediator) directory: i32,
    /// The path.
    pub(in crate::linux::mediator) path: Vec<u8>,
}

/// Whether a link at the end of a path is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux::mediator) enum Last {
    /// It is.
    Followed,
    /// It is what the call is about.
    Kept,
}

/// What a path leads to.
pub(super) enum Reached {
    /// A name in a directory, whether or not there is something of that name; a link only where it is kept.
    Name(Spot),
    /// Something that is there under no name: what a link of the kernel's stands for, or a directory by `.` or `..`.
    Object(Object),
}

/// A name in a directory.
pub(super) struct Spot {
    /// The directory.
    pub(super) parent: Rc<OwnedFd>,
    /// The name; a slash behind it if the caller wrote one.
    pub(super) name: CString,
    /// The whole path, no component before the last a link.
    pub(super) path: AbsolutePath,
    /// The paths by which it was reached.
    pub(super) spellings: Vec<AbsolutePath>,
}

impl Spot {
    /// The directory's descriptor.
    pub(super) fn directory(&self) -> RawFd {
        self.parent.as_raw_fd()
    }

    /// What lies there.
    pub(super) fn status(&self) -> Result<Status, Errno> {
        let name = self.name.to_bytes();
        let plain = name.strip_suffix(b"/").unwrap_or(name);
        file::status(self.directory(), &CString::new(plain).map_err(|_| Errno::ENOENT)?)
    }

    /// Whether something is mounted there, as what is closed is covered: the kernel keeps from moving and removing that only
    /// who is in the same mount namespace.
    pub(super) fn ask_mount(&self) -> Result<(), Errno> {
        match self.status() {
            Ok(status) if status.mount != file::status(self.directory(), c"")?.mount => Err(Errno::EBUSY),
            _ => Ok(()),
        }
    }
}

/// Whether a path leads to the same for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Constancy {
    /// It does, as far as its links stay.
    Fixed,
    /// It leads through what the kernel tells of processes.
    Varying,
}

/// Something that is open.
pub(super) struct Object {
    /// Opened for nothing but to know it.
    pub(super) file: OwnedFd,
    /// Where it lies.
    pub(super) place: Place,
    /// The paths by which it was reached.
    pub(super) spellings: Vec<AbsolutePath>,
    /// What the descriptor was opened for that it was reached by, if that is one of the caller's: then the file is that
    /// descriptor, so that nothing came between looking at the one and the other.
    pub(super) flags: Option<i32>,
}

/// Where something lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At a path inside.
    Inside(AbsolutePath),
    /// Nowhere: it has no name, or none any more.
    Nowhere,
    /// Outside the sandbox's file tree, or where nobody can tell.
    Outside,
}

impl Object {
    /// The path by which this process opens it again.
    pub(super) fn own_path(&self) -> CString {
        own_path(self.file.as_raw_fd())
    }
}

/// The path by which this process reaches what one of its descriptors stands for.
pub(super) fn own_path(descriptor: RawFd) -> CString {
    CString::new(format!("/proc/self/fd/{descriptor}")).unwrap_or_default()
}

impl Tree {
    /// The file tree that a thread sees, with the places where file systems of its own are mounted.
    pub(in crate::linux::mediator) fn of(thread: i32, private: &[AbsolutePath]) -> Result<Tree, Errno> {
        let root = know(format!("/proc/{thread}/root").as_str())?;
        let told = std::fs::read(format!("/proc/{thread}/mountinfo")).map_err(|_| Errno::ESRCH)?;
        let mounts = mounts(&told);
        // What lay over the root would have its paths, and be another tree.
        if mounts.values().filter(|at| at.is_root()).count() != 1 {
            return Err(Errno::EXDEV);
        }
        let device = |path: &AbsolutePath| {
            let below = CString::new(path.as_bytes().get(1..)?).ok()?;
            let directory = file::open(root.as_raw_fd(), &below, WALK).ok()?;
            let (major, minor, _) = file::status(directory.as_raw_fd(), c"").ok()?.identity;
            Some((major, minor))
        };
        let private = private.iter().filter_map(device).collect();
        Ok(Tree { root: Rc::new(root), private, mounts })
    }

    /// Whether something lies on a file system of the sandbox's own, where nobody outside makes anything.
    pub(super) fn is_private(&self, status: &Status) -> bool {
        let (major, minor, _) = status.identity;
        self.private.contains(&(major, minor))
    }

    /// Whether something lies on a mount of the tree, and not on one of the kernel's own.
    pub(super) fn holds(&self, status: &Status) -> bool {
        self.mounts.contains_key(&status.mount)
    }

    /// Where an open file or directory lies.
    pub(super) fn place(&self, file: &OwnedFd, status: &Status) -> Place {
        let named = matches!(status.kind(), libc::S_IFREG | libc::S_IFDIR | libc::S_IFLNK);
        match (self.mounts.get(&status.mount), told_path(file)) {
            (Some(_), _) if named && status.names == 0 => Place::Nowhere,
            // A pipe, or whatever else never had a name.
            (_, Ok(None)) if !named => Place::Nowhere,
            // A mount that nobody sees any more has its paths from its own root on.
            (Some(at), Ok(Some(path))) if path.is_within(at) => Place::Inside(path),
            // A file of the host's that lost its name, or one whose path is longer than the kernel tells.
            _ => Place::Outside,
        }
    }

    /// The path of a directory that names are made in.
    pub(super) fn path(&self, directory: &OwnedFd) -> Result<AbsolutePath, Errno> {
        let status = file::status(directory.as_raw_fd(), c"")?;
        match self.place(directory, &status) {
            Place::Inside(path) => Ok(path),
            // Nothing can be made in a directory that is gone.
            Place::Nowhere => Err(Errno::ENOENT),
            Place::Outside => Err(Errno::EACCES),
        }
    }

    /// Where a path begins.
    fn base(&self, thread: i32, named: &Named) -> Result<Rc<OwnedFd>, Errno> {
        match named.directory {
            _ if named.path.first() == Some(&b'/') => Ok(Rc::clone(&self.root)),
            libc::AT_FDCWD => know(format!("/proc/{thread}/cwd").as_str()).map(Rc::new),
            number => self.descriptor(thread, number).map(Rc::new),
        }
    }

    /// What a descriptor of a thread stands for.
    pub(super) fn descriptor(&self, thread: i32, number: i32) -> Result<OwnedFd, Errno> {
        know(format!("/proc/{thread}/fd/{number}").as_str()).map_err(|errno| match errno {
            Errno::ENOENT => Errno::EBADF,
            errno => errno,
        })
    }

    /// Takes a descriptor of a thread, once: whatever is asked about it is asked about what was taken.
    pub(super) fn take(&self, thread: i32, number: i32) -> Result<OwnedFd, Errno> {
        file::take(thread, || process_of(thread).ok_or(Errno::ESRCH), number)
    }

    /// What a descriptor of a thread stands for, and where that lies.
    pub(super) fn described(&self, thread: i32, number: i32) -> Result<Object, Errno> {
        let file = self.take(thread, number)?;
        let status = file::status(file.as_raw_fd(), c"")?;
        let place = self.place(&file, &status);
        let flags = Some(file::flags(file.as_raw_fd())?);
        Ok(Object { file, place, spellings: Vec::new(), flags })
    }

    /// Whether a directory of descriptors is that of a thread's own process, or of the thread.
    fn is_own(&self, own: Own, descriptors: &AbsolutePath) -> bool {
        let Ok((process, thread)) = own.numbers() else { return false };
        let below = descriptors.as_bytes().strip_prefix(b"/proc/").unwrap_or_default();
        below == format!("{process}/fd").as_bytes()
            || below == format!("{process}/task/{thread}/fd").as_bytes()
    }

    /// Finds what a path leads to. Where no link is on the way to its last component, the kernel walks at once.
    pub(super) fn locate(&self, thread: i32, named: &Named, last: Last) -> Result<Reached, Errno> {
        let path = named.path.as_slice();
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        let trimmed = path.len() - path.iter().rev().take_while(|byte| **byte == b'/').count();
        let plain = path.get(..trimmed).unwrap_or_default();
        let cut = plain.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let (above, name) = plain.split_at_checked(cut).unwrap_or_default();
        // The root that this process has is another than the caller's: nobody but the slow walk stops at that.
        let climbs = plain.split(|byte| *byte == b'/').any(|name| name == b"..");
        if climbs || matches!(name, b"" | b".") || (trimmed < path.len() && last == Last::Followed) {
            return self.locate_slowly(thread, named, last);
        }
        let base = self.base(thread, named)?;
        let above = above.get(above.iter().take_while(|byte| **byte == b'/').count()..).unwrap_or_default();
        let parent = if above.is_empty() {
            base
        } else {
            let above = CString::new(above).map_err(|_| Errno::ENOENT)?;
            match file::open(base.as_raw_fd(), &above, WALK) {
                Ok(parent) => Rc::new(parent),
                Err(Errno::ELOOP | Errno::EAGAIN) => return self.locate_slowly(thread, named, last),
                Err(errno) => return Err(errno),
            }
        };
        let spot = self.spot(parent, name, trimmed < path.len(), Vec::new())?;
        Ok(Reached::Name(spot))
    }

    fn spot(
        &self,
        parent: Rc<OwnedFd>,
        name: &[u8],
        slash: bool,
        spellings: Vec<AbsolutePath>,
    ) -> Result<Spot, Errno> {
        if name.len() > 255 {
            return Err(Errno::ENAMETOOLONG);
        }
        let path = self.path(&parent)?.join(name);
        let name = if slash { [name, b"/"].concat() } else { name.to_vec() };
        Ok(Spot { parent, name: CString::new(name).map_err(|_| Errno::ENOENT)?, path, spellings })
    }

    /// Finds the same a component at a time, and takes note of every link.
    pub(super) fn locate_slowly(&self, thread: i32, named: &Named, last: Last) -> Result<Reached, Errno> {
        self.walk_from(thread, self.base(thread, named)?, &named.path, last)
    }

    /// Walks a path from a directory, or from the root.
    pub(super) fn walk_from(
        &self,
        thread: i32,
        start: Rc<OwnedFd>,
        path: &[u8],
        last: Last,
    ) -> Result<Reached, Errno> {
        self.walk(thread, start, path, last, &mut Constancy::Fixed)
    }

    /// Does the same, and tells whether it leads there for everybody.
    pub(super) fn walk(
        &self,
        thread: i32,
        start: Rc<OwnedFd>,
        path: &[u8],
        last: Last,
        constancy: &mut Constancy,
    ) -> Result<Reached, Errno> {
        let own = Own::Thread(thread);
        let mut at = if path.first() == Some(&b'/') { Rc::clone(&self.root) } else { start };
        let mut rest = components(path);
        let mut slash = path.ends_with(b"/");
        let mut spellings: Vec<AbsolutePath> =
            path_of(&*at).map(|from| with(&from, &rest)).into_iter().collect();
        let mut followed = 0;
        while let Some(name) = rest.pop() {
            match name.as_slice() {
                b"." => {
                    step(&at, &name, OFlag::O_DIRECTORY)?;
                    continue;
                }
                b".." => {
                    if !is_same(&at, &self.root)? {
                        at = Rc::new(step(&at, &name, OFlag::O_DIRECTORY)?);
                    }
                    continue;
                }
                _ => {}
            }
            let is_last = rest.is_empty();
            if is_last && last == Last::Kept {
                return self.spot(at, &name, slash, spellings).map(Reached::Name);
            }
            let next = match step(&at, &name, OFlag::O_NOFOLLOW) {
                Err(Errno::ENOENT) if is_last => {
                    return self.spot(at, &name, slash, spellings).map(Reached::Name);
                }
                next => next?,
            };
            if super::super::place::kind(&fstat(&next)?) != SFlag::S_IFLNK {
                if is_last {
                    return self.spot(at, &name, slash, spellings).map(Reached::Name);
                }
                at = Rc::new(next);
                continue;
            }
            followed += 1;
            if followed > MOST_LINKS {
                return Err(Errno::ELOOP);
            }
            let here = path_of(&*at);
            let processes = fstatfs(&*at).is_ok_and(|system| system.filesystem_type() == PROC_SUPER_MAGIC);
            if processes {
                *constancy = Constancy::Varying;
            }
            let target = match &here {
                Some(here) if processes && leads_anywhere(here, &name) => {
                    // The first process is fence's own, and keeps to itself what it holds.
                    if here.components().nth(1) == Some(b"1") {
                        return Err(Errno::EACCES);
                    }
                    let (file, flags) = self.behind(thread, own, &at, here, &name)?;
                    // It leads to what it stands for, not to a path: what was written so far names nothing of that.
                    spellings = path_of(&file).map(|from| with(&from, &rest)).into_iter().collect();
                    if rest.iter().all(|name| name == b".") {
                        let status = file::status(file.as_raw_fd(), c"")?;
                        let place = self.place(&file, &status);
                        return Ok(Reached::Object(Object { file, place, spellings, flags }));
                    }
                    at = Rc::new(file);
                    continue;
                }
                Some(_) if processes && name == b"self" => own.process()?,
                Some(_) if processes && name == b"thread-self" => own.thread()?,
                _ => readlinkat(&next, OsStr::new("")).map(|text| text.as_bytes().to_vec())?,
            };
            if is_last {
                slash |= target.ends_with(b"/");
            }
            spellings.extend(here.map(|here| with(&here.join(&name), &rest)));
            if target.first() == Some(&b'/') {
                at = Rc::clone(&self.root);
            }
            rest.extend(components(&target));
        }
        let file = at.try_clone().map_err(|_| Errno::EMFILE)?;
        let status = file::status(file.as_raw_fd(), c"")?;
        let place = self.place(&file, &status);
        Ok(Reached::Object(Object { file, place, spellings, flags: None }))
    }

    /// What a link of the kernel's stands for; with what it was opened for, if it is a descriptor of the caller's own.
    fn behind(
        &self,
        thread: i32,
        own: Own,
        at: &OwnedFd,
        here: &AbsolutePath,
        name: &[u8],
    ) -> Result<(OwnedFd, Option<i32>), Errno> {
        let number = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
        match number.filter(|_| here.name() == Some(b"fd") && self.is_own(own, here)) {
            Some(number) => {
                let file = self.take(thread, number).map_err(|errno| match errno {
                    Errno::EBADF => Errno::ENOENT,
                    errno => errno,
                })?;
                let flags = file::flags(file.as_raw_fd())?;
                Ok((file, Some(flags)))
            }
            None => Ok((step(at, name, OFlag::empty())?, None)),
        }
    }

    /// Opens what lies at a name, for nothing but to know it: a link itself only where it is kept.
    pub(super) fn object(&self, spot: Spot, last: Last) -> Result<Object, Errno> {
        let kept = if last == Last::Kept { libc::O_NOFOLLOW } else { 0 };
        let how = How { flags: libc::O_PATH | libc::O_CLOEXEC | kept, mode: 0, resolve: NO_LINKS };
        let file = file::open(spot.directory(), &spot.name, how)?;
        Ok(Object { file, place: Place::Inside(spot.path), spellings: spot.spellings, flags: None })
    }

    /// The text of a link at a path inside, in which no component before is one.
    pub(super) fn link(&self, path: &AbsolutePath) -> Option<Vec<u8>> {
        let below = path.as_bytes().get(1..).filter(|below| !below.is_empty())?;
        let below = CString::new(below).ok()?;
        readlinkat(&*self.root, below.as_c_str()).ok().map(|text| text.as_bytes().to_vec())
    }
}

const WALK: How =
    How { flags: libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC, mode: 0, resolve: NO_LINKS };

/// The names of a path, the first one last.
pub(in crate::linux::mediator) fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).rev().map(<[u8]>::to_vec).collect()
}

/// A path with the names that are still to be walked, up to the first `..`.
pub(in crate::linux::mediator) fn with(path: &AbsolutePath, rest: &[Vec<u8>]) -> AbsolutePath {
    let names = rest.iter().rev().take_while(|name| *name != b"..").filter(|name| *name != b".");
    path.join_all(names.map(Vec::as_slice))
}

/// The path of what a descriptor stands for, as [`path_of`] tells it; none for what never had one.
pub(super) fn told_path(file: &OwnedFd) -> Result<Option<AbsolutePath>, Errno> {
    let text = readlinkat(AT_FDCWD, own_path(file.as_raw_fd()).as_c_str())?;
    Ok(AbsolutePath::new(text.as_bytes()))
}

/// The mounts that `mountinfo` tells of.
fn mounts(told: &[u8]) -> BTreeMap<u64, AbsolutePath> {
    let line = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let number = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        Some((number, AbsolutePath::new(&unescape(fields.nth(3)?))?))
    };
    told.split(|byte| *byte == b'\n').filter_map(line).collect()
}

/// Opens a name in a directory to read its names.
pub(super) fn list(directory: RawFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW | libc::O_CLOEXEC;
    file::open(directory, name, How { flags, mode: 0, resolve: NO_LINKS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_told_with_whatever_is_in_their_names() {
        let told =
            b"21 1 0:5 / / rw - x x rw\n22 21 0:5 /a /with\\040blank\\134x rw,nosuid shared:1 - x x rw\n";
        let found = mounts(told);
        assert_eq!(found[&21].as_bytes(), b"/");
        assert_eq!(found[&22].as_bytes(), b"/with blank\\x");
    }
}
