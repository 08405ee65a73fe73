//! Patterns of plain names: environment variables, system calls, macOS services, programs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Glob;

/// A pattern of names, `*` anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct NamePattern(pub Glob);
