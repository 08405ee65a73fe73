//! Walking a path as a process inside would, and keeping what lies at its end.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use fence_compiler::bytes::AbsolutePath;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::sys::statvfs::{FsFlags, fstatvfs};

/// How many links a path may lead through, as in the kernel.
pub(super) const MOST_LINKS: usize = 40;

/// Where a path is walked from.
pub(super) struct Ground {
    /// The root of the process.
    pub(super) root: OwnedFd,
    /// The directory that a path without a slash in front is in.
    pub(super) start: OwnedFd,
    /// The process as its own namespace numbers it: what `/proc/self` is to it.
    pub(super) own: Own,
}

/// The numbers of a thread.
#[derive(Clone, Copy, Debug)]
pub(super) enum Own {
    /// To be looked up below the caller's `/proc` when needed, for this thread.
    Thread(i32),
    /// The caller itself.
    Caller,
}

/// What lies at a path.
pub(super) struct Found {
    /// Opened for nothing but to know it.
    pub(super) file: OwnedFd,
    /// What it is.
    pub(super) status: FileStat,
    /// Its path inside, no component of it a link; none if it has none.
    pub(super) path: Option<AbsolutePath>,
    /// The links on the way, and what they hold.
    pub(super) links: BTreeMap<AbsolutePath, Vec<u8>>,
    /// Whether it was looked for, and found, that every directory on the way and the file are on read-only mounts:
    /// nobody inside can put something else there.
    pub(super) sealed: bool,
}

/// What is looked at on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// What lies there.
    Plain,
    /// Whether it can be exchanged, too.
    Seals,
}

impl Found {
    /// Which file it is, wherever it is found.
    pub(super) fn identity(&self) -> (u64, u64) {
        (self.status.st_dev, self.status.st_ino)
    }

    /// Whether it is a file that could hold a program.
    pub(super) fn is_file(&self) -> bool {
        kind(&self.status) == SFlag::S_IFREG
    }

    /// What an open descriptor stands for.
    pub(super) fn of(file: OwnedFd, links: BTreeMap<AbsolutePath, Vec<u8>>) -> Result<Found, Errno> {
        let status = fstat(&file)?;
        let path = path_of(&file);
        Ok(Found { file, status, path, links, sealed: false })
    }
}

/// Opens a path of this process for nothing but to know what it is.
pub(super) fn know<P: nix::NixPath + ?Sized>(path: &P) -> Result<OwnedFd, Errno> {
    openat(AT_FDCWD, path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
}

/// Walks a path.
pub(super) fn walk(ground: &Ground, path: &[u8], look: Look) -> Result<Found, Errno> {
    let mut open: Vec<Vec<u8>> = components(path);
    let first = if path.first() == Some(&b'/') { &ground.root } else { &ground.start };
    let mut at = first.try_clone().map_err(|_| Errno::EMFILE)?;
    let mut links = BTreeMap::new();
    let mut followed = 0;
    let mut sealed = look == Look::Seals;
    while let Some(name) = open.pop() {
        match name.as_slice() {
            b"" | b"." => continue,
            b".." => {
                if !is_same(&at, &ground.root)? {
                    at = step(&at, &name, OFlag::O_DIRECTORY)?;
                }
                continue;
            }
            _ => {}
        }
        sealed = sealed && is_sealed(&at);
        let next = step(&at, &name, OFlag::O_NOFOLLOW)?;
        if kind(&fstat(&next)?) != SFlag::S_IFLNK {
            at = next;
            continue;
        }
        followed += 1;
        if followed > MOST_LINKS {
            return Err(Errno::ELOOP);
        }
        let here = path_of(&at);
        let processes = fstatfs(&at).is_ok_and(|system| system.filesystem_type() == PROC_SUPER_MAGIC);
        let target = match &here {
            Some(here) if processes && leads_anywhere(here, &name) => {
                // A link of the kernel's: it leads to what it stands for, whatever its text.
                at = step(&at, &name, OFlag::empty())?;
                sealed = false;
                if let Some(there) = path_of(&at) {
                    links.insert(here.join(&name), there.as_bytes().to_vec());
                }
                continue;
            }
            Some(_) if processes && name == b"self" => ground.own.process()?,
            Some(_) if processes && name == b"thread-self" => ground.own.thread()?,
            _ => readlinkat(&next, OsStr::new("")).map(|text| text.as_bytes().to_vec())?,
        };
        if let Some(here) = here {
            links.insert(here.join(&name), target.clone());
        }
        if target.first() == Some(&b'/') {
            at = ground.root.try_clone().map_err(|_| Errno::EMFILE)?;
        }
        open.extend(components(&target));
    }
    let sealed = sealed && is_sealed(&at);
    Ok(Found { sealed, ..Found::of(at, links)? })
}

fn is_sealed(file: &OwnedFd) -> bool {
    fstatvfs(file).is_ok_and(|system| system.flags().contains(FsFlags::ST_RDONLY))
}

fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec).collect()
}

/// Whether a link in `/proc` leads to an object and not to a path.
pub(super) fn leads_anywhere(directory: &AbsolutePath, name: &[u8]) -> bool {
    matches!(name, b"exe" | b"cwd" | b"root")
        || matches!(directory.name(), Some(b"fd" | b"map_files" | b"ns"))
}

pub(super) fn step(at: &OwnedFd, name: &[u8], how: OFlag) -> Result<OwnedFd, Errno> {
    if name.len() > 255 {
        return Err(Errno::ENAMETOOLONG);
    }
    let name = CString::new(name).map_err(|_| Errno::ENOENT)?;
    openat(at, name.as_c_str(), how | OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
}

pub(super) fn kind(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode & libc::S_IFMT)
}

pub(super) fn is_same(one: &OwnedFd, other: &OwnedFd) -> Result<bool, Errno> {
    let (one, other) = (fstat(one)?, fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// The path of what a descriptor stands for, in the file tree that it was opened in.
pub(super) fn path_of(file: &impl AsFd) -> Option<AbsolutePath> {
    let link = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let text = readlinkat(AT_FDCWD, link.as_str()).ok()?;
    AbsolutePath::new(text.as_bytes())
}

impl Own {
    pub(super) fn process(self) -> Result<Vec<u8>, Errno> {
        Ok(self.numbers()?.0.to_string().into_bytes())
    }

    pub(super) fn thread(self) -> Result<Vec<u8>, Errno> {
        let (process, thread) = self.numbers()?;
        Ok(format!("{process}/task/{thread}").into_bytes())
    }

    /// The process and the thread, as their own namespace numbers them.
    pub(super) fn numbers(self) -> Result<(u32, u32), Errno> {
        let path = match self {
            Own::Thread(thread) => format!("/proc/{thread}/status"),
            Own::Caller => "/proc/self/status".to_owned(),
        };
        let status = std::fs::read_to_string(path).map_err(|_| Errno::ESRCH)?;
        let last = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().last()?.parse().ok()
        };
        last("NStgid:").zip(last("NSpid:")).ok_or(Errno::ESRCH)
    }
}

/// The process that a thread belongs to, as this process's namespace numbers it.
pub(super) fn process_of(thread: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_is_walked_below_its_root() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::write(top.join("a/b/file"), "text").unwrap();
        symlink("/a/b", top.join("absolute")).unwrap();
        symlink("../../../a/./b//file", top.join("a/up")).unwrap();
        symlink("loop", top.join("loop")).unwrap();
        let open = |path: &std::path::Path| know(path).unwrap();
        let ground = Ground { root: open(&top), start: open(&top.join("a")), own: Own::Caller };
        let walked = |path: &str| {
            walk(&ground, path.as_bytes(), Look::Plain).map(|found| {
                let strip = |path: &AbsolutePath| path.to_string().replace(top.to_str().unwrap(), "");
                let links: Vec<String> = found.links.keys().map(strip).collect();
                (strip(&found.path.unwrap()), links)
            })
        };
        let file = || "/a/b/file".to_owned();
        assert_eq!(walked("b/file"), Ok((file(), vec![])));
        assert_eq!(walked("/absolute/file"), Ok((file(), vec!["/absolute".to_owned()])));
        assert_eq!(walked("up"), Ok((file(), vec!["/a/up".to_owned()])));
        assert_eq!(walked("../../../../a/up"), Ok((file(), vec!["/a/up".to_owned()])));
        assert_eq!(walked("/loop"), Err(Errno::ELOOP));
        assert_eq!(walked("missing/x"), Err(Errno::ENOENT));
        assert_eq!(walked("b/file/x"), Err(Errno::ENOTDIR));
        assert_eq!(walked(&"x".repeat(300)), Err(Errno::ENAMETOOLONG));
    }

    #[test]
    fn links_of_the_kernel_lead_to_what_they_stand_for() {
        let ground = Ground { root: know("/").unwrap(), start: know("/").unwrap(), own: Own::Caller };
        let own = std::env::current_exe().unwrap().canonicalize().unwrap();
        for path in ["/proc/self/exe", "/proc/thread-self/exe", "proc/self/root/proc/self/exe"] {
            let found = walk(&ground, path.as_bytes(), Look::Plain).unwrap();
            assert_eq!(found.path.unwrap().as_bytes(), own.as_os_str().as_bytes(), "{path}");
        }
    }
}
