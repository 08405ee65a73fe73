//! A sandbox that stays, and is asked for one command after the other.
//!
//! Its first process makes the sandbox as for a run, and then waits for requests. A request is one message with descriptors:
//! memory in which the command is laid out, its three standard descriptors, and one end of a channel on which whoever asked
//! hears how the command ended, and sends it signals. So nobody stands between both while a command runs, and the process
//! that keeps the session knows no commands.

mod keeper;
mod running;
mod server;
mod terms;
mod watching;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use fence_compiler::pattern::Variable;
use fence_compiler::plan::{CallRule, LimitMechanism, LinuxPlan, NetworkPlan};
use fence_compiler::policy::Policy;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::socket::{MsgFlags, recv};
use nix::sys::stat::Mode;

pub(crate) use crate::linux::message::LENGTH;
pub(crate) use crate::linux::sys::request::{Controls, Terminal};
pub(crate) use crate::linux::sys::terminal::Size;
pub(crate) use running::MOST;
pub(crate) use watching::Watched;

use super::cgroup::{self, Leaf};
use super::command::{Filter, no_core, rlimit};
use super::descriptors::Standard;
use super::explain;
use super::landlock::Layers;
use super::mediator::Mediator;
use super::message::{Forward, List, Message, Origin};
use super::operation::{Operation, Step};
use super::parent::{channel, filter, group_signals, judging, lost, pipe};
use super::relay::{Beside, relay};
use super::sandbox::Sandbox;
use super::sys::process::{self, Readable, Side, Signals, Stack};
use super::sys::{self, request, socket};
use crate::launch::{Arbiter, Attendant, Error, Observed, Outcome, Resource, Timings};
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
    /// The ruleset that each command enters, by its number in the first process.
    inner: Option<RawFd>,
    /// What commands are held by.
    held: RwLock<Held>,
    /// What judges the starts of programs, one for each policy that commands still have, and what serves connections.
    helpers: Mutex<(Vec<Mediator>, Option<Server>)>,
    /// Where commands are handed over to who judges them or looks at them, if somebody does.
    judged: Mutex<Option<OwnedFd>>,
    /// What is looked at of every command.
    observed: Observed,
    /// How it ended, once that was seen.
    ended: Mutex<Option<String>>,
    /// The cgroup that it is in, if a limit is held by one.
    leaf: Option<Leaf>,
}

/// What the commands of a session are held by from now on.
#[derive(Debug)]
struct Held {
    plan: LinuxPlan,
    /// What the process of each does.
    steps: Vec<Step>,
}

/// How often the policy of a session may be narrowed: what judges by each stays until the session ends.
pub(crate) const MOST_POLICIES: usize = 32;

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
    /// The terminal that it is to have of its own.
    pub(crate) terminal: Option<Terminal>,
}

/// The byte that brings the end of a command's terminal that is relayed: no message about a command begins so.
pub(crate) const TERMINAL: u8 = 0xfe;

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

/// What a session is narrowed by.
pub(crate) struct Narrower<'a> {
    /// What is applied to commands; its file tree is that of the session.
    pub(crate) plan: LinuxPlan,
    /// Judges the starts of programs, if the plan wants that.
    pub(crate) arbiter: Option<&'a mut dyn Arbiter>,
    /// What it goes on using.
    pub(crate) kept: Vec<RawFd>,
    /// What connections are decided by.
    pub(crate) policy: &'a Policy,
    /// The values of its variables.
    pub(crate) values: BTreeMap<Variable, Vec<u8>>,
}

/// Who judges and serves beside a session, each in a process of its own that ends with the session, and the session with it.
pub(crate) struct Helpers<'a> {
    /// Serves the connections that the plan allows.
    pub(crate) attendant: Option<&'a mut dyn Attendant>,
    /// Judges the starts of programs that the plan wants judged.
    pub(crate) arbiter: Option<&'a mut dyn Arbiter>,
    /// What is looked at of every command.
    pub(crate) observed: Observed,
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
        let Helpers { attendant, arbiter, observed, kept } = helpers;
        let attendant = attendant.filter(|_| plan.network != NetworkPlan::Isolated);
        let judging = judging(&plan, observed, arbiter)?;
        let leaf = Leaf::of(&plan, cgroup::Beside(1))?;
        let budget = leaf.as_ref().and_then(Leaf::budget);
        let layers = Layers::new()?;
        let mut calls = plan.seccomp.clone();
        if layers.inner().is_none() {
            calls.push(group_signals());
        }
        let wire = judging.as_ref().map(|_| channel()).transpose()?;
        let wire_end = wire.as_ref().map(|(_, end)| end.as_raw_fd());
        let inner = layers.inner();
        let steps = commands(&plan, &calls, observed, wire_end, inner)?;
        let mut own_steps = commands(&plan, &calls, observed, wire_end, inner)?;
        terms::make_room(&mut own_steps);
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
            .chain(budget.map(|budget| budget.statistics))
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
            steps: own_steps,
            time: sandbox.time,
            budget,
            ends,
            stack: Stack::new(),
            running: Running::new(),
            idle,
        };
        let cloned = process::clone_namespaces(leaf.as_ref().map(Leaf::descriptor));
        let first = match cloned.map_err(|errno| explain::cloned(errno, leaf.as_ref()))? {
            Side::Child => keeper.run(),
            Side::Parent { pid } => pid,
        };
        drop(keeper);
        drop((report_end, control_end, requests_end, null, processes));
        let (mediator, judged) = match (judging, wire) {
            (Some(arbiter), Some((outer_end, end))) => {
                let kept: Vec<RawFd> = kept.iter().copied().chain([judge_held.as_raw_fd()]).collect();
                (Some(Mediator::keep(arbiter, &plan, observed, outer_end, &kept)), Some(end))
            }
            _ => (None, None),
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
            inner,
            held: RwLock::new(Held { plan, steps }),
            helpers: Mutex::new((mediator.into_iter().collect(), server)),
            judged: Mutex::new(judged),
            observed,
            ended: Mutex::new(None),
            leaf,
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
        watched: Option<Watched<'_>>,
    ) -> Result<(), Error> {
        let numbers = standard.map(|one| one.as_raw_fd());
        let standard = Standard::at(numbers)?;
        standard.refuse_reopening(&self.held().plan)?;
        standard.refuse_cgroups(&self.held().plan)?;
        let watched = watched.map(|watched| self.watched(&watched)).transpose()?;
        let memory = request::compose(
            &asked.program,
            &asked.directory,
            &asked.argv,
            &asked.environment,
            asked.umask,
            asked.terminal,
            watched.as_ref().map_or(&[], |watched| watched.filter.as_slice()),
        )
        .map_err(|errno| self.refused(errno))?;
        let [input, output, error] = numbers;
        let mut sent = vec![memory.as_raw_fd(), input, output, error, channel.as_raw_fd()];
        sent.extend(watched.iter().flat_map(|watched| [watched.judge.as_raw_fd(), watched.told]));
        socket::send_descriptors(self.requests.as_raw_fd(), &sent).map_err(|errno| match errno {
            Errno::EPIPE | Errno::ECONNRESET => Error::Lost(self.end_told()),
            errno => self.refused(errno),
        })
    }

    /// Holds the commands that are asked for from when this returns by a narrower policy, and has connections decided by it.
    /// Its plan makes the same file tree. Nothing of what runs changes but that.
    ///
    /// # Errors
    /// Who judges by it cannot be started, or the session has ended. What was in force is, or something narrower.
    pub(crate) fn narrow(&self, next: Narrower<'_>) -> Result<(), Error> {
        let Narrower { mut plan, arbiter, kept, policy, values } = next;
        let judging = judging(&plan, self.observed, arbiter)?;
        let mut helpers = self.helpers.lock().unwrap_or_else(PoisonError::into_inner);
        let (mediators, server) = &mut *helpers;
        if mediators.len() >= MOST_POLICIES {
            return Err(Error::Plan(format!(
                "the policy of this session was narrowed {MOST_POLICIES} times, and what judges by each lives on; stop it and start it again"
            )));
        }
        if let Some(server) = server {
            server.narrow(policy, values).map_err(|error| {
                Error::Serve(format!("connections cannot be judged by the other policy: {error}; stop the session and start it again"))
            })?;
        }
        // What was refused stays so, whatever the lists of both say.
        let mut before = self.held().plan.seccomp.clone();
        before.retain(|rule| !plan.seccomp.contains(rule));
        plan.seccomp.extend(before);
        let mut calls = plan.seccomp.clone();
        if self.inner.is_none() {
            calls.push(group_signals());
        }
        let (heard, told) = channel()?;
        let mut sent = vec![told.as_raw_fd()];
        let (judge, wire) = match judging {
            Some(arbiter) => {
                let (outer_end, end) = channel()?;
                // It ends with the process that judges, and the session with it.
                let (lives, held) = pipe()?;
                let kept: Vec<RawFd> = kept.iter().copied().chain([held.as_raw_fd()]).collect();
                let judge = Mediator::keep(arbiter, &plan, self.observed, outer_end, &kept)
                    .map_err(explain::mediator)?;
                sent.extend([end.as_raw_fd(), lives.as_raw_fd()]);
                (Some(judge), Some((end, lives)))
            }
            None => (None, None),
        };
        let judged = wire.as_ref().map(|(end, _)| end.as_raw_fd());
        let answer = commands(&plan, &calls, self.observed, judged, self.inner).and_then(|steps| {
            let memory = terms::compose(&steps, time(&plan))?;
            sent.insert(0, memory.as_raw_fd());
            let sent = socket::send_with(self.requests.as_raw_fd(), keeper::NARROW, &sent);
            drop(told);
            let mut bytes = [0; LENGTH];
            let heard = sent.and_then(|()| recv(heard.as_raw_fd(), &mut bytes, MsgFlags::empty()));
            match heard.ok().and_then(|_| Message::decode(bytes)) {
                Some(Message::Ready) => Ok(steps),
                Some(Message::Failed(_, index, errno)) => Err(explain::first(index, Errno::from_raw(errno))),
                _ if self.has_ended().is_some() => Err(Error::Lost(self.end_told())),
                _ => Err(explain::first(1, Errno::EIO)),
            }
        });
        match answer {
            Ok(steps) => {
                mediators.extend(judge);
                *self.judged.lock().unwrap_or_else(PoisonError::into_inner) = wire.map(|(end, _)| end);
                *self.held.write().unwrap_or_else(PoisonError::into_inner) = Held { plan, steps };
                Ok(())
            }
            Err(error) => {
                if let Some(judge) = judge {
                    let _ = judge.conclude();
                }
                Err(error)
            }
        }
    }

    /// The plan that commands are held by.
    pub(crate) fn plan(&self) -> LinuxPlan {
        self.held().plan.clone()
    }

    fn held(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self, errno: Errno) -> Error {
        explain::first(1, errno)
    }

    /// What the failure of a command's start means.
    pub(crate) fn explain(&self, index: Option<u32>, errno: i32, asked: &Asked) -> Error {
        let errno = Errno::from_raw(errno);
        let held = self.held();
        let step = index.and_then(|index| held.steps.get(usize::try_from(index).ok()?));
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
        self.report.as_fd()
    }

    /// What all its commands together have used up, if that has ended it.
    pub(crate) fn used_up(&self) -> Option<Resource> {
        self.leaf.as_ref().and_then(Leaf::used_up)
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
        for mediator in helpers.0.drain(..) {
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

/// How long each command may take.
fn time(plan: &LinuxPlan) -> Option<Duration> {
    let timers = plan.limits.iter().filter(|limit| limit.by == LimitMechanism::Timer);
    timers.map(|limit| Duration::from_millis(limit.amount)).min()
}

/// What the process of each command does, with the filter of these calls; where starts are judged, through this channel.
fn commands(
    plan: &LinuxPlan,
    calls: &[CallRule],
    observed: Observed,
    judged: Option<RawFd>,
    inner: Option<RawFd>,
) -> Result<Vec<Step>, Error> {
    steps(plan, filter(calls, &plan.mediated, observed, judged)?, inner)
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
    steps.extend(no_core(plan));
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
        Message::UsedUp => Heard::Ended(Outcome::UsedUp(Resource::Cpu)),
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

/// A command that is relayed to.
struct Relayed<'a> {
    connection: &'a OwnedFd,
    hear: &'a mut dyn FnMut() -> ControlFlow<()>,
}

impl Beside for Relayed<'_> {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }

    fn hear(&mut self) -> ControlFlow<()> {
        (self.hear)()
    }

    fn signal(&mut self, received: process::Received) {
        pass_on(received, self.connection);
    }
}

fn pass_on(received: process::Received, connection: &OwnedFd) {
    let origin = if received.sender == process::Sender::Kernel { Origin::Kernel } else { Origin::Process };
    // In a session of its own nothing but SIGSTOP stops it.
    let signal = if received.signal == libc::SIGTSTP { libc::SIGSTOP } else { received.signal };
    let _ = socket::tell(connection.as_raw_fd(), &[Forward { signal, origin }.encode()]);
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
            if received.signal != libc::SIGTTIN && received.signal != libc::SIGTTOU {
                pass_on(received, connection);
            }
        }
        true
    }

    /// Relays the command's own terminal until `hear` breaks, which is asked when there is something to hear.
    pub(crate) fn relay(
        &self,
        outer: OwnedFd,
        connection: &OwnedFd,
        hear: &mut dyn FnMut() -> ControlFlow<()>,
    ) {
        relay(outer, self.received, &mut Relayed { connection, hear });
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
