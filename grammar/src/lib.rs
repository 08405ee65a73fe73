//! The grammar of the `.fence` policy language, version 1.
//!
//! [`parse`] is total: it returns the syntax tree of everything it understood *and* an error for
//! each thing it did not. It knows nothing of files, of platforms, or of what a rule means.
#![forbid(unsafe_code)]

mod span;
pub mod tree;

pub use span::{Span, Spanned};
