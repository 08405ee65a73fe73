//! What a failed operation means, in a sentence.

use std::ffi::CStr;

use fence_compiler::bytes::AbsolutePath;
use nix::errno::Errno;

use super::cgroup::{Leaf, not_entered};
use super::operation::{FileSystem, Operation, Step};
use crate::launch::{Error, ExecProblem};

/// Explains why a step failed.
pub(super) fn step(step: &Step, errno: Errno) -> Error {
    if let Operation::Execute { program, .. } = &step.operation {
        return Error::Exec { program: shown(program), problem: exec_problem(program, errno) };
    }
    let (attempt, repair) = explanation(&step.operation, errno);
    if repair == NO_NAMESPACES {
        return Error::Namespaces { attempt, reason: reason(errno), repair };
    }
    Error::Step { attempt, reason: reason(errno), repair, rules: step.rules.clone() }
}

/// Explains why a step of a session's command failed.
pub(super) fn asked(step: &Step, errno: Errno, program: &CStr) -> Error {
    match step.operation {
        Operation::ExecuteAsked => {
            Error::Exec { program: shown(program), problem: exec_problem(program, errno) }
        }
        _ => self::step(step, errno),
    }
}

/// Explains why the first process could not be made, in this cgroup if it has one: these errors are about that.
pub(super) fn cloned(errno: Errno, cgroup: Option<&Leaf>) -> Error {
    match (cgroup, errno) {
        (Some(_), Errno::EACCES | Errno::EBUSY | Errno::ENODEV | Errno::ENOENT | Errno::EOPNOTSUPP) => {
            not_entered(errno)
        }
        _ => namespaces(errno),
    }
}

/// Explains why the namespaces could not be made.
fn namespaces(errno: Errno) -> Error {
    let repair = match errno {
        Errno::ENOSPC | Errno::EUSERS => {
            "the limit on namespaces is reached: raise `user.max_user_namespaces` and its siblings (`sysctl -w user.max_user_namespaces=16384`)"
        }
        Errno::EAGAIN | Errno::ENOMEM => {
            "too many processes run or memory is short: end some, or raise `ulimit -u`"
        }
        Errno::ENOSYS | Errno::EINVAL => {
            "this kernel lacks `clone3` or a kind of namespace: fence needs Linux 5.12 or later"
        }
        _ => NO_NAMESPACES,
    };
    Error::Namespaces {
        attempt: "making the namespaces of the sandbox".to_owned(),
        reason: reason(errno),
        repair: repair.to_owned(),
    }
}

/// Explains what the first process could not do by itself.
pub(super) fn first(index: u32, errno: Errno) -> Error {
    let attempt = if index == 0 { "watching for signals inside" } else { "starting the command's process" };
    Error::Step {
        attempt: attempt.to_owned(),
        reason: reason(errno),
        repair: "too many processes run, or a limit of the policy is too low".to_owned(),
        rules: Vec::new(),
    }
}

/// Explains why there is no mediator.
pub(super) fn mediator(errno: Errno) -> Error {
    Error::Step {
        attempt: "starting the process that judges what is started inside".to_owned(),
        reason: reason(errno),
        repair: "too many processes run or memory is short: end some, or raise `ulimit -u`".to_owned(),
        rules: Vec::new(),
    }
}

const NO_NAMESPACES: &str = "this host does not let you make user namespaces: `fence doctor` tells which setting forbids it and how to lift it";

fn reason(errno: Errno) -> String {
    let words = errno.desc();
    let mut lower = words.chars();
    let words = match lower.next() {
        Some(first) => first.to_lowercase().chain(lower).collect(),
        None => String::new(),
    };
    format!("{words} ({errno:?})")
}

fn explanation(operation: &Operation, errno: Errno) -> (String, String) {
    let changed =
        |path: &CStr| format!("`{}` changed since the policy was compiled: run it again", shown(path));
    let doctor = || "`fence doctor` tells what this host offers and how to mend it".to_owned();
    let inside = |path: &CStr| format!("/{}", shown(path).trim_start_matches('.'));
    match operation {
        Operation::Write { path, text } => (
            format!("writing `{}` to `{}`", text.to_string_lossy(), shown(path)),
            if path.to_bytes().starts_with(b"/proc/self/") { NO_NAMESPACES.to_owned() } else { doctor() },
        ),
        Operation::LeaveCgroups => ("keeping the cgroups of the host apart".to_owned(), NO_NAMESPACES.to_owned()),
        Operation::EnterCgroup { .. } => ("starting the run in a cgroup of its own".to_owned(), doctor()),
        Operation::Private => ("keeping the mounts of the host apart".to_owned(), NO_NAMESPACES.to_owned()),
        Operation::HostRoot { source, .. } => {
            (format!("mounting `{}` as the root inside", shown(source)), missing(source, errno))
        }
        Operation::Bind { source, at, .. } => (
            format!("mounting `{}` at `{}` inside", shown(source), inside(at.path())),
            missing(source, errno),
        ),
        Operation::Store | Operation::EmptyRoot { .. } | Operation::AttachRoot => {
            ("making the root of the sandbox".to_owned(), NO_NAMESPACES.to_owned())
        }
        Operation::Fill { .. } => ("writing the files that names are resolved by".to_owned(), doctor()),
        Operation::Directory { path, .. } | Operation::File { path, .. } | Operation::Link { path, .. } => {
            (format!("making `{}` inside", inside(path)), changed(path))
        }
        Operation::Layer { lower, .. } => (format!("putting a layer over `{}`", shown(lower)), no_layer(lower, errno)),
        Operation::Overlaid { at, .. } => (
            format!("mounting `{}` as its layer shows it", inside(at.path())),
            format!(
                "the overlay has something else there than the host has: `fence overlay diff` shows what, and `fence overlay discard` drops it ({})",
                changed(at.path())
            ),
        ),
        Operation::Copy { source, .. } => {
            (format!("copying `{}` for the overlay", shown(source)), missing(source, errno))
        }
        Operation::Mask { at, .. } => (format!("covering `{}`", inside(at.path())), changed(at.path())),
        Operation::Pin { at } => (format!("keeping `{}` from being moved", inside(at)), changed(at)),
        Operation::New { filesystem: FileSystem::Processes, at, .. } => (
            format!("mounting a fresh `/proc` at `{}`", inside(at.path())),
            "a container that hides parts of its own `/proc` forbids it: start the container with `--security-opt systempaths=unconfined`, or see `fence doctor`".to_owned(),
        ),
        Operation::New { at, .. } | Operation::Stored { at, .. } => {
            (format!("mounting a file system at `{}` inside", inside(at.path())), doctor())
        }
        Operation::Seal { at } => (format!("making `{}` read-only inside", inside(at)), changed(at)),
        Operation::Pivot => (
            "leaving the root of the host".to_owned(),
            "the root directory here is not a mount of its own (a chroot): run fence outside of it".to_owned(),
        ),
        Operation::Loopback => ("switching the loopback interface on".to_owned(), doctor()),
        Operation::Netlink { .. } => ("routing what is sent inside to fence".to_owned(), doctor()),
        Operation::Firewall { .. } => (
            "making the rules that judge connections (nftables)".to_owned(),
            "the kernel needs `nf_tables` with its `inet` tables, `nft_redir`, `nft_reject_inet` and `nft_ct`: load these modules (`modprobe nf_tables nft_redir nft_reject_inet nft_ct`), or allow no connection".to_owned(),
        ),
        Operation::HandOver { .. } => ("making the sockets that connections are judged at".to_owned(), doctor()),
        Operation::Hold { .. } => (
            "keeping ports of the host's loopback from being bound inside".to_owned(),
            "too many files are open: raise `ulimit -n`, or name fewer ports".to_owned(),
        ),
        Operation::Join { .. } => (
            "entering the namespaces that bubblewrap has made".to_owned(),
            "this host does not let them be entered from outside: see `fence doctor`".to_owned(),
        ),
        Operation::NoExecution { path } => {
            (format!("keeping `{}` from being executed", shown(path)), doctor())
        }
        Operation::Allow { path, .. } | Operation::Offer { path, .. } => {
            (format!("allowing `{}` in Landlock", shown(path)), changed(path))
        }
        Operation::AllowDescriptor { descriptor, .. } => (
            format!("allowing standard descriptor {descriptor} in Landlock"),
            "give the command a pipe in its place".to_owned(),
        ),
        Operation::Enter { .. } => ("entering the Landlock ruleset".to_owned(), landlock_repair(errno)),
        Operation::NewSession => ("starting a session without a terminal".to_owned(), doctor()),
        Operation::Limit { resource, amount } => (
            format!("limiting resource {resource} to {amount}"),
            "choose a limit that this host accepts".to_owned(),
        ),
        Operation::Start { path } => (
            format!("starting in `{}`", shown(path)),
            "it must exist, and you must be able to enter it: choose another directory with `-C`".to_owned(),
        ),
        Operation::Filter { .. } => ("installing the filter of system calls".to_owned(), doctor()),
        Operation::Mediate { .. } | Operation::MediateAsked { .. } => (
            "having the starts of programs judged".to_owned(),
            if errno == Errno::EBUSY {
                "fence runs inside a sandbox that judges calls itself, and there can be only one such: use a policy without rules on commands".to_owned()
            } else {
                doctor()
            },
        ),
        Operation::Check | Operation::CheckWithoutBoundingSet => (
            format!("checking that every right is gone before executing, and {}", left(errno)),
            "do not run anything on this host with fence before this is understood: please report it".to_owned(),
        ),
        Operation::NoNewPrivileges
        | Operation::Undumpable
        | Operation::DropBoundingSet
        | Operation::DropCapabilities
        | Operation::CloseOthers { .. }
        | Operation::DieWithParent
        | Operation::Signal { .. } => ("giving up rights".to_owned(), doctor()),
        Operation::Remember { .. } => {
            ("keeping a session inside".to_owned(), doctor())
        }
        Operation::StartAsked => (
            "going to the directory that the command starts in".to_owned(),
            "it is not there inside, or you may not enter it: choose another, or allow `read` of it when the session starts".to_owned(),
        ),
        Operation::Mark(_)
        | Operation::Standard
        | Operation::ExecuteAsked
        | Operation::Umask
        | Operation::Restore { .. }
        | Operation::Spread { .. }
        | Operation::Execute { .. } => {
            ("starting the command".to_owned(), doctor())
        }
    }
}

fn missing(source: &CStr, errno: Errno) -> String {
    let path = shown(source);
    match errno {
        Errno::ENOENT => format!(
            "`{path}` is gone since the policy was compiled: run it again, or take it out of the policy"
        ),
        Errno::ELOOP => format!("a link now stands in the way of `{path}`: run it again"),
        Errno::EACCES => format!(
            "you cannot enter a directory above `{path}` yourself: take it out of the policy, or let its owner open it"
        ),
        Errno::ENOTDIR => format!("`{path}` and its place inside are not of one kind any more: run it again"),
        Errno::EINVAL | Errno::EPERM => {
            format!("this host does not let `{path}` be mounted elsewhere: see `fence doctor`")
        }
        _ => "see `fence doctor`".to_owned(),
    }
}

/// Why there is no layer over a directory.
fn no_layer(over: &CStr, errno: Errno) -> String {
    let over = shown(over);
    match errno {
        Errno::EBUSY => "a run that uses this overlay has not ended yet: wait for it, or take another name".to_owned(),
        Errno::EOPNOTSUPP => "what is written would lie on a file system without user attributes, which a layer needs (in memory: from Linux 6.6 on): keep the overlay under a name, with XDG_STATE_HOME on ext4, xfs or btrfs".to_owned(),
        Errno::ENODEV => "this kernel has no overlayfs: `modprobe overlay`, or see `fence doctor`".to_owned(),
        Errno::EPERM => "this kernel lets only root make layers: fence needs Linux 5.11 or later, see `fence doctor`".to_owned(),
        Errno::ELOOP => format!("`{over}` and the state of fence lie within one another: use `--overlay tmp`, or set XDG_STATE_HOME to a directory outside of it"),
        Errno::EINVAL => format!("something is mounted below `{over}`, or its file system or that of fence's state can be under no layer: run without `--overlay`, or set XDG_STATE_HOME to a directory on ext4, xfs or btrfs"),
        _ => missing_layer(&over),
    }
}

fn missing_layer(over: &str) -> String {
    format!("`{over}` or the overlay's own directory changed meanwhile: run it again")
}

fn landlock_repair(errno: Errno) -> String {
    match errno {
        Errno::E2BIG => "16 sandboxes within each other are the most that the kernel allows".to_owned(),
        _ => "`fence doctor` tells what this host offers and how to mend it".to_owned(),
    }
}

/// What the check found, by the errors that stand for it.
fn left(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM => "a capability is left",
        Errno::EACCES => "the bounding set is not empty",
        Errno::EINVAL => "`no_new_privs` is not set",
        _ => "no filter is installed",
    }
}

/// Tells apart why `execve` failed. That the file itself is missing is looked up on the host: what cannot be seen
/// there under this name is not inside either, but for what fence made itself.
fn exec_problem(program: &CStr, errno: Errno) -> ExecProblem {
    match errno {
        Errno::ENOENT
            if nix::sys::stat::stat(program)
                .is_ok_and(|file| file.st_mode & libc::S_IFMT == libc::S_IFREG) =>
        {
            ExecProblem::NoInterpreter
        }
        Errno::ENOENT | Errno::ENOTDIR => ExecProblem::NotFound,
        Errno::EACCES | Errno::EPERM => ExecProblem::Refused,
        Errno::ENOEXEC => ExecProblem::NoFormat,
        Errno::E2BIG => ExecProblem::Other(
            "the arguments and the environment are too long together; pass them in a file".to_owned(),
        ),
        errno => ExecProblem::Other(reason(errno)),
    }
}

/// A path as a person may see it: control characters escaped.
fn shown(path: &CStr) -> String {
    match AbsolutePath::new(path.to_bytes()) {
        Some(path) => path.to_string(),
        None => path.to_bytes().escape_ascii().to_string(),
    }
}
