//! The native launch on Linux: namespaces, mounts, Landlock, a filter of system calls, all made by fence itself.
//!
//! Everything is prepared before the clone: two lists of operations, a `Sandbox` that is made and
//! a `Command` that is started in it. The children only work through them.

pub mod alone;
pub mod bwrap;

mod budget;
mod cgroup;
mod command;
mod descriptors;
mod dialogue;
mod elsewhere;
mod explain;
mod first;
mod landlock;
mod mediator;
mod message;
mod network;
mod operation;
mod outside;
mod parent;
pub(crate) mod relay;
mod sandbox;
pub mod seccomp;
mod served;
pub(crate) mod serving;
pub(crate) mod session;
#[allow(unsafe_code)]
mod sys;
mod tree;

pub(crate) use network::names_file;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::plan::LinuxPlan;
use nix::errno::Errno;

use crate::launch::{Arbiter, Attendant, Command, Ended, Error, Launcher, Options, Outcome};

/// Makes the sandbox of a plan, runs a command in it, and waits for its end.
///
/// # Errors
///
/// Whatever the plan asks for and the host refuses; the command has not run then.
pub fn run(plan: &LinuxPlan, command: &Command, options: &Options) -> Result<Outcome, Error> {
    parent::run(plan, command, options, None, None).map(|ended| ended.outcome)
}

/// Does the same as [`run`], has the network of a plan that allows connections served and starts of programs judged where
/// the plan wants that, and tells what each phase took, if the options ask for it.
///
/// # Errors
///
/// Those of [`run`], and those of the attendant.
pub fn run_attended(
    plan: &LinuxPlan,
    command: &Command,
    options: &Options,
    attendant: Option<&mut dyn Attendant>,
    arbiter: Option<&mut dyn Arbiter>,
) -> Result<Ended, Error> {
    parent::run(plan, command, options, attendant, arbiter)
}

/// Why nobody can look at the calls of a command; `None` if somebody can. Of the filters of a process, one at most may have calls
/// wait, and this process may have such a one from whoever started it: only trying tells.
pub(crate) fn unobservable() -> Option<String> {
    use sys::process::{self, Change, Side};

    const BUSY: i32 = Errno::EBUSY as i32;
    let allowed = match seccomp::compile(&[], seccomp::Architecture::NATIVE) {
        Ok(allowed) => allowed,
        Err(error) => return Some(error.to_string()),
    };
    let tried = match process::fork() {
        Ok(Side::Child) => {
            let done = sys::confine::no_new_privileges().and_then(|()| sys::notice::install(&allowed));
            process::exit(done.map_or_else(|errno| errno as i32, |_| 0))
        }
        Ok(Side::Parent { pid }) => process::wait_for_end(pid),
        Err(errno) => Err(errno),
    };
    match tried {
        Ok(Change::Exited(0)) => None,
        Ok(Change::Exited(BUSY)) => Some("whatever fence runs in looks at calls already".to_owned()),
        Ok(Change::Exited(number)) => Some(Errno::from_raw(number).desc().to_lowercase()),
        Ok(_) => Some("a trial was killed".to_owned()),
        Err(errno) => Some(errno.desc().to_lowercase()),
    }
}

/// Where something is mounted.
pub(crate) fn mounted_places() -> Vec<AbsolutePath> {
    elsewhere::places(&elsewhere::table())
}

/// Whether a directory of a layer hides what the host has at its place.
pub(crate) fn is_opaque(directory: &AbsolutePath) -> bool {
    let mut value = [0];
    sys::attributes::get(&tree::absolute(directory), c"user.overlay.opaque", &mut value) == Ok(1)
        && value == *b"y"
}

/// The same for a directory that is open.
pub(crate) fn is_opaque_directory(directory: &OwnedFd) -> bool {
    let mut value = [0];
    sys::attributes::get_open(directory.as_fd(), c"user.overlay.opaque", &mut value) == Ok(1)
        && value == *b"y"
}

/// Does something that no signal of the caller's interrupts; a file that grows beyond a limit is an error, and no end.
pub(crate) fn undisturbed<T>(work: impl FnOnce() -> T) -> T {
    // An error means that there is no such signal.
    let _ = sys::process::set_disposition(libc::SIGXFSZ, sys::process::Disposition::Ignored);
    let signals = sys::process::Signals::new(&[libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM]);
    let before = signals.block();
    let done = work();
    before.restore();
    done
}

/// What becomes of what lies at the new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renaming {
    /// There must be nothing.
    New,
    /// It gets the old name.
    Exchange,
}

/// Gives something another name in its directory.
pub(crate) fn rename(directory: &OwnedFd, from: &[u8], to: &[u8], how: Renaming) -> Result<(), Errno> {
    let flags = match how {
        Renaming::New => libc::RENAME_NOREPLACE,
        Renaming::Exchange => libc::RENAME_EXCHANGE,
    };
    let name = |bytes: &[u8]| CString::new(bytes).map_err(|_| Errno::EINVAL);
    sys::attributes::rename(directory.as_fd(), &name(from)?, &name(to)?, flags)
}

/// Takes over a descriptor that this process was started with, so that nothing it starts gets it.
///
/// # Errors
/// There is no such one beside the standard descriptors.
pub(crate) fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(Errno::EBADF.into());
    }
    let own = sys::copy(number)?;
    sys::close(number);
    Ok(own)
}

/// Asks the first process for sockets of the sandbox's own network.
pub(crate) fn ask_for_sockets(channel: RawFd) -> io::Result<()> {
    Ok(sys::write(channel, &[0]).map(drop)?)
}

/// Takes the sockets that were asked for; none if the sandbox is gone.
pub(crate) fn take_sockets(channel: RawFd) -> io::Result<Vec<OwnedFd>> {
    Ok(sys::socket::take_descriptors(channel)?)
}

/// Fence's own launch.
#[derive(Clone, Copy, Debug)]
pub struct Native;

impl Launcher for Native {
    type Plan = LinuxPlan;

    fn run(&self, plan: &LinuxPlan, command: &Command, options: &Options) -> Result<Outcome, Error> {
        run(plan, command, options)
    }
}
