//! What holds each limit, by the machine, the person and the target.

use fence_compiler::fidelity::{Enforced, Enforcement, Level, Mechanism};
use fence_compiler::host::{Host, Support};
use fence_compiler::lower::linux::{Lowered, lower, lower_for};
use fence_compiler::lower::seatbelt::RunId;
use fence_compiler::lower::target::LinuxTarget;
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
