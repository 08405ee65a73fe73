//! What of Linux a plan is made for.

use super::seatbelt::RunId;
use crate::host::{Cgroup, Features, Support};

/// What applies a plan on Linux.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinuxTarget {
    /// Fence's own runner: namespaces, mounts, Landlock, seccomp.
    Native,
    /// bubblewrap, which makes the namespaces and mounts.
    Bwrap(Finish),
    /// Landlock and seccomp alone, for one run.
    Landlock(RunId),
}

/// Who does what bubblewrap has no option for, before the command starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Fence: `fence run --backend bwrap`.
    ByFence,
    /// Nobody: the list of arguments is all there is.
    ByNobody,
}

/// What keeps a process from files, beside the mounts that it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// Mounts, and Landlock as second line.
    MountsAndLandlock,
    /// Mounts alone.
    Mounts,
    /// Landlock alone: the file tree is the machine's own.
    Landlock,
}

impl LinuxTarget {
    /// What holds files.
    pub(super) fn holder(&self) -> Holder {
        match self {
            LinuxTarget::Native => Holder::MountsAndLandlock,
            LinuxTarget::Bwrap(_) => Holder::Mounts,
            LinuxTarget::Landlock(_) => Holder::Landlock,
        }
    }

    /// What of the machine's mechanisms this target makes use of.
    pub(super) fn usable(&self, features: &Features) -> Features {
        let mut usable = features.clone();
        let no = |why: &str| Support::No(why.to_owned());
        match self {
            LinuxTarget::Native => {}
            LinuxTarget::Bwrap(finish) => {
                usable.landlock_abi = 0;
                usable.memfd_noexec = no("bubblewrap sets none");
                usable.pid_max = no("bubblewrap sets none");
                usable.mediation = no("nothing judges calls under bubblewrap");
                usable.cgroup = match finish {
                    Finish::ByFence => uncounted(usable.cgroup),
                    Finish::ByNobody => None,
                };
            }
            LinuxTarget::Landlock(_) => {
                usable.fresh_proc = no("Landlock alone shows the machine's own");
                usable.memfd_noexec = no("there is no pid namespace to set it in");
                usable.pid_max = no("there is no pid namespace");
                usable.mediation = no("nothing judges calls without a first process");
                usable.cgroup = uncounted(usable.cgroup);
            }
        }
        usable
    }
}

/// The same where no first process of fence's own looks at what a cgroup has counted.
fn uncounted(cgroup: Option<Cgroup>) -> Option<Cgroup> {
    let cpu = Support::No("only fence's own backend looks at what it has counted".to_owned());
    cgroup.map(|cgroup| Cgroup { cpu, ..cgroup })
}
