//! The items of rules, parsed: after this, no text is interpreted again.
//!
//! Each pattern exists only parsed. Whether one covers something depends on the side it stands on:
//! what closes matches widely, what opens matches narrowly ([`Polarity`]).

mod command;
mod host;
mod name;
mod path;
mod port;
mod variable;

pub use command::{CommandPattern, ProgramPattern, WordPattern};
pub use host::{ConnectPattern, DomainName, HostPattern, HttpPattern, SshPattern};
pub use name::NamePattern;
pub use path::{Component, Glob, GlobPiece, PathPattern, Root};
pub use port::PortRange;
pub use variable::{Value, ValuePart, Variable};

use std::ops::Range;

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

/// The variables that an item may read, as its file sees them.
pub trait Scope {
    /// What `$name` stands for; `None` where no such variable is known.
    fn lookup(&self, name: &str) -> Option<Value>;
    /// The names that are known, for "did you mean".
    fn names(&self) -> Vec<String>;
}

/// Which way an item works when a spelling is doubtful.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Polarity {
    /// `allow`, and the `except` of a `deny` or `never`: covers only what is certain.
    Opening,
    /// `deny`, `never`, and the `except` of an `allow`: covers every candidate.
    Closing,
}

impl Polarity {
    /// The other one: that of the rule's `except`.
    #[must_use]
    pub fn opposite(self) -> Polarity {
        match self {
            Polarity::Opening => Polarity::Closing,
            Polarity::Closing => Polarity::Opening,
        }
    }
}
