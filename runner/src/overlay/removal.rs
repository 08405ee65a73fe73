//! Removes what programs wrote, whatever they made of it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use fence_compiler::bytes::AbsolutePath;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::load::to_path;

/// Removes a directory with everything in it. No link is followed, and trees of any depth are removed: what lies deeper
/// is moved up first.
///
/// # Errors
/// Something cannot be removed.
pub(super) fn remove_tree(directory: &AbsolutePath) -> io::Result<()> {
    let top = open(AT_FDCWD, directory.as_bytes())?;
    let mut number = 0_u64;
    loop {
        let names = names(&top)?;
        if names.is_empty() {
            break;
        }
        for name in names {
            if !is_directory(&top, &name)? {
                unlinkat(&top, name.as_slice(), UnlinkatFlags::NoRemoveDir)?;
                continue;
            }
            let below = open(&top, &name)?;
            for inner in self::names(&below)? {
                if is_directory(&below, &inner)? {
                    // To be moved, a directory must be writable itself.
                    open(&below, &inner)?;
                    number = up(&below, &inner, &top, number)?;
                } else {
                    unlinkat(&below, inner.as_slice(), UnlinkatFlags::NoRemoveDir)?;
                }
            }
            unlinkat(&top, name.as_slice(), UnlinkatFlags::RemoveDir)?;
        }
    }
    fs::remove_dir(to_path(directory))
}

/// Moves a directory up to one above it, under the next number that is free.
fn up(from: &OwnedFd, name: &[u8], to: &OwnedFd, number: u64) -> io::Result<u64> {
    let mut number = number;
    loop {
        number += 1;
        let free = format!("moved-{number}");
        match fstatat(to, free.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
            Ok(_) => continue,
        }
        renameat(from, name, to, free.as_str())?;
        return Ok(number);
    }
}

/// Opens a directory, which is made readable if it was not.
fn open(at: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    if is_directory(&at, name)? {
        // Nobody else is there to put a link in its place.
        fchmodat(&at, name, Mode::S_IRWXU, FchmodatFlags::FollowSymlink)?;
    }
    Ok(openat(at, name, flags, Mode::empty())?)
}

fn is_directory(at: impl AsFd, name: &[u8]) -> io::Result<bool> {
    let found = fstatat(at, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    Ok(SFlag::from_bits_truncate(found.st_mode & libc::S_IFMT) == SFlag::S_IFDIR)
}

/// The names in a directory, in order.
fn names(directory: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()))? {
        names.push(entry?.file_name().as_bytes().to_vec());
    }
    names.sort();
    Ok(names)
}
