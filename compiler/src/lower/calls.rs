//! The system calls that are refused inside, each group with its reason.

mod alone;

use std::collections::BTreeSet;

use crate::host::Features;
use crate::plan::{CallRule, Condition, Mediated};

pub(super) use alone::{Alone, Reach, alone};

/// The calls that `allow syscall` may open and `deny syscall` may close: none of them rounds another rule.
pub(super) const OPENABLE: &[&str] = &[
    "fanotify_init",
    "kcmp",
    "migrate_pages",
    "move_pages",
    "perf_event_open",
    "pidfd_getfd",
    "process_madvise",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "userfaultfd",
];

/// The openable calls that are open unless a rule closes them.
pub(super) const OPEN: &[&str] = &["ptrace"];

/// Those that change another process's memory or registers.
pub(super) const CHANGING: &[&str] = &["ptrace", "process_vm_writev"];

/// What decides about calls, beside the fixed table.
pub(super) struct Choices<'a> {
    /// The calls of [`OPENABLE`] that are open.
    pub open: &'a BTreeSet<&'static str>,
    /// What the kernel offers.
    pub features: &'a Features,
    /// Whether a memory file could be run although no rule allows that.
    pub memfd: MemoryFiles,
    /// The calls that are judged.
    pub mediated: &'a BTreeSet<Mediated>,
}

/// Whether `memfd_create` has to be refused as a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MemoryFiles {
    /// The pid namespace makes them non-executable, or the policy does not mind.
    Harmless,
    /// The kernel has no means of its own.
    Refused,
}

/// The refused calls, in the order of the table.
pub(super) fn refused(choices: &Choices<'_>) -> Vec<CallRule> {
    let mut rules: Vec<CallRule> = ALWAYS
        .iter()
        .map(|(calls, errno, reason)| rule(calls, vec![Condition::Always], errno, reason))
        .collect();
    for name in OPENABLE.iter().filter(|name| !choices.open.contains(**name)) {
        rules.push(rule(&[name], vec![Condition::Always], "EPERM", openable_reason(name)));
    }
    rules.extend(namespaces());
    rules.extend(modes());
    rules.extend(sockets());
    rules.push(rule(
        &["ioctl"],
        vec![equals(1, 32, TIOCSTI), equals(1, 32, TIOCLINUX)],
        "EPERM",
        "would type into the terminal that the command shares",
    ));
    rules.push(rule(
        &["ioctl"],
        vec![equals(1, 32, BTRFS_IOC_SNAP_CREATE), equals(1, 32, BTRFS_IOC_SNAP_CREATE_V2)],
        "EPERM",
        "would copy a subvolume with what is covered in it, and without its covers",
    ));
    rules.extend(groups(choices.features));
    if choices.mediated.contains(&Mediated::Writes) {
        rules.extend(unjudged());
    }
    if choices.mediated.contains(&Mediated::Reads) {
        rules.extend(unread());
    }
    if choices.mediated.iter().any(|judged| *judged != Mediated::Starts) {
        rules.push(rule(
            &["landlock_create_ruleset", "landlock_restrict_self"],
            vec![Condition::Always],
            "EOPNOTSUPP",
            "would restrict a process whose calls another carries out",
        ));
    }
    if choices.memfd == MemoryFiles::Refused {
        rules.push(rule(
            &["memfd_create"],
            vec![Condition::Always],
            "ENOSYS",
            "would make a file that can be executed although no rule allows it, and nothing sets \
             `vm.memfd_noexec` here",
        ));
    }
    rules
}

type Group = (&'static [&'static str], &'static str, &'static str);

/// Refused whatever the policy says.
const ALWAYS: &[Group] = &[
    (
        &[
            "mount",
            "umount2",
            "pivot_root",
            "open_tree",
            "open_tree_attr",
            "move_mount",
            "fsopen",
            "fsmount",
            "fsconfig",
            "fspick",
            "mount_setattr",
        ],
        "EPERM",
        "would change the file tree that the policy made",
    ),
    (&["statmount", "listmount"], "ENOSYS", "would show how the file tree is made"),
    (&["setns"], "EPERM", "would enter another namespace"),
    (
        &["clone3"],
        "ENOSYS",
        "its flags are in memory where a filter cannot see them; libraries fall back to `clone`",
    ),
    (
        &["openat2"],
        "ENOSYS",
        "its mode is in memory where a filter cannot see a setuid bit; programs fall back to `openat`",
    ),
    (
        &["io_uring_setup", "io_uring_enter", "io_uring_register"],
        "ENOSYS",
        "would make calls that no filter sees; programs fall back",
    ),
    (&["add_key", "request_key", "keyctl"], "EPERM", "would reach keyrings of outside"),
    (&["bpf"], "EPERM", "would load programs into the kernel"),
    (
        &["init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load"],
        "EPERM",
        "would change the kernel",
    ),
    (&["open_by_handle_at"], "EPERM", "would open files by number, around every path rule"),
    (
        &["reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd"],
        "EPERM",
        "would administer the machine",
    ),
    (&["syslog"], "EPERM", "would read the kernel's log"),
    (&["iopl", "ioperm"], "EPERM", "would reach the hardware's ports"),
];

fn openable_reason(name: &str) -> &'static str {
    match name {
        "ptrace" => "the policy closes tracing, or judges commands, which a tracer would change",
        "pidfd_getfd" => "would take descriptors out of other processes",
        "process_vm_readv" | "process_vm_writev" | "process_madvise" => "would reach other processes' memory",
        "move_pages" | "migrate_pages" => "would move other processes' memory",
        "perf_event_open" => "would open a large part of the kernel to attack",
        "userfaultfd" => "makes races in the kernel easy to win",
        "fanotify_init" => "would watch whole file systems",
        _ => "would compare resources of processes",
    }
}

const CLONE_NEWTIME: u64 = 0x80;
const CLONE_NEWNS: u64 = 0x0002_0000;
const CLONE_NEWCGROUP: u64 = 0x0200_0000;
const CLONE_NEWUTS: u64 = 0x0400_0000;
const CLONE_NEWIPC: u64 = 0x0800_0000;
const CLONE_NEWUSER: u64 = 0x1000_0000;
const CLONE_NEWPID: u64 = 0x2000_0000;
const CLONE_NEWNET: u64 = 0x4000_0000;

/// New namespaces give back capabilities within them. `clone` has no time namespace: that bit is part of its
/// exit signal.
fn namespaces() -> [CallRule; 2] {
    let flags = CLONE_NEWNS
        | CLONE_NEWCGROUP
        | CLONE_NEWUTS
        | CLONE_NEWIPC
        | CLONE_NEWUSER
        | CLONE_NEWPID
        | CLONE_NEWNET;
    let reason = "a namespace of its own would give back capabilities within it";
    [
        rule(&["unshare"], vec![any_bit(0, 64, flags | CLONE_NEWTIME)], "EPERM", reason),
        rule(&["clone"], vec![any_bit(0, 32, flags)], "EPERM", reason),
    ]
}

const SET_ID: u64 = 0o6000;
const FORMAT: u64 = 0o170_000;
const CHARACTER: u64 = 0o020_000;
const BLOCK: u64 = 0o060_000;
const O_CREAT: u64 = 0o100;
const O_TMPFILE: u64 = 0o20_000_000;

/// A mode is a number of 16 bits (`umode_t`). Directories inherit a setgid bit from the one above them
/// without any of these calls; a filter cannot tell a directory from a file, so `chmod g+s` is refused for both.
fn modes() -> [CallRule; 6] {
    let reason = "would make a file that runs with its owner's rights, outside too";
    let creating = |flags: u8, mode: u8| {
        vec![Condition::All(vec![any_bit(flags, 32, O_CREAT | O_TMPFILE), any_bit(mode, 16, SET_ID)])]
    };
    let node = |mode: u8| {
        vec![
            any_bit(mode, 16, SET_ID),
            Condition::Equals { argument: mode, width: 16, mask: FORMAT, value: CHARACTER },
            Condition::Equals { argument: mode, width: 16, mask: FORMAT, value: BLOCK },
        ]
    };
    let nodes = "would make a device, or a file that runs with its owner's rights";
    [
        rule(&["chmod", "fchmod", "creat"], vec![any_bit(1, 16, SET_ID)], "EPERM", reason),
        rule(&["fchmodat", "fchmodat2"], vec![any_bit(2, 16, SET_ID)], "EPERM", reason),
        rule(&["open"], creating(1, 2), "EPERM", reason),
        rule(&["openat"], creating(2, 3), "EPERM", reason),
        rule(&["mknod"], node(1), "EPERM", nodes),
        rule(&["mknodat"], node(2), "EPERM", nodes),
    ]
}

const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;
const AF_NETLINK: u64 = 16;
const NETLINK_ROUTE: u64 = 0;

fn sockets() -> [CallRule; 3] {
    [
        rule(
            &["socketpair"],
            vec![Condition::NoneOf { argument: 0, width: 32, values: vec![AF_UNIX] }],
            "EAFNOSUPPORT",
            "a family of sockets that no rule is about",
        ),
        rule(
            &["socket"],
            vec![Condition::NoneOf {
                argument: 0,
                width: 32,
                values: vec![AF_UNIX, AF_INET, AF_INET6, AF_NETLINK],
            }],
            "EAFNOSUPPORT",
            "a family of sockets that no rule is about",
        ),
        rule(
            &["socket"],
            vec![Condition::All(vec![
                equals(0, 32, AF_NETLINK),
                Condition::NoneOf { argument: 2, width: 32, values: vec![NETLINK_ROUTE] },
            ])],
            "EPROTONOSUPPORT",
            "a part of the kernel that only administrators need; routes can be asked for",
        ),
    ]
}

const TIOCSTI: u64 = 0x5412;
const TIOCLINUX: u64 = 0x541c;
const BTRFS_IOC_SNAP_CREATE: u64 = 0x5000_9401;
const BTRFS_IOC_SNAP_CREATE_V2: u64 = 0x5000_9417;
const FS_IOC_SETFLAGS: u64 = 0x4008_6602;
const FS_IOC32_SETFLAGS: u64 = 0x4004_6602;
const FS_IOC_SETVERSION: u64 = 0x4008_7602;
const FS_IOC32_SETVERSION: u64 = 0x4004_7602;
const FS_IOC_FSSETXATTR: u64 = 0x401c_5820;
const FS_IOC_SETFSLABEL: u64 = 0x4100_9432;
const FS_IOC_SET_ENCRYPTION_POLICY: u64 = 0x800c_6613;
const FS_IOC_ENABLE_VERITY: u64 = 0x4080_6685;
/// The requests of file systems' own, by their type and number, that change a file which is open for reading: FAT's attributes, the
/// version and the layout of ext4, what bcachefs has inherited.
const ATTRIBUTES: [u64; 4] = [0x7211, 0x6604, 0x6609, 0xbc40];
/// Those that make, remove and change subvolumes and clones: of Btrfs, bcachefs and OCFS2.
const NAMES: [u64; 8] = [0x940e, 0x9418, 0x940f, 0x943f, 0x941a, 0xbc10, 0xbc11, 0x6f04];
const XFS_IOC_SWAPEXT: u64 = 0xc0c0_586d;
const F_SETLEASE: u64 = 1024;
const F_SETDELEG: u64 = 1040;

/// Where calls that write files are judged, what would write by another way: through a descriptor that was opened for
/// reading, or by a call whose arguments nobody needs to understand because programs do without it.
fn unjudged() -> Vec<CallRule> {
    // Of any size, in either direction.
    let numbered = |number: u64| Condition::Equals { argument: 1, width: 32, mask: 0xffff, value: number };
    let attributes = [
        FS_IOC_SETFLAGS,
        FS_IOC32_SETFLAGS,
        FS_IOC_SETVERSION,
        FS_IOC32_SETVERSION,
        FS_IOC_FSSETXATTR,
        FS_IOC_SETFSLABEL,
        FS_IOC_SET_ENCRYPTION_POLICY,
        FS_IOC_ENABLE_VERITY,
        XFS_IOC_SWAPEXT,
    ];
    vec![
        rule(
            &["ioctl"],
            attributes
                .map(|request| equals(1, 32, request))
                .into_iter()
                .chain(ATTRIBUTES.map(numbered))
                .collect(),
            "EOPNOTSUPP",
            "would change attributes of a file that is only open for reading",
        ),
        rule(
            &["ioctl"],
            NAMES.map(numbered).to_vec(),
            "EPERM",
            "would make or remove something without asking for its name",
        ),
        rule(
            &["setxattrat", "removexattrat", "file_setattr"],
            vec![Condition::Always],
            "ENOSYS",
            "changes attributes; programs fall back to calls that are judged",
        ),
        rule(
            &["fcntl"],
            vec![equals(1, 32, F_SETLEASE), equals(1, 32, F_SETDELEG)],
            "EINVAL",
            "would keep whoever carries out the calls of all waiting",
        ),
    ]
}

const FIDEDUPERANGE: u64 = 0xc018_9436;

/// Where opening is judged, what would tell of a file's content without opening it to read it.
fn unread() -> Vec<CallRule> {
    vec![
        rule(
            &["getxattr", "lgetxattr", "listxattr", "llistxattr"],
            vec![Condition::Always],
            "EOPNOTSUPP",
            "would read attributes by a name that nobody judges; of what is open they can be read",
        ),
        rule(
            &["getxattrat", "listxattrat"],
            vec![Condition::Always],
            "ENOSYS",
            "would read attributes by a name that nobody judges; of what is open they can be read",
        ),
        rule(
            &["ioctl"],
            vec![equals(1, 32, FIDEDUPERANGE)],
            "EOPNOTSUPP",
            "would tell whether a file that is only open for writing holds the same as another",
        ),
        rule(
            &["fanotify_mark"],
            vec![Condition::Always],
            "EPERM",
            "would tell what happens in any directory",
        ),
        rule(&["uselib"], vec![Condition::Always], "ENOSYS", "would load a file that nobody judges"),
    ]
}

const PRIO_PGRP: u64 = 1;
const IOPRIO_WHO_PGRP: u64 = 2;

/// The command stays in the caller's process group, which holds processes outside. Landlock keeps signals
/// in from version 6 on; the own group as a target of the other calls is refused everywhere.
fn groups(features: &Features) -> Vec<CallRule> {
    let reason = "the process group holds processes outside";
    let own = |kind: u64| vec![Condition::All(vec![equals(0, 32, kind), equals(1, 32, 0)])];
    let mut rules = vec![
        rule(&["setpriority"], own(PRIO_PGRP), "EPERM", reason),
        rule(&["ioprio_set"], own(IOPRIO_WHO_PGRP), "EPERM", reason),
    ];
    if features.landlock_abi < 6 {
        rules.push(rule(&["kill"], vec![equals(0, 32, 0)], "EPERM", reason));
    }
    rules
}

fn rule(calls: &[&str], when: Vec<Condition>, errno: &str, reason: &str) -> CallRule {
    CallRule {
        calls: calls.iter().map(|call| (*call).to_owned()).collect(),
        when,
        errno: errno.to_owned(),
        reason: reason.to_owned(),
    }
}

fn equals(argument: u8, width: u8, value: u64) -> Condition {
    let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
    Condition::Equals { argument, width, mask, value }
}

fn any_bit(argument: u8, width: u8, bits: u64) -> Condition {
    Condition::AnyBit { argument, width, bits }
}
