//! What no rule opens, and what stands open in every sandbox.

use super::PathAsked;
use crate::bytes::AbsolutePath;
use crate::policy::PathAction;
use crate::question::Platform;
use crate::world::World;

/// The names under which a policy is found.
const POLICY_FILES: [&str; 3] = ["policy.fence", "policy.fence.yaml", "policy.fence.json"];

/// What the language itself closes for writing.
pub(crate) fn always_closed(world: &World, asked: &PathAsked<'_>) -> Option<&'static str> {
    let below =
        |directory: &str| AbsolutePath::new(directory.as_bytes()).is_some_and(|path| asked.touches(&path));
    if world.platform == Platform::Linux && (below("/proc") || below("/sys")) {
        Some("nothing below `/proc` and `/sys` is writable")
    } else if POLICY_FILES.iter().any(|name| asked.is_named(name)) {
        Some("a file under which a policy is found is never writable")
    } else if world.protected.iter().any(|path| asked.touches(path)) {
        Some("what the policy was read from, and fence's own state, is never writable")
    } else {
        None
    }
}

/// Whether one of the paths it leads to lies strictly below a directory.
pub(crate) fn is_below(asked: &PathAsked<'_>, directory: &str) -> bool {
    let above = directory.as_bytes();
    asked.objects().iter().any(|path| path.as_bytes() != above && path.is_at_or_below(above))
}

/// What stands below `/dev` in every sandbox.
const OPEN_DEVICES: [&str; 13] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/shm",
    "/dev/fd",
    "/dev/stdin",
    "/dev/stdout",
    "/dev/stderr",
];

/// Whether it is one of the devices that are always there; `/dev` itself can be listed.
pub(crate) fn is_open_device(asked: &PathAsked<'_>, action: PathAction) -> bool {
    matches!(action, PathAction::Read | PathAction::Write | PathAction::Device)
        && asked.objects().iter().all(|path| {
            (action == PathAction::Read && path.as_bytes() == b"/dev")
                || OPEN_DEVICES.iter().any(|open| path.is_at_or_below(open.as_bytes()))
        })
}

/// Whether it is what `/proc` shows, which inside is about the sandbox's own processes.
pub(crate) fn is_own_process(world: &World, asked: &PathAsked<'_>, action: PathAction) -> bool {
    action == PathAction::Read
        && world.platform == Platform::Linux
        && asked.objects().iter().all(|path| path.is_at_or_below(b"/proc"))
}

/// Calls that no rule opens, and those that are open as long as no rule closes them.
pub(crate) const CLOSED_CALLS: &[&str] = &[
    "bpf",
    "clone3",
    "delete_module",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "kexec_file_load",
    "kexec_load",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_by_handle_at",
    "open_tree",
    "open_tree_attr",
    "pivot_root",
    "setns",
    "umount2",
    "unshare",
];
