//! Text that somebody else wrote, made safe to show.

/// Escapes what a terminal would obey or what nobody would see: control characters, and the format characters
/// that reorder or hide text.
pub use fence_compiler::diagnostic::render::escaped as visible;

/// The same for JSON: each hidden character that a JSON string holds becomes its `\uXXXX`.
pub(crate) fn visible_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii_graphic() || c == ' ' || !is_hidden(c) {
            shown.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                shown.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    shown
}

/// Whether a terminal would obey it, or a reader not see it.
pub(super) fn is_hidden(c: char) -> bool {
    let mut buffer = [0; 4];
    let text: &str = c.encode_utf8(&mut buffer);
    visible(text) != text
}
