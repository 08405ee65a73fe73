//! Variables, which stay symbolic until a policy is lowered or asked in a world.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::source::SourceId;

/// A variable of the language. `let` names are gone by then: resolving puts their values in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Variable {
    /// `$cwd`: the directory the command starts in.
    Cwd,
    /// `$git_root`: the repository that holds it; no value outside one.
    GitRoot,
    /// `$workspace`: `$git_root`, or else `$cwd`.
    Workspace,
    /// `$home`, `~`.
    Home,
    /// `$tmp`: a directory of this run alone.
    Tmp,
    /// `$user`: the person's name.
    User,
    /// `$policy_dir`: the directory of the file that this text stands in.
    PolicyDir(SourceId),
    /// An upper-case name: the caller's environment variable.
    Environment(String),
}

/// A text with variables in it, as in `set env NAME = "$home/x"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Value(pub Vec<ValuePart>);

/// A part of a [`Value`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ValuePart {
    /// Literal text.
    Text(String),
    /// The value of a variable.
    Variable(Variable),
}
