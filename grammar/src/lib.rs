//! The grammar of the `.fence` policy language, version 1.
//!
//! [`parse`] is total: it returns the syntax tree of everything it understood *and* an error for
//! each thing it did not. It knows nothing of files, of platforms, or of what a rule means.
#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr, clippy::dbg_macro)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

mod characters;
mod error;
mod escape;
mod lower;
mod name;
mod parse;
pub mod print;
mod span;
mod suggestion;
mod syntax;
pub mod tree;
mod word;

pub use characters::forbidden;
pub use error::{SyntaxError, SyntaxErrorKind};
pub use escape::quote;
pub use name::Name;
pub use parse::{LeftOut, Parsed, parse};
pub use span::{Span, Spanned};
pub use suggestion::did_you_mean;
