//! Strings: their escapes, read and written.

use std::fmt::Write as _;
use std::ops::Range;

/// Writes a text as a string of the language, in quotes: reading it gives the same text.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if crate::characters::is_forbidden(c) || c == '\r' => {
                // INVARIANT: writing into a String does not fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// An escape that is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadEscape {
    /// Where it stands in the string's inside.
    pub range: Range<usize>,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with an escape.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The character behind the backslash begins no escape.
    Unknown,
    /// `\u` without `{`, 1 to 6 hexadecimal digits and `}`.
    Shape,
    /// A number that is no character.
    NoCharacter,
}

/// Reads the escapes of a string's inside.
pub(crate) fn unescape(inside: &str) -> (String, Vec<BadEscape>) {
    let mut text = String::with_capacity(inside.len());
    let mut bad = Vec::new();
    let mut rest = inside;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        text.push_str(before);
        let start = inside.len() - escape.len();
        let (length, read) = escape_at(escape);
        match read {
            Ok(c) => text.push(c),
            Err(fault) => bad.push(BadEscape { range: start..start + length, fault }),
        }
        rest = escape.get(length..).unwrap_or_default();
    }
    text.push_str(rest);
    (text, bad)
}

/// Reads one escape at the beginning of a text that begins with a backslash: its length, and what it stands for.
fn escape_at(text: &str) -> (usize, Result<char, Fault>) {
    let mut characters = text.chars().skip(1);
    match characters.next() {
        Some('"') => (2, Ok('"')),
        Some('\\') => (2, Ok('\\')),
        Some('n') => (2, Ok('\n')),
        Some('t') => (2, Ok('\t')),
        Some('u') => code_point(text),
        Some(other) => (1 + other.len_utf8(), Err(Fault::Unknown)),
        None => (1, Err(Fault::Unknown)),
    }
}

/// Reads `\u{…}`.
fn code_point(text: &str) -> (usize, Result<char, Fault>) {
    let Some(digits) = text.strip_prefix("\\u{") else { return (2, Err(Fault::Shape)) };
    let length = digits.bytes().take_while(u8::is_ascii_hexdigit).count();
    if digits.as_bytes().get(length) != Some(&b'}') {
        return (3 + length, Err(Fault::Shape));
    }
    let whole = 3 + length + 1;
    if !(1..=6).contains(&length) {
        return (whole, Err(Fault::Shape));
    }
    let number = digits.get(..length).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    (whole, number.and_then(char::from_u32).ok_or(Fault::NoCharacter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read() {
        assert_eq!(unescape(r#"a\"b\\c\n\t\u{41}\u{01F600}"#).0, "a\"b\\c\n\tA\u{1f600}");
    }

    #[test]
    fn bad_escapes_are_told_with_their_place() {
        let table = [
            (r"a\q", 1..3, Fault::Unknown),
            (r"a\é", 1..4, Fault::Unknown),
            (r"\u41", 0..2, Fault::Shape),
            (r"\u{}", 0..4, Fault::Shape),
            (r"\u{41", 0..5, Fault::Shape),
            (r"\u{1234567}", 0..11, Fault::Shape),
            (r"\u{xyz}", 0..3, Fault::Shape),
            (r"\u{d800}", 0..8, Fault::NoCharacter),
            (r"\u{110000}", 0..10, Fault::NoCharacter),
        ];
        for (inside, range, fault) in table {
            assert_eq!(unescape(inside).1, vec![BadEscape { range, fault }], "{inside}");
        }
    }
}
