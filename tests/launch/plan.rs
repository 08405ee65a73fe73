//! Plans made by hand.

use std::collections::BTreeMap;
use std::path::Path;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::host::LinkText;
use fence_compiler::plan::{
    CallRule, Condition, Devices, EnvironmentPlan, Executing, LandlockPlan, LandlockRule, LimitPlan,
    LinuxPlan, MaskKind, MemfdPlan, Mount, NetworkPlan, ProcKind, TerminalPlan, TreeKind, Writing,
};

/// A path.
pub fn path(text: impl AsRef<Path>) -> AbsolutePath {
    AbsolutePath::new(text.as_ref().as_os_str().as_encoded_bytes()).unwrap()
}

/// What a usual policy yields: the system readable, one workspace writable, everything else absent.
pub fn plan(workspace: &Path) -> LinuxPlan {
    let mut mounts = Vec::new();
    let mut rules = Vec::new();
    for name in ["bin", "lib", "lib64", "sbin", "lib32"] {
        if let Ok(target) = std::fs::read_link(Path::new("/").join(name)) {
            let target = LinkText::new(target.as_os_str().as_encoded_bytes());
            mounts.push(Mount::Link { at: path(Path::new("/").join(name)), target });
        } else if Path::new("/").join(name).is_dir() {
            mounts.push(tree(Path::new("/").join(name), Writing::Refused));
            rules.push(rule(Path::new("/").join(name), "rx"));
        }
    }
    for name in ["/usr", "/etc"] {
        mounts.push(tree(name, Writing::Refused));
        rules.push(rule(name, "rx"));
    }
    mounts.push(Mount::Proc { at: path("/proc"), how: ProcKind::Fresh });
    mounts.push(Mount::Dev { at: path("/dev"), devices: Vec::new() });
    mounts.push(Mount::Private { at: path("/tmp"), mode: 0o1777, executing: Executing::Allowed });
    mounts.push(tree(workspace, Writing::Allowed));
    rules.extend([rule("/proc", "r"), rule("/dev", "rwd"), rule("/tmp", "rwx"), rule(workspace, "rwx")]);
    LinuxPlan {
        mounts,
        landlock: LandlockPlan { rules },
        seccomp: vec![
            refused(
                &["mount", "unshare", "setns", "bpf", "keyctl", "open_tree", "ptrace"],
                Condition::Always,
                "EPERM",
            ),
            refused(&["clone3", "io_uring_setup"], Condition::Always, "ENOSYS"),
        ],
        network: NetworkPlan::Isolated,
        environment: EnvironmentPlan { pass: Vec::new(), set: BTreeMap::new() },
        limits: Vec::<LimitPlan>::new(),
        terminal: TerminalPlan::Kept,
        memfd: MemfdPlan::Unrestricted,
        mediated: std::collections::BTreeSet::new(),
        cwd: path(workspace),
    }
}

/// A directory of the host at the same place.
pub fn tree(at: impl AsRef<Path>, writing: Writing) -> Mount {
    Mount::Tree {
        source: path(&at),
        at: path(&at),
        kind: if at.as_ref().is_file() { TreeKind::File } else { TreeKind::Directory },
        writing,
        executing: Executing::Allowed,
        devices: Devices::Refused,
        rules: Vec::new(),
    }
}

/// Something covered.
pub fn mask(at: impl AsRef<Path>, kind: MaskKind) -> Mount {
    Mount::Mask { at: path(at), kind, rules: Vec::new() }
}

/// A rule of Landlock: `r`, `w`, `x`, `d`.
pub fn rule(at: impl AsRef<Path>, rights: &str) -> LandlockRule {
    let has = |right| rights.contains(right);
    LandlockRule { path: path(at), read: has('r'), write: has('w'), execute: has('x'), device: has('d') }
}

/// System calls that are refused.
pub fn refused(calls: &[&str], when: Condition, errno: &str) -> CallRule {
    CallRule {
        calls: calls.iter().map(|call| (*call).to_owned()).collect(),
        when: vec![when],
        errno: errno.to_owned(),
        reason: String::new(),
    }
}
