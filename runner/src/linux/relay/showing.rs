//! Passing on what the command shows to a terminal that may not take it.

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd;

use super::Relay;
use crate::linux::sys::process::{self, Received};
use crate::linux::sys::standard;

/// How long a terminal may take what is shown when an end was asked for, in milliseconds.
const SHORT: u16 = 1000;

/// How long is waited for a terminal that does not take what is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Endless,
    /// An end was asked for.
    Short,
    /// It does not take it: what it does not take at once is given up.
    Over,
}

impl Relay {
    /// Passes bytes on, or gives them up when an end is asked for and nobody takes them; whether the terminal is still there.
    pub(super) fn written(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match unistd::write(standard(self.shown), bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or(&[]),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) if self.patience == Patience::Over => return true,
                Err(Errno::EAGAIN) => self.wait(),
                Err(_) => return false,
            }
        }
        true
    }

    /// Waits until the terminal takes more, or a signal has come.
    fn wait(&mut self) {
        let mut waited = [
            PollFd::new(standard(self.shown), PollFlags::POLLOUT),
            PollFd::new(standard(self.signals), PollFlags::POLLIN),
        ];
        let patience = if self.patience == Patience::Short { SHORT.into() } else { PollTimeout::NONE };
        if poll(&mut waited, patience) == Ok(0) {
            self.patience = Patience::Over;
        }
        let [_, signals] = &waited;
        if signals.revents().is_some_and(|seen| !seen.is_empty()) {
            while let Some(received) = process::take_signal(self.signals) {
                if is_end(&received) {
                    self.patience = Patience::Over;
                }
                self.received.push_back(received);
            }
        }
    }
}

/// Whether a signal asks for an end.
pub(super) fn is_end(received: &Received) -> bool {
    matches!(received.signal, libc::SIGTERM | libc::SIGHUP)
}
