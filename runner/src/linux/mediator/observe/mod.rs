//! Looking at calls that the kernel answers by itself, for a person who wants to see what it refuses.
//!
//! The filter lets these calls wait. The observer walks to what they name as the caller would, asks the rules, foretells what
//! the kernel will do, and the call goes on as if nobody had looked. It decides nothing: whoever makes a path lead elsewhere
//! meanwhile has the wrong thing told, and is held by the same mounts. What cannot be told is not told.

mod asked;
mod host;
mod view;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::RawFd;

use fence_compiler::plan::{Condition, LandlockPlan, Mediated};
use fence_compiler::question::{Decision, Reason, Verdict};
use nix::errno::Errno;

use self::asked::{Asked, Deed, Watched};
use self::view::{Fate, Place, View};
use super::files::calls::by_number;
use super::files::ground::{Last, Named};
use super::place::{Found, Own};
use super::program::Program;
use super::watch::program_of;
use crate::launch::{self, Arbiter, Observed, Seen};
use crate::linux::seccomp::{Architecture, Judged};
use crate::linux::sys::notice::{self, Answer, Notice};

/// Looks at calls.
pub(super) struct Observer {
    calls: BTreeMap<i32, Watched>,
    /// What is known of the sandbox, from the first call on.
    inside: Option<View>,
    /// What Landlock holds inside.
    landlock: LandlockPlan,
    /// The commands that are looked at, by where their calls are answered: the file of each, until it starts, since its memory
    /// is fence's own until then.
    commands: BTreeMap<RawFd, Option<CString>>,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The kernel carries it out, or refuses it.
    Left,
    /// It was carried out.
    Done,
    /// It failed, and nobody was told.
    Failed,
    /// It was refused, and that was told.
    Refused,
}

impl Outcome {
    /// What comes of a start that is answered so.
    pub(super) fn of_start(answer: Answer) -> Outcome {
        if answer == Answer::GoOn { Outcome::Left } else { Outcome::Refused }
    }

    /// Whether this leaves something to tell of what was seen before.
    pub(super) fn leaves(self, seen: &Seen) -> bool {
        match self {
            Outcome::Left => true,
            Outcome::Done => seen.decision.verdict == Verdict::Allowed,
            Outcome::Failed => seen.decision.verdict == Verdict::Denied,
            Outcome::Refused => false,
        }
    }
}

/// The calls that wait to be looked at.
pub(super) fn watched(observed: Observed) -> Vec<Judged> {
    if observed == Observed::Nothing {
        return Vec::new();
    }
    let opens = |call| Judged { call, when: asked::opens(call, observed) };
    let all = asked::names().map(|call| Judged { call, when: Condition::Always });
    ["open", "openat"].map(opens).into_iter().chain(all).collect()
}

/// Something to tell.
struct Told {
    action: &'static str,
    item: String,
    decision: Decision,
}

impl Observer {
    /// Is ready to look at the calls of commands.
    pub(super) fn new(landlock: &LandlockPlan) -> Observer {
        let number = |(name, watched): (&str, Watched)| {
            Some((i32::try_from(Architecture::NATIVE.number(name)?).ok()?, watched))
        };
        let mut calls: BTreeMap<i32, Watched> = asked::others().into_iter().filter_map(number).collect();
        calls.extend(
            by_number(&[Mediated::Writes].into())
                .into_iter()
                .map(|(number, call)| (number, Watched::File(call))),
        );
        Observer { calls, inside: None, landlock: landlock.clone(), commands: BTreeMap::new() }
    }

    /// Looks at a command whose calls are answered there, and at everything that it starts.
    pub(super) fn begin(&mut self, listener: RawFd, command: &launch::Command) {
        self.commands.insert(listener, Some(command.program.clone()));
    }

    /// Nothing of a command is left.
    pub(super) fn gone(&mut self, listener: RawFd) {
        self.commands.remove(&listener);
    }

    /// Looks at a call that waits. It must not have been answered yet: who made it is asked about.
    pub(super) fn look(&mut self, notice: &Notice, arbiter: &dyn Arbiter) -> Vec<Seen> {
        let Some(watched) = self.calls.get(&notice.call).copied() else { return Vec::new() };
        let Some(first) = self.commands.get_mut(&notice.listener) else { return Vec::new() };
        let first = if watched.starts() { first.take() } else { None };
        let told = match &first {
            Some(program) => command(program, arbiter, &self.landlock),
            None => self.told(notice, watched, arbiter),
        };
        let Ok(told) = told else { return Vec::new() };
        if told.is_empty() {
            return Vec::new();
        }
        let process = Own::Thread(notice.thread).numbers().ok().map(|(process, _)| process);
        // The command is started by fence.
        let program = first.is_none().then(|| program_of(notice.thread));
        let program = program.map(|program| String::from_utf8_lossy(&program).into_owned());
        if !notice::waits(notice.listener, notice.id) {
            // What was read may be another process's by now.
            return Vec::new();
        }
        let seen = |Told { action, item, decision }| Seen {
            action,
            item,
            decision,
            process,
            program: program.clone(),
        };
        told.into_iter().map(seen).collect()
    }

    fn told(&mut self, notice: &Notice, watched: Watched, arbiter: &dyn Arbiter) -> Result<Vec<Told>, Errno> {
        let view = match &mut self.inside {
            Some(view) => view,
            empty @ None => {
                let view = View::of(notice.thread, arbiter, &self.landlock)?;
                if !notice::waits(notice.listener, notice.id) {
                    return Err(Errno::ESRCH);
                }
                empty.insert(view)
            }
        };
        view.refresh(arbiter);
        let mut told: Vec<Told> = Vec::new();
        for Asked { named, last, deed } in asked::read(watched, notice)? {
            let place = view.place(notice.thread, &named, last)?;
            let fate = view.foretell(deed, &place);
            match look_at(view, notice.thread, deed, &place, fate) {
                // What is refused has no further effect.
                Some(found) if found.decision.verdict == Verdict::Denied => return Ok(vec![found]),
                found => told.extend(found),
            }
            if deed == Deed::Remove && fate == Fate::Otherwise {
                // Nothing is there to be given another name.
                break;
            }
        }
        Ok(told)
    }
}

/// The start of the command: nobody may look at the process that it comes from, and nobody inside has been there yet, so that
/// the host has what is inside.
fn command(program: &CString, arbiter: &dyn Arbiter, landlock: &LandlockPlan) -> Result<Vec<Told>, Errno> {
    let own = nix::unistd::getpid().as_raw();
    let named = Named { directory: libc::AT_FDCWD, path: program.as_bytes().to_vec() };
    let view = View::of(own, arbiter, landlock)?;
    let place = view.place(own, &named, Last::Followed)?;
    let fate = view.foretell(Deed::Execute, &place);
    Ok(look_at(&view, own, Deed::Execute, &place, fate).into_iter().collect())
}

/// What is to be told of one thing that a call does. What the rules say is asked last: mostly there is nothing to tell.
fn look_at(view: &View, thread: i32, deed: Deed, place: &Place, fate: Fate) -> Option<Told> {
    match fate {
        Fate::Refused => refused(view, deed, place),
        Fate::Done if deed == Deed::Execute => {
            interpreter(view, thread, place).or_else(|| allowed(view, deed, place))
        }
        Fate::Done
            if deed != Deed::Read
                && !view.is_in_workspace(&place.path)
                && view.is_of_the_host(deed, place) =>
        {
            allowed(view, deed, place).filter(|told| matches!(told.decision.reason, Reason::Rules(_)))
        }
        Fate::Done | Fate::Otherwise => None,
    }
}

/// What the kernel refuses, if the rules do; else the file's own mode does.
fn refused(view: &View, deed: Deed, place: &Place) -> Option<Told> {
    Some(told(view, deed, place)).filter(|told| told.decision.verdict == Verdict::Denied)
}

/// What the kernel lets happen, if the rules do.
fn allowed(view: &View, deed: Deed, place: &Place) -> Option<Told> {
    Some(told(view, deed, place)).filter(|told| told.decision.verdict == Verdict::Allowed)
}

fn told(view: &View, deed: Deed, place: &Place) -> Told {
    let decision = view.decide(deed.action(), place);
    Told { action: deed.word(&place.path, &decision), item: place.path.to_string(), decision }
}

/// The interpreter of a script, if that is refused.
fn interpreter(view: &View, thread: i32, script: &Place) -> Option<Told> {
    let found = Found::of(view.open(script).ok()?, BTreeMap::new()).ok()?;
    let Program::Script { interpreter, .. } = Program::of(&found).ok()? else { return None };
    let named = Named { directory: libc::AT_FDCWD, path: interpreter };
    let place = view.place(thread, &named, Last::Followed).ok()?;
    match view.foretell(Deed::Execute, &place) {
        Fate::Refused => refused(view, Deed::Execute, &place),
        Fate::Done | Fate::Otherwise => None,
    }
}
