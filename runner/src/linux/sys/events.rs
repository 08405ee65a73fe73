//! Waiting for many descriptors at once.

use std::os::fd::RawFd;

use nix::errno::Errno;

use super::check;

/// A set of descriptors that are waited for, kept by the kernel: asking costs the same however many there are.
#[derive(Debug)]
pub(in crate::linux) struct Events(RawFd);

/// Something happened at a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux) struct Event {
    /// What the descriptor was added with.
    pub(in crate::linux) token: u64,
    /// Whether there is something to read.
    pub(in crate::linux) readable: bool,
}

/// How many events are taken at once.
pub(in crate::linux) const MOST_EVENTS: usize = 32;

impl Events {
    /// An empty set.
    pub(in crate::linux) fn new() -> Result<Events, Errno> {
        // SAFETY: no memory is passed.
        check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }.into()).map(Events)
    }

    /// Adds a descriptor. One that is closed, and has no copy, leaves by itself.
    pub(in crate::linux) fn add(&self, descriptor: RawFd, token: u64) -> Result<(), Errno> {
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLRDHUP) as u32, u64: token };
        // SAFETY: the pointer is to a live value.
        check(unsafe { libc::epoll_ctl(self.0, libc::EPOLL_CTL_ADD, descriptor, &raw mut event) }.into())
            .map(drop)
    }

    /// Takes a descriptor out.
    pub(in crate::linux) fn remove(&self, descriptor: RawFd) {
        // SAFETY: no memory is passed; the kernel reads none for this.
        unsafe { libc::epoll_ctl(self.0, libc::EPOLL_CTL_DEL, descriptor, std::ptr::null_mut()) };
    }

    /// Waits for at most so many milliseconds (negative: without end), and yields what happened.
    pub(in crate::linux) fn wait(&self, milliseconds: i32) -> ([Event; MOST_EVENTS], usize) {
        let mut raw = [libc::epoll_event { events: 0, u64: 0 }; MOST_EVENTS];
        let most = i32::try_from(MOST_EVENTS).unwrap_or(1);
        // SAFETY: pointer and length are those of a live array.
        let count = unsafe { libc::epoll_wait(self.0, raw.as_mut_ptr(), most, milliseconds) };
        let events =
            raw.map(|event| Event { token: event.u64, readable: event.events & (libc::EPOLLIN as u32) != 0 });
        (events, usize::try_from(count).unwrap_or(0))
    }
}
