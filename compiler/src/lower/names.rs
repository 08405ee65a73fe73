//! Rules on plain names: variables, system calls, services.

use std::collections::BTreeSet;

use super::calls;
use super::claims::{Findings, is_for_linux};
use super::environment::matches_any;
use crate::diagnostic::{Code, Diagnostic};
use crate::fidelity::Mechanism;
use crate::policy::{Effect, NameAction, Policy, Subject};

/// Reports how such rules are enforced, and yields the calls of the fixed table that are open.
pub(super) fn open_calls(policy: &Policy, findings: &mut Findings) -> BTreeSet<&'static str> {
    let mut open: BTreeSet<&'static str> = calls::OPEN.iter().copied().collect();
    let mut closed = BTreeSet::new();
    for (number, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| is_for_linux(rule)) {
        let Subject::Name { action, items, except } = &rule.subject else { continue };
        let Some(report) = findings.reports.get_mut(number) else { continue };
        match action {
            NameAction::Env => report.by(Mechanism::Environment),
            NameAction::MachLookup | NameAction::MachRegister | NameAction::IoKit => {
                report.by(Mechanism::Absence);
                for item in items {
                    report.note("nothing of the kind exists on Linux: {}", &item.text);
                }
            }
            NameAction::Syscall => {
                report.by(Mechanism::Seccomp);
                let named = |name: &&&str| matches_any(items, name) && !matches_any(except, name);
                let names = calls::OPENABLE.iter().filter(named).copied();
                if rule.effect == Effect::Allow {
                    open.extend(names)
                } else {
                    closed.extend(names)
                }
                for item in items {
                    if calls::OPENABLE.iter().any(|name| item.pattern.matches(name)) {
                        continue;
                    }
                    let known = calls::OPENABLE.join("`, `");
                    findings.diagnostics.push(
                        Diagnostic::new(
                            Code::UnknownCall,
                            format!("`{}` is no call that a policy can open or close", item.text),
                        )
                        .at(item.written.place())
                        .help(format!("these are: `{known}`")),
                    );
                }
            }
        }
    }
    open.retain(|name| !closed.contains(name));
    open
}
