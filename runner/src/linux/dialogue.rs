//! Asking the person at the terminal what would be refused.
//!
//! What the command has shown may have left the terminal anywhere: in the midst of a control sequence, with another set of
//! characters, with a full screen. The question is shown behind all that. What was typed before it is dropped, and an
//! answer is a whole line: what a terminal says by itself when it is asked for something has no end of a line, and makes
//! the line one that is no answer. Nor is one that comes before anybody can have read the question.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};
use nix::sys::termios::{self, FlushArg, InputFlags, LocalFlags, OutputFlags, SetArg, Termios};
use nix::unistd;

use crate::asking::{Answer, LONGEST, Question};
use crate::audit::visible;

/// How many questions may wait. What comes beyond is refused.
const WAITING: usize = 256;
/// How long a question has to be there before an answer is one: whoever types on has not read it.
const READ: Duration = Duration::from_millis(500);
/// How many lines that are no answer are taken, before the question is taken for refused.
const TRIES: u32 = 3;
/// How many answers are remembered.
const REMEMBERED: usize = 4096;
/// How much of an item is shown, in characters.
const SHOWN: usize = 2000;

/// Ends whatever sequence was begun, and gives the terminal its usual modes.
const READY: &str = "\x18\x1b[!p\x1b[0m\x0f";
/// What can be answered.
const PROMPT: &str = "  allow it [o]nce or for this [r]un; refuse it [Enter], for this run [n], or this and all else that would be asked [x]: ";
/// A full-screen program's screen is put away, and taken out again.
const AWAY: &str = "\x1b[?1049l";
const BACK: &str = "\x1b[?1049h";

/// Questions, and who answers them.
pub(super) struct Dialogue {
    terminal: File,
    /// From each that asks; `None` once it is gone.
    channels: Vec<Option<OwnedFd>>,
    waiting: VecDeque<Asked>,
    /// What the person is looking at.
    up: Option<Asked>,
    /// Since when it can be answered.
    since: Instant,
    /// The modes that the terminal had before it was asked at.
    modes: Option<Termios>,
    tries: u32,
    remembered: BTreeMap<Key, Answer>,
    mood: Mood,
}

/// What an answer that is remembered is about: an action, its item, and the file of a program.
type Key = (String, String, Option<String>);

fn key(question: &Question) -> Key {
    (question.action.clone(), question.item.clone(), question.file.clone())
}

struct Asked {
    channel: usize,
    question: Question,
}

/// Whether the person is asked any more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Open,
    Closed,
}

/// Whether a command shows a full screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Screen {
    /// It shows lines.
    #[default]
    Lines,
    /// It does.
    Full,
}

impl Screen {
    /// What it is after something was shown.
    pub(super) fn after(self, shown: &[u8]) -> Screen {
        let last = |what: &str| shown.windows(what.len()).rposition(|part| part == what.as_bytes());
        match (last(BACK), last(AWAY)) {
            (None, None) => self,
            (full, lines) if full > lines => Screen::Full,
            _ => Screen::Lines,
        }
    }
}

impl Dialogue {
    /// Is ready to ask at this process's terminal; with it, the ends for so many that ask.
    pub(super) fn new(askers: usize) -> io::Result<(Dialogue, Vec<OwnedFd>)> {
        let terminal = File::options().read(true).write(true).open("/dev/tty")?;
        let (mut channels, mut others) = (Vec::new(), Vec::new());
        for _ in 0..askers {
            let (own, other) =
                socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
            channels.push(Some(own));
            others.push(other);
        }
        let dialogue = Dialogue {
            terminal,
            channels,
            waiting: VecDeque::new(),
            up: None,
            since: Instant::now(),
            modes: None,
            tries: 0,
            remembered: BTreeMap::new(),
            mood: Mood::Open,
        };
        Ok((dialogue, others))
    }

    /// Where questions come from.
    pub(super) fn channels(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.channels.iter().flatten().map(AsFd::as_fd)
    }

    /// The terminal that is asked at.
    pub(super) fn terminal(&self) -> BorrowedFd<'_> {
        self.terminal.as_fd()
    }

    /// Whether the person is looking at a question.
    pub(super) fn is_up(&self) -> bool {
        self.up.is_some()
    }

    /// Takes the questions that have come. What is known needs no asking.
    pub(super) fn take(&mut self) {
        for channel in 0..self.channels.len() {
            while let Some(question) = self.receive(channel) {
                let asked = Asked { channel, question };
                match self.known(&asked.question) {
                    Some(answer) => self.answer(&asked, answer),
                    None if self.waiting.len() >= WAITING => self.answer(&asked, Answer::Refused),
                    None => self.waiting.push_back(asked),
                }
            }
        }
    }

    fn receive(&mut self, channel: usize) -> Option<Question> {
        let from = self.channels.get(channel)?.as_ref()?.as_raw_fd();
        let mut bytes = vec![0; LONGEST];
        loop {
            match recv(from, &mut bytes, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EINTR) => {}
                // Nobody asks there any more.
                Ok(0) => {
                    *self.channels.get_mut(channel)? = None;
                    return None;
                }
                Ok(count) => return bytes.get(..count).and_then(Question::read),
                Err(_) => return None,
            }
        }
    }

    fn known(&self, question: &Question) -> Option<Answer> {
        let known = self.remembered.get(&key(question)).copied();
        match self.mood {
            Mood::Open => known,
            Mood::Closed => known.or(Some(Answer::Refused)),
        }
    }

    fn answer(&self, asked: &Asked, answer: Answer) {
        if let Some(Some(channel)) = self.channels.get(asked.channel) {
            // Whoever is gone needs none.
            let bytes = answer.bytes(asked.question.number);
            let _ = send(channel.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
        }
    }

    /// Shows the next question, if one waits that is not known meanwhile. The terminal has its usual modes by now.
    pub(super) fn show_next(&mut self, screen: Screen) {
        while let Some(asked) = self.waiting.pop_front() {
            if let Some(answer) = self.known(&asked.question) {
                self.answer(&asked, answer);
                continue;
            }
            self.tries = 0;
            self.up = Some(asked);
            let away = if screen == Screen::Full { AWAY } else { "" };
            let _ = write!(self.terminal, "{READY}{away}");
            self.show();
            return;
        }
    }

    /// Shows the question that is up, once more.
    pub(super) fn show(&mut self) {
        let Some(asked) = &self.up else { return };
        let text = text(&asked.question, self.waiting.len());
        let _ = self.terminal.write_all(text.as_bytes());
        self.prompt();
    }

    fn prompt(&mut self) {
        self.read_lines();
        // What was typed before is for somebody else, or for nobody.
        let _ = termios::tcflush(&self.terminal, FlushArg::TCIFLUSH);
        let _ = self.terminal.write_all(PROMPT.as_bytes());
        self.since = Instant::now();
    }

    /// Takes what was typed; whether the question is answered.
    pub(super) fn take_line(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let line = match unistd::read(&self.terminal, &mut bytes) {
            Ok(count) => bytes.get(..count).unwrap_or(&[]),
            Err(Errno::EINTR | Errno::EAGAIN) => return false,
            // The terminal is gone.
            Err(_) => return self.conclude(Said::Refuse),
        };
        if self.since.elapsed() < READ {
            self.prompt();
            return false;
        }
        let said = match line {
            [] | b"\n" => Said::Refuse,
            b"o\n" | b"once\n" => Said::Once,
            b"r\n" | b"run\n" => Said::ForThisRun,
            b"n\n" | b"never\n" => Said::Never,
            b"x\n" => Said::NoMore,
            _ if self.tries + 1 >= TRIES => Said::Refuse,
            _ => {
                self.tries += 1;
                self.prompt();
                return false;
            }
        };
        self.conclude(said)
    }

    /// Refuses what is up: nobody answers.
    pub(super) fn refuse(&mut self) {
        self.conclude(Said::Refuse);
    }

    /// Refuses everything that waits: nobody can be asked now.
    pub(super) fn refuse_all(&mut self) {
        for asked in std::mem::take(&mut self.waiting) {
            self.answer(&asked, Answer::Refused);
        }
    }

    fn conclude(&mut self, said: Said) -> bool {
        let Some(asked) = self.up.take() else { return true };
        let answer = match said {
            Said::Once | Said::ForThisRun => Answer::Allowed,
            Said::Refuse | Said::Never | Said::NoMore => Answer::Refused,
        };
        if said == Said::NoMore {
            self.mood = Mood::Closed;
        }
        if matches!(said, Said::ForThisRun | Said::Never) && self.remembered.len() < REMEMBERED {
            self.remembered.insert(key(&asked.question), answer);
        }
        self.answer(&asked, answer);
        true
    }

    /// Has the terminal read lines and show what is typed, whatever it did before.
    fn read_lines(&mut self) {
        let Ok(mut modes) = termios::tcgetattr(&self.terminal) else { return };
        self.modes.get_or_insert_with(|| modes.clone());
        modes.local_flags |= LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ECHOE | LocalFlags::ISIG;
        modes.input_flags |= InputFlags::ICRNL;
        modes.output_flags |= OutputFlags::OPOST | OutputFlags::ONLCR;
        let _ = termios::tcsetattr(&self.terminal, SetArg::TCSANOW, &modes);
    }

    /// Gives the terminal its own modes back.
    fn restore(&mut self) {
        if let Some(modes) = self.modes.take() {
            let _ = termios::tcsetattr(&self.terminal, SetArg::TCSANOW, &modes);
        }
    }

    /// Gives the terminal its own modes back, and a full-screen program its screen.
    pub(super) fn give_back(&mut self, screen: Screen) {
        self.restore();
        if screen == Screen::Full {
            let _ = self.terminal.write_all(BACK.as_bytes());
        }
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        self.restore();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Once,
    ForThisRun,
    Refuse,
    Never,
    NoMore,
}

/// The question, for a person.
fn text(question: &Question, behind: usize) -> String {
    let wants = match question.action.as_str() {
        "connect" => "connect to",
        "run" => "run",
        "ssh" => "ask by ssh for",
        other => other,
    };
    let program = match &question.program {
        Some(program) => visible(program),
        None => "the command".to_owned(),
    };
    let mut text = format!("\nfence: {} wants to {wants} {}\n", cut(&program), cut(&visible(&question.item)));
    if let Some(file) = &question.file {
        text.push_str(&format!("  the file is {}\n", cut(&visible(file))));
    }
    for reason in &question.reasons {
        text.push_str(&format!("  {}\n", cut(&visible(reason))));
    }
    if behind > 0 {
        text.push_str(&format!("  ({behind} more questions wait)\n"));
    }
    text
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => {
            let (shown, rest) = text.split_at(end);
            format!("{shown}… and {} characters more that are not shown", rest.chars().count())
        }
        None => text.to_owned(),
    }
}

/// The number of a descriptor, for the words of a command line.
pub(super) fn numbers(ends: &[OwnedFd]) -> Vec<RawFd> {
    ends.iter().map(AsRawFd::as_raw_fd).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_screen_is_known_by_what_was_shown_last() {
        let after = |before: Screen, shown: &str| before.after(shown.as_bytes());
        assert_eq!(after(Screen::Lines, "text"), Screen::Lines);
        assert_eq!(after(Screen::Lines, "a\x1b[?1049hb"), Screen::Full);
        assert_eq!(after(Screen::Full, "text"), Screen::Full);
        assert_eq!(after(Screen::Full, "\x1b[?1049l$ "), Screen::Lines);
        assert_eq!(after(Screen::Full, "\x1b[?1049l\x1b[?1049h"), Screen::Full);
    }

    #[test]
    fn nothing_of_a_question_controls_the_terminal() {
        let question = Question {
            number: 1,
            action: "run".to_owned(),
            item: "sh -c \x1b[2J\r\nfence: allowed\u{202e}".to_owned(),
            file: Some("/work/\x1b]0;y\x07".to_owned()),
            program: Some("/tmp/\x07x".to_owned()),
            reasons: vec!["p.fence:3: deny run \x1b]0;x\x07".to_owned()],
        };
        let text = text(&question, 2);
        assert!(
            text.split("\n").all(|line| line.chars().all(|c| !c.is_control() && c != '\u{202e}')),
            "{text:?}"
        );
        assert_eq!(text.matches("\n").count(), 5);
    }
}
