//! A command that is about to run in a sandbox.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::thread;

use super::child::Child;
use super::judged::Wanted;
use super::sandbox::Inner;
use super::{Error, cannot};
use crate::launch::Outcome;
use crate::linux::session::pair;

/// What a standard descriptor of a command is.
#[derive(Debug, Default)]
pub enum Stdio {
    /// The one of this program.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// A pipe, whose other end the [`Child`] has.
    Piped,
    /// This one. One that is a directory, or could be opened again with more rights than the policy allows, is refused.
    From(OwnedFd),
}

/// A command in the making. It starts with the environment of this program as far as the policy passes it on, and in the
/// directory of its sandbox.
#[derive(Debug)]
pub struct Command {
    sandbox: Arc<Inner>,
    argv: Vec<OsString>,
    /// What is changed of the environment: `None` is taken out.
    changes: BTreeMap<OsString, Option<OsString>>,
    environment: Inherited,
    directory: Option<PathBuf>,
    standard: [Stdio; 3],
}

/// Whether a command starts with the environment of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inherited {
    Yes,
    No,
}

/// What a command that has ended left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub outcome: Outcome,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl Command {
    pub(super) fn new(sandbox: Arc<Inner>, program: &OsStr) -> Command {
        Command {
            sandbox,
            argv: vec![program.to_owned()],
            changes: BTreeMap::new(),
            environment: Inherited::Yes,
            directory: None,
            standard: Default::default(),
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Command {
        self.argv.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Command {
        self.argv.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets a variable. What the policy does not pass on does not reach the command by this either.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Command {
        self.changes.insert(name.as_ref().to_owned(), Some(value.as_ref().to_owned()));
        self
    }

    /// Takes a variable out.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Command {
        self.changes.insert(name.as_ref().to_owned(), None);
        self
    }

    /// Starts from an empty environment; what the policy sets is there all the same.
    #[must_use]
    pub fn env_clear(mut self) -> Command {
        self.environment = Inherited::No;
        self.changes.clear();
        self
    }

    /// Says where it starts; a relative path counts from the directory of the sandbox.
    #[must_use]
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Command {
        self.directory = Some(directory.into());
        self
    }

    /// Says what its standard input is.
    #[must_use]
    pub fn stdin(mut self, stdin: Stdio) -> Command {
        self.standard[0] = stdin;
        self
    }

    /// Says what its standard output is.
    #[must_use]
    pub fn stdout(mut self, stdout: Stdio) -> Command {
        self.standard[1] = stdout;
        self
    }

    /// Says what its standard error is.
    #[must_use]
    pub fn stderr(mut self, stderr: Stdio) -> Command {
        self.standard[2] = stderr;
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// The policy refuses it, there is no such program, a descriptor cannot be handed on, or the sandbox has ended. That the
    /// program cannot be executed is told by [`Child::wait`].
    pub fn spawn(self) -> Result<Child, Error> {
        let wanted = self.wanted();
        let Command { sandbox, standard: [stdin, stdout, stderr], .. } = self;
        // Until it was asked for nothing else may come into force.
        let rules = sandbox.rules.read().unwrap_or_else(PoisonError::into_inner);
        let asked = rules.judged(&wanted)?;
        let (input, own_input) = input(stdin)?;
        let (output, own_output) = output(stdout)?;
        let (error, own_error) = output_of(stderr)?;
        let (here, there) = pair()?;
        let standard = [input.borrow(0), output.borrow(1), error.borrow(2)];
        sandbox.session.ask(&asked, standard, there.as_fd(), None)?;
        drop(rules);
        Ok(Child::new(sandbox, asked, here, (own_input, own_output, own_error)))
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// As [`Command::spawn`] and [`Child::wait`].
    pub fn status(self) -> Result<Outcome, Error> {
        self.spawn()?.wait()
    }

    /// Runs it to its end and collects what it writes; standard input is empty unless something else was said.
    ///
    /// # Errors
    /// As [`Command::spawn`] and [`Child::wait`].
    pub fn output(mut self) -> Result<Output, Error> {
        for (index, standard) in self.standard.iter_mut().enumerate() {
            if matches!(standard, Stdio::Inherit) {
                *standard = if index == 0 { Stdio::Null } else { Stdio::Piped };
            }
        }
        let mut child = self.spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        drop(child.stdin.take());
        let reader = thread::spawn(move || read(stderr));
        let stdout = read(stdout).map_err(cannot("read what the command writes"));
        let outcome = child.wait();
        let stderr = reader.join().unwrap_or_else(|_| Ok(Vec::new()));
        Ok(Output {
            outcome: outcome?,
            stdout: stdout?,
            stderr: stderr.map_err(cannot("read what the command writes"))?,
        })
    }

    fn wanted(&self) -> Wanted {
        let mut environment: BTreeMap<OsString, OsString> = match self.environment {
            Inherited::Yes => std::env::vars_os().collect(),
            Inherited::No => BTreeMap::new(),
        };
        for (name, value) in &self.changes {
            match value {
                Some(value) => environment.insert(name.clone(), value.clone()),
                None => environment.remove(name),
            };
        }
        let own = self.sandbox.directory();
        Wanted {
            argv: self.argv.clone(),
            environment: environment.into_iter().collect(),
            directory: self
                .directory
                .as_ref()
                .map_or_else(|| own.to_owned(), |directory| own.join(directory)),
            umask: crate::linux::session::umask(),
            terminal: None,
        }
    }
}

/// A descriptor that is handed on.
enum Handed {
    Own,
    Opened(OwnedFd),
}

impl Handed {
    fn borrow(&self, number: i32) -> BorrowedFd<'_> {
        match self {
            Handed::Own => crate::linux::session::standard(number),
            Handed::Opened(descriptor) => descriptor.as_fd(),
        }
    }
}

fn input(stdin: Stdio) -> Result<(Handed, Option<PipeWriter>), Error> {
    match stdin {
        Stdio::Piped => {
            let (reader, writer) = std::io::pipe().map_err(cannot("make a pipe"))?;
            Ok((Handed::Opened(reader.into()), Some(writer)))
        }
        other => handed(other).map(|handed| (handed, None)),
    }
}

fn output(stdout: Stdio) -> Result<(Handed, Option<PipeReader>), Error> {
    output_of(stdout)
}

fn output_of(standard: Stdio) -> Result<(Handed, Option<PipeReader>), Error> {
    match standard {
        Stdio::Piped => {
            let (reader, writer) = std::io::pipe().map_err(cannot("make a pipe"))?;
            Ok((Handed::Opened(writer.into()), Some(reader)))
        }
        other => handed(other).map(|handed| (handed, None)),
    }
}

fn handed(standard: Stdio) -> Result<Handed, Error> {
    Ok(match standard {
        Stdio::Inherit | Stdio::Piped => Handed::Own,
        Stdio::From(descriptor) => Handed::Opened(descriptor),
        Stdio::Null => {
            let null = File::options().read(true).write(true).open("/dev/null");
            Handed::Opened(null.map_err(cannot("open `/dev/null`"))?.into())
        }
    })
}

fn read(pipe: Option<PipeReader>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
