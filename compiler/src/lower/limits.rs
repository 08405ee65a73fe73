//! Which mechanism holds each limit.

use std::collections::BTreeMap;

use super::report::{Cause, Report};
use crate::fidelity::{Mechanism, limit_name};
use crate::host::{Host, Support};
use crate::plan::{LimitMechanism, LimitPlan, NetworkPlan};
use crate::policy::{Limit, LimitKind, Policy};
use crate::question::Platform;

/// The smallest limit of each kind, and a report for every one that is written.
pub(super) fn plan(policy: &Policy, host: &Host, network: &NetworkPlan) -> (Vec<LimitPlan>, Vec<Report>) {
    smallest(policy, Platform::Linux, |limit, report| hold(limit, host, network, report))
}

/// The same on a platform where something says what holds a limit, if anything does, and tells how.
pub(super) fn smallest(
    policy: &Policy,
    platform: Platform,
    hold: impl Fn(&Limit, &mut Report) -> Option<LimitMechanism>,
) -> (Vec<LimitPlan>, Vec<Report>) {
    let mut smallest: BTreeMap<LimitKind, LimitPlan> = BTreeMap::new();
    let mut reports = Vec::with_capacity(policy.limits.len());
    for limit in &policy.limits {
        let mut report = Report::default();
        if limit.platform.is_none_or(|only| only == platform) {
            if let Some(by) = hold(limit, &mut report) {
                let plan = LimitPlan { kind: limit.kind, amount: limit.amount, by };
                let held = smallest.entry(limit.kind).or_insert_with(|| plan.clone());
                held.amount = held.amount.min(limit.amount);
            }
        } else {
            report.note("{} is for another platform", limit_name(limit.kind));
        }
        reports.push(report);
    }
    (smallest.into_values().collect(), reports)
}

const OUTSIDE: &str = "nothing holds the limit {}: it would count your processes outside too";

/// The same where a number of processes would be that of all of a person's.
pub(super) fn counted_outside(
    policy: &Policy,
    host: &Host,
    network: &NetworkPlan,
) -> (Vec<LimitPlan>, Vec<Report>) {
    let (mut plans, mut reports) = plan(policy, host, network);
    let counts = |plan: &LimitPlan| plan.kind == LimitKind::Processes && plan.by == LimitMechanism::Rlimit;
    if plans.iter().any(counts) {
        plans.retain(|plan| !counts(plan));
        for (report, limit) in reports.iter_mut().zip(&policy.limits) {
            if limit.kind == LimitKind::Processes {
                *report = Report::default();
                report.weaker(Cause::Mechanism, OUTSIDE, limit_name(limit.kind));
            }
        }
    }
    (plans, reports)
}

/// What a cgroup of the sandbox's own would do for a limit; nothing where none was looked for.
fn of_cgroup(kind: LimitKind, host: &Host) -> Option<&Support> {
    let cgroup = host.features.cgroup.as_ref()?;
    match kind {
        LimitKind::Memory => Some(&cgroup.memory),
        LimitKind::Processes => Some(&cgroup.processes),
        LimitKind::Cpu => Some(&cgroup.cpu),
        _ => None,
    }
}

fn hold(limit: &Limit, host: &Host, network: &NetworkPlan, report: &mut Report) -> Option<LimitMechanism> {
    let cgroup = of_cgroup(limit.kind, host);
    if cgroup == Some(&Support::Yes) {
        report.by(Mechanism::Cgroup);
        return Some(LimitMechanism::Cgroup);
    }
    let held = hold_without_cgroup(limit, host, network, report);
    if let Some(Support::No(why)) = cgroup {
        report.note("a cgroup could hold all of the run together, and does not here: {}", why);
    }
    held
}

fn hold_without_cgroup(
    limit: &Limit,
    host: &Host,
    network: &NetworkPlan,
    report: &mut Report,
) -> Option<LimitMechanism> {
    let name = limit_name(limit.kind);
    let mechanism = match limit.kind {
        LimitKind::Time => LimitMechanism::Timer,
        LimitKind::Files | LimitKind::FileSize => LimitMechanism::Rlimit,
        LimitKind::Cpu => {
            report.weaker(
                Cause::Mechanism,
                "the limit {} holds for each process, not for all of them together",
                name,
            );
            LimitMechanism::Rlimit
        }
        LimitKind::Memory => {
            report.weaker(
                Cause::Mechanism,
                "the limit {} holds for each process and not for all of them together, and not for memory that is shared",
                name,
            );
            report.stricter(
                "the limit {} counts what a process has reserved to write to, touched or not",
                name,
            );
            LimitMechanism::Rlimit
        }
        LimitKind::Processes if host.person.uid != 0 => LimitMechanism::Rlimit,
        LimitKind::Processes if host.features.pid_max.is_yes() => LimitMechanism::PidMax,
        LimitKind::Processes => {
            report.weaker(
                Cause::Mechanism,
                "nothing holds the limit {} for root: `kernel.pid_max` belongs to a namespace from Linux 6.14 on",
                name,
            );
            return None;
        }
        LimitKind::ConnectTime | LimitKind::IdleTime if *network != NetworkPlan::Isolated => {
            report.by(Mechanism::Proxy);
            return None;
        }
        LimitKind::ConnectTime | LimitKind::IdleTime => {
            report.by(Mechanism::Absence);
            report.note("{} limits nothing: there are no connections", name);
            return None;
        }
    };
    report.by(match mechanism {
        LimitMechanism::Timer => Mechanism::Timer,
        LimitMechanism::Rlimit => Mechanism::Rlimit,
        LimitMechanism::PidMax => Mechanism::Namespace,
        LimitMechanism::Cgroup => Mechanism::Cgroup,
    });
    Some(mechanism)
}
