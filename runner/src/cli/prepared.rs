//! A policy prepared for the library, which has neither a command line nor a screen.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::bail;
use fence_compiler::diagnostic::{Diagnostic, Severity, render};
use fence_compiler::host::Host;
use fence_compiler::policy::Policy;
use fence_compiler::source::Sources;

use super::own::{self, lower_to_run};
use super::policy::{load_at, refuse_home_in_tmp, refuse_wide_workspace};
use crate::host::{ProbedFiles, Surroundings};

/// What is to be prepared.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) policies: Vec<OsString>,
    pub(crate) rules: Vec<String>,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) directory: Option<PathBuf>,
}

/// A policy on this machine.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) policy: Policy,
    pub(crate) host: Host,
    pub(crate) plan: own::Plan,
    pub(crate) directory: PathBuf,
}

/// Finds, resolves and lowers the policies for fence's own launch.
///
/// # Errors
/// Whatever is wrong with them.
pub(crate) fn prepare(wanted: Wanted) -> anyhow::Result<Prepared> {
    let place = Surroundings::of(wanted.directory.as_deref())?;
    let directory = crate::load::to_path(&place.cwd).to_owned();
    let loaded = load_at(place, &wanted.policies, &wanted.rules, wanted.settings)?;
    let sources = &loaded.resolved.sources;
    refuse(&loaded.resolved.diagnostics, sources)?;
    let policy = &loaded.resolved.policy;
    refuse_wide_workspace(&loaded.place, policy)?;
    let host = loaded.host(Vec::new());
    let lowered = lower_to_run(policy, &host, &mut ProbedFiles)?;
    refuse_home_in_tmp(&loaded.place, policy, &lowered.diagnostics)?;
    refuse(&lowered.diagnostics, sources)?;
    Ok(Prepared { policy: loaded.resolved.policy, host, plan: lowered.plan, directory })
}

fn refuse(diagnostics: &[Diagnostic], sources: &Sources) -> anyhow::Result<()> {
    let errors: Vec<Diagnostic> =
        diagnostics.iter().filter(|found| found.severity == Severity::Error).cloned().collect();
    if errors.is_empty() {
        return Ok(());
    }
    bail!("{}", render::text(&errors, sources, render::Color::Plain).trim_end())
}
