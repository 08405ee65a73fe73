//! Why the text of an item is not a pattern of its kind.

use std::ops::Range;

use super::Scope;
use crate::diagnostic::Code;

/// Why the text of an item is not a pattern of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemError {
    /// The kind of finding.
    pub code: Code,
    /// The bytes of the item's text it is about.
    pub range: Range<usize>,
    /// What is wrong, as in [`crate::diagnostic::Diagnostic::message`].
    pub message: String,
    /// How to mend it.
    pub help: Vec<String>,
    /// What to write instead of the whole item, where there is just one thing.
    pub replacement: Option<String>,
}

impl ItemError {
    /// Makes an error about a part of the item.
    pub(crate) fn new(code: Code, range: Range<usize>, message: impl Into<String>) -> ItemError {
        ItemError { code, range, message: message.into(), help: Vec::new(), replacement: None }
    }

    /// Adds a way to mend it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> ItemError {
        self.help.push(help.into());
        self
    }

    /// Says what to write instead of the whole item, in help too.
    pub(crate) fn instead(mut self, text: impl Into<String>) -> ItemError {
        let text = text.into();
        self.help.push(format!("write `{}`", shown(&text)));
        self.replacement = Some(text);
        self
    }

    /// Moves the marked bytes, for an item that is a part of a larger one.
    pub(crate) fn moved(mut self, by: usize) -> ItemError {
        self.range = self.range.start + by..self.range.end + by;
        self
    }

    /// Takes the replacement away, for an item that is a part of a larger one.
    pub(crate) fn without_replacement(mut self) -> ItemError {
        self.replacement = None;
        self
    }

    /// Marks the whole item, where its own positions are lost.
    pub(crate) fn about_all(mut self, text: &str) -> ItemError {
        self.range = 0..text.len();
        self.replacement = None;
        self
    }
}

/// Escapes what cannot be shown in one line of a message.
pub(crate) fn shown(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Makes the error for a variable that nobody knows.
pub(crate) fn unknown_variable(name: &str, range: Range<usize>, scope: &dyn Scope) -> ItemError {
    let mut error =
        ItemError::new(Code::UnknownVariable, range, format!("there is no variable `${}`", shown(name)));
    let names = scope.names();
    let near = names
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&known.to_lowercase(), &name.to_lowercase()), known))
        .filter(|(distance, known)| *distance <= 1 + known.len().min(name.len()) / 4)
        .min();
    error = match near {
        Some((_, known)) => error.help(format!("did you mean `${known}`?")),
        None => error.help(format!(
            "declare it with `let {} = …`, or write `$$` for a dollar",
            shown(&name.to_lowercase())
        )),
    };
    error
}
