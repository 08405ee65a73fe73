//! A command that runs in a sandbox.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

use super::sandbox::Inner;
use super::{Error, cannot};
use crate::launch::Outcome;
use crate::linux::session::{Asked, Heard, LENGTH, heard, signal};
use crate::proxy::watched::waiting;

/// A command that was started. Dropped before it has ended, it is killed, with everything in its session.
#[derive(Debug)]
pub struct Child {
    sandbox: Arc<Inner>,
    asked: Asked,
    channel: OwnedFd,
    ended: Option<Outcome>,
    /// The pipe to its standard input, if that was asked for.
    pub stdin: Option<PipeWriter>,
    /// The pipe from its standard output, if that was asked for.
    pub stdout: Option<PipeReader>,
    /// The pipe from its standard error, if that was asked for.
    pub stderr: Option<PipeReader>,
}

impl Child {
    pub(super) fn new(
        sandbox: Arc<Inner>,
        asked: Asked,
        channel: OwnedFd,
        (stdin, stdout, stderr): (Option<PipeWriter>, Option<PipeReader>, Option<PipeReader>),
    ) -> Child {
        Child { sandbox, asked, channel, ended: None, stdin, stdout, stderr }
    }

    /// Waits until it has ended. Standard input is closed first, so that a command that reads it to its end has one.
    ///
    /// # Errors
    /// The program could not be executed, or the sandbox has ended.
    pub fn wait(&mut self) -> Result<Outcome, Error> {
        drop(self.stdin.take());
        loop {
            match self.hear(MsgFlags::empty()) {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// As [`Child::wait`].
    pub fn try_wait(&mut self) -> Result<Option<Outcome>, Error> {
        self.hear(MsgFlags::MSG_DONTWAIT)
    }

    /// Waits as [`Child::wait`] does without blocking the thread. It is to be called within a runtime of tokio, and may be
    /// given up and called again.
    ///
    /// # Errors
    /// As [`Child::wait`].
    pub async fn wait_async(&mut self) -> Result<Outcome, Error> {
        drop(self.stdin.take());
        let copy = self.channel.try_clone().map_err(cannot("wait for the command"))?;
        let waiting = waiting(copy).map_err(cannot("wait for the command"))?;
        loop {
            if let Some(outcome) = self.try_wait()? {
                return Ok(outcome);
            }
            let mut guard = waiting.readable().await.map_err(cannot("wait for the command"))?;
            // What came before this is heard in the next turn, what comes after is told again.
            if let Some(outcome) = self.try_wait()? {
                return Ok(outcome);
            }
            guard.clear_ready();
        }
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has ended.
    pub fn signal(&self, number: i32) -> Result<(), Error> {
        match send(self.channel.as_raw_fd(), &[signal(number)], MsgFlags::MSG_NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(errno) => Err(cannot("send the command a signal")(errno)),
        }
    }

    /// Kills it.
    ///
    /// # Errors
    /// It has ended.
    pub fn kill(&self) -> Result<(), Error> {
        self.signal(libc::SIGKILL)
    }

    /// What can be read from when there is something to hear, for a loop of one's own: then [`Child::try_wait`].
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.channel.as_raw_fd()
    }

    fn hear(&mut self, flags: MsgFlags) -> Result<Option<Outcome>, Error> {
        if let Some(outcome) = self.ended {
            return Ok(Some(outcome));
        }
        let mut bytes = [0; LENGTH];
        match recv(self.channel.as_raw_fd(), &mut bytes, flags) {
            Ok(LENGTH) => match heard(bytes) {
                Some(Heard::Ended(outcome)) => {
                    self.ended = Some(outcome);
                    Ok(Some(outcome))
                }
                Some(Heard::Failed(index, errno)) => {
                    Err(self.sandbox.session.explain(index, errno, &self.asked).into())
                }
                Some(Heard::Stopped(_)) | None => Ok(None),
            },
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Ok(_) | Err(Errno::ECONNRESET) => Err(Error::Ended),
            Err(errno) => Err(cannot("hear of the command")(errno)),
        }
    }
}
