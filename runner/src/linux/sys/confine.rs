//! Giving up rights.

use std::os::fd::RawFd;

use nix::errno::Errno;

use super::check;

/// Nothing executed from here on gains rights.
pub(in crate::linux) fn no_new_privileges() -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into()).map(drop)
}

/// Nobody may look into this process.
pub(in crate::linux) fn undumpable() -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }.into()).map(drop)
}

/// Empties the bounding set.
pub(in crate::linux) fn drop_bounding_set() -> Result<(), Errno> {
    for capability in 0..64 {
        // SAFETY: no memory is passed.
        match check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }.into()) {
            Ok(_) => {}
            // The kernel knows no capability with this number, nor a greater one.
            Err(Errno::EINVAL) if capability > 0 => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// No user number gives capabilities any more, and that is locked: `SECBIT_NOROOT`, `NO_SETUID_FIXUP`,
/// `NO_CAP_AMBIENT_RAISE` and their locks, and the lock of `KEEP_CAPS`.
pub(in crate::linux) fn lock_securebits() -> Result<(), Errno> {
    const BITS: libc::c_ulong = 0x01 | 0x02 | 0x04 | 0x08 | 0x20 | 0x40 | 0x80;
    // SAFETY: no memory is passed.
    check(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, BITS, 0, 0, 0) }.into()).map(drop)
}

#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct CapabilitySets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

/// Gives up every capability: effective, permitted, inheritable and with them the ambient ones.
pub(in crate::linux) fn drop_capabilities() -> Result<(), Errno> {
    keep_capabilities(0)
}

/// Gives up every capability but that of looking at other processes, where this one has it.
pub(in crate::linux) fn keep_looking() -> Result<(), Errno> {
    const SYS_PTRACE: u32 = 1 << 19;
    let header = CapabilityHeader { version: VERSION_3, pid: 0 };
    let mut sets = [CapabilitySets::default(); 2];
    // SAFETY: the structures have the layout of version 3 and live through the call.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) })?;
    let [first, _] = sets;
    keep_capabilities(first.permitted & SYS_PTRACE)
}

/// Gives up every capability but these of the first 32.
fn keep_capabilities(kept: u32) -> Result<(), Errno> {
    let header = CapabilityHeader { version: VERSION_3, pid: 0 };
    let sets =
        [CapabilitySets { effective: kept, permitted: kept, inheritable: 0 }, CapabilitySets::default()];
    // SAFETY: the structures have the layout of version 3 and live through the call.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) }).map(drop)
}

/// What a process that is about to execute must have given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux) enum Missing {
    /// A capability is left.
    Capabilities,
    /// A capability is left in the bounding set.
    BoundingSet,
    /// `no_new_privs` is not set.
    NoNewPrivileges,
    /// No filter is installed.
    Filter,
}

/// Checks that this process has given up everything.
pub(in crate::linux) fn check_rights() -> Result<(), Missing> {
    let header = CapabilityHeader { version: VERSION_3, pid: 0 };
    let mut sets = [CapabilitySets { effective: 1, permitted: 1, inheritable: 1 }; 2];
    // SAFETY: the structures have the layout of version 3 and live through the call.
    let read = check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) });
    if read.is_err() || sets != [CapabilitySets::default(); 2] {
        return Err(Missing::Capabilities);
    }
    for capability in 0..64 {
        // SAFETY: no memory is passed.
        match unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) } {
            0 => {}
            1 => return Err(Missing::BoundingSet),
            _ => break,
        }
    }
    check_the_rest()
}

/// Checks what does not need an empty bounding set.
pub(in crate::linux) fn check_the_rest() -> Result<(), Missing> {
    // SAFETY: no memory is passed.
    if unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) } != 1 {
        return Err(Missing::NoNewPrivileges);
    }
    // SAFETY: no memory is passed.
    if unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) } != 2 {
        return Err(Missing::Filter);
    }
    Ok(())
}

#[repr(C, packed)]
struct PathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

const LANDLOCK_RULE_PATH_BENEATH: libc::c_uint = 1;

/// Allows rights beneath a place; for anything but a directory, those of them that a file can have.
pub(in crate::linux) fn landlock_allow(
    ruleset: RawFd,
    place: RawFd,
    access: u64,
    of_files: u64,
) -> Result<(), Errno> {
    // SAFETY: `stat` is plain integers, for which all zero is a value.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live value of the right type.
    check(unsafe { libc::fstat(place, &raw mut status) }.into())?;
    let directory = status.st_mode & libc::S_IFMT == libc::S_IFDIR;
    let allowed_access = if directory { access } else { access & of_files };
    if allowed_access == 0 {
        return Ok(());
    }
    let rule = PathBeneath { allowed_access, parent_fd: place };
    // SAFETY: the structure is the kernel's packed one and lives through the call.
    check(unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &raw const rule, 0)
    })
    .map(drop)
}

/// Enters a ruleset.
pub(in crate::linux) fn landlock_enter(ruleset: RawFd) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0) }).map(drop)
}

/// Installs a filter for this process and everything it starts.
pub(in crate::linux) fn install_filter(program: &[libc::sock_filter]) -> Result<(), Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the program's pointer and length are those of a live slice, which the kernel only reads.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) })
        .map(drop)
}
