//! Calls that read or write files or go to Unix sockets: judged by what they reach, and carried out by the mediator on that.
//!
//! Each call is read once. The mediator walks to what it names as the caller would, asks the rules about the path that was
//! written and the one that is reached, and then acts on the directory or file that it holds open: nothing that another
//! thread or process inside does meanwhile changes on what. One call is carried out after the other, so that between
//! judging and acting nothing inside has made, moved or removed a name either.
//!
//! A call that would wait (a FIFO without a reader, a server that takes no connection yet) is carried out by a process of its
//! own, for which nobody else waits.
//!
//! A socket is taken from the caller once, like any descriptor. One that goes to no path is connected to the address that was
//! read; the sandbox's own sockets, which are known from the call that bound them, are open always.

pub(super) mod calls;
mod changing;
mod connecting;
pub(super) mod ground;
mod kernel;
mod making;
mod moving;
mod opening;
mod reading;
pub(super) mod request;
pub(super) mod rules;
mod sending;
mod sockets;
mod terminal;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::plan::{LinuxPlan, Mediated, Mount, TerminalPlan};
use fence_compiler::question::Reason;
use nix::errno::Errno;
use nix::sys::statvfs::{FsFlags, fstatvfs};

use self::calls::{Call, Opens};
use self::ground::{Last, Named, Object, Reached, Spot, Tree};
use self::request::Request;
use self::rules::Rules;
use self::sockets::Sockets;
use self::waiting::Waiting;
use super::observe::Outcome;
use super::place::Own;
use crate::launch::{Arbiter, Refused};
use crate::linux::sys::notice::{self, Answer, Notice};
use crate::linux::sys::process;
use crate::preflight::Refusal;

pub(super) use self::calls::judged;
pub(super) use self::waiting::interrupted;

/// Judges calls that read or write files or go to sockets, and carries them out.
pub(super) struct Files {
    calls: BTreeMap<i32, Call>,
    opens: Opens,
    /// Whether where a socket is bound is known, because it matters who has made it.
    knowing: Knowing,
    /// The files of fence's own that programs resolve names by.
    names: Vec<AbsolutePath>,
    /// Where file systems of the sandbox's own are mounted.
    private: Vec<AbsolutePath>,
    /// What is known of the sandbox, from the first call on.
    inside: Option<(Tree, Rules)>,
    terminal: TerminalPlan,
    waiting: Waiting,
    sockets: Sockets,
    carrying: Carrying,
}

/// Whether it matters who has made a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Knowing {
    /// It does.
    Sockets,
    /// It does not.
    Nothing,
}

/// Who carries out what is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrying {
    /// The mediator, on what was judged.
    Mediator,
    /// The kernel, on what the caller's memory says by then: for tests, which then lose a race.
    #[cfg(test)]
    Kernel,
}

/// What became of a call that was not refused.
enum Done {
    /// It is done.
    Nothing,
    /// It is done, and yields this number.
    Number(i32),
    /// The kernel carries it out: whatever is changed meanwhile, it reaches nothing that a rule is about.
    GoOn,
    /// It opened this.
    File { file: OwnedFd, flags: i32 },
    /// It will be answered by somebody else.
    Later,
}

/// Why a call is not carried out.
enum No {
    /// It fails.
    Failed(Errno),
    /// The policy does not allow it; with this error.
    Refused(Refusal, Errno),
}

impl From<Errno> for No {
    fn from(errno: Errno) -> No {
        No::Failed(errno)
    }
}

impl Files {
    /// Is ready for the first call of a plan that wants some judged.
    pub(super) fn of(plan: &LinuxPlan) -> Files {
        let private = plan.mounts.iter().filter(|mount| matches!(mount, Mount::Private { .. }));
        let private = private.map(|mount| mount.at().clone()).collect();
        let names = plan.mounts.iter().filter(|mount| matches!(mount, Mount::Names { .. }));
        let names = names.map(|mount| mount.at().clone()).collect();
        Files { private, names, ..Files::new(plan.terminal, &plan.mediated, Carrying::Mediator) }
    }

    /// The same, where no file system is the sandbox's own.
    pub(super) fn new(terminal: TerminalPlan, mediated: &BTreeSet<Mediated>, carrying: Carrying) -> Files {
        Files {
            calls: calls::by_number(mediated),
            opens: Opens::of(mediated),
            knowing: match mediated.contains(&Mediated::Sockets) {
                true => Knowing::Sockets,
                false => Knowing::Nothing,
            },
            names: Vec::new(),
            private: Vec::new(),
            inside: None,
            terminal,
            waiting: Waiting::default(),
            sockets: Sockets::default(),
            carrying,
        }
    }

    /// Whether a call is one of these.
    pub(super) fn takes(&self, notice: &Notice) -> bool {
        self.calls.get(&notice.call).is_some_and(|call| calls::matters(*call, &notice.arguments, self.opens))
    }

    /// How long nobody needs to look after those who wait, in milliseconds.
    pub(super) fn patience(&self) -> i32 {
        match (self.waiting.patience(), self.sockets.sending.patience()) {
            (-1, patience) | (patience, -1) => patience,
            (one, other) => one.min(other),
        }
    }

    /// A process of the mediator's has ended.
    pub(super) fn ended(&mut self, process: i32) {
        self.waiting.ended(process);
    }

    /// Nobody's calls are answered there any more, and its number may be another's from now on.
    pub(super) fn gone(&mut self, listener: RawFd) {
        self.waiting.gone(listener);
        self.sockets.sending.gone(listener);
    }

    /// Looks after those who wait.
    pub(super) fn look_after(&mut self) {
        self.waiting.look_after();
        self.sockets.sending.look_after();
    }

    /// Takes a call, and tells what came of it. What takes long is left when the lifeline ends.
    pub(super) fn take(&mut self, notice: Notice, arbiter: &mut dyn Arbiter, lifeline: RawFd) -> Outcome {
        let mut outcome = Outcome::Failed;
        let answer = match self.carry(&notice, arbiter, lifeline) {
            Ok(Done::Nothing) => Answer::Done(0),
            Ok(Done::Number(number)) => Answer::Done(number),
            Ok(Done::GoOn) => Answer::GoOn,
            Ok(Done::Later) => return Outcome::Done,
            Ok(Done::File { file, flags }) => {
                // In two steps, because only an answer has the caller go on where the mediator left off.
                match notice::hand(notice.listener, notice.id, file.as_raw_fd(), flags) {
                    Ok(number) => Answer::Done(number),
                    // Whoever is gone needs none.
                    Err(Errno::ENOENT) => return Outcome::Failed,
                    Err(errno) => Answer::Fail(errno),
                }
            }
            Err(No::Failed(errno)) => Answer::Fail(errno),
            Err(No::Refused(refusal, errno)) => {
                let process = Own::Thread(notice.thread).numbers().ok().map(|(process, _)| process);
                let program = super::watch::program_of(notice.thread);
                let program = Some(String::from_utf8_lossy(&program).into_owned());
                arbiter.refused(Refused { refusal, process, program });
                outcome = Outcome::Refused;
                Answer::Fail(errno)
            }
        };
        match answer {
            Answer::Done(_) => outcome = Outcome::Done,
            Answer::GoOn => outcome = Outcome::Left,
            _ => {}
        }
        #[cfg(test)]
        let answer = match answer {
            Answer::Done(_) if self.carrying == Carrying::Kernel => Answer::GoOn,
            answer => answer,
        };
        let _ = notice::answer(notice.listener, notice.id, answer);
        outcome
    }

    fn carry(&mut self, notice: &Notice, arbiter: &mut dyn Arbiter, lifeline: RawFd) -> Result<Done, No> {
        let call = *self.calls.get(&notice.call).ok_or(Errno::ENOSYS)?;
        let waits = || notice::waits(notice.listener, notice.id);
        let (tree, rules) =
            inside(&mut self.inside, &self.private, self.opens, notice.thread, arbiter, waits)?;
        let request = request::read(call, notice)?;
        let carrying = self.carrying;
        let mut caller = Caller {
            notice,
            lifeline,
            tree,
            rules,
            opens: self.opens,
            names: &self.names,
            arbiter,
            terminal: self.terminal,
            waiting: &mut self.waiting,
            sockets: &mut self.sockets,
            knowing: self.knowing,
            carrying,
        };
        caller.carry(request)
    }
}

/// What is known of the sandbox; from now on, if this thread is there still.
fn inside<'a>(
    known: &'a mut Option<(Tree, Rules)>,
    private: &[AbsolutePath],
    opens: Opens,
    thread: i32,
    arbiter: &dyn Arbiter,
    is_there: impl FnOnce() -> bool,
) -> Result<(&'a mut Tree, &'a mut Rules), Errno> {
    let (tree, rules) = match known {
        Some((tree, rules)) => (tree, rules),
        empty @ None => {
            let tree = Tree::of(thread, private)?;
            if !is_there() {
                return Err(Errno::ESRCH);
            }
            let rules = Rules::new(arbiter, &tree, opens.actions());
            let (tree, rules) = empty.insert((tree, rules));
            (tree, rules)
        }
    };
    rules.refresh(arbiter, tree);
    Ok((tree, rules))
}

/// A call that is carried out.
struct Caller<'a> {
    notice: &'a Notice,
    /// Ends with the process that started the sandbox.
    lifeline: RawFd,
    tree: &'a Tree,
    rules: &'a mut Rules,
    opens: Opens,
    names: &'a [AbsolutePath],
    arbiter: &'a dyn Arbiter,
    terminal: TerminalPlan,
    waiting: &'a mut Waiting,
    sockets: &'a mut Sockets,
    knowing: Knowing,
    carrying: Carrying,
}

impl Caller<'_> {
    fn carry(&mut self, request: Request) -> Result<Done, No> {
        match request {
            Request::Open { named, flags, mode } => self.open(&named, flags, mode),
            Request::Make { named, made } => self.make(&named, made),
            Request::Remove { named, flags } => self.remove(&named, flags),
            Request::Move { from, to, flags } => self.rename(&from, &to, flags),
            Request::Link { from, to, flags } => self.link(&from, &to, flags),
            Request::Change { what, change } => self.change(what, change),
            Request::Watch { watcher, named, last, mask } => self.watch(watcher, &named, last, mask),
            Request::Bind { socket, address } => self.bind(socket, &address),
            Request::Connect { socket, address } => self.connect(socket, address),
            Request::Send { socket, sent, flags } => self.send(socket, sent, flags),
            Request::Share => {
                self.sockets.share();
                Ok(Done::GoOn)
            }
        }
    }

    fn locate(&self, named: &Named, last: Last) -> Result<Reached, Errno> {
        self.tree.locate(self.notice.thread, named, last)
    }

    /// Opens what a path leads to, for nothing but to know it.
    fn object(&self, named: &Named, last: Last) -> Result<Object, Errno> {
        let opened = |reached| match reached {
            Reached::Object(object) => Ok(object),
            Reached::Name(spot) => self.tree.object(spot, last),
        };
        match opened(self.locate(named, last)?) {
            // It may be a link, which leads to something else than its own name says.
            Err(Errno::ELOOP) if last == Last::Followed => {
                opened(self.tree.locate_slowly(self.notice.thread, named, last)?)
            }
            object => object,
        }
    }

    /// Whether what was read of the caller is still the caller's.
    fn still_waits(&self) -> Result<(), Errno> {
        if notice::waits(self.notice.listener, self.notice.id) { Ok(()) } else { Err(Errno::ESRCH) }
    }

    /// Whether what takes long goes on: the caller waits for it, and so does who started the sandbox.
    fn goes_on(&self) -> Result<(), Errno> {
        let [ended] = process::wait_readable([self.lifeline], 0);
        if ended == process::Readable::No { self.still_waits() } else { Err(Errno::ESRCH) }
    }

    /// Before anything is done: the caller is still there, and the mediator is who does it.
    fn begin(&self) -> Result<Act, Errno> {
        self.still_waits()?;
        Ok(match self.carrying {
            Carrying::Mediator => Act::Now,
            #[cfg(test)]
            Carrying::Kernel => Act::Elsewhere,
        })
    }

    /// Makes what is made from here on have the modes that the caller's would have.
    fn take_mask(&self) -> Result<(), Errno> {
        // It stands in one of the first lines, and the kernel writes all of them at each look.
        let mut beginning = [0; 512];
        let status = std::fs::File::open(format!("/proc/{}/status", self.notice.thread));
        let read = status.and_then(|mut status| status.read(&mut beginning)).map_err(|_| Errno::ESRCH)?;
        let status = beginning.get(..read).unwrap_or_default();
        let mut lines = status.split(|byte| *byte == b'\n');
        let mask = lines.find_map(|line| line.strip_prefix(b"Umask:"));
        let mask = mask.and_then(|mask| std::str::from_utf8(mask).ok());
        let mask = mask.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).ok_or(Errno::ESRCH)?;
        process::set_umask(mask);
        Ok(())
    }
}

/// Whether a call is carried out here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Now,
    /// It is left to the kernel, which reads the arguments again.
    #[cfg(test)]
    Elsewhere,
}

/// How a refusal is answered: as a read-only mount would, where there is one, and then without a word if no rule is about it.
fn refused(refusal: Refusal, at: &OwnedFd) -> No {
    let is_read_only = fstatvfs(at).is_ok_and(|system| system.flags().contains(FsFlags::ST_RDONLY));
    let errno = if is_read_only && refusal.action != "read" { Errno::EROFS } else { Errno::EACCES };
    match (is_read_only, &refusal.decision.reason) {
        (true, Reason::NothingAllows) => No::Failed(errno),
        _ => No::Refused(refusal, errno),
    }
}

/// The same for a name: what is not there, and is not to be made, is not there.
fn refused_name(refusal: Refusal, spot: &Spot) -> No {
    match spot.status() {
        Err(errno) => No::Failed(errno),
        Ok(_) => refused(refusal, &spot.parent),
    }
}
