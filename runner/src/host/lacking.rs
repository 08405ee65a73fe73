//! A test's way to try what fence does on a lesser machine: `FENCE_TEST_WITHOUT` names mechanisms that are then taken
//! for missing. It only ever takes away: what the machine does not offer cannot be claimed by it.

use fence_compiler::host::{Cgroup, Features, Support};

/// The variable, a list of names with commas between them: `user-namespaces`, `seccomp`, `fresh-proc`, `mount-api`,
/// `memfd-noexec`, `pid-max`, `mediation`, `cgroup`, and `landlock` (or `landlock-above-N` for one of version N).
pub(crate) const VARIABLE: &str = "FENCE_TEST_WITHOUT";

/// Takes away what the variable names.
pub(super) fn take_away(features: &mut Features) {
    let Some(names) = std::env::var_os(VARIABLE) else { return };
    for name in names.to_string_lossy().split(',') {
        let taken = match name {
            "user-namespaces" => &mut features.user_namespaces,
            "seccomp" => &mut features.seccomp,
            "fresh-proc" => &mut features.fresh_proc,
            "mount-api" => &mut features.mount_api,
            "memfd-noexec" => &mut features.memfd_noexec,
            "pid-max" => &mut features.pid_max,
            "mediation" => &mut features.mediation,
            _ => continue,
        };
        *taken = taken_away();
    }
}

/// Takes away what a cgroup could hold, if the variable names that.
pub(super) fn take_cgroup_away(cgroup: &mut Cgroup) {
    let names = std::env::var_os(VARIABLE).unwrap_or_default();
    if names.to_string_lossy().split(',').any(|name| name == "cgroup") {
        *cgroup = Cgroup { memory: taken_away(), processes: taken_away(), cpu: taken_away() };
    }
}

fn taken_away() -> Support {
    Support::No(format!("taken away by {VARIABLE}"))
}

/// The greatest version of Landlock that is left of one.
pub(super) fn landlock(version: u32) -> u32 {
    let Some(names) = std::env::var_os(VARIABLE) else { return version };
    names.to_string_lossy().split(',').fold(version, |left, name| match name.strip_prefix("landlock") {
        Some("") => 0,
        Some(rest) => {
            rest.strip_prefix("-above-").and_then(|most| most.parse().ok()).unwrap_or(left).min(left)
        }
        None => left,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_variable_nothing_is_taken_away() {
        if std::env::var_os(VARIABLE).is_none() {
            assert_eq!(landlock(7), 7);
        }
    }
}
