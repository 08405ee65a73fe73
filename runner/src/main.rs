//! The command line of fence.

use std::process::ExitCode;

use fence::memory::Memory;

#[global_allocator]
static MEMORY: Memory = Memory::new();

fn main() -> ExitCode {
    fence::cli::main(std::env::args_os().collect())
}
