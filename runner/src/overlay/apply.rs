//! Carries over to the host what an overlay holds.
//!
//! Each file is written anew beside its place and put there in one step. What it takes the place of is looked at once more in
//! that step: if it is not what was there when the overlay was written, it is put back. Everything is reached by descriptors of
//! directories, without following a link and without leaving the directory that the layer is over.

use std::fs::{File, FileTimes};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use fence_compiler::bytes::AbsolutePath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, symlinkat, unlinkat};

use super::base::Base;
use super::change::{Change, source};
use super::content;
use super::folder::Place;
use super::tree::{At, Entered, NodeKind, joined, names, open_below, open_top};
use crate::linux::{Renaming, rename};

/// What becomes of what the host has changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// It stays, and nothing is carried over.
    No,
    /// It is replaced.
    Yes,
}

/// Why something was not carried over.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The host changed it at the last moment.
    #[error("the host has changed it since")]
    Changed,
    /// Its directory cannot be reached.
    #[error("its directory is gone or cannot be entered, or a link or a mount now stands in its way")]
    Blocked,
    /// The system refuses it.
    #[error("{0}")]
    System(#[from] io::Error),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure::System(errno.into())
    }
}

/// Carries over changes of one place, in their order, and tells each that is done. What fails is given with why.
///
/// # Errors
/// The first change that fails; none after it is carried over.
pub(super) fn apply(
    place: &Place,
    base: &Base,
    changes: &[&Change],
    force: Force,
    done: &mut dyn FnMut(&Change),
) -> Result<(), (AbsolutePath, Failure)> {
    let mut carrier = match Carrier::new(place, base, force) {
        Ok(carrier) => carrier,
        Err(failure) => return Err((place.over().clone(), failure)),
    };
    let mut result = Ok(());
    for change in changes {
        // Whoever ends this process ends it between two changes.
        match crate::linux::undisturbed(|| carrier.carry(change)) {
            Ok(()) => done(change),
            Err(failure) => {
                result = Err((change.path.clone(), failure));
                break;
            }
        }
    }
    let modes = carrier.give_modes();
    result.and(modes)
}

struct Carrier<'a> {
    base: &'a Base,
    force: Force,
    /// What is carried over: the directory of the layer, or the folder of the copy.
    from: Entered,
    /// Where to.
    to: OwnedFd,
    /// The names there, where the place is a single file.
    alone: Option<(&'static [u8], Vec<u8>)>,
    /// The modes that directories get when everything in them is done.
    modes: Vec<(AbsolutePath, Vec<u8>, u32)>,
    /// How many names beside have been taken.
    taken: u32,
}

impl Carrier<'_> {
    fn new<'a>(place: &Place, base: &'a Base, force: Force) -> Result<Carrier<'a>, Failure> {
        let (folder, name) = source(place);
        let folder = open_top(folder)?.ok_or(Failure::Blocked)?;
        let (from, to, alone) = match place {
            Place::Layer { over, .. } => (At { directory: &folder, name }.enter()?, open_top(over)?, None),
            Place::Copy { of, .. } => {
                let parent = of.parent().unwrap_or_else(AbsolutePath::root);
                let to = of.name().unwrap_or_default().to_vec();
                (At { directory: &folder, name: b"." }.enter()?, open_top(&parent)?, Some((name, to)))
            }
        };
        let to = to.ok_or(Failure::Blocked)?;
        Ok(Carrier { base, force, from, to, alone, modes: Vec::new(), taken: 0 })
    }

    fn carry(&mut self, change: &Change) -> Result<(), Failure> {
        if change.below.is_empty() && self.alone.is_none() {
            // The directory itself: only its mode can differ.
            if let Some(after) = &change.after {
                self.modes.push((change.path.clone(), Vec::new(), after.mode));
            }
            return Ok(());
        }
        let (above, name) = split(&change.below);
        let (source, name) = match &self.alone {
            Some((source, name)) => (*source, name.clone()),
            None => (name, name.to_vec()),
        };
        let directory = open_below(&self.to, above)?.ok_or(Failure::Blocked)?;
        let at = At { directory: &directory, name: &name };
        let there = at.look()?.map(|(node, _)| node.kind);
        match change.after.as_ref().map(|after| &after.kind) {
            None => self.remove(at, &change.below)?,
            Some(NodeKind::Directory) => {
                match there {
                    Some(NodeKind::Directory) => {}
                    Some(_) => {
                        self.remove(at, &change.below)?;
                        mkdirat(&directory, name.as_slice(), Mode::S_IRWXU)?;
                    }
                    None => mkdirat(&directory, name.as_slice(), Mode::S_IRWXU)?,
                }
                let mode = change.after.as_ref().map_or(0o700, |after| after.mode);
                self.modes.push((change.path.clone(), change.below.clone(), mode));
            }
            Some(NodeKind::File(_) | NodeKind::Link(_)) => {
                let beside = self.beside();
                let entered = enter(&self.from, above)?;
                let from = entered.last().unwrap_or(&self.from);
                let made = made(At { directory: &from.directory, name: source }, at, &beside, change);
                drop(entered);
                let put = made.and_then(|()| self.put(at, &beside, &change.below));
                if put.is_err() {
                    let _ = unlinkat(&directory, beside.as_slice(), UnlinkatFlags::NoRemoveDir);
                }
                put?;
            }
            Some(NodeKind::Other(_)) => {}
        }
        Ok(())
    }

    /// A name that nothing of the host's has.
    fn beside(&mut self) -> Vec<u8> {
        self.taken += 1;
        format!(".fence-apply-{}-{}", std::process::id(), self.taken).into_bytes()
    }

    /// Puts what was made beside a place there.
    fn put(&mut self, at: At<'_>, beside: &[u8], below: &[u8]) -> Result<(), Failure> {
        let directory = at.directory;
        match at.look()? {
            None => {}
            Some((node, _)) if node.kind == NodeKind::Directory => self.remove(at, below)?,
            Some((before, found)) => {
                match rename(directory, beside, at.name, Renaming::Exchange) {
                    Ok(()) => {}
                    // Not every file system can exchange two names.
                    Err(Errno::EINVAL | Errno::ENOSYS) => {
                        if self.force == Force::No && !self.base.fits(below, &before, &found) {
                            return Err(Failure::Changed);
                        }
                        return Ok(renameat(directory, beside, directory, at.name)?);
                    }
                    Err(errno) => return Err(errno.into()),
                }
                let taken = At { directory, name: beside };
                let fits = taken.look()?.is_some_and(|(node, found)| self.base.fits(below, &node, &found));
                if self.force == Force::No && !fits {
                    rename(directory, beside, at.name, Renaming::Exchange)?;
                    return Err(Failure::Changed);
                }
                return match unlinkat(directory, beside, UnlinkatFlags::NoRemoveDir) {
                    // A directory was put there at the last moment.
                    Err(Errno::EISDIR | Errno::EPERM) => {
                        rename(directory, beside, at.name, Renaming::Exchange)?;
                        Err(Failure::Changed)
                    }
                    other => Ok(other?),
                };
            }
        }
        match rename(directory, beside, at.name, Renaming::New) {
            Err(Errno::EEXIST) => Err(Failure::Changed),
            Err(Errno::EINVAL | Errno::ENOSYS) => Ok(renameat(directory, beside, directory, at.name)?),
            other => Ok(other?),
        }
    }

    /// Removes what lies somewhere, if it is what was there.
    fn remove(&mut self, at: At<'_>, below: &[u8]) -> Result<(), Failure> {
        let Some((node, found)) = at.look()? else { return Ok(()) };
        if node.kind == NodeKind::Directory {
            let directory = open_below(at.directory, at.name)?.ok_or(Failure::Blocked)?;
            for name in names(&directory)? {
                self.remove(At { directory: &directory, name: &name }, &joined(below, &name))?;
            }
            return match unlinkat(at.directory, at.name, UnlinkatFlags::RemoveDir) {
                Err(Errno::ENOTEMPTY | Errno::EEXIST) => Err(Failure::Changed),
                other => Ok(other?),
            };
        }
        let beside = self.beside();
        let taken = At { directory: at.directory, name: &beside };
        match rename(at.directory, at.name, &beside, Renaming::New) {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOSYS) => {
                if self.force == Force::No && !self.base.fits(below, &node, &found) {
                    return Err(Failure::Changed);
                }
                return Ok(unlinkat(at.directory, at.name, UnlinkatFlags::NoRemoveDir)?);
            }
            Err(errno) => return Err(errno.into()),
        }
        let fits = taken.look()?.is_some_and(|(node, found)| self.base.fits(below, &node, &found));
        if self.force == Force::No && !fits {
            rename(at.directory, &beside, at.name, Renaming::New)?;
            return Err(Failure::Changed);
        }
        Ok(unlinkat(at.directory, beside.as_slice(), UnlinkatFlags::NoRemoveDir)?)
    }

    /// Gives directories their modes, those within others first. Special bits stay as the host has them.
    fn give_modes(&mut self) -> Result<(), (AbsolutePath, Failure)> {
        let mut result = Ok(());
        for (path, below, mode) in std::mem::take(&mut self.modes).into_iter().rev() {
            let given = open_below(&self.to, &below).map_err(Failure::from).and_then(|directory| {
                let directory = File::from(directory.ok_or(Failure::Blocked)?);
                let special = directory.metadata()?.mode() & 0o7000;
                let mode = std::fs::Permissions::from_mode(special | mode & 0o777);
                Ok(directory.set_permissions(mode)?)
            });
            if let Err(failure) = given
                && result.is_ok()
            {
                result = Err((path, failure));
            }
        }
        result
    }
}

/// Makes what is carried over beside its place.
fn made(from: At<'_>, at: At<'_>, beside: &[u8], change: &Change) -> Result<(), Failure> {
    if let Some(NodeKind::Link(text)) = change.after.as_ref().map(|after| &after.kind) {
        return Ok(symlinkat(text.as_slice(), at.directory, beside)?);
    }
    let mut held = from.open()?;
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let made = openat(at.directory, beside, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    let mut made = File::from(made);
    content::copy(&mut held, &mut made)?;
    let times = FileTimes::new().set_modified(held.metadata()?.modified()?);
    if let Some((_, before)) = at.look()? {
        // Only root can give a file away; for anybody else it stays the caller's.
        let _ = fchown(&made, Some(Uid::from_raw(before.st_uid)), Some(Gid::from_raw(before.st_gid)));
    }
    let mode = change.after.as_ref().map_or(0o600, |after| after.mode & 0o777);
    made.set_permissions(std::fs::Permissions::from_mode(mode))?;
    made.set_times(times)?;
    Ok(())
}

/// Enters the directories of a path below another, one after the other.
pub(super) fn enter(top: &Entered, path: &[u8]) -> io::Result<Vec<Entered>> {
    let mut entered: Vec<Entered> = Vec::new();
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        let directory = &entered.last().unwrap_or(top).directory;
        let next = At { directory, name }.enter()?;
        entered.push(next);
    }
    Ok(entered)
}

pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
        None => (&[], path),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nix::sys::stat::{SFlag, mknod};

    use super::super::change::changes;
    use super::*;

    #[test]
    fn what_changes_at_the_last_moment_stays() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let path = |name: &str| {
            AbsolutePath::new(std::os::unix::ffi::OsStrExt::as_bytes(top.join(name).as_os_str())).unwrap()
        };
        for directory in ["host", "kept", "kept/upper"] {
            fs::create_dir(top.join(directory)).unwrap();
        }
        for name in ["changed", "removed"] {
            fs::write(top.join("host").join(name), "before").unwrap();
        }
        let place = Place::Layer { over: path("host"), kept: path("kept") };
        let mut base = Base::read(&place).unwrap();
        base.begin(&place).unwrap();
        fs::write(top.join("kept/upper/changed"), "after").unwrap();
        fs::write(top.join("kept/upper/new"), "after").unwrap();
        mknod(&top.join("kept/upper/removed"), SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
        base.record(&place).unwrap();
        let found = changes(&place, &base).unwrap();
        assert_eq!(found.len(), 3);
        for name in ["changed", "removed", "new"] {
            fs::write(top.join("host").join(name), "later").unwrap();
        }
        for change in &found {
            let result = apply(&place, &base, &[change], Force::No, &mut |_| {});
            assert!(matches!(result, Err((_, Failure::Changed))), "{change:?}: {result:?}");
            assert_eq!(
                fs::read(top.join("host").join(change.path.to_string().rsplit('/').next().unwrap())).unwrap(),
                b"later"
            );
        }
        assert_eq!(fs::read_dir(top.join("host")).unwrap().count(), 3);
        for change in &found {
            apply(&place, &base, &[change], Force::Yes, &mut |_| {}).unwrap();
        }
        let names: Vec<_> =
            fs::read_dir(top.join("host")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(fs::read(top.join("host/changed")).unwrap(), b"after");
    }
}
