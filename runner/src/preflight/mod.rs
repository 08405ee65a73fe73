//! Judges, before anything starts, the command that fence itself starts and what its shell text says.
//!
//! This is told as what it is: a check of what can be read beforehand. What a command starts in turn is not
//! seen here.

mod judge;
mod lookup;
mod shell;
#[cfg(target_os = "linux")]
pub(crate) mod ssh;
mod world;
mod wrapper;

pub(crate) use judge::told;
pub use judge::{Judge, Refusal};
pub use lookup::{Lookup, NotFound, Program, look_up};
pub use shell::{Invocation, ShellError, Word, invocations};
pub use world::{Ways, world};
pub use wrapper::unwrapped;
