//! Giving up rights before the first call from inside is looked at.
//!
//! The mediator reads what the sandbox controls: paths, arguments, the heads of files. From here on it has no capability,
//! executes nothing, makes no socket, and traces only as it has to; it opens nothing for writing, unless it carries out calls
//! that write files, and connects and sends nothing, unless it does that on sockets of those who ask. It has to be able to read whatever a program inside could execute.

use std::collections::BTreeSet;

use fence_compiler::plan::{CallRule, Condition, Mediated};
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

/// The calls that carrying out others makes beside these.
const CARRIED_OUT: &[&str] = &[
    "openat2",
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

/// Those for what writes files.
const WRITING: &[&str] = &[
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
];

/// Those for what reads files.
const READING: &[&str] = &[
    "inotify_add_watch",
    "inotify_rm_watch",
    // So that nobody waits for who has been there.
    "setitimer",
];

/// Those for what goes to sockets.
const CONNECTING: &[&str] = &[
    "connect",
    "sendmsg",
    "getsockopt",
    // Who everybody inside is.
    "geteuid",
    "getegid",
    // So that nobody waits for a connection.
    "setitimer",
    // How much of several messages was sent.
    "process_vm_writev",
];

/// Those for making the connections of a run, and removing its own directory at the end.
const ALONE: &[&str] = &[
    "connect",
    "getsockopt",
    "setitimer",
    "pidfd_open",
    "pidfd_getfd",
    "unlink",
    "unlinkat",
    "rmdir",
    "chmod",
    "fchmodat",
];

/// Gives up what the process that makes the connections of a run does not need. Looking at others may take a capability.
pub(super) fn give_up_alone() -> Result<(), Errno> {
    confine::no_new_privileges()?;
    confine::keep_looking()?;
    let architecture = Architecture::NATIVE;
    let made = |name: &&str| (MADE.contains(name) || ALONE.contains(name)) && *name != "ptrace";
    let others = architecture.names().filter(|name| !made(name)).map(str::to_owned).collect();
    let writing = u64::try_from(seccomp::WRITING).unwrap_or(u64::MAX);
    let any = |argument| Condition::AnyBit { argument, width: 32, bits: writing };
    let rules = [
        rule(others, Condition::Always, "making connections does not need it"),
        rule(vec!["open".to_owned()], any(1), "nothing is written"),
        rule(vec!["openat".to_owned()], any(2), "nothing is written"),
    ];
    let program = seccomp::compile(&rules, architecture).map_err(|_| Errno::EINVAL)?;
    confine::install_filter(&program)
}

/// Gives up everything that mediating does not need.
pub(super) fn give_up(mediated: &BTreeSet<Mediated>) -> Result<(), Errno> {
    confine::no_new_privileges()?;
    confine::drop_capabilities()?;
    confine::undumpable()?;
    let rules = refused(Architecture::NATIVE, mediated);
    let program = seccomp::compile(&rules, Architecture::NATIVE).map_err(|_| Errno::EINVAL)?;
    confine::install_filter(&program)
}

fn rule(calls: Vec<String>, when: Condition, reason: &str) -> CallRule {
    CallRule { calls, when: vec![when], errno: "EPERM".to_owned(), reason: reason.to_owned() }
}

/// Every other call, and what of these is too much.
fn refused(architecture: Architecture, mediated: &BTreeSet<Mediated>) -> Vec<CallRule> {
    let one = |call: &str| vec![call.to_owned()];
    let bits = |number: i32| u64::try_from(number).unwrap_or(u64::MAX);
    let (writes, connects) = (mediated.contains(&Mediated::Writes), mediated.contains(&Mediated::Sockets));
    let made = |name: &&str| {
        MADE.contains(name)
            || (writes || connects) && CARRIED_OUT.contains(name)
            || writes && WRITING.contains(name)
            || connects && CONNECTING.contains(name)
            || mediated.contains(&Mediated::Reads) && READING.contains(name)
    };
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
    if !writes {
        rules.push(rule(one("open"), any(1), "nothing is written"));
        rules.push(rule(one("openat"), any(2), "nothing is written"));
    }
    if writes || connects {
        rules.push(rule(
            one("prctl"),
            Condition::NoneOf { argument: 0, width: 32, values: vec![die_with_parent] },
            "nothing else about a process is changed",
        ));
    }
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
            let held = give_up(&[Mediated::Starts].into()).is_ok()
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
    fn who_makes_connections_can_read_and_remove_and_do_nothing_else() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let Side::Parent { pid } = process::fork().unwrap() else {
            let held = give_up_alone().is_ok()
                && std::fs::read_dir("/proc").is_ok_and(|names| names.count() > 1)
                && File::create(file.path()).is_err()
                && File::options().append(true).open(file.path()).is_err()
                && std::fs::rename(file.path(), "/var/tmp/other").is_err()
                && Command::new("/bin/true").status().is_err()
                && std::net::UdpSocket::bind("127.0.0.1:0").is_err()
                && process::new_session().is_err()
                && std::fs::remove_file(file.path()).is_ok();
            process::exit(i32::from(!held))
        };
        assert_eq!(process::wait_for_end(pid), Ok(Change::Exited(0)));
    }

    #[test]
    fn every_call_that_is_named_exists() {
        for architecture in [Architecture::X86_64, Architecture::Aarch64] {
            let reads = [Mediated::Reads, Mediated::Writes];
            for mediated in [&[Mediated::Starts][..], &[Mediated::Writes], &reads, &[Mediated::Sockets]] {
                let mediated = mediated.iter().copied().collect();
                seccomp::compile(&refused(architecture, &mediated), architecture).unwrap();
            }
        }
        let known: Vec<&str> =
            [Architecture::X86_64, Architecture::Aarch64].iter().flat_map(|one| one.names()).collect();
        assert!(
            [MADE, CARRIED_OUT, WRITING, READING, CONNECTING, ALONE]
                .concat()
                .iter()
                .all(|name| known.contains(name))
        );
    }
}
