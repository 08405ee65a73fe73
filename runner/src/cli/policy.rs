//! From what a command line names to a resolved policy.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use fence_compiler::bytes::AbsolutePath;
use fence_compiler::diagnostic::{Diagnostic, Severity};
use fence_compiler::host::Host;
#[cfg(target_os = "linux")]
use fence_compiler::policy::LimitKind;
use fence_compiler::policy::Policy;
use fence_compiler::resolve::{Request, Resolved, resolve};
use fence_compiler::source::{Origin, Source};

use super::arguments::Changes;
use crate::audit::visible;
use crate::host::{Surroundings, named_variables, probe};
use crate::load::{
    Found, Library, MACHINE_POLICY, Named, USER, built_in, find, known_names, named, user_policy,
};
use crate::trust::state_folder;

/// A policy, and where it is used.
pub(super) struct Loaded {
    /// Where.
    pub place: Surroundings,
    /// The policy.
    pub resolved: Resolved,
    /// How it came to be this one.
    pub how: How,
    /// The names under which its files were asked for, where no hash of them is on record.
    pub asked: BTreeSet<AbsolutePath>,
}

/// How a policy was chosen.
pub(super) enum How {
    /// By its name or file.
    Named,
    /// It lies in this directory or above it.
    Found {
        /// Where.
        found: Found,
        /// The hash of all that its meaning hangs on.
        closure: String,
    },
    /// It is the person's own.
    Own,
    /// There is no other.
    Default,
}

impl How {
    /// In words, for `-v` and `check`.
    pub(super) fn told(&self) -> &'static str {
        match self {
            How::Named => "as named",
            How::Found { .. } => "found here",
            How::Own => "your own",
            How::Default => "built in, as none was found",
        }
    }
}

/// Goes to the directory of `-C`, finds and resolves the policies that are named there, or the one of the place.
pub(super) fn load(policies: &[OsString], changes: &Changes) -> anyhow::Result<Loaded> {
    if let Some(directory) = &changes.directory {
        enter(directory)?;
    }
    load_at(Surroundings::of(None)?, policies, &changes.rule, changes.set.clone())
}

/// The same for a place that was looked at.
pub(super) fn load_at(
    place: Surroundings,
    policies: &[OsString],
    rules: &[String],
    set: Vec<(String, String)>,
) -> anyhow::Result<Loaded> {
    let library = Library::new(place.person.home.clone(), place.person.uid, place.cwd.clone());
    let (mut mains, pick) = if policies.is_empty() {
        found_here(&place, &library)?
    } else {
        let mains = policies.iter().map(|policy| one(policy, &library)).collect::<anyhow::Result<_>>()?;
        (mains, Pick::Named)
    };
    let found_source = mains.first().cloned();
    for rule in rules {
        mains.push(Source {
            origin: Origin::Given(format!("--rule {rule}")),
            name: "<--rule>".to_owned(),
            text: format!("{rule}\n"),
        });
    }
    let above = above(&place, &library, &mains)?;
    let resolved = resolve(&Request { mains, set, above }, &library);
    let how = match (pick, found_source) {
        (Pick::Found(found), Some(source)) => {
            How::Found { found, closure: crate::trust::closure_hash(&library.closure(&source)) }
        }
        (Pick::Own, _) => How::Own,
        (Pick::Default, _) => How::Default,
        (Pick::Named | Pick::Found(_), _) => How::Named,
    };
    let asked = if matches!(how, How::Found { .. }) { BTreeSet::new() } else { library.asked() };
    Ok(Loaded { place, resolved, how, asked })
}

/// Goes to another directory, as if fence had been started there.
pub(super) fn enter(directory: &Path) -> anyhow::Result<()> {
    std::env::set_current_dir(directory)
        .with_context(|| format!("cannot go to `{}`", visible(&directory.to_string_lossy())))
}

/// How a policy is picked, before it is resolved.
enum Pick {
    Named,
    Found(Found),
    Own,
    Default,
}

fn found_here(place: &Surroundings, library: &Library) -> anyhow::Result<(Vec<Source>, Pick)> {
    let root = place.repository.as_ref().map(|repository| &repository.root);
    if let Some(found) = find(&place.cwd, root, place.person.uid)? {
        let source = library
            .file(crate::load::to_path(&found.file))
            .with_context(|| format!("cannot read the policy `{}`", found.file))?;
        return Ok((vec![source], Pick::Found(found)));
    }
    if let Some(own) = own(place, library)? {
        return Ok((vec![own], Pick::Own));
    }
    let default = built_in("default").ok_or_else(|| anyhow!("the built-in policy `default` is missing"))?;
    Ok((vec![default], Pick::Default))
}

fn own(place: &Surroundings, library: &Library) -> anyhow::Result<Option<Source>> {
    library
        .user()
        .with_context(|| format!("cannot read your own policy `{}`", user_policy(&place.person.home)))
}

fn one(policy: &OsString, library: &Library) -> anyhow::Result<Source> {
    match named(policy).map_err(|shown| anyhow!("`{shown}` is neither a file nor the name of a policy"))? {
        Named::File(path) => library
            .file(&path)
            .with_context(|| format!("cannot read the policy `{}`", visible(&path.to_string_lossy()))),
        Named::Name(name) if name == USER => {
            library.user().context("cannot read your own policy")?.ok_or_else(|| {
                anyhow!("you have no policy of your own: it would be `~/.config/fence/policy.fence`")
            })
        }
        Named::Name(name) => built_in(&name).ok_or_else(|| unknown(&name)),
    }
}

/// Says that no policy has a name, and what it may have been.
pub(super) fn unknown(name: &str) -> anyhow::Error {
    let known = known_names();
    let shown = visible(name);
    let near = known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= known.len() / 3 + 1)
        .min();
    for file in [name.to_owned(), format!("{name}.fence")] {
        if Path::new(&file).is_file() {
            return anyhow!("no policy is named `{shown}`; for the file write `./{}`", visible(&file));
        }
    }
    match near {
        Some((_, near)) => anyhow!("no policy is named `{shown}`; did you mean `{near}`"),
        None => anyhow!("no policy is named `{shown}`; `fence policies` lists them"),
    }
}

/// The policies whose `never`s hold above: the machine's, and the person's own where it is not the main one.
pub(super) fn above(
    place: &Surroundings,
    library: &Library,
    mains: &[Source],
) -> anyhow::Result<Vec<Source>> {
    let mut above = Vec::new();
    if let Some(path) = AbsolutePath::new(MACHINE_POLICY.as_bytes()) {
        above.extend(
            library
                .machine(&path)
                .with_context(|| format!("cannot read the policy of this machine `{path}`"))?,
        );
    }
    if !mains.iter().any(|main| matches!(main.origin, Origin::User(_))) {
        above.extend(own(place, library)?);
    }
    Ok(above)
}

impl Loaded {
    /// Whether an error is among the findings.
    pub(super) fn has_errors(&self) -> bool {
        has_errors(&self.resolved.diagnostics)
    }

    /// The machine, for this policy.
    pub(super) fn host(&self, mut also_protected: Vec<AbsolutePath>) -> Host {
        also_protected.extend(self.asked.iter().cloned());
        host(&self.place, &self.resolved.policy, also_protected)
    }
}

/// The machine, for a policy: its texts and fence's own state are never writable from inside.
pub(super) fn host(place: &Surroundings, policy: &Policy, also_protected: Vec<AbsolutePath>) -> Host {
    let mut protected = also_protected;
    protected.push(state_folder(&place.person.home));
    protected.push(user_policy(&place.person.home));
    for source in &policy.sources {
        if let Origin::File(path) | Origin::User(path) | Origin::Machine(path) = &source.origin {
            protected.push(path.clone());
        }
    }
    protected.sort();
    protected.dedup();
    with_cgroup(probe(place, &named_variables(policy), protected), policy)
}

/// What a cgroup of the run's own could hold, asked where a limit needs one.
#[cfg(target_os = "linux")]
fn with_cgroup(mut host: Host, policy: &Policy) -> Host {
    if policy.limits.iter().any(|limit| of_all_together(limit.kind)) {
        host.features.cgroup = Some(crate::host::cgroup::cgroup());
    }
    host
}

#[cfg(not(target_os = "linux"))]
fn with_cgroup(host: Host, _: &Policy) -> Host {
    host
}

/// Whether a limit is of what all processes of a run come to together.
#[cfg(target_os = "linux")]
fn of_all_together(kind: LimitKind) -> bool {
    matches!(kind, LimitKind::Memory | LimitKind::Processes | LimitKind::Cpu)
}

pub(super) fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}

/// A built-in policy gives the workspace away as a whole: that must not be a home or what lies above one.
pub(super) fn refuse_wide_workspace(place: &Surroundings, policy: &Policy) -> anyhow::Result<()> {
    if !is_built_in(policy) {
        return Ok(());
    }
    let workspace = place.repository.as_ref().map_or(&place.cwd, |repository| &repository.root);
    let repair = "go to the directory of the work, or name a policy of your own with -p";
    if workspace.is_root() {
        bail!("a built-in policy would open the whole file system (`/`) as its workspace: {repair}");
    }
    let home = &place.person.home;
    if home.is_within(workspace) {
        bail!(
            "a built-in policy would open `{workspace}` as its workspace, {}: {repair}",
            if home == workspace { "your home directory" } else { "which holds your home directory" }
        );
    }
    let others = crate::host::people_homes(place.person.uid);
    if let Some(other) = others.iter().find(|other| !other.is_within(home) && other.is_within(workspace)) {
        bail!(
            "a built-in policy would open `{workspace}` as its workspace, and with it somebody else's home `{other}`: {repair}"
        );
    }
    Ok(())
}

/// A home below `/tmp`, where each run has a directory of its own: the rules about the home cannot be held there,
/// and one sentence says more than an error for each of them.
pub(super) fn refuse_home_in_tmp(
    place: &Surroundings,
    policy: &Policy,
    lowered: &[Diagnostic],
) -> anyhow::Result<()> {
    let home = &place.person.home;
    if is_built_in(policy) && has_errors(lowered) && home.is_within(&AbsolutePath::root().join(b"tmp")) {
        bail!(
            "your home `{home}` lies in `/tmp`, and each run has a `/tmp` of its own, in which rules about the home cannot be held: set HOME to a directory elsewhere, or name a policy of your own with -p"
        );
    }
    Ok(())
}

/// Whether a built-in policy is meant, with nothing beside it but the person's own.
fn is_built_in(policy: &Policy) -> bool {
    let alone = policy.sources.iter().all(|source| match &source.origin {
        Origin::BuiltIn(_) | Origin::Given(_) | Origin::User(_) | Origin::Machine(_) => true,
        Origin::File(_) => false,
    });
    alone && policy.sources.first().is_some_and(|source| matches!(source.origin, Origin::BuiltIn(_)))
}
