//! What can go wrong before a command runs.

use fence_compiler::policy::RuleId;
use thiserror::Error;

/// Why a command was not run; each is one sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// A step of the launch was refused.
    #[error("{attempt}: {reason}; {repair}")]
    Step {
        /// What was attempted.
        attempt: String,
        /// The error of the system, in words and by name.
        reason: String,
        /// What to do.
        repair: String,
        /// The rules that the step was for.
        rules: Vec<RuleId>,
    },
    /// This machine does not let the namespaces of a sandbox be made, or used.
    #[error("{attempt}: {reason}; {repair}")]
    Namespaces {
        /// What was attempted.
        attempt: String,
        /// The error of the system, in words and by name.
        reason: String,
        /// What to do.
        repair: String,
    },
    /// A standard descriptor cannot be handed to the command.
    #[error("{name} {problem}; {repair}")]
    Descriptor {
        /// `standard input`, `standard output` or `standard error`.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        repair: String,
    },
    /// The program could not be executed.
    #[error("cannot execute `{program}`: {problem}")]
    Exec {
        /// Its path, escaped.
        program: String,
        /// Why.
        problem: ExecProblem,
    },
    /// The plan asks for something that this part of fence does not know.
    #[error("{0}")]
    Plan(String),
    /// The network of the sandbox cannot be served.
    #[error("{0}")]
    Serve(String),
    /// The sandbox's first process ended without a word.
    #[error(
        "the first process of the sandbox was ended by {0}; nothing of the command is left, run it again"
    )]
    Lost(String),
    /// The process that judges what is started inside ended before the command.
    #[error(
        "the process that judges what is started inside was ended by {0}; nothing of the command is left, run it again"
    )]
    Unjudged(String),
}

impl Error {
    /// The exit code that stands for it: 127 if the program was not found, 126 if it cannot be executed, else
    /// 125.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::Exec { problem: ExecProblem::NotFound, .. } => 127,
            Error::Exec { .. } => 126,
            _ => 125,
        }
    }
}

/// Why a program could not be executed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ExecProblem {
    /// There is no such file inside.
    #[error("there is no such file inside; `fence why exec` tells what the policy allows")]
    NotFound,
    /// The file is there, what it needs to run is not.
    #[error(
        "the file is there, but the interpreter or loader that it names is not; allow `read` and `exec` of it"
    )]
    NoInterpreter,
    /// The system refused it.
    #[error(
        "permission denied: it is not executable, or the policy does not allow `exec` of it or its interpreter"
    )]
    Refused,
    /// It is neither a program nor begins with `#!`.
    #[error(
        "it is neither a program for this machine nor a script that begins with `#!`; name its interpreter"
    )]
    NoFormat,
    /// Something else.
    #[error("{0}")]
    Other(String),
}
