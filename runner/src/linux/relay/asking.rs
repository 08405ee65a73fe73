//! Asking the person while a terminal is relayed.

use std::ops::ControlFlow;
use std::os::fd::AsRawFd;

use nix::poll::{PollFd, PollFlags, poll};
use nix::unistd;

use super::{Beside, LAST, Relay, is_ours, size};
use crate::linux::dialogue::{Dialogue, Heard, Screen};
use crate::linux::sys::process;
use crate::linux::sys::standard;
use crate::linux::sys::terminal::Size;

impl Relay {
    /// Shows the next question, if there is one, behind what the command has shown before.
    pub(super) fn ask(&mut self) {
        self.show(LAST);
        if !self.received.is_empty() {
            // What has come meanwhile may end it all; whoever asks is still there.
            return;
        }
        let Some(dialogue) = &mut self.dialogue else { return };
        dialogue.take();
        if is_ours(0) {
            self.raw.restore();
        }
        dialogue.show_next();
    }

    /// While the person looks at a question, nothing that the command shows is passed on, and nothing is typed into it.
    pub(super) fn turn_asking(&mut self, beside: &mut dyn Beside) -> ControlFlow<()> {
        let Some(dialogue) = &mut self.dialogue else { return ControlFlow::Continue(()) };
        let mut waited = vec![
            PollFd::new(standard(self.signals), PollFlags::POLLIN),
            PollFd::new(beside.descriptor(), PollFlags::POLLIN),
        ];
        waited.extend(dialogue.channels().map(|channel| PollFd::new(channel, PollFlags::POLLIN)));
        waited.push(PollFd::new(dialogue.terminal(), PollFlags::POLLIN));
        if poll(&mut waited, dialogue.patience()).is_err() {
            return ControlFlow::Continue(());
        }
        let seen =
            |entry: Option<&PollFd<'_>>| entry.and_then(PollFd::revents).is_some_and(|seen| !seen.is_empty());
        let (signalled, happened) = (seen(waited.first()), seen(waited.get(1)));
        let typed = seen(waited.last());
        drop(waited);
        dialogue.take();
        if signalled {
            self.take_signals(beside);
        }
        if let Some(dialogue) = &mut self.dialogue {
            let said = dialogue.go_on(typed);
            self.answered(said);
        }
        if happened { beside.hear() } else { ControlFlow::Continue(()) }
    }

    /// Goes on to the next question, or back to the command.
    fn answered(&mut self, said: Heard) {
        let Some(dialogue) = self.dialogue.as_mut().filter(|_| said == Heard::Answer) else { return };
        dialogue.give_back(self.screen);
        // What the command has shown meanwhile is shown as it is.
        if is_ours(0) {
            self.raw.begin();
        }
        self.ask();
        if self.screen == Screen::Full && !self.dialogue.as_ref().is_some_and(Dialogue::is_up) {
            self.redraw();
        }
    }

    /// What a signal means for the question that is up, and for those that would be: whether it is for nobody else.
    pub(super) fn signalled_asking(&mut self, signal: i32) -> bool {
        let Some(dialogue) = &mut self.dialogue else { return false };
        let said = match signal {
            // The person, or the system, wants an end.
            libc::SIGTERM | libc::SIGHUP => dialogue.close(),
            _ if !dialogue.is_up() => return false,
            libc::SIGINT | libc::SIGQUIT => dialogue.refuse(),
            libc::SIGTSTP => {
                dialogue.stop();
                process::kill(unistd::getpid().as_raw(), libc::SIGSTOP);
                Heard::Nothing
            }
            // The window is another, or somebody has had the terminal meanwhile and has it still.
            libc::SIGCONT | libc::SIGWINCH => dialogue.show(),
            _ => Heard::Nothing,
        };
        self.answered(said);
        matches!(signal, libc::SIGINT | libc::SIGQUIT | libc::SIGTSTP | libc::SIGCONT)
    }

    /// Has a full-screen program draw everything anew: it does that for another size.
    fn redraw(&self) {
        if let (Some(outer), Some(size)) = (&self.outer, size()) {
            Size { lines: size.lines.saturating_sub(1).max(1), ..size }.give(outer.as_raw_fd());
            size.give(outer.as_raw_fd());
        }
    }
}
