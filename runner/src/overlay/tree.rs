//! Looking at files by descriptors: nothing that is a link is followed, and nothing leads out of a directory.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use fence_compiler::bytes::AbsolutePath;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmod, fchmodat, fstat, fstatat};

/// What lies somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Who may do what with it: the nine bits alone. No other is ever carried over.
    pub mode: u32,
}

/// What something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A file of so many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A link, and what it holds.
    Link(Vec<u8>),
    /// A FIFO, a socket or a device.
    Other(&'static str),
}

impl NodeKind {
    /// In a word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            NodeKind::File(_) => "file",
            NodeKind::Directory => "directory",
            NodeKind::Link(_) => "link",
            NodeKind::Other(word) => word,
        }
    }
}

/// A directory, and a name in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    pub(super) directory: &'a OwnedFd,
    pub(super) name: &'a [u8],
}

impl At<'_> {
    /// What lies there; `None` if nothing does.
    pub(super) fn look(self) -> io::Result<Option<(Node, FileStat)>> {
        let found = match fstatat(self.directory, self.name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            other => other?,
        };
        let kind = match format(&found) {
            SFlag::S_IFREG => NodeKind::File(u64::try_from(found.st_size).unwrap_or(0)),
            SFlag::S_IFDIR => NodeKind::Directory,
            SFlag::S_IFLNK => NodeKind::Link(readlinkat(self.directory, self.name)?.as_bytes().to_vec()),
            SFlag::S_IFIFO => NodeKind::Other("FIFO"),
            SFlag::S_IFSOCK => NodeKind::Other("socket"),
            _ => NodeKind::Other("device"),
        };
        Ok(Some((Node { kind, mode: found.st_mode & 0o777 }, found)))
    }

    /// Opens the file that lies there for reading, whatever its mode.
    pub(super) fn open(self) -> io::Result<File> {
        match openat(self.directory, self.name, READ, Mode::empty()) {
            Err(Errno::EACCES) => regular(self.opened_up(Mode::S_IRUSR, READ)?.0),
            opened => regular(opened?),
        }
    }

    /// Opens the file that lies there for reading, if its mode lets the caller.
    pub(super) fn open_as_is(self) -> io::Result<File> {
        regular(openat(self.directory, self.name, READ, Mode::empty())?)
    }

    /// Opens the directory that lies there, whatever its mode.
    pub(super) fn enter(self) -> io::Result<Entered> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(self.directory, self.name, flags, Mode::empty()) {
            Ok(directory) if fstat(&directory)?.st_mode & 0o100 != 0 || is_root() => {
                Ok(Entered { directory, before: None })
            }
            Ok(_) | Err(Errno::EACCES) => {
                let (directory, mode) = self.opened_up(Mode::S_IRWXU, flags)?;
                Ok(Entered { directory, before: Some(mode) })
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Opens what is the caller's own and has not the mode for it. A file gets its mode back at once.
    fn opened_up(self, more: Mode, flags: OFlag) -> io::Result<(OwnedFd, Mode)> {
        let (path, before, _held) = self.allow(more)?;
        let opened = openat(AT_FDCWD, path.as_str(), flags - OFlag::O_NOFOLLOW, Mode::empty());
        if !flags.contains(OFlag::O_DIRECTORY) || opened.is_err() {
            fchmodat(AT_FDCWD, path.as_str(), before, FchmodatFlags::FollowSymlink)?;
        }
        Ok((opened?, before))
    }

    /// Lets the caller do more with a file or directory of the caller's own: its path by the descriptor that it is held
    /// with, so that nothing that is put in its place meanwhile is meant, and its mode before.
    pub(super) fn allow(self, more: Mode) -> io::Result<(String, Mode, OwnedFd)> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let held = openat(self.directory, self.name, flags, Mode::empty())?;
        let found = fstat(&held)?;
        if !matches!(format(&found), SFlag::S_IFREG | SFlag::S_IFDIR) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let before = Mode::from_bits_truncate(found.st_mode & 0o7777);
        let path = format!("/proc/self/fd/{}", held.as_raw_fd());
        fchmodat(AT_FDCWD, path.as_str(), before | more, FchmodatFlags::FollowSymlink)?;
        Ok((path, before, held))
    }
}

/// How a file is opened to be read: nothing is waited for.
const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

/// What was opened, if it is a file and nothing else.
fn regular(opened: OwnedFd) -> io::Result<File> {
    if format(&fstat(&opened)?) != SFlag::S_IFREG {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(File::from(opened))
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A directory that is open, and gets its mode back in the end if it was another.
#[derive(Debug)]
pub(super) struct Entered {
    pub(super) directory: OwnedFd,
    before: Option<Mode>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            let _ = fchmod(&self.directory, before);
        }
    }
}

/// What a status says something is.
pub(super) fn format(found: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(found.st_mode & libc::S_IFMT)
}

/// Whether something in a layer stands for nothing being there.
pub(super) fn is_whiteout(found: &FileStat) -> bool {
    format(found) == SFlag::S_IFCHR && found.st_rdev == 0
}

/// The names in a directory, in order.
pub(super) fn names(directory: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(format!("/proc/self/fd/{}", directory.as_raw_fd()))? {
        names.push(entry?.file_name().as_bytes().to_vec());
    }
    names.sort();
    Ok(names)
}

/// Opens a directory of the host by its path; `None` if it is not there, cannot be entered, or a link
/// now stands in its way.
pub(super) fn open_top(path: &AbsolutePath) -> io::Result<Option<OwnedFd>> {
    there(openat2(AT_FDCWD, path.as_bytes(), how(ResolveFlag::RESOLVE_NO_SYMLINKS)))
}

/// Opens a directory below another; `None` if it is not there, cannot be entered, or a link
/// or a mount now stands in its way.
pub(super) fn open_below(top: &OwnedFd, path: &[u8]) -> io::Result<Option<OwnedFd>> {
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    there(openat2(top, path, how(resolve)))
}

fn how(resolve: ResolveFlag) -> OpenHow {
    OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).resolve(resolve)
}

fn there(opened: Result<OwnedFd, Errno>) -> io::Result<Option<OwnedFd>> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EXDEV | Errno::EACCES) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// A path below another, or that one.
pub(super) fn joined(above: &[u8], name: &[u8]) -> Vec<u8> {
    if above.is_empty() { name.to_vec() } else { [above, b"/", name].concat() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_and_nothing_outside_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("tree/a/b")).unwrap();
        fs::create_dir(top.join("outside")).unwrap();
        symlink("a", top.join("tree/link")).unwrap();
        symlink("../outside", top.join("tree/out")).unwrap();
        let path = |name: &str| AbsolutePath::new(top.join(name).as_os_str().as_bytes()).unwrap();
        let tree = open_top(&path("tree")).unwrap().unwrap();
        for (below, opens) in [
            ("", true),
            ("a/b", true),
            ("link", false),
            ("link/b", false),
            ("out", false),
            ("../outside", false),
            ("a/../../outside", false),
            ("none", false),
        ] {
            assert_eq!(open_below(&tree, below.as_bytes()).unwrap().is_some(), opens, "{below}");
        }
        assert!(open_top(&path("tree/link/b")).unwrap().is_none());
    }
}
