//! `fence run --artifact`

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, bail};
use fence_compiler::artifact::{ARTIFACT_VERSION, Artifact, differences};
use fence_compiler::bytes::AbsolutePath;
use fence_compiler::fidelity::{Enforcement, Level};
use fence_compiler::host::Files;
use fence_compiler::policy::{Effect, Policy};
use fence_compiler::resolve::{Request, resolve};
use fence_compiler::source::Sources;

use super::backend::Backend;
use super::distrust::bare;
use super::policy::{above, has_errors, host, refuse_wide_workspace};
use super::run::{Prepared, shown, surroundings, tell_findings};
use super::screen::{Screen, Verbosity};
use super::{fidelity, own};
use crate::audit::visible;
use crate::host::Surroundings;
use crate::load::{Library, spelled};
use crate::printer;

/// The largest artifact there is.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Reads an artifact, and lowers its policy for this machine; says which facts differ from those it was compiled
/// with, and refuses if a rule would be enforced less faithfully than then. `None` if that has been told.
pub(super) fn prepare(
    file: &Path,
    also_protected: Vec<AbsolutePath>,
    offered: &BTreeSet<u16>,
    files: &mut dyn Files,
    screen: Screen,
) -> anyhow::Result<Option<Prepared>> {
    let artifact = read(file)?;
    let place = surroundings()?;
    let policy = artifact.policy;
    refuse_wide_workspace(&place, &policy)?;
    refuse_without_nevers(&place, &policy, file)?;
    let named = spelled(file, &place.cwd).into_iter();
    let host = host(&place, &policy, also_protected.into_iter().chain(named).collect());
    let compiled = own::compile_to_run(policy, host, files, offered)?;
    if !tell_findings(&compiled.diagnostics, &Sources::default(), screen) {
        return Ok(None);
    }
    let now = compiled.value;
    if screen.verbosity == Verbosity::Verbose {
        for difference in differences((&artifact.host, &artifact.files), (&now.host, &now.files)) {
            screen.say(&format!("not as when it was compiled: {}", visible(&difference)));
        }
    } else {
        let differing = differences((&artifact.host, &artifact.files), (&now.host, &now.files)).len();
        if differing > 0 {
            screen.note(&format!(
                "{differing} facts differ from when `{}` was compiled, so it is lowered anew (-v names them)",
                shown(file)
            ));
        }
    }
    let fallen: Vec<&Enforcement> =
        now.fidelity.iter().filter(|enforcement| falls(enforcement, &artifact.fidelity)).collect();
    if !fallen.is_empty() {
        let mut text = String::from("here rules would be enforced less faithfully than the artifact says");
        for enforcement in fallen {
            text.push_str(&format!("\n  {}", fidelity::line(&now.policy, enforcement)));
        }
        text.push_str("\n  compile the policy on this machine and read what it says: fence compile");
        screen.say(&text);
        return Ok(None);
    }
    let Some(plan) = own::plan(now.lowering) else {
        bail!("an artifact is lowered for this machine's own target")
    };
    Ok(Some(Prepared {
        told: format!("artifact {}", shown(file)),
        more: "fence run -v …".to_owned(),
        policy: now.policy,
        host: now.host,
        plan,
        fidelity: now.fidelity,
        backend: Backend::Native,
    }))
}

/// The `never`s of the person and of the machine hold above every policy: an artifact that was compiled without
/// them does not run.
fn refuse_without_nevers(place: &Surroundings, policy: &Policy, file: &Path) -> anyhow::Result<()> {
    let library = Library::new(place.person.home.clone(), place.person.uid, place.cwd.clone());
    let above = above(place, &library, &[])?;
    if above.is_empty() {
        return Ok(());
    }
    let standing = resolve(&Request { mains: Vec::new(), set: Vec::new(), above }, &library);
    if has_errors(&standing.diagnostics) {
        bail!("your own policy or that of this machine has an error: fence check user");
    }
    let held: BTreeSet<String> = policy.rules.iter().map(|rule| bare(policy, rule)).collect();
    let standing = standing.policy;
    match standing
        .rules
        .iter()
        .find(|rule| rule.effect == Effect::Never && !held.contains(&bare(&standing, rule)))
    {
        None => Ok(()),
        Some(rule) => bail!(
            "the artifact `{}` was compiled without `{}` ({}), which holds above every policy: compile it again here",
            shown(file),
            bare(&standing, rule),
            printer::place(&standing, rule.written)
        ),
    }
}

/// Whether something is weaker now and was not then.
fn falls(now: &Enforcement, then: &[Enforcement]) -> bool {
    let was =
        then.iter().find(|enforcement| enforcement.what == now.what).map(|enforcement| enforcement.level);
    now.level == Level::Weaker && was != Some(Level::Weaker)
}

fn read(file: &Path) -> anyhow::Result<Artifact> {
    let cannot = || format!("cannot read the artifact `{}`", shown(file));
    let size = std::fs::metadata(file).with_context(cannot)?.len();
    if size > LARGEST {
        bail!("`{}` is no artifact: it is larger than 64 MiB", shown(file));
    }
    let text = std::fs::read(file).with_context(cannot)?;
    #[derive(serde::Deserialize)]
    struct Version {
        artifact: u32,
    }
    let version: Version = serde_json::from_slice(&text)
        .with_context(|| format!("`{}` is no artifact (`fence compile` makes one)", shown(file)))?;
    if version.artifact != ARTIFACT_VERSION {
        bail!(
            "`{}` is an artifact of version {}, this fence knows {ARTIFACT_VERSION}",
            shown(file),
            version.artifact
        );
    }
    serde_json::from_slice(&text).with_context(|| format!("the artifact `{}` is damaged", shown(file)))
}
