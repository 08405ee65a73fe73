//! Asking the person at the terminal what would be refused.
//!
//! What the command has shown may have left the terminal anywhere: in the midst of a control sequence, with another set of
//! characters, with a full screen, or far behind. The question is shown behind all that. When the terminal says that it has shown
//! it, and nothing was typed for half a second after that, it can be answered: what was typed before is dropped, half a line too.
//! An answer is a whole line: what a terminal says by itself when it is asked for something has no end of a line, and makes the
//! line one that is no answer. Whatever goes wrong is a refusal.

mod terminal;
mod wording;

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::PollTimeout;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use crate::asking::{Answer, LONGEST, Question};
use terminal::{AWAY, BACK, Terminal};

/// How many questions may wait. What comes beyond is refused.
const WAITING: usize = 256;
/// How long a question is there before it can be answered: whoever types on has not read it.
const READ: Duration = Duration::from_millis(500);
/// How long a terminal may take to say that it has shown a question.
const REPORTED: Duration = Duration::from_secs(10);
/// How many lines that are no answer are taken, before the question is taken for refused.
const TRIES: u32 = 3;
/// How many answers are remembered.
const REMEMBERED: usize = 4096;

/// Questions, and who answers them.
pub(super) struct Dialogue {
    terminal: Terminal,
    /// From each that asks; `None` once it is gone.
    channels: Vec<Option<OwnedFd>>,
    waiting: VecDeque<Asked>,
    up: Option<Up>,
    remembered: BTreeMap<Key, Answer>,
    mood: Mood,
    /// What the terminal may still say of a question that is no longer up.
    late: Vec<u8>,
}

/// What an answer that is remembered is about: everything that was shown but who asks for it.
type Key = (String, Vec<String>, Option<String>, Vec<String>);

fn key(question: &Question) -> Key {
    let Question { action, words, file, reasons, .. } = question.clone();
    (action, words, file, reasons)
}

struct Asked {
    channel: usize,
    question: Question,
}

/// What the person is looking at.
struct Up {
    asked: Asked,
    tries: u32,
    stage: Stage,
}

enum Stage {
    /// It is written since then, and the terminal has not said yet that it has shown it.
    Written { since: Instant, report: Vec<u8>, heard: Vec<u8> },
    /// It is shown, nothing was typed since then, and it cannot be answered yet.
    Shown(Instant),
    /// A line is an answer, and this was shown before it.
    Open,
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

/// Whether a question is up still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is answered.
    Answer,
    /// It is not.
    Nothing,
}

impl Dialogue {
    /// Is ready to ask at this process's terminal; with it, the ends for so many that ask.
    ///
    /// # Errors
    /// Nobody can be asked there.
    pub(super) fn new(askers: usize) -> anyhow::Result<(Dialogue, Vec<OwnedFd>)> {
        let terminal = Terminal::open()?;
        let (mut channels, mut others) = (Vec::new(), Vec::new());
        for _ in 0..askers {
            let (own, other) =
                socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
                    .context("cannot ask")?;
            channels.push(Some(own));
            others.push(other);
        }
        let (waiting, remembered) = (VecDeque::new(), BTreeMap::new());
        let (up, mood, late) = (None, Mood::Open, Vec::new());
        Ok((Dialogue { terminal, channels, waiting, up, remembered, mood, late }, others))
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

    /// Waits for no terminal when this can be read from.
    pub(super) fn heed(&mut self, signals: RawFd) {
        self.terminal.signals = Some(signals);
    }

    /// How long nothing happens by itself.
    pub(super) fn patience(&self) -> PollTimeout {
        let (since, how_long) = match self.up.as_ref().map(|up| &up.stage) {
            Some(Stage::Written { since, .. }) => (since, REPORTED),
            Some(Stage::Shown(since)) => (since, READ),
            _ => return PollTimeout::NONE,
        };
        let rest = how_long.saturating_sub(since.elapsed()) + Duration::from_millis(1);
        PollTimeout::try_from(rest).unwrap_or(PollTimeout::ZERO)
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
        match self.mood {
            Mood::Open => self.remembered.get(&key(question)).copied(),
            Mood::Closed => Some(self.remembered.get(&key(question)).copied().unwrap_or(Answer::Refused)),
        }
    }

    fn answer(&self, asked: &Asked, answer: Answer) {
        if let Some(Some(channel)) = self.channels.get(asked.channel) {
            // Whoever is gone needs none.
            let bytes = answer.bytes(asked.question.number);
            let _ = send(channel.as_raw_fd(), &bytes, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
        }
    }

    /// Shows the next question, if one waits that is not known meanwhile; in the background, refuses what waits.
    pub(super) fn show_next(&mut self) {
        while self.up.is_none()
            && let Some(asked) = self.waiting.pop_front()
        {
            if let Some(answer) = self.known(&asked.question) {
                self.answer(&asked, answer);
                continue;
            }
            self.up = Some(Up { asked, tries: 0, stage: Stage::Shown(Instant::now()) });
            self.show();
        }
    }

    /// Shows the question that is up, whatever was shown before; where it cannot be shown, it is refused.
    pub(super) fn show(&mut self) -> Heard {
        let Some(up) = &mut self.up else { return Heard::Nothing };
        let size = self.terminal.size();
        if self.terminal.is_in_front()
            && let Some(size) = size
            && let Some(shown) = wording::shown(&up.asked.question, self.waiting.len(), size)
            && let Some(report) = self.terminal.show(&shown.question, size)
        {
            up.stage = Stage::Written { since: Instant::now(), report, heard: Vec::new() };
            return Heard::Nothing;
        }
        self.conclude(Said::Refuse)
    }

    /// Goes on with the question that is up: takes what was typed, and lets it be answered when it has been there for long enough.
    pub(super) fn go_on(&mut self, typed: bool) -> Heard {
        let Some(up) = &mut self.up else { return Heard::Nothing };
        if matches!(up.stage, Stage::Open) {
            return if typed { self.take_line() } else { Heard::Nothing };
        }
        let mut bytes = [0; 4096];
        let bytes = match typed.then(|| self.terminal.take(&mut bytes)) {
            None => &[],
            Some(Ok(bytes)) => bytes,
            Some(Err(_)) => return self.conclude(Said::Refuse),
        };
        match &mut up.stage {
            Stage::Written { since, report, heard } => {
                heard.extend(bytes);
                if heard.windows(report.len().max(1)).any(|part| part == report) {
                    up.stage = Stage::Shown(Instant::now());
                } else if since.elapsed() >= REPORTED {
                    self.conclude(Said::Refuse);
                    self.terminal.write("\nfence: refused: the terminal does not say where its cursor is\n");
                    return Heard::Answer;
                } else {
                    let old = heard.len().saturating_sub(report.len());
                    heard.drain(..old);
                }
                Heard::Nothing
            }
            Stage::Shown(since) if !bytes.is_empty() => {
                *since = Instant::now();
                Heard::Nothing
            }
            Stage::Shown(since) if since.elapsed() >= READ => self.open(),
            Stage::Shown(_) | Stage::Open => Heard::Nothing,
        }
    }

    /// Lets the question be answered.
    fn open(&mut self) -> Heard {
        let Some(up) = &mut self.up else { return Heard::Nothing };
        let size = self.terminal.size();
        let shown = size.and_then(|size| wording::shown(&up.asked.question, self.waiting.len(), size));
        if let Some(shown) = shown
            && self.terminal.prompt(&shown.prompt)
        {
            up.stage = Stage::Open;
            return Heard::Nothing;
        }
        self.conclude(Said::Refuse)
    }

    /// Takes the line that was typed.
    fn take_line(&mut self) -> Heard {
        let mut bytes = [0; 4096];
        let Ok(line) = self.terminal.take(&mut bytes) else { return self.conclude(Said::Refuse) };
        let said = match line {
            b"" => return Heard::Nothing,
            b"\n" => Said::Refuse,
            b"o\n" | b"once\n" => Said::Once,
            b"r\n" | b"run\n" => Said::ForThisRun,
            b"n\n" | b"never\n" => Said::Never,
            b"x\n" => Said::NoMore,
            _ => match &mut self.up {
                Some(up) if up.tries + 1 < TRIES => {
                    up.tries += 1;
                    return self.show();
                }
                _ => Said::Refuse,
            },
        };
        self.conclude(said)
    }

    /// Refuses what is up.
    pub(super) fn refuse(&mut self) -> Heard {
        self.conclude(Said::Refuse)
    }

    /// Refuses what is up, what waits, and everything that would be asked from now on.
    pub(super) fn close(&mut self) -> Heard {
        self.mood = Mood::Closed;
        for asked in std::mem::take(&mut self.waiting) {
            self.answer(&asked, Answer::Refused);
        }
        self.conclude(Said::Refuse)
    }

    /// Gives the terminal its own modes back, before this process stops.
    pub(super) fn stop(&mut self) {
        self.terminal.restore();
    }

    fn conclude(&mut self, said: Said) -> Heard {
        let Some(Up { asked, stage, .. }) = self.up.take() else { return Heard::Nothing };
        if let Stage::Written { report, .. } = stage {
            self.late = report;
        }
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
        self.terminal.restore();
        Heard::Answer
    }

    /// Takes the question back that is up when the command has ended: an answer would be typed into what comes next.
    pub(super) fn withdraw(&mut self) {
        if self.conclude(Said::Refuse) == Heard::Answer {
            self.terminal.write("\nfence: the command has ended, and waits for no answer\n");
        }
    }

    /// Takes out of what was typed what the terminal says too late.
    pub(super) fn drop_late(&mut self, typed: &mut Vec<u8>) {
        for at in 0..typed.len() {
            let rest = typed.get(at..).unwrap_or(&[]);
            let same = rest.iter().zip(&self.late).take_while(|(one, other)| one == other).count();
            if same > 2 && (same == self.late.len() || same == rest.len()) {
                typed.drain(at..at + same);
                self.late.drain(..same);
                return;
            }
        }
    }

    /// Gives a full-screen program its screen back.
    pub(super) fn give_back(&mut self, screen: Screen) {
        if screen == Screen::Full {
            self.terminal.write(BACK);
        }
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
}
