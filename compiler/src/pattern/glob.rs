//! Patterns of one name.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::{shown, unknown_variable};
use super::variable::{leading_name, lone_dollar};
use super::{ItemError, Scope};
use crate::diagnostic::Code;

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

/// In which case a class takes a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// As it is.
    Exact,
    /// In either: one of its cases is enough.
    Either,
}

impl Case {
    fn in_class(self, c: char, negated: bool, ranges: &[(char, char)]) -> bool {
        let taken = |c: char| ranges.iter().any(|(from, to)| *from <= c && c <= *to) != negated;
        taken(c) || (self == Case::Either && (c.to_lowercase().any(taken) || c.to_uppercase().any(taken)))
    }
}

impl Glob {
    /// Makes the pattern of exactly this text.
    #[must_use]
    pub fn literal(text: &str) -> Glob {
        let mut glob = Glob(Vec::new());
        glob.push_text(text);
        glob
    }

    /// The text, where the pattern matches no other.
    #[must_use]
    pub fn as_literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [GlobPiece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether the whole name matches. A byte that is not UTF-8 counts as one character, and is in no class.
    #[must_use]
    pub fn matches(&self, name: &[u8]) -> bool {
        self.matches_in(name, Case::Exact)
    }

    /// The same, a class taking a character in the given case.
    pub(crate) fn matches_in(&self, name: &[u8], case: Case) -> bool {
        match self.0.as_slice() {
            [GlobPiece::Literal(text)] => name == text.as_bytes(),
            [GlobPiece::Star] => true,
            [GlobPiece::Literal(text), GlobPiece::Star] => name.starts_with(text.as_bytes()),
            [GlobPiece::Star, GlobPiece::Literal(text)] => name.ends_with(text.as_bytes()),
            pieces => matches_pieces(pieces, name, case),
        }
    }

    /// Reads one name of a path pattern: `*`, `?`, classes, `$$`; the rest is literal.
    pub(super) fn parse(text: &str) -> Result<Glob, ItemError> {
        Glob::read(text, None)
    }

    /// The same for a name or a word that stands in no path: `$name` is the text of a `let`, literally.
    pub(super) fn parse_word(text: &str, scope: &dyn Scope) -> Result<Glob, ItemError> {
        Glob::read(text, Some(scope))
    }

    fn read(text: &str, scope: Option<&dyn Scope>) -> Result<Glob, ItemError> {
        let mut glob = Glob(Vec::new());
        let mut at = 0;
        while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
            let after = text.get(at + c.len_utf8()..).unwrap_or("");
            match c {
                '*' => {
                    if glob.0.last() != Some(&GlobPiece::Star) {
                        glob.0.push(GlobPiece::Star);
                    }
                }
                '?' => glob.0.push(GlobPiece::One),
                '[' => {
                    let end = class_end(text, at).ok_or_else(|| {
                        ItemError::new(Code::BadPathPattern, at..at + 1, "`[` has no `]` that closes it")
                            .help("a literal `[` is written `[[]`")
                    })?;
                    glob.push_class(parse_class(text, at, end)?);
                    at = end;
                    continue;
                }
                '\\' if after.starts_with(['*', '?', '[', '{']) => {
                    let special = after.chars().next().unwrap_or('*');
                    return Err(ItemError::new(
                        Code::BadPathPattern,
                        at..at + 2,
                        format!("`\\` does not take the meaning of `{special}` away"),
                    )
                    .help(format!(
                        "a literal `{special}` is written `[{special}]`, a literal `\\` before it `[\\]`"
                    )));
                }
                '$' if after.starts_with('$') => {
                    glob.push_text("$");
                    at += 2;
                    continue;
                }
                '$' => {
                    let name = leading_name(after);
                    let Some(scope) = scope.filter(|_| !name.is_empty()) else {
                        return Err(lone_dollar(at, after));
                    };
                    glob.push_text(&text_value(name, at, scope)?);
                    at += 1 + name.len();
                    continue;
                }
                '\0' => {
                    return Err(ItemError::new(
                        Code::BadPathPattern,
                        at..at + 1,
                        "a name cannot hold a NUL character",
                    ));
                }
                c => glob.push_text(c.encode_utf8(&mut [0; 4])),
            }
            at += c.len_utf8();
        }
        Ok(glob)
    }

    /// Adds literal text at the end.
    pub(super) fn push_text(&mut self, text: &str) {
        match self.0.last_mut() {
            _ if text.is_empty() => {}
            Some(GlobPiece::Literal(last)) => last.push_str(text),
            _ => self.0.push(GlobPiece::Literal(text.to_owned())),
        }
    }

    fn push_class(&mut self, class: GlobPiece) {
        match &class {
            GlobPiece::Class { negated: false, ranges } => match ranges.as_slice() {
                [(from, to)] if from == to => self.push_text(from.encode_utf8(&mut [0; 4])),
                _ => self.0.push(class),
            },
            _ => self.0.push(class),
        }
    }
}

/// The text of a `let`, where no path can stand.
pub(super) fn text_value(name: &str, at: usize, scope: &dyn Scope) -> Result<String, ItemError> {
    let range = at..at + 1 + name.len();
    let value = scope.lookup(name).ok_or_else(|| unknown_variable(name, range.clone(), scope))?;
    value
        .plain()
        .filter(|text| !text.is_empty() && !text.contains(['\n', '\r', '\0']))
        .map(str::to_owned)
        .ok_or_else(|| {
            ItemError::new(
                Code::VariableValue,
                range,
                format!("the value of `${name}` is not plain text here"),
            )
            .help("here stands only a `let` whose value holds no other variable")
        })
}

/// Tries the pieces in turn; after a `*`, from each character on.
fn matches_pieces(pieces: &[GlobPiece], name: &[u8], case: Case) -> bool {
    let (mut piece, mut at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match pieces.get(piece) {
            None if at == name.len() => return true,
            None => None,
            Some(GlobPiece::Star) => {
                star = Some((piece + 1, at));
                piece += 1;
                continue;
            }
            Some(GlobPiece::Literal(text)) => {
                name.get(at..).filter(|rest| rest.starts_with(text.as_bytes())).map(|_| text.len())
            }
            Some(GlobPiece::One) => first_character(name, at).map(|(_, length)| length),
            Some(GlobPiece::Class { negated, ranges }) => first_character(name, at)
                .filter(|(c, _)| c.map_or(*negated, |c| case.in_class(c, *negated, ranges)))
                .map(|(_, length)| length),
        };
        match (step, star) {
            (Some(length), _) => {
                at += length;
                piece += 1;
            }
            (None, Some((after, from))) => {
                let Some((_, length)) = first_character(name, from) else { return false };
                star = Some((after, from + length));
                piece = after;
                at = from + length;
            }
            (None, None) => return false,
        }
    }
}

/// The character that begins at a byte, and how many bytes it has; `None` inside for a byte that is not UTF-8.
fn first_character(name: &[u8], at: usize) -> Option<(Option<char>, usize)> {
    let rest = name.get(at..).filter(|rest| !rest.is_empty())?;
    let window = rest.get(..rest.len().min(4)).unwrap_or(rest);
    let valid = window.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    Some(valid.chars().next().map_or((None, 1), |c| (Some(c), c.len_utf8())))
}

/// The byte behind the class that begins at `open`; `None` where none is closed before the name's end.
pub(super) fn class_end(text: &str, open: usize) -> Option<usize> {
    let mut at = open + 1;
    let rest = |at: usize| text.get(at..).unwrap_or("");
    if rest(at).starts_with(['!', '^']) {
        at += 1;
    }
    if rest(at).starts_with(']') {
        at += 1;
    }
    let found = rest(at).find([']', '/'])?;
    rest(at + found).starts_with(']').then_some(at + found + 1)
}

fn parse_class(text: &str, open: usize, end: usize) -> Result<GlobPiece, ItemError> {
    let inner = text.get(open + 1..end - 1).unwrap_or("");
    let (negated, inner) = match inner.strip_prefix(['!', '^']) {
        None => (false, inner),
        Some(rest) => (true, rest),
    };
    let error = |message: String| ItemError::new(Code::BadPathPattern, open..end, message);
    if ["[:", "[.", "[="].iter().any(|named| inner.starts_with(named)) {
        return Err(error("named classes such as `[:alpha:]` have no meaning here".into())
            .help("write the ranges: `[a-zA-Z]`"));
    }
    let mut ranges: Vec<(char, char)> = Vec::new();
    let mut characters = inner.chars().peekable();
    while let Some(from) = characters.next() {
        let mut range = (from, from);
        if characters.peek() == Some(&'-') {
            let mut ahead = characters.clone();
            ahead.next();
            if let Some(to) = ahead.next() {
                range = (from, to);
                characters = ahead;
            }
        }
        if range.0 > range.1 {
            return Err(error(format!("the range `{}-{}` is empty", range.0, range.1))
                .help(format!("write `{}-{}`", range.1, range.0)));
        }
        ranges.push(range);
    }
    let ranges = canonical(ranges);
    if ranges.is_empty() {
        return Err(error(format!("the class `{}` holds nothing", shown(text.get(open..end).unwrap_or("")))));
    }
    Ok(GlobPiece::Class { negated, ranges })
}

/// Sorts and merges ranges; what would be read differently in another place of a class stands alone.
fn canonical(mut ranges: Vec<(char, char)>) -> Vec<(char, char)> {
    ranges.sort_unstable();
    let mut merged: Vec<(char, char)> = Vec::new();
    for (from, to) in ranges {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    let mut split = Vec::new();
    for (mut from, to) in merged {
        while from < to && ['!', '^', '-', ']'].contains(&from) {
            split.push((from, from));
            from = char::from_u32(u32::from(from) + 1).unwrap_or(to);
        }
        split.push((from, to));
    }
    split
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                GlobPiece::Literal(text) => write_literal(f, text)?,
                GlobPiece::Star => f.write_str("*")?,
                GlobPiece::One => f.write_str("?")?,
                GlobPiece::Class { negated, ranges } => write_class(f, *negated, ranges)?,
            }
        }
        Ok(())
    }
}

/// Writes text so that nothing in it has a meaning.
pub(super) fn write_literal(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        match c {
            '*' | '?' | '[' | '{' | '\\' => write!(f, "[{c}]")?,
            '$' => f.write_str("$$")?,
            c => write!(f, "{c}")?,
        }
    }
    Ok(())
}

/// Writes a class so that reading gives it back: `]` first, `!` and `^` not first, `-` last, or first where nothing else
/// keeps `!` and `^` from being first.
fn write_class(f: &mut fmt::Formatter<'_>, negated: bool, ranges: &[(char, char)]) -> fmt::Result {
    let guarded = negated || ranges.iter().any(|(from, _)| !['!', '^', '-'].contains(from));
    let place = |c: char| match c {
        ']' => 0,
        '!' | '^' => 2,
        '-' if guarded => 3,
        '-' => 0,
        _ => 1,
    };
    let mut sorted = ranges.to_vec();
    sorted.sort_by_key(|(from, _)| place(*from));
    f.write_str(if negated { "[!" } else { "[" })?;
    for (from, to) in sorted {
        if from == to { write!(f, "{from}")? } else { write!(f, "{from}-{to}")? }
    }
    f.write_str("]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names() {
        for (pattern, yes, no) in [
            ("*", &["", "a", ".a"][..], &[][..]),
            ("*.pem", &[".pem", "a.pem", "a.pem.pem"], &["pem", "a.pem.x"]),
            ("a?c", &["abc", "aäc", "a日c"], &["ac", "abbc"]),
            ("[a-c]x", &["ax", "cx"], &["dx", "x", "-x"]),
            ("[!a-c]x", &["dx", "äx"], &["ax", "x"]),
            ("[]-]", &["]", "-"], &["a"]),
            ("*a*b", &["ab", "xaxxb", "aab"], &["ba", "a"]),
            ("[*][?][[][{]$$[\\]", &["*?[{$\\"], &["a"]),
            ("[!!-.^]", &["a"], &["!", "+", "^"]),
            ("[-^]", &["-", "^"], &["a", "!"]),
            ("[-!^]", &["-", "^", "!"], &["a"]),
            ("[!-^]", &["a", "!"], &["-", "^"]),
            ("[]!-+--_^]", &["]", "!", "*", "-", "^"], &["a", "`"]),
        ] {
            let glob = Glob::parse(pattern).unwrap();
            for name in yes {
                assert!(glob.matches(name.as_bytes()), "{pattern} {name}");
            }
            for name in no {
                assert!(!glob.matches(name.as_bytes()), "{pattern} {name}");
            }
            assert_eq!(Glob::parse(&glob.to_string()).unwrap(), glob, "{pattern}");
        }
        assert!(Glob::parse("a?b").unwrap().matches(b"a\xffb"));
        assert!(!Glob::parse("a[a-z]b").unwrap().matches(b"a\xffb"));
        assert!(Glob::parse("a[!a-z]b").unwrap().matches(b"a\xffb"));
    }

    #[test]
    fn a_glob_of_many_stars_ends_soon() {
        let glob = Glob::parse(&"a*".repeat(200)).unwrap();
        assert!(glob.matches("ab".repeat(2_000).as_bytes()));
        assert!(!Glob::parse("a*a*a*a*a*a*a*a*b").unwrap().matches("a".repeat(4_000).as_bytes()));
    }

    #[test]
    fn what_is_no_glob_is_told() {
        for text in ["[", "[a", "[]", "[!]", "a\\*", "[[:alpha:]]", "[z-a]", "$x", "a\0"] {
            assert!(Glob::parse(text).is_err(), "{text}");
        }
    }
}
