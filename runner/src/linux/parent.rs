//! The process that starts a sandbox, waits for its command, and behaves as the command does.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use fence_compiler::plan::{CallRule, Condition, LinuxPlan, Mediated, NetworkPlan};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::killpg;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::pipe2;

use super::cgroup::{Beside, Leaf};
use super::command::{Command, Filter};
use super::descriptors::Standard;
use super::first::First;
use super::landlock::Layers;
use super::mediator::{self, Mediator};
use super::message::{self, Forward, List, Message, Origin};
use super::sandbox::Sandbox;
use super::sys::process::{self, Change, Readable, Sender, Side, Signals, Stack};
use super::sys::processor::Processors;
use super::sys::socket;
use super::{explain, seccomp, sys};
use crate::launch::{
    self, Arbiter, Attendant, Ended, Error, Making, Observed, Options, Outcome, Phase, Resource, Sockets,
    Timing, Timings,
};
use crate::proxy::{self, Inside};

/// The signals that the command gets in the place of fence. SIGTTIN and SIGTTOU are never passed on, but they must
/// not stop fence before the command.
pub(super) const PASSED: [i32; 11] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGTSTP,
    libc::SIGCONT,
    libc::SIGWINCH,
    libc::SIGTTIN,
    libc::SIGTTOU,
];

/// Makes the sandbox, starts the command, waits for its end.
pub(super) fn run(
    plan: &LinuxPlan,
    command: &launch::Command,
    options: &Options,
    attendant: Option<&mut dyn Attendant>,
    arbiter: Option<&mut dyn Arbiter>,
) -> Result<Ended, Error> {
    let start = sys::now();
    let standard = Standard::new()?;
    standard.refuse_reopening(plan)?;
    standard.refuse_cgroups(plan)?;
    let signals = Signals::new(&PASSED);
    let blocked = Blocked::new(signals);
    let mut leaf = Leaf::of(plan, Beside(1))?;
    let budget = leaf.as_ref().and_then(Leaf::budget);
    let layers = Layers::new()?;
    let mut calls = plan.seccomp.clone();
    if layers.inner().is_none() {
        calls.push(group_signals());
    }
    let judging = judging(plan, options.observed, arbiter)?;
    let wire = judging.as_ref().map(|_| channel()).transpose()?;
    let wire_end = wire.as_ref().map(|(_, end)| end.as_raw_fd());
    let filter = filter(&calls, &plan.mediated, options.observed, wire_end)?;
    let (report, report_end) = pipe()?;
    let (control_end, control) = pipe()?;
    let channel = attendant.as_ref().map(|_| channel()).transpose()?;
    let inner_end = channel.as_ref().map(|(_, end)| end.as_raw_fd());
    let on_demand = attendant.as_ref().is_some_and(|attendant| attendant.making() == Making::OnDemand);
    let asked = if on_demand { inner_end } else { None };
    let wired = wire.as_ref().map(|(_, end)| end.as_raw_fd());
    let counted = budget.map(|budget| budget.statistics);
    let ends = [report_end.as_raw_fd(), control_end.as_raw_fd()];
    let keep: Vec<RawFd> = ends.into_iter().chain(asked).chain(wired).chain(counted).collect();
    let sandbox = Sandbox::new(plan, &layers, &standard, options.timings, &keep, inner_end)?;
    if let (Some(leaf), Some(_)) = (&mut leaf, &attendant) {
        leaf.leave_removal()?;
    }
    let processors = Processors::keep_to_one();
    let started = command;
    let command =
        Command::new(plan, started, filter, layers.inner(), blocked.before, processors, options.timings)?;
    let mut first = First {
        sandbox: &sandbox,
        command: &command,
        report: report_end.as_raw_fd(),
        control: control_end.as_raw_fd(),
        channel: asked.unwrap_or(-1),
        signals,
        processors,
        stack: Stack::new(),
        budget,
        timings: options.timings,
    };
    let prepared = sys::now();
    let cloned = process::clone_namespaces(leaf.as_ref().map(Leaf::descriptor));
    let pid = match cloned.map_err(|errno| explain::cloned(errno, leaf.as_ref()))? {
        Side::Child => first.run(),
        Side::Parent { pid } => pid,
    };
    if let Some(processors) = processors {
        processors.restore();
    }
    drop((report_end, control_end));
    let channel = channel.map(|(outer_end, _)| outer_end);
    let received = signals.descriptor().unwrap_or(-1);
    let mediator = match (judging, wire) {
        (Some(arbiter), Some((outer_end, _))) => {
            let kept = channel.as_ref().map_or(-1, AsRawFd::as_raw_fd);
            let given_up = [report.as_raw_fd(), control.as_raw_fd(), kept, received];
            Some(Mediator::start(arbiter, plan, options.observed, started, outer_end, &given_up))
        }
        _ => None,
    };
    let (mediator, unmediated) = match mediator.transpose() {
        Ok(mediator) => (mediator, None),
        Err(errno) => (None, Some(explain::mediator(errno))),
    };
    let terminal = standard.foreground();
    if options.standard == launch::Standard::Released {
        sys::release_standard();
    }
    let lifeline = mediator.as_ref().map(|mediator| mediator.lifeline().as_raw_fd());
    let mut watch = Watch {
        report,
        control: Some(control),
        received,
        lifeline: lifeline.unwrap_or(-1),
        reached: Vec::new(),
        end: None,
    };
    let attended = match (unmediated, attendant, channel) {
        (Some(error), _, _) => Err(error),
        (None, Some(attendant), Some(channel)) => attend(attendant, channel, plan, &mut watch),
        _ => Ok(()),
    };
    if attended.is_err() {
        // Without it the first process ends, and everything inside with it.
        watch.control = None;
    }
    watch.until_the_end();
    sys::close(received);
    // The sandbox's processes and mounts are gone when its first process is.
    let change = process::wait_for_end(pid);
    watch.reached.push((Phase::End as u32, sys::now()));
    let concluded = mediator.map(Mediator::conclude);
    let counted = Leaf::conclude(leaf);
    if let Some(terminal) = terminal {
        take_terminal_back(terminal);
    }
    drop(blocked);
    attended?;
    let outcome = match watch.end {
        _ if counted.out_of_memory => Outcome::UsedUp(Resource::Memory),
        Some(Message::Exited(code)) => Outcome::Exited(code),
        Some(Message::Signalled(signal)) => Outcome::Signalled(signal),
        Some(Message::TimedOut) => Outcome::TimedOut,
        Some(Message::UsedUp) => Outcome::UsedUp(Resource::Cpu),
        Some(Message::Failed(list, index, errno)) => {
            let steps = if list == List::Sandbox { &sandbox.steps } else { &command.steps };
            let errno = Errno::from_raw(errno);
            return Err(match steps.get(usize::try_from(index).unwrap_or(usize::MAX)) {
                Some(step) if list != List::First => explain::step(step, errno),
                _ => explain::first(index, errno),
            });
        }
        _ => {
            return Err(match concluded {
                Some(ended) if watch.control.is_none() => Error::Unjudged(lost(ended)),
                _ => Error::Lost(lost(change)),
            });
        }
    };
    let timings = match options.timings {
        Timings::Off => Vec::new(),
        Timings::On => timings(start, prepared, &watch.reached),
    };
    Ok(Ended { outcome, timings, refused: counted.refused })
}

/// Who judges what the plan wants judged, and takes what is observed; `None` if nobody wants anything of the kind.
pub(super) fn judging<'a>(
    plan: &LinuxPlan,
    observed: Observed,
    arbiter: Option<&'a mut dyn Arbiter>,
) -> Result<Option<&'a mut dyn Arbiter>, Error> {
    match (plan.mediated.is_empty() && observed == Observed::Nothing, arbiter) {
        (true, _) => Ok(None),
        (false, Some(arbiter)) => Ok(Some(arbiter)),
        (false, None) => Err(Error::Plan("nobody judges what the plan wants judged".to_owned())),
    }
}

/// The filter of system calls; with a channel, one in which some calls are judged or looked at.
pub(super) fn filter(
    calls: &[CallRule],
    mediated: &BTreeSet<Mediated>,
    observed: Observed,
    channel: Option<RawFd>,
) -> Result<Filter, Error> {
    let compile = |calls: &[CallRule], judged: &[seccomp::Judged]| {
        seccomp::compile_judged(calls, judged, seccomp::Architecture::NATIVE)
            .map_err(|error| Error::Plan(error.to_string()))
    };
    let Some(channel) = channel else { return Ok(Filter::Alone(compile(calls, &[])?)) };
    let (mut calls, mut judged) = (calls.to_vec(), mediator::calls(mediated, observed));
    judged.extend(mediator::kinds::judged(&mut calls));
    Ok(Filter::Judged { program: compile(&calls, &judged)?, channel })
}

/// Without scopes in Landlock (ABI 6), `kill(0, …)` would reach the caller's process group, of which the command is a
/// part: it is refused then. Every other way to signal needs a number of the sandbox's own.
pub(super) fn group_signals() -> CallRule {
    CallRule {
        calls: vec!["kill".to_owned()],
        when: vec![Condition::Equals { argument: 0, width: 32, mask: u64::MAX, value: 0 }],
        errno: "EPERM".to_owned(),
        reason: "signals stay inside".to_owned(),
    }
}

pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    pipe2(OFlag::O_CLOEXEC).map_err(|errno| Error::Step {
        attempt: "making a pipe".to_owned(),
        reason: errno.desc().to_lowercase(),
        repair: "too many files are open: close some, or raise `ulimit -n`".to_owned(),
        rules: Vec::new(),
    })
}

/// Between the parent and the first process: descriptors are handed over through it.
pub(super) fn channel() -> Result<(OwnedFd, OwnedFd), Error> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).map_err(|errno| {
        Error::Step {
            attempt: "making a channel to the sandbox".to_owned(),
            reason: errno.desc().to_lowercase(),
            repair: "too many files are open: close some, or raise `ulimit -n`".to_owned(),
            rules: Vec::new(),
        }
    })
}

/// Takes what was made inside and has it served. Without sockets the first process has failed, and says why itself.
pub(super) fn attend(
    attendant: &mut dyn Attendant,
    channel: OwnedFd,
    plan: &LinuxPlan,
    watch: &mut dyn proxy::Watch,
) -> Result<(), Error> {
    let on_demand = attendant.making() == Making::OnDemand;
    let judged = match plan.network {
        NetworkPlan::Isolated => None,
        NetworkPlan::Judged(_) => {
            let taken = socket::await_descriptors(channel.as_raw_fd()).unwrap_or_default();
            let mut taken = taken.into_iter();
            let (Some(listener), Some(resolver_udp), Some(resolver_tcp)) =
                (taken.next(), taken.next(), taken.next())
            else {
                return Ok(());
            };
            Some(Inside { listener, resolver_udp, resolver_tcp, log: taken.next() })
        }
    };
    let channel = on_demand.then_some(channel);
    attendant.attend(Sockets { judged, channel, explicit: None }, watch)
}

/// Signals that are blocked in this thread until this value is gone.
pub(super) struct Blocked {
    /// The mask before.
    pub(super) before: Signals,
}

impl Blocked {
    pub(super) fn new(signals: Signals) -> Blocked {
        Blocked { before: signals.block() }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.before.restore();
    }
}

/// The parent while the sandbox lives.
struct Watch {
    report: OwnedFd,
    control: Option<OwnedFd>,
    /// Where the signals that are passed on are read.
    received: RawFd,
    /// What ends with the mediator; -1 without one.
    lifeline: RawFd,
    /// The phases that were reached, and when.
    reached: Vec<(u32, u64)>,
    /// What became of the command, or why there was none: the first such message.
    end: Option<Message>,
}

impl proxy::Watch for Watch {
    fn descriptors(&self) -> std::io::Result<Vec<OwnedFd>> {
        let mut all = vec![self.report.try_clone()?, sys::copy(self.received)?];
        if self.lifeline >= 0 {
            all.push(sys::copy(self.lifeline)?);
        }
        Ok(all)
    }

    fn turn(&mut self) -> ControlFlow<()> {
        self.wait(0)
    }
}

impl Watch {
    /// Reads what is reported and passes signals on until nothing can be reported any more.
    fn until_the_end(&mut self) {
        while self.wait(-1).is_continue() {}
    }

    /// Waits so many milliseconds for something to handle, and handles it.
    fn wait(&mut self, milliseconds: i32) -> ControlFlow<()> {
        let waited = [self.report.as_raw_fd(), self.received, self.lifeline];
        let [report, signals, lifeline] = process::wait_readable(waited, milliseconds);
        if lifeline != Readable::No {
            // Nobody judges any more: without its control the first process ends, and everything inside with it.
            self.control = None;
            self.lifeline = -1;
        }
        if signals == Readable::Yes {
            self.pass_on(self.received);
        }
        match report {
            Readable::Yes => self.take_report(),
            Readable::Ended => return ControlFlow::Break(()),
            Readable::No => {}
        }
        ControlFlow::Continue(())
    }

    fn take_report(&mut self) {
        let mut bytes = [0; message::LENGTH];
        if sys::read(self.report.as_raw_fd(), &mut bytes) != Ok(message::LENGTH) {
            return;
        }
        match Message::decode(bytes) {
            Some(
                end @ (Message::Exited(_) | Message::Signalled(_) | Message::TimedOut | Message::UsedUp),
            ) if self.end.is_none() => {
                self.reached.push((Phase::Command as u32, sys::now()));
                self.end = Some(end);
            }
            Some(Message::Reached(phase, time)) => self.reached.push((phase, time)),
            Some(Message::Stopped(signal)) => stop(signal),
            Some(end) if self.end.is_none() => self.end = Some(end),
            _ => {}
        }
    }

    fn pass_on(&self, received: RawFd) {
        while let Some(signal) = process::take_signal(received) {
            let origin = if signal.sender == Sender::Kernel { Origin::Kernel } else { Origin::Process };
            if signal.signal != libc::SIGTTIN && signal.signal != libc::SIGTTOU {
                let forward = Forward { signal: signal.signal, origin };
                if let Some(control) = &self.control {
                    let _ = sys::write(control.as_raw_fd(), &[forward.encode()]);
                }
            }
        }
    }
}

/// Stops as the command was stopped, so that the caller's shell sees a stopped job; returns when that shell lets it
/// continue. Without a terminal there is no such shell, and a command that stopped itself would stop its caller for
/// good, beyond every limit of time.
pub(super) fn stop(signal: i32) {
    if !has_terminal() {
        return;
    }
    process::kill(nix::unistd::getpid().as_raw(), signal);
    let only = Signals::new(&[signal]);
    only.unblock();
    only.block();
}

/// Whether this process has a controlling terminal.
pub(super) fn has_terminal() -> bool {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    nix::fcntl::open(c"/dev/tty", flags, nix::sys::stat::Mode::empty()).is_ok()
}

/// Makes this process group the terminal's foreground again, if a group of the sandbox that is gone was left there.
pub(super) fn take_terminal_back(terminal: RawFd) {
    let (terminal, own) = (sys::standard(terminal), nix::unistd::getpgrp());
    // A group that lives is the caller's shell, which has put this job in the background, or another job of it.
    let is_gone = |group: nix::unistd::Pid| group.as_raw() <= 0 || killpg(group, None) == Err(Errno::ESRCH);
    if nix::unistd::tcgetpgrp(terminal).is_ok_and(|group| group != own && is_gone(group)) {
        // SIGTTOU is blocked here, so that this is allowed from the background. An error leaves it as it is.
        let _ = nix::unistd::tcsetpgrp(terminal, own);
    }
}

pub(super) fn lost(change: Result<Change, Errno>) -> String {
    match change {
        Ok(Change::Signalled(signal)) => match nix::sys::signal::Signal::try_from(signal) {
            Ok(signal) => format!("{signal}"),
            Err(_) => format!("signal {signal}"),
        },
        Ok(Change::Exited(code)) => format!("its own exit with code {code}"),
        _ => "something unknown".to_owned(),
    }
}

/// What each phase took, from the times at which they were reached.
fn timings(start: u64, prepared: u64, reached: &[(u32, u64)]) -> Vec<Timing> {
    let mut times: Vec<(Phase, u64)> = vec![(Phase::Prepare, prepared)];
    for (number, time) in reached {
        times.extend(
            Phase::ALL.into_iter().find(|phase| *phase as u32 == *number).map(|phase| (phase, *time)),
        );
    }
    times.sort_by_key(|(phase, time)| (*time, *phase));
    let mut before = start;
    times
        .into_iter()
        .map(|(phase, time)| {
            let took = Duration::from_nanos(time.saturating_sub(before));
            before = before.max(time);
            Timing { phase, took }
        })
        .collect()
}
