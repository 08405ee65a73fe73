//! What applies the plan of a run: fence itself, bubblewrap, or Landlock alone.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;

use fence_compiler::diagnostic::{Code, Diagnostic, Severity};
#[cfg(target_os = "linux")]
use fence_compiler::host::Support;
use fence_compiler::host::{Files, Host};
#[cfg(target_os = "linux")]
use fence_compiler::lower::landlock::own_tmp;
#[cfg(target_os = "linux")]
use fence_compiler::lower::linux::lower_for;
#[cfg(target_os = "linux")]
use fence_compiler::lower::target::{Finish, LinuxTarget};
use fence_compiler::policy::Policy;
#[cfg(target_os = "linux")]
use fence_compiler::policy::{Effect, Rule, Subject};

use super::arguments::BackendName;
use super::own::{Lowered, lower_to_run};
use super::screen::Screen;
use crate::audit::visible;
use crate::host::ProbedFiles;
#[cfg(target_os = "linux")]
use crate::linux::{
    alone::{Tmp, unanswered},
    bwrap::Bwrap,
};

/// What applies a plan.
#[derive(Debug)]
pub(super) enum Backend {
    /// Fence itself.
    Native,
    /// bubblewrap.
    #[cfg(target_os = "linux")]
    Bwrap(Bwrap),
    /// Landlock and seccomp alone, with the run's own `$tmp`.
    #[cfg(target_os = "linux")]
    Landlock(Tmp),
}

impl Backend {
    /// Whether only a person chooses it where it holds less than a policy says.
    pub(super) fn is_by_choice(&self) -> bool {
        self.name() == BackendName::Landlock
    }

    /// Whether the command sees a `/tmp` of its own.
    pub(super) fn has_own_tmp(&self) -> bool {
        self.name() != BackendName::Landlock
    }

    /// What it leaves open for every policy.
    pub(super) fn limits(&self) -> &'static [&'static str] {
        if self.name() == BackendName::Landlock { &LANDLOCK_LIMITS } else { &[] }
    }

    fn name(&self) -> BackendName {
        match self {
            Backend::Native => BackendName::Native,
            #[cfg(target_os = "linux")]
            Backend::Bwrap(_) => BackendName::Bwrap,
            #[cfg(target_os = "linux")]
            Backend::Landlock(_) => BackendName::Landlock,
        }
    }
}

/// What Landlock and seccomp do not hold, whatever the policy says.
const LANDLOCK_LIMITS: [&str; 3] = [
    "Landlock alone: metadata of every file can be seen, and that of your own files changed (mode, times, attributes)",
    "Landlock alone: what may be read can be run through its loader (`ld.so FILE`), and processes outside can be listed",
    "Landlock alone: what the command leaves running ends with fence, unless fence itself is killed",
];

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Backend::Native => f.write_str("native"),
            #[cfg(target_os = "linux")]
            Backend::Bwrap(program) => write!(f, "{program}"),
            #[cfg(target_os = "linux")]
            Backend::Landlock(tmp) => write!(f, "Landlock alone, with `$tmp` at {}", own_tmp(tmp.run())),
        }
    }
}

/// A backend, and the policy lowered for it.
pub(super) struct Chosen {
    /// What applies the plan.
    pub backend: Backend,
    /// The plan.
    pub lowered: Lowered,
}

/// Lowers for the backend that was asked for, or for the first that this machine offers and the policy accepts.
///
/// # Errors
/// Why there is none.
pub(super) fn choose(
    asked: BackendName,
    policy: &Policy,
    host: &Host,
    offered: &BTreeSet<u16>,
    files: &mut dyn Files,
    screen: Screen,
) -> anyhow::Result<Chosen> {
    match asked {
        BackendName::Native => native(policy, host, offered, files),
        BackendName::Bwrap => bwrap(policy, host).map_err(|why| anyhow::anyhow!("no bubblewrap: {why}")),
        BackendName::Landlock => landlock(policy, host, screen).map_err(|why| anyhow::anyhow!(why)),
        BackendName::Auto => {
            let chosen = native(policy, host, offered, files)?;
            let missing = lacking(&chosen.lowered.diagnostics).map(|found| found.message.clone());
            Ok(match missing.and_then(|missing| fall_back(&missing, policy, host, screen)) {
                Some(other) => other,
                None => chosen,
            })
        }
    }
}

/// bubblewrap, if it can be had and weakens nothing; why it is not taken is told. Landlock alone is never taken unasked:
/// what it leaves open for every policy, no policy accepts.
pub(super) fn fall_back(missing: &str, policy: &Policy, host: &Host, screen: Screen) -> Option<Chosen> {
    let mut told = vec![format!("native cannot be used: {}", visible(missing))];
    match tried_bwrap(policy, host) {
        Err(why) => told.push(format!("bwrap cannot be used: {}", visible(&why))),
        Ok(chosen) => match unaccepted(&chosen.lowered) {
            None => {
                screen.say(&format!("running with {}, because {}", chosen.backend, told.join("; ")));
                return Some(chosen);
            }
            Some(found) => told
                .push(format!("bwrap would hold less than the policy accepts: {}", visible(&found.message))),
        },
    }
    told.push("Landlock alone leaves the metadata of every file open, which no policy accepts; you can choose it yourself: --backend landlock".to_owned());
    screen.say(&told.join("\n  "));
    None
}

/// Whether there is a bubblewrap that works here; else why not.
#[cfg(target_os = "linux")]
pub(super) fn bubblewrap(host: &Host) -> Result<(), String> {
    found(host)?.tried().map(drop)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn bubblewrap(_: &Host) -> Result<(), String> {
    Err("it is for Linux only".to_owned())
}

/// What stands in the way of taking a backend that nobody has asked for.
fn unaccepted(lowered: &Lowered) -> Option<&Diagnostic> {
    let errors = lowered.diagnostics.iter().filter(|found| found.severity == Severity::Error);
    errors.chain(&lowered.left_to_a_person).next()
}

/// What of the machine is missing.
fn lacking(diagnostics: &[Diagnostic]) -> Option<&Diagnostic> {
    diagnostics.iter().find(|found| found.code == Code::MechanismMissing)
}

fn native(
    policy: &Policy,
    host: &Host,
    offered: &BTreeSet<u16>,
    files: &mut dyn Files,
) -> anyhow::Result<Chosen> {
    Ok(Chosen { backend: Backend::Native, lowered: lower_to_run(policy, host, files, offered)? })
}

/// The search path for fence's own use: the caller's.
fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into())
}

#[cfg(target_os = "linux")]
fn bwrap(policy: &Policy, host: &Host) -> Result<Chosen, String> {
    Ok(by_bwrap(found(host)?, policy, host))
}

/// Takes it only where it works: nobody has asked for it.
#[cfg(target_os = "linux")]
fn tried_bwrap(policy: &Policy, host: &Host) -> Result<Chosen, String> {
    Ok(by_bwrap(found(host)?.tried()?, policy, host))
}

#[cfg(target_os = "linux")]
fn found(host: &Host) -> Result<Bwrap, String> {
    let workspace = host.git_root.as_ref().unwrap_or(&host.cwd);
    Bwrap::find(&search_path(), workspace)
}

#[cfg(target_os = "linux")]
fn by_bwrap(program: Bwrap, policy: &Policy, host: &Host) -> Chosen {
    let lowered = lower_for(&LinuxTarget::Bwrap(Finish::ByFence), policy, host, &mut ProbedFiles);
    Chosen { backend: Backend::Bwrap(program), lowered }
}

#[cfg(target_os = "linux")]
fn landlock(policy: &Policy, host: &Host, screen: Screen) -> Result<Chosen, String> {
    let connects =
        |rule: &Rule| rule.effect == Effect::Allow && matches!(rule.subject, Subject::Connect { .. });
    let mut host = host.clone();
    if host.features.mediation.is_yes()
        && policy.rules.iter().any(connects)
        && let Some(why) = unanswered()
    {
        screen.note(&format!("with Landlock alone nothing is connected to here: {}", visible(&why)));
        host.features.mediation = Support::No(why);
    }
    let host = &host;
    let tmp = Tmp::make().map_err(|error| format!("no directory can be made for this run: {error}"))?;
    let lowered = lower_for(&LinuxTarget::Landlock(tmp.run().clone()), policy, host, &mut ProbedFiles);
    Ok(Chosen { backend: Backend::Landlock(tmp), lowered })
}

#[cfg(not(target_os = "linux"))]
fn bwrap(_: &Policy, _: &Host) -> Result<Chosen, String> {
    let _ = search_path();
    Err("it is for Linux only".to_owned())
}

#[cfg(not(target_os = "linux"))]
fn tried_bwrap(policy: &Policy, host: &Host) -> Result<Chosen, String> {
    bwrap(policy, host)
}

#[cfg(not(target_os = "linux"))]
fn landlock(_: &Policy, _: &Host, _: Screen) -> Result<Chosen, String> {
    Err("Landlock is for Linux only".to_owned())
}
