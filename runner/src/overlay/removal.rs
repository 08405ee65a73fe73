//! Removes what programs wrote, whatever they made of it.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use fence_compiler::bytes::AbsolutePath;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::tree::{At, names, open_top};
use crate::load::to_path;

/// Removes a directory with everything in it. No link is followed, and trees of any depth are removed: what lies deeper
/// is moved up first.
///
/// # Errors
/// Something cannot be removed.
pub(super) fn remove_tree(directory: &AbsolutePath) -> io::Result<()> {
    let above = directory.parent().map(|above| open_top(&above)).transpose()?.flatten();
    let Some(above) = above else { return Err(io::ErrorKind::NotFound.into()) };
    let top = open(&above, directory.name().unwrap_or_default())?;
    let mut number = 0_u64;
    loop {
        let held = names(&top)?;
        if held.is_empty() {
            break;
        }
        for name in held {
            if !is_directory(&top, &name)? {
                unlinkat(&top, name.as_slice(), UnlinkatFlags::NoRemoveDir)?;
                continue;
            }
            let below = open(&top, &name)?;
            for inner in names(&below)? {
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
fn open(at: &OwnedFd, name: &[u8]) -> io::Result<OwnedFd> {
    let (path, _, _held) = At { directory: at, name }.allow(Mode::S_IRWXU)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    Ok(openat(AT_FDCWD, path.as_str(), flags, Mode::empty())?)
}

fn is_directory(at: impl AsFd, name: &[u8]) -> io::Result<bool> {
    let found = fstatat(at, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    Ok(SFlag::from_bits_truncate(found.st_mode & libc::S_IFMT) == SFlag::S_IFDIR)
}
