//! System calls of the launch on macOS that the standard library does not make; the same on every Unix.

use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command as Program, ExitStatus};
use std::sync::atomic::{AtomicI32, Ordering};

use fence_compiler::plan::TerminalPlan;
use fence_compiler::policy::LimitKind;
use nix::errno::Errno;
use nix::fcntl::{F_SETFD, FdFlag, fcntl};
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, killpg, raise, sigaction};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpgrp, setpgid, setsid, tcgetpgrp, tcsetpgrp};

/// Has the child take the limits, and a group or a session of its own, before it executes anything.
pub(super) fn prepare(program: &mut Program, limits: Vec<(LimitKind, u64)>, terminal: TerminalPlan) {
    let before = move || -> io::Result<()> {
        if terminal == TerminalPlan::Kept {
            setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
        } else {
            setsid()?;
        }
        for (kind, amount) in &limits {
            carry(*kind, *amount)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made; nothing is allocated, and no lock is taken.
    unsafe {
        program.pre_exec(before);
    }
}

/// Has this process carry a limit. Not every Unix has a name in `nix` for each of them.
fn carry(kind: LimitKind, amount: u64) -> io::Result<()> {
    let (resource, amount) = match kind {
        LimitKind::Files => (libc::RLIMIT_NOFILE, amount),
        LimitKind::FileSize => (libc::RLIMIT_FSIZE, amount),
        LimitKind::Cpu => (libc::RLIMIT_CPU, amount.div_ceil(1000)),
        LimitKind::Processes => (libc::RLIMIT_NPROC, amount),
        LimitKind::Time | LimitKind::Memory | LimitKind::ConnectTime | LimitKind::IdleTime => return Ok(()),
    };
    let limit = libc::rlimit { rlim_cur: amount, rlim_max: amount };
    // SAFETY: the call reads the structure, which lives until it returns.
    if unsafe { libc::setrlimit(resource, &limit) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Marks every descriptor but the standard ones as closed on exec: the command inherits three.
pub(super) fn close_on_exec() {
    let Ok(listed) = std::fs::read_dir("/dev/fd") else { return };
    let numbers: Vec<i32> = listed
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for number in numbers {
        // SAFETY: the number is used for one call that changes a flag and fails where it is closed.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        let _ = fcntl(fd, F_SETFD(FdFlag::FD_CLOEXEC));
    }
}

/// Ends every process of a group.
pub(super) fn end(group: i32) {
    let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
}

/// The terminal, handed to the command's group.
pub(super) struct Terminal {
    group: i32,
}

impl Terminal {
    /// Hands it over, if this process has it.
    pub(super) fn give_to(group: i32) -> Option<Terminal> {
        let stdin = io::stdin();
        if tcgetpgrp(&stdin).ok()? != getpgrp() {
            return None;
        }
        let terminal = Terminal { group };
        terminal.give(group);
        Some(terminal)
    }

    fn give(&self, group: i32) {
        let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
        // SAFETY: ignoring a signal runs no code of ours; what was there is put back.
        let before = unsafe { sigaction(Signal::SIGTTOU, &ignore) };
        let _ = tcsetpgrp(io::stdin(), Pid::from_raw(group));
        if let Ok(before) = before {
            // SAFETY: it is what stood there before.
            let _ = unsafe { sigaction(Signal::SIGTTOU, &before) };
        }
    }

    fn take_back(&self) {
        self.give(getpgrp().as_raw());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.take_back();
    }
}

/// Waits for a child; stops when it stops, and goes on when this process does.
pub(super) fn wait(child: i32, terminal: Option<&Terminal>) -> io::Result<ExitStatus> {
    let pid = Pid::from_raw(child);
    loop {
        match waitpid(pid, Some(WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(ExitStatus::from_raw((code & 0xff) << 8)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(ExitStatus::from_raw(signal as i32)),
            Ok(WaitStatus::Stopped(..)) => {
                if let Some(terminal) = terminal {
                    terminal.take_back();
                }
                let _ = raise(Signal::SIGSTOP);
                if let Some(terminal) = terminal {
                    terminal.give(terminal.group);
                }
                let _ = killpg(pid, Signal::SIGCONT);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

static GROUP: AtomicI32 = AtomicI32::new(0);

extern "C" fn pass(signal: i32) {
    let group = GROUP.load(Ordering::Relaxed);
    if group > 0
        && let Ok(signal) = Signal::try_from(signal)
    {
        let _ = kill(Pid::from_raw(-group), signal);
    }
}

/// Passes signals that ask fence to end on to the command's group, for as long as it is kept.
pub(super) struct Passing {
    before: Vec<(Signal, SigAction)>,
}

impl Passing {
    /// Begins.
    pub(super) fn on_to(group: i32) -> Passing {
        GROUP.store(group, Ordering::Relaxed);
        let action = SigAction::new(SigHandler::Handler(pass), SaFlags::SA_RESTART, SigSet::empty());
        let mut before = Vec::new();
        for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
            // SAFETY: the handler reads one number and makes one system call, both safe in a handler.
            if let Ok(known) = unsafe { sigaction(signal, &action) } {
                before.push((signal, known));
            }
        }
        Passing { before }
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        GROUP.store(0, Ordering::Relaxed);
        for (signal, action) in &self.before {
            // SAFETY: it is what stood there before.
            let _ = unsafe { sigaction(*signal, action) };
        }
    }
}
