//! What is applied on macOS: a profile of Seatbelt, and what surrounds the command.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bytes::AbsolutePath;
use crate::plan::{EnvironmentPlan, LimitPlan, TerminalPlan};

/// What the runner applies on macOS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeatbeltPlan {
    /// The profile, for `sandbox-exec -f`.
    pub profile: String,
    /// How many bytes of it count: all but remarks and what is there for the eye.
    pub bytes: u32,
    /// The run that it is for, as its lines in the log name it.
    pub run: String,
    /// The run's own `$tmp`, which the runner makes before the command starts and takes away after it has ended.
    pub tmp: AbsolutePath,
    /// Whether the command may reach the proxy.
    pub proxy: ProxyPlan,
    /// The environment of the command, less what only the run knows: `TMPDIR`, and how to reach the proxy.
    pub environment: EnvironmentPlan,
    /// The limits.
    pub limits: Vec<LimitPlan>,
    /// Whether the command keeps the controlling terminal.
    pub terminal: TerminalPlan,
    /// The directory the command starts in.
    pub cwd: AbsolutePath,
    /// The programs of the system that the runner starts.
    pub tools: Tools,
}

/// Whether the command may reach the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyPlan {
    /// Nothing is allowed that a proxy would carry.
    None,
    /// The parameter `PROXY` of the profile is where it listens on loopback: `localhost:PORT`.
    Loopback,
}

/// The parameter of the profile that says where the proxy listens.
pub const PROXY_PARAMETER: &str = "PROXY";

/// Programs of the system, always by their own absolute paths: never looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tools {
    /// What applies a profile and starts a command in it.
    pub sandbox_exec: AbsolutePath,
    /// What reads the system's log.
    pub log: AbsolutePath,
}

impl Tools {
    /// Where macOS has them.
    #[must_use]
    pub fn of_macos() -> Tools {
        let bin = AbsolutePath::root().join(b"usr").join(b"bin");
        Tools { sandbox_exec: bin.join(b"sandbox-exec"), log: bin.join(b"log") }
    }
}
