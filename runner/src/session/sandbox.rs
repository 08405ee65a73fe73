//! The sandbox itself, and what it is made of.

use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::Error;
use super::command::Command;
use super::judged::Rules;
use crate::cli::prepared;
use crate::linux::session::Session;

/// A sandbox that commands run in, until it is dropped. Clones of it are the same sandbox.
#[derive(Clone, Debug)]
pub struct Sandbox(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    /// What commands are judged by; taken for writing while the policy is narrowed, so that none is judged by one and held
    /// by another.
    pub(super) rules: RwLock<Rules>,
    pub(super) session: Session,
    directory: PathBuf,
    /// What the policy was made of.
    wanted: prepared::Wanted,
}

/// Says which sandbox is made.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    policies: Vec<OsString>,
    rules: Vec<String>,
    settings: Vec<(String, String)>,
    directory: Option<PathBuf>,
    idle: Option<Duration>,
}

impl Sandbox {
    /// Begins to say which sandbox is made: without more, one with the policy `default` for the current directory.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Begins to say which command is run. A name is looked up on the `PATH` that the command will have.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        Command::new(self.0.clone(), program.as_ref())
    }

    /// Reads the policies anew, and holds the commands that are started from when this returns by what they say now. That
    /// may allow only less than what is in force: fewer programs, variables and connections, smaller limits. What it says of
    /// files must come out the same, because the file tree stands. Commands that run keep what they had, but for new
    /// connections: those are judged for all of the sandbox together.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir_in("/var/tmp")?;
    /// # let directory = folder.path();
    /// # if let Err(fence::session::Error::Launch(fence::launch::Error::Namespaces { .. })) =
    /// #     fence::session::Sandbox::builder().directory(directory).start()
    /// # {
    /// #     return Ok(()); // This machine makes no sandboxes at all.
    /// # }
    /// use fence::session::Sandbox;
    ///
    /// let policy = directory.join("work.fence");
    /// let rules = "include base\nallow read write exec $cwd, $tmp\n";
    /// std::fs::write(&policy, format!("{rules}allow connect example.org:443\n"))?;
    /// let sandbox = Sandbox::builder().policy(&policy).directory(directory).start()?;
    ///
    /// std::fs::write(&policy, format!("{rules}limit files 50\n"))?;
    /// sandbox.reload()?;
    /// let output = sandbox.command("sh").args(["-c", "ulimit -n"]).output()?;
    /// assert_eq!(output.stdout, b"50\n");
    ///
    /// std::fs::write(&policy, format!("{rules}allow connect example.org:443\nlimit files 50\n"))?;
    /// let wider = sandbox.reload().unwrap_err();
    /// assert!(wider.to_string().contains("allow connect example.org:443"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The policy has an error, is wider than the one in force or may be, or changes what the file tree holds; each is told
    /// with the rule that it is about. What was in force stays.
    pub fn reload(&self) -> Result<(), Error> {
        let Inner { rules, session, directory, wanted } = &*self.0;
        let policy = prepared::resolved(wanted, directory)?;
        let mut rules = rules.write().unwrap_or_else(PoisonError::into_inner);
        *rules = prepared::narrow(&rules, session, policy, None)?;
        Ok(())
    }

    /// A descriptor that can be read from once the sandbox has ended by itself: it did nothing for the time it was given, or
    /// its first process was killed.
    #[must_use]
    pub fn lifeline(&self) -> BorrowedFd<'_> {
        self.0.session.lifeline()
    }
}

impl Inner {
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Builder {
    /// Adds a policy: a file (with a `/` or ending in `.fence`), the name of a built-in one, or `user`. Several are a union.
    /// The `never`s of the person and of the machine hold as well, and no policy that merely lies in a directory is taken.
    #[must_use]
    pub fn policy(mut self, policy: impl Into<OsString>) -> Builder {
        self.policies.push(policy.into());
        self
    }

    /// Adds one statement, as `--rule` does.
    #[must_use]
    pub fn rule(mut self, statement: impl Into<String>) -> Builder {
        self.rules.push(statement.into());
        self
    }

    /// Changes a `let` of the policy, as `--set` does.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Builder {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Says where it works: what `$cwd` and `$workspace` mean, and where commands start unless they say otherwise.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Builder {
        self.directory = Some(directory.into());
        self
    }

    /// Has the sandbox end by itself once no command has run in it for so long.
    #[must_use]
    pub fn idle(mut self, time: Duration) -> Builder {
        self.idle = Some(time);
        self
    }

    /// Makes the sandbox.
    ///
    /// # Errors
    /// The policy has an error, this machine cannot hold it as written, or refuses a step of making the sandbox.
    pub fn start(self) -> Result<Sandbox, Error> {
        let wanted = prepared::Wanted {
            policies: if self.policies.is_empty() { vec!["default".into()] } else { self.policies },
            rules: self.rules,
            settings: self.settings,
            directory: self.directory,
        };
        let (rules, session, directory) = prepared::start(wanted.clone(), self.idle)?;
        Ok(Sandbox(Arc::new(Inner { rules: RwLock::new(rules), session, directory, wanted })))
    }
}

#[cfg(test)]
mod tests {
    use super::Sandbox;
    use crate::session::{Child, Command};

    fn is_for_any_thread<T: Send>() {}

    #[test]
    fn a_sandbox_is_used_from_any_thread() {
        fn shared<T: Send + Sync>() {}
        shared::<Sandbox>();
        is_for_any_thread::<Command>();
        is_for_any_thread::<Child>();
    }
}
