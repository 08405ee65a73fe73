//! What the host has at a path that a program inside has named.
//!
//! The name alone must have no effect: to look for one may mount something, ask another machine or a program (autofs, AFS, NFS,
//! FUSE), and so carry a word out. So the walk goes on only in file systems that lie on a disk or in memory of this machine.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use fence_compiler::bytes::AbsolutePath;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::sys::statfs::fstatfs;

use crate::linux::mediator::place::{MOST_LINKS, kind, know, step};

/// The types of these file systems: ext, Btrfs, XFS, tmpfs, ramfs, overlays, ZFS, F2FS, bcachefs, Squashfs, EROFS, FAT, exFAT, NTFS,
/// JFS, ReiserFS, ISO 9660, and what the kernel tells of devices.
const OF_THIS_MACHINE: [u64; 18] = [
    0xef53,
    0x9123_683e,
    0x5846_5342,
    0x0102_1994,
    0x8584_58f6,
    0x794c_7630,
    0x2fc1_2fc1,
    0xf2f5_2010,
    0xca45_1a4e,
    0x7371_7368,
    0xe0f5_e1e2,
    0x4d44,
    0x2011_bab0,
    0x7366_746e,
    0x3153_464a,
    0x5265_4973,
    0x9660,
    0x6265_6572,
];

/// What is there, if it can be told: a link itself only where nothing is behind it.
pub(super) fn status(path: &AbsolutePath) -> Option<FileStat> {
    let root = know("/").ok()?;
    let mut at = root.try_clone().ok()?;
    let mut rest: Vec<Vec<u8>> = path.components().rev().map(<[u8]>::to_vec).collect();
    let mut followed = 0;
    let mut link = None;
    while let Some(name) = rest.pop() {
        if name.is_empty() || name == b"." {
            continue;
        }
        let next = if is_of_this_machine(&at) { step(&at, &name, OFlag::O_NOFOLLOW).ok() } else { None };
        let Some(next) = next else { return link };
        let found = fstat(&next).ok()?;
        if kind(&found) != SFlag::S_IFLNK {
            at = next;
            continue;
        }
        followed += 1;
        if followed > MOST_LINKS {
            return link;
        }
        if rest.is_empty() && link.is_none() {
            link = Some(found);
        }
        let target = readlinkat(&next, OsStr::new("")).ok()?;
        if target.as_bytes().first() == Some(&b'/') {
            at = root.try_clone().ok()?;
        }
        rest.extend(target.as_bytes().split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
    }
    fstat(&at).ok()
}

fn is_of_this_machine(directory: &OwnedFd) -> bool {
    fstatfs(directory).is_ok_and(|system| {
        let kind = system.filesystem_type().0;
        // INVARIANT: a type is a number of 32 bits, whatever the width of the field.
        OF_THIS_MACHINE.contains(&u64::from(kind as u32))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_of_the_host_is_walked_where_a_name_has_no_effect() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        fs::create_dir(top.join("a")).unwrap();
        fs::write(top.join("a/file"), "text").unwrap();
        symlink("../a/./file", top.join("a/link")).unwrap();
        symlink(top.join("a"), top.join("whole")).unwrap();
        symlink("nowhere", top.join("hollow")).unwrap();
        symlink("round", top.join("round")).unwrap();
        let kind_of = |path: &str| {
            let path = AbsolutePath::new(path.as_bytes()).unwrap();
            status(&path).map(|found| kind(&found))
        };
        let below = |path: &str| kind_of(&format!("{}/{path}", top.to_str().unwrap()));
        assert_eq!(below("a/file"), Some(SFlag::S_IFREG));
        assert_eq!(below("a/link"), Some(SFlag::S_IFREG));
        assert_eq!(below("whole/link"), Some(SFlag::S_IFREG));
        assert_eq!(below("whole"), Some(SFlag::S_IFDIR));
        assert_eq!(below("hollow"), Some(SFlag::S_IFLNK));
        assert_eq!(below("round"), Some(SFlag::S_IFLNK));
        assert_eq!(below("hollow/x"), None);
        assert_eq!(below("none"), None);
        // What is there is seen as such; nothing is looked for in it.
        assert_eq!(kind_of("/proc"), Some(SFlag::S_IFDIR));
        assert_eq!(kind_of("/proc/self"), None);
    }
}
