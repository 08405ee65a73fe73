//! What the plan needs of the machine: a mechanism that is missing is an error, never a quiet step down.

use crate::diagnostic::{Code, Diagnostic};
use crate::host::{Features, Support};
use crate::plan::MemfdPlan;
use crate::policy::{Effect, PathAction, Policy, Subject};

use super::calls::MemoryFiles;
use super::claims::{Findings, is_for_linux};
use super::target::{Finish, LinuxTarget};

/// Refuses a machine that lacks something without which no rule would hold, and tells what differs.
pub(super) fn check(target: &LinuxTarget, features: &Features) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let namespaces = ("user namespaces", &features.user_namespaces);
    let mounts = ("the mount calls of Linux 5.12", &features.mount_api);
    let seccomp = ("seccomp", &features.seccomp);
    let needed = match target {
        LinuxTarget::Native => [namespaces, mounts, seccomp].to_vec(),
        LinuxTarget::Bwrap(Finish::ByFence) => [mounts, seccomp].to_vec(),
        LinuxTarget::Bwrap(Finish::ByNobody) | LinuxTarget::Landlock(_) => [seccomp].to_vec(),
    };
    for (name, support) in needed {
        if let Support::No(why) = support {
            found.push(missing(name, why));
        }
    }
    if features.landlock_abi == 0 && !matches!(target, LinuxTarget::Bwrap(_)) {
        found
            .push(missing("Landlock", "the kernel has none, or it is not among its active security modules"));
    }
    if let Support::No(why) = &features.fresh_proc {
        found.push(
            Diagnostic::new(
                Code::HostProc,
                format!("the names and command lines of processes outside can be read: no fresh `/proc` ({why})"),
            )
            .help("`fence doctor` says what would mend it; environments and memory of these processes stay closed"),
        );
    }
    found
}

fn missing(name: &str, why: &str) -> Diagnostic {
    Diagnostic::new(Code::MechanismMissing, format!("this machine does not offer {name}: {why}"))
        .help("run `fence doctor`: it shows every mechanism and the command that would mend it")
}

/// Tells what an old Landlock refuses although a rule allows it.
pub(super) fn judge(policy: &Policy, features: &Features, findings: &mut Findings) {
    if features.landlock_abi != 1 {
        return;
    }
    for (number, rule) in policy.rules.iter().enumerate().filter(|(_, rule)| is_for_linux(rule)) {
        if let Subject::Path { actions, items, .. } = &rule.subject
            && rule.effect == Effect::Allow
            && actions.contains(&PathAction::Write)
            && let Some(report) = findings.report(number)
        {
            for item in items {
                report.stricter(
                    "version 1 of Landlock refuses moving and linking from one directory to another: {}",
                    &item.text,
                );
            }
        }
    }
}

/// Whether something both writable and executable is in the policy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WritableCode {
    /// A program that was written inside may run: one in memory adds nothing.
    Somewhere,
    /// Nothing written inside may run.
    Nowhere,
}

/// What `memfd_create` may make, and whether the call has to be refused for that.
pub(super) fn memory_files(features: &Features, code: WritableCode) -> (MemfdPlan, MemoryFiles) {
    match (code, &features.memfd_noexec) {
        (WritableCode::Somewhere, _) => (MemfdPlan::Unrestricted, MemoryFiles::Harmless),
        (WritableCode::Nowhere, Support::Yes) => (MemfdPlan::NeverExecutable, MemoryFiles::Harmless),
        (WritableCode::Nowhere, Support::No(_)) => (MemfdPlan::Unrestricted, MemoryFiles::Refused),
    }
}
