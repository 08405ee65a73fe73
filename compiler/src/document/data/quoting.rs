//! Texts in double quotes, as YAML and JSON both read them.

use std::fmt::Write as _;

/// Writes a text in double quotes: YAML and JSON read the same text back.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || fence_grammar::forbidden(c, 1).is_some() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // INVARIANT: writing into a String does not fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
