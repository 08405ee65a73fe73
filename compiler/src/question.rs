//! What can be asked of a policy, and what it answers.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bytes::AbsolutePath;
use crate::pattern::DomainName;
use crate::policy::{NameAction, PathAction, RuleId};

/// A platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Linux.
    Linux,
    /// macOS.
    MacOs,
}

/// A question: may the command do this?
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// An operation on a path, as the program spells it; links are resolved by the world.
    Path {
        /// The operation.
        action: PathAction,
        /// The path.
        path: AbsolutePath,
    },
    /// Starting a command.
    Run(Start),
    /// Connecting.
    Connect(Destination),
    /// An HTTP request.
    Http {
        /// The method.
        method: String,
        /// Where to.
        destination: Destination,
        /// The path, beginning with `/`, without its query.
        path: String,
    },
    /// Offering a port to the host.
    Listen(u16),
    /// A plain name.
    Name {
        /// Of what.
        action: NameAction,
        /// The name.
        name: String,
    },
    /// Asking an `ssh` for something.
    Ssh {
        /// The host.
        destination: Destination,
        /// The remote command's words; empty: a login shell.
        command: Vec<String>,
    },
    /// The controlling terminal.
    Tty,
}

/// A start of a program.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Start {
    /// The file as it was asked for: a path, or a bare name where it is not known which file that is.
    pub asked: String,
    /// The file it resolves to, if that is known.
    pub resolved: Option<AbsolutePath>,
    /// `argv`, its first word included.
    pub argv: Vec<String>,
}

/// What is connected to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Destination {
    /// The name, if it was asked for by name.
    pub name: Option<DomainName>,
    /// The address, if it is known.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

/// An answer with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The answer.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// What was taken for granted (`as if the name had one public address that no rule mentions`).
    pub assumptions: Vec<String>,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The command may.
    Allowed,
    /// The command may not.
    Denied,
}

/// What made a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// All rules that cover the question on the side that decided, in ascending order.
    Rules(Vec<RuleId>),
    /// Nothing allows it.
    NothingAllows,
    /// Closed always, by the language itself; the text says which part of it.
    AlwaysClosed(String),
    /// Open always, by the language itself.
    AlwaysOpen(String),
}
