//! The cases in `tests/data`, and how they are shown.
#![allow(dead_code)]

use std::fmt::Write as _;

use fence_grammar::{Parsed, Span, SyntaxError};

/// One mistake.
#[derive(Clone, Debug)]
pub struct Mistake {
    /// What is wrong.
    pub name: String,
    /// A text in which nothing else is wrong.
    pub text: String,
}

/// The files of mistakes, by subject.
pub const MISTAKES: &[(&str, &str)] = &[
    ("text", include_str!("../data/mistakes/text.txt")),
    ("rules", include_str!("../data/mistakes/rules.txt")),
    ("clauses", include_str!("../data/mistakes/clauses.txt")),
    ("statements", include_str!("../data/mistakes/statements.txt")),
    ("blocks", include_str!("../data/mistakes/blocks.txt")),
];

/// The valid policies.
pub const VALID: &[(&str, &str)] = &[
    ("agent", include_str!("../data/valid/agent.fence")),
    ("statements", include_str!("../data/valid/statements.fence")),
    ("rules", include_str!("../data/valid/rules.fence")),
    ("blocks", include_str!("../data/valid/blocks.fence")),
    ("empty", include_str!("../data/valid/empty.fence")),
    ("comment", include_str!("../data/valid/comment.fence")),
    ("crlf", include_str!("../data/valid/crlf.fence")),
];

/// The mistakes of one file: each begins with `=== NAME`; `<U+200B>` stands for that character.
pub fn mistakes(file: &str) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for case in file.split("=== ").skip(1) {
        let (name, text) = case.split_once('\n').unwrap();
        let mut parts = text.split("<U+");
        let mut text = parts.next().unwrap().to_owned();
        for part in parts {
            let (code, rest) = part.split_once('>').unwrap();
            text.push(char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap());
            text.push_str(rest);
        }
        mistakes.push(Mistake { name: name.to_owned(), text });
    }
    mistakes
}

/// The mistakes of every file.
pub fn all_mistakes() -> Vec<Mistake> {
    MISTAKES.iter().flat_map(|(_, file)| mistakes(file)).collect()
}

/// A text with its errors below their lines.
pub fn show(text: &str, parsed: &Parsed) -> String {
    let mut out = String::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        writeln!(out, "{}", visible(line.trim_end_matches('\n'))).unwrap();
        for error in &parsed.errors {
            let at = error.span.start as usize;
            if at >= start && (at < end || (end == text.len() && at == end)) {
                show_error(&mut out, text, start, error);
            }
        }
        start = end;
    }
    out
}

fn show_error(out: &mut String, text: &str, line: usize, error: &SyntaxError) {
    let range = error.span.range();
    let before = visible(text[line..range.start].trim_end_matches('\n')).chars().count();
    let inside = visible(&text[range.clone()]).chars().count();
    let mark = if inside == 0 { "^".to_owned() } else { "~".repeat(inside) };
    writeln!(out, "{}{mark} {:?} {}..{}", " ".repeat(before), error.kind, range.start, range.end).unwrap();
    writeln!(out, "    {}", error.message).unwrap();
    if let Some(label) = &error.label {
        writeln!(out, "    label: {label}").unwrap();
    }
    if let Some(help) = &error.help {
        writeln!(out, "    help: {help}").unwrap();
    }
    if let Some((place, replacement)) = &error.repair {
        let repaired = repair(text, *place, replacement);
        let old = visible(&text[place.range()]);
        writeln!(out, "    repair {}..{}: `{old}` -> `{}`", place.start, place.end, visible(replacement))
            .unwrap();
        writeln!(out, "    gives: {}", visible(repaired.trim_end())).unwrap();
    }
}

/// A text with a repair applied.
pub fn repair(text: &str, place: Span, replacement: &str) -> String {
    let range = place.range();
    format!("{}{replacement}{}", &text[..range.start], &text[range.end..])
}

/// A text with what cannot be seen escaped.
pub fn visible(text: &str) -> String {
    text.chars()
        .map(|c| if (' '..='~').contains(&c) { c.to_string() } else { c.escape_default().to_string() })
        .collect()
}
