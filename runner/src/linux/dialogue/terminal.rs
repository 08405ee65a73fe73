//! The terminal that the person is asked at.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat, makedev};
use nix::sys::termios::{
    self, FlushArg, InputFlags, LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices, Termios,
};
use nix::unistd;

use crate::linux::sys::standard;
use crate::linux::sys::terminal::Size;

/// A full-screen program's screen is put away, and taken out again.
pub(super) const AWAY: &str = "\x1b[?1049l";
pub(super) const BACK: &str = "\x1b[?1049h";

/// Ends whatever sequence was begun, gives the terminal its usual modes, one by one, since not every terminal knows the
/// sequence that does it at once (DECSTR), and goes to a new line at its lower end. In this order: another emulation (Tektronix,
/// VT52), printing and the status line; attributes, characters, held output, margins, origin, wrapping, insertion, inverse, the
/// cursor; what the mouse and keys say, and replies of one byte less, which could else be no answer; the direction of text; a link; colours;
/// pages; pictures; the region that scrolls.
const READY: &str = concat!(
    "\x18\x1b\x03\x18\x1b<\x1b\\\x1b[4i\x1b[0$}\x1b[!p",
    "\x1b[0m\x0f\x1b(B\x1b%G\x1b[?2026l\x1b[?69l\x1b[?6l\x1b[?7h\x1b[4l\x1b[?5l\x1b[?25h",
    "\x1b[?9l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[>4;0m\x1b[=0u\x1b F",
    "\x1b[8h\x1b[0 k\x1b]8;;\x1b\\\x1b]104\x1b\\\x1b]110\x1b\\\x1b]111\x1b\\\x1b]R\x1b\\",
    "\x1b[37;40m\x1b[8]\x1b[0m\x1b[?64h\x1b[1 P\x1b_Ga=d,d=A\x1b\\\x1b[r\x1b[999;1H\n",
);
/// What a row begins with: colours that can be read, whatever the usual ones are, on all of it.
const ROW: &str = "\x1b[0;97;40m\x1b[K";
/// How often the terminal says where its cursor was put, one time behind the other: so often that nothing that the command had
/// it say before is the same.
const REPORTS: usize = 6;
/// How long a text may take to be written.
const TAKEN: Duration = Duration::from_secs(5);

/// This process's terminal.
pub(super) struct Terminal {
    file: File,
    /// The modes that it had before it was asked at.
    modes: Option<Termios>,
    /// What can be read from when a signal has come: it is not waited for the terminal then.
    pub(super) signals: Option<RawFd>,
    /// Held by one process for a terminal.
    _only: UnixListener,
}

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAsking {
    /// There is no terminal.
    #[error(
        "`--ask` asks at the terminal, and there is none ({0}); leave it out where nobody is there to answer"
    )]
    Missing(io::Error),
    /// Something else may write to it.
    #[error(
        "with `--ask` the {0} must be the terminal, a file or /dev/null: what else it leads to could write over a question; write to a file, or leave `--ask` out"
    )]
    Beside(&'static str),
    /// There are two that would read one answer.
    #[error("another `fence run --ask` asks at this terminal; wait for its end, or use another terminal")]
    Taken,
}

impl Terminal {
    /// Opens the controlling terminal of this process, which nobody else asks at.
    pub(super) fn open() -> Result<Terminal, NotAsking> {
        let mut options = File::options();
        let options = options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let file = options.open("/dev/tty").map_err(NotAsking::Missing)?;
        let number = number().map_err(NotAsking::Missing)?;
        let beside = [(0, "standard input"), (1, "standard output"), (2, "standard error")];
        if let Some((_, name)) = beside.into_iter().find(|(end, _)| !is_fit(*end, number)) {
            return Err(NotAsking::Beside(name));
        }
        let only = SocketAddr::from_abstract_name(format!("fence-ask-{number}"))
            .and_then(|address| UnixListener::bind_addr(&address))
            .map_err(|error| match error.kind() {
                io::ErrorKind::AddrInUse => NotAsking::Taken,
                _ => NotAsking::Missing(error),
            })?;
        Ok(Terminal { file, modes: None, signals: None, _only: only })
    }

    /// Its window.
    pub(super) fn size(&self) -> Option<Size> {
        Size::of(self.file.as_raw_fd())
    }

    /// Whether this process may read from it.
    pub(super) fn is_in_front(&self) -> bool {
        unistd::tcgetpgrp(&self.file) == Ok(unistd::getpgrp())
    }

    /// Shows a text behind everything that it was made to do before, in a window of this size. What is typed meanwhile is not
    /// shown. What the terminal says when it has shown the text; `None` if it cannot be written.
    pub(super) fn show(&mut self, text: &str, size: Size) -> Option<Vec<u8>> {
        let (places, reports) = places(size)?;
        let text = format!("\x18\x1b\\{AWAY}{READY}{}{places}\x1b[999;1H", rows(text));
        (self.read(LocalFlags::empty()) && self.write(&text)).then_some(reports)
    }

    /// Asks for a line. What was typed before is dropped: it is for somebody else, or for nobody.
    pub(super) fn prompt(&mut self, text: &str) -> bool {
        self.read(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ECHOE)
            && termios::tcflush(&self.file, FlushArg::TCIFLUSH).is_ok()
            && self.write(&rows(text))
    }

    /// Takes what was typed, which may be nothing; an error if the terminal is gone, its end was typed, or it is somebody else's.
    pub(super) fn take<'a>(&self, bytes: &'a mut [u8]) -> Result<&'a [u8], Errno> {
        if !self.is_in_front() {
            return Err(Errno::EIO);
        }
        match unistd::read(&self.file, bytes) {
            Err(Errno::EINTR | Errno::EAGAIN) => Ok(&[]),
            Ok(0) => Err(Errno::EIO),
            Ok(count) => Ok(bytes.get(..count).unwrap_or(&[])),
            Err(errno) => Err(errno),
        }
    }

    /// Writes all of a text, unless that takes too long or a signal comes meanwhile.
    pub(super) fn write(&self, text: &str) -> bool {
        let (began, mut bytes) = (Instant::now(), text.as_bytes());
        while !bytes.is_empty() {
            match unistd::write(&self.file, bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or(&[]),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let mut waited = vec![PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
                    waited.extend(
                        self.signals.map(|signals| PollFd::new(standard(signals), PollFlags::POLLIN)),
                    );
                    let rest = TAKEN.saturating_sub(began.elapsed());
                    let patience = PollTimeout::try_from(rest).unwrap_or(PollTimeout::ZERO);
                    let _ = poll(&mut waited, patience);
                    let signal = waited.get(1).and_then(PollFd::revents);
                    if began.elapsed() >= TAKEN || signal.is_some_and(|signal| !signal.is_empty()) {
                        return false;
                    }
                }
                Err(_) => return false,
            }
        }
        true
    }

    /// Has it read as these flags say, whatever it did before.
    fn read(&mut self, how: LocalFlags) -> bool {
        let Ok(mut modes) = termios::tcgetattr(&self.file) else { return false };
        self.modes.get_or_insert_with(|| modes.clone());
        modes.local_flags.remove(LocalFlags::ECHO | LocalFlags::ECHONL | LocalFlags::ICANON);
        modes.local_flags |= LocalFlags::ISIG | how;
        for (index, value) in [(SpecialCharacterIndices::VMIN, 1), (SpecialCharacterIndices::VTIME, 0)] {
            if let Some(character) = modes.control_chars.get_mut(index as usize) {
                *character = value;
            }
        }
        modes.input_flags |= InputFlags::ICRNL;
        modes.output_flags |= OutputFlags::OPOST | OutputFlags::ONLCR;
        self.is_in_front() && termios::tcsetattr(&self.file, SetArg::TCSANOW, &modes).is_ok()
    }

    /// Gives it its own modes back, unless somebody else has it by now.
    pub(super) fn restore(&mut self) {
        if let Some(modes) = self.modes.take().filter(|_| self.is_in_front()) {
            // What was typed behind an answer is for no other question, and for no other program.
            let _ = termios::tcflush(&self.file, FlushArg::TCIFLUSH);
            // One try: this is waited for by nobody.
            let _ = unistd::write(&self.file, b"\x1b[0m");
            let _ = termios::tcsetattr(&self.file, SetArg::TCSANOW, &modes);
        }
    }
}

/// A text in rows of fence's colours.
fn rows(text: &str) -> String {
    text.split_inclusive('\n').flat_map(|row| [ROW, row]).collect()
}

/// Has the cursor put to places that nobody can guess, and asks where it is; and what the terminal answers.
fn places(size: Size) -> Option<(String, Vec<u8>)> {
    let mut random = [0; 4 * REPORTS];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).ok()?;
    let (mut places, mut reports) = (String::new(), String::new());
    for four in random.chunks_exact(4) {
        let [a, b, c, d] = four.try_into().ok()?;
        let line = u16::from_ne_bytes([a, b]).checked_rem(size.lines)? + 1;
        let column = u16::from_ne_bytes([c, d]).checked_rem(size.columns)? + 1;
        places.push_str(&format!("\x1b[{line};{column}H\x1b[6n"));
        reports.push_str(&format!("\x1b[{line};{column}R"));
    }
    Some((places, reports.into_bytes()))
}

impl AsFd for Terminal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.restore();
    }
}

/// The device of the controlling terminal, which `/dev/tty` stands for.
fn number() -> io::Result<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name of the program may hold anything; behind it come the state and four numbers.
    let number =
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(4)?.parse::<i32>().ok());
    match number {
        Some(0) | None => Err(io::ErrorKind::NotFound.into()),
        Some(number) => Ok(number.cast_unsigned().into()),
    }
}

/// Whether nothing can be written to the terminal through a standard descriptor but what this process relays: it is this
/// terminal, which the command gets another one for, or leads to no terminal.
fn is_fit(end: i32, number: u64) -> bool {
    let end_is_input = end == 0;
    let end = standard(end);
    let Ok(found) = fstat(end) else { return false };
    match SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFREG => true,
        SFlag::S_IFCHR if found.st_rdev == makedev(1, 3) => true,
        // The number alone may be another's, of another mount of devpts.
        SFlag::S_IFCHR if found.st_rdev == number => unistd::tcgetpgrp(end).is_ok(),
        _ => end_is_input && unistd::isatty(end) != Ok(true),
    }
}
