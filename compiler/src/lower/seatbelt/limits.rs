//! What holds each limit on macOS.

use super::super::limits::smallest;
use super::super::report::{Cause, Report};
use crate::fidelity::{Mechanism, limit_name};
use crate::host::Host;
use crate::plan::{LimitMechanism, LimitPlan};
use crate::policy::{Limit, LimitKind, Policy};
use crate::question::Platform;

/// The smallest limit of each kind, and a report for every one that is written.
pub fn plan(policy: &Policy, host: &Host) -> (Vec<LimitPlan>, Vec<Report>) {
    smallest(policy, Platform::MacOs, |limit, report| hold(limit, host, report))
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
