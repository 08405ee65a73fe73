//! Who judges what is started inside while a command runs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, RawFd};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::paths::PathRules;
use fence_compiler::question::{Decision, Start};

use crate::audit::Told;
use crate::preflight::Refusal;

/// Judges starts of programs, and calls that write files, for a plan that asks for it. It is used in a process of its own, outside the sandbox, which
/// ends with the run: what it collects stays there, until [`Arbiter::conclude`].
pub trait Arbiter {
    /// The files of the programs that rules name, as the machine has them: they count under any name.
    fn programs(&self) -> Vec<AbsolutePath>;

    /// Whether a program may be started.
    ///
    /// # Errors
    ///
    /// It may not.
    fn judge(&self, asked: &Asked) -> Result<(), Refusal>;

    /// Why a connection is refused that goes past the proxy, where nothing else can be connected to.
    fn directly(&self, meant: SocketAddr) -> Refusal;

    /// The homes that an `ssh` takes settings from, if what it asks of other machines is to be judged.
    fn homes(&self) -> Option<Vec<AbsolutePath>>;

    /// Why an `ssh` with these arguments and settings may not be started: what of it may not be asked, or that nobody can tell.
    fn judge_ssh(&self, argv: &[String], settings: &[String]) -> Vec<Refusal>;

    /// The places that rules about files name: links on the way there matter.
    fn ways(&self) -> Ways;

    /// The rules about files: what opens follows the first links, what closes the second ones.
    fn paths(&self, opening: &Links, closing: &Links) -> PathRules;

    /// Asks the person about a step of a start that would be refused for all of this; whether they allow it. An end of `until` is
    /// a refusal.
    fn ask(&mut self, _: &[Refusal], _: &Step<'_>, _until: BorrowedFd<'_>) -> bool {
        false
    }

    /// Takes note of something that was refused.
    fn refused(&mut self, refused: Refused);

    /// What of the files that are written need not be told: the workspace.
    fn workspace(&self) -> Option<AbsolutePath>;

    /// Takes note of what the kernel will answer.
    fn seen(&mut self, seen: Seen);

    /// What is taken note of from here on is of the command of a session whose calls are answered there, or of nobody's.
    fn turn_to(&mut self, _: Option<RawFd>) {}

    /// What has been taken note of since the turn to a command.
    fn told(&mut self) -> Vec<Told> {
        Vec::new()
    }

    /// How much more of a command was refused than was told one by one, where there was more.
    fn further(&self, _: RawFd) -> Option<Told> {
        None
    }

    /// Nothing of a command is left.
    fn gone(&mut self, _: RawFd) {}

    /// Tells what was refused, when the run is over.
    fn conclude(&mut self);
}

/// Links: where each stands, and what it holds.
pub type Links = BTreeMap<AbsolutePath, Vec<u8>>;

/// Places that rules name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ways {
    /// By what opens.
    pub opening: Vec<AbsolutePath>,
    /// By what closes.
    pub closing: Vec<AbsolutePath>,
}

/// A start that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The program's file and its arguments.
    pub start: Start,
    /// As what it is started.
    pub role: Role,
    /// The links on the way to its file, and what they hold.
    pub links: BTreeMap<AbsolutePath, Vec<u8>>,
}

/// A step of a start: one file that is executed, a script or its interpreter.
#[derive(Debug)]
pub struct Step<'a> {
    /// The file, where it has a name.
    pub file: Option<&'a AbsolutePath>,
    /// The arguments.
    pub argv: &'a [Vec<u8>],
    /// The process that asks for it, as its own namespace numbers it.
    pub process: Option<u32>,
    /// The program that it runs.
    pub program: Option<String>,
}

/// As what a program is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// As what was asked for: something must allow it.
    Command,
    /// As the interpreter of a script that was: nothing may close it.
    Interpreter,
}

/// A start, or a call that writes files, that was refused.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What, and by which rules.
    pub refusal: Refusal,
    /// The process that asked, as its own namespace numbers it.
    pub process: Option<u32>,
    /// The program that it ran.
    pub program: Option<String>,
}

/// A call that the kernel answers by itself, and what the policy says of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The action's word.
    pub action: &'static str,
    /// The path.
    pub item: String,
    /// What the policy says, which is what the kernel will do.
    pub decision: Decision,
    /// The process that makes the call, as its own namespace numbers it.
    pub process: Option<u32>,
    /// The program that it runs.
    pub program: Option<String>,
}
