//! The process that keeps a session: it judges the commands that are asked for, and hands them to the sandbox.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{SockFlag, accept4, getsockopt, sockopt};

use super::folder;
use super::wire::{self, Kind, TEXT};
use crate::audit::{Event, EventSource, Log};
use crate::cli::prepared;
use crate::linux::session::{Asked, Session, peer_lives, tell};
use crate::session::Error;
use crate::session::judged::{Rules, Wanted};

/// A session, kept.
pub(super) struct Manager {
    /// What its commands are judged by.
    pub(super) rules: Rules,
    /// The sandbox.
    pub(super) session: Session,
    /// Where commands are asked for.
    pub(super) listener: OwnedFd,
    /// The directory that the socket lies in.
    pub(super) own: PathBuf,
    /// What is told of it.
    pub(super) about: String,
    /// What its policy was made of, as words of a command line, and the directory that they are for.
    pub(super) origin: Wanted,
    /// The file of the log.
    pub(super) written_log: Option<PathBuf>,
    /// When it was started.
    pub(super) since: Instant,
    /// Where refusals are written.
    pub(super) log: Option<Log>,
    /// What can be read from when this process is asked to end by a signal.
    pub(super) ended: OwnedFd,
}

/// Whether the session goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    On,
    Stop,
}

impl Manager {
    /// Keeps the session until it is stopped or has ended by itself. The connection that asked for its end is the last that
    /// is closed.
    pub(super) fn keep(mut self) {
        let mut last = None;
        loop {
            let waited = [self.listener.as_fd(), self.session.lifeline(), self.ended.as_fd()];
            let mut waited = waited.map(|one| PollFd::new(one, PollFlags::POLLIN));
            if poll(&mut waited, PollTimeout::NONE).is_err() {
                continue;
            }
            let [asked, lifeline, ended] =
                waited.map(|one| one.revents().is_some_and(|seen| !seen.is_empty()));
            if lifeline || ended {
                break;
            }
            if asked
                && let Some(connection) = self.accepted()
                && self.answer(&connection) == Next::Stop
            {
                last = Some(connection);
                break;
            }
        }
        let Manager { session, listener, own, .. } = self;
        // Nobody finds it any more, then everything inside ends, then whoever asked for that is told.
        folder::remove(&own);
        drop(listener);
        drop(session);
        drop(last);
    }

    fn accepted(&self) -> Option<OwnedFd> {
        let accepted = accept4(self.listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC).ok()?;
        let connection = crate::linux::session::owned(accepted);
        Some(connection)
    }

    /// Whether whoever made a connection is the owner, outside of every sandbox of fence.
    fn is_of_owner(connection: &OwnedFd) -> bool {
        getsockopt(connection, sockopt::PeerCredentials).is_ok_and(|peer| {
            peer.uid() == nix::unistd::geteuid().as_raw()
                && may_ask(peer.pid())
                // Looked at while it lived: its number is still its own.
                && peer_lives(connection.as_raw_fd())
        })
    }

    fn answer(&mut self, connection: &OwnedFd) -> Next {
        let owner = Manager::is_of_owner(connection);
        let Ok((kind, mut descriptors)) = wire::take(connection) else { return Next::On };
        if !owner {
            let told = "a session can only be used by its owner, from outside of every sandbox";
            tell_text(connection, 125, told);
            return Next::On;
        }
        match kind {
            Some(Kind::Stop) => return Next::Stop,
            Some(Kind::About) => {
                let text = format!("{}  {}s", self.about, self.since.elapsed().as_secs());
                let _ = tell(connection.as_raw_fd(), text.as_bytes());
            }
            Some(Kind::Explain) => self.explain(connection, &mut descriptors),
            Some(Kind::Origin) => {
                let _ = tell(connection.as_raw_fd(), &wire::texts(&self.origin));
            }
            Some(Kind::Reload) => match self.reload(descriptors.pop()) {
                Ok(()) => tell_text(connection, 0, ""),
                Err(error) => tell_text(connection, error.exit_code(), &error.to_string()),
            },
            Some(Kind::Run) => {
                if let Err(error) = self.run(connection, descriptors) {
                    self.note(&error);
                    tell_text(connection, error.exit_code(), &error.to_string());
                }
            }
            None => {}
        }
        Next::On
    }

    fn run(&self, connection: &OwnedFd, descriptors: Vec<OwnedFd>) -> Result<(), Error> {
        let unclear =
            || Error::Asked("what is asked for cannot be read: both must be of one version".to_owned());
        let [memory, input, output, error] = <[OwnedFd; 4]>::try_from(descriptors).map_err(|_| unclear())?;
        let wanted = wire::read(memory).ok_or_else(unclear)?;
        let asked = self.rules.judged(&wanted)?;
        let standard = [input.as_fd(), output.as_fd(), error.as_fd()];
        Ok(self.session.ask(&asked, standard, connection.as_fd())?)
    }

    /// Holds commands by a narrower policy from now on. Whoever sent it is the owner, and it can only take away.
    fn reload(&mut self, memory: Option<OwnedFd>) -> Result<(), Error> {
        let policy = memory.and_then(wire::policy_read);
        let policy = policy.ok_or_else(|| {
            Error::Asked("the policy cannot be read: both must be of one version".to_owned())
        })?;
        self.rules = prepared::narrow(&self.rules, &self.session, policy, self.written_log.as_deref())?;
        Ok(())
    }

    /// Says why a command was not started, for a client that got only numbers: index, error, and the command in memory.
    fn explain(&self, connection: &OwnedFd, descriptors: &mut Vec<OwnedFd>) {
        let Some(wanted) = descriptors.pop().and_then(wire::read) else { return };
        let mut words = wanted.argv.into_iter();
        let mut number = || words.next()?.to_str()?.parse::<i64>().ok();
        let (index, errno) = (number().unwrap_or(-1), number().unwrap_or(0));
        let program = words.next().unwrap_or_default();
        let asked = Asked {
            program: std::ffi::CString::new(program.into_encoded_bytes()).unwrap_or_default(),
            directory: c"/".to_owned(),
            argv: Vec::new(),
            environment: Vec::new(),
            umask: 0,
            terminal: None,
        };
        let error =
            self.session.explain(u32::try_from(index).ok(), i32::try_from(errno).unwrap_or(0), &asked);
        tell_text(connection, error.exit_code(), &error.to_string());
    }

    fn note(&mut self, error: &Error) {
        if let (Error::Refused { refusal, .. }, Some(log)) = (error, &mut self.log) {
            let event = Event::decided(
                EventSource::Preflight,
                refusal.action,
                refusal.item.clone(),
                refusal.decision.verdict,
                &refusal.decision.reason,
                &self.rules.policy,
            );
            // Whoever asked is told anyway.
            let _ = log.add(&event);
        }
    }
}

/// Whether a process has the rights of a person and not those of a sandbox: one that gave up new privileges for good, which
/// every process inside has, asks for nothing here; nor one in another user namespace.
fn may_ask(pid: i32) -> bool {
    let own = |path: &str| std::fs::read_link(format!("/proc/self/{path}")).ok();
    let namespace = std::fs::read_link(format!("/proc/{pid}/ns/user")).ok();
    if namespace.is_none() || namespace != own("ns/user") {
        return false;
    }
    gave_up(&pid.to_string()).is_some_and(|theirs| !theirs || gave_up("self") == Some(true))
}

fn gave_up(process: &str) -> Option<bool> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("NoNewPrivs:")).map(|value| value.trim() == "1")
}

fn tell_text(connection: &OwnedFd, code: i32, text: &str) {
    let mut bytes = vec![TEXT, u8::try_from(code).unwrap_or(125)];
    bytes.extend_from_slice(text.as_bytes());
    let _ = tell(connection.as_raw_fd(), &bytes);
}
