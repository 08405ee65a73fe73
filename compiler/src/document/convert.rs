//! From one form of a policy to another, or to the canonical text of its own.

use fence_grammar::print::{Comment, Spacing, comments, print};
use fence_grammar::{Parsed, SyntaxError};

use super::data::{self, Notation};
use super::{Document, Form, from_tree};

/// A policy as it is written in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    /// The text.
    pub text: String,
    /// How many comments the form cannot hold.
    pub comments_lost: usize,
}

/// Why a policy could not be written in a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unconverted {
    /// It has mistakes: what is not understood cannot be written again.
    Mistakes(Vec<SyntaxError>),
    /// What was written would not have meant the same; it is given up.
    Differs,
}

/// Writes a policy in the canonical form of `to`, with its comments. What comes out is read again and compared: it
/// is the same statements, or nothing is given back.
///
/// # Errors
/// The policy has mistakes, or says something that the other form cannot.
pub fn convert(text: &str, from: Form, to: Form) -> Result<Converted, Unconverted> {
    let Parsed { file, errors, .. } = from.read(text);
    if !errors.is_empty() {
        return Err(Unconverted::Mistakes(errors));
    }
    let remarks = remarks(text, from);
    let spacing = if from == Form::Fence { Spacing::Kept } else { Spacing::Added };
    let (written, comments_lost) = match to {
        Form::Fence => (print(&file, text, remarks, spacing), 0),
        Form::Yaml => (data::yaml(&file, text, remarks, spacing), 0),
        Form::Json => {
            let json = serde_json::to_string_pretty(&from_tree(file.clone()));
            (json.map_err(|_| Unconverted::Differs)? + "\n", remarks.len())
        }
    };
    let again = to.read(&written);
    if !again.errors.is_empty() || meaning(&from_tree(again.file)) != meaning(&from_tree(file)) {
        return Err(Unconverted::Differs);
    }
    Ok(Converted { text: written, comments_lost })
}

/// The statements of a policy without their places, those in maps in one order.
fn meaning(document: &Document) -> Option<serde_json::Value> {
    serde_json::to_value(document).ok()
}

fn remarks(text: &str, form: Form) -> Vec<Comment> {
    match form {
        Form::Fence => comments(text),
        Form::Yaml => data::comments(text, Notation::Yaml),
        Form::Json => Vec::new(),
    }
}
