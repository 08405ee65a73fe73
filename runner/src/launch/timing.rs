//! How long each phase of a launch took.

use std::time::Duration;

/// A phase of a launch, in the order they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Phase {
    /// The operations, the filter and the rulesets are prepared.
    Prepare,
    /// The first process inside exists, in its namespaces.
    Clone,
    /// Its user and group are mapped.
    Identity,
    /// The file tree is made.
    Mounts,
    /// The old root is gone.
    Root,
    /// The loopback is up.
    Network,
    /// The first process has given up its rights.
    Confine,
    /// The command's process exists.
    Fork,
    /// It has given up its rights and executes.
    Restrict,
    /// The command ran.
    Command,
    /// The sandbox is gone.
    End,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Phase; 11] = [
        Phase::Prepare,
        Phase::Clone,
        Phase::Identity,
        Phase::Mounts,
        Phase::Root,
        Phase::Network,
        Phase::Confine,
        Phase::Fork,
        Phase::Restrict,
        Phase::Command,
        Phase::End,
    ];

    /// Its name in a table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Phase::Prepare => "prepare",
            Phase::Clone => "clone",
            Phase::Identity => "identity",
            Phase::Mounts => "mounts",
            Phase::Root => "root",
            Phase::Network => "network",
            Phase::Confine => "confine",
            Phase::Fork => "fork",
            Phase::Restrict => "restrict",
            Phase::Command => "command",
            Phase::End => "end",
        }
    }
}

/// What a phase took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Which.
    pub phase: Phase,
    /// From the end of the one before.
    pub took: Duration,
}
