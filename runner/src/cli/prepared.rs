//! Sessions made ready: for the library, which has neither a command line nor a screen, and for `fence session start`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use fence_compiler::diagnostic::{Diagnostic, Severity, render};
use fence_compiler::source::Sources;

use super::backend::Backend;
use super::own::lower_to_run;
use super::policy::{load_at, refuse_home_in_tmp, refuse_wide_workspace};
use super::record::{Live, Record};
use super::run::Prepared;
use super::screen::{Screen, Verbosity};
use super::serving::Serving;
use super::starts::Starts;
use crate::host::{ProbedFiles, Surroundings};
use crate::launch::{Arbiter, Attendant};
use crate::linux::session::{Helpers, Session};
use crate::session::Error;
use crate::session::judged::Rules;

/// What is to be prepared.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) policies: Vec<OsString>,
    pub(crate) rules: Vec<String>,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) directory: Option<PathBuf>,
}

/// Makes the sandbox that is wanted; with what its commands are judged by, and the directory that it is for.
///
/// # Errors
/// Something is wrong with the policies, or the sandbox cannot be made.
pub(crate) fn start(wanted: Wanted, idle: Option<Duration>) -> Result<(Rules, Session, PathBuf), Error> {
    let prepared = prepare(wanted).map_err(|error| Error::Policy(format!("{error:#}")))?;
    let directory = crate::load::to_path(&prepared.host.cwd).to_owned();
    let (rules, session) = kept(prepared, idle, None)?;
    Ok((rules, session, directory))
}

/// Makes the sandbox of what was prepared. What is refused while connections are served and starts are judged goes into the
/// log.
///
/// # Errors
/// The sandbox cannot be made.
pub(super) fn kept(
    prepared: Prepared,
    idle: Option<Duration>,
    log: Option<&Path>,
) -> Result<(Rules, Session), Error> {
    let unwritten = |error: anyhow::Error| Error::Policy(format!("{error:#}"));
    // Nobody is there to read what would be told at the end.
    let quiet = Screen { out: render::Color::Plain, err: render::Color::Plain, verbosity: Verbosity::Quiet };
    let record = || Record::into(&prepared, log, Live::Summed, quiet);
    let mut starts = Starts::new(&prepared, record).map_err(unwritten)?;
    let mut served = record().map_err(|error| unwritten(error.into()))?;
    served.get_ready();
    let mut kept = served.descriptors();
    kept.extend(starts.iter().flat_map(Starts::descriptors));
    let mut serving = Serving::new(&prepared, &mut served, None);
    let session = Session::start(
        prepared.plan.clone(),
        idle,
        Helpers {
            attendant: serving.as_mut().map(|serving| serving as &mut dyn Attendant),
            arbiter: starts.as_mut().map(|starts| starts as &mut dyn Arbiter),
            kept,
        },
    )?;
    drop((starts, serving));
    drop(served);
    let Prepared { policy, host, plan, .. } = prepared;
    Ok((Rules::new(policy, host, plan.environment), session))
}

/// Finds, resolves and lowers the policies for fence's own launch.
fn prepare(wanted: Wanted) -> anyhow::Result<Prepared> {
    let place = Surroundings::of(wanted.directory.as_deref())?;
    let loaded = load_at(place, &wanted.policies, &wanted.rules, wanted.settings)?;
    let sources = &loaded.resolved.sources;
    refuse(&loaded.resolved.diagnostics, sources)?;
    let policy = &loaded.resolved.policy;
    refuse_wide_workspace(&loaded.place, policy)?;
    let host = loaded.host(Vec::new());
    let lowered = lower_to_run(policy, &host, &mut ProbedFiles, &BTreeSet::new())?;
    refuse_home_in_tmp(&loaded.place, policy, &lowered.diagnostics)?;
    refuse(&lowered.diagnostics, sources)?;
    Ok(Prepared {
        told: String::new(),
        more: String::new(),
        policy: loaded.resolved.policy,
        host,
        plan: lowered.plan,
        fidelity: lowered.fidelity,
        backend: Backend::Native,
    })
}

fn refuse(diagnostics: &[Diagnostic], sources: &Sources) -> anyhow::Result<()> {
    let errors: Vec<Diagnostic> =
        diagnostics.iter().filter(|found| found.severity == Severity::Error).cloned().collect();
    if errors.is_empty() {
        return Ok(());
    }
    bail!("{}", render::text(&errors, sources, render::Color::Plain).trim_end())
}
