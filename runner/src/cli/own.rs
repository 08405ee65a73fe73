//! The policy lowered for the platform that this program was built for.

use std::collections::BTreeSet;

use fence_compiler::artifact::{Artifact, Lowering, Target, compile_for};
use fence_compiler::diagnostic::Checked;
use fence_compiler::host::{Files, Host};
use fence_compiler::policy::Policy;

use crate::publish::Request;

#[cfg(not(target_os = "macos"))]
mod platform {
    use super::{BTreeSet, Files, Host, Lowering, Policy, Request, Target};

    pub(in crate::cli) use fence_compiler::lower::linux::{Lowered, lower};
    pub(in crate::cli) use fence_compiler::plan::LinuxPlan as Plan;
    use fence_compiler::plan::Mediated;

    /// Fence itself listens at what is offered.
    pub(super) fn offered(_: &[Request]) -> anyhow::Result<BTreeSet<u16>> {
        Ok(BTreeSet::new())
    }

    pub(super) fn lower_to_run(
        policy: &Policy,
        host: &Host,
        files: &mut dyn Files,
        _: &BTreeSet<u16>,
    ) -> anyhow::Result<Lowered> {
        Ok(lower(policy, host, files))
    }

    pub(super) fn target(_: &BTreeSet<u16>) -> anyhow::Result<Target> {
        Ok(Target::Native)
    }

    pub(super) fn text(plan: &Plan, policy: &Policy) -> String {
        fence_compiler::plan::text(plan, policy)
    }

    /// Whether starts are judged as they are made.
    pub(in crate::cli) fn judges_starts(plan: &Plan) -> bool {
        plan.mediated.contains(&Mediated::Starts)
    }

    pub(super) fn plan(lowering: Lowering) -> Option<Plan> {
        if let Lowering::Native { plan } = lowering { Some(plan) } else { None }
    }
}

#[cfg(target_os = "macos")]
mod platform {
    use fence_compiler::lower::seatbelt::{self, Run, RunId};

    use super::{BTreeSet, Files, Host, Lowering, Policy, Request, Target};

    pub(in crate::cli) use fence_compiler::lower::seatbelt::Lowered;
    pub(in crate::cli) use fence_compiler::profile::SeatbeltPlan as Plan;

    /// Nobody does that there.
    pub(in crate::cli) fn judges_starts(_: &Plan) -> bool {
        false
    }

    /// For looking at: no run has this name.
    pub(in crate::cli) fn lower(policy: &Policy, host: &Host, files: &mut dyn Files) -> Lowered {
        seatbelt::lower(policy, host, files, &Run::named(RunId::none()))
    }

    /// The command listens by itself.
    pub(super) fn offered(requests: &[Request]) -> anyhow::Result<BTreeSet<u16>> {
        Ok(crate::macos::offered(requests)?)
    }

    pub(super) fn lower_to_run(
        policy: &Policy,
        host: &Host,
        files: &mut dyn Files,
        publish: &BTreeSet<u16>,
    ) -> anyhow::Result<Lowered> {
        Ok(seatbelt::lower(policy, host, files, &run(publish)?))
    }

    pub(super) fn target(publish: &BTreeSet<u16>) -> anyhow::Result<Target> {
        Ok(Target::Seatbelt(run(publish)?))
    }

    fn run(publish: &BTreeSet<u16>) -> anyhow::Result<Run> {
        Ok(Run { id: crate::macos::fresh_run()?, publish: publish.clone() })
    }

    pub(super) fn text(plan: &Plan, _: &Policy) -> String {
        plan.profile.clone()
    }

    pub(super) fn plan(lowering: Lowering) -> Option<Plan> {
        if let Lowering::Seatbelt { plan } = lowering { Some(plan) } else { None }
    }
}

pub(super) use platform::{Lowered, Plan, judges_starts, lower};

/// The ports that the command itself may listen at because they are published.
///
/// # Errors
/// Which of them cannot be published so.
pub(super) fn offered(requests: &[Request]) -> anyhow::Result<BTreeSet<u16>> {
    platform::offered(requests)
}

/// Lowers a policy for a run that is about to start, and offers these ports itself.
///
/// # Errors
/// The run cannot be given a name of its own.
pub(super) fn lower_to_run(
    policy: &Policy,
    host: &Host,
    files: &mut dyn Files,
    offered: &BTreeSet<u16>,
) -> anyhow::Result<Lowered> {
    platform::lower_to_run(policy, host, files, offered)
}

/// Compiles a policy for a run that is about to start, and offers these ports itself.
///
/// # Errors
/// The run cannot be given a name of its own.
pub(super) fn compile_to_run(
    policy: Policy,
    host: Host,
    files: &mut dyn Files,
    offered: &BTreeSet<u16>,
) -> anyhow::Result<Checked<Artifact>> {
    Ok(compile_for(&platform::target(offered)?, policy, host, files, env!("CARGO_PKG_VERSION")))
}

/// The plan of an artifact for this platform's own runner.
pub(super) fn plan(lowering: Lowering) -> Option<Plan> {
    platform::plan(lowering)
}

/// The plan, for a person.
pub(super) fn text(plan: &Plan, policy: &Policy) -> String {
    platform::text(plan, policy)
}
