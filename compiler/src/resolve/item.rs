//! Items and values on their way from text to patterns, and the place of what is wrong in one.

use std::ops::Range;

use fence_grammar::Span;

use super::findings::place;
use super::graph::{Graph, Unit};
use crate::diagnostic::Diagnostic;
use crate::document::Spanned;
use crate::pattern::ItemError;

/// The finding for an item that is no pattern of its kind.
pub(super) fn finding(graph: &Graph, unit: &Unit, item: &Spanned<String>, error: ItemError) -> Diagnostic {
    let raw = graph.sources.get(unit.source).and_then(|source| source.text.get(item.span.range()));
    let span = within(raw, item, error.range);
    let mut found = Diagnostic::new(error.code, error.message).at(place(unit.source, span));
    found.help = error.help;
    if let (Some(replacement), Some(raw)) = (error.replacement, raw) {
        let text = if raw.starts_with('"') { quoted(&replacement) } else { word(&replacement) };
        found = found.repair(place(unit.source, item.span), text);
    }
    found
}

/// The place of some bytes of an item's text; the whole item where they cannot be told.
fn within(raw: Option<&str>, item: &Spanned<String>, range: Range<usize>) -> Span {
    let Some(raw) = raw else { return item.span };
    let offsets = if raw.starts_with('"') { string_offsets(raw) } else { None };
    let at = |byte: usize| match &offsets {
        Some(offsets) => offsets.get(byte).copied(),
        None if raw == item.node && byte <= raw.len() => Some(byte),
        None => None,
    };
    let (Some(start), Some(end)) = (at(range.start), at(range.end.max(range.start))) else {
        return item.span;
    };
    let base = item.span.start as usize;
    if start == end && start > 0 && raw.len() <= start {
        item.span
    } else {
        Span::new(base + start..base + end)
    }
}

/// For each byte of a string's text, and the end, where it stands in what was written, quotes and escapes included.
fn string_offsets(raw: &str) -> Option<Vec<usize>> {
    let mut offsets = Vec::new();
    let mut at = 1;
    while let Some(c) = raw.get(at..).and_then(|rest| rest.chars().next()) {
        let (meant, length) = match c {
            '"' => break,
            '\\' => {
                let rest = raw.get(at + 1..)?;
                match rest.chars().next()? {
                    'u' => {
                        let close = rest.find('}')?;
                        let code = u32::from_str_radix(rest.get(2..close)?, 16).ok()?;
                        (char::from_u32(code)?.len_utf8(), close + 2)
                    }
                    _ => (1, 2),
                }
            }
            c => (c.len_utf8(), c.len_utf8()),
        };
        offsets.extend(std::iter::repeat_n(at, meant));
        at += length;
    }
    offsets.push(at);
    Some(offsets)
}

/// A text as a word where it can be one, else as a string.
fn word(text: &str) -> String {
    const CLAUSES: [&str; 9] =
        ["except", "without", "to", "for", "best-effort", "cheaply", "as", "because", "by"];
    let plain = |c: char| !(c.is_whitespace() || c.is_control() || matches!(c, ',' | '"' | '{' | '}'));
    let bare =
        !text.is_empty() && !text.starts_with('#') && text.chars().all(plain) && !CLAUSES.contains(&text);
    if bare { text.to_owned() } else { quoted(text) }
}

/// A text as a string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(raw: &str, text: &str, range: Range<usize>) -> Range<usize> {
        within(Some(raw), &Spanned::new(text.to_owned(), Span::new(100..100 + raw.len())), range).range()
    }

    #[test]
    fn a_place_in_an_item_is_a_place_in_the_text() {
        assert_eq!(span("a/b", "a/b", 2..3), 102..103);
        assert_eq!(span("\"a/b\"", "a/b", 2..3), 103..104);
        assert_eq!(span(r#""\u{e4}\"b""#, "ä\"b", 3..4), 109..110);
        assert_eq!(span(r#""\\x""#, "\\x", 0..2), 101..104);
        assert_eq!(span("let", "other", 0..2), 100..103);
    }

    #[test]
    fn what_no_word_can_hold_is_quoted() {
        assert_eq!(word("$cwd/.env"), "$cwd/.env");
        assert_eq!(word("a b"), "\"a b\"");
        assert_eq!(word("as"), "\"as\"");
        assert_eq!(quoted("a\"\\\n"), r#""a\"\\\n""#);
    }
}
