//! System calls that ask the kernel what it knows, and change nothing.
#![allow(unsafe_code)]

use std::io;

use fence_compiler::host::Support;

/// The version of Landlock; 0 where there is none.
pub(crate) fn landlock_abi() -> u32 {
    const LANDLOCK_CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag, no attributes and size 0, the call answers a number and touches no memory.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            LANDLOCK_CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(version).unwrap_or(0)
}

/// Whether seccomp filters can be installed that answer an error.
pub(super) fn seccomp() -> Support {
    action(libc::SECCOMP_RET_ERRNO, "seccomp")
}

/// Whether seccomp filters can be installed that have calls wait for an answer.
pub(super) fn notification() -> Support {
    action(libc::SECCOMP_RET_USER_NOTIF, "user notification of seccomp")
}

fn action(action: u32, name: &str) -> Support {
    const SECCOMP_GET_ACTION_AVAIL: libc::c_ulong = 2;
    // SAFETY: the operation reads four bytes at the pointer, which are there, and changes nothing.
    let answer = unsafe {
        libc::syscall(libc::SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0_usize, std::ptr::from_ref(&action))
    };
    if answer == 0 { Support::Yes } else { refused(name) }
}

/// Whether `open_tree`, `move_mount` and `mount_setattr` exist: asked with a descriptor that there cannot be.
pub(super) fn mount_api() -> Support {
    let empty = c"";
    // SAFETY: the path is a constant C string; descriptor -1 makes the call fail before it does anything.
    let answer = unsafe { libc::syscall(libc::SYS_open_tree, -1, empty.as_ptr(), 0_u32) };
    if answer < 0 && is_missing() {
        return refused("open_tree");
    }
    // SAFETY: as above; size 0 is refused before the attributes are read.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            -1,
            empty.as_ptr(),
            0_u32,
            std::ptr::null::<libc::c_void>(),
            0_usize,
        )
    };
    if answer < 0 && is_missing() { refused("mount_setattr") } else { Support::Yes }
}

/// Whether the last call does not exist, or is filtered: a call that only found its arguments wrong says
/// EBADF, ENOENT or EINVAL.
fn is_missing() -> bool {
    matches!(io::Error::last_os_error().raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

fn refused(call: &str) -> Support {
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSYS) => Support::No(format!("this kernel has no {call}")),
        Some(libc::EPERM) => Support::No(format!("{call} is refused (EPERM), as by a container's filter")),
        _ => Support::No(format!("{call}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{landlock_abi, mount_api, seccomp};

    #[test]
    fn asking_twice_answers_the_same() {
        assert_eq!(landlock_abi(), landlock_abi());
        assert_eq!(seccomp(), seccomp());
        assert_eq!(mount_api(), mount_api());
    }
}
