//! From a command that is wanted to one that a sandbox is asked for: its program is found, judged, and given its environment.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::host::Host;
use fence_compiler::lower::environment::passes;
use fence_compiler::plan::{EnvironmentPlan, LinuxPlan, TerminalPlan};
use fence_compiler::policy::Policy;

use super::Error;
use crate::audit::visible;
use crate::cli::remedy;
use crate::linux::session::{Asked, Controls, Size, Terminal};
use crate::preflight::{Invocation, Judge, Lookup, NotFound, Program, Refusal, Ways, Word, look_up, world};

/// What commands of a session are judged by.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) policy: Policy,
    pub(crate) host: Host,
    pub(crate) environment: EnvironmentPlan,
    /// Whether a command may have a controlling terminal.
    terminal: TerminalPlan,
    /// Which variables are passed on, as far as that was asked.
    passed: Mutex<BTreeMap<String, Passing>>,
    /// Programs whose files were allowed, each with the links that were met then: the same question in the same world has
    /// the same answer.
    allowed: Mutex<BTreeMap<AbsolutePath, BTreeMap<AbsolutePath, Vec<u8>>>>,
}

/// Whether a variable is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passing {
    Passed,
    Kept,
}

/// A command that somebody wants to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) argv: Vec<OsString>,
    /// The environment of whoever wants it.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// The directory that it starts in.
    pub(crate) directory: PathBuf,
    pub(crate) umask: u32,
    /// The window of the terminal that it is to have of its own.
    pub(crate) terminal: Option<Size>,
}

/// How many variables and programs are remembered.
const MOST_REMEMBERED: usize = 4096;

impl Rules {
    pub(crate) fn new(policy: Policy, host: Host, plan: LinuxPlan) -> Rules {
        let LinuxPlan { environment, terminal, .. } = plan;
        Rules { policy, host, environment, terminal, passed: Mutex::default(), allowed: Mutex::default() }
    }

    /// Judges a command, and everything that its words say it starts.
    ///
    /// # Errors
    /// There is no such program, or the policy refuses it.
    pub(crate) fn judged(&self, wanted: &Wanted) -> Result<Asked, Error> {
        let environment = self.environment(wanted);
        let path = environment.iter().find_map(|(name, value)| (name == "PATH").then_some(value.as_os_str()));
        let cwd = AbsolutePath::new(wanted.directory.as_os_str().as_bytes()).ok_or_else(|| {
            Error::Asked(format!("`{}` is no absolute path of a directory", shown(&wanted.directory)))
        })?;
        let asked = wanted.argv.first().filter(|word| !word.is_empty());
        let asked = asked.ok_or_else(|| Error::Asked("the command is empty".to_owned()))?;
        let judge = Judge { policy: &self.policy, host: &self.host, cwd: &cwd };
        let lookup = Lookup { program: asked, path, cwd: &cwd };
        let program = look_up(lookup, |program| !hidden(program) && self.may_run(&judge, program))
            .map_err(|problem| self.not_started(asked, &judge, problem))?;
        let words: Vec<String> = wanted.argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        judge
            .start(&asked.to_string_lossy(), Some(&program), &words)
            .and_then(|()| {
                let words = words.into_iter().map(Word::Known).collect();
                judge.within(Invocation { words }, path)
            })
            .map_err(|refusal| self.refused(refusal))?;
        Ok(Asked {
            program: c_string(program.path.as_bytes())?,
            directory: c_string(cwd.as_bytes())?,
            argv: wanted.argv.iter().map(|word| c_string(word.as_bytes())).collect::<Result<_, _>>()?,
            environment: environment
                .iter()
                .map(|(name, value)| c_string(&[name.as_bytes(), b"=", value.as_bytes()].concat()))
                .collect::<Result<_, _>>()?,
            umask: wanted.umask,
            terminal: wanted.terminal.map(|size| Terminal { size, controls: self.controls() }),
        })
    }

    /// Whether a program's file may be executed and read.
    fn may_run(&self, judge: &Judge<'_>, program: &Program) -> bool {
        let world = world(&self.host, &self.policy, &[&program.path], Ways::Programs);
        let mut allowed = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        if allowed.get(&program.path) == Some(&world.links) {
            return true;
        }
        if judge.program_in(&world, program).is_err() {
            return judge.program(program).is_ok();
        }
        if allowed.len() < MOST_REMEMBERED {
            allowed.insert(program.path.clone(), world.links);
        }
        true
    }

    /// What the policy passes on of the caller's environment and sets, and fence's own, which decides nothing.
    fn environment(&self, wanted: &Wanted) -> Vec<(OsString, OsString)> {
        let set = &self.environment.set;
        let mut environment: Vec<(OsString, OsString)> =
            Vec::with_capacity(wanted.environment.len() + set.len());
        for (name, value) in &wanted.environment {
            let Some(text) = name.to_str().filter(|name| !set.contains_key(*name) && self.is_passed(name))
            else {
                continue;
            };
            let value = match text {
                "PWD" => working_directory(&wanted.directory, value),
                "HOME" => OsString::from_vec(self.host.person.home.as_bytes().to_vec()),
                _ => value.clone(),
            };
            environment.push((name.clone(), value));
        }
        environment.extend(set.iter().map(|(name, value)| (name.into(), value.into())));
        environment.push(("FENCE".into(), env!("CARGO_PKG_VERSION").into()));
        environment.push(("FENCE_POLICY".into(), self.name().into()));
        environment
    }

    fn is_passed(&self, name: &str) -> bool {
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = passed.get(name) {
            return *known == Passing::Passed;
        }
        let passing =
            if passes(&self.policy, self.host.platform, name) { Passing::Passed } else { Passing::Kept };
        if passed.len() < MOST_REMEMBERED {
            passed.insert(name.to_owned(), passing);
        }
        passing == Passing::Passed
    }

    /// Whether the terminal that a command is given is its controlling one, which is what `tty` is about.
    fn controls(&self) -> Controls {
        match self.terminal {
            TerminalPlan::Kept => Controls::Yes,
            TerminalPlan::None => Controls::No,
        }
    }

    /// What the policy is called.
    pub(crate) fn name(&self) -> String {
        let first = || self.policy.sources.first().map(|source| source.name.clone());
        self.policy.name.clone().or_else(first).unwrap_or_default()
    }

    fn not_started(&self, asked: &OsStr, judge: &Judge<'_>, problem: NotFound) -> Error {
        let shown = visible(&asked.to_string_lossy());
        match problem {
            NotFound::Missing => Error::NotFound(format!("`{shown}` was not found")),
            NotFound::NotExecutable(path) => {
                Error::NotExecutable(format!("`{path}` cannot be executed: it is no executable file"))
            }
            NotFound::Refused(program) if hidden(&program) => Error::NotFound(format!(
                "`{}` is not there inside: `/tmp` is private to each session; copy the program to the workspace",
                program.path
            )),
            NotFound::Refused(program) => match judge.program(&program) {
                Err(refusal) => self.refused(refusal),
                Ok(()) => Error::Asked(format!("`{}` was refused and then allowed", program.path)),
            },
        }
    }

    fn refused(&self, refusal: Refusal) -> Error {
        let (text, _) = remedy::told(&self.policy, &refusal);
        Error::Refused { text, refusal: Box::new(refusal) }
    }
}

/// Whether a file lies where the sandbox has a directory of its own.
fn hidden(program: &Program) -> bool {
    AbsolutePath::new(b"/tmp")
        .is_some_and(|tmp| program.path.is_within(&tmp) || program.resolved.is_within(&tmp))
}

/// The caller's `PWD` if it leads to the directory that the command starts in, else that directory.
fn working_directory(directory: &Path, told: &OsString) -> OsString {
    let leads = Path::new(told).canonicalize().is_ok_and(|real| real == directory);
    if leads { told.clone() } else { directory.as_os_str().to_owned() }
}

fn c_string(bytes: &[u8]) -> Result<CString, Error> {
    CString::new(bytes)
        .map_err(|_| Error::Asked("a NUL byte cannot stand in a command or its environment".to_owned()))
}

fn shown(path: &Path) -> String {
    visible(&path.to_string_lossy())
}
