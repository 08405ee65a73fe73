//! The parser that pest makes of `fence.pest`.
#![allow(missing_docs)]

use pest_derive::Parser;

/// Matches every text; see the grammar.
#[derive(Parser)]
#[grammar = "fence.pest"]
pub struct FenceParser;
