//! Patterns of paths.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Variable;

/// A pattern of paths: it covers what it matches and everything beneath. Braces are expanded before, so one
/// item of a policy may give several.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct PathPattern {
    /// Where it begins.
    pub root: Root,
    /// What follows, from there down.
    pub components: Vec<Component>,
}

/// Where a path pattern begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Root {
    /// `/`: a path of the machine's own.
    Slash,
    /// `**/`: anywhere.
    Anywhere,
    /// `~`, `$name`: the value of a variable, literally.
    Variable(Variable),
}

/// One component of a path pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    /// Exactly this name.
    Literal(String),
    /// `**`: any number of names, zero too.
    AnyDepth,
    /// A name with `*`, `?` or `[…]` in it.
    Glob(Glob),
}

/// A pattern of one name. Names with a leading dot are like any other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Glob(pub Vec<GlobPiece>);

/// A piece of a [`Glob`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GlobPiece {
    /// Exactly this text.
    Literal(String),
    /// `*`: any number of characters, zero too.
    Star,
    /// `?`: one character.
    One,
    /// `[a-z]`, `[!a-z]`: one character in (or not in) these inclusive ranges.
    Class {
        /// Whether it stands for the characters outside the ranges.
        negated: bool,
        /// The ranges; a single character is a range of one.
        ranges: Vec<(char, char)>,
    },
}
