//! Runs a command under a fence policy.
//!
//! A policy is compiled without touching the system ([`fence_compiler`]); this crate touches it: it finds
//! policies ([`load`]), looks at the machine ([`host`]), judges the command that it starts itself
//! ([`preflight`]), launches it, and tells what was refused ([`audit`]).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]
#![deny(unsafe_code)]
// What only the runner of Linux uses is built everywhere.
#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports, irrefutable_let_patterns))]

mod asking;
pub mod audit;
pub mod cli;
pub mod host;
pub mod launch;
#[cfg(target_os = "linux")]
pub mod linux;
pub mod load;
pub mod macos;
#[allow(unsafe_code)]
pub mod memory;
#[cfg(target_os = "linux")]
pub mod overlay;
pub mod preflight;
pub mod printer;
pub mod proxy;
pub mod publish;
#[cfg(target_os = "linux")]
pub mod session;
pub mod trust;
