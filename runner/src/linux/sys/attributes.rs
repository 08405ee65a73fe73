//! Extended attributes of files.

use std::ffi::CStr;

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
