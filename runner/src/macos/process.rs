//! Starting `sandbox-exec`, and waiting until what it started has ended.

use std::os::unix::process::ExitStatusExt;
use std::process::Command as Program;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use fence_compiler::plan::{LimitMechanism, TerminalPlan};
use fence_compiler::policy::LimitKind;
use fence_compiler::profile::SeatbeltPlan;

use super::{failed, sys};
use crate::launch::{Error, Outcome};

/// Runs it in a process group of its own, with the plan's limits, and without the caller's terminal where the plan
/// says so; ends that group when the command has ended.
pub(super) fn run(program: &mut Program, plan: &SeatbeltPlan) -> Result<Outcome, Error> {
    let limits = limits(plan);
    sys::prepare(program, limits, plan.terminal);
    sys::close_on_exec();
    let mut child = program.spawn().map_err(|error| failed("start", &plan.tools.sandbox_exec, &error))?;
    let group = i32::try_from(child.id()).unwrap_or(i32::MAX);
    let terminal = (plan.terminal == TerminalPlan::Kept).then(|| sys::Terminal::give_to(group)).flatten();
    let passing = sys::Passing::on_to(group);
    let (ended, waits) = mpsc::channel::<()>();
    // A thread only where a limit needs one.
    let timer = time(plan).map(|limit| {
        thread::spawn(move || match waits.recv_timeout(limit) {
            Err(mpsc::RecvTimeoutError::Timeout) => {
                sys::end(group);
                true
            }
            _ => false,
        })
    });
    let status = match sys::wait(group, terminal.as_ref()) {
        Ok(status) => status,
        Err(_) => child.wait().map_err(|error| failed("wait for", &plan.tools.sandbox_exec, &error))?,
    };
    drop(ended);
    let timed_out = timer.and_then(|timer| timer.join().ok()).unwrap_or(false);
    // Whatever the command left behind in its group ends with it.
    sys::end(group);
    drop(passing);
    drop(terminal);
    Ok(match (timed_out, status.code(), status.signal()) {
        (true, ..) => Outcome::TimedOut,
        (_, Some(code), _) => Outcome::Exited(code),
        (_, None, signal) => Outcome::Signalled(signal.unwrap_or_default()),
    })
}

fn time(plan: &SeatbeltPlan) -> Option<Duration> {
    let limit = plan.limits.iter().find(|limit| limit.kind == LimitKind::Time)?;
    Some(Duration::from_millis(limit.amount))
}

/// The limits that each process carries.
fn limits(plan: &SeatbeltPlan) -> Vec<(LimitKind, u64)> {
    let carried = plan.limits.iter().filter(|limit| limit.by == LimitMechanism::Rlimit);
    carried.map(|limit| (limit.kind, limit.amount)).collect()
}
