//! What compiling yields, as one document.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bytes::{self, AbsolutePath};
use crate::diagnostic::Checked;
use crate::fidelity::{Enforced, Enforcement, Level, limit_name};
use crate::host::{Entry, FileFacts, Files, Host, Recorder};
use crate::lower::linux;
use crate::lower::seatbelt::{self, Run, RunId};
use crate::lower::target::{Finish, LinuxTarget};
use crate::plan::{self, LinuxPlan};
use crate::policy::Policy;
use crate::profile::SeatbeltPlan;

/// The version of the artifact's form.
pub const ARTIFACT_VERSION: u32 = 1;

/// A compiled policy: the typed policy with its variables symbolic, and what it was lowered to with the
/// facts that were used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// The version of this form: 1.
    pub artifact: u32,
    /// The version of fence that made it.
    pub fence: String,
    /// The policy.
    pub policy: Policy,
    /// The SHA-256 over the hashes of all its texts, in lower-case hexadecimal.
    pub sha256: String,
    /// The facts about the machine.
    pub host: Host,
    /// The files that were looked at.
    pub files: FileFacts,
    /// How each rule and limit is enforced, in their order.
    pub fidelity: Vec<Enforcement>,
    /// What the target applies.
    pub lowering: Lowering,
}

/// What a policy was lowered to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "target", rename_all = "kebab-case")]
pub enum Lowering {
    /// Fence's own runner on Linux.
    Native {
        /// The plan.
        plan: LinuxPlan,
    },
    /// bubblewrap.
    Bwrap {
        /// The plan.
        plan: LinuxPlan,
        /// The arguments for `bwrap`, up to the command, escaped like paths.
        arguments: Vec<String>,
    },
    /// Landlock and seccomp alone.
    Landlock {
        /// The plan.
        plan: LinuxPlan,
    },
    /// macOS's Seatbelt.
    Seatbelt {
        /// The profile, and what surrounds the command.
        plan: SeatbeltPlan,
    },
}

/// What a policy is compiled for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Fence's own runner on Linux.
    Native,
    /// bubblewrap.
    Bwrap(Finish),
    /// Landlock and seccomp alone, for one run.
    Landlock(RunId),
    /// Seatbelt, for one run on macOS.
    Seatbelt(Run),
}

/// Compiles a policy for a machine. With an error among the findings the artifact is never applied.
///
/// `fence` is the version that compiles. The same policy and the same answers give the same artifact.
pub fn compile(policy: Policy, host: Host, files: &mut dyn Files, fence: &str) -> Checked<Artifact> {
    compile_for(&Target::Native, policy, host, files, fence)
}

/// Compiles a policy for a machine and a target.
pub fn compile_for(
    target: &Target,
    policy: Policy,
    host: Host,
    files: &mut dyn Files,
    fence: &str,
) -> Checked<Artifact> {
    let mut recorder = Recorder::new(files);
    let (lowering, fidelity, diagnostics) = match target {
        Target::Native => {
            let lowered = linux::lower(&policy, &host, &mut recorder);
            (Lowering::Native { plan: lowered.plan }, lowered.fidelity, lowered.diagnostics)
        }
        Target::Bwrap(finish) => {
            let lowered = linux::lower_for(&LinuxTarget::Bwrap(*finish), &policy, &host, &mut recorder);
            let list = plan::bwrap::list(&lowered.plan);
            let arguments =
                list.arguments.iter().map(|argument| bytes::escape(argument).into_owned()).collect();
            (Lowering::Bwrap { plan: lowered.plan, arguments }, lowered.fidelity, lowered.diagnostics)
        }
        Target::Landlock(run) => {
            let lowered =
                linux::lower_for(&LinuxTarget::Landlock(run.clone()), &policy, &host, &mut recorder);
            (Lowering::Landlock { plan: lowered.plan }, lowered.fidelity, lowered.diagnostics)
        }
        Target::Seatbelt(run) => {
            let lowered = seatbelt::lower(&policy, &host, &mut recorder, run);
            (Lowering::Seatbelt { plan: lowered.plan }, lowered.fidelity, lowered.diagnostics)
        }
    };
    let value = Artifact {
        artifact: ARTIFACT_VERSION,
        fence: fence.to_owned(),
        sha256: sha256(&policy),
        policy,
        host,
        files: recorder.into_facts(),
        fidelity,
        lowering,
    };
    Checked { value, diagnostics }
}

/// Writes an artifact down as a person reads it: what the target applies, and how faithfully each rule holds.
#[must_use]
pub fn text(artifact: &Artifact) -> String {
    let mut out = match &artifact.lowering {
        Lowering::Native { plan } | Lowering::Bwrap { plan, .. } | Lowering::Landlock { plan } => {
            plan::text(plan, &artifact.policy)
        }
        Lowering::Seatbelt { plan } => plan.profile.clone(),
    };
    out.push_str("fidelity\n");
    for told in &artifact.fidelity {
        out.push_str(&format!("  {}: {}\n", subject(told.what, &artifact.policy), level(told.level)));
        for line in told.why.iter().chain(&told.notes) {
            out.push_str(&format!("    {}\n", bytes::escape(line.as_bytes())));
        }
    }
    out
}

fn subject(what: Enforced, policy: &Policy) -> String {
    match what {
        Enforced::Rule(rule) => plan::name(rule, policy).unwrap_or_else(|| format!("rule {}", rule.0)),
        Enforced::Limit(number) => match policy.limits.get(number as usize) {
            Some(limit) => format!("limit {}", limit_name(limit.kind)),
            None => format!("limit {number}"),
        },
        Enforced::Secret(number) => format!("secret {}", number + 1),
        Enforced::Upstream(number) => format!("upstream {}", number + 1),
        Enforced::Tls => "tls".to_owned(),
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Exact => "exact",
        Level::Stricter => "stricter",
        Level::Weaker => "weaker",
    }
}

/// The JSON Schema of an artifact.
#[must_use]
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Artifact).to_value()
}

/// The hash over the hashes of all texts, in their order, one a line.
fn sha256(policy: &Policy) -> String {
    let mut hash = Sha256::new();
    for source in &policy.sources {
        hash.update(source.sha256.as_bytes());
        hash.update(b"\n");
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Names the facts that differ between two machines, each in a sentence; empty if none does.
#[must_use]
pub fn differences(old: (&Host, &FileFacts), new: (&Host, &FileFacts)) -> Vec<String> {
    let mut found = Vec::new();
    let ((old, old_files), (new, new_files)) = (old, new);
    let mut fact = |name: &str, old: &dyn fmt::Debug, new: &dyn fmt::Debug| {
        let (old, new) = (format!("{old:?}"), format!("{new:?}"));
        if old != new {
            found.push(format!("{name} was {old} and is {new}"));
        }
    };
    fact("the platform", &old.platform, &new.platform);
    fact("the person", &old.person.name, &new.person.name);
    fact("the home directory", &old.person.home, &new.person.home);
    fact("the user number", &old.person.uid, &new.person.uid);
    fact("the group number", &old.person.gid, &new.person.gid);
    fact("the working directory", &old.cwd, &new.cwd);
    fact("the repository's root", &old.git_root, &new.git_root);
    fact("the repository's common directory", &old.git_common, &new.git_common);
    fact("the set of the caller's variables", &old.environment_names, &new.environment_names);
    for name in old.environment.keys().chain(new.environment.keys()).collect::<BTreeSet<_>>() {
        fact(&format!("the variable `{name}`"), &old.environment.get(name), &new.environment.get(name));
    }
    let (old_features, new_features) = (&old.features, &new.features);
    fact("the kernel", &old_features.kernel, &new_features.kernel);
    fact("user namespaces", &old_features.user_namespaces, &new_features.user_namespaces);
    fact("Landlock's version", &old_features.landlock_abi, &new_features.landlock_abi);
    fact("seccomp", &old_features.seccomp, &new_features.seccomp);
    fact("a fresh `/proc`", &old_features.fresh_proc, &new_features.fresh_proc);
    fact("the mount calls", &old_features.mount_api, &new_features.mount_api);
    fact("`vm.memfd_noexec`", &old_features.memfd_noexec, &new_features.memfd_noexec);
    fact("`kernel.pid_max` of a namespace", &old_features.pid_max, &new_features.pid_max);
    if let (Some(old), Some(new)) = (&old_features.cgroup, &new_features.cgroup) {
        fact("memory held by a cgroup", &old.memory, &new.memory);
        fact("processes held by a cgroup", &old.processes, &new.processes);
        fact("processor time counted by a cgroup", &old.cpu, &new.cpu);
    }
    fact("`TIOCSTI`", &old_features.tiocsti_off, &new_features.tiocsti_off);
    fact("the set of protected files", &old.protected, &new.protected);
    let entries = old_files.entries.keys().chain(new_files.entries.keys());
    for path in entries.collect::<BTreeSet<_>>() {
        fact(&format!("`{path}`"), &entry(&old_files.entries, path), &entry(&new_files.entries, path));
    }
    fact("the set of bound sockets", &old_files.sockets, &new_files.sockets);
    let names = old_files.names.keys().chain(new_files.names.keys());
    for path in names.collect::<BTreeSet<_>>() {
        fact(
            &format!("the list of names in `{path}`"),
            &old_files.names.get(path),
            &new_files.names.get(path),
        );
    }
    found
}

/// What lies at a path, in words.
fn entry(entries: &BTreeMap<AbsolutePath, Entry>, path: &AbsolutePath) -> Words {
    Words(match entries.get(path) {
        None => "not looked at".to_owned(),
        Some(Entry::Missing) => "missing".to_owned(),
        Some(Entry::File) => "a file".to_owned(),
        Some(Entry::Directory) => "a directory".to_owned(),
        Some(Entry::Link(text)) => format!("a link to `{}`", text.escaped()),
        Some(Entry::Socket) => "a socket".to_owned(),
        Some(Entry::Fifo) => "a FIFO".to_owned(),
        Some(Entry::Device) => "a device".to_owned(),
    })
}

/// A text that stands for itself among facts.
struct Words(String);

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
