//! Calls on files, for whoever carries them out in another's place: each is about what a descriptor stands for.

use std::ffi::CStr;
use std::os::fd::{OwnedFd, RawFd};

use nix::errno::Errno;

use super::{check, owned};

/// No component may be a link, not even the last.
pub(in crate::linux) const NO_LINKS: u64 = libc::RESOLVE_NO_SYMLINKS;

/// How a file is opened.
#[derive(Clone, Copy, Debug)]
pub(in crate::linux) struct How {
    /// The flags.
    pub(in crate::linux) flags: i32,
    /// The mode of what is made.
    pub(in crate::linux) mode: u32,
    /// How the path is resolved.
    pub(in crate::linux) resolve: u64,
}

/// Opens a path below a directory.
pub(in crate::linux) fn open(directory: RawFd, path: &CStr, how: How) -> Result<OwnedFd, Errno> {
    // SAFETY: plain integers, for which all zero is a value.
    let mut open: libc::open_how = unsafe { std::mem::zeroed() };
    open.flags = u64::from(how.flags.cast_unsigned());
    open.mode = u64::from(how.mode);
    open.resolve = how.resolve;
    // SAFETY: the path is NUL-terminated, and the other pointer is to a live value of the size that is told.
    let opened = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            directory,
            path.as_ptr(),
            &raw const open,
            std::mem::size_of::<libc::open_how>(),
        )
    };
    check(opened).map(owned)
}

/// Opens what a path of this process leads to, with or without links.
pub(in crate::linux) fn open_plainly(path: &CStr, flags: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: the path is NUL-terminated; nothing is made, so that no mode is read.
    check(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) }.into()).map(owned)
}

/// What something is, and where it is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux) struct Status {
    /// The number of its mount.
    pub(in crate::linux) mount: u64,
    /// Its type and mode.
    pub(in crate::linux) mode: u32,
    /// How many names it has.
    pub(in crate::linux) names: u32,
    /// Which file of which device it is.
    pub(in crate::linux) identity: (u32, u32, u64),
    /// The device that it stands for.
    pub(in crate::linux) device: (u32, u32),
}

impl Status {
    /// The bits of its type.
    pub(in crate::linux) fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }
}

/// Looks at what lies at a path below a directory, a link itself at its end; at the directory, if the path is empty.
pub(in crate::linux) fn status(directory: RawFd, path: &CStr) -> Result<Status, Errno> {
    const MOUNT: u32 = 0x1000;
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH | libc::AT_NO_AUTOMOUNT;
    // SAFETY: plain integers, for which all zero is a value.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    let wanted = libc::STATX_BASIC_STATS | MOUNT;
    // SAFETY: the path is NUL-terminated, and the other pointer is to a live value of the type that is written.
    let told = unsafe { libc::statx(directory, path.as_ptr(), flags, wanted, &raw mut found) };
    check(told.into())?;
    Ok(Status {
        mount: found.stx_mnt_id,
        mode: u32::from(found.stx_mode),
        names: found.stx_nlink,
        identity: (found.stx_dev_major, found.stx_dev_minor, found.stx_ino),
        device: (found.stx_rdev_major, found.stx_rdev_minor),
    })
}

/// Makes a directory.
pub(in crate::linux) fn make_directory(directory: RawFd, name: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: the name is NUL-terminated.
    check(unsafe { libc::mkdirat(directory, name.as_ptr(), mode) }.into()).map(drop)
}

/// Makes a file, a FIFO or a socket.
pub(in crate::linux) fn make_node(
    directory: RawFd,
    name: &CStr,
    mode: u32,
    device: u64,
) -> Result<(), Errno> {
    // SAFETY: the name is NUL-terminated.
    check(unsafe { libc::mknodat(directory, name.as_ptr(), mode, device) }.into()).map(drop)
}

/// Makes a symbolic link.
pub(in crate::linux) fn make_link(target: &CStr, directory: RawFd, name: &CStr) -> Result<(), Errno> {
    // SAFETY: both texts are NUL-terminated.
    check(unsafe { libc::symlinkat(target.as_ptr(), directory, name.as_ptr()) }.into()).map(drop)
}

/// Removes a name.
pub(in crate::linux) fn remove(directory: RawFd, name: &CStr, flags: i32) -> Result<(), Errno> {
    // SAFETY: the name is NUL-terminated.
    check(unsafe { libc::unlinkat(directory, name.as_ptr(), flags) }.into()).map(drop)
}

/// Moves a name.
pub(in crate::linux) fn rename(from: (RawFd, &CStr), to: (RawFd, &CStr), flags: u32) -> Result<(), Errno> {
    // SAFETY: both names are NUL-terminated.
    check(unsafe { libc::syscall(libc::SYS_renameat2, from.0, from.1.as_ptr(), to.0, to.1.as_ptr(), flags) })
        .map(drop)
}

/// Gives what a descriptor of this process stands for, or a name in a directory, another name.
pub(in crate::linux) fn link(from: (RawFd, &CStr), to: (RawFd, &CStr), flags: i32) -> Result<(), Errno> {
    // SAFETY: both names are NUL-terminated.
    check(unsafe { libc::linkat(from.0, from.1.as_ptr(), to.0, to.1.as_ptr(), flags) }.into()).map(drop)
}

/// Sets the mode of what a path leads to.
pub(in crate::linux) fn set_mode(path: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: the path is NUL-terminated.
    check(unsafe { libc::chmod(path.as_ptr(), mode) }.into()).map(drop)
}

/// Sets the owner of what a descriptor stands for.
pub(in crate::linux) fn set_owner(file: RawFd, user: u32, group: u32) -> Result<(), Errno> {
    // SAFETY: the path is NUL-terminated.
    check(unsafe { libc::fchownat(file, c"".as_ptr(), user, group, libc::AT_EMPTY_PATH) }.into()).map(drop)
}

/// Sets the times of what a descriptor stands for; without any, to now.
pub(in crate::linux) fn set_times(file: RawFd, times: Option<[libc::timespec; 2]>) -> Result<(), Errno> {
    let times = times.as_ref().map_or(std::ptr::null(), |times| times.as_ptr());
    // SAFETY: the path is NUL-terminated; the times are null or two live values.
    check(unsafe { libc::utimensat(file, c"".as_ptr(), times, libc::AT_EMPTY_PATH) }.into()).map(drop)
}

/// Sets the size of what a path leads to.
pub(in crate::linux) fn set_size(path: &CStr, size: i64) -> Result<(), Errno> {
    // SAFETY: the path is NUL-terminated.
    check(unsafe { libc::truncate(path.as_ptr(), size) }.into()).map(drop)
}

/// Sets an attribute of what a path leads to.
pub(in crate::linux) fn set_attribute(
    path: &CStr,
    name: &CStr,
    value: &[u8],
    flags: i32,
) -> Result<(), Errno> {
    // SAFETY: both texts are NUL-terminated; pointer and length are those of a live slice.
    check(
        unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), flags) }
            .into(),
    )
    .map(drop)
}

/// Removes an attribute of what a path leads to.
pub(in crate::linux) fn remove_attribute(path: &CStr, name: &CStr) -> Result<(), Errno> {
    // SAFETY: both texts are NUL-terminated.
    check(unsafe { libc::removexattr(path.as_ptr(), name.as_ptr()) }.into()).map(drop)
}

/// Sets the flags of an open file.
pub(in crate::linux) fn set_flags(file: RawFd, flags: i32) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::fcntl(file, libc::F_SETFL, flags) }.into()).map(drop)
}

/// Goes to a directory.
pub(in crate::linux) fn go_to(directory: RawFd) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::fchdir(directory) }.into()).map(drop)
}

/// What an open file was opened for, and the flags that it has.
pub(in crate::linux) fn flags(file: RawFd) -> Result<i32, Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::fcntl(file, libc::F_GETFL) }.into())
}

/// Takes a descriptor of a thread. Before Linux 6.9 a process has to be named, which is then asked for.
pub(in crate::linux) fn take(
    thread: i32,
    process: impl FnOnce() -> Result<i32, Errno>,
    number: i32,
) -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed.
    let open = |task: i32, flags: i32| check(unsafe { libc::syscall(libc::SYS_pidfd_open, task, flags) });
    let of = match open(thread, libc::O_EXCL) {
        Err(Errno::EINVAL) => open(process()?, 0),
        opened => opened,
    };
    let of = of.map(owned)?;
    let of = std::os::fd::AsRawFd::as_raw_fd(&of);
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_pidfd_getfd, of, number, 0) }).map(owned)
}

/// Has what happens to what a path leads to told by a watcher, and yields by which number.
pub(in crate::linux) fn watch(watcher: RawFd, path: &CStr, mask: u32) -> Result<i32, Errno> {
    // SAFETY: the path is NUL-terminated.
    check(unsafe { libc::inotify_add_watch(watcher, path.as_ptr(), mask) }.into())
}

/// Has a watcher tell no more of what it knows by a number.
pub(in crate::linux) fn unwatch(watcher: RawFd, number: i32) {
    // SAFETY: it takes two numbers.
    unsafe { libc::inotify_rm_watch(watcher, number) };
}

/// Binds a socket to an address, which is bytes as the kernel takes them.
pub(in crate::linux) fn bind(socket: RawFd, address: &[u8]) -> Result<(), Errno> {
    let length = libc::socklen_t::try_from(address.len()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: pointer and length are those of a live slice, which the kernel only reads.
    check(unsafe { libc::bind(socket, address.as_ptr().cast(), length) }.into()).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn files_are_changed_by_what_a_descriptor_stands_for() {
        let folder = tempfile::tempdir().unwrap();
        let top = std::ffi::CString::new(folder.path().to_str().unwrap()).unwrap();
        let top = open_plainly(&top, libc::O_PATH | libc::O_DIRECTORY).unwrap();
        let top = top.as_raw_fd();
        make_directory(top, c"d", 0o700).unwrap();
        make_link(c"d", top, c"l").unwrap();
        make_node(top, c"f", libc::S_IFREG | 0o600, 0).unwrap();
        let how = |flags| How { flags: flags | libc::O_CLOEXEC, mode: 0, resolve: NO_LINKS };
        assert_eq!(open(top, c"l", how(libc::O_PATH)).unwrap_err(), Errno::ELOOP);
        let file = open(top, c"f", how(libc::O_PATH)).unwrap();
        let own = std::ffi::CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        set_mode(&own, 0o640).unwrap();
        set_size(&own, 7).unwrap();
        set_times(file.as_raw_fd(), None).unwrap();
        rename((top, c"f"), (top, c"g"), 0).unwrap();
        link((top, c"g"), (top, c"h"), 0).unwrap();
        let found = status(top, c"h").unwrap();
        assert_eq!((found.kind(), found.mode & 0o777, found.names), (libc::S_IFREG, 0o640, 2));
        assert_eq!(found, status(file.as_raw_fd(), c"").unwrap());
        remove(top, c"d", libc::AT_REMOVEDIR).unwrap();
        assert_eq!(remove(top, c"d", 0), Err(Errno::ENOENT));
    }
}
