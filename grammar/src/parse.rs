//! From a text to its tree and its errors.

use std::collections::BTreeSet;

use pest::Parser as _;

use crate::Span;
use crate::characters::clean;
use crate::error::{SyntaxError, SyntaxErrorKind};
use crate::lower;
use crate::syntax::{FenceParser, Rule};
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
    /// The first of them that may have made more names known than can be listed here: an `include`, or a block
    /// that nothing could be made of. Where there is one, no name of this file can be called unknown.
    pub unlisted: Option<Span>,
}

/// Parses a text: returns everything it says and everything that is wrong with it.
///
/// It takes time linear in the text, and no stack that grows with it. At most 1,000 errors are told one by one.
#[must_use]
pub fn parse(text: &str) -> Parsed {
    let cleaned = clean(text);
    match FenceParser::parse(Rule::file, &cleaned.text) {
        Ok(pairs) => lower::file(text, &cleaned, pairs),
        // INVARIANT: `file` matches every text (a property test tries to disprove it); if it did not, the policy
        // has an error all the same.
        Err(_) => Parsed {
            errors: vec![SyntaxError::new(
                SyntaxErrorKind::UnknownStatement,
                Span::new(0..text.len()),
                "this text cannot be read as a policy",
            )],
            ..Parsed::default()
        },
    }
}
