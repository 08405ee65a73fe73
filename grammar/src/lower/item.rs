//! Words, strings and names.

use pest::iterators::Pair;

use super::parts::{Parts, leaves, span};
use super::{Lowering, shown};
use crate::error::{SyntaxError, SyntaxErrorKind};
use crate::escape::{Fault, quote, unescape};
use crate::name::Name;
use crate::syntax::Rule;
use crate::tree::{Quoting, Text};
use crate::{Span, Spanned, did_you_mean};

/// Whether the strings of a statement have an end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Strings {
    Closed,
    Unclosed,
}

impl Lowering<'_> {
    /// Reads an item.
    pub(super) fn text(&mut self, pair: &Pair<'_, Rule>) -> Option<Text> {
        let place = span(pair);
        let source = self.source(place);
        match pair.as_rule() {
            Rule::string => self.string(source, place),
            _ if source.contains(['"', '{']) => {
                self.quotes_missing(source, place);
                None
            }
            _ => Some(Text { text: source.to_owned(), quoting: Quoting::Bare, span: place }),
        }
    }

    fn string(&mut self, source: &str, place: Span) -> Option<Text> {
        let inside = source.get(1..source.len().saturating_sub(1)).unwrap_or_default();
        let (text, bad) = unescape(inside);
        for escape in &bad {
            let start = place.start as usize + 1;
            let at = Span::new(start + escape.range.start..start + escape.range.end);
            let what = self.shown(at);
            let error = match escape.fault {
                Fault::Unknown => SyntaxError::new(
                    SyntaxErrorKind::BadEscape,
                    at,
                    format!("`{what}` is no escape; a backslash itself is `\\\\`"),
                )
                .repair(Span { start: at.start, end: at.start + 1 }, "\\\\"),
                Fault::Shape => SyntaxError::new(
                    SyntaxErrorKind::BadEscape,
                    at,
                    format!(
                        "`{what}` is no escape; a character by its number is `\\u{{41}}`, with 1 to 6 digits"
                    ),
                ),
                Fault::NoCharacter => SyntaxError::new(
                    SyntaxErrorKind::BadEscape,
                    at,
                    format!("`{what}` stands for no character"),
                ),
            };
            self.errors.push(error.help("the escapes are `\\\"`, `\\\\`, `\\n`, `\\t` and `\\u{…}`"));
        }
        bad.is_empty().then_some(Text { text, quoting: Quoting::Quoted, span: place })
    }

    fn quotes_missing(&mut self, source: &str, place: Span) {
        let what = shown(source);
        let error = if source.contains('"') {
            SyntaxError::new(
                SyntaxErrorKind::MissingQuotes,
                place,
                format!("quotes stand around the whole of an item, not around a part of `{what}`"),
            )
        } else {
            SyntaxError::new(
                SyntaxErrorKind::MissingQuotes,
                place,
                format!("`{what}` has braces and needs quotes around it"),
            )
        };
        let whole = source.replace('"', "");
        let error = if source.contains('\\') || whole.is_empty() {
            error
        } else {
            error.repair(place, quote(&whole))
        };
        self.errors.push(error);
    }

    /// Tells of the strings of a statement that have no end.
    pub(super) fn tell_unclosed(&mut self, pair: &Pair<'_, Rule>) -> Strings {
        let mut strings = Strings::Closed;
        if !self.source(span(pair)).contains('"') {
            return strings;
        }
        for leaf in leaves(pair) {
            strings = if self.tell_unclosed_token(&leaf) == Strings::Unclosed {
                Strings::Unclosed
            } else {
                strings
            };
        }
        strings
    }

    /// Tells of a token that is a string without an end, or ends with one.
    pub(super) fn tell_unclosed_token(&mut self, leaf: &Pair<'_, Rule>) -> Strings {
        let place = span(leaf);
        let quote_at = match leaf.as_rule() {
            Rule::unclosed => 0,
            Rule::surplus => match open_quote(leaf.as_str()) {
                Some(at) => at,
                None => return Strings::Closed,
            },
            _ => return Strings::Closed,
        };
        let start = place.start as usize + quote_at;
        let text = self.source(Span::new(start..place.end as usize)).trim_end();
        let open = Span::new(start..start + text.len());
        let error = SyntaxError::new(
            SyntaxErrorKind::UnclosedString,
            open,
            "this string has no closing quote on its line",
        )
        .label("opened here")
        .help("a string ends on its line: write `\"` behind it, `\\\"` for a quote and `\\n` for a line end in it");
        let ends_elsewhere = [",", "#", " as ", " because ", " except ", " best-effort", " cheaply", " {"];
        let error = if ends_elsewhere.iter().any(|sign| text.contains(sign))
            || text.ends_with('\\')
            || text == "\""
        {
            error
        } else {
            error.repair(super::behind(open), "\"")
        };
        self.errors.push(error);
        Strings::Unclosed
    }

    /// Reads a name.
    pub(super) fn name(&mut self, pair: &Pair<'_, Rule>, what: Name) -> Option<Spanned<String>> {
        let text = self.text(pair)?;
        if what.accepts(&text.text) {
            return Some(Spanned::new(text.text, text.span));
        }
        let (noun, characters) = what.described();
        let error = SyntaxError::new(
            SyntaxErrorKind::InvalidName,
            text.span,
            format!("`{}` is no {noun}; use {characters}, beginning with a letter", shown(&text.text)),
        );
        let error = match what.mended(&text.text) {
            Some(mended) => error.repair(text.span, mended),
            None => error,
        };
        self.errors.push(error);
        None
    }

    /// Reads a word of a closed set.
    pub(super) fn known<T: Copy>(
        &mut self,
        pair: &Pair<'_, Rule>,
        what: &str,
        all: &[T],
        word: impl Fn(T) -> &'static str,
    ) -> Option<Spanned<T>> {
        let text = self.text(pair)?;
        let found = all.iter().copied().find(|&value| word(value) == text.text);
        if let (Some(value), Quoting::Bare) = (found, text.quoting) {
            return Some(Spanned::new(value, text.span));
        }
        let candidates: Vec<&str> = all.iter().map(|&value| word(value)).collect();
        self.unknown_word(SyntaxErrorKind::UnknownWord, &text, what, &candidates);
        None
    }

    /// Tells that a word is none of those that may stand in its place.
    pub(super) fn unknown_word(
        &mut self,
        kind: SyntaxErrorKind,
        text: &Text,
        what: &str,
        candidates: &[&str],
    ) {
        let shown = shown(&text.text);
        let near = match candidates.iter().find(|&&candidate| candidate == text.text) {
            Some(&same) => Some(same),
            None => did_you_mean(&text.text, candidates.iter().copied()),
        };
        self.errors.push(match (near, text.quoting) {
            (Some(near), Quoting::Quoted) if near == text.text => {
                SyntaxError::new(kind, text.span, format!("{what} stands without quotes"))
                    .repair(text.span, near)
            }
            (Some(near), _) => SyntaxError::new(
                kind,
                text.span,
                format!("`{shown}` is no {}; did you mean `{near}`?", bare(what)),
            )
            .repair(text.span, near),
            (None, _) => SyntaxError::new(kind, text.span, format!("`{shown}` is no {}", bare(what)))
                .help(one_of(candidates)),
        });
    }

    /// Takes the next part, which must be an item.
    pub(super) fn required_item<'i>(
        &mut self,
        parts: &mut Parts<'i>,
        kind: SyntaxErrorKind,
        what: &str,
    ) -> Option<Pair<'i, Rule>> {
        let item = parts.item();
        if item.is_none() {
            self.missing(kind, parts.last(), what);
        }
        item
    }
}

/// Where a text has a quote that is never closed.
fn open_quote(text: &str) -> Option<usize> {
    let mut open = None;
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match (c, open) {
            ('"', None) => open = Some(at),
            ('"', Some(_)) => open = None,
            ('\\', Some(_)) => {
                characters.next();
            }
            _ => {}
        }
    }
    open
}

/// `an action` without its article.
fn bare(what: &str) -> &str {
    what.trim_start_matches("an ").trim_start_matches("a ")
}

/// `one of `a`, `b` and `c``.
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [] => "nothing may stand here".to_owned(),
        [only] => format!("write `{only}`"),
        [most @ .., last] => format!("write one of `{}` and `{last}`", most.join("`, `")),
    }
}
