//! Starting a command in a sandbox: what every platform shares.

mod arbiter;
#[cfg(target_os = "linux")]
mod attendant;
mod error;
mod owner;
mod timing;

use std::ffi::CString;

use fence_compiler::policy::LimitKind;

pub use arbiter::{Arbiter, Asked, Links, Refused, Role, Seen, Step, Ways};
#[cfg(target_os = "linux")]
pub use attendant::{Attendant, Explicit, Making, Sockets};
pub use error::{Error, ExecProblem};
pub use owner::{ForeignOwner, Reach, unreachable_owner};
pub use timing::{Phase, Timing};

const SIGKILL: i32 = 9;

/// Applies a plan of one kind and starts a command in what it makes.
pub trait Launcher {
    /// What is applied.
    type Plan;

    /// Makes the sandbox, starts the command in it, and waits until it has ended.
    ///
    /// # Errors
    ///
    /// Whatever the plan asks for and the machine refuses; nothing is left out quietly.
    fn run(&self, plan: &Self::Plan, command: &Command, options: &Options) -> Result<Outcome, Error>;
}

/// What is started inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program's file: an absolute path inside.
    pub program: CString,
    /// The arguments, the program's name first.
    pub argv: Vec<CString>,
    /// The whole environment, as `NAME=VALUE`.
    pub environment: Vec<CString>,
}

/// How a command is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether the launch is measured.
    pub timings: Timings,
    /// What fence itself does with the standard input and output once the command has them.
    pub standard: Standard,
    /// What is told of the calls that the kernel answers by itself.
    pub observed: Observed,
}

/// Which calls somebody looks at that the kernel answers by itself. Looking decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Observed {
    /// None.
    Nothing,
    /// Those that start programs, write files, or connect to sockets that are files.
    Changes,
    /// Those that read files, too.
    Everything,
}

/// Whether the phases of a launch are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timings {
    /// Not at all: it costs nothing.
    Off,
    /// Each phase.
    On,
}

/// What the starting process does with its own standard input and output once the command has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    /// It keeps them: for a caller that goes on to use them.
    Kept,
    /// It lets go of both, so that a reader sees the end as soon as the command closes its output.
    Released,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
    /// The time limit ended it.
    TimedOut,
    /// A limit of what all processes together may use ended it.
    UsedUp(Resource),
}

/// What all processes of a sandbox use together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Memory.
    Memory,
    /// Processor time.
    Cpu,
}

impl Resource {
    /// What limits it.
    pub(crate) fn limit(self) -> LimitKind {
        match self {
            Resource::Memory => LimitKind::Memory,
            Resource::Cpu => LimitKind::Cpu,
        }
    }
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// How long each phase took, if that was asked for.
    pub timings: Vec<Timing>,
    /// How many processes the limit of all together has refused, if a cgroup has counted them.
    pub refused: u64,
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Ended {
        Ended { outcome, timings: Vec::new(), refused: 0 }
    }
}

impl Outcome {
    /// The exit code that stands for it: 128 and the number for a signal, 124 for a limit of time. For one of memory it is
    /// that of SIGKILL, by which the kernel ends what has used it up.
    #[must_use]
    pub fn exit_code(self) -> i32 {
        match self {
            Outcome::Exited(code) => code,
            Outcome::Signalled(signal) => 128 + signal,
            Outcome::TimedOut | Outcome::UsedUp(Resource::Cpu) => 124,
            Outcome::UsedUp(Resource::Memory) => 128 + SIGKILL,
        }
    }
}
