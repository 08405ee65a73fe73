//! Giving up rights before the first call from inside is looked at.
//!
//! The mediator reads what the sandbox controls: paths, arguments, the heads of files. From here on it has no capability,
//! executes nothing, makes no socket, and traces only as it has to; and it opens nothing for writing, unless it carries out
//! calls that write files. It has to be able to read whatever a program inside could execute.

use fence_compiler::plan::{CallRule, Condition};
use nix::errno::Errno;

use crate::linux::seccomp::{self, Architecture};
use crate::linux::sys::confine;

/// The calls that mediating makes.
const MADE: &[&str] = &[
    // Descriptors.
    "read",
    "readv",
    "pread64",
    "write",
    "writev",
    "close",
    "fcntl",
    "ioctl",
    "lseek",
    "dup",
    "poll",
    "ppoll",
    // Where calls are answered arrives by it.
    "recvmsg",
    // Files, to know and to read.
    "open",
    "openat",
    "stat",
    "lstat",
    "fstat",
    "newfstatat",
    "statx",
    "statfs",
    "fstatfs",
    "access",
    "faccessat",
    "readlink",
    "readlinkat",
    "getdents64",
    "getcwd",
    // Those who ask.
    "ptrace",
    "process_vm_readv",
    "wait4",
    "waitid",
    "kill",
    // Memory.
    "mmap",
    "munmap",
    "mremap",
    "mprotect",
    "madvise",
    "brk",
    "futex",
    "sigaltstack",
    // The end.
    "exit",
    "exit_group",
    "tgkill",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "restart_syscall",
    // What it is, and what time it is.
    "getpid",
    "gettid",
    "getrandom",
    "clock_gettime",
    "gettimeofday",
    "time",
];

/// The calls that carrying out what writes files makes beside these.
const CARRIED_OUT: &[&str] = &[
    "openat2",
    "creat",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "unlinkat",
    "renameat2",
    "linkat",
    "symlinkat",
    "chmod",
    "fchmodat",
    "fchownat",
    "utimensat",
    "truncate",
    "setxattr",
    "removexattr",
    "umask",
    "fchdir",
    // A socket that is given its name, as the caller's own.
    "bind",
    "pidfd_open",
    "pidfd_getfd",
    // A process that waits in the mediator's place, and ends with it.
    "fork",
    "clone",
    "set_robust_list",
    "close_range",
    "prctl",
];

/// What a mediator has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// It judges starts, and reads.
    Reading,
    /// It carries out calls that write files, too.
    Writing,
}

/// Gives up everything that mediating does not need.
pub(super) fn give_up(extent: Extent) -> Result<(), Errno> {
    confine::no_new_privileges()?;
    confine::drop_capabilities()?;
    confine::undumpable()?;
    let rules = refused(Architecture::NATIVE, extent);
    let program = seccomp::compile(&rules, Architecture::NATIVE).map_err(|_| Errno::EINVAL)?;
    confine::install_filter(&program)
}

/// Every other call, and what of these is too much.
fn refused(architecture: Architecture, extent: Extent) -> Vec<CallRule> {
    let rule = |calls: Vec<String>, when: Condition, reason: &str| CallRule {
        calls,
        when: vec![when],
        errno: "EPERM".to_owned(),
        reason: reason.to_owned(),
    };
    let one = |call: &str| vec![call.to_owned()];
    let bits = |number: i32| u64::try_from(number).unwrap_or(u64::MAX);
    let made = |name: &&str| MADE.contains(name) || extent == Extent::Writing && CARRIED_OUT.contains(name);
    let others = architecture.names().filter(|name| !made(name)).map(str::to_owned).collect();
    let writing = bits(seccomp::WRITING);
    let any = |argument| Condition::AnyBit { argument, width: 32, bits: writing };
    #[allow(clippy::cast_lossless)]
    let requests =
        [libc::PTRACE_SEIZE, libc::PTRACE_INTERRUPT, libc::PTRACE_DETACH, libc::PTRACE_GETEVENTMSG];
    let requests = requests.iter().map(|request| *request as u64).collect();
    let die_with_parent = u64::try_from(libc::PR_SET_PDEATHSIG).unwrap_or_default();
    let mut rules = vec![
        rule(others, Condition::Always, "mediating does not need it"),
        rule(
            one("ptrace"),
            Condition::NoneOf { argument: 0, width: 64, values: requests },
            "nobody's memory or registers are changed",
        ),
    ];
    rules.extend(match extent {
        Extent::Reading => [
            rule(one("open"), any(1), "nothing is written"),
            rule(one("openat"), any(2), "nothing is written"),
        ]
        .to_vec(),
        Extent::Writing => [rule(
            one("prctl"),
            Condition::NoneOf { argument: 0, width: 32, values: vec![die_with_parent] },
            "nothing else about a process is changed",
        )]
        .to_vec(),
    });
    rules
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::process::Command;

    use super::*;
    use crate::linux::sys::process::{self, Change, Side};

    #[test]
    fn a_mediator_can_read_and_do_nothing_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let Side::Parent { pid } = process::fork().unwrap() else {
            let held = give_up(Extent::Reading).is_ok()
                && std::fs::read("/proc/self/exe").is_ok_and(|program| !program.is_empty())
                && std::fs::read_dir("/").is_ok_and(|names| names.count() > 1)
                && File::create(file.path()).is_err()
                && File::options().append(true).open(file.path()).is_err()
                && std::fs::remove_file(file.path()).is_err()
                && Command::new("/bin/true").status().is_err()
                && std::net::UdpSocket::bind("127.0.0.1:0").is_err()
                && process::new_session().is_err();
            process::exit(i32::from(!held))
        };
        assert_eq!(process::wait_for_end(pid), Ok(Change::Exited(0)));
    }

    #[test]
    fn every_call_that_is_named_exists() {
        for architecture in [Architecture::X86_64, Architecture::Aarch64] {
            for extent in [Extent::Reading, Extent::Writing] {
                seccomp::compile(&refused(architecture, extent), architecture).unwrap();
            }
        }
        let known: Vec<&str> =
            [Architecture::X86_64, Architecture::Aarch64].iter().flat_map(|one| one.names()).collect();
        assert!(MADE.iter().chain(CARRIED_OUT).all(|name| known.contains(name)));
    }
}
