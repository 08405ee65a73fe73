//! A sandbox that stays, and is asked for one command after the other.
//!
//! Its first process makes the sandbox as for a run, and then waits for requests. A request is one message with descriptors:
//! memory in which the command is laid out, its three standard descriptors, and one end of a channel on which whoever asked
//! hears how the command ended, and sends it signals. So nobody stands between both while a command runs, and the process
//! that keeps the session knows no commands.

mod keeper;
mod running;
mod server;

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fence_compiler::plan::{LimitMechanism, LinuxPlan, NetworkPlan};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

pub(crate) use crate::linux::message::LENGTH;
pub(crate) use running::MOST;

use super::command::{Filter, rlimit};
use super::descriptors::Standard;
use super::explain;
use super::landlock::Layers;
use super::mediator::Mediator;
use super::message::{Forward, List, Message, Origin};
use super::operation::{Operation, Step};
use super::parent::{channel, filter, group_signals, judging, lost, pipe};
use super::sandbox::Sandbox;
use super::sys::process::{self, Readable, Side, Signals, Stack};
use super::sys::{self, request, socket};
use crate::launch::{Arbiter, Attendant, Error, Outcome, Timings};
use keeper::{Ends, Keeper};
use running::Running;
use server::Server;

/// A sandbox that commands are started in.
#[derive(Debug)]
pub(crate) struct Session {
    /// Its first process.
    first: i32,
    /// Says what it has to say of itself; it ends with it.
    report: OwnedFd,
    /// Its end is the session's.
    control: Option<OwnedFd>,
    requests: OwnedFd,
    /// What the process of each command does.
    steps: Vec<Step>,
    plan: LinuxPlan,
    /// What judges the starts of programs, and what serves connections.
    helpers: Mutex<(Option<Mediator>, Option<Server>)>,
    /// How it ended, once that was seen.
    ended: Mutex<Option<String>>,
}

/// What a session is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The program's file: an absolute path inside.
    pub(crate) program: CString,
    /// The directory that it starts in, inside.
    pub(crate) directory: CString,
    /// The arguments, the program's name first.
    pub(crate) argv: Vec<CString>,
    /// The whole environment, as `NAME=VALUE`.
    pub(crate) environment: Vec<CString>,
    /// The mask of modes.
    pub(crate) umask: u32,
}

/// What is heard of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It has ended.
    Ended(Outcome),
    /// This signal has stopped it.
    Stopped(i32),
    /// It was not started: the step with this index failed, or none if the first process could not start it.
    Failed(Option<u32>, i32),
}

/// Who judges and serves beside a session, each in a process of its own that ends with the session, and the session with it.
#[derive(Default)]
pub(crate) struct Helpers<'a> {
    /// Serves the connections that the plan allows.
    pub(crate) attendant: Option<&'a mut dyn Attendant>,
    /// Judges the starts of programs that the plan wants judged.
    pub(crate) arbiter: Option<&'a mut dyn Arbiter>,
    /// What both go on using; every other descriptor is closed in them.
    pub(crate) kept: Vec<RawFd>,
}

impl Session {
    /// Makes the sandbox of a plan, and keeps it until this value is gone, or until nothing was done in it for a time.
    ///
    /// # Errors
    /// Whatever the plan asks for and the host refuses.
    pub(crate) fn start(
        plan: LinuxPlan,
        idle: Option<Duration>,
        helpers: Helpers<'_>,
    ) -> Result<Session, Error> {
        let Helpers { attendant, arbiter, kept } = helpers;
        let attendant = attendant.filter(|_| plan.network != NetworkPlan::Isolated);
        let judging = judging(&plan, arbiter)?;
        let layers = Layers::new()?;
        let mut calls = plan.seccomp.clone();
        if layers.inner().is_none() {
            calls.push(group_signals());
        }
        let wire = judging.as_ref().map(|_| channel()).transpose()?;
        let filter = filter(&calls, wire.as_ref().map(|(_, end)| end.as_raw_fd()))?;
        let steps = steps(&plan, filter, layers.inner())?;
        let served = attendant.as_ref().map(|_| channel()).transpose()?;
        // Each ends with a process beside the session, and the session with it.
        let (judge_lives, judge_held) = pipe()?;
        let (server_lives, server_held) = pipe()?;
        let (report, report_end) = pipe()?;
        let (control_end, control) = pipe()?;
        let (requests, requests_end) = channel()?;
        let (null, processes) = (nothing()?, nothing()?);
        let ends = Ends {
            report: report_end.as_raw_fd(),
            control: control_end.as_raw_fd(),
            requests: requests_end.as_raw_fd(),
            null: null.as_raw_fd(),
            processes: processes.as_raw_fd(),
            others: [
                judging.as_ref().map_or(-1, |_| judge_lives.as_raw_fd()),
                attendant.as_ref().map_or(-1, |_| server_lives.as_raw_fd()),
            ],
        };
        let keep: Vec<RawFd> = [ends.report, ends.control, ends.requests, ends.null, ends.processes]
            .into_iter()
            .chain(ends.others.into_iter().filter(|other| *other >= 0))
            .chain(wire.as_ref().map(|(_, end)| end.as_raw_fd()))
            .collect();
        let inner_end = served.as_ref().map(|(_, end)| end.as_raw_fd());
        let mut sandbox = Sandbox::new(&plan, &layers, &Standard::none(), Timings::Off, &keep, inner_end)?;
        // After the file tree is made, and before Landlock holds.
        let made = sandbox.steps.iter().position(|step| matches!(step.operation, Operation::NoNewPrivileges));
        let remembered = [Operation::Remember { processes: ends.processes }.into()];
        let at = made.unwrap_or(sandbox.steps.len());
        sandbox.steps.splice(at..at, remembered);
        let keeper = Keeper {
            sandbox: &sandbox,
            steps: &steps,
            ends,
            stack: Stack::new(),
            running: Running::new(),
            idle,
        };
        let first = match process::clone_namespaces().map_err(explain::namespaces)? {
            Side::Child => keeper.run(),
            Side::Parent { pid } => pid,
        };
        drop(keeper);
        drop((report_end, control_end, requests_end, null, processes));
        let mediator = match (judging, wire) {
            (Some(arbiter), Some((outer_end, _))) => {
                let kept: Vec<RawFd> = kept.iter().copied().chain([judge_held.as_raw_fd()]).collect();
                Some(Mediator::keep(arbiter, outer_end, &kept))
            }
            _ => None,
        };
        let server = match (attendant, served) {
            (Some(attendant), Some((outer_end, _))) => {
                let kept: Vec<RawFd> = kept.iter().copied().chain([server_held.as_raw_fd()]).collect();
                Some(Server::start(attendant, outer_end, &plan, &kept))
            }
            _ => None,
        };
        drop((judge_held, server_held, judge_lives, server_lives));
        let (mediator, server) = match (mediator.transpose(), server.transpose()) {
            (Ok(mediator), Ok(server)) => (mediator, server),
            (Err(errno), _) | (_, Err(errno)) => {
                drop(control);
                let _ = process::wait_for_end(first);
                return Err(explain::mediator(errno));
            }
        };
        let failed = begun(&report, &sandbox);
        let mut session = Session {
            first,
            report,
            control: Some(control),
            requests,
            steps,
            plan,
            helpers: Mutex::new((mediator, server)),
            ended: Mutex::new(None),
        };
        match failed {
            Some(error) => Err(error),
            None if session.has_ended().is_some() => Err(Error::Lost(session.end())),
            None => Ok(session),
        }
    }

    /// Has a command started. What becomes of it is told on the channel's other end, which ends it when it is closed.
    ///
    /// # Errors
    /// A standard descriptor cannot be handed on, or the session has ended.
    pub(crate) fn ask(
        &self,
        asked: &Asked,
        standard: [BorrowedFd<'_>; 3],
        channel: BorrowedFd<'_>,
    ) -> Result<(), Error> {
        let numbers = standard.map(|one| one.as_raw_fd());
        Standard::at(numbers)?.refuse_reopening(&self.plan)?;
        let memory =
            request::compose(&asked.program, &asked.directory, &asked.argv, &asked.environment, asked.umask)
                .map_err(|errno| self.refused(errno))?;
        let [input, output, error] = numbers;
        let sent = [memory.as_raw_fd(), input, output, error, channel.as_raw_fd()];
        socket::send_descriptors(self.requests.as_raw_fd(), &sent).map_err(|errno| match errno {
            Errno::EPIPE | Errno::ECONNRESET => Error::Lost(self.end_told()),
            errno => self.refused(errno),
        })
    }

    fn refused(&self, errno: Errno) -> Error {
        explain::first(1, errno)
    }

    /// What the failure of a command's start means.
    pub(crate) fn explain(&self, index: Option<u32>, errno: i32, asked: &Asked) -> Error {
        let errno = Errno::from_raw(errno);
        let step = index.and_then(|index| self.steps.get(usize::try_from(index).ok()?));
        match step {
            None if errno == Errno::EAGAIN => Error::Plan(format!(
                "the command cannot be started: {MOST} at once are the most in a session, or too many processes run; wait for one to end"
            )),
            Some(step) => explain::asked(step, errno, &asked.program),
            None => explain::first(1, errno),
        }
    }

    /// Tells when the session has ended by itself: it can be read from then on.
    pub(crate) fn lifeline(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.report.as_fd()
    }

    fn has_ended(&self) -> Option<()> {
        let [report] = process::wait_readable([self.report.as_raw_fd()], 0);
        (report == Readable::Ended).then_some(())
    }

    fn end_told(&self) -> String {
        let mut ended = match self.ended.lock() {
            Ok(ended) => ended,
            Err(poisoned) => poisoned.into_inner(),
        };
        ended.get_or_insert_with(|| lost(process::wait_for_end(self.first))).clone()
    }

    fn end(&mut self) -> String {
        self.control = None;
        self.end_told()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
        let helpers = self.helpers.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(mediator) = helpers.0.take() {
            let _ = mediator.conclude();
        }
        if let Some(server) = helpers.1.take() {
            server.conclude();
        }
    }
}

/// Waits until the sandbox is made; else why it is not.
fn begun(report: &OwnedFd, sandbox: &Sandbox) -> Option<Error> {
    let mut bytes = [0; LENGTH];
    loop {
        match sys::read(report.as_raw_fd(), &mut bytes) {
            Err(Errno::EINTR) => {}
            Ok(LENGTH) => {
                return match Message::decode(bytes) {
                    Some(Message::Failed(List::Sandbox, index, errno)) => {
                        let step = sandbox.steps.get(usize::try_from(index).unwrap_or(usize::MAX));
                        let errno = Errno::from_raw(errno);
                        Some(step.map_or_else(|| explain::first(0, errno), |step| explain::step(step, errno)))
                    }
                    Some(Message::Failed(_, index, errno)) => {
                        Some(explain::first(index, Errno::from_raw(errno)))
                    }
                    _ => None,
                };
            }
            _ => return None,
        }
    }
}

/// What the process of each command does, in order.
fn steps(plan: &LinuxPlan, filter: Filter, inner: Option<RawFd>) -> Result<Vec<Step>, Error> {
    // Of its own session it is the first, so that everything in it can be found.
    let mut steps = vec![Operation::NewSession, Operation::Standard];
    for signal in [libc::SIGPIPE, libc::SIGCHLD] {
        steps.push(Operation::Signal { signal, disposition: process::Disposition::Default });
    }
    steps.push(Operation::Restore { signals: Signals::new(&[]) });
    steps.push(Operation::StartAsked);
    for limit in plan.limits.iter().filter(|limit| limit.by == LimitMechanism::Rlimit) {
        steps.push(rlimit(limit)?);
    }
    steps.extend(inner.map(|ruleset| Operation::Enter { ruleset }));
    steps.push(match filter {
        Filter::Alone(program) => Operation::Filter { program },
        Filter::Judged { program, channel } => Operation::MediateAsked { program, channel },
    });
    steps.push(Operation::Check);
    steps.push(Operation::ExecuteAsked);
    Ok(steps.into_iter().map(Step::from).collect())
}

fn nothing() -> Result<OwnedFd, Error> {
    nix::fcntl::open("/dev/null", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).map_err(|errno| {
        Error::Step {
            attempt: "opening `/dev/null`".to_owned(),
            reason: errno.desc().to_lowercase(),
            repair: "too many files are open: close some, or raise `ulimit -n`".to_owned(),
            rules: Vec::new(),
        }
    })
}

/// A pair of ends: one for [`Session::ask`], one for who hears of the command.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd), Error> {
    channel()
}

/// What a message of the channel says; `None` for what is none.
pub(crate) fn heard(bytes: [u8; LENGTH]) -> Option<Heard> {
    Some(match Message::decode(bytes)? {
        Message::Exited(code) => Heard::Ended(Outcome::Exited(code)),
        Message::Signalled(signal) => Heard::Ended(Outcome::Signalled(signal)),
        Message::TimedOut => Heard::Ended(Outcome::TimedOut),
        Message::Stopped(signal) => Heard::Stopped(signal),
        Message::Failed(List::Command, index, errno) => Heard::Failed(Some(index), errno),
        Message::Failed(_, _, errno) => Heard::Failed(None, errno),
        Message::Reached(..) | Message::Ready => return None,
    })
}

/// The byte that a signal for a command is sent as.
pub(crate) fn signal(signal: i32) -> u8 {
    Forward { signal, origin: Origin::Process }.encode()
}

/// The mask of modes of this process.
pub(crate) fn umask() -> u32 {
    // The kernel tells it without changing it, which another thread would see.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
}

/// A standard descriptor of this process.
pub(crate) fn standard(number: RawFd) -> BorrowedFd<'static> {
    sys::standard(number)
}

/// Puts `/dev/null` in the place of standard input and output.
pub(crate) fn release_standard() {
    sys::release_standard();
}

/// Memory with these bytes in it.
pub(crate) fn memory(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    Ok(request::memory(bytes)?)
}

/// Sends a byte and descriptors through a connection.
pub(crate) fn send_with(connection: RawFd, byte: u8, descriptors: &[RawFd]) -> std::io::Result<()> {
    if descriptors.is_empty() {
        Ok(socket::tell(connection, &[byte])?)
    } else {
        Ok(socket::send_with(connection, byte, descriptors)?)
    }
}

/// Takes a byte and descriptors from a connection, whose other end has a second to send them.
pub(crate) fn receive(connection: RawFd) -> std::io::Result<(Option<u8>, Vec<OwnedFd>)> {
    let [ready] = process::wait_readable([connection], 1000);
    if ready == Readable::No {
        return Err(Errno::ETIMEDOUT.into());
    }
    Ok(socket::take_with(connection)?)
}

/// Sends a message that nobody has to take.
pub(crate) fn tell(connection: RawFd, bytes: &[u8]) -> std::io::Result<()> {
    Ok(socket::tell(connection, bytes)?)
}

/// Whether the process that made a connection still lives; where the kernel cannot tell, it does.
pub(crate) fn peer_lives(connection: RawFd) -> bool {
    match socket::peer_process(connection) {
        Ok(process) => {
            let [ended] = process::wait_readable([process.as_raw_fd()], 0);
            ended == Readable::No
        }
        Err(errno) => errno == Errno::ENOPROTOOPT,
    }
}

/// A descriptor that was just made for this process.
pub(crate) fn owned(descriptor: RawFd) -> OwnedFd {
    sys::owned(descriptor)
}

/// On which side of becoming a daemon a process finds itself.
pub(crate) enum Daemon {
    /// In the one that goes on as it was.
    Caller,
    /// In the one that stays, with what can be read from when a signal asks it to end.
    Child(OwnedFd),
}

/// Makes a process that stays when this one ends: in a session of its own, without the caller's standard descriptors. This
/// process has one thread.
pub(crate) fn become_daemon() -> std::io::Result<Daemon> {
    match process::fork()? {
        Side::Parent { .. } => Ok(Daemon::Caller),
        Side::Child => {
            process::new_session()?;
            sys::release_standard();
            sys::put(0, 2)?;
            let signals = Signals::new(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP]);
            signals.block();
            Ok(Daemon::Child(sys::owned(signals.descriptor()?)))
        }
    }
}

/// The signals that this process gets in the place of a command of a session.
pub(crate) struct Forwarded {
    received: RawFd,
}

impl Forwarded {
    /// From now on they are for the command.
    pub(crate) fn begin() -> Forwarded {
        let signals = Signals::new(&super::parent::PASSED);
        signals.block();
        Forwarded { received: signals.descriptor().unwrap_or(-1) }
    }

    /// Waits until there is something to hear on a connection, or a signal, which is passed on: then it says so.
    pub(crate) fn wait(&self, connection: &OwnedFd) -> bool {
        let [signals, _] = process::wait_readable([self.received, connection.as_raw_fd()], -1);
        if signals != Readable::Yes {
            return false;
        }
        while let Some(received) = process::take_signal(self.received) {
            let signal = received.signal;
            if signal == libc::SIGTTIN || signal == libc::SIGTTOU {
                continue;
            }
            let origin =
                if received.sender == process::Sender::Kernel { Origin::Kernel } else { Origin::Process };
            // In a session of its own nothing but SIGSTOP stops it.
            let signal = if signal == libc::SIGTSTP { libc::SIGSTOP } else { signal };
            let _ = socket::tell(connection.as_raw_fd(), &[Forward { signal, origin }.encode()]);
        }
        true
    }

    /// Stops as the command was stopped, and lets it go on when this process does.
    pub(crate) fn stop(&self, signal: i32, connection: &OwnedFd) {
        if !super::parent::has_terminal() {
            // Nobody would let this process go on; the command stays as it is, until its time is over.
            return;
        }
        let signal = if signal == libc::SIGSTOP { libc::SIGTSTP } else { signal };
        super::parent::stop(signal);
        let go_on = Forward { signal: libc::SIGCONT, origin: Origin::Kernel };
        let _ = socket::tell(connection.as_raw_fd(), &[go_on.encode()]);
    }
}
