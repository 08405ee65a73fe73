//! Rules on plain names: variables, system calls, services.

use std::collections::BTreeSet;

use super::calls;
use super::claims::{Findings, is_for_linux};
use super::commands::Starts;
use super::environment::matches_any;
use crate::diagnostic::{Code, Diagnostic};
use crate::fidelity::Mechanism;
use crate::pattern::NamePattern;
use crate::policy::{Effect, Item, NameAction, Policy, Subject};

/// Reports how such rules are enforced, and yields the calls of the fixed table that are open. Where starts are judged,
/// none is that changes another process: it would change a command between the judgement and what it does.
pub(super) fn open_calls(policy: &Policy, starts: Starts, findings: &mut Findings) -> BTreeSet<&'static str> {
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
                    if starts == Starts::Judged
                        && let Some(item) = items
                            .iter()
                            .find(|item| calls::CHANGING.iter().any(|name| item.pattern.matches(name)))
                    {
                        findings.diagnostics.push(unjudged(item));
                    }
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
    if starts == Starts::Judged {
        open.retain(|name| !calls::CHANGING.contains(name));
    }
    open
}

fn unjudged(item: &Item<NamePattern>) -> Diagnostic {
    Diagnostic::new(
        Code::CallAgainstCommands,
        format!("`{}` would change commands after the rules of `run` have judged them", item.text),
    )
    .at(item.written.place())
    .help("leave it out, or allow `run *` and close no command; `exec` rules can close programs as files")
}
