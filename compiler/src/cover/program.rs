//! Programs that a one-word `run` closes, as files.

use super::{Covers, PathAsked, StartAsked};
use crate::bytes::AbsolutePath;
use crate::pattern::{Component, Polarity, ProgramPattern, Root};
use crate::policy::Subject;
use crate::question::Start;
use crate::world::World;

/// Whether a one-word `run` rule closes the program's file, which may be read neither: by its path, if that has no
/// wildcard, wherever it lies; by its name where programs are looked up, if the file itself has it. Of a multicall binary
/// the name decides, so its file stays open, as does what a link of that name leads to.
pub(crate) fn program_is_closed(
    run: &Subject,
    world: &World,
    path: &AbsolutePath,
    asked: &PathAsked<'_>,
) -> bool {
    let Subject::Run { items, except } = run else { return false };
    let asked_for = String::from_utf8_lossy(path.as_bytes()).into_owned();
    let start = Start { asked: asked_for.clone(), resolved: Some(path.clone()), argv: vec![asked_for] };
    let Ok(start) = StartAsked::new(world, &start) else { return false };
    let mut programs = items.iter().filter(|item| item.pattern.is_one_word());
    !start.is_multicall()
        && programs
            .any(|item| is_of(&item.pattern.program, asked) && start.covers(&item.pattern, Polarity::Closing))
        && !except.iter().any(|item| start.covers(&item.pattern, Polarity::Opening))
}

/// Whether a path can be that of the file that a program stands for.
fn is_of(program: &ProgramPattern, asked: &PathAsked<'_>) -> bool {
    match program {
        ProgramPattern::AnyCommand => false,
        ProgramPattern::Path(path) => {
            path.root != Root::Anywhere
                && path.components.iter().all(|component| matches!(component, Component::Literal(_)))
        }
        ProgramPattern::Name(name) => asked.is_in_program_directory() && asked.has_name(name),
    }
}
