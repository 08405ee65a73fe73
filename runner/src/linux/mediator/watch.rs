//! The mediator at work: it takes calls, answers them, and looks again at what came of those that it let through.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, readlinkat};

use super::files::Files;
use super::kinds::Kinds;
use super::memory::Memory;
use super::observe::{Observer, Outcome};
use super::place::{Found, Ground, Look, Own, know, process_of, walk};
use super::start::{Caller, Given, Judge, Planned, Stopped, asking, closed};
use super::tellers::Tellers;
use crate::launch::{self, Refused};
use crate::linux::sys::notice::{self, Answer, Notice};
use crate::linux::sys::process::{self, Readable};
use crate::linux::sys::trace::{self, Stop};
use crate::preflight::Refusal;

/// What the mediator waits for.
pub(super) struct Ends {
    /// Where calls are answered; for a session, where such places arrive.
    pub(super) listener: OwnedFd,
    /// Ends with the process that started the sandbox.
    pub(super) lifeline: OwnedFd,
    /// Tells that something happened to a thread that is held.
    pub(super) children: RawFd,
}

/// How long a path may be, as in the kernel.
const LONGEST_PATH: usize = 4096;

/// The mediator of one run.
pub(super) struct Watch<'a> {
    pub(super) ends: Ends,
    pub(super) judge: Judge<'a>,
    /// The command, until it has been judged: it is the first start, and nobody is there yet to change it.
    first: Option<&'a launch::Command>,
    /// The starts that were let through, by thread, until it is known what became of them; with where its calls are answered.
    held: BTreeMap<i32, (Planned, RawFd)>,
    /// Starts that wait because another thread of their process is held.
    pub(super) waiting: Vec<Notice>,
    second: Second,
    /// The commands of a session that are to be judged yet, by where their calls are answered.
    pub(super) commands: BTreeMap<RawFd, (launch::Command, CString)>,
    /// Who carries out calls that write files or go to sockets, if they are judged.
    pub(super) files: Option<Files>,
    /// The kinds of sockets that are refused here; any, as long as nobody has said which.
    kinds: Kinds,
    /// Who looks at what the kernel answers by itself.
    pub(super) observer: Option<Observer>,
    starts: Starts,
    /// In a session, those who asked for commands and want to see what is refused.
    pub(super) tellers: Option<Tellers>,
}

/// What becomes of starts of programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Starts {
    /// They are judged.
    Judged,
    /// They are looked at, and left to the kernel.
    Observed,
}

/// Whether what was executed is judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Second {
    /// It is.
    Looked,
    /// It is not: for tests, which then lose a race.
    #[cfg(test)]
    Left,
}

impl<'a> Watch<'a> {
    /// Is ready for the first call.
    pub(super) fn new(
        ends: Ends,
        judge: Judge<'a>,
        first: Option<&'a launch::Command>,
        second: Second,
    ) -> Watch<'a> {
        Watch {
            ends,
            judge,
            first,
            held: BTreeMap::new(),
            waiting: Vec::new(),
            second,
            commands: BTreeMap::new(),
            files: None,
            kinds: Kinds::of(&[]),
            observer: None,
            starts: Starts::Judged,
            tellers: None,
        }
    }

    /// Judges calls that write files, too.
    pub(super) fn with_files(self, files: Option<Files>) -> Watch<'a> {
        Watch { files, ..self }
    }

    /// Refuses kinds of sockets as these rules do.
    pub(super) fn with_kinds(self, kinds: Kinds) -> Watch<'a> {
        Watch { kinds, ..self }
    }

    /// Looks at what the kernel answers by itself, too.
    pub(super) fn with_observer(self, observer: Option<Observer>, starts: Starts) -> Watch<'a> {
        Watch { observer, starts, ..self }
    }

    /// Answers calls until the process that started the sandbox says that this is over: before, nobody may think that
    /// nothing judges any more.
    pub(super) fn until_the_end(&mut self) {
        let mut listener = self.ends.listener.as_raw_fd();
        if self.files.is_some() || self.observer.is_some() {
            notice::take_turns(listener);
        }
        loop {
            let waited = [listener, self.ends.lifeline.as_raw_fd(), self.ends.children];
            let patience = self.files.as_ref().map_or(-1, Files::patience);
            let [call, lifeline, stopped] = process::wait_readable(waited, patience);
            if let Some(files) = &mut self.files
                && patience >= 0
            {
                files.look_after();
            }
            if lifeline != Readable::No {
                return;
            }
            if call == Readable::Ended {
                listener = -1;
            }
            if stopped == Readable::Yes {
                while process::take_signal(self.ends.children).is_some() {}
                self.take_stops();
            }
            if call == Readable::Yes
                && let Ok(notice) = notice::receive(self.ends.listener.as_raw_fd())
            {
                self.take(notice);
            }
        }
    }

    pub(super) fn take(&mut self, notice: Notice) {
        // While a thread executes, the others of its process end, and those that are held must be let go for that: so one
        // of a process is held at most, and nothing is done that would wait for it.
        if !self.held.is_empty()
            && self.judges_start(&notice)
            && let Some(process) = process_of(notice.thread)
            && self.held.keys().any(|held| process_of(*held) == Some(process))
        {
            return self.waiting.push(notice);
        }
        self.judge.arbiter.turn_to(self.tellers.as_ref().map(|_| notice.listener));
        let seen = match &mut self.observer {
            Some(observer) => observer.look(&notice, self.judge.arbiter),
            None => Vec::new(),
        };
        let outcome = self.carry(notice);
        for seen in seen.into_iter().filter(|seen| outcome.leaves(seen)) {
            self.judge.arbiter.seen(seen);
        }
        self.tell(notice.listener);
    }

    /// Tells whoever asked for a command what has been taken note of.
    fn tell(&mut self, command: RawFd) {
        if let Some(tellers) = &mut self.tellers {
            tellers.tell(command, self.judge.arbiter.told());
            self.judge.arbiter.turn_to(None);
        }
    }

    /// Whether a call is a start that is judged.
    fn judges_start(&self, notice: &Notice) -> bool {
        let call = i64::from(notice.call);
        self.starts == Starts::Judged && (call == libc::SYS_execve || call == libc::SYS_execveat)
    }

    /// Answers a call, and tells what came of it.
    fn carry(&mut self, notice: Notice) -> Outcome {
        if let Some((refusal, errno)) = self.kinds.refuse(&notice) {
            self.stop(notice.thread, Stopped::Refused(refusal));
            self.answer(notice, Answer::Fail(errno));
            return Outcome::Refused;
        }
        if let Some(files) = self.files.as_mut().filter(|files| files.takes(&notice)) {
            let lifeline = self.ends.lifeline.as_raw_fd();
            return files.take(notice, self.judge.arbiter, lifeline);
        }
        if !self.judges_start(&notice) {
            self.answer(notice, Answer::GoOn);
            return Outcome::Left;
        }
        if let Some(command) = self.commands.remove(&notice.listener) {
            let (command, directory) = command;
            let answer = self.command(&command, &directory);
            self.answer(notice, answer);
            return Outcome::of_start(answer);
        }
        if let Some(command) = self.first.take() {
            let answer = self.command(command, c".");
            self.answer(notice, answer);
            self.judge.prepare();
            return Outcome::of_start(answer);
        }
        let (answer, outcome) = match self.start(notice) {
            Ok(planned) => {
                let answer = self.let_through(notice, planned);
                (answer, Outcome::of_start(answer))
            }
            Err(stopped @ Stopped::Refused(_)) => (self.stop(notice.thread, stopped), Outcome::Refused),
            Err(stopped) => (self.stop(notice.thread, stopped), Outcome::Failed),
        };
        self.answer(notice, answer);
        outcome
    }

    fn answer(&self, notice: Notice, answer: Answer) {
        // Whoever is gone needs none.
        let _ = notice::answer(notice.listener, notice.id, answer);
    }

    /// Judges the command that the run begins with.
    fn command(&mut self, command: &launch::Command, directory: &CStr) -> Answer {
        let judged = know("/").and_then(|root| Ok((root, know(directory)?))).map_err(Stopped::from).and_then(
            |(root, start)| {
                let ground = Ground { root, start, own: Own::Caller };
                let name = command.program.as_bytes().to_vec();
                let found = walk(&ground, &name, Look::Plain)?;
                let argv = command.argv.iter().map(|word| word.as_bytes().to_vec()).collect();
                let caller = Caller { thread: None, lifeline: self.ends.lifeline.as_fd(), opened: None };
                self.judge.plan(&ground, Given { name, found, argv }, caller)
            },
        );
        match judged {
            // What lies only inside, or nowhere, the kernel finds or does not.
            Ok(_) | Err(Stopped::Failed(_)) => Answer::GoOn,
            Err(Stopped::Refused(refusal)) => {
                self.judge.arbiter.refused(refused(refusal, None));
                Answer::Fail(Errno::EACCES)
            }
        }
    }

    /// Reads what a thread asks for, and judges it.
    fn start(&mut self, notice: Notice) -> Result<Planned, Stopped> {
        let [first, second, third, _, fifth, _] = notice.arguments;
        let mut memory = Memory::of(notice.thread);
        let (directory, path, argv, flags) = if i64::from(notice.call) == libc::SYS_execve {
            (libc::AT_FDCWD, first, second, 0)
        } else {
            // Both are numbers of 32 bits.
            (first as u32 as i32, second, third, fifth as u32 as i32)
        };
        let name = memory.text(path, LONGEST_PATH).map_err(|errno| match errno {
            Errno::E2BIG => Errno::ENAMETOOLONG,
            errno => errno,
        })?;
        let argv = memory.texts(argv)?;
        let thread = notice.thread;
        let start = match directory {
            libc::AT_FDCWD => know(format!("/proc/{thread}/cwd").as_str())?,
            number => know(format!("/proc/{thread}/fd/{number}").as_str()).map_err(|_| Errno::EBADF)?,
        };
        let ground =
            Ground { root: know(format!("/proc/{thread}/root").as_str())?, start, own: Own::Thread(thread) };
        if !notice::waits(notice.listener, notice.id) {
            // What was read may be another process's by now.
            return Err(Stopped::Failed(Errno::ESRCH));
        }
        let given = match name.as_slice() {
            [] if flags & libc::AT_EMPTY_PATH == 0 => return Err(Stopped::Failed(Errno::ENOENT)),
            [] => {
                let found = Found::of(ground.start.try_clone().map_err(|_| Errno::EMFILE)?, BTreeMap::new())?;
                Given { name: format!("/dev/fd/{directory}").into_bytes(), found, argv }
            }
            _ => {
                let found = walk(&ground, &name, Look::Plain)?;
                let name = match directory {
                    number if number != libc::AT_FDCWD && !name.starts_with(b"/") => {
                        [format!("/dev/fd/{number}/").as_bytes(), &name].concat()
                    }
                    _ => name,
                };
                Given { name, found, argv }
            }
        };
        let caller = Caller { thread: Some(thread), lifeline: self.ends.lifeline.as_fd(), opened: None };
        let planned = self.judge.plan(&ground, given, caller)?;
        self.ask_to_read(thread, || notice::waits(notice.listener, notice.id))?;
        Ok(planned)
    }

    /// Asks for the files that the kernel reads for a start, where reading is judged: what is in a program's memory is its own.
    fn ask_to_read(&mut self, thread: i32, is_there: impl FnOnce() -> bool) -> Result<(), Stopped> {
        match &mut self.files {
            Some(files) => files.ask_to_start(thread, self.judge.arbiter, &self.judge.read, is_there),
            None => Ok(()),
        }
    }

    /// Holds a thread whose start is allowed, so that it stops when that has happened.
    fn let_through(&mut self, notice: Notice, planned: Planned) -> Answer {
        if !notice::waits(notice.listener, notice.id) {
            // The person may have thought about it for long: the number may be another's by now.
            return Answer::Fail(Errno::ESRCH);
        }
        match trace::hold(notice.thread) {
            Ok(()) => {
                self.held.insert(notice.thread, (planned, notice.listener));
                Answer::GoOn
            }
            Err(Errno::ESRCH) => Answer::Fail(Errno::ESRCH),
            Err(errno) => {
                let why = format!("the process cannot be held while it starts a program ({})", errno.desc());
                self.stop(notice.thread, closed(&program_of(notice.thread), &why))
            }
        }
    }

    /// The error that a start fails with; a refusal is taken note of.
    fn stop(&mut self, thread: i32, stopped: Stopped) -> Answer {
        match stopped {
            Stopped::Failed(errno) => Answer::Fail(errno),
            Stopped::Refused(refusal) => {
                self.judge.arbiter.refused(refused(refusal, Some(thread)));
                Answer::Fail(Errno::EACCES)
            }
        }
    }

    pub(super) fn take_stops(&mut self) {
        while let Some(stop) = trace::take_stop() {
            match stop {
                Stop::Executed { process, thread } => {
                    let planned = self.held.remove(&thread);
                    self.executed(process, planned);
                }
                // The start has failed, or will be made again.
                Stop::Other { thread, signal } => {
                    self.held.remove(&thread);
                    trace::let_go(thread, signal);
                }
                Stop::Ended { thread } => {
                    self.held.remove(&thread);
                    if let Some(files) = &mut self.files {
                        files.ended(thread);
                    }
                }
            }
        }
        for notice in std::mem::take(&mut self.waiting) {
            self.take(notice);
        }
    }

    /// Looks at what was executed: if it is what was judged, it goes on, else it is judged by what it is.
    fn executed(&mut self, process: i32, planned: Option<(Planned, RawFd)>) {
        let is_looked_at = self.second == Second::Looked;
        let (planned, command) = planned.unzip();
        self.judge.arbiter.turn_to(command.filter(|_| self.tellers.is_some()));
        if is_looked_at && let Err(stopped) = self.look_again(process, planned) {
            let refusal = match stopped {
                Stopped::Refused(refusal) => Stopped::Refused(refusal),
                Stopped::Failed(errno) => {
                    let why = format!("it cannot be seen what was started ({})", errno.desc());
                    closed(&program_of(process), &why)
                }
            };
            self.stop(process, refusal);
            if let Some(command) = command {
                self.tell(command);
            }
            process::kill(process, libc::SIGKILL);
        }
        self.judge.arbiter.turn_to(None);
        trace::let_go(process, 0);
    }

    fn look_again(&mut self, process: i32, planned: Option<Planned>) -> Result<(), Stopped> {
        let program = Found::of(know(format!("/proc/{process}/exe").as_str())?, BTreeMap::new())?;
        let argv = std::fs::read(format!("/proc/{process}/cmdline")).map_err(|_| Errno::ESRCH)?;
        let file = program.identity();
        if planned.is_some_and(|planned| planned.file == file && planned.argv == argv) {
            return Ok(());
        }
        let mut words: Vec<Vec<u8>> = argv.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        words.pop();
        let ground = Ground {
            root: know(format!("/proc/{process}/root").as_str())?,
            start: know(format!("/proc/{process}/cwd").as_str())?,
            own: Own::Thread(process),
        };
        let name = name_executed(process)?;
        self.judge.executed(&ground, &program, &name, &words)?;
        // It is held, so that its number is its own.
        self.ask_to_read(process, || true)
    }
}

/// The name that a process's program was asked for with: the kernel keeps it beside the arguments.
fn name_executed(process: i32) -> Result<Vec<u8>, Errno> {
    const NAME: u64 = 31;
    let vector = std::fs::read(format!("/proc/{process}/auxv")).map_err(|_| Errno::ESRCH)?;
    let mut numbers =
        vector.chunks_exact(8).filter_map(|bytes| bytes.try_into().ok().map(u64::from_ne_bytes));
    while let (Some(key), Some(value)) = (numbers.next(), numbers.next()) {
        if key == NAME {
            return Memory::of(process).text(value, LONGEST_PATH);
        }
    }
    Err(Errno::ENOENT)
}

/// A refusal, and whose start it was: the command's own, or one that a thread asks for.
fn refused(refusal: Refusal, thread: Option<i32>) -> Refused {
    let (process, program) = asking(thread);
    Refused { refusal, process, program }
}

/// The program that a thread's process runs.
pub(super) fn program_of(thread: i32) -> Vec<u8> {
    let link = format!("/proc/{thread}/exe");
    let known = readlinkat(AT_FDCWD, OsStr::new(&link)).map(|path| path.as_bytes().to_vec());
    known.unwrap_or_default()
}
