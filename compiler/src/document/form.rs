//! The three forms that a policy may have.

use fence_grammar::Parsed;

use super::data::{self, Notation};
use crate::source::{Origin, Source};

/// A form of a policy: the same statements with the same meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The policy language's own.
    Fence,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

impl Form {
    /// The form that a file has by the end of its name: `.yaml` and `.yml`, `.json`, else the language's own.
    #[must_use]
    pub fn of(name: &[u8]) -> Form {
        if name.ends_with(b".yaml") || name.ends_with(b".yml") {
            Form::Yaml
        } else if name.ends_with(b".json") {
            Form::Json
        } else {
            Form::Fence
        }
    }

    /// Reads a text of this form: returns everything it says and everything that is wrong with it.
    #[must_use]
    pub fn read(self, text: &str) -> Parsed {
        match self {
            Form::Fence => fence_grammar::parse(text),
            Form::Yaml => data::parse(text, Notation::Yaml),
            Form::Json => data::parse(text, Notation::Json),
        }
    }
}

/// Reads a text of a policy by the form that its file's name says it has.
#[must_use]
pub fn read(source: &Source) -> Parsed {
    let form = match &source.origin {
        Origin::File(path) | Origin::User(path) | Origin::Machine(path) => Form::of(path.as_bytes()),
        Origin::BuiltIn(_) | Origin::Given(_) => Form::Fence,
    };
    form.read(&source.text)
}
