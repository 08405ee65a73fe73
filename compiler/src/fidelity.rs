//! How faithfully a target enforces each rule.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::{LimitKind, RuleId};

/// How a rule is enforced, compared with what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Just as written.
    Exact,
    /// It refuses something that the rule allows.
    Stricter,
    /// It allows something that the rule refuses.
    Weaker,
}

/// What enforces something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// Nothing: the target has no means yet.
    Nothing,
    /// It holds because nothing it could refuse is reachable at all.
    Absence,
    /// A namespace.
    Namespace,
    /// A mount, read-only, `noexec`, or a mask.
    Mount,
    /// Landlock.
    Landlock,
    /// Seccomp.
    Seccomp,
    /// A profile of macOS's Seatbelt.
    Seatbelt,
    /// A resource limit of a process (`setrlimit`).
    Rlimit,
    /// A cgroup of the sandbox's own.
    Cgroup,
    /// A timer of fence itself.
    Timer,
    /// Fence itself, where connections inside are brought to: it decides about each.
    Proxy,
    /// The environment that the command is given.
    Environment,
    /// A check of the command that fence itself starts, before it starts.
    Preflight,
    /// Fence itself, outside: it is asked at each such system call inside, and looks again at what came of it.
    Mediator,
}

/// What an enforcement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Enforced {
    /// A rule.
    Rule(RuleId),
    /// The limit with this index in [`crate::policy::Policy::limits`].
    Limit(u32),
    /// The secret with this index.
    Secret(u32),
    /// The upstream with this index.
    Upstream(u32),
    /// The `tls` setting.
    Tls,
}

/// How one rule or limit is enforced on a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Enforcement {
    /// What.
    pub what: Enforced,
    /// How faithfully: the weakest of its items.
    pub level: Level,
    /// By what, in the order it takes effect.
    pub by: Vec<Mechanism>,
    /// For `Weaker`, what is not refused; for `Stricter`, what is; one short sentence each.
    pub why: Vec<String>,
    /// For items of an `allow` that open nothing here (`does not exist`, `no value`), and other remarks.
    pub notes: Vec<String>,
}

/// A short name of a limit, for messages.
#[must_use]
pub fn limit_name(kind: LimitKind) -> &'static str {
    match kind {
        LimitKind::Time => "time",
        LimitKind::Cpu => "cpu",
        LimitKind::Memory => "memory",
        LimitKind::Processes => "processes",
        LimitKind::Files => "files",
        LimitKind::FileSize => "file-size",
        LimitKind::ConnectTime => "connect-time",
        LimitKind::IdleTime => "idle-time",
    }
}
