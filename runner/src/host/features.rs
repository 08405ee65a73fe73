//! What the kernel offers, told by files and calls that cost microseconds.

use std::fs;
use std::io::{self, Read};

use fence_compiler::host::{Features, Support};

#[cfg(target_os = "linux")]
use super::{calls, lacking};

/// What the kernel offers this process.
#[cfg(target_os = "linux")]
#[must_use]
pub fn features() -> Features {
    let kernel = kernel();
    let mut features = Features {
        kernel,
        user_namespaces: user_namespaces(),
        landlock_abi: landlock_abi(),
        seccomp: calls::seccomp(),
        fresh_proc: fresh_proc(),
        mount_api: calls::mount_api(),
        memfd_noexec: memfd_noexec(),
        pid_max: if kernel >= (6, 14) { Support::Yes } else { since((6, 14), kernel) },
        tiocsti_off: tiocsti_off(),
        mediation: mediation(kernel),
        cgroup: None,
    };
    lacking::take_away(&mut features);
    features
}

/// The version of Landlock; 0 where there is none.
#[cfg(target_os = "linux")]
pub(crate) fn landlock_abi() -> u32 {
    lacking::landlock(calls::landlock_abi())
}

/// What the kernel offers this process: nothing that fence knows to use on this platform yet.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn features() -> Features {
    Features::none("not Linux")
}

/// The text of a file of the kernel's, whose length nobody knows beforehand, in as few reads as possible.
pub(super) fn read(path: &str) -> io::Result<String> {
    let mut text = String::with_capacity(4096);
    fs::File::open(path)?.take(u64::MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// The first two numbers of the kernel's release.
fn kernel() -> (u32, u32) {
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

fn since(needed: (u32, u32), found: (u32, u32)) -> Support {
    Support::No(format!("needs Linux {}.{}, this is {}.{}", needed.0, needed.1, found.0, found.1))
}

/// The setting is a pid namespace's own, but its file belongs to the host's root in each of them: nobody else may
/// write it, whatever capabilities the namespace gives. Opening it changes nothing.
fn memfd_noexec() -> Support {
    match fs::File::options().write(true).open("/proc/sys/vm/memfd_noexec") {
        Ok(_) => Support::Yes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => since((6, 3), kernel()),
        Err(error) => Support::No(format!("only root may set vm.memfd_noexec ({error})")),
    }
}

/// A number in a file below `/proc/sys`.
fn setting(name: &str) -> Option<u64> {
    read(&format!("/proc/sys/{name}")).ok()?.trim().parse().ok()
}

/// Whether the settings of the system let this user have a user namespace. That they do does not prove it
/// (a container's filter is not seen here): the launch, and `fence doctor`, try.
fn user_namespaces() -> Support {
    let root = nix::unistd::geteuid().is_root();
    if fs::symlink_metadata("/proc/self/ns/user").is_err() {
        return Support::No("this kernel has no user namespaces (CONFIG_USER_NS)".to_owned());
    }
    if setting("user/max_user_namespaces") == Some(0) {
        return Support::No("user.max_user_namespaces=0".to_owned());
    }
    if !root && setting("kernel/unprivileged_userns_clone") == Some(0) {
        return Support::No("kernel.unprivileged_userns_clone=0".to_owned());
    }
    if !root && setting("kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        let profile = read("/proc/self/attr/current").unwrap_or_default();
        if profile.trim_end_matches(['\n', '\0']) == "unconfined" {
            return Support::No(
                "kernel.apparmor_restrict_unprivileged_userns=1, and no AppArmor profile for fence"
                    .to_owned(),
            );
        }
    }
    Support::Yes
}

/// Whether a fresh `/proc` may be mounted in a user namespace: the kernel wants one that is whole to be in
/// sight, with nothing mounted over parts of it and not read-only (`mount_too_revealing` in fs/namespace.c).
fn fresh_proc() -> Support {
    let Ok(mounts) = read("/proc/self/mountinfo") else {
        return Support::No("no /proc to compare with".to_owned());
    };
    let mut covered = None;
    let mut whole = false;
    for line in mounts.lines() {
        let mut fields = line.split(' ');
        let (root, at, options) = (fields.nth(3), fields.next(), fields.next());
        let (Some(root), Some(at), Some(options)) = (root, at, options) else { continue };
        let kind = line.split(" - ").nth(1).and_then(|rest| rest.split(' ').next());
        if at == "/proc" && kind == Some("proc") && root == "/" {
            whole = !options.split(',').any(|option| option == "ro");
        } else if at.starts_with("/proc/") && !on_empty_directory(at) {
            covered = Some(at.to_owned());
        }
    }
    match covered {
        Some(at) => Support::No(format!("`{at}` is covered, as in a container")),
        None if whole => Support::Yes,
        None => Support::No("/proc is read-only or not a whole one, as in a container".to_owned()),
    }
}

/// Places that the kernel keeps empty to be mounted on, which therefore do not count.
fn on_empty_directory(at: &str) -> bool {
    matches!(at, "/proc/sys/fs/binfmt_misc" | "/proc/fs/nfsd" | "/proc/openprom" | "/proc/xen")
}

/// Whether calls can be judged by another process: without waiting for the answer until a signal kills (5.19), a signal
/// would have a call made twice; and what was started can be looked at only by tracing.
#[cfg(target_os = "linux")]
fn mediation(kernel: (u32, u32)) -> Support {
    if kernel < (5, 19) {
        return since((5, 19), kernel);
    }
    if setting("kernel/yama/ptrace_scope") == Some(3) {
        return Support::No(
            "kernel.yama.ptrace_scope=3: nobody may trace anything until the next boot".to_owned(),
        );
    }
    calls::notification()
}

fn tiocsti_off() -> Support {
    match setting("dev/tty/legacy_tiocsti") {
        Some(0) => Support::Yes,
        Some(value) => Support::No(format!("dev.tty.legacy_tiocsti={value}")),
        None => since((6, 2), kernel()),
    }
}
