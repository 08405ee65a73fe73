//! A process that removes the cgroup of a run when whoever waits for the run has ended, and has given up the right to.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use crate::linux::sys::process::{self, Readable, Side};
use crate::linux::sys::{self, join};

/// That process, as the one sees it that has started it.
#[derive(Debug)]
pub(super) struct Remover {
    pid: i32,
    /// Its end is what the process waits for.
    lifeline: OwnedFd,
}

impl Remover {
    /// Starts it.
    pub(super) fn start(above: RawFd, name: &CStr) -> Result<Remover, Errno> {
        let (waited, lifeline) = pipe2(OFlag::O_CLOEXEC)?;
        match join::fork()? {
            Side::Parent { pid } => Ok(Remover { pid, lifeline }),
            Side::Child => wait(waited.as_raw_fd(), above, name),
        }
    }

    /// Lets it do its part, and waits until it has.
    pub(super) fn conclude(self) {
        let Remover { pid, lifeline } = self;
        drop(lifeline);
        let _ = process::wait_for_end(pid);
    }
}

/// Waits and removes. It keeps no other descriptor, so that whoever reads a pipe of the run's sees the end of it.
fn wait(waited: RawFd, above: RawFd, name: &CStr) -> ! {
    let (low, high) = (waited.min(above).cast_unsigned(), waited.max(above).cast_unsigned());
    for (first, last) in [(0, low.checked_sub(1)), (low + 1, high.checked_sub(1)), (high + 1, Some(u32::MAX))]
    {
        if let Some(last) = last.filter(|last| first <= *last) {
            let _ = sys::close_range(first, last);
        }
    }
    while process::wait_readable([waited], -1) == [Readable::No] {}
    super::remove(above, name);
    process::exit(0)
}
