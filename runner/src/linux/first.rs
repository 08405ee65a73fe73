//! The first process inside: it makes the sandbox, starts the command, and stays until that has ended.

use std::ops::ControlFlow;
use std::os::fd::RawFd;
use std::time::Duration;

use fence_compiler::plan::TerminalPlan;
use nix::errno::Errno;

use super::budget::Budget;
use super::command::Command;
use super::message::{Forward, List, Message, Origin};
use super::operation::State;
use super::sandbox::Sandbox;
use super::sys;
use super::sys::process::{self, Change, Disposition, Readable, Sender, Signals, Stack};
use super::sys::processor::Processors;
use super::sys::socket;
use crate::launch::{Phase, Timings};

/// What the first process is given by its parent, all of it made before the clone.
pub(super) struct First<'a> {
    /// The sandbox to make.
    pub(super) sandbox: &'a Sandbox,
    /// The command to start.
    pub(super) command: &'a Command,
    /// Where it reports to.
    pub(super) report: RawFd,
    /// Where signals come from that the parent got; its end means that the parent is gone.
    pub(super) control: RawFd,
    /// Where sockets are asked for and handed over; -1 if nobody asks.
    pub(super) channel: RawFd,
    /// The signals that are passed on; they are blocked already.
    pub(super) signals: Signals,
    /// The processors that the launch keeps to one of.
    pub(super) processors: Option<Processors>,
    /// What the command's process runs on until it executes.
    pub(super) stack: Stack,
    /// How much processor time there is for all processes together, if that is limited.
    pub(super) budget: Option<Budget>,
    /// Whether phases are reported.
    pub(super) timings: Timings,
}

/// The exit code of the first process when it could not do its part; nobody but a debugger sees it.
const FAILED: i32 = 125;

impl First<'_> {
    /// Does everything, and never returns. It makes system calls only.
    pub(super) fn run(&mut self) -> ! {
        self.mark(Phase::Clone);
        let mut state = State::new(self.report);
        if let Err((index, errno)) = state.work(&self.sandbox.steps) {
            self.fail(List::Sandbox, index, errno);
        }
        let received = match self.prepare_signals() {
            Ok(received) => received,
            Err(errno) => self.fail(List::First, 0, errno),
        };
        let command = self.command;
        match process::start(&mut self.stack, &mut || become_command(command, &mut state)) {
            Err(errno) => self.fail(List::First, 1, errno),
            Ok(pid) => {
                if let Some(processors) = self.processors {
                    processors.restore();
                }
                // The command has them; a reader of its output sees the end when the command closes it.
                let _ = sys::close_range(0, 2);
                let (channel, budget) = (self.channel, self.budget);
                let mut watch = Watch { first: self, pid, received, channel, budget, seen: 0 };
                watch.until_the_end(self.sandbox.time)
            }
        }
    }

    fn mark(&self, phase: Phase) {
        if self.timings == Timings::On {
            Message::reached(phase).send(self.report);
        }
    }

    fn fail(&self, list: List, index: usize, errno: Errno) -> ! {
        Message::failed(list, index, errno).send(self.report);
        process::exit(FAILED)
    }

    /// A descriptor for the signals that are passed on and for those of children.
    fn prepare_signals(&self) -> Result<RawFd, Errno> {
        process::set_disposition(libc::SIGCHLD, Disposition::Default)?;
        let children = Signals::new(&[libc::SIGCHLD]);
        children.block();
        self.signals.with(libc::SIGCHLD).descriptor()
    }
}

/// What the process of the command does. It shares the memory of the first one, which waits until it has executed.
fn become_command(command: &Command, state: &mut State) {
    if let Err((index, errno)) = state.work(&command.steps) {
        Message::failed(List::Command, index, errno).send(state.report);
    }
    process::exit(FAILED)
}

/// How many changes of children are taken before the clock is looked at again: the command could go on making them.
const MOST_AT_ONCE: usize = 256;

/// Whether more changes of children may be waiting.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// None.
    None,
    /// Perhaps.
    Waiting,
}

/// The first process while the command runs.
struct Watch<'a> {
    first: &'a First<'a>,
    /// The command's process.
    pid: i32,
    /// Where its own signals come from.
    received: RawFd,
    /// Where sockets are asked for.
    channel: RawFd,
    /// The processor time that is left.
    budget: Option<Budget>,
    /// Signals that everybody in the process group got, so that the command needs no copy: one bit each.
    seen: u64,
}

impl Watch<'_> {
    fn until_the_end(&mut self, time: Option<Duration>) -> ! {
        let deadline = time.map(|time| sys::now().saturating_add(nanoseconds(time)));
        loop {
            let rest = self.reap();
            let now = sys::now();
            if deadline.is_some_and(|deadline| deadline <= now) {
                self.end_all(Message::TimedOut);
            }
            let looked_at = match self.budget.as_mut().map(|budget| budget.due(now)) {
                Some(None) => self.end_all(Message::UsedUp),
                due => due.flatten(),
            };
            let wait = match deadline.into_iter().chain(looked_at).min() {
                _ if rest == Rest::Waiting => 0,
                None => -1,
                Some(next) => i32::try_from(next.saturating_sub(now).div_ceil(1_000_000)).unwrap_or(i32::MAX),
            };
            let waited = [self.received, self.first.control, self.channel];
            let [signals, control, asked] = process::wait_readable(waited, wait);
            if signals == Readable::Yes {
                self.take_signals();
            }
            match asked {
                Readable::Yes => self.make_sockets(),
                Readable::Ended => self.channel = -1,
                Readable::No => {}
            }
            match control {
                Readable::Yes => self.pass_on(),
                // The parent is gone: everything inside ends with this process.
                Readable::Ended => process::exit(FAILED),
                Readable::No => {}
            }
        }
    }

    /// Takes what happened to children: reports what became of the command, and lets all others go.
    fn reap(&mut self) -> Rest {
        for _ in 0..MOST_AT_ONCE {
            match process::take_change() {
                Ok(Some((pid, change))) if pid == self.pid => match change {
                    Change::Exited(code) => self.end(Message::Exited(code)),
                    Change::Signalled(signal) => self.end(Message::Signalled(signal)),
                    // To a parent that has stopped itself, and does not read, it is no news.
                    Change::Stopped(signal) if process::is_writable(self.first.report) => {
                        Message::Stopped(signal).send(self.first.report);
                    }
                    Change::Stopped(_) => {}
                },
                Ok(Some(_)) | Err(Errno::EINTR) => {}
                Ok(None) | Err(_) => return Rest::None,
            }
        }
        Rest::Waiting
    }

    /// Ends everything inside, before anything is said: whoever does not listen keeps nobody alive.
    fn end_all(&self, message: Message) -> ! {
        process::kill(-1, libc::SIGKILL);
        self.end(message)
    }

    fn end(&self, message: Message) -> ! {
        message.send(self.first.report);
        process::exit(0)
    }

    /// Notes the signals that this process got itself. Those from inside the sandbox are nobody's business.
    fn take_signals(&mut self) {
        while let Some(received) = process::take_signal(self.received) {
            if received.signal != libc::SIGCHLD && !matches!(received.sender, Sender::Process(_)) {
                self.seen |= bit(received.signal);
            }
        }
    }

    fn make_sockets(&mut self) {
        if make_sockets(self.channel).is_break() {
            self.channel = -1;
        }
    }

    /// Passes on the signals that the parent got, but those that reached the command as they reached this process.
    fn pass_on(&mut self) {
        let mut bytes = [0; 16];
        let count = sys::read(self.first.control, &mut bytes).unwrap_or(0);
        for byte in bytes.iter().take(count) {
            let Forward { signal, origin } = Forward::decode(*byte);
            let alone = self.first.sandbox.terminal == TerminalPlan::None;
            let reached = self.seen & bit(signal) != 0;
            self.seen &= !bit(signal);
            if alone {
                // In a session of its own nothing but SIGSTOP stops it.
                process::kill(self.pid, if signal == libc::SIGTSTP { libc::SIGSTOP } else { signal });
            } else if !reached && origin == Origin::Process {
                process::kill(self.pid, signal);
            }
        }
    }
}

/// Hands over as many sockets as one message carries, when it is asked to; breaks when nobody asks any more.
pub(super) fn make_sockets(channel: RawFd) -> ControlFlow<()> {
    if sys::read(channel, &mut [0; 16]) != Ok(1) {
        return ControlFlow::Break(());
    }
    let mut made = [-1; socket::MOST_CARRIED];
    let mut count = 0;
    for slot in &mut made {
        let Ok(socket) = socket::stream() else { break };
        *slot = socket;
        count += 1;
    }
    let _ = socket::send_descriptors(channel, made.get(..count).unwrap_or(&[]));
    made.iter().take(count).for_each(|socket| sys::close(*socket));
    ControlFlow::Continue(())
}

fn bit(signal: i32) -> u64 {
    1_u64.checked_shl(signal.cast_unsigned().saturating_sub(1)).unwrap_or(0)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
