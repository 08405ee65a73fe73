//! Which calls of a run somebody looks at that the kernel answers by itself.

use std::path::Path;

#[cfg(target_os = "linux")]
use fence_compiler::host::{Host, Support};

use super::record::Live;
use super::run::Prepared;
use super::screen::Screen;
#[cfg(target_os = "linux")]
use crate::audit::visible;
use crate::launch::Observed;

/// Those that `-m` or a log asks for.
pub(super) fn asked(live: Live, log: Option<&Path>) -> Observed {
    match (live, log) {
        (Live::Told, _) => Observed::Everything,
        (Live::Summed, Some(_)) => Observed::Changes,
        (Live::Summed, None) => Observed::Nothing,
    }
}

/// Those that are asked for; where nobody can see them, that is said, and the run goes on.
#[cfg(target_os = "linux")]
pub(super) fn wanted(prepared: &Prepared, asked: Observed, screen: Screen) -> Observed {
    use super::backend::Backend;

    if asked == Observed::Nothing {
        return asked;
    }
    let unseen = match &prepared.backend {
        Backend::Native => unobservable(&prepared.host),
        other => Some(format!("nobody looks at calls with {other}")),
    };
    let Some(why) = unseen else { return asked };
    screen.note(&unseen_told(&why));
    Observed::Nothing
}

/// Why nobody can look at calls under fence's own backend; `None` if somebody can.
#[cfg(target_os = "linux")]
pub(super) fn unobservable(host: &Host) -> Option<String> {
    match &host.features.mediation {
        Support::Yes => crate::linux::unobservable(),
        Support::No(why) => Some(why.clone()),
    }
}

/// What a person is told where nobody looks.
#[cfg(target_os = "linux")]
pub(super) fn unseen_told(why: &str) -> String {
    format!("what the kernel refuses of files, and what it lets happen, is not told: {}", visible(why))
}

/// None where the system's log tells what is refused.
#[cfg(not(target_os = "linux"))]
pub(super) fn wanted(_: &Prepared, _: Observed, _: Screen) -> Observed {
    Observed::Nothing
}
