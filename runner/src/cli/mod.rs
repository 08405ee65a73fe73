//! The command line: one thin file for each of fence's own words.

mod arguments;
mod teaching;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;

/// `0.1.0 (55982a1f0a)`: the version, and the commit where it is known.
pub(crate) fn version() -> &'static str {
    const COMMIT: &str = env!("FENCE_COMMIT");
    if COMMIT.is_empty() {
        env!("CARGO_PKG_VERSION")
    } else {
        concat!(env!("CARGO_PKG_VERSION"), " (", env!("FENCE_COMMIT"), ")")
    }
}

/// Does what a command line says.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let _ = arguments;
    ExitCode::SUCCESS
}
