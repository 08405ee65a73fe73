//! Waiting for a command whose process is this one's own child, or a child's: where fence makes no first process.

use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use fence_compiler::plan::{LimitMechanism, LinuxPlan, TerminalPlan};
use nix::errno::Errno;

use super::parent::{has_terminal, stop};
use super::sys;
use super::sys::join;
use super::sys::process::{self, Change, Readable, Sender, Signals};
use crate::launch::Error;

/// A child that is waited for.
pub(super) struct Outside {
    /// The child.
    pub(super) pid: i32,
    /// Where signals for the command go.
    pub(super) command: Target,
    terminal: TerminalPlan,
    ended: OwnedFd,
    timer: Option<OwnedFd>,
    /// Where the signals that are passed on are read.
    received: RawFd,
    /// What became of the child.
    pub(super) end: Option<Change>,
    /// Whether the time limit ended it.
    pub(super) time: Time,
}

/// Which process the command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The child itself.
    Child,
    /// The first child of this process.
    ChildOf(i32),
}

/// Whether a time limit has ended something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    /// Not yet, or there is none.
    Left,
    /// It has.
    Over,
}

impl Outside {
    /// Watches a child. The signals are blocked already.
    pub(super) fn new(
        pid: i32,
        command: Target,
        plan: &LinuxPlan,
        signals: Signals,
    ) -> Result<Outside, Error> {
        let failed = |errno: Errno| Error::Step {
            attempt: "watching the command's process".to_owned(),
            reason: errno.desc().to_lowercase(),
            repair: "too many files are open: close some, or raise `ulimit -n`".to_owned(),
            rules: Vec::new(),
        };
        Ok(Outside {
            pid,
            command,
            terminal: plan.terminal,
            ended: join::watch_process(pid).map_err(failed)?,
            timer: limit(plan).map(join::timer).transpose().map_err(failed)?,
            received: signals.with(libc::SIGCHLD).descriptor().map_err(failed)?,
            end: None,
            time: Time::Left,
        })
    }

    /// Waits until the child has ended.
    pub(super) fn until_the_end(&mut self) {
        while self.wait(-1).is_continue() {}
    }

    /// What is waited for.
    pub(super) fn waited(&self) -> [RawFd; 3] {
        let timer = self.timer.as_ref().map_or(-1, AsRawFd::as_raw_fd);
        [self.ended.as_raw_fd(), self.received, timer]
    }

    /// Waits so many milliseconds for something to handle, and handles it; breaks when the child has ended.
    pub(super) fn wait(&mut self, milliseconds: i32) -> ControlFlow<()> {
        if self.end.is_some() {
            return ControlFlow::Break(());
        }
        let [ended, signals, time] = process::wait_readable(self.waited(), milliseconds);
        if time == Readable::Yes {
            self.timer = None;
            self.time = Time::Over;
            self.kill();
        }
        if signals == Readable::Yes {
            self.take_signals();
        }
        if ended != Readable::No {
            self.end = process::wait_for_end(self.pid).ok();
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Ends the command, and everything that ends with it.
    pub(super) fn kill(&self) {
        if let Target::ChildOf(first) = self.command {
            process::kill(first, libc::SIGKILL);
        }
        process::kill(self.pid, libc::SIGKILL);
    }

    fn take_signals(&mut self) {
        while let Some(received) = process::take_signal(self.received) {
            match received.signal {
                libc::SIGCHLD => self.take_stop(),
                libc::SIGTTIN | libc::SIGTTOU => {}
                signal => self.pass_on(signal, received.sender),
            }
        }
    }

    /// Stops as the command does, if that has stopped, and lets it go on when this process does. Without a terminal
    /// nobody would let this one go on: the command stays as it is then, until its time is over or a signal comes.
    fn take_stop(&self) {
        if has_terminal()
            && let Some(signal) = process::stopped(self.pid)
        {
            stop(signal);
            process::kill(self.pid, libc::SIGCONT);
        }
    }

    /// Passes a signal on that did not reach the command by itself.
    fn pass_on(&self, signal: i32, sender: Sender) {
        let alone = self.terminal == TerminalPlan::None;
        if !alone && sender == Sender::Kernel {
            return;
        }
        let signal = if alone && signal == libc::SIGTSTP { libc::SIGSTOP } else { signal };
        match self.command {
            Target::Child => process::kill(self.pid, signal),
            Target::ChildOf(first) => {
                for pid in children(first).unwrap_or_default() {
                    process::kill(pid, signal);
                }
            }
        }
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        sys::close(self.received);
    }
}

/// How long the command may last.
fn limit(plan: &LinuxPlan) -> Option<Duration> {
    let timers = plan.limits.iter().filter(|limit| limit.by == LimitMechanism::Timer);
    timers.map(|limit| Duration::from_millis(limit.amount)).min()
}

/// The children of a process, by the number of their parent.
pub(super) fn children(parent: i32) -> std::io::Result<Vec<i32>> {
    // One file, where the kernel has it (`CONFIG_PROC_CHILDREN`): who makes processes faster than all are looked at is not outrun.
    if let Ok(listed) = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")) {
        return Ok(listed.split_whitespace().filter_map(|number| number.parse().ok()).collect());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let number = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        found.extend(number.filter(|pid| parent_of(*pid) == Some(parent)));
    }
    Ok(found)
}

/// The name of a program may hold blanks and brackets; the last one ends it.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_whitespace().nth(1)?.parse().ok()
}
