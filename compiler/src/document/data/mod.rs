//! A policy written as data: YAML or JSON, read into the same syntax tree that a `.fence` text has.
//!
//! Every word keeps its place, so that whatever is found later points to it. As with a text, one mistake costs
//! one statement and does not hide the next. Of YAML only what a reader sees is taken: no tags, anchors, aliases,
//! merge keys or further documents, and no value that another program would take for a number or a truth value.

mod given;
mod node;
mod plain;
mod print;
mod quoting;
mod reader;
mod rule;
mod settings;
mod statements;
mod yaml;

pub(crate) use plain::{Plain, plain};
pub(crate) use print::yaml;
pub(crate) use quoting::quote;
pub(crate) use yaml::comments;
pub use yaml::{MOST_BYTES, MOST_LEVELS};

use fence_grammar::{Parsed, Span, SyntaxError, SyntaxErrorKind};
use reader::Reader;

/// The notation of a policy that is data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// YAML 1.2.
    Yaml,
    /// JSON: no comments, no trailing commas.
    Json,
}

/// Reads a policy that is data: returns everything it says and everything that is wrong with it.
#[must_use]
pub fn parse(text: &str, notation: Notation) -> Parsed {
    let mut reader = Reader::new(text);
    let root = yaml::nodes(text, notation, &mut reader.errors);
    let mut parsed = Parsed::default();
    match root {
        Some(root) => parsed.file = reader.file(&root),
        // What could not be read at all may have made any name known.
        None if !reader.errors.is_empty() => {
            reader.left_out.unlisted = Some(Span::new(0..text.len()));
        }
        None => {}
    }
    reader.errors.sort_by_key(|error| (error.span.start, error.span.end));
    if reader.errors.len() > MOST_ERRORS {
        let place = reader.errors.get(MOST_ERRORS).map_or(Span::new(0..0), |error| error.span);
        let more = reader.errors.len() - MOST_ERRORS;
        reader.errors.truncate(MOST_ERRORS);
        reader.errors.push(error(
            SyntaxErrorKind::TooManyErrors,
            place,
            format!("there are {more} more mistakes"),
        ));
    }
    parsed.errors = reader.errors;
    parsed.left_out = reader.left_out;
    parsed
}

/// So many mistakes are told one by one.
const MOST_ERRORS: usize = 1_000;

/// A mistake, with its place and what is wrong.
fn error(kind: SyntaxErrorKind, span: Span, message: impl Into<String>) -> SyntaxError {
    SyntaxError { kind, span, message: message.into(), label: None, help: None, repair: None }
}

/// A mistake with what to do about it.
fn helped(
    kind: SyntaxErrorKind,
    span: Span,
    message: impl Into<String>,
    help: impl Into<String>,
) -> SyntaxError {
    SyntaxError { help: Some(help.into()), ..error(kind, span, message) }
}

/// A text for a message: in one line, not longer than a reader can use, with what no terminal should see escaped.
fn shown(text: &str) -> String {
    const MOST: usize = 60;
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == MOST {
            out.push('…');
            break;
        }
        if c.is_control() || fence_grammar::forbidden(c, 1).is_some() {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}
