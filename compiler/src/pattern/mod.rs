//! The items of rules, parsed: after this, no text is interpreted again.
//!
//! Each pattern exists only parsed. Whether one covers something depends on the side it stands on:
//! what closes matches widely, what opens matches narrowly ([`Polarity`]).

mod address;
mod brace;
mod command;
mod domain;
pub(crate) mod error;
pub(crate) mod glob;
pub(crate) mod ground;
pub(crate) mod host;
mod http;
mod name;
mod path;
mod port;
mod ssh;
#[cfg(test)]
pub(crate) mod testing;
mod variable;
mod words;

pub use command::{CommandPattern, ProgramPattern, WordPattern};
pub use domain::DomainName;
pub use error::ItemError;
pub use glob::{Glob, GlobPiece};
pub use ground::{Grounded, NoValue, WhyNoValue, path_value};
pub use host::{ConnectPattern, HostPattern};
pub use http::HttpPattern;
pub use name::NamePattern;
pub use path::{Component, PathPattern, Root};
pub use port::PortRange;
pub use ssh::SshPattern;
pub use variable::{BuiltInScope, Value, ValuePart, Variable};

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
