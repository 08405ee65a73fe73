//! File systems that are made of what the kernel tells.

use std::os::fd::OwnedFd;

use fence_compiler::bytes::AbsolutePath;
use nix::sys::statfs::fstatfs;

use crate::linux::mediator::place::Own;

/// What a file system tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// What was written there.
    Nothing,
    /// What the kernel knows of processes, by the rights of whoever opens.
    Processes,
    /// What the kernel knows of the machine: the same for everybody whom a file's mode lets read.
    System,
    /// Something else, by the rights of whoever opens.
    Rights,
}

/// What a file system tells.
pub(super) fn telling(file: &OwnedFd) -> Telling {
    let Ok(system) = fstatfs(file) else { return Telling::Rights };
    match system.filesystem_type().0.cast_unsigned() {
        PROCESSES => Telling::Processes,
        kind if SYSTEM.contains(&kind) => Telling::System,
        kind if KERNELS.contains(&kind) => Telling::Rights,
        _ => Telling::Nothing,
    }
}

/// Whether the kernel tells the same below `/proc`, whoever opens it. It lets the mediator look into processes that keep others
/// out, and tells it of its own namespaces and keys.
pub(super) fn is_the_same_for(own: Own, path: &AbsolutePath) -> bool {
    let mut components = path.components();
    let (_, Some(first)) = (components.next(), components.next()) else { return true };
    match first {
        b"keys" | b"key-users" | b"sysvipc" | b"fs" => false,
        b"sys" => match (components.next(), components.next()) {
            (Some(b"net" | b"user"), _) | (Some(b"fs"), Some(b"mqueue" | b"binfmt_misc" | b"nfs")) => false,
            (Some(b"kernel"), Some(name)) => !MESSAGES.iter().any(|about| name.starts_with(about)),
            _ => true,
        },
        number if number.iter().all(u8::is_ascii_digit) => {
            let is_own = |(process, thread): (u32, u32)| {
                [process, thread].iter().any(|own| own.to_string().as_bytes() == number)
            };
            !path.name().is_some_and(|name| MEMORY.contains(&name)) || own.numbers().is_ok_and(is_own)
        }
        _ => true,
    }
}

/// What the kernel tells of a process's memory to whom it lets look when it is opened.
const MEMORY: [&[u8]; 9] = [
    b"mem",
    b"environ",
    b"auxv",
    b"maps",
    b"smaps",
    b"smaps_rollup",
    b"numa_maps",
    b"pagemap",
    b"clear_refs",
];

/// How the settings below `/proc/sys/kernel` begin that each namespace of IPC has of its own.
const MESSAGES: [&[u8]; 4] = [b"sem", b"shm", b"msg", b"auto_msgmni"];

const PROCESSES: u64 = 0x9fa0;
/// Devices, and groups of processes.
const SYSTEM: [u64; 3] = [0x6265_6572, 0x27_e0eb, 0x6367_7270];

/// The types of the others: tracing and debugging, security, BPF, firmware, and programs' formats.
const KERNELS: [u64; 8] =
    [0x6462_6720, 0x7472_6163, 0x7363_6673, 0xcafe_4a11, 0xde5e_81e4, 0x6165_676c, 0x4249_4e4d, 0xf97c_ff8c];
