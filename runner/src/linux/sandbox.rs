//! A sandbox, prepared: everything its first process does before it starts a command.

use std::ffi::CString;
use std::os::fd::RawFd;
use std::time::Duration;

use fence_compiler::plan::{LimitMechanism, LinuxPlan, MemfdPlan, Mount, NetworkPlan, TerminalPlan};
use fence_compiler::policy::LimitKind;
use nix::unistd::{getegid, geteuid};

use super::descriptors::Standard;
use super::landlock::Layers;
use super::operation::{Operation, Step};
use super::{cgroup, elsewhere, network, tree};
use crate::launch::{Error, Phase, Timings};

/// A sandbox that is ready to be made.
pub(super) struct Sandbox {
    /// What the first process does, in order.
    pub(super) steps: Vec<Step>,
    /// How long the sandbox may last.
    pub(super) time: Option<Duration>,
    /// Whether signals of the terminal reach the command without help.
    pub(super) terminal: TerminalPlan,
}

impl Sandbox {
    /// Prepares the first process: namespaces, mounts, network, and giving up its own rights. The descriptors
    /// named survive in it; through the channel it hands over the sockets of its network.
    pub(super) fn new(
        plan: &LinuxPlan,
        layers: &Layers,
        standard: &Standard,
        timings: Timings,
        keep: &[RawFd],
        channel: Option<RawFd>,
    ) -> Result<Sandbox, Error> {
        let mut list = List { steps: Vec::new(), timings };
        list.identity();
        list.kernel_settings(plan)?;
        if cgroup::held(plan).next().is_some() {
            list.add(Operation::LeaveCgroups);
        }
        list.mark(Phase::Identity);
        list.add(Operation::Umask);
        list.add(Operation::Private);
        let mounts: Vec<Mount> = plan.mounts.iter().cloned().chain(elsewhere::covers(&plan.mounts)).collect();
        list.steps.extend(tree::operations(&mounts, standard.terminal_device(plan.terminal)));
        list.mark(Phase::Mounts);
        list.add(Operation::Pivot);
        list.mark(Phase::Root);
        let held = match (&plan.network, channel) {
            (NetworkPlan::Isolated, _) => {
                list.add(Operation::Loopback);
                Vec::new()
            }
            (NetworkPlan::Judged(network), Some(channel)) => {
                list.steps.extend(network::steps(network, channel));
                network::held(network)
            }
            (NetworkPlan::Judged(_), None) => {
                return Err(Error::Plan("nobody serves the connections that the plan allows".to_owned()));
            }
        };
        list.mark(Phase::Network);
        list.add(Operation::NoNewPrivileges);
        list.steps.extend(layers.outer_steps(&plan.landlock, &standard.rights(plan.terminal)));
        let mut keep: Vec<RawFd> = keep.iter().copied().chain(layers.inner()).collect();
        keep.sort_unstable();
        list.add(Operation::CloseOthers { keep });
        if !held.is_empty() {
            list.add(Operation::Hold { ports: held });
        }
        list.add(Operation::Undumpable);
        list.add(Operation::DropBoundingSet);
        list.add(Operation::DropCapabilities);
        list.mark(Phase::Confine);
        let time = plan
            .limits
            .iter()
            .filter(|limit| limit.by == LimitMechanism::Timer)
            .map(|limit| Duration::from_millis(limit.amount))
            .min();
        Ok(Sandbox { steps: list.steps, time, terminal: plan.terminal })
    }
}

struct List {
    steps: Vec<Step>,
    timings: Timings,
}

impl List {
    fn add(&mut self, operation: Operation) {
        self.steps.push(operation.into());
    }

    fn mark(&mut self, phase: Phase) {
        if self.timings == Timings::On {
            self.add(Operation::Mark(phase));
        }
    }

    /// The user and group stay what they are; nobody else exists inside.
    fn identity(&mut self) {
        let (uid, gid) = (geteuid(), getegid());
        self.add(Operation::Write { path: c"/proc/self/setgroups", text: c"deny".to_owned() });
        self.add(Operation::Write { path: c"/proc/self/uid_map", text: digits(format!("{uid} {uid} 1")) });
        self.add(Operation::Write { path: c"/proc/self/gid_map", text: digits(format!("{gid} {gid} 1")) });
    }

    /// What the kernel keeps for each pid namespace, set while `/proc` can still be written.
    fn kernel_settings(&mut self, plan: &LinuxPlan) -> Result<(), Error> {
        if plan.memfd == MemfdPlan::NeverExecutable {
            self.add(Operation::Write { path: c"/proc/sys/vm/memfd_noexec", text: c"2".to_owned() });
        }
        for limit in plan.limits.iter().filter(|limit| limit.by == LimitMechanism::PidMax) {
            if limit.kind != LimitKind::Processes {
                return Err(Error::Plan(format!(
                    "`pid_max` cannot limit {:?}; it limits processes",
                    limit.kind
                )));
            }
            // Numbers begin at 1, which the first process has, and end before the greatest.
            let greatest = limit.amount.saturating_add(2).max(LEAST_PID_MAX);
            let text = digits(greatest.to_string());
            self.add(Operation::Write { path: c"/proc/sys/kernel/pid_max", text });
        }
        Ok(())
    }
}

/// The kernel accepts no smaller `pid_max` (`RESERVED_PIDS` and one).
pub(super) const LEAST_PID_MAX: u64 = 301;

/// Digits and blanks hold no NUL.
fn digits(text: String) -> CString {
    CString::new(text).unwrap_or_default()
}
