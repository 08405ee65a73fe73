//! A terminal of a command's own, and the caller's: what is typed into one is typed into the other, what is shown in one is
//! shown in the other, and the window's size follows.
//!
//! The caller's terminal is raw meanwhile: every key is for the command, whose own terminal makes signals of them. It gets its
//! modes back however the command ends, and while this process is stopped. Bytes pass as they are, as they do where a command
//! has the caller's terminal itself.

mod asking;
mod showing;

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::{Child, Command, ExitStatus};

use anyhow::Context;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{self, SetArg, SpecialCharacterIndices, Termios};
use nix::unistd;

use super::dialogue::{self, Dialogue, Screen};
use super::parent::PASSED;
use super::sys::process::{self, Received, Signals};
use super::sys::terminal::{self, Size, Standard};
use super::sys::{self, standard};
use showing::{Patience, is_end};

/// The command whose terminal it is.
pub(super) trait Beside {
    /// What can be read from when something has happened to the command.
    fn descriptor(&self) -> BorrowedFd<'_>;

    /// Hears of that; breaks at the command's end.
    fn hear(&mut self) -> ControlFlow<()>;

    /// Passes a signal on.
    fn signal(&mut self, received: Received);
}

/// The most that is kept of what was typed, or comes through a pipe, until the command reads it.
const MOST_TYPED: usize = 64 * 1024;
/// What is read at once.
const BUFFER: usize = 16 * 1024;
/// How often is read what is shown before anything else is looked at; and after the command's end, which is more than a
/// terminal holds.
const AT_ONCE: usize = 4;
const LAST: usize = 64;
/// How soon something is looked at again that nobody tells of, in milliseconds.
const AGAIN: u16 = 100;

/// The size of the window that one of the standard descriptors is; `None` if none is a terminal.
pub(crate) fn size() -> Option<Size> {
    [0, 1, 2].into_iter().find_map(Size::of)
}

/// Relays until the command has ended, and everything that it has shown was passed on. The signals are those that were
/// blocked for [`Beside::signal`].
pub(super) fn relay(outer: OwnedFd, signals: RawFd, beside: &mut dyn Beside) {
    Relay::new(outer, signals, Input::Open, 1, None).until_the_end(beside);
}

/// Runs a program with a terminal of its own to its end.
///
/// # Errors
/// There is no terminal to be had, or the program cannot be started.
pub(crate) fn run(command: Command) -> io::Result<ExitStatus> {
    started(command, Standard::All, |outer, signals, beside| relay(outer, signals, beside))
}

/// Runs a program to its end that asks the person at this process's terminal. It has a terminal of its own in the place of
/// this one, so that the question is not its to write over. `command` gets the descriptors that it asks through.
///
/// # Errors
/// There is no terminal to ask at, or the program cannot be started.
pub(crate) fn run_asking(
    askers: usize,
    command: impl FnOnce(&[RawFd]) -> anyhow::Result<Command>,
) -> anyhow::Result<ExitStatus> {
    let (dialogue, ends) = Dialogue::new(askers)?;
    let mut command = command(&dialogue::numbers(&ends))?;
    terminal::hand_on(&mut command, dialogue::numbers(&ends));
    let input = if unistd::isatty(standard(0)) == Ok(true) { Input::Open } else { Input::Others };
    let shown = dialogue.terminal().as_raw_fd();
    let ended = started(command, Standard::Terminals, move |outer, signals, beside| {
        // The program has its own by now.
        drop(ends);
        Relay::new(outer, signals, input, shown, Some(dialogue)).until_the_end(beside);
    });
    ended.context("cannot give the command a terminal of its own")
}

fn started(
    command: Command,
    standard: Standard,
    relay: impl FnOnce(OwnedFd, RawFd, &mut Started),
) -> io::Result<ExitStatus> {
    let (outer, inner) = terminal::make(size().unwrap_or(Size::USUAL))?;
    let (outer, inner) = (sys::owned(outer), sys::owned(inner));
    let child = terminal::spawn(command, inner, standard)?;
    let signals = Signals::new(&PASSED);
    signals.block();
    let received = signals.descriptor()?;
    let mut started = Started { ended: terminal::watch(&child)?, child, status: None };
    relay(outer, received, &mut started);
    match started.status {
        Some(status) => Ok(status),
        None => started.child.wait(),
    }
}

/// A program that was started.
struct Started {
    child: Child,
    ended: OwnedFd,
    status: Option<ExitStatus>,
}

impl Beside for Started {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    fn hear(&mut self) -> ControlFlow<()> {
        self.status = self.child.try_wait().ok().flatten();
        ControlFlow::Break(())
    }

    fn signal(&mut self, received: Received) {
        process::kill(self.child.id().cast_signed(), received.signal);
    }
}

struct Relay {
    /// The end of the command's terminal that is relayed; `None` once that was hung up.
    outer: Option<OwnedFd>,
    raw: Raw,
    input: Input,
    /// What the command's terminal has not taken yet.
    typed: VecDeque<u8>,
    /// The byte that was typed last.
    last: u8,
    heard: Heard,
    /// The descriptor that is shown at.
    shown: RawFd,
    /// What signals come through, and those that came while the terminal was waited for.
    signals: RawFd,
    received: VecDeque<Received>,
    patience: Patience,
    /// Who asks the person, and what the command shows.
    dialogue: Option<Dialogue>,
    screen: Screen,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Open,
    Ended,
    /// The command has it itself.
    Others,
}

/// Whether somebody has the command's terminal open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    Yes,
    Nobody,
}

impl Relay {
    fn new(
        outer: OwnedFd,
        signals: RawFd,
        input: Input,
        shown: RawFd,
        mut dialogue: Option<Dialogue>,
    ) -> Relay {
        if let Some(dialogue) = &mut dialogue {
            dialogue.heed(signals);
        }
        let is_set = fcntl(&outer, FcntlArg::F_GETFL).and_then(|flags| {
            fcntl(&outer, FcntlArg::F_SETFL(OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK))
        });
        Relay {
            outer: is_set.is_ok().then_some(outer),
            raw: Raw { before: None },
            input,
            typed: VecDeque::new(),
            last: b'\n',
            heard: Heard::Yes,
            shown,
            signals,
            received: VecDeque::new(),
            patience: Patience::Endless,
            dialogue,
            screen: Screen::Lines,
        }
    }

    fn until_the_end(&mut self, beside: &mut dyn Beside) {
        self.resize();
        while self.turn(beside).is_continue() {}
        if let Some(dialogue) = &mut self.dialogue {
            dialogue.withdraw();
            if is_ours(0) {
                self.raw.begin();
            }
        }
        self.show(LAST);
    }

    fn turn(&mut self, beside: &mut dyn Beside) -> ControlFlow<()> {
        if !self.received.is_empty() {
            self.take_signals(beside);
        }
        if self.dialogue.as_ref().is_some_and(Dialogue::is_up) {
            return self.turn_asking(beside);
        }
        let none = PollFlags::empty();
        let ours = is_ours(0);
        if ours {
            self.raw.begin();
        }
        let reading =
            ours && self.input == Input::Open && self.typed.len() < MOST_TYPED && self.outer.is_some();
        let writing = if self.typed.is_empty() { none } else { PollFlags::POLLOUT };
        let outer = self.outer.as_ref().filter(|_| self.heard == Heard::Yes);
        let mut waited = vec![
            PollFd::new(standard(self.signals), PollFlags::POLLIN),
            PollFd::new(beside.descriptor(), PollFlags::POLLIN),
        ];
        let channels = self.dialogue.iter().flat_map(Dialogue::channels);
        waited.extend(channels.map(|channel| PollFd::new(channel, PollFlags::POLLIN)));
        let behind = waited.len();
        // What is not wanted is not asked for: its end would be told again and again.
        waited.extend(outer.map(|outer| PollFd::new(outer.as_fd(), PollFlags::POLLIN | writing)));
        waited.extend(reading.then(|| PollFd::new(standard(0), PollFlags::POLLIN)));
        // Nobody tells that a terminal is opened again, or that this process is brought forward.
        let patience = if ours && self.heard == Heard::Yes { PollTimeout::NONE } else { AGAIN.into() };
        if poll(&mut waited, patience).is_err() {
            return ControlFlow::Continue(());
        }
        let seen =
            |entry: Option<&PollFd<'_>>| entry.and_then(PollFd::revents).is_some_and(|seen| !seen.is_empty());
        let (signalled, happened) = (seen(waited.first()), seen(waited.get(1)));
        let asked = waited.get(2..behind).unwrap_or(&[]).iter().any(|channel| seen(Some(channel)));
        let shown = outer.is_some() && seen(waited.get(behind));
        let typed = reading && seen(waited.last());
        drop(waited);
        if signalled {
            self.take_signals(beside);
        }
        if typed {
            self.read();
        }
        if shown || self.heard == Heard::Nobody {
            self.write();
            self.show(AT_ONCE);
        }
        if asked {
            self.ask();
        }
        if happened { beside.hear() } else { ControlFlow::Continue(()) }
    }

    fn take_signals(&mut self, beside: &mut dyn Beside) {
        while let Some(received) = self.received.pop_front().or_else(|| process::take_signal(self.signals)) {
            self.signalled(received, beside);
        }
    }

    fn signalled(&mut self, received: Received, beside: &mut dyn Beside) {
        if is_end(&received) && self.patience == Patience::Endless {
            self.patience = Patience::Short;
        }
        if self.signalled_asking(received.signal) {
            return;
        }
        match received.signal {
            libc::SIGWINCH => self.resize(),
            libc::SIGTSTP => {
                self.raw.restore();
                process::kill(unistd::getpid().as_raw(), libc::SIGSTOP);
                self.resize();
            }
            // Whoever had the terminal meanwhile may have given it other modes.
            libc::SIGCONT => self.raw.again(),
            libc::SIGTTIN | libc::SIGTTOU => {}
            _ => beside.signal(received),
        }
    }

    fn resize(&self) {
        if let (Some(outer), Some(size)) = (&self.outer, size()) {
            size.give(outer.as_raw_fd());
        }
    }

    /// Takes what is typed. The end of a terminal hangs the command's up, the end of anything else is typed as such.
    fn read(&mut self) {
        let mut bytes = [0; BUFFER];
        match unistd::read(standard(0), &mut bytes) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Ok(count @ 1..) => {
                let mut bytes = bytes.get(..count).unwrap_or(&[]).to_vec();
                if let Some(dialogue) = &mut self.dialogue {
                    dialogue.drop_late(&mut bytes);
                }
                self.typed.extend(&bytes);
                self.last = bytes.last().copied().unwrap_or(self.last);
                self.write();
            }
            Ok(_) | Err(_) if unistd::isatty(standard(0)) == Ok(true) || self.raw.before.is_some() => {
                self.outer = None
            }
            Ok(_) | Err(_) => {
                self.input = Input::Ended;
                let modes = self.outer.as_ref().and_then(|outer| termios::tcgetattr(outer).ok());
                let end = modes.and_then(|modes| {
                    modes.control_chars.get(SpecialCharacterIndices::VEOF as usize).copied()
                });
                // In the midst of a line it only sends off what there is of that.
                let times = if self.last == b'\n' { 1 } else { 2 };
                self.typed.extend(std::iter::repeat_n(end.unwrap_or(4), times));
                self.write();
            }
        }
    }

    fn write(&mut self) {
        while let (Some(outer), false) = (&self.outer, self.typed.is_empty()) {
            let (first, _) = self.typed.as_slices();
            match unistd::write(outer, first) {
                Ok(count) if count > 0 => drop(self.typed.drain(..count)),
                Err(Errno::EINTR) => {}
                _ => break,
            }
        }
    }

    /// Passes on what is shown now, so many reads of it at most: one that shows without end must not keep keys waiting.
    fn show(&mut self, most: usize) {
        let mut bytes = [0; BUFFER];
        for _ in 0..most {
            let Some(outer) = &self.outer else { break };
            match unistd::read(outer, &mut bytes) {
                Ok(count @ 1..) => {
                    self.heard = Heard::Yes;
                    // Nobody looks any more: the command is told as by a terminal that is closed.
                    let bytes = bytes.get(..count).unwrap_or(&[]);
                    self.screen = self.screen.after(bytes);
                    if !self.written(bytes) {
                        self.outer = None;
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    self.heard = Heard::Yes;
                    break;
                }
                // All have closed it; somebody may open it again by its name.
                Ok(_) | Err(_) => {
                    self.heard = Heard::Nobody;
                    break;
                }
            }
        }
        if self.outer.is_none() {
            self.heard = Heard::Yes;
        }
    }
}

/// Whether reading a descriptor takes nothing from somebody else: it is no terminal, or this process is in its foreground.
fn is_ours(number: RawFd) -> bool {
    match unistd::tcgetpgrp(standard(number)) {
        Ok(group) => group == unistd::getpgrp(),
        Err(_) => true,
    }
}

/// The caller's terminal while it is raw.
struct Raw {
    before: Option<Termios>,
}

impl Raw {
    fn begin(&mut self) {
        if self.before.is_some() {
            return;
        }
        self.before = termios::tcgetattr(standard(0)).ok();
        self.again();
    }

    fn again(&self) {
        if let Some(before) = self.before.as_ref().filter(|_| is_ours(0)) {
            let mut raw = before.clone();
            termios::cfmakeraw(&mut raw);
            let _ = termios::tcsetattr(standard(0), SetArg::TCSANOW, &raw);
        }
    }

    fn restore(&mut self) {
        if let Some(before) = self.before.take() {
            let _ = termios::tcsetattr(standard(0), SetArg::TCSANOW, &before);
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.restore();
    }
}
