//! The command line of fence.

#![cfg_attr(all(target_os = "linux", target_env = "gnu"), no_main)]

use fence::memory::Memory;

#[global_allocator]
static MEMORY: Memory = Memory::new();

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod entry;

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn main() -> std::process::ExitCode {
    std::process::ExitCode::from(fence::cli::main(std::env::args_os().collect()))
}
