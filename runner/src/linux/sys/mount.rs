//! The mount API.

use std::ffi::CStr;
use std::os::fd::RawFd;

use nix::errno::Errno;

use super::check;

/// Attributes of a mount: `MOUNT_ATTR_*`. They are only ever added.
pub(in crate::linux) type Attributes = u64;

/// `MOUNT_ATTR_RDONLY`.
pub(in crate::linux) const READ_ONLY: Attributes = libc::MOUNT_ATTR_RDONLY;
/// `MOUNT_ATTR_NOSUID`.
pub(in crate::linux) const NO_SETUID: Attributes = libc::MOUNT_ATTR_NOSUID;
/// `MOUNT_ATTR_NODEV`.
pub(in crate::linux) const NO_DEVICES: Attributes = libc::MOUNT_ATTR_NODEV;
/// `MOUNT_ATTR_NOEXEC`.
pub(in crate::linux) const NO_EXECUTION: Attributes = libc::MOUNT_ATTR_NOEXEC;

/// How far an operation on a mount reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux) enum Depth {
    /// This mount alone.
    One,
    /// Everything mounted below it too.
    Tree,
}

impl Depth {
    fn flag(self) -> libc::c_uint {
        match self {
            Depth::One => 0,
            Depth::Tree => libc::AT_RECURSIVE.cast_unsigned(),
        }
    }
}

const EMPTY: &CStr = c"";
const AT_EMPTY_PATH: libc::c_uint = libc::AT_EMPTY_PATH.cast_unsigned();

/// Makes every mount private: nothing of the host's later mounts comes in, nothing of ours goes out.
pub(in crate::linux) fn make_private() -> Result<(), Errno> {
    // SAFETY: strings are NUL-terminated; null pointers are what MS_PRIVATE expects.
    let result = unsafe {
        libc::mount(
            std::ptr::null(),
            c"/".as_ptr(),
            std::ptr::null(),
            libc::MS_REC | libc::MS_PRIVATE,
            std::ptr::null(),
        )
    };
    check(result.into()).map(drop)
}

/// Opens a place (`O_PATH`) below a directory: no link is followed, nothing leads out of the directory.
pub(in crate::linux) fn open_beneath(directory: RawFd, path: &CStr) -> Result<RawFd, Errno> {
    open(directory, path, libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS)
}

/// Opens a place by an absolute path (`O_PATH`) without following a link.
pub(in crate::linux) fn open_absolute(path: &CStr) -> Result<RawFd, Errno> {
    match open(libc::AT_FDCWD, path, libc::RESOLVE_NO_SYMLINKS) {
        // Inside of another sandbox.
        Err(Errno::ENOSYS) => open_by_steps(path),
        other => other,
    }
}

/// Does the same a component at a time.
fn open_by_steps(path: &CStr) -> Result<RawFd, Errno> {
    let flags = libc::O_PATH | libc::O_CLOEXEC | libc::O_NOFOLLOW;
    // SAFETY: the path is a constant C string.
    let mut at = check(unsafe { libc::open(c"/".as_ptr(), flags) }.into())?;
    for name in path.to_bytes().split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        let mut text = [0_u8; 256];
        let result = match text.get_mut(..name.len()) {
            Some(start) if name.len() < 256 => {
                start.copy_from_slice(name);
                // SAFETY: the buffer is longer than the name and ends in zeros.
                check(unsafe { libc::openat(at, text.as_ptr().cast(), flags) }.into())
            }
            _ => Err(Errno::ENAMETOOLONG),
        };
        super::close(at);
        at = result?;
        // SAFETY: `stat` is plain integers, for which all zero is a value.
        let mut status: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a live value of the right type.
        let seen = check(unsafe { libc::fstat(at, &raw mut status) }.into());
        if seen.is_err() || status.st_mode & libc::S_IFMT == libc::S_IFLNK {
            super::close(at);
            return Err(Errno::ELOOP);
        }
    }
    Ok(at)
}

fn open(directory: RawFd, path: &CStr, resolve: u64) -> Result<RawFd, Errno> {
    // SAFETY: `open_how` is plain integers, for which all zero is a value.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = u64::from((libc::O_PATH | libc::O_CLOEXEC).cast_unsigned());
    how.resolve = resolve;
    // SAFETY: the path is NUL-terminated; the structure lives through the call and its size is told.
    check(unsafe {
        libc::syscall(libc::SYS_openat2, directory, path.as_ptr(), &raw const how, size_of_val(&how))
    })
}

/// Copies the tree of mounts at a place; the copy is attached nowhere yet.
pub(in crate::linux) fn clone_tree(place: RawFd, depth: Depth) -> Result<RawFd, Errno> {
    let flags = AT_EMPTY_PATH | depth.flag() | libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: the path is NUL-terminated.
    check(unsafe { libc::syscall(libc::SYS_open_tree, place, EMPTY.as_ptr(), flags) })
}

/// Copies the mount at a path below a directory, alone, on ground where nobody else makes links; the copy is attached
/// nowhere yet.
pub(in crate::linux) fn clone_at(directory: RawFd, path: &CStr) -> Result<RawFd, Errno> {
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_SYMLINK_NOFOLLOW.cast_unsigned();
    // SAFETY: the path is NUL-terminated.
    check(unsafe { libc::syscall(libc::SYS_open_tree, directory, path.as_ptr(), flags) })
}

/// Adds attributes to a mount.
pub(in crate::linux) fn set_attributes(
    mount: RawFd,
    attributes: Attributes,
    depth: Depth,
) -> Result<(), Errno> {
    let change = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is NUL-terminated; the structure lives through the call and its size is told.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount,
            EMPTY.as_ptr(),
            AT_EMPTY_PATH | depth.flag(),
            &raw const change,
            size_of_val(&change),
        )
    })
    .map(drop)
}

/// Makes a file system in which one directory lies over another: what is written goes to the upper one, and the kernel
/// works in a third beside that. The mount is attached nowhere yet.
///
/// An upper directory that no attributes can be given to could not say what is removed in it: `EOPNOTSUPP`. One that is
/// in use by another such file system: `EBUSY`.
pub(in crate::linux) fn overlay(
    lower: RawFd,
    upper: RawFd,
    work: RawFd,
    attributes: Attributes,
) -> Result<RawFd, Errno> {
    const TRIED: &CStr = c"user.overlay.fence";
    let (lower, upper, work) = (Held::new(lower), Held::new(upper), Held::new(work));
    // SAFETY: the names are NUL-terminated; the value is read as far as its length says.
    unsafe {
        check(libc::setxattr(upper.text().as_ptr(), TRIED.as_ptr(), c"y".as_ptr().cast(), 1, 0).into())?;
        libc::removexattr(upper.text().as_ptr(), TRIED.as_ptr());
    }
    make_with(
        c"overlay",
        &[
            (c"lowerdir", lower.text()),
            (c"upperdir", upper.text()),
            (c"workdir", work.text()),
            // What tells the kernel of an upper directory that is in use; nothing is indexed without the right to open
            // files by their handles.
            (c"index", c"on"),
            (c"metacopy", c"off"),
        ],
        // Nothing that a directory's attributes say leads elsewhere in it.
        &[c"userxattr"],
        attributes,
    )
}

/// The path of a descriptor of this process, written without allocation.
struct Held([u8; 32]);

impl Held {
    fn new(descriptor: RawFd) -> Held {
        const PREFIX: &[u8] = b"/proc/self/fd/";
        let mut text = [0; 32];
        let mut number = descriptor.max(0).cast_unsigned();
        let mut digits = [0; 10];
        let mut count = 0;
        for slot in &mut digits {
            *slot = b'0' + u8::try_from(number % 10).unwrap_or(0);
            count += 1;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        let backwards = digits.iter().take(count).rev();
        for (to, from) in text.iter_mut().zip(PREFIX.iter().chain(backwards)) {
            *to = *from;
        }
        Held(text)
    }

    fn text(&self) -> &CStr {
        // INVARIANT: the prefix and the digits are shorter than the buffer, which ends in zeros.
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}

/// Copies a file of the host into an empty file below a directory.
pub(in crate::linux) fn copy(source: &CStr, directory: RawFd, path: &CStr) -> Result<(), Errno> {
    let place = open_absolute(source)?;
    let held = Held::new(place);
    // SAFETY: the paths are NUL-terminated; the descriptors are our own; a null offset has both files go on.
    unsafe {
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
        let from = check(libc::open(held.text().as_ptr(), libc::O_RDONLY | flags).into());
        libc::close(place);
        let from = from?;
        let to =
            check(libc::openat(directory, path.as_ptr(), libc::O_WRONLY | libc::O_NOFOLLOW | flags).into());
        let result = to.and_then(|to| {
            let result = loop {
                let sent = libc::sendfile(to, from, std::ptr::null_mut(), 1 << 30);
                match check(sent.try_into().unwrap_or(-1)) {
                    Ok(0) => break Ok(()),
                    Ok(_) => {}
                    Err(errno) => break Err(errno),
                }
            };
            libc::close(to);
            result
        });
        libc::close(from);
        result
    }
}

/// Makes a new file system of a kind, with options (name and value), as a mount that is attached nowhere yet.
pub(in crate::linux) fn make(
    kind: &CStr,
    options: &[(&CStr, &CStr)],
    attributes: Attributes,
) -> Result<RawFd, Errno> {
    make_with(kind, options, &[], attributes)
}

fn make_with(
    kind: &CStr,
    options: &[(&CStr, &CStr)],
    flags: &[&CStr],
    attributes: Attributes,
) -> Result<RawFd, Errno> {
    // SAFETY: strings are NUL-terminated; null pointers and 0 are what FSCONFIG_CMD_CREATE expects; the
    // descriptors are our own.
    unsafe {
        let context = check(libc::syscall(libc::SYS_fsopen, kind.as_ptr(), libc::FSOPEN_CLOEXEC))?;
        let configure = |command: libc::c_uint, name: *const libc::c_char, value: *const libc::c_char| {
            check(libc::syscall(libc::SYS_fsconfig, context, command, name, value, 0))
        };
        let null = std::ptr::null();
        let mut result = Ok(0);
        for name in flags {
            result = result.and_then(|_| configure(FSCONFIG_SET_FLAG, name.as_ptr(), null));
        }
        for (name, value) in options {
            result = result.and_then(|_| configure(FSCONFIG_SET_STRING, name.as_ptr(), value.as_ptr()));
        }
        let mount = result.and_then(|_| configure(FSCONFIG_CMD_CREATE, null, null)).and_then(|_| {
            check(libc::syscall(libc::SYS_fsmount, context, libc::FSMOUNT_CLOEXEC, attributes))
        });
        libc::close(context);
        mount
    }
}

const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;

/// Attaches a mount at a place.
pub(in crate::linux) fn attach(mount: RawFd, place: RawFd) -> Result<(), Errno> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: the paths are NUL-terminated.
    check(unsafe { libc::syscall(libc::SYS_move_mount, mount, EMPTY.as_ptr(), place, EMPTY.as_ptr(), flags) })
        .map(drop)
}

/// Attaches a mount at a path below a directory, on ground where nobody else makes links.
pub(in crate::linux) fn attach_at(mount: RawFd, directory: RawFd, path: &CStr) -> Result<(), Errno> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH;
    // SAFETY: the paths are NUL-terminated.
    check(unsafe {
        libc::syscall(libc::SYS_move_mount, mount, EMPTY.as_ptr(), directory, path.as_ptr(), flags)
    })
    .map(drop)
}

/// Attaches a mount over everything, at `/`; processes stay where they are.
pub(in crate::linux) fn attach_over_root(mount: RawFd) -> Result<(), Errno> {
    // SAFETY: the paths are NUL-terminated.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount,
            EMPTY.as_ptr(),
            libc::AT_FDCWD,
            c"/".as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    })
    .map(drop)
}

/// Makes a directory below another; one that is there is kept.
pub(in crate::linux) fn make_directory(directory: RawFd, path: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: the path is NUL-terminated.
    existing_is_fine(check(unsafe { libc::mkdirat(directory, path.as_ptr(), mode) }.into()))
}

/// Makes an empty file; one that is there is kept.
pub(in crate::linux) fn make_file(directory: RawFd, path: &CStr, mode: u32) -> Result<(), Errno> {
    // SAFETY: the path is NUL-terminated.
    existing_is_fine(check(
        unsafe { libc::mknodat(directory, path.as_ptr(), libc::S_IFREG | mode, 0) }.into(),
    ))
}

/// Writes a text to an empty file.
pub(in crate::linux) fn fill(directory: RawFd, path: &CStr, text: &CStr) -> Result<(), Errno> {
    // SAFETY: both pointers are NUL-terminated strings that live through the calls; the descriptor is our own.
    unsafe {
        let flags = libc::O_WRONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW;
        let file = check(libc::openat(directory, path.as_ptr(), flags).into())?;
        let written = libc::write(file, text.as_ptr().cast(), text.count_bytes());
        let result = if written < 0 { Err(Errno::last()) } else { Ok(()) };
        libc::close(file);
        result
    }
}

/// Makes a symbolic link.
pub(in crate::linux) fn make_link(directory: RawFd, path: &CStr, target: &CStr) -> Result<(), Errno> {
    // SAFETY: both strings are NUL-terminated.
    check(unsafe { libc::symlinkat(target.as_ptr(), directory, path.as_ptr()) }.into()).map(drop)
}

fn existing_is_fine(result: Result<i32, Errno>) -> Result<(), Errno> {
    match result {
        Ok(_) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Makes a mount that lies over `/` the root, and drops everything else.
///
/// The host's root then lies over the new one, and over that whatever lay between them. Each is dropped with what is mounted
/// in it, until nothing lies over the root: the kernel would follow what does at `/..`.
pub(in crate::linux) fn pivot(root: RawFd) -> Result<(), Errno> {
    /// The host's root, and the store; more there never are.
    const MOST: usize = 2;
    let own = mount_number(root, EMPTY)?;
    // SAFETY: the paths are NUL-terminated.
    unsafe {
        check(libc::fchdir(root).into())?;
        check(libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()))?;
        for _ in 0..MOST {
            if mount_number(libc::AT_FDCWD, c"/..")? == own {
                break;
            }
            check(libc::umount2(c".".as_ptr(), libc::MNT_DETACH).into())?;
        }
        check(libc::chdir(c"/".as_ptr()).into())?;
    }
    if mount_number(libc::AT_FDCWD, c"/..")? == own { Ok(()) } else { Err(Errno::EBUSY) }
}

/// The number of the mount that a path leads to, below a directory or by itself.
fn mount_number(directory: RawFd, path: &CStr) -> Result<u64, Errno> {
    // SAFETY: `statx` is plain integers, for which all zero is a value.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the path is NUL-terminated, and the pointer is to a live value.
    let told = unsafe {
        libc::statx(directory, path.as_ptr(), libc::AT_EMPTY_PATH, libc::STATX_MNT_ID, &raw mut found)
    };
    check(told.into())?;
    if found.stx_mask & libc::STATX_MNT_ID == 0 { Err(Errno::ENOSYS) } else { Ok(found.stx_mnt_id) }
}
