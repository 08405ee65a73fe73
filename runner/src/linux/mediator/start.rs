//! A start of a program: what was asked for, what it comes down to, and whether it is allowed.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::cover::PROGRAM_DIRECTORIES;
use fence_compiler::question::{Decision, Platform, Reason, Start, Verdict};
use fence_compiler::world::{Spelling, World};
use nix::errno::Errno;

use super::known::Known;
use super::place::{Found, Ground, Look, Own, path_of, walk};
use super::program::{self, Program, loaded_with};
use super::settings::texts;
use super::watch::program_of;
use crate::launch::{Arbiter, Asked, Role, Step};
use crate::preflight::Refusal;

/// How many scripts may be interpreters of one another, as in the kernel.
const DEEPEST: usize = 5;

/// What is asked for.
pub(super) struct Given {
    /// The file's name, as the kernel tells it to a script's interpreter.
    pub(super) name: Vec<u8>,
    /// The file.
    pub(super) found: Found,
    /// The arguments.
    pub(super) argv: Vec<Vec<u8>>,
}

/// What an allowed start comes down to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// The file that is executed in the end.
    pub(super) file: (u64, u64),
    /// Its arguments, each with a NUL behind it.
    pub(super) argv: Vec<u8>,
}

/// Why nothing is started.
#[derive(Clone, Debug)]
pub(super) enum Stopped {
    /// The policy does not allow it.
    Refused(Refusal),
    /// It would fail with this error.
    Failed(Errno),
}

impl From<Errno> for Stopped {
    fn from(errno: Errno) -> Stopped {
        Stopped::Failed(errno)
    }
}

/// Judges starts by a policy and by what programs are.
pub(super) struct Judge<'a> {
    /// Who decides.
    pub(super) arbiter: &'a mut dyn Arbiter,
    /// The programs that count under any name, once they have been looked at.
    pub(super) known: Option<Known>,
    /// The files that the kernel reads for the start that was judged last.
    pub(super) read: Vec<Read>,
}

/// A file that is read when a program starts.
pub(super) struct Read {
    /// Where it is; none if it never had a name.
    pub(super) path: Option<AbsolutePath>,
    /// The paths by which it was reached.
    pub(super) spellings: Vec<AbsolutePath>,
}

impl Read {
    fn of(found: &Found, asked: &[u8]) -> Read {
        // A file in memory has a name that is no path.
        let path = found.path.clone().filter(|path| !path.as_bytes().starts_with(b"/memfd:"));
        let world = World {
            platform: Platform::Linux,
            variables: BTreeMap::new(),
            links: found.links.clone(),
            hosts: BTreeMap::new(),
            protected: Vec::new(),
        };
        let reached = AbsolutePath::new(asked).map(|asked| world.resolve(&asked, Spelling::Exact));
        Read {
            path,
            spellings: reached.and_then(Result::ok).map(|found| found.spellings).unwrap_or_default(),
        }
    }
}

impl Judge<'_> {
    /// Looks at the programs that count under any name. That takes a while, and the command itself need not wait for it.
    pub(super) fn prepare(&mut self) -> &mut Known {
        let arbiter = &*self.arbiter;
        self.known.get_or_insert_with(|| Known::new(arbiter.programs()))
    }

    /// The programs that a file is under another name.
    fn aliases(&mut self, found: &Found) -> Vec<AbsolutePath> {
        // What the person starts from the system's directories goes by its name: nobody inside has been there yet.
        if self.known.is_none() && found.path.as_ref().is_some_and(is_of_the_system) {
            return Vec::new();
        }
        self.prepare().names(found)
    }

    /// Judges a start before it happens: the file that is named, and through scripts what is executed for it.
    pub(super) fn plan(
        &mut self,
        ground: &Ground,
        given: Given,
        caller: Caller<'_>,
    ) -> Result<Planned, Stopped> {
        self.read.clear();
        let Given { mut name, mut found, mut argv } = given;
        if argv.is_empty() {
            // As the kernel does.
            argv.push(Vec::new());
        }
        let mut role = Role::Command;
        for _ in 0..DEEPEST {
            if !found.is_file() {
                return Err(Stopped::Failed(Errno::EACCES));
            }
            let mut program = Program::of(&found)?;
            let is_script = matches!(program, Program::Script { .. });
            let asking = Caller { opened: is_script.then_some(name.as_slice()), ..caller };
            let by = self.step(ground, role, called(ground, &name), &found, &argv, Some(asking))?;
            if by == By::Person {
                // It may have become another while they thought about it.
                program = Program::of(&found)?;
                if matches!(program, Program::Script { .. }) && !is_sealed(ground, &name, &found) {
                    return Err(closed(
                        &name,
                        "a script is opened again, and this one can be exchanged before",
                    ));
                }
            }
            match program {
                Program::Other => {
                    self.loads(ground, &found, &argv)?;
                    return Ok(planned(&found, &argv));
                }
                Program::Loader => {
                    self.through_loader(ground, &argv, Some(caller))?;
                    return Ok(planned(&found, &argv));
                }
                Program::Script { interpreter, argument } => {
                    let rest = argv.into_iter().skip(1);
                    argv =
                        [interpreter.clone()].into_iter().chain(argument).chain([name]).chain(rest).collect();
                    found = walk(ground, &interpreter, Look::Plain)?;
                    name = interpreter;
                    role = Role::Interpreter;
                }
            }
        }
        Err(Stopped::Failed(Errno::ELOOP))
    }

    /// Judges a program that has been executed, by what it is and what it was given, whatever was asked for.
    pub(super) fn executed(
        &mut self,
        ground: &Ground,
        program: &Found,
        name: &[u8],
        argv: &[Vec<u8>],
    ) -> Result<(), Stopped> {
        self.read.clear();
        let named = walk(ground, name, Look::Plain).ok();
        if named.as_ref().is_some_and(|named| named.identity() == program.identity()) {
            self.step(ground, Role::Command, called(ground, name), program, argv, None)?;
        } else {
            let own = program.path.as_ref().map(|path| path.as_bytes().to_vec()).unwrap_or_default();
            self.step(ground, Role::Interpreter, own, program, argv, None)?;
            // What the kernel puts before the arguments of a script: its interpreter, and one argument at most.
            let at = argv.iter().skip(1).take(2).position(|word| word == name).map(|at| at + 1);
            let (Some(at), Some(script)) = (at, named) else {
                return Err(closed(name, "what is executed is not what was asked for"));
            };
            let argv: Vec<Vec<u8>> = argv.iter().skip(at).cloned().collect();
            self.step(ground, Role::Command, called(ground, name), &script, &argv, None)?;
        }
        match Program::of(program)? {
            Program::Loader => self.through_loader(ground, argv, None),
            _ => self.loads(ground, program, argv),
        }
    }

    /// Judges what the kernel loads beside a program and enters in its place, with the program's arguments: a loader, which
    /// begins the program, or whatever else somebody has written there. What is not there it does not load.
    fn loads(&mut self, ground: &Ground, program: &Found, argv: &[Vec<u8>]) -> Result<(), Stopped> {
        let Some(name) = loaded_with(program)? else { return Ok(()) };
        let found = match walk(ground, &name, Look::Plain) {
            Ok(found) => found,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        let asked = called(ground, &name);
        if found.is_file() && !Program::is_loader(&found)? {
            return self.step(ground, Role::Interpreter, asked, &found, argv, None).map(|_| ());
        }
        self.read.push(Read::of(&found, &asked));
        Ok(())
    }

    /// Judges what a loader is asked to run. It opens that itself, and later: only a file that cannot be exchanged
    /// meanwhile is known.
    fn through_loader(
        &mut self,
        ground: &Ground,
        argv: &[Vec<u8>],
        caller: Option<Caller<'_>>,
    ) -> Result<(), Stopped> {
        let (name, argv) = match program::asked(argv) {
            program::Asked::Runs(name, argv) => (name, argv),
            program::Asked::Tells => return Ok(()),
            program::Asked::Unknown(option) => {
                return Err(closed(option, "a loader's option that is not known may name any program"));
            }
        };
        if !name.contains(&b'/') {
            return Err(closed(name, "a loader that looks for a program by its name may find any"));
        }
        let found = walk(ground, name, Look::Seals)?;
        self.step(ground, Role::Command, called(ground, name), &found, &argv, caller)?;
        if !found.sealed {
            return Err(closed(
                name,
                "a loader opens a program by itself, and this one can be exchanged before",
            ));
        }
        Ok(())
    }

    /// Judges one step of a start. Before it is refused the person is asked about exactly this, where that is wanted and
    /// somebody waits for it; what has become something else meanwhile is refused.
    fn step(
        &mut self,
        ground: &Ground,
        role: Role,
        asked: Vec<u8>,
        found: &Found,
        argv: &[Vec<u8>],
        caller: Option<Caller<'_>>,
    ) -> Result<By, Stopped> {
        self.read.push(Read::of(found, &asked));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let start = Start {
            asked: text(&asked),
            resolved: found.path.clone(),
            argv: argv.iter().map(|word| text(word)).collect(),
        };
        let asked = Asked { start, role, links: found.links.clone() };
        let refusals = self.refusals(ground, &asked, found);
        let Some(first) = refusals.first() else { return Ok(By::Rules) };
        if let Some(Caller { thread, lifeline, opened }) = caller
            && opened.is_none_or(|name| is_sealed(ground, name, found))
        {
            let (process, program) = asking(thread);
            let step = Step { file: found.path.as_ref(), argv, process, program };
            if self.arbiter.ask(&refusals, &step, lifeline)
                && self.refusals(ground, &asked, found) == refusals
            {
                return Ok(By::Person);
            }
        }
        Err(Stopped::Refused(first.clone()))
    }

    /// Everything that refuses a step.
    fn refusals(&mut self, ground: &Ground, asked: &Asked, found: &Found) -> Vec<Refusal> {
        let aliases = self.aliases(found);
        let mut refusals: Vec<Refusal> = self.arbiter.judge(asked).err().into_iter().collect();
        if is_ssh(&asked.start, &aliases)
            && let Some(homes) = self.arbiter.homes()
        {
            match texts(ground, &homes) {
                Ok(settings) => refusals.extend(self.arbiter.judge_ssh(&asked.start.argv, &settings)),
                Err(why) => refusals.push(refusal("ssh", b"ssh", &why)),
            }
        }
        for path in aliases.into_iter().filter(|path| Some(path) != found.path.as_ref()) {
            let mut asked = asked.clone();
            asked.start.resolved = Some(path);
            refusals.extend(self.arbiter.judge(&asked).err());
        }
        refusals
    }
}

/// Who lets a step happen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rules,
    Person,
}

/// Who waits for a start.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    /// The thread; none yet for the command itself.
    pub(super) thread: Option<i32>,
    /// Nobody waits any more when it can be read from.
    pub(super) lifeline: BorrowedFd<'a>,
    /// The name that a script's interpreter opens the file by, later: what a person is shown must be what that finds.
    pub(super) opened: Option<&'a [u8]>,
}

/// Whether a name leads to this file whenever it is opened.
fn is_sealed(ground: &Ground, name: &[u8], found: &Found) -> bool {
    walk(ground, name, Look::Seals).is_ok_and(|again| again.sealed && again.identity() == found.identity())
}

/// The process of a thread, as its own namespace numbers it, and the program that it runs.
pub(super) fn asking(thread: Option<i32>) -> (Option<u32>, Option<String>) {
    let process = thread.and_then(|thread| Own::Thread(thread).numbers().ok()).map(|(process, _)| process);
    (process, thread.map(|thread| String::from_utf8_lossy(&program_of(thread)).into_owned()))
}

fn is_of_the_system(path: &AbsolutePath) -> bool {
    let directory = path.parent();
    directory.is_some_and(|directory| {
        PROGRAM_DIRECTORIES.iter().any(|known| known.as_bytes() == directory.as_bytes())
    })
}

fn planned(found: &Found, argv: &[Vec<u8>]) -> Planned {
    Planned {
        file: found.identity(),
        argv: argv.iter().flat_map(|word| [word.as_slice(), b"\0"].concat()).collect(),
    }
}

/// The name of a file from the root on.
fn called(ground: &Ground, name: &[u8]) -> Vec<u8> {
    if name.first() == Some(&b'/') {
        return name.to_vec();
    }
    match path_of(&ground.start) {
        Some(directory) => [directory.as_bytes(), b"/", name].concat(),
        None => name.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec(),
    }
}

/// Whether it is OpenSSH's `ssh` that is started, under any name.
fn is_ssh(start: &Start, aliases: &[AbsolutePath]) -> bool {
    let called = [Some(&start.asked), start.argv.first()];
    let mut paths = start.resolved.iter().chain(aliases);
    called.into_iter().flatten().any(|name| name.rsplit('/').next() == Some("ssh"))
        || paths.any(|path| path.name() == Some(b"ssh"))
}

/// A refusal that no rule is the reason of.
pub(super) fn closed(name: &[u8], why: &str) -> Stopped {
    Stopped::Refused(refusal("run", name, why))
}

fn refusal(action: &'static str, name: &[u8], why: &str) -> Refusal {
    let reason = Reason::AlwaysClosed(why.to_owned());
    Refusal {
        action,
        item: String::from_utf8_lossy(name).into_owned(),
        decision: Decision { verdict: Verdict::Denied, reason, assumptions: Vec::new() },
    }
}
