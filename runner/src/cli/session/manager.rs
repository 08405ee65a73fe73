//! The process that keeps a session: it judges the commands that are asked for, and hands them to the sandbox.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::decide::decide;
use fence_compiler::plan::NetworkPlan;
use fence_compiler::policy::PathAction;
use fence_compiler::question::{Question, Verdict};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, SockFlag, accept4, getsockopt, recv, sockopt};

use super::folder;
use super::telling::LOG;
use super::wire::{self, Kind, TEXT};
use crate::audit::{Event, Keeper, LastRefusal, Log, Passed};
use crate::cli::record::Live;
use crate::cli::{observed, prepared, remedy};
use crate::launch::Resource;
use crate::linux::session::{Asked, Session, Watched, peer_lives, tell};
use crate::preflight::{Ways, world};
use crate::printer;
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
        self.note_limit();
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
            Some(kind @ (Kind::Run | Kind::Log | Kind::Monitor)) => {
                let told = if kind == Kind::Run { None } else { descriptors.pop() };
                if let Err(error) = self.run(connection, kind, descriptors, told.as_ref()) {
                    self.note(&error, told.as_ref());
                    tell_text(connection, error.exit_code(), &error.to_string());
                }
            }
            None => {}
        }
        Next::On
    }

    fn run(
        &self,
        connection: &OwnedFd,
        kind: Kind,
        descriptors: Vec<OwnedFd>,
        told: Option<&OwnedFd>,
    ) -> Result<(), Error> {
        let unclear =
            || Error::Asked("what is asked for cannot be read: both must be of one version".to_owned());
        let [memory, input, output, error] = <[OwnedFd; 4]>::try_from(descriptors).map_err(|_| unclear())?;
        let wanted = wire::read(memory).ok_or_else(unclear)?;
        if let Some(told) = told {
            self.refuse_open_log(told)?;
        }
        let asked = self.rules.judged(&wanted)?;
        let standard = [input.as_fd(), output.as_fd(), error.as_fd()];
        let watched = match told {
            Some(told) => self.watched(kind, told)?,
            None => None,
        };
        Ok(self.session.ask(&asked, standard, connection.as_fd(), watched)?)
    }

    /// Gets ready for a command that somebody wants to see; where nobody can look at it, that is told, and it runs.
    fn watched<'a>(&self, kind: Kind, told: &'a OwnedFd) -> Result<Option<Watched<'a>>, Error> {
        let note = |text: String| {
            let _ = tell(told.as_raw_fd(), &Passed::Note(text).encode());
        };
        if kind == Kind::Monitor && self.session.plan().network != NetworkPlan::Isolated {
            note(CONNECTIONS.to_owned());
        }
        if !self.session.is_watched() {
            if let Some(why) = observed::unobservable(&self.rules.host) {
                note(observed::unseen_told(&why));
                return Ok(None);
            }
            prepared::watch(&self.rules, &self.session, self.written_log.as_deref())?;
        }
        let live = if kind == Kind::Monitor { Live::Told } else { Live::Summed };
        let observed = observed::asked(live, Some(&self.own));
        Ok(Some(Watched { observed, told: told.as_fd() }))
    }

    /// Refuses a log that commands could rewrite: the sandbox stands, and nothing more can be protected in it.
    fn refuse_open_log(&self, told: &OwnedFd) -> Result<(), Error> {
        let mut bytes = [0; LONGEST_LOG];
        let length = recv(told.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT).unwrap_or(0);
        let path = bytes.get(..length).and_then(|bytes| bytes.strip_prefix(LOG)).ok_or_else(|| {
            Error::Asked("where the log is cannot be read: both must be of one version".to_owned())
        })?;
        let Some(path) = AbsolutePath::new(path) else { return Ok(()) };
        // What is there inside is another.
        if [b"dev", b"tmp"].iter().any(|own| path.is_within(&AbsolutePath::root().join(*own))) {
            return Ok(());
        }
        let Rules { policy, host, .. } = &self.rules;
        let world = world(host, policy, &[&path], Ways::Everything);
        let question = Question::Path { action: PathAction::Write, path: path.clone() };
        match decide(policy, &world, &question).verdict {
            Verdict::Denied => Ok(()),
            Verdict::Allowed => Err(Error::Asked(format!(
                "commands of the session may write the log `{path}`: name a file where they may not, or give it to `fence session start`"
            ))),
        }
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

    /// Logs that a limit of all commands together has ended the session.
    fn note_limit(&mut self) {
        let Some(kind) = self.session.used_up().map(Resource::limit) else { return };
        let policy = &self.rules.policy;
        if let (Some((statement, place)), Some(log)) = (printer::limit_in_force(policy, kind), &mut self.log)
        {
            let item = "every command of the session".to_owned();
            let event = Event::limited(kind, item, (&statement, &place), policy);
            let _ = log.add(&event);
        }
    }

    /// Takes note of a command that was refused; whoever asked for it is told by the answer.
    fn note(&mut self, error: &Error, told: Option<&OwnedFd>) {
        let Error::Refused { refusal, .. } = error else { return };
        let Rules { policy, host, .. } = &self.rules;
        let (_, known) = remedy::refused(policy, refusal);
        if let Some(log) = &mut self.log {
            let _ = log.add(&known.event);
        }
        if let Ok(mut keeper) = Keeper::open(&host.person.home, host.person.uid)
            && let Some(last) = LastRefusal::of(&known, &self.rules.name())
        {
            let _ = keeper.keep(&last);
        }
        if let Some(told) = told {
            let _ = tell(told.as_raw_fd(), &Passed::Known(known).encode());
        }
    }
}

/// The longest message that says where a log is.
const LONGEST_LOG: usize = 8 * 1024;

/// What `-m` does not show.
const CONNECTIONS: &str = "what is refused of connections is told to the program and in the session's log (`fence session start --log`), not here: one process serves all commands of a session";

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
