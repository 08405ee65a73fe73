//! What holds each limit, by the machine, the person and the target.

use fence_compiler::fidelity::{Enforced, Enforcement, Level, Mechanism};
use fence_compiler::host::{Cgroup, Host, Support};
use fence_compiler::lower::linux::{Lowered, lower, lower_for};
use fence_compiler::lower::seatbelt::RunId;
use fence_compiler::lower::target::{Finish, LinuxTarget};
use fence_compiler::plan::LimitMechanism;

use super::machine::{DEBIAN, files, host};
use super::written::policy;

fn person() -> Host {
    host("/home/ada/work")
}

fn root(pid_max: Support) -> Host {
    let mut host = person();
    host.person.uid = 0;
    host.features.pid_max = pid_max;
    host
}

fn held(lowered: &Lowered) -> Vec<(u64, LimitMechanism)> {
    lowered.plan.limits.iter().map(|limit| (limit.amount, limit.by)).collect()
}

fn told(lowered: &Lowered) -> &Enforcement {
    lowered.fidelity.iter().find(|told| told.what == Enforced::Limit(0)).unwrap()
}

#[test]
fn each_limit_is_held_by_what_the_machine_has() {
    use LimitMechanism::{PidMax, Rlimit, Timer};
    let none = || Support::No("no such file".into());
    for (text, host, expected, level, by) in [
        ("limit time 5s", person(), vec![(5_000, Timer)], Level::Exact, Mechanism::Timer),
        ("limit files 10", person(), vec![(10, Rlimit)], Level::Exact, Mechanism::Rlimit),
        ("limit file-size 1KiB", person(), vec![(1_024, Rlimit)], Level::Exact, Mechanism::Rlimit),
        ("limit cpu 5s best-effort", person(), vec![(5_000, Rlimit)], Level::Weaker, Mechanism::Rlimit),
        (
            "limit memory 1MiB best-effort",
            person(),
            vec![(1 << 20, Rlimit)],
            Level::Weaker,
            Mechanism::Rlimit,
        ),
        ("limit processes 5", person(), vec![(5, Rlimit)], Level::Exact, Mechanism::Rlimit),
        ("limit processes 5", root(Support::Yes), vec![(5, PidMax)], Level::Exact, Mechanism::Namespace),
        ("limit connect-time 5s", person(), vec![], Level::Exact, Mechanism::Absence),
        ("allow connect a.example:443\nlimit idle-time 5s", person(), vec![], Level::Exact, Mechanism::Proxy),
        (
            "limit files 9\nlimit files 7\nlimit files 8",
            person(),
            vec![(7, Rlimit)],
            Level::Exact,
            Mechanism::Rlimit,
        ),
    ] {
        let lowered = lower(&policy(text), &host, &mut files(DEBIAN));
        assert_eq!(held(&lowered), expected, "{text}");
        let told = told(&lowered);
        assert_eq!((told.level, told.by.as_slice()), (level, [by].as_slice()), "{text}");
        assert_eq!(lowered.diagnostics, [], "{text}");
    }
    let lowered = lower(&policy("limit processes 5"), &root(none()), &mut files(DEBIAN));
    assert_eq!((held(&lowered), told(&lowered).level), (vec![], Level::Weaker));
    assert_eq!(lowered.diagnostics.len(), 1);
}

#[test]
fn a_limit_without_connections_and_one_of_another_platform_hold_nothing_and_say_so() {
    for (text, note) in [
        ("limit connect-time 5s", "limits nothing: there are no connections"),
        ("on macos {\n  limit files 10\n}", "is for another platform"),
    ] {
        let lowered = lower(&policy(text), &person(), &mut files(DEBIAN));
        assert_eq!(held(&lowered), [], "{text}");
        assert!(told(&lowered).notes.iter().any(|told| told.ends_with(note)), "{text}: {:?}", told(&lowered));
    }
    let text = "on macos {\n  limit files 10\n}\nlimit files 20";
    let lowered = lower(&policy(text), &person(), &mut files(DEBIAN));
    assert_eq!(held(&lowered), [(20, LimitMechanism::Rlimit)]);
}

#[test]
fn where_all_of_a_persons_processes_would_count_nothing_limits_their_number() {
    let target = LinuxTarget::Landlock(RunId::none());
    let text = "limit processes 5 best-effort\nlimit files 10";
    let lowered = lower_for(&target, &policy(text), &person(), &mut files(DEBIAN));
    assert_eq!(held(&lowered), [(10, LimitMechanism::Rlimit)]);
    assert_eq!(told(&lowered).level, Level::Weaker);
    let files_told = lowered.fidelity.iter().find(|told| told.what == Enforced::Limit(1)).unwrap();
    assert_eq!(files_told.level, Level::Exact);
}

/// A host on which cgroups hold everything but what is named.
fn delegated(mut host: Host, without: &str) -> Host {
    let offered = |name: &str| {
        if name == without { Support::No("nothing is delegated".into()) } else { Support::Yes }
    };
    host.features.cgroup =
        Some(Cgroup { memory: offered("memory"), processes: offered("processes"), cpu: offered("cpu") });
    host
}

#[test]
fn a_cgroup_holds_for_all_together_to_the_letter() {
    let landlock = || LinuxTarget::Landlock(RunId::none());
    let by_fence = LinuxTarget::Bwrap(Finish::ByFence);
    for (text, amount) in [("limit memory 1MiB", 1 << 20), ("limit processes 5", 5), ("limit cpu 5s", 5_000)]
    {
        for host in [person(), root(Support::Yes), root(Support::No("an older kernel".into()))] {
            for target in [LinuxTarget::Native, by_fence.clone(), landlock()] {
                if text.contains("cpu") && target != LinuxTarget::Native {
                    continue;
                }
                let lowered =
                    lower_for(&target, &policy(text), &delegated(host.clone(), ""), &mut files(DEBIAN));
                assert_eq!(held(&lowered), [(amount, LimitMechanism::Cgroup)], "{text} by {target:?}");
                let told = told(&lowered);
                assert_eq!((told.level, told.by.as_slice()), (Level::Exact, [Mechanism::Cgroup].as_slice()));
                assert_eq!((told.why.len(), told.notes.len()), (0, 0), "{told:?}");
            }
        }
    }
}

#[test]
fn what_no_cgroup_holds_is_held_as_without_one_and_told() {
    for (text, without, by) in [
        ("limit memory 1MiB best-effort", "memory", LimitMechanism::Rlimit),
        ("limit cpu 5s best-effort", "cpu", LimitMechanism::Rlimit),
        ("limit processes 5", "processes", LimitMechanism::PidMax),
    ] {
        let host = delegated(root(Support::Yes), without);
        let lowered = lower(&policy(text), &host, &mut files(DEBIAN));
        let plain = lower(&policy(text), &root(Support::Yes), &mut files(DEBIAN));
        assert_eq!(lowered.plan.limits.iter().map(|limit| limit.by).collect::<Vec<_>>(), [by], "{text}");
        assert_eq!(lowered.plan, plain.plan, "{text}");
        let (told, before) = (told(&lowered), told(&plain));
        assert_eq!((told.level, &told.why), (before.level, &before.why), "{text}");
        assert!(told.notes.iter().any(|note| note.contains("nothing is delegated")), "{told:?}");
    }
    let text = "limit memory 1MiB";
    let lowered = lower(&policy(text), &delegated(person(), "memory"), &mut files(DEBIAN));
    assert_eq!(lowered.diagnostics.len(), 1, "{:?}", lowered.diagnostics);
}

#[test]
fn other_limits_make_no_cgroup() {
    let text = "limit time 5s\nlimit files 10\nlimit file-size 1KiB\nlimit connect-time 5s";
    let lowered = lower(&policy(text), &delegated(person(), ""), &mut files(DEBIAN));
    assert!(lowered.plan.limits.iter().all(|limit| limit.by != LimitMechanism::Cgroup));
}

#[test]
fn whoever_applies_a_list_of_arguments_makes_no_cgroup() {
    let target = LinuxTarget::Bwrap(Finish::ByNobody);
    let text = "limit memory 1MiB best-effort\nlimit cpu 5s best-effort\nlimit processes 5 best-effort";
    let lowered = lower_for(&target, &policy(text), &delegated(person(), ""), &mut files(DEBIAN));
    assert!(lowered.plan.limits.iter().all(|limit| limit.by == LimitMechanism::Rlimit));
    for target in [LinuxTarget::Bwrap(Finish::ByFence), LinuxTarget::Landlock(RunId::none())] {
        let lowered = lower_for(
            &target,
            &policy("limit cpu 5s best-effort"),
            &delegated(person(), ""),
            &mut files(DEBIAN),
        );
        assert_eq!(held(&lowered), [(5_000, LimitMechanism::Rlimit)]);
        assert_eq!(told(&lowered).level, Level::Weaker);
    }
}

#[test]
fn a_fact_that_nobody_asked_for_is_not_written_down() {
    let plain = serde_json::to_value(person()).unwrap();
    assert!(plain["features"].get("cgroup").is_none());
    assert_eq!(serde_json::from_value::<Host>(plain).unwrap(), person());
    let host = delegated(person(), "cpu");
    let written = serde_json::to_value(&host).unwrap();
    assert_eq!(serde_json::from_value::<Host>(written).unwrap(), host);
}
