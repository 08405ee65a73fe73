//! Filters of both architectures, evaluated on a table of calls.

use fence_compiler::plan::{CallRule, Condition};

use super::interpreter::{Call, evaluate};
use super::{Architecture, FilterError, compile};

const BOTH: [Architecture; 2] = [Architecture::X86_64, Architecture::Aarch64];
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

fn error(errno: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | errno as u32
}

fn rule(calls: &[&str], when: Vec<Condition>, errno: &str) -> CallRule {
    CallRule {
        calls: calls.iter().map(|call| (*call).to_owned()).collect(),
        when,
        errno: errno.to_owned(),
        reason: String::new(),
    }
}

/// Rules of every kind, as the compiler makes them.
fn rules() -> Vec<CallRule> {
    let equals = |argument, width, mask, value| Condition::Equals { argument, width, mask, value };
    vec![
        rule(
            &["mount", "umount2", "pivot_root", "setns", "unshare", "bpf", "iopl"],
            vec![Condition::Always],
            "EPERM",
        ),
        rule(
            &["io_uring_setup", "io_uring_enter", "io_uring_register", "clone3"],
            vec![Condition::Always],
            "ENOSYS",
        ),
        rule(&["clone"], vec![Condition::AnyBit { argument: 0, width: 64, bits: 0x7e02_0000 }], "EPERM"),
        rule(
            &["socket"],
            vec![
                Condition::NoneOf { argument: 0, width: 32, values: vec![1, 2, 10, 16] },
                Condition::All(vec![
                    equals(0, 32, u64::MAX, 16),
                    Condition::NoneOf { argument: 2, width: 32, values: vec![0] },
                ]),
            ],
            "EAFNOSUPPORT",
        ),
        rule(&["ioctl"], vec![equals(1, 32, u64::MAX, 0x5412), equals(1, 32, u64::MAX, 0x541c)], "EPERM"),
        rule(
            &["fchmodat", "mknodat"],
            vec![Condition::AnyBit { argument: 2, width: 16, bits: 0o4000 }],
            "EPERM",
        ),
        rule(
            &["mknodat"],
            vec![equals(2, 16, 0o170000, 0o020000), equals(2, 16, 0o170000, 0o060000)],
            "EACCES",
        ),
        rule(&["kill"], vec![equals(0, 32, u64::MAX, 0)], "EPERM"),
        rule(
            &["prctl"],
            vec![equals(0, 32, 0xffff, 0x59616d61), equals(0, 64, u64::MAX, 0xdead_0000_beef)],
            "EINVAL",
        ),
    ]
}

const RUBBISH: u64 = 0xdead_beef_0000_0000;

#[test]
fn calls_answer_as_the_rules_say() {
    let table: &[(&str, [u64; 3], u32)] = &[
        ("read", [0; 3], ALLOW),
        ("openat", [0; 3], ALLOW),
        ("mount", [0; 3], error(libc::EPERM)),
        ("unshare", [0; 3], error(libc::EPERM)),
        ("bpf", [0; 3], error(libc::EPERM)),
        ("clone3", [0; 3], error(libc::ENOSYS)),
        ("io_uring_enter", [0; 3], error(libc::ENOSYS)),
        ("clone", [0x11, 0, 0], ALLOW),
        ("clone", [0x1000_0011, 0, 0], error(libc::EPERM)),
        ("clone", [0x1000_0011 | RUBBISH, 0, 0], error(libc::EPERM)),
        ("socket", [1, 1, 0], ALLOW),
        ("socket", [2 | RUBBISH, 1, 6], ALLOW),
        ("socket", [17, 3, 0], error(libc::EAFNOSUPPORT)),
        ("socket", [38 | RUBBISH, 5, 0], error(libc::EAFNOSUPPORT)),
        ("socket", [16, 3, 0], ALLOW),
        ("socket", [16, 3, RUBBISH], ALLOW),
        ("socket", [16 | RUBBISH, 3, 15], error(libc::EAFNOSUPPORT)),
        ("ioctl", [0, 0x5412, 0], error(libc::EPERM)),
        ("ioctl", [0, 0x5412 | RUBBISH, 0], error(libc::EPERM)),
        ("ioctl", [0, 0x541c | RUBBISH, 0], error(libc::EPERM)),
        ("ioctl", [0, 0x5413, 0], ALLOW),
        ("fchmodat", [0, 0, 0o755], ALLOW),
        ("fchmodat", [0, 0, 0o4755], error(libc::EPERM)),
        ("fchmodat", [0, 0, 0o4755 | RUBBISH | 0xffff_0000], error(libc::EPERM)),
        ("fchmodat", [0, 0, RUBBISH | 0xffff_0000], ALLOW),
        ("mknodat", [0, 0, 0o010644], ALLOW),
        ("mknodat", [0, 0, 0o020644 | RUBBISH], error(libc::EACCES)),
        ("mknodat", [0, 0, 0o060644 | 0x10000], error(libc::EACCES)),
        ("mknodat", [0, 0, 0o024644], error(libc::EPERM)),
        ("kill", [0, 15, 0], error(libc::EPERM)),
        ("kill", [RUBBISH, 15, 0], error(libc::EPERM)),
        ("kill", [1, 15, 0], ALLOW),
        ("prctl", [0x59616d61, 0, 0], ALLOW),
        ("prctl", [0xdead_0000_beef, 0, 0], error(libc::EINVAL)),
        ("prctl", [0xdeae_0000_beef, 0, 0], ALLOW),
        ("prctl", [0x0000_beef, 0, 0], ALLOW),
    ];
    for architecture in BOTH {
        let program = compile(&rules(), architecture).unwrap();
        for (name, [a, b, c], expected) in table {
            let number = architecture.number(name).unwrap();
            let arguments = [*a, *b, *c, 0, 0, 0];
            let call = Call { number, architecture: architecture.audit(), arguments };
            let (answer, _) = evaluate(&program, &call);
            assert_eq!(answer, *expected, "{architecture:?} {name} {arguments:x?}");
        }
    }
}

#[test]
fn only_the_named_calls_are_refused() {
    for architecture in BOTH {
        let program = compile(&rules(), architecture).unwrap();
        let named: Vec<String> = rules().into_iter().flat_map(|rule| rule.calls).collect();
        for (name, number) in architecture.calls() {
            let call = Call { number: *number, architecture: architecture.audit(), arguments: [1; 6] };
            let (answer, steps) = evaluate(&program, &call);
            if !named.iter().any(|named| named == name) {
                assert_eq!(answer, ALLOW, "{architecture:?} {name}");
                assert!(steps <= 12, "{architecture:?} {name}: {steps} instructions");
            }
        }
    }
}

#[test]
fn foreign_and_unknown_calls_never_pass() {
    for architecture in BOTH {
        let program = compile(&[], architecture).unwrap();
        let answer =
            |number, audit| evaluate(&program, &Call { number, architecture: audit, arguments: [0; 6] }).0;
        let own = architecture.audit();
        for (number, expected) in [
            (0, ALLOW),
            (469, ALLOW),
            (470, error(libc::ENOSYS)),
            (1000, error(libc::ENOSYS)),
            (0x4000_0000, error(libc::ENOSYS)),
            (0x4000_0001, error(libc::ENOSYS)),
            (u32::MAX, error(libc::ENOSYS)),
        ] {
            assert_eq!(answer(number, own), expected, "{architecture:?} {number:#x}");
        }
        // i386, x86-64 or AArch64, 32-bit ARM.
        for foreign in
            [0x4000_0003, 0xc000_003e, 0xc000_00b7, 0x4000_0028].iter().filter(|audit| **audit != own)
        {
            assert_eq!(answer(0, *foreign), KILL, "{architecture:?} {foreign:#x}");
        }
    }
}

#[test]
fn a_call_of_another_architecture_needs_no_rule() {
    let open = rule(&["open"], vec![Condition::Always], "EPERM");
    assert!(compile(std::slice::from_ref(&open), Architecture::Aarch64).is_ok());
    assert_ne!(compile(&[open], Architecture::X86_64).unwrap(), compile(&[], Architecture::X86_64).unwrap());
}

#[test]
fn what_fence_does_not_know_is_an_error() {
    for (rule, expected) in [
        (rule(&["opne"], vec![Condition::Always], "EPERM"), FilterError::UnknownCall("opne".to_owned())),
        (rule(&["open"], vec![Condition::Always], "EPREM"), FilterError::UnknownErrno("EPREM".to_owned())),
        (
            rule(&["openat"], vec![Condition::AnyBit { argument: 6, width: 32, bits: 1 }], "EPERM"),
            FilterError::Argument { argument: 6, width: 32 },
        ),
        (
            rule(&["openat"], vec![Condition::AnyBit { argument: 0, width: 8, bits: 1 }], "EPERM"),
            FilterError::Argument { argument: 0, width: 8 },
        ),
    ] {
        assert_eq!(compile(&[rule], Architecture::X86_64), Err(expected));
    }
}

#[test]
fn far_jumps_reach() {
    let long = |argument| {
        let values = (0..200).collect();
        rule(&["openat"], vec![Condition::NoneOf { argument, width: 16, values }], "EPERM")
    };
    let mut rules = vec![long(1), long(0)];
    rules.extend(["readv", "fsync", "getcwd"].map(|call| rule(&[call], vec![Condition::Always], "EACCES")));
    for architecture in BOTH {
        let program = compile(&rules, architecture).unwrap();
        for (name, argument, expected) in [
            ("openat", 199, ALLOW),
            ("openat", 200, error(libc::EPERM)),
            ("readv", 0, error(libc::EACCES)),
            ("getcwd", 0, error(libc::EACCES)),
            ("getpid", 0, ALLOW),
            ("statx", 0, ALLOW),
        ] {
            let number = architecture.number(name).unwrap();
            let mut arguments = [0; 6];
            arguments[0] = argument;
            let call = Call { number, architecture: architecture.audit(), arguments };
            assert_eq!(evaluate(&program, &call).0, expected, "{architecture:?} {name} {argument}");
        }
    }
}

#[test]
fn numbers_are_sorted_and_single() {
    for architecture in BOTH {
        let numbers: Vec<u32> = architecture.calls().iter().map(|(_, number)| *number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{architecture:?}");
    }
}
