//! How a run lives and ends: exit codes, streams, terminals, signals, and that nothing is left behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "life/asked.rs"]
mod asked;
#[path = "life/cgroups.rs"]
mod cgroups;
#[path = "life/endings.rs"]
mod endings;
#[path = "life/fooled.rs"]
mod fooled;
#[allow(dead_code, unused_imports)]
mod harness;
#[path = "life/relayed.rs"]
mod relayed;
#[path = "life/streams.rs"]
mod streams;
#[path = "life/terminals.rs"]
mod terminals;
#[path = "life/unseen.rs"]
mod unseen;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut suite = harness::Suite::new("life");
    suite.add_cases("life/cases");
    streams::add(&mut suite);
    terminals::add(&mut suite);
    terminals::add_relayed(&mut suite);
    asked::add(&mut suite);
    endings::add(&mut suite);
    cgroups::add(&mut suite);
    suite.run()
}
