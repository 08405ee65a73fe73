//! The calls that are refused where nothing but Landlock keeps processes apart.

use super::{AF_INET, AF_INET6, AF_UNIX, any_bit, equals, rule};
use crate::plan::{CallRule, Condition};

/// What decides about the calls that are refused beside [`refused`](super::refused) there.
#[derive(Clone, Copy)]
pub(in crate::lower) struct Alone {
    /// The version of Landlock.
    pub landlock_abi: u32,
    /// What can be connected to.
    pub reach: Reach,
}

/// What can be connected to without a network namespace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::lower) enum Reach {
    /// Nothing.
    Nothing,
    /// The proxy of the run: each `connect` is made by a process outside, and nothing else connects.
    Proxy,
}

const SOCK_DGRAM: u64 = 2;
const SOCK_RAW: u64 = 3;
const SOCK_TYPE: u64 = 0xf;
const O_ACCMODE: u64 = 3;
const O_TRUNC: u64 = 0o1000;
const PRIO_PROCESS: u64 = 0;

/// The calls that reach beyond the command's own processes where they have no namespaces of their own.
pub(in crate::lower) fn alone(alone: Alone) -> Vec<CallRule> {
    let family = |family| equals(0, 32, family);
    let others = |argument| Condition::NoneOf { argument, width: 32, values: vec![0] };
    let datagrams = |kind| Condition::Equals { argument: 1, width: 32, mask: SOCK_TYPE, value: kind };
    let mut rules = match alone.reach {
        Reach::Nothing => vec![rule(
            &["socket"],
            vec![family(AF_INET), family(AF_INET6)],
            "EACCES",
            "no rule is about what it could be connected to, without a network namespace",
        )],
        Reach::Proxy => to_the_proxy(alone.landlock_abi),
    };
    rules.extend([
        rule(
            &["socket"],
            vec![family(AF_UNIX)],
            "EACCES",
            "Landlock does not know which of the machine's sockets it would be connected to",
        ),
        rule(
            &["socketpair"],
            vec![datagrams(SOCK_DGRAM), datagrams(SOCK_RAW)],
            "EACCES",
            "what is sent on it could name one of the machine's sockets",
        ),
        rule(
            &[
                "shmget",
                "shmat",
                "shmctl",
                "semget",
                "semop",
                "semtimedop",
                "semctl",
                "msgget",
                "msgsnd",
                "msgrcv",
                "msgctl",
                "mq_open",
                "mq_unlink",
            ],
            vec![Condition::Always],
            "EACCES",
            "would reach memory, semaphores and queues of processes outside",
        ),
        rule(&["prlimit64"], vec![others(0)], "EPERM", "would change the limits of processes outside"),
        rule(
            &["sched_setscheduler", "sched_setparam", "sched_setattr", "sched_setaffinity"],
            vec![others(0)],
            "EPERM",
            "would slow processes outside down",
        ),
        rule(
            &["setpriority", "ioprio_set"],
            vec![others(1), Condition::NoneOf { argument: 0, width: 32, values: vec![PRIO_PROCESS, 1] }],
            "EPERM",
            "would slow processes outside down",
        ),
        rule(
            &["inotify_add_watch"],
            vec![Condition::Always],
            "EACCES",
            "would tell the names of files in any directory",
        ),
    ]);
    if alone.landlock_abi < 3 {
        rules.push(rule(
            &["truncate"],
            vec![Condition::Always],
            "EPERM",
            "this version of Landlock does not know it, so that it would empty any file",
        ));
        let emptied = |flags: u8| {
            vec![Condition::All(vec![
                any_bit(flags, 32, O_TRUNC),
                Condition::Equals { argument: flags, width: 32, mask: O_ACCMODE, value: 0 },
            ])]
        };
        let reason = "would empty a file that may only be read, which this version of Landlock does not know";
        rules.push(rule(&["open"], emptied(1), "EPERM", reason));
        rules.push(rule(&["openat"], emptied(2), "EPERM", reason));
    }
    if alone.landlock_abi < 6 {
        rules.push(rule(
            &["kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"],
            vec![Condition::Always],
            "EPERM",
            "this version of Landlock does not keep signals to the command's own processes",
        ));
    }
    rules
}

const IPPROTO_IP: u64 = 0;
const IPPROTO_TCP: u64 = 6;
const MSG_FASTOPEN: u64 = 0x2000_0000;
const SOL_SOCKET: u64 = 1;
const SO_LINGER: u64 = 13;
const SO_BINDTODEVICE: u64 = 25;
const SO_MARK: u64 = 36;
const SO_BINDTOIFINDEX: u64 = 62;
/// `SOCK_STREAM`, with or without `SOCK_CLOEXEC` and `SOCK_NONBLOCK`.
const STREAMS: [u64; 4] = [1, 0x8_0001, 0x801, 0x8_0801];
/// The options of IP that have no packet go another way: type of service, time to live, path MTU, errors, when a port is
/// chosen. Among the others are source routes.
const IP_HARMLESS: [u64; 5] = [1, 2, 10, 11, 24];
/// The options of TCP that say when and how much is sent: delay, segments, keeping alive, retries, windows, congestion. Among
/// the others are connecting with the first bytes, repairing, and other protocols in the place of TCP.
const TCP_HARMLESS: [u64; 17] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 13, 16, 17, 18, 25, 36, 37];

/// What could lead elsewhere than to the proxy while a process outside makes each `connect` on the caller's own socket, and what
/// could offer a port. A filter sees no family of a descriptor: these are refused of every socket.
fn to_the_proxy(landlock_abi: u32) -> Vec<CallRule> {
    let none_of =
        |argument, values: &[u64]| Condition::NoneOf { argument, width: 32, values: values.to_vec() };
    let inet = |more| vec![Condition::All(vec![equals(0, 32, AF_INET), more])];
    let options = |level, more| Condition::All(vec![equals(1, 32, level), more]);
    let ways = [SO_BINDTODEVICE, SO_MARK, SO_BINDTOIFINDEX];
    let mut ways: Vec<Condition> = ways.map(|option| options(SOL_SOCKET, equals(2, 32, option))).into();
    ways.push(options(IPPROTO_IP, none_of(2, &IP_HARMLESS)));
    ways.push(options(IPPROTO_TCP, none_of(2, &TCP_HARMLESS)));
    let at_once = "would connect without asking; programs fall back to `connect`";
    let mut rules = vec![
        rule(
            &["socket"],
            vec![equals(0, 32, AF_INET6)],
            "EAFNOSUPPORT",
            "the proxy of the run is at an address of IPv4, and nothing else is reached",
        ),
        rule(&["socket"], inet(none_of(1, &STREAMS)), "EACCES", "only TCP leads to the proxy"),
        rule(
            &["socket"],
            inet(none_of(2, &[IPPROTO_IP, IPPROTO_TCP])),
            "EPROTONOSUPPORT",
            "only TCP leads to the proxy",
        ),
        rule(&["sendmsg"], vec![any_bit(2, 32, MSG_FASTOPEN)], "EOPNOTSUPP", at_once),
        rule(&["sendto", "sendmmsg"], vec![any_bit(3, 32, MSG_FASTOPEN)], "EOPNOTSUPP", at_once),
        rule(&["setsockopt"], ways, "EPERM", "could have a connection to the proxy go another way"),
        rule(
            &["setsockopt"],
            vec![options(SOL_SOCKET, equals(2, 32, SO_LINGER))],
            "EPERM",
            "would hold up whoever makes connections, when that is the last to close a socket",
        ),
        rule(
            &["listen", "accept", "accept4"],
            vec![Condition::Always],
            "EACCES",
            "would offer a port of the machine, without a network namespace",
        ),
    ];
    if landlock_abi < 4 {
        rules.push(rule(
            &["bind"],
            vec![Condition::Always],
            "EACCES",
            "this version of Landlock does not keep ports of the machine from being taken",
        ));
    }
    rules
}
