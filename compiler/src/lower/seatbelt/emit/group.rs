//! Kinds of access to files, and the operations that each stands for.

use std::collections::BTreeSet;

use crate::policy::PathAction;

/// A kind of access to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    Read,
    Write,
    Exec,
    Socket,
}

pub(super) const GROUPS: [Group; 4] = [Group::Read, Group::Write, Group::Exec, Group::Socket];

impl Group {
    /// What allows it. What denies it names the same, and whatever else is named anywhere below it.
    pub(super) fn opening(self) -> &'static [&'static str] {
        match self {
            Group::Read => &["file-read*", "file-test-existence"],
            Group::Write => &["file-write*", "file-link", "file-clone", "network-bind"],
            Group::Exec => &["process-exec*", "file-map-executable"],
            Group::Socket => &["network-outbound"],
        }
    }

    pub(super) fn closing(self) -> &'static [&'static str] {
        match self {
            Group::Read => &["file-read*", "file-read-metadata", "file-test-existence"],
            _ => self.opening(),
        }
    }

    pub(super) fn of(action: PathAction) -> &'static [Group] {
        match action {
            PathAction::Read => &[Group::Read],
            PathAction::Write => &[Group::Write],
            PathAction::Exec => &[Group::Exec],
            PathAction::Socket => &[Group::Socket],
            PathAction::Device => &[Group::Read, Group::Write],
        }
    }
}

/// The order in which a rule names operations.
const ORDER: [&str; 12] = [
    "file-read*",
    "file-read-metadata",
    "file-test-existence",
    "file-write*",
    "file-write-unlink",
    "file-write-create",
    "file-link",
    "file-clone",
    "network-bind",
    "process-exec*",
    "file-map-executable",
    "network-outbound",
];

/// Operations, in that order.
pub(super) fn in_order(operations: &BTreeSet<&'static str>) -> Vec<&'static str> {
    ORDER.into_iter().filter(|operation| operations.contains(operation)).collect()
}

/// What keeps a thing from getting another name: moving, replacing and linking it.
pub(super) const RENAMING: [&str; 4] = ["file-write-unlink", "file-write-create", "file-link", "file-clone"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_its_place() {
        let groups = GROUPS.iter().flat_map(|group| group.opening().iter().chain(group.closing()));
        let all: BTreeSet<&str> = groups.chain(&RENAMING).copied().collect();
        assert_eq!(in_order(&all).len(), all.len());
        assert_eq!(all.len(), ORDER.len());
    }
}
