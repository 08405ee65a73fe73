//! What is known of the sandbox's own sockets, and of who shares descriptors.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;

use super::sending::Sending;
use crate::linux::sys::file::{self, Status};

/// How many files that sockets are bound to are known at once: each is held open.
const MOST: usize = 512;

/// The sockets inside.
#[derive(Default)]
pub(super) struct Sockets {
    /// The files that they are bound to. While one is held, no other file gets its number.
    own: BTreeMap<(u32, u32, u64), OwnedFd>,
    tables: Tables,
    /// What could not be sent yet.
    pub(super) sending: Sending,
}

/// Whether descriptors are one process's alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Tables {
    /// Only threads of one process share them.
    #[default]
    Apart,
    /// There is, or was, a process that has those of another.
    Shared,
}

impl Sockets {
    /// Whether one more could be known. Those whose files are gone are let go of.
    pub(super) fn make_room(&mut self) -> Result<(), Errno> {
        if self.own.len() >= MOST {
            self.own.retain(|_, file| file::status(file.as_raw_fd(), c"").is_ok_and(|told| told.names > 0));
        }
        if self.own.len() < MOST { Ok(()) } else { Err(Errno::ENFILE) }
    }

    /// Takes note of the file of a socket that was bound inside.
    pub(super) fn add(&mut self, file: OwnedFd) -> Result<(), Errno> {
        let status = file::status(file.as_raw_fd(), c"")?;
        self.own.insert(status.identity, file);
        Ok(())
    }

    /// Whether a socket that was bound inside has this file.
    pub(super) fn has(&self, status: &Status) -> bool {
        self.own.contains_key(&status.identity)
    }

    /// A process is made that has another's descriptors.
    pub(super) fn share(&mut self) {
        self.tables = Tables::Shared;
    }

    /// Whether nobody but a thread, which waits, can put something else in the place of its descriptors.
    pub(super) fn is_alone(&self, thread: i32) -> bool {
        self.tables == Tables::Apart && is_only_one(thread)
    }
}

/// Whether a thread is the only one of its process. While it waits, it makes no other.
fn is_only_one(thread: i32) -> bool {
    let Ok(tasks) = super::super::place::know(format!("/proc/{thread}/task").as_str()) else { return false };
    // The kernel counts a name for each thread beside those of an empty directory.
    file::status(tasks.as_raw_fd(), c"").is_ok_and(|told| told.names == 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_told_from_one_of_several() {
        use crate::linux::sys::process::{self, Change, Side};
        let own = i32::try_from(std::process::id()).unwrap();
        // A test has a thread of its own.
        assert!(!is_only_one(own));
        let Side::Parent { pid } = process::fork().unwrap() else {
            let own = i32::try_from(std::process::id()).unwrap_or(-1);
            process::exit(i32::from(!is_only_one(own)))
        };
        assert_eq!(process::wait_for_end(pid), Ok(Change::Exited(0)));
        let mut sockets = Sockets::default();
        sockets.share();
        assert!(!sockets.is_alone(own));
    }
}
