//! Programs that a one-word `run` closes, as files.

use super::{Covers, PathAsked, StartAsked};
use crate::bytes::AbsolutePath;
use crate::pattern::Polarity;
use crate::policy::Subject;
use crate::question::Start;
use crate::world::World;

/// Whether a one-word `run` rule closes the program's file, which may be read neither: by its path wherever it
/// lies, by its name where programs are looked up. Of a multicall binary the name decides, so its file stays open.
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
        && programs.any(|item| {
            (item.pattern.names_a_path() || asked.is_in_program_directory())
                && start.covers(&item.pattern, Polarity::Closing)
        })
        && !except.iter().any(|item| start.covers(&item.pattern, Polarity::Opening))
}
