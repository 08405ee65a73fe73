//! The profile of macOS's Seatbelt, checked without one: against a reader and an evaluator of its language that
//! share no code with what writes it, in every reading that public evidence leaves open.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(clippy::disallowed_methods)]

mod agreement;
mod builtins;
mod checks;
mod draw;
mod facts;
mod fidelity;
mod machine;
mod mutation;
mod profile;
mod quoting;
mod reader;
mod regex;
mod renames;
mod serving;
mod system;
mod table;
mod targets;
#[path = "../texts.rs"]
mod texts;
