//! Telling a person what their command in a session is refused, as it happens.
//!
//! It comes through a connection that belongs to this one command. A thread takes it, so that somebody who does not read what is
//! told holds up nothing but that.

use std::io::{IsTerminal, PipeReader};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use fence_compiler::question::Verdict;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, recv, send, shutdown, socketpair,
};

use super::wire::Kind;
use crate::audit::{Log, LogError, Passed, Told, visible};
use crate::cli::arguments::SessionRun;
use crate::cli::screen::Screen;
use crate::linux::session::Forwarded;

/// The longest message.
const LONGEST: usize = 256 * 1024;

/// What is to be told of a command that is asked for.
pub(super) struct Telling {
    heard: OwnedFd,
    /// Handed on with the request.
    pub(super) told: OwnedFd,
    teller: Teller,
}

impl Telling {
    /// As the options want it; `None` if nothing is to be told.
    pub(super) fn wanted(run: &SessionRun, screen: Screen) -> anyhow::Result<Option<Telling>> {
        if !run.monitor && run.log.is_none() {
            return Ok(None);
        }
        let (heard, told) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                .context("cannot make a socket")?;
        let mut first = LOG.to_vec();
        let log = run.log.as_deref().map(Log::open).transpose()?;
        if let Some(log) = &log {
            // Of what is open: the name may lead elsewhere by now.
            let real = std::fs::read_link(format!("/proc/self/fd/{}", log.descriptor()))
                .context("cannot tell where the log is")?;
            first.extend_from_slice(real.as_os_str().as_bytes());
        }
        send(heard.as_raw_fd(), &first, MsgFlags::MSG_NOSIGNAL).context("cannot ask for a command")?;
        let lines = match run.terminal && std::io::stderr().is_terminal() {
            true => Lines::Raw,
            false => Lines::Plain,
        };
        let teller = Teller {
            live: run.monitor.then_some(lines),
            log,
            unwritten: None,
            newest: String::new(),
            screen,
        };
        Ok(Some(Telling { heard, told, teller }))
    }

    /// What is asked for with that.
    pub(super) fn kind(&self) -> Kind {
        if self.teller.live.is_some() { Kind::Monitor } else { Kind::Log }
    }

    /// Tells from now on.
    pub(super) fn begin(self) -> anyhow::Result<Begun> {
        let Telling { heard, told, mut teller } = self;
        drop(told);
        let heard = Arc::new(heard);
        let (done, ends) = std::io::pipe().context("cannot make a pipe")?;
        let own = heard.clone();
        let thread = std::thread::Builder::new().spawn(move || {
            teller.tell_all(&own);
            drop(ends);
            teller.unwritten
        });
        Ok(Begun { heard, done, thread: thread.context("cannot start a thread")? })
    }
}

/// The beginning of the message that says where the log is.
pub(super) const LOG: &[u8] = b"log ";

/// Telling that has begun.
pub(super) struct Begun {
    heard: Arc<OwnedFd>,
    /// Its end says that all was told.
    done: PipeReader,
    thread: JoinHandle<Option<LogError>>,
}

impl Begun {
    /// Waits until all was told of a command that has ended, or until a signal comes.
    pub(super) fn finish(self, forwarded: &Forwarded) -> anyhow::Result<()> {
        let Begun { heard, done, thread } = self;
        let _ = shutdown(heard.as_raw_fd(), Shutdown::Write);
        let done = OwnedFd::from(done);
        while !is_over(&done) {
            if forwarded.wait(&done) {
                return Ok(());
            }
        }
        match thread.join() {
            Ok(None) => Ok(()),
            Ok(Some(unwritten)) => Err(unwritten.into()),
            Err(_) => Err(anyhow!("what the command was refused is not told to its end")),
        }
    }
}

fn is_over(done: &OwnedFd) -> bool {
    let mut waited = [PollFd::new(done.as_fd(), PollFlags::POLLIN)];
    poll(&mut waited, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// How lines end on the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    Plain,
    /// It is raw, since another one is relayed to it.
    Raw,
}

struct Teller {
    /// Whether refusals are told as they happen.
    live: Option<Lines>,
    log: Option<Log>,
    unwritten: Option<LogError>,
    /// The line that was told last.
    newest: String,
    screen: Screen,
}

impl Teller {
    fn tell_all(&mut self, heard: &OwnedFd) {
        let mut bytes = vec![0; LONGEST];
        loop {
            match recv(heard.as_raw_fd(), &mut bytes, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                Err(_) | Ok(0) => return,
                Ok(length) => match bytes.get(..length).and_then(Passed::decode) {
                    Some(Passed::Told(told)) => {
                        self.show(&told);
                        self.write(&told);
                    }
                    Some(Passed::Known(told)) => self.write(&told),
                    Some(Passed::Note(text)) => self.screen.note(&self.line(&visible(&text))),
                    None => {}
                },
            }
        }
    }

    fn show(&mut self, told: &Told) {
        if self.live.is_none() || told.event.verdict == Verdict::Allowed {
            return;
        }
        let line = visible(&told.line());
        // A shell asks again for each directory of `PATH`.
        if line != self.newest {
            self.screen.say(&self.line(&line));
            self.newest = line;
        }
    }

    fn line(&self, text: &str) -> String {
        if self.live == Some(Lines::Raw) { format!("{text}\r") } else { text.to_owned() }
    }

    fn write(&mut self, told: &Told) {
        if self.unwritten.is_none()
            && let Some(log) = &mut self.log
        {
            self.unwritten = log.add(&told.event).err();
        }
    }
}
