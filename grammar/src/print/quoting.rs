//! Words and strings: quotes stand only where they are needed.

use crate::Name;
use crate::escape::quote;
use crate::tree::Action;

/// The words that are no items without quotes.
const CLAUSES: [&str; 9] =
    ["except", "without", "to", "best-effort", "cheaply", "as", "because", "by", "for"];

/// An item as a word where it can be one, else as a string.
pub(super) fn word(text: &str) -> String {
    let bare = !text.is_empty()
        && !text.starts_with('#')
        && !CLAUSES.contains(&text)
        && !matches!(text, "=" | "->")
        && !text.chars().any(|c| {
            matches!(c, ' ' | '\t' | '\n' | '\r' | ',' | '"' | '{' | '}')
                || crate::characters::is_forbidden(c)
        });
    if bare { text.to_owned() } else { quote(text) }
}

/// The first item behind actions, which must not look like another of them.
pub(super) fn first_item(text: &str) -> String {
    if Action::from_word(text).is_some() { quote(text) } else { word(text) }
}

/// What an `include` names: a bare name, or a path in quotes.
pub(super) fn target(text: &str) -> String {
    if Name::Policy.accepts(text) { word(text) } else { quote(text) }
}
