//! Starting `sandbox-exec`, and seeing what it started end.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command as Program, ExitStatus};
use std::sync::mpsc::SyncSender;
use std::thread;

use fence_compiler::plan::{LimitMechanism, TerminalPlan};
use fence_compiler::policy::LimitKind;
use fence_compiler::profile::SeatbeltPlan;

use super::follow::Happened;
use super::{failed, sys};
use crate::launch::{Error, Outcome};

/// A command that was started in a process group of its own.
pub(super) struct Running {
    group: i32,
    /// Signals are passed on for as long as it is kept.
    _passing: sys::Passing,
}

/// Starts it with the plan's limits, and without the caller's terminal where the plan says so. That it has ended is sent.
pub(super) fn start(
    program: &mut Program,
    plan: &SeatbeltPlan,
    happened: SyncSender<Happened>,
) -> Result<Running, Error> {
    sys::prepare(program, limits(plan), plan.terminal);
    sys::close_on_exec();
    let mut child = program.spawn().map_err(|error| failed("start", &plan.tools.sandbox_exec, &error))?;
    let group = i32::try_from(child.id()).unwrap_or(i32::MAX);
    let terminal = (plan.terminal == TerminalPlan::Kept).then(|| sys::Terminal::give_to(group)).flatten();
    let passing = sys::Passing::on_to(group);
    thread::spawn(move || {
        let status = sys::wait(group, terminal.as_ref()).or_else(|_| child.wait());
        drop(terminal);
        // Whoever listens does so until this comes.
        let _ = happened.send(Happened::Ended(status));
    });
    Ok(Running { group, _passing: passing })
}

impl Running {
    /// Ends the command, and whatever it left behind in its group.
    pub(super) fn end(&self) {
        sys::end(self.group);
    }
}

/// How a command ended by itself.
pub(super) fn outcome(status: ExitStatus) -> Outcome {
    match status.code() {
        Some(code) => Outcome::Exited(code),
        None => Outcome::Signalled(status.signal().unwrap_or_default()),
    }
}

/// The limits that each process carries.
fn limits(plan: &SeatbeltPlan) -> Vec<(LimitKind, u64)> {
    let carried = plan.limits.iter().filter(|limit| limit.by == LimitMechanism::Rlimit);
    carried.map(|limit| (limit.kind, limit.amount)).collect()
}
