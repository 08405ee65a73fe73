//! Giving up rights before the first byte of somebody else's is read.
//!
//! The process that serves a sandbox parses what the sandbox sends, with the caller's rights. From here on it can
//! start nothing, write no file that it has not open, read only what resolving names needs, and look into no other
//! process. What it still has to do is what its filter lets through: serve, wait for its child and signal it, give
//! the terminal back, and write to what is open.

use std::path::Path;

use fence_compiler::plan::{CallRule, Condition};
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope,
};

use super::seccomp::{self, Architecture};
use super::sys::confine;
use crate::host::landlock_abi;

/// What stands in the way of giving up rights.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServingError {
    /// Landlock.
    #[error("Landlock: {0}")]
    Landlock(#[from] RulesetError),
    /// The filter of system calls.
    #[error("the filter of system calls: {0}")]
    Filter(#[from] seccomp::FilterError),
    /// A call of the system.
    #[error("{doing}: {}", .errno.desc().to_lowercase())]
    Call {
        /// What was attempted.
        doing: &'static str,
        /// Why it failed.
        errno: nix::errno::Errno,
    },
}

/// What the system's resolver reads. It finds no socket of a service: what it would ask there, it asks by DNS.
const READ: &[&str] = &[
    "/etc/hosts",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/passwd",
    "/etc/ld.so.cache",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/nix/store",
    "/gnu/store",
    // Looked at, not read, to know whether there is a terminal.
    "/dev/tty",
];

/// Gives up everything that serving does not need, in this thread and all that it starts.
pub(crate) fn confine() -> Result<(), ServingError> {
    let call = |doing| move |errno| ServingError::Call { doing, errno };
    files()?;
    confine::no_new_privileges().map_err(call("giving up new privileges"))?;
    confine::drop_capabilities().map_err(call("giving up capabilities"))?;
    confine::undumpable().map_err(call("keeping others from looking in"))?;
    let program = seccomp::compile(&refused(Architecture::NATIVE), Architecture::NATIVE)?;
    confine::install_filter(&program).map_err(call("installing the filter of system calls"))
}

/// Leaves only what the resolver reads. For anybody but root all of `/etc` is left, so that a new `resolv.conf` that
/// takes the place of the old one is found; what root alone can read there stays closed.
fn files() -> Result<(), RulesetError> {
    let abi = ABI::from(i32::try_from(landlock_abi()).unwrap_or(0));
    let strict = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let ruleset = strict.handle_access(AccessFs::from_all(abi))?;
    let ruleset = if Scope::from_all(abi).contains(Scope::AbstractUnixSocket) {
        ruleset.scope(Scope::AbstractUnixSocket)?
    } else {
        ruleset
    };
    let mut created = ruleset.create()?;
    let all = if nix::unistd::geteuid().is_root() { None } else { Some("/etc") };
    for path in READ.iter().copied().chain(all).map(Path::new) {
        let Ok(place) = PathFd::new(path) else { continue };
        let access: BitFlags<AccessFs> =
            if path.is_dir() { AccessFs::ReadFile | AccessFs::ReadDir } else { AccessFs::ReadFile.into() };
        created = created.add_rule(PathBeneath::new(place, access))?;
    }
    created.restrict_self().map(drop)
}

/// The calls that serving makes.
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
    "dup2",
    "dup3",
    "pipe2",
    "splice",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "eventfd2",
    // Files, to read.
    "open",
    "openat",
    "stat",
    "lstat",
    "fstat",
    "newfstatat",
    "statx",
    "fstatfs",
    "statfs",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "getdents64",
    "getcwd",
    // Sockets.
    "socket",
    "connect",
    "accept",
    "accept4",
    "bind",
    "listen",
    "getsockname",
    "getpeername",
    "setsockopt",
    "getsockopt",
    "shutdown",
    "sendto",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "sendmmsg",
    "recvmmsg",
    // Memory and threads.
    "mmap",
    "munmap",
    "mremap",
    "mprotect",
    "madvise",
    "brk",
    "futex",
    "set_robust_list",
    "rseq",
    "membarrier",
    "sched_yield",
    "sched_getaffinity",
    "clone",
    "set_tid_address",
    "sigaltstack",
    "exit",
    "exit_group",
    "prctl",
    "arch_prctl",
    // Signals and the child.
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigtimedwait",
    "rt_sigpending",
    "rt_sigsuspend",
    "restart_syscall",
    "signalfd4",
    "kill",
    "tgkill",
    "wait4",
    "waitid",
    // What it is, and what time it is.
    "getpid",
    "getppid",
    "gettid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getpgrp",
    "getpgid",
    "getsid",
    "getresuid",
    "getresgid",
    "getrlimit",
    "prlimit64",
    "getrusage",
    "times",
    "uname",
    "sysinfo",
    "getcpu",
    "getrandom",
    "clock_gettime",
    "clock_getres",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "time",
];

/// The calls that a newer library tries first, and does without where the system does not have them.
const UNKNOWN: &[&str] = &["clone3", "openat2", "io_uring_setup", "close_range", "futex_waitv"];

/// Every other call, and what of these is too much.
fn refused(architecture: Architecture) -> Vec<CallRule> {
    let rule = |calls: Vec<String>, when: Vec<Condition>, errno: &str, reason: &str| CallRule {
        calls,
        when,
        errno: errno.to_owned(),
        reason: reason.to_owned(),
    };
    let one = |call: &str| vec![call.to_owned()];
    let own = u64::from(std::process::id());
    let bits = |number: i32| u64::try_from(number).unwrap_or(u64::MAX);
    let others = architecture.names().filter(|name| !MADE.contains(name) && !UNKNOWN.contains(name));
    let others = others.map(str::to_owned).collect();
    let writing = bits(seccomp::WRITING);
    let any = |argument, bits| vec![Condition::AnyBit { argument, width: 32, bits }];
    let families = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].map(bits).to_vec();
    // Naming a thread, and a piece of memory.
    let harmless = vec![bits(libc::PR_SET_NAME), bits(libc::PR_GET_NAME), bits(libc::PR_SET_VMA)];
    let command = |value| Condition::Equals { argument: 1, width: 32, mask: u64::MAX, value };
    vec![
        rule(others, vec![Condition::Always], "EPERM", "serving does not need it"),
        rule(
            UNKNOWN.iter().map(|name| (*name).to_owned()).collect(),
            vec![Condition::Always],
            "ENOSYS",
            "the older call is judged",
        ),
        rule(one("open"), any(1, writing), "EACCES", "nothing is written"),
        rule(one("openat"), any(2, writing), "EACCES", "nothing is written"),
        rule(
            one("clone"),
            vec![Condition::Equals { argument: 0, width: 64, mask: bits(libc::CLONE_THREAD), value: 0 }],
            "EPERM",
            "only threads are started",
        ),
        rule(
            one("socket"),
            vec![Condition::NoneOf { argument: 0, width: 32, values: families }],
            "EAFNOSUPPORT",
            "no other kind of socket is needed",
        ),
        rule(
            one("prctl"),
            vec![Condition::NoneOf { argument: 0, width: 32, values: harmless }],
            "EPERM",
            "rights stay given up",
        ),
        rule(
            one("socket"),
            vec![Condition::All(vec![
                Condition::Equals { argument: 0, width: 32, mask: u64::MAX, value: bits(libc::AF_NETLINK) },
                Condition::NoneOf { argument: 2, width: 32, values: vec![bits(libc::NETLINK_ROUTE)] },
            ])],
            "EPROTONOSUPPORT",
            "only addresses are asked for",
        ),
        rule(
            one("kill"),
            vec![Condition::All(vec![
                Condition::NoneOf { argument: 0, width: 32, values: vec![own] },
                Condition::NoneOf { argument: 1, width: 32, values: vec![0] },
            ])],
            "EPERM",
            "nobody else is signalled",
        ),
        rule(
            one("tgkill"),
            vec![Condition::NoneOf { argument: 0, width: 32, values: vec![own] }],
            "EPERM",
            "nobody else is signalled",
        ),
        rule(
            one("prlimit64"),
            vec![Condition::NoneOf { argument: 0, width: 32, values: vec![0, own] }],
            "EPERM",
            "nobody else is limited",
        ),
        rule(
            one("ioctl"),
            vec![command(0x5412), command(0x541c)],
            "EPERM",
            "no input is put into a terminal",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::net::{TcpListener, TcpStream, ToSocketAddrs};
    use std::process::Command;

    use super::*;

    /// Tries everything in a process of its own, which is confined for good.
    #[test]
    fn a_process_that_serves_can_still_serve_and_do_nothing_else() {
        const CONFINED: &str = "FENCE_TEST_CONFINED";
        if std::env::var_os(CONFINED).is_none() {
            let name = "linux::serving::tests::a_process_that_serves_can_still_serve_and_do_nothing_else";
            let mut again = Command::new(std::env::current_exe().unwrap());
            let status = again.args(["--exact", "--nocapture", name]).env(CONFINED, "1").status().unwrap();
            assert!(status.success());
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut open = OpenOptions::new().append(true).open(file.path()).unwrap();
        let mut child = Command::new("true").spawn().unwrap();
        let own = format!("/proc/{}/environ", std::os::unix::process::parent_id());
        confine().unwrap();
        let refused = |tried: std::io::Result<()>| tried.map_err(|error| error.raw_os_error()).unwrap_err();
        assert!(refused(Command::new("true").status().map(drop)).is_some());
        assert!(refused(File::create(file.path()).map(drop)).is_some());
        assert!(refused(File::open(file.path()).map(drop)).is_some());
        assert!(refused(File::open("/etc/shadow").map(drop)).is_some());
        assert!(refused(File::open(own).map(drop)).is_some());
        assert!(refused(std::fs::remove_file(file.path())).is_some());
        assert!(refused(std::fs::read_dir("/").map(drop)).is_some());
        assert!(nix::unistd::setsid().is_err());
        child.wait().unwrap();
        std::io::Write::write_all(&mut open, b"x").unwrap();
        assert!(("localhost", 0).to_socket_addrs().unwrap().next().is_some());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || listener.accept().map(drop));
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        thread.join().unwrap().unwrap();
        let (parent, end) = (nix::unistd::getppid(), nix::sys::signal::Signal::SIGCONT);
        assert!(nix::sys::signal::kill(parent, end).is_err());
        nix::sys::signal::kill(parent, None).unwrap();
        nix::sys::signal::kill(nix::unistd::getpid(), end).unwrap();
        assert!(std::os::unix::net::UnixStream::pair().is_err());
        assert!(std::os::unix::net::UnixStream::connect("/run/fence-test").is_err());
    }

    #[test]
    fn every_call_that_is_named_exists() {
        let known: Vec<&str> =
            [Architecture::X86_64, Architecture::Aarch64].iter().flat_map(|one| one.names()).collect();
        for name in MADE.iter().chain(UNKNOWN) {
            assert!(known.contains(name), "{name}");
        }
        for architecture in [Architecture::X86_64, Architecture::Aarch64] {
            seccomp::compile(&refused(architecture), architecture).unwrap();
        }
    }
}
