//! What of a session stands as it was made: whether another plan needs it to be different.

use fence_compiler::fidelity::limit_name;
use fence_compiler::plan::{LimitMechanism, LimitPlan, LinuxPlan, Mediated, Mount, NetworkPlan};

/// What of the next plan is held by something that cannot be changed while the sandbox stands; `None`: nothing is.
pub(super) fn difference(now: &LinuxPlan, next: &LinuxPlan) -> Option<String> {
    let names = next.network == NetworkPlan::Isolated;
    let (held, wanted) = (mounts(now, names), mounts(next, names));
    let differs = |one: &[Mount], others: &[Mount]| {
        one.iter().find(|mount| !others.contains(mount)).map(|mount| mount.at().to_string())
    };
    let path = differs(&wanted, &held).or_else(|| differs(&held, &wanted));
    if let Some(path) = path.or_else(|| (held != wanted).then(|| "/".to_owned())) {
        return Some(format!(
            "what it says of files changes what can be done at `{path}`, and the file tree of a session stays as it was made"
        ));
    }
    // The files that names are resolved by stay where they are: without the network they serve nobody.
    let served = |path: &_| {
        names && now.mounts.iter().any(|mount| matches!(mount, Mount::Names { at, .. } if at == path))
    };
    let rule = now
        .landlock
        .rules
        .iter()
        .find(|rule| !next.landlock.rules.contains(rule) && !served(&rule.path))
        .or_else(|| next.landlock.rules.iter().find(|rule| !now.landlock.rules.contains(rule)));
    if let Some(rule) = rule {
        return Some(format!(
            "what it says of files changes what can be done at `{}`, and the file tree of a session stays as it was made",
            rule.path
        ));
    }
    let judged = |plan: &LinuxPlan, kind| plan.mediated.contains(&kind);
    if judged(now, Mediated::Writes) != judged(next, Mediated::Writes) {
        return Some("whether what is written is judged is decided when a session starts".to_owned());
    }
    if judged(now, Mediated::Reads) != judged(next, Mediated::Reads) {
        return Some("whether what is read is judged is decided when a session starts".to_owned());
    }
    if judged(now, Mediated::Sockets) != judged(next, Mediated::Sockets) {
        return Some(
            "whether connections to Unix sockets are judged is decided when a session starts".to_owned(),
        );
    }
    if now.memfd != next.memfd {
        return Some("what may be executed from memory is decided when a session starts".to_owned());
    }
    if let (NetworkPlan::Judged(now), NetworkPlan::Judged(next)) = (&now.network, &next.network)
        && (now.connect_time, now.idle_time) != (next.connect_time, next.idle_time)
    {
        return Some(
            "how long a connection may take or be silent is decided when a session starts".to_owned(),
        );
    }
    let together = |plan: &LinuxPlan| -> Vec<LimitPlan> {
        let together = [LimitMechanism::PidMax, LimitMechanism::Cgroup];
        plan.limits.iter().filter(|limit| together.contains(&limit.by)).cloned().collect()
    };
    let (held, wanted) = (together(now), together(next));
    let differs = wanted.iter().find(|limit| !held.contains(limit));
    differs.or_else(|| held.iter().find(|limit| !wanted.contains(limit))).map(|limit| {
        format!("`limit {}` is held for all of a session together from its start", limit_name(limit.kind))
    })
}

/// The mounts without the rules that they are there for; without the files that names are resolved by, if so asked.
fn mounts(plan: &LinuxPlan, without_names: bool) -> Vec<Mount> {
    let mut mounts = plan.mounts.clone();
    mounts.retain(|mount| !(without_names && matches!(mount, Mount::Names { .. })));
    for mount in &mut mounts {
        match mount {
            Mount::Tree { rules, .. }
            | Mount::Mask { rules, .. }
            | Mount::Pin { rules, .. }
            | Mount::Overlaid { rules, .. }
            | Mount::Copy { rules, .. } => rules.clear(),
            _ => {}
        }
    }
    mounts
}
