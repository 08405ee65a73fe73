//! Ordinary work that goes on inside, and what the built-in policy refuses in a repository.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, unused_imports)]
mod harness;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut suite = harness::Suite::new("work");
    suite.add_cases("work/cases");
    suite.run()
}
