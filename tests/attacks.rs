//! Attacks on the built program, each with its control; the cases are the files below `attacks/cases`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[allow(dead_code, unused_imports)]
mod harness;

#[path = "attacks/table.rs"]
mod table;
#[path = "attacks/together.rs"]
mod together;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut suite = harness::Suite::new("attacks");
    let differences: Vec<harness::Difference> =
        serde_yaml::from_str(include_str!("attacks/backends.yaml")).unwrap();
    suite.add_cases("attacks/cases");
    suite.add_cases_by_backend("attacks/cases", &differences);
    together::add(&mut suite);
    table::add(&mut suite, harness::groups("attacks/cases"), differences);
    suite.run()
}
