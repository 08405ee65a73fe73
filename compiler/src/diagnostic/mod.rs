//! What is wrong with a policy, as data.

mod code;
mod page;
pub mod render;

pub use code::Code;
pub use page::page;

use crate::source::{Place, SourceId};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The policy means what it says; something about it is worth knowing.
    Note,
    /// The policy is valid, and a reader may take it for something else.
    Warning,
    /// The policy is not valid and never runs anything.
    Error,
}

/// One finding about a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The kind of finding; its page is `docs/errors/CODE.md`.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// One lower-case sentence without a full stop, user text in backticks.
    pub message: String,
    /// The place it is about; none where the policy as a whole is.
    pub place: Option<Place>,
    /// What stands under the marked place, where that says more than the message.
    pub label: Option<String>,
    /// Other places that explain it (`the first one is here`).
    pub related: Vec<Related>,
    /// How to mend it, one lower-case sentence each.
    pub help: Vec<String>,
    /// A change of the text that mends it, where there is just one.
    pub repair: Option<Repair>,
}

/// Another place that explains a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// The place.
    pub place: Place,
    /// What it has to do with it.
    pub message: String,
}

/// A change of the text that mends a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// What is replaced; an empty span inserts.
    pub place: Place,
    /// What it is replaced by.
    pub replacement: String,
}

impl Diagnostic {
    /// Makes a finding with the severity that its code has.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code,
            severity: code.severity(),
            message: message.into(),
            place: None,
            label: None,
            related: Vec::new(),
            help: Vec::new(),
            repair: None,
        }
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, place: Place) -> Diagnostic {
        self.place = Some(place);
        self
    }

    /// Says what the marked place is.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = Some(label.into());
        self
    }

    /// Adds a place that explains it.
    #[must_use]
    pub fn related(mut self, place: Place, message: impl Into<String>) -> Diagnostic {
        self.related.push(Related { place, message: message.into() });
        self
    }

    /// Adds a way to mend it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help.push(help.into());
        self
    }

    /// Adds the change that mends it.
    #[must_use]
    pub fn repair(mut self, place: Place, replacement: impl Into<String>) -> Diagnostic {
        self.repair = Some(Repair { place, replacement: replacement.into() });
        self
    }

    /// The text it is about.
    #[must_use]
    pub fn source(&self) -> Option<SourceId> {
        self.place.map(|place| place.source)
    }
}

/// A value and what was found on the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked<T> {
    /// The value: everything that could be understood.
    pub value: T,
    /// The findings, in the order of sources and places.
    pub diagnostics: Vec<Diagnostic>,
}

impl<T> Checked<T> {
    /// Whether an error is among the findings.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }
}
