//! A command, prepared: everything its process does until it executes.

use std::os::fd::RawFd;

use fence_compiler::plan::{LimitMechanism, LimitPlan, LinuxPlan, Mediated, TerminalPlan};
use fence_compiler::policy::LimitKind;

use super::operation::{Operation, Step};
use super::sys::process::{self, Signals, Strings};
use super::sys::processor::Processors;
use super::tree::absolute;
use crate::launch::{self, Error, Phase, Timings};

/// The filter of system calls.
pub(super) enum Filter {
    /// It decides alone.
    Alone(Vec<libc::sock_filter>),
    /// Some calls wait for an answer; where that is given is handed over through the channel.
    Judged {
        /// The program.
        program: Vec<libc::sock_filter>,
        /// The channel.
        channel: RawFd,
    },
}

/// A command that is ready to be started in a sandbox.
pub(super) struct Command {
    /// What its process does, in order.
    pub(super) steps: Vec<Step>,
}

impl Command {
    /// Prepares a command: its session, limits, signals, directory, its own layer of Landlock, the filter.
    pub(super) fn new(
        plan: &LinuxPlan,
        command: &launch::Command,
        filter: Filter,
        inner: Option<RawFd>,
        signals: Signals,
        processors: Option<Processors>,
        timings: Timings,
    ) -> Result<Command, Error> {
        let mut steps: Vec<Operation> = Vec::new();
        if timings == Timings::On {
            steps.push(Operation::Mark(Phase::Fork));
        }
        if plan.terminal == TerminalPlan::None {
            steps.push(Operation::NewSession);
        }
        // SIGPIPE is ignored by every Rust program, and SIGCHLD was set for the first process.
        steps.push(Operation::Signal { signal: libc::SIGPIPE, disposition: process::Disposition::Default });
        let disposition = process::disposition(libc::SIGCHLD);
        steps.push(Operation::Signal { signal: libc::SIGCHLD, disposition });
        steps.push(Operation::Restore { signals });
        steps.push(Operation::Start { path: absolute(&plan.cwd) });
        for limit in plan.limits.iter().filter(|limit| limit.by == LimitMechanism::Rlimit) {
            steps.push(rlimit(limit)?);
        }
        steps.extend(no_core(plan));
        steps.extend(processors.map(|processors| Operation::Spread { processors }));
        steps.extend(inner.map(|ruleset| Operation::Enter { ruleset }));
        steps.push(match filter {
            Filter::Alone(program) => Operation::Filter { program },
            Filter::Judged { program, channel } => Operation::Mediate { program, channel },
        });
        steps.push(Operation::Check);
        if timings == Timings::On {
            steps.push(Operation::Mark(Phase::Restrict));
        }
        steps.push(Operation::Execute {
            program: command.program.clone(),
            argv: Strings::new(&command.argv),
            environment: Strings::new(&command.environment),
        });
        Ok(Command { steps: steps.into_iter().map(Step::from).collect() })
    }
}

/// Where calls that write files are judged, no core dump is written: the kernel does that without a call, under a name that a
/// rule may close.
pub(super) fn no_core(plan: &LinuxPlan) -> Option<Operation> {
    let judged = plan.mediated.contains(&Mediated::Writes);
    judged.then_some(Operation::Limit { resource: libc::RLIMIT_CORE, amount: 0 })
}

/// The operation that a limit is.
pub(super) fn rlimit(limit: &LimitPlan) -> Result<Operation, Error> {
    resource(limit).map(|(resource, amount)| Operation::Limit { resource, amount })
}

/// What `setrlimit` calls a limit, and its amount there.
pub(super) fn resource(limit: &LimitPlan) -> Result<(u32, u64), Error> {
    Ok(match limit.kind {
        // Seconds; a part of one is rounded up.
        LimitKind::Cpu => (libc::RLIMIT_CPU, limit.amount.div_ceil(1000)),
        // Not the whole address space, of which Node, Go and the JVM reserve far more than they ever use.
        LimitKind::Memory => (libc::RLIMIT_DATA, limit.amount),
        LimitKind::Processes => (libc::RLIMIT_NPROC, limit.amount),
        LimitKind::Files => (libc::RLIMIT_NOFILE, limit.amount),
        LimitKind::FileSize => (libc::RLIMIT_FSIZE, limit.amount),
        LimitKind::Time | LimitKind::ConnectTime | LimitKind::IdleTime => {
            return Err(Error::Plan(format!("no `setrlimit` limits {:?}; a timer does", limit.kind)));
        }
    })
}
