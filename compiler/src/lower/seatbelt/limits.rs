//! What holds each limit on macOS.

use std::collections::BTreeMap;

use super::super::report::{Cause, Report};
use crate::fidelity::{Mechanism, limit_name};
use crate::host::Host;
use crate::plan::{LimitMechanism, LimitPlan};
use crate::policy::{Limit, LimitKind, Policy};
use crate::question::Platform;

/// The smallest limit of each kind, and a report for every one that is written.
pub fn plan(policy: &Policy, host: &Host) -> (Vec<LimitPlan>, Vec<Report>) {
    let mut smallest: BTreeMap<LimitKind, LimitPlan> = BTreeMap::new();
    let mut reports = Vec::with_capacity(policy.limits.len());
    for limit in &policy.limits {
        let mut report = Report::default();
        if limit.platform.is_none_or(|platform| platform == Platform::MacOs) {
            if let Some(by) = hold(limit, host, &mut report) {
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

fn hold(limit: &Limit, host: &Host, report: &mut Report) -> Option<LimitMechanism> {
    let name = limit_name(limit.kind);
    let mechanism = match limit.kind {
        LimitKind::Time => {
            report.weaker(
                Cause::Mechanism,
                "the limit {} ends the command and the processes of its group, not one that left the group",
                name,
            );
            LimitMechanism::Timer
        }
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
            report.weaker(Cause::Mechanism, "nothing holds the limit {} on macOS", name);
            return None;
        }
        LimitKind::Processes if host.person.uid == 0 => {
            report.weaker(Cause::Mechanism, "nothing holds the limit {} for root", name);
            return None;
        }
        LimitKind::Processes => {
            report.stricter("the limit {} counts every process of the person, not only those inside", name);
            LimitMechanism::Rlimit
        }
        LimitKind::ConnectTime | LimitKind::IdleTime => {
            report.by(Mechanism::Proxy);
            return None;
        }
    };
    report.by(match mechanism {
        LimitMechanism::Timer => Mechanism::Timer,
        _ => Mechanism::Rlimit,
    });
    Some(mechanism)
}
