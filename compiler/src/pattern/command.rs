//! Patterns of commands.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Glob, NamePattern, PathPattern};

/// A pattern of commands. As a closing pattern it is the beginning of a command, as an opening one the whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct CommandPattern {
    /// The program.
    pub program: ProgramPattern,
    /// The words after it, without a last `...`.
    pub words: Vec<WordPattern>,
    /// Whether a last word `...` stands for any further words.
    pub open_ended: bool,
}

/// The program of a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProgramPattern {
    /// `*` as the whole item: any program with any words.
    AnyCommand,
    /// A name, globs too.
    Name(NamePattern),
    /// A path.
    Path(PathPattern),
}

/// A word of a command pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WordPattern {
    /// A word in its place.
    Positional(Glob),
    /// A word that begins with `-` or ends in `=`: it matches anywhere after the program.
    Anywhere(Glob),
}
