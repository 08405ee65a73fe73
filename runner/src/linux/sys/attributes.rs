//! Extended attributes of files, and their names.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

use super::check;

/// The value of an attribute of what lies at a path, which may be a link; at most as much of it as fits.
pub(in crate::linux) fn get(path: &CStr, name: &CStr, value: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the strings are NUL-terminated; pointer and length are those of a live slice.
    let length = check(
        unsafe { libc::lgetxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) }
            .try_into()
            .unwrap_or(-1),
    )?;
    Ok(usize::try_from(length).unwrap_or(0))
}

/// The same of what a descriptor stands for.
pub(in crate::linux) fn get_open(
    file: BorrowedFd<'_>,
    name: &CStr,
    value: &mut [u8],
) -> Result<usize, Errno> {
    // SAFETY: the string is NUL-terminated; pointer and length are those of a live slice.
    let length = check(
        unsafe { libc::fgetxattr(file.as_raw_fd(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) }
            .try_into()
            .unwrap_or(-1),
    )?;
    Ok(usize::try_from(length).unwrap_or(0))
}

/// Renames within a directory, with flags.
pub(in crate::linux) fn rename(
    directory: BorrowedFd<'_>,
    from: &CStr,
    to: &CStr,
    flags: u32,
) -> Result<(), Errno> {
    let directory = directory.as_raw_fd();
    // SAFETY: the strings are NUL-terminated.
    check(unsafe {
        libc::syscall(libc::SYS_renameat2, directory, from.as_ptr(), directory, to.as_ptr(), flags)
    })
    .map(drop)
}
