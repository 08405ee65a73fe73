//! A process that serves the network of a run, beside the one that waits for its command.
//!
//! It reads what the run's programs send, and so it gives up its rights first: among them to signal anybody, which whoever waits for
//! a command has to. What it decides, it tells by itself. It ends with the run, and the run ends with it.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::outside::Outside;
use super::parent::lost;
use super::sys::process::{self, Readable, Side};
use super::sys::{self, join};
use crate::launch::{Attendant, Error};
use crate::proxy::Watch;

/// That process, as the one sees it that has started it.
#[derive(Debug)]
pub(super) struct Served {
    pid: i32,
    /// Its other end is the process's: each sees that the other has ended.
    lifeline: Option<OwnedFd>,
}

/// What it says when it serves.
const READY: u8 = b'.';
/// The most that is read of why it does not.
const LONGEST: usize = 2048;

impl Served {
    /// Starts it. The signals that are for the command are blocked already.
    ///
    /// # Errors
    /// There is no process.
    pub(super) fn start(
        attendant: &mut dyn Attendant,
        attend: impl FnOnce(&mut dyn Attendant, &mut dyn Watch) -> Result<(), Error>,
    ) -> Result<Served, Error> {
        let (lifeline, other_end) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
                .map_err(|errno| failed("making a channel", errno))?;
        match process::fork().map_err(|errno| failed("starting a process", errno))? {
            Side::Parent { pid } => Ok(Served { pid, lifeline: Some(lifeline) }),
            Side::Child => {
                drop(lifeline);
                process::exit(i32::from(serve(attendant, attend, other_end).is_err()))
            }
        }
    }

    /// Waits until it serves, or has ended.
    ///
    /// # Errors
    /// Why it does not serve, or not any more.
    pub(super) fn heard(&mut self) -> Result<(), Error> {
        let mut byte = [0];
        match sys::read(self.descriptor(), &mut byte) {
            Ok(1) if byte == [READY] => Ok(()),
            Ok(1) => Err(self.ended(&byte)),
            _ => Err(self.ended(&[])),
        }
    }

    /// The same for what was seen of it while the command runs: that is ended if nobody serves any more.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn hear(&mut self, seen: Readable, outside: &Outside) -> Result<(), Error> {
        if seen == Readable::No {
            return Ok(());
        }
        self.heard().inspect_err(|_| outside.kill())
    }

    /// What tells that it serves, or has ended; -1 when it is known to have.
    pub(super) fn descriptor(&self) -> RawFd {
        self.lifeline.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Its number.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits until the command has ended.
    ///
    /// # Errors
    /// Nobody serves any more: the command is ended then.
    pub(super) fn until_the_end(&mut self, outside: &mut Outside) -> Result<(), Error> {
        let mut served = Ok(());
        loop {
            let [ended, received, timer] = outside.waited();
            let [.., serving] = process::wait_readable([ended, received, timer, self.descriptor()], -1);
            if outside.wait(0).is_break() {
                return served;
            }
            served = served.and(self.hear(serving, outside));
        }
    }

    /// Why it has ended before the run: in its own words, which may have begun already, or how.
    fn ended(&mut self, begun: &[u8]) -> Error {
        let mut words = begun.to_vec();
        let mut part = [0; 256];
        while words.len() < LONGEST {
            match sys::read(self.descriptor(), &mut part) {
                Ok(read) if read > 0 => words.extend_from_slice(part.get(..read).unwrap_or_default()),
                _ => break,
            }
        }
        let words = String::from_utf8_lossy(&words).into_owned();
        self.lifeline = None;
        process::kill(self.pid, libc::SIGKILL);
        let change = process::wait_for_end(self.pid);
        Error::Serve(if words.is_empty() {
            format!("the process that serves connections was ended by {}; run it again", lost(change))
        } else {
            words
        })
    }

    /// Lets it pass on what was sent and tell what it has to, and waits for that.
    pub(super) fn conclude(mut self) {
        if self.lifeline.take().is_some() {
            let _ = process::wait_for_end(self.pid);
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if self.lifeline.take().is_some() {
            process::kill(self.pid, libc::SIGKILL);
            let _ = process::wait_for_end(self.pid);
        }
    }
}

/// Why nothing can be served.
pub(super) fn failed(doing: &str, errno: Errno) -> Error {
    let reason = errno.desc().to_lowercase();
    Error::Serve(format!("cannot serve connections: {doing}: {reason}; nothing was run"))
}

/// What the process does.
fn serve(
    attendant: &mut dyn Attendant,
    attend: impl FnOnce(&mut dyn Attendant, &mut dyn Watch) -> Result<(), Error>,
    lifeline: OwnedFd,
) -> Result<(), ()> {
    let mut until = Until(lifeline);
    let prepared = join::die_with_parent()
        // Keys of the terminal are for the command.
        .and_then(|()| process::new_session())
        .map_err(|errno| failed("beginning", errno));
    sys::release_standard();
    match prepared.and_then(|()| attend(attendant, &mut until)) {
        Ok(()) => {
            // What threads of this process serve ends with the run.
            process::wait_readable([until.0.as_raw_fd()], -1);
            attendant.conclude();
            Ok(())
        }
        Err(error) => {
            let _ = sys::write(until.0.as_raw_fd(), error.to_string().as_bytes());
            Err(())
        }
    }
}

/// Until the lifeline ends.
struct Until(OwnedFd);

impl Watch for Until {
    /// They are asked for once, when serving begins.
    fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        sys::write(self.0.as_raw_fd(), &[READY])?;
        Ok(vec![self.0.try_clone()?])
    }

    fn turn(&mut self) -> ControlFlow<()> {
        match process::wait_readable([self.0.as_raw_fd()], 0) {
            [Readable::No] => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }
}
