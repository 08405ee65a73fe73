//! The launch on macOS, on Linux: against stand-ins for `sandbox-exec` and `log`.
//!
//! The test binary takes the place of fence's own program: started with the word that it serves connections by, it does.
//! Called with `drive DIRECTORY` it launches, and can be killed by whoever called it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod connections;
mod launch;
mod refusals;
mod scene;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// A case: what holds, and the check of it.
type Case = (&'static str, fn());

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [word] if word == fence::macos::SERVING => return ExitCode::from(fence::macos::serve()),
        ["drive", directory] => return scene::drive(directory),
        _ => {}
    }
    let cases = [launch::CASES, connections::CASES, refusals::CASES].concat();
    let trial = |(name, check): Case| {
        Trial::test(name, move || {
            check();
            Ok(())
        })
    };
    // Signals and the group that they are passed on to are the whole process's: one run at a time.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, cases.into_iter().map(trial).collect()).exit_code()
}
