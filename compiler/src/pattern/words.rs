//! The words of a command item.

use std::fmt;
use std::ops::Range;

use super::glob::class_end;
use super::{Glob, GlobPiece, ItemError};
use crate::diagnostic::Code;

/// A word, its quotes gone.
pub(super) struct Word {
    /// The text.
    pub(super) text: String,
    /// Where it stands in the item, quotes included.
    pub(super) range: Range<usize>,
}

/// Splits a command at its blanks; `'…'` groups, a class such as `[']` is kept together.
pub(super) fn split(text: &str) -> Result<Vec<Word>, ItemError> {
    let mut words: Vec<Word> = Vec::new();
    let mut word: Option<Word> = None;
    let mut at = 0;
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        if c.is_whitespace() {
            words.extend(word.take());
            at += c.len_utf8();
            continue;
        }
        let current = word.get_or_insert_with(|| Word { text: String::new(), range: at..at });
        let piece = match c {
            '\'' => {
                let inner = text.get(at + 1..).unwrap_or("");
                let Some(end) = inner.find('\'') else {
                    return Err(ItemError::new(
                        Code::BadCommand,
                        at..at + 1,
                        "`'` has no second one that closes it",
                    )
                    .help("a literal `'` is written `[']`"));
                };
                current.text.push_str(inner.get(..end).unwrap_or(""));
                end + 2
            }
            '"' => {
                return Err(ItemError::new(
                    Code::BadCommand,
                    at..at + 1,
                    "`\"` does not group words in a command",
                )
                .help("group them with `'…'`; a literal `\"` is written `[\"]`"));
            }
            '\\' if text.get(at + 1..).is_some_and(|rest| rest.starts_with(char::is_whitespace)) => {
                return Err(ItemError::new(
                    Code::BadCommand,
                    at..at + 2,
                    "`\\` does not join words in a command",
                )
                .help("group them with `'…'`"));
            }
            '[' => {
                let class = class_end(text, at).and_then(|end| text.get(at..end));
                let class = class.filter(|class| !class.contains(char::is_whitespace)).unwrap_or("[");
                current.text.push_str(class);
                class.len()
            }
            c => {
                current.text.push(c);
                c.len_utf8()
            }
        };
        at += piece;
        current.range.end = at;
    }
    words.extend(word);
    Ok(words)
}

/// Writes a word so that splitting and reading give it back.
pub(super) fn write_word(f: &mut fmt::Formatter<'_>, glob: &Glob) -> fmt::Result {
    if glob.0.is_empty() {
        return f.write_str("''");
    }
    if glob.as_literal() == Some("...") {
        return f.write_str("[.]..");
    }
    for piece in &glob.0 {
        match piece {
            GlobPiece::Literal(text) => write_text(f, text)?,
            piece => {
                let written = Glob(vec![piece.clone()]).to_string();
                let quote = if written.contains(char::is_whitespace) { "'" } else { "" };
                write!(f, "{quote}{written}{quote}")?;
            }
        }
    }
    Ok(())
}

/// Writes literal text, blanks between `'…'`.
pub(super) fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let blank = c.is_whitespace();
        let length = rest.find(|c: char| c.is_whitespace() != blank).unwrap_or(rest.len());
        let (run, after) = rest.split_at(length);
        if blank {
            write!(f, "'{run}'")?;
        } else {
            for c in run.chars() {
                match c {
                    '\'' | '"' => write!(f, "[{c}]")?,
                    c => super::glob::write_literal(f, c.encode_utf8(&mut [0; 4]))?,
                }
            }
        }
        rest = after;
    }
    Ok(())
}
