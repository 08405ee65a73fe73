//! A sandbox that stays: it is started once, and many commands run in it.
//!
//! Making a sandbox costs some milliseconds; one more command in it costs about what starting it without a sandbox does.
//! Each command is judged by the policy as that of `fence run` is, and is as separated from the host. Commands of one
//! sandbox see each other's processes and files, as those of one run do.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir_in("/var/tmp")?;
//! # let directory = folder.path();
//! # if let Err(fence::session::Error::Launch(fence::launch::Error::Namespaces { .. })) =
//! #     fence::session::Sandbox::builder().directory(directory).start()
//! # {
//! #     return Ok(()); // This machine makes no sandboxes at all.
//! # }
//! use fence::session::Sandbox;
//!
//! let sandbox = Sandbox::builder().policy("default").directory(directory).start()?;
//! let output = sandbox.command("sh").args(["-c", "echo $((6 * 7))"]).output()?;
//! assert_eq!(output.stdout, b"42\n");
//!
//! let status = sandbox.command("sh").args(["-c", "exit 3"]).status()?;
//! assert_eq!(status.exit_code(), 3);
//!
//! let refused = sandbox.command("sudo").arg("true").status().unwrap_err();
//! assert!(matches!(refused.exit_code(), 126 | 127));
//! # Ok(()) }
//! ```
//!
//! The same without blocking, in any program that runs tokio:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir_in("/var/tmp")?;
//! # let directory = folder.path();
//! # if let Err(fence::session::Error::Launch(fence::launch::Error::Namespaces { .. })) =
//! #     fence::session::Sandbox::builder().directory(directory).start()
//! # {
//! #     return Ok(()); // This machine makes no sandboxes at all.
//! # }
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
//! use fence::session::{Sandbox, Stdio};
//!
//! let sandbox = Sandbox::builder().directory(directory).start()?;
//! # runtime.block_on(async {
//! let (mut one, mut other) =
//!     (sandbox.command("sleep").arg("0.01").spawn()?, sandbox.command("true").stdout(Stdio::Null).spawn()?);
//! let (one, other) = tokio::join!(one.wait_async(), other.wait_async());
//! assert_eq!((one?.exit_code(), other?.exit_code()), (0, 0));
//! # Ok::<(), fence::session::Error>(()) })?;
//! # Ok(()) }
//! ```
//!
//! # What ends when
//!
//! When a [`Sandbox`] is dropped, and when the program that holds it ends in whatever way, everything in it ends. When a
//! [`Child`] is dropped, its command and the processes of that command's session end. What a command leaves running when it
//! ends by itself goes on until the sandbox ends, as after a shell.
//!
//! # Threads
//!
//! A sandbox can be started and used from any thread, and dropped in another. Starting one makes a process that does system
//! calls only, so whatever other threads of the program hold does not matter to it.

mod child;
mod command;
mod error;
pub(crate) mod judged;
mod sandbox;

pub use child::Child;
pub use command::{Command, Output, Stdio};
pub use error::Error;
pub(crate) use error::cannot;
pub use sandbox::{Builder, Sandbox};
