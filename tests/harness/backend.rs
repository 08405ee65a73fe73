//! The backends that `fence run --backend` knows beside its own, and what cases come to with them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::Deserialize;

/// A backend that is chosen by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// bubblewrap.
    Bwrap,
    /// Landlock and seccomp alone.
    Landlock,
}

impl Backend {
    /// Both.
    pub const ALL: [Backend; 2] = [Backend::Bwrap, Backend::Landlock];

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Bwrap => "bwrap",
            Backend::Landlock => "landlock",
        }
    }

    /// What it needs on the host.
    pub fn program(self) -> Option<&'static str> {
        match self {
            Backend::Bwrap => Some("bwrap"),
            Backend::Landlock => None,
        }
    }

    /// Puts a program beside the one under test that is the same, but for `run`, which takes this backend.
    pub(super) fn lay(self, bin: &Path) {
        let fence = bin.join("fence").display().to_string();
        let text = format!(
            "#!/bin/sh\n[ \"$1\" = run ] || exec {fence} \"$@\"\nshift\nexec {fence} run --backend {} \"$@\"\n",
            self.name()
        );
        let program = bin.join(self.file());
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The name of that program.
    pub(super) fn file(self) -> String {
        format!("fence-by-{}", self.name())
    }
}

/// Cases that come to something else with a backend than with fence's own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Difference {
    /// With which.
    pub backends: Vec<Backend>,
    /// What they come to.
    pub then: Then,
    /// For whom; for everybody if nobody is said.
    #[serde(default = "super::case::everybody", rename = "as")]
    pub persons: Vec<String>,
    /// Only on a host whose version of Landlock is below this; on every host if none is said.
    #[serde(default)]
    pub before_landlock: Option<u32>,
    /// The mechanism that is missing there, as a sentence.
    pub because: String,
    /// Their names, with those of their groups: `group::name`.
    pub cases: Vec<String>,
}

impl Difference {
    /// Whether it is one on this host.
    pub fn is_here(&self) -> bool {
        // SAFETY: with this flag no memory is passed, and a number is all that comes back.
        let version = || unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, 1) };
        self.before_landlock.is_none_or(|before| version() < before.into())
    }
}

/// What a case comes to with a backend that is not fence's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// Fence refuses to start it, and says why.
    DoesNotStart,
    /// It runs, and does not come to what it must.
    Differs,
}
