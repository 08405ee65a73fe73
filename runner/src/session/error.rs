//! What can go wrong with a sandbox that stays.

use crate::launch;
use crate::preflight::Refusal;

/// Why a sandbox was not made, or a command not started in it; each is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The policy has an error, or this machine cannot hold it as it is written.
    #[error("{0}")]
    Policy(String),
    /// The sandbox cannot be made, a standard descriptor cannot be handed on, or the program cannot be executed.
    #[error(transparent)]
    Launch(#[from] launch::Error),
    /// The policy refuses the command.
    #[error("{text}")]
    Refused {
        /// Which, by which rules, and what would allow it.
        text: String,
        /// The same as data.
        refusal: Box<Refusal>,
    },
    /// There is no such program.
    #[error("{0}")]
    NotFound(String),
    /// There is such a file, and it is no program.
    #[error("{0}")]
    NotExecutable(String),
    /// What is asked for makes no sense.
    #[error("{0}")]
    Asked(String),
    /// The sandbox has ended, and with it everything in it.
    #[error("the session has ended, and every command in it; start another")]
    Ended,
    /// The system refuses something.
    #[error("cannot {doing}: {error}")]
    System {
        /// What was attempted.
        doing: &'static str,
        /// What the system says.
        #[source]
        error: std::io::Error,
    },
}

impl Error {
    /// The exit code that stands for it, as `fence run` has it: 126 where the policy refused or the program cannot be
    /// executed, 127 where it was not found, else 125.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Error::Launch(error) => error.exit_code(),
            Error::Refused { .. } | Error::NotExecutable(_) => 126,
            Error::NotFound(_) => 127,
            Error::Policy(_) | Error::Asked(_) | Error::Ended | Error::System { .. } => 125,
        }
    }
}

/// Says what was attempted when the system refused it.
pub(crate) fn cannot<E: Into<std::io::Error>>(doing: &'static str) -> impl Fn(E) -> Error {
    move |error| Error::System { doing, error: error.into() }
}
