//! Which calls of a run somebody looks at that the kernel answers by itself.

use super::arguments::Run;
use super::run::Prepared;
use super::screen::Screen;
use crate::launch::Observed;

/// Those that the options ask for; where nobody can see them, that is said, and the run goes on.
#[cfg(target_os = "linux")]
pub(super) fn wanted(prepared: &Prepared, arguments: &Run, screen: Screen) -> Observed {
    use fence_compiler::host::Support;

    use super::backend::Backend;
    use crate::audit::visible;

    let wanted = match (arguments.monitor, &arguments.log) {
        (true, _) => Observed::Everything,
        (false, Some(_)) => Observed::Changes,
        (false, None) => return Observed::Nothing,
    };
    let unseen = match (&prepared.backend, &prepared.host.features.mediation) {
        (Backend::Native, Support::Yes) => crate::linux::unobservable(),
        (Backend::Native, Support::No(why)) => Some(why.clone()),
        (other, _) => Some(format!("nobody looks at calls with {other}")),
    };
    let Some(why) = unseen else { return wanted };
    screen.note(&format!(
        "what the kernel refuses of files, and what it lets happen, is not told: {}",
        visible(&why)
    ));
    Observed::Nothing
}

/// None where the system's log tells what is refused.
#[cfg(not(target_os = "linux"))]
pub(super) fn wanted(_: &Prepared, _: &Run, _: Screen) -> Observed {
    Observed::Nothing
}
