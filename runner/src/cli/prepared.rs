//! Sessions made ready: for the library, which has neither a command line nor a screen, and for `fence session start`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use fence_compiler::diagnostic::{Diagnostic, Severity, render};
use fence_compiler::host::Host;
use fence_compiler::lower::linux::lower;
use fence_compiler::lower::values;
use fence_compiler::narrowing::{self, Wider};
use fence_compiler::plan::LinuxPlan;
use fence_compiler::policy::{Policy, RuleId};
use fence_compiler::source::{Origin, Sources};

use super::backend::Backend;
use super::own::lower_to_run;
use super::policy::{load_at, refuse_home_in_tmp, refuse_wide_workspace};
use super::record::{Live, Record};
use super::run::Prepared;
use super::screen::{Screen, Verbosity};
use super::serving::Serving;
use super::standing;
use super::starts::Starts;
use crate::host::{ProbedFiles, Surroundings, named_variables};
use crate::launch::{Arbiter, Attendant, Observed};
use crate::linux::session::{Helpers, Narrower, Session};
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
    let (rules, session) = kept(prepared, idle, None, Observed::Nothing)?;
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
    observed: Observed,
) -> Result<(Rules, Session), Error> {
    let unwritten = |error: anyhow::Error| Error::Policy(format!("{error:#}"));
    let record = || Record::into(&prepared, log, Live::Summed, QUIET);
    let mut starts = Starts::new(&prepared, observed, record).map_err(unwritten)?;
    let mut served = record().map_err(|error| unwritten(error.into()))?;
    served.get_ready();
    let mut kept = served.descriptors();
    kept.extend(starts.iter().flat_map(Starts::descriptors));
    let mut serving = Serving::new(&prepared, &mut served, None, None);
    let session = Session::start(
        prepared.plan.clone(),
        idle,
        Helpers {
            attendant: serving.as_mut().map(|serving| serving as &mut dyn Attendant),
            arbiter: starts.as_mut().map(|starts| starts as &mut dyn Arbiter),
            observed,
            kept,
        },
    )?;
    drop((starts, serving));
    drop(served);
    let Prepared { policy, host, plan, .. } = prepared;
    Ok((Rules::new(policy, host, plan), session))
}

/// Holds a session by a narrower policy from now on, if it is one: what its commands are judged by then.
///
/// # Errors
/// The policy is wider, or may be, or narrows what the file tree of the session holds; what was in force is.
pub(crate) fn narrow(
    rules: &Rules,
    session: &Session,
    policy: Policy,
    log: Option<&Path>,
) -> Result<Rules, Error> {
    let told = |why: String| {
        Error::Policy(format!(
            "the policy in force stays: {why}; for that, stop the session and start it again"
        ))
    };
    let wider = narrowing::wider(&rules.policy, &policy, rules.host.platform);
    if !wider.is_empty() {
        let reasons: Vec<String> =
            wider.iter().take(MOST_TOLD).map(|wider| in_words(wider, &rules.policy, &policy)).collect();
        return Err(told(reasons.join(", and ")));
    }
    let host = host_for(&rules.host, &policy);
    let lowered = lower(&policy, &host, &mut ProbedFiles);
    if let Some(error) = lowered.diagnostics.iter().find(|found| found.severity == Severity::Error) {
        return Err(told(error.message.clone()));
    }
    // Both as they come out now: what has changed on the machine since the start is no difference of theirs.
    let now = lower(&rules.policy, &rules.host, &mut ProbedFiles).plan;
    if let Some(why) = standing::difference(&now, &lowered.plan) {
        return Err(told(why));
    }
    let held = session.plan();
    if held.mediated.difference(&lowered.plan.mediated).next().is_some() {
        return Err(told("starts of programs would no longer be judged".to_owned()));
    }
    let plan = LinuxPlan { mounts: held.mounts, landlock: held.landlock, cwd: held.cwd, ..lowered.plan };
    let fidelity = lowered.fidelity;
    let more = String::new();
    let prepared =
        Prepared { told: String::new(), more, policy, host, plan, fidelity, backend: Backend::Native };
    let record = || Record::into(&prepared, log, Live::Summed, QUIET);
    let mut starts =
        Starts::new(&prepared, session.observed(), record).map_err(|error| told(format!("{error:#}")))?;
    session.narrow(Narrower {
        plan: prepared.plan.clone(),
        kept: starts.iter().flat_map(Starts::descriptors).collect(),
        arbiter: starts.as_mut().map(|starts| starts as &mut dyn Arbiter),
        policy: &prepared.policy,
        values: values::of(&prepared.host, &prepared.policy),
    })?;
    drop(starts);
    let Prepared { policy, host, plan, .. } = prepared;
    Ok(Rules::new(policy, host, plan))
}

/// Has somebody look at the commands of a session that somebody wants to see, where nothing of them is judged.
///
/// # Errors
/// The log cannot be opened, or nobody can be started to look.
pub(crate) fn watch(rules: &Rules, session: &Session, log: Option<&Path>) -> Result<(), Error> {
    let prepared = Prepared {
        told: String::new(),
        more: String::new(),
        policy: rules.policy.clone(),
        host: rules.host.clone(),
        plan: session.plan(),
        fidelity: Vec::new(),
        backend: Backend::Native,
    };
    let record = || Record::into(&prepared, log, Live::Summed, QUIET);
    let starts = Starts::new(&prepared, Observed::Everything, record);
    let starts = starts.map_err(|error| Error::Policy(format!("{error:#}")))?;
    if let Some(mut starts) = starts {
        let kept = starts.descriptors();
        session.watch(&mut starts, &kept)?;
    }
    Ok(())
}

/// How many reasons are told.
const MOST_TOLD: usize = 5;

/// Nobody is there to read what would be told at the end.
const QUIET: Screen =
    Screen { out: render::Color::Plain, err: render::Color::Plain, verbosity: Verbosity::Quiet };

/// The facts of the session, with the values of what the policy names beside them.
fn host_for(host: &Host, policy: &Policy) -> Host {
    let mut host = host.clone();
    for name in named_variables(policy) {
        if !host.environment.contains_key(&name)
            && let Ok(value) = std::env::var(&name)
        {
            host.environment.insert(name, value);
        }
    }
    for source in &policy.sources {
        if let Origin::File(path) | Origin::User(path) | Origin::Machine(path) = &source.origin {
            host.protected.push(path.clone());
        }
    }
    host.protected.sort();
    host.protected.dedup();
    host
}

fn in_words(wider: &Wider, now: &Policy, next: &Policy) -> String {
    let rule = |policy: &Policy, id: &RuleId| match policy.rules.get(id.0 as usize) {
        Some(rule) => {
            format!(
                "`{}` ({})",
                crate::printer::rule(policy, rule),
                crate::printer::place(policy, rule.written)
            )
        }
        None => "a rule".to_owned(),
    };
    match wider {
        Wider::Opens(id) => format!("{} opens more than any one rule in force", rule(next, id)),
        Wider::Lifts(id) => format!("{} is in force, and would not be held as it is", rule(now, id)),
        Wider::Limit(index) => match now.limits.get(*index) {
            Some(limit) => format!(
                "`{}` ({}) is in force, and would not be held as it is",
                crate::printer::limit(limit),
                crate::printer::place(now, limit.written)
            ),
            None => "a limit would be lifted".to_owned(),
        },
        Wider::Other(what) => format!("it has {what}"),
    }
}

/// Finds and resolves policies anew, as for a session that is prepared.
///
/// # Errors
/// Something is wrong with them.
pub(crate) fn resolved(wanted: &Wanted, directory: &Path) -> Result<Policy, Error> {
    let resolved = || -> anyhow::Result<Policy> {
        let place = Surroundings::of(Some(directory))?;
        let loaded = load_at(place, &wanted.policies, &wanted.rules, wanted.settings.clone())?;
        refuse(&loaded.resolved.diagnostics, &loaded.resolved.sources)?;
        Ok(loaded.resolved.policy)
    };
    resolved().map_err(|error| Error::Policy(format!("{error:#}")))
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
