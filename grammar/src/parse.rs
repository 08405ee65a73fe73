//! From a text to its tree and its errors.

use std::collections::BTreeSet;

use crate::SyntaxError;
use crate::tree::File;

/// What a text says, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// Every statement that has no error.
    pub file: File,
    /// The errors, in the order of the text.
    pub errors: Vec<SyntaxError>,
    /// What the statements that were left out would have made known.
    pub left_out: LeftOut,
}

/// The names in statements that were left out, so that a use of one is not told as a second error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// The labels that such statements carry.
    pub labels: BTreeSet<String>,
    /// The variables that such statements define.
    pub variables: BTreeSet<String>,
    /// Whether one of them may have been an `include`, which makes names known that cannot be listed here.
    pub include: Option<crate::Span>,
}

/// Parses a text: returns everything it says and everything that is wrong with it.
#[must_use]
pub fn parse(text: &str) -> Parsed {
    let _ = text;
    Parsed::default()
}
