//! File systems that are made of what the kernel tells.

use std::os::fd::OwnedFd;

use nix::sys::statfs::fstatfs;

/// Whether a file system is made of what the kernel tells, which it tells each process by that process's own rights.
pub(super) fn tells_by_rights(file: &OwnedFd) -> bool {
    fstatfs(file).is_ok_and(|system| KERNELS.contains(&system.filesystem_type().0.cast_unsigned()))
}

/// The types of these: processes, devices, groups of processes, tracing and debugging, security, BPF, firmware, and programs'
/// formats.
const KERNELS: [u64; 12] = [
    0x9fa0,
    0x6265_6572,
    0x27_e0eb,
    0x6367_7270,
    0x6462_6720,
    0x7472_6163,
    0x7363_6673,
    0xcafe_4a11,
    0xde5e_81e4,
    0x6165_676c,
    0x4249_4e4d,
    0xf97c_ff8c,
];
