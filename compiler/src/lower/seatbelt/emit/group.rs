//! Kinds of access to files, and the operations that each stands for.

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

/// What keeps a thing from getting another name: moving, replacing and linking it.
pub(super) const RENAMING: [&str; 4] = ["file-write-unlink", "file-write-create", "file-link", "file-clone"];
