//! The first process of a session's sandbox: it starts the commands that it is asked for, and says how each ended.

use std::os::fd::RawFd;
use std::time::Duration;

use nix::errno::Errno;

use super::running::{Running, Slot};
use super::terms;
use crate::linux::budget::Budget;
use crate::linux::message::{Forward, List, Message, Origin};
use crate::linux::operation::{Asked, State, Step, Watched};
use crate::linux::sandbox::Sandbox;
use crate::linux::sys;
use crate::linux::sys::events::Events;
use crate::linux::sys::process::{self, Change, Disposition, Signals, Stack};
use crate::linux::sys::request::Request;
use crate::linux::sys::socket;
use crate::linux::sys::terminal;

/// What it is given by the process that starts the session, all of it made before the clone.
pub(super) struct Keeper<'a> {
    /// The sandbox to make.
    pub(super) sandbox: &'a Sandbox,
    /// What the process of each command does: of its own, with room for whatever terms commands are held by later.
    pub(super) steps: Vec<Step>,
    /// How long each command may take.
    pub(super) time: Option<Duration>,
    /// How much processor time there is for all commands together, if that is limited.
    pub(super) budget: Option<Budget>,
    /// The descriptors that it keeps.
    pub(super) ends: Ends,
    /// What the process of a command runs on until it executes.
    pub(super) stack: Stack,
    /// The commands that run.
    pub(super) running: Running,
    /// How long a session may do nothing.
    pub(super) idle: Option<Duration>,
}

/// Its descriptors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// Where it reports that the sandbox is made, or why not.
    pub(super) report: RawFd,
    /// Its end means that whoever keeps the session is gone.
    pub(super) control: RawFd,
    /// Where commands are asked for.
    pub(super) requests: RawFd,
    /// Nothing, for the standard descriptors of this process.
    pub(super) null: RawFd,
    /// What names the processes inside.
    pub(super) processes: RawFd,
    /// Each ends with a process that judges or serves, and with it the session; -1: there is none.
    pub(super) others: [RawFd; 2],
}

/// The byte of a message that brings other terms, and no command.
pub(super) const NARROW: u8 = 1;

/// How many descriptors come with a command that somebody looks at.
const WATCHED: usize = 7;

const FAILED: i32 = 125;
const SIGNALS: u64 = u64::MAX;
const CONTROL: u64 = u64::MAX - 1;
const REQUESTS: u64 = u64::MAX - 2;

impl Keeper<'_> {
    /// Makes the sandbox and keeps it; never returns. It makes system calls only.
    pub(super) fn run(mut self) -> ! {
        // Keys of the caller's terminal are not for it.
        let _ = process::new_session();
        let mut state = State::new(self.ends.report);
        if let Err((index, errno)) = state.work(&self.sandbox.steps) {
            self.fail(List::Sandbox, index, errno);
        }
        match self.prepare() {
            Err(errno) => self.fail(List::First, 0, errno),
            Ok((events, received)) => {
                Message::Ready.send(self.ends.report);
                self.keep(&events, received, &mut state)
            }
        }
    }

    fn fail(&self, list: List, index: usize, errno: Errno) -> ! {
        Message::failed(list, index, errno).send(self.ends.report);
        process::exit(FAILED)
    }

    fn prepare(&self) -> Result<(Events, RawFd), Errno> {
        for number in 0..3 {
            sys::put(self.ends.null, number)?;
        }
        process::set_disposition(libc::SIGCHLD, Disposition::Default)?;
        Signals::new(&[]).restore();
        let children = Signals::new(&[libc::SIGCHLD]);
        children.block();
        let received = children.descriptor()?;
        let events = Events::new()?;
        events.add(received, SIGNALS)?;
        events.add(self.ends.control, CONTROL)?;
        events.add(self.ends.requests, REQUESTS)?;
        for other in self.ends.others.into_iter().filter(|other| *other >= 0) {
            events.add(other, CONTROL)?;
        }
        Ok((events, received))
    }

    fn keep(&mut self, events: &Events, received: RawFd, state: &mut State) -> ! {
        let mut since = sys::now();
        loop {
            let wait = self.until_something_is_due(since);
            let (happened, count) = events.wait(wait);
            for event in happened.iter().take(count) {
                match event.token {
                    SIGNALS => while process::take_signal(received).is_some() {},
                    // Whoever keeps the session is gone: everything inside ends with this process.
                    CONTROL => process::exit(0),
                    REQUESTS => self.take(events, state),
                    token => self.hear(events, token),
                }
            }
            self.reap();
            if count > 0 {
                since = sys::now();
            }
        }
    }

    /// How long may be waited, in milliseconds; ends what has run too long, and the session if it has done nothing for too
    /// long.
    fn until_something_is_due(&mut self, since: u64) -> i32 {
        let now = sys::now();
        let mut next = u64::MAX;
        if let Some(time) = self.time {
            for slot in self.running.all().into_iter().flatten() {
                let over = slot.since.saturating_add(nanoseconds(time));
                if over <= now && slot.channel >= 0 {
                    self.overdue(slot);
                } else if slot.channel >= 0 {
                    next = next.min(over);
                }
            }
        }
        match self.budget.as_mut().map(|budget| budget.due(now)) {
            None => {}
            Some(None) => self.used_up(),
            Some(Some(due)) => next = next.min(due),
        }
        if let Some(idle) = self.idle.filter(|_| self.running.is_empty()) {
            let over = since.saturating_add(nanoseconds(idle));
            if over <= now {
                process::exit(0);
            }
            next = next.min(over);
        }
        match next {
            u64::MAX => -1,
            next => i32::try_from(next.saturating_sub(now).div_ceil(1_000_000)).unwrap_or(i32::MAX),
        }
    }

    /// Ends everything: what all commands may have together is used up.
    fn used_up(&mut self) -> ! {
        process::kill(-1, libc::SIGKILL);
        for slot in self.running.all().into_iter().flatten() {
            if slot.channel >= 0 {
                self.say(slot, Message::UsedUp);
            }
        }
        process::exit(0)
    }

    fn overdue(&mut self, slot: Slot) {
        self.end_all_of(slot.pid);
        self.say(slot, Message::TimedOut);
    }

    /// Ends a command and what belongs to its session.
    fn end_all_of(&self, pid: i32) {
        const PASSES: usize = 4;
        process::kill_group(pid, libc::SIGKILL);
        process::kill(pid, libc::SIGKILL);
        // One that is just being made is found the next time.
        for _ in 0..PASSES {
            if process::kill_session(self.ends.processes, pid) <= 1 {
                break;
            }
        }
    }

    /// Tells whoever asked for a command how it ended, and that this was all.
    fn say(&mut self, slot: Slot, message: Message) {
        let _ = socket::tell(slot.channel, &message.encode());
        sys::close(slot.channel);
        self.running.silence(slot);
    }

    /// Takes one command that is asked for, and starts it.
    fn take(&mut self, events: &Events, state: &mut State) {
        let mut taken = [-1; socket::MOST_CARRIED];
        match socket::take_into(self.ends.requests, &mut taken) {
            Err(Errno::ENODATA) => process::exit(0),
            // The end of the connection tells whoever asked.
            Err(_) => {}
            Ok((NARROW, count)) => self.narrow(events, taken.get(..count).unwrap_or(&[])),
            Ok((_, count)) => {
                let [memory, input, output, error, channel, judge, told, ..] = taken;
                let watched = (count == WATCHED).then_some(Watched { judge, told });
                match self.start(memory, [input, output, error], channel, watched, state) {
                    Ok(pid) => {
                        let slot = self.running.add(pid, channel, sys::now());
                        if events.add(channel, slot.token()).is_err() {
                            self.end_all_of(pid);
                        }
                        taken
                            .iter()
                            .take(count)
                            .filter(|one| **one != channel)
                            .for_each(|one| sys::close(*one));
                    }
                    Err(errno) => {
                        let _ = socket::tell(channel, &Message::failed(List::First, 1, errno).encode());
                        taken.iter().take(count).for_each(|one| sys::close(*one));
                    }
                }
            }
        }
    }

    fn start(
        &mut self,
        memory: RawFd,
        standard: [RawFd; 3],
        channel: RawFd,
        watched: Option<Watched>,
        state: &mut State,
    ) -> Result<i32, Errno> {
        if self.running.is_full() {
            return Err(Errno::EAGAIN);
        }
        let request = Request::map(memory)?;
        let mut own = None;
        let mut standard = standard;
        if let Some(wanted) = request.terminal() {
            match made(wanted.size, channel) {
                Ok(inner) => (own, standard) = (Some(inner), [inner; 3]),
                Err(errno) => {
                    request.unmap();
                    return Err(errno);
                }
            }
        }
        state.report = channel;
        state.asked = Some(Asked { request, memory, standard, watched });
        let steps = self.steps.as_slice();
        let started = process::start(&mut self.stack, &mut || become_command(steps, state));
        if let Some(asked) = state.asked.take() {
            asked.request.unmap();
        }
        if let Some(own) = own {
            sys::close(own);
        }
        started
    }

    /// Holds all commands from here on by other terms, and says so. Whoever judges their starts may be another.
    fn narrow(&mut self, events: &Events, taken: &[RawFd]) {
        let (memory, channel, judged) = match taken {
            [memory, channel] => (*memory, *channel, None),
            [memory, channel, wire, lives] if events.add(*lives, CONTROL).is_ok() => {
                (*memory, *channel, Some(*wire))
            }
            others => return others.iter().for_each(|one| sys::close(*one)),
        };
        let told = match terms::replace(&mut self.steps, memory, judged) {
            Ok(time) => {
                self.time = time;
                Message::Ready
            }
            Err(errno) => Message::failed(List::First, 2, errno),
        };
        let _ = socket::tell(channel, &told.encode());
        sys::close(memory);
        sys::close(channel);
    }

    /// Passes on the signals for a command; ends it if whoever asked for it is gone.
    fn hear(&mut self, events: &Events, token: u64) {
        let Some(slot) = self.running.find(token) else { return };
        let mut bytes = [0; 16];
        match sys::read(slot.channel, &mut bytes) {
            Ok(0) | Err(Errno::ECONNRESET) => {
                events.remove(slot.channel);
                sys::close(slot.channel);
                self.running.silence(slot);
                self.end_all_of(slot.pid);
            }
            Ok(count) => {
                for byte in bytes.iter().take(count) {
                    let Forward { signal, origin } = Forward::decode(*byte);
                    match origin {
                        // A key of a terminal is for everybody in its foreground.
                        Origin::Kernel => process::kill_group(slot.pid, signal),
                        Origin::Process => process::kill(slot.pid, signal),
                    }
                }
            }
            Err(_) => {}
        }
    }

    /// Takes what happened to children: says what became of commands, and lets all others go.
    fn reap(&mut self) {
        while let Ok(Some((pid, change))) = process::take_change() {
            let Some(slot) = self.running.of(pid) else { continue };
            match change {
                Change::Exited(code) => self.ended(slot, Message::Exited(code)),
                Change::Signalled(signal) => self.ended(slot, Message::Signalled(signal)),
                Change::Stopped(signal) => {
                    let _ = socket::tell(slot.channel, &Message::Stopped(signal).encode());
                }
            }
        }
    }

    fn ended(&mut self, slot: Slot, message: Message) {
        if slot.channel >= 0 {
            self.say(slot, message);
        }
        self.running.remove(slot);
    }
}

/// Makes a terminal, and hands the end that is relayed to whoever asked for the command.
fn made(size: terminal::Size, channel: RawFd) -> Result<RawFd, Errno> {
    let (outer, inner) = terminal::make(size)?;
    let sent = socket::send_with(channel, super::TERMINAL, &[outer]);
    sys::close(outer);
    sent.map(|()| inner).inspect_err(|_| sys::close(inner))
}

/// What the process of a command does. It shares the memory of the first one, which waits until it has executed.
fn become_command(steps: &[Step], state: &mut State) {
    if let Err((index, errno)) = state.work(steps) {
        Message::failed(List::Command, index, errno).send(state.report);
    }
    process::exit(FAILED)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
