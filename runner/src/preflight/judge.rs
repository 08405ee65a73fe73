//! What a policy says of the commands that fence starts itself.

use std::ffi::OsStr;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::decide::decide;
use fence_compiler::host::Host;
use fence_compiler::policy::{PathAction, Policy};
use fence_compiler::question::{Decision, Question, Start, Verdict};
use fence_compiler::world::World;

use super::lookup::{Lookup, Program, look_up};
use super::shell::{Invocation, Word};
use super::world::{Ways, world};
use super::wrapper::unwrapped;

/// A question that was answered with no, and the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The action's word.
    pub action: &'static str,
    /// The item: a path or a command.
    pub item: String,
    /// The answer.
    pub decision: Decision,
}

/// A policy on a machine.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// The machine.
    pub host: &'a Host,
    /// The directory that the command starts in.
    pub cwd: &'a AbsolutePath,
}

/// What is done with the file of a program that is started.
const FILE: [(PathAction, &str); 2] = [(PathAction::Exec, "exec"), (PathAction::Read, "read")];

impl Judge<'_> {
    /// Whether a program's file may be executed and read.
    ///
    /// # Errors
    /// The first of both that is refused.
    pub fn program(&self, program: &Program) -> Result<(), Refusal> {
        let world = |ways| world(self.host, self.policy, &[&program.path], ways);
        let usual = world(Ways::Programs);
        FILE.iter().try_for_each(|action| {
            // Only where that is refused does it matter which rules name the file through links: the file tree holds them all.
            self.file(&usual, program, *action)
                .or_else(|_| self.file(&world(Ways::Everything), program, *action))
        })
    }

    /// The same in one world: whoever asks again in the same gets the same answer.
    pub(crate) fn program_in(&self, world: &World, program: &Program) -> Result<(), Refusal> {
        FILE.iter().try_for_each(|action| self.file(world, program, *action))
    }

    fn file(
        &self,
        world: &World,
        program: &Program,
        (action, word): (PathAction, &'static str),
    ) -> Result<(), Refusal> {
        let question = Question::Path { action, path: program.path.clone() };
        let decision = decide(self.policy, world, &question);
        match decision.verdict {
            Verdict::Allowed => Ok(()),
            Verdict::Denied => Err(Refusal { action: word, item: program.path.to_string(), decision }),
        }
    }

    /// Whether a command may be started.
    ///
    /// # Errors
    /// It may not.
    pub fn start(&self, asked: &str, program: Option<&Program>, argv: &[String]) -> Result<(), Refusal> {
        let resolved = program.map(|program| program.resolved.clone());
        let start = Start { asked: asked.to_owned(), resolved, argv: argv.to_vec() };
        let paths: Vec<&AbsolutePath> = program.iter().map(|program| &program.path).collect();
        let world = world(self.host, self.policy, &paths, Ways::Programs);
        let decision = decide(self.policy, &world, &Question::Run(start));
        match decision.verdict {
            Verdict::Allowed => Ok(()),
            Verdict::Denied => Err(Refusal { action: "run", item: told(argv), decision }),
        }
    }

    /// Whether everything that a command comes down to may be started: what its wrappers start, too.
    ///
    /// # Errors
    /// The first that may not.
    pub fn within(&self, invocation: Invocation, path: Option<&OsStr>) -> Result<(), Refusal> {
        unwrapped(invocation).iter().try_for_each(|invocation| {
            let Some(asked) = invocation.words.first().and_then(Word::known) else { return Ok(()) };
            if is_builtin(asked) {
                return Ok(());
            }
            let argv: Vec<String> = invocation.words.iter().map(|word| word.text().to_owned()).collect();
            let lookup = Lookup { program: OsStr::new(asked), path, cwd: self.cwd };
            let program = look_up(lookup, |_| true).ok();
            self.start(asked, program.as_ref(), &argv)
        })
    }
}

/// A command as a person would write it.
pub(crate) fn told(argv: &[String]) -> String {
    argv.iter()
        .map(|word| {
            let plain =
                !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || "'\"\\$`".contains(c));
            if plain { word.clone() } else { format!("'{}'", word.replace('\'', "'\\''")) }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether a shell does this itself, so that no program is started.
fn is_builtin(name: &str) -> bool {
    const BUILTINS: &[&str] = &[
        ".", ":", "[", "[[", "alias", "bg", "break", "builtin", "cd", "command", "continue", "declare",
        "dirs", "echo", "eval", "exec", "exit", "export", "false", "fg", "getopts", "hash", "jobs", "let",
        "local", "popd", "printf", "pushd", "pwd", "read", "readonly", "return", "set", "shift", "shopt",
        "source", "test", "times", "trap", "true", "type", "typeset", "ulimit", "umask", "unalias", "unset",
        "wait",
    ];
    BUILTINS.contains(&name)
}
