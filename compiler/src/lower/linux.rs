//! From a policy and a machine to a [`LinuxPlan`].

use std::collections::{BTreeMap, BTreeSet};

use super::calls::{self, Choices, MemoryFiles};
use crate::diagnostic::Diagnostic;
use crate::fidelity::Enforcement;
use crate::host::{Files, Host};
use crate::plan::{EnvironmentPlan, LandlockPlan, LinuxPlan, MemfdPlan, NetworkPlan, TerminalPlan};
use crate::policy::Policy;

/// What lowering yields: the plan, how faithfully it enforces each rule, and what is wrong.
///
/// With an error among the diagnostics the plan is never applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lowered {
    /// The plan.
    pub plan: LinuxPlan,
    /// The rules in their order, then limits, secrets, upstreams and `tls`.
    pub fidelity: Vec<Enforcement>,
    /// The findings, in the same order.
    pub diagnostics: Vec<Diagnostic>,
}

/// Lowers a policy for a machine whose files are looked at through `files`: only paths that the policy names,
/// the links on the way to them, and the names beside a pattern's first wildcard.
#[must_use]
pub fn lower(_policy: &Policy, host: &Host, _files: &mut dyn Files) -> Lowered {
    let seccomp = calls::refused(&Choices {
        open: &BTreeSet::from_iter(calls::OPEN.iter().copied()),
        features: &host.features,
        memfd: MemoryFiles::Harmless,
    });
    Lowered {
        plan: LinuxPlan {
            mounts: Vec::new(),
            landlock: LandlockPlan { rules: Vec::new() },
            seccomp,
            network: NetworkPlan::Isolated,
            environment: EnvironmentPlan { pass: Vec::new(), set: BTreeMap::new() },
            limits: Vec::new(),
            terminal: TerminalPlan::None,
            memfd: MemfdPlan::NeverExecutable,
            cwd: host.cwd.clone(),
        },
        fidelity: Vec::new(),
        diagnostics: Vec::new(),
    }
}
