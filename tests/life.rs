//! How a run lives and ends: exit codes, streams, terminals, signals, and that nothing is left behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, unused_imports)]
mod harness;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut suite = harness::Suite::new("life");
    suite.add_cases("life/cases");
    suite.run()
}
