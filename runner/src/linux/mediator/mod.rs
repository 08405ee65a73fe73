//! The mediator: a process outside the sandbox that is asked at each start of a program inside, and at each call that
//! writes files or goes to a Unix socket, as far as a plan wants.
//!
//! The filter lets `execve` and `execveat` wait for an answer. The mediator copies the arguments, finds out what would be
//! executed, and asks the policy. What it refuses fails with EACCES. What it allows goes on while the thread is held by
//! `ptrace`, and stops again before the first instruction of the new program: only what has been loaded then is what
//! runs, whatever another thread made of the arguments meanwhile. If that is not what was allowed, it is judged anew,
//! and killed if it must not run.
//!
//! Calls that write files or go to Unix sockets wait too, if the plan wants that: see [`files`]. Those that the kernel answers by
//! itself wait where somebody wants to see them: see [`observe`].
//!
//! Nothing inside can reach the mediator: it is in none of the sandbox's namespaces. If it ends, what it holds is killed,
//! every further start fails, and the sandbox is ended.

pub(super) mod connector;
mod files;
pub(super) mod kinds;
mod known;
mod memory;
mod observe;
mod place;
mod program;
mod rights;
mod session;
mod settings;
mod start;
mod tellers;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use fence_compiler::plan::{Condition, LinuxPlan, Mediated};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::seccomp::Judged;
use super::sys;
use super::sys::process::{self, Change, Side, Signals};
use super::sys::socket;
use crate::launch::{self, Arbiter, Observed};
use files::Files;
use kinds::Kinds;
use observe::Observer;
use start::Judge;
use watch::{Ends, Second, Starts, Watch};

/// The mediator, as the process that starts the sandbox sees it.
#[derive(Debug)]
pub(super) struct Mediator {
    pid: i32,
    /// Its other end is the mediator's: each sees that the other has ended.
    lifeline: OwnedFd,
}

/// The calls that wait for an answer.
pub(super) fn calls(mediated: &BTreeSet<Mediated>, observed: Observed) -> Vec<Judged> {
    let mut calls = Vec::new();
    if mediated.contains(&Mediated::Starts) {
        calls.extend(STARTS.map(|call| Judged { call, when: Condition::Always }));
    }
    calls.extend(files::judged(mediated));
    for looked_at in observe::watched(observed) {
        if !calls.contains(&looked_at) {
            calls.push(looked_at);
        }
    }
    calls
}

/// The calls that start programs.
const STARTS: [&str; 2] = ["execve", "execveat"];

impl Mediator {
    /// Starts it. Through the channel it gets where calls are answered; these descriptors are closed in it.
    pub(super) fn start(
        arbiter: &mut dyn Arbiter,
        plan: &LinuxPlan,
        observed: Observed,
        command: &launch::Command,
        channel: OwnedFd,
        given_up: &[RawFd],
    ) -> Result<Mediator, Errno> {
        let (lifeline, other_end) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        match process::fork()? {
            Side::Parent { pid } => Ok(Mediator { pid, lifeline }),
            Side::Child => {
                drop(lifeline);
                given_up.iter().for_each(|descriptor| sys::close(*descriptor));
                let done = mediate(arbiter, plan, observed, command, &channel, other_end);
                process::exit(i32::from(done.is_err()))
            }
        }
    }

    /// Starts one for a session. Through the channel it gets, for each command, where its calls are answered, what it
    /// is, and where what it is refused is told, if somebody wants to see that; all descriptors but the channel and these are closed in it.
    pub(super) fn keep(
        arbiter: &mut dyn Arbiter,
        plan: &LinuxPlan,
        observed: Observed,
        channel: OwnedFd,
        kept: &[RawFd],
    ) -> Result<Mediator, Errno> {
        let (lifeline, other_end) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        match process::fork()? {
            Side::Parent { pid } => Ok(Mediator { pid, lifeline }),
            Side::Child => {
                let own = [channel.as_raw_fd(), other_end.as_raw_fd()];
                let done = sys::close_all_but(own.iter().chain(kept))
                    .and_then(|()| mediate_session(arbiter, plan, observed, channel, other_end));
                process::exit(i32::from(done.is_err()))
            }
        }
    }

    /// What tells that it has ended.
    pub(super) fn lifeline(&self) -> &OwnedFd {
        &self.lifeline
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        let [ended] = process::wait_readable([self.lifeline.as_raw_fd()], 0);
        ended != process::Readable::No
    }

    /// Lets it tell what it has to, and waits for that.
    pub(super) fn conclude(self) -> Result<Change, Errno> {
        drop(self.lifeline);
        process::wait_for_end(self.pid)
    }
}

/// What the mediator's process does for a session.
fn mediate_session(
    arbiter: &mut dyn Arbiter,
    plan: &LinuxPlan,
    observed: Observed,
    channel: OwnedFd,
    lifeline: OwnedFd,
) -> Result<(), Errno> {
    let children = prepare(&plan.mediated)?;
    let judge = Judge { arbiter, known: None, read: Vec::new() };
    let ends = Ends { listener: channel, lifeline, children };
    let mut watch = Watch::new(ends, judge, None, Second::Looked).with_files(files(plan));
    watch = watch.with_kinds(Kinds::of(&plan.seccomp));
    watch = watch.with_observer(Some(Observer::new(&plan.landlock)), starts(plan));
    watch.until_the_session_ends(observed);
    drop(watch);
    arbiter.conclude();
    Ok(())
}

/// What becomes of starts under a plan.
fn starts(plan: &LinuxPlan) -> Starts {
    if plan.mediated.contains(&Mediated::Starts) { Starts::Judged } else { Starts::Observed }
}

/// Who carries out calls that write files or go to sockets, if the plan wants them judged.
fn files(plan: &LinuxPlan) -> Option<Files> {
    plan.mediated.iter().any(|judged| *judged != Mediated::Starts).then(|| Files::of(plan))
}

/// Becomes a process that nobody stops by a key, and that can do nothing but mediate.
fn prepare(mediated: &BTreeSet<Mediated>) -> Result<RawFd, Errno> {
    // Keys of the terminal are for the command, and must not stop whoever it waits for.
    process::new_session()?;
    sys::release_standard();
    process::set_disposition(libc::SIGCHLD, process::Disposition::Default)?;
    let children = Signals::new(&[libc::SIGCHLD]);
    children.block();
    let children = children.descriptor()?;
    rights::give_up(mediated)?;
    Ok(children)
}

/// What the mediator's process does.
fn mediate(
    arbiter: &mut dyn Arbiter,
    plan: &LinuxPlan,
    observed: Observed,
    command: &launch::Command,
    channel: &OwnedFd,
    lifeline: OwnedFd,
) -> Result<(), Errno> {
    let children = prepare(&plan.mediated)?;
    let [ended, _] = process::wait_readable([lifeline.as_raw_fd(), channel.as_raw_fd()], -1);
    let listener = match ended {
        process::Readable::No => socket::take_descriptors(channel.as_raw_fd())?.into_iter().next(),
        _ => None,
    };
    // Without it, nothing was started.
    let Some(listener) = listener else { return Ok(()) };
    let judge = Judge { arbiter, known: None, read: Vec::new() };
    let observer = (observed != Observed::Nothing).then(|| {
        let mut observer = Observer::new(&plan.landlock);
        observer.begin(listener.as_raw_fd(), command);
        observer
    });
    let starts = starts(plan);
    let command = (starts == Starts::Judged).then_some(command);
    let ends = Ends { listener, lifeline, children };
    let watch = Watch::new(ends, judge, command, Second::Looked);
    let watch = watch.with_files(files(plan)).with_kinds(Kinds::of(&plan.seccomp));
    let mut watch = watch.with_observer(observer, starts);
    watch.until_the_end();
    drop(watch);
    arbiter.conclude();
    Ok(())
}
