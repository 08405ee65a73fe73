//! The command line of fence.

use std::process::ExitCode;

fn main() -> ExitCode {
    fence::cli::main(std::env::args_os().collect())
}
