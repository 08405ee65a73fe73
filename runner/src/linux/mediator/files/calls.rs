//! The calls that read or write files or name sockets: which of them wait, and what each is.

use std::collections::{BTreeMap, BTreeSet};

use fence_compiler::plan::{Condition, Mediated};
use fence_compiler::policy::PathAction;

use crate::linux::seccomp::{Architecture, Judged};
use crate::linux::sys::socket::HANDING_OVER;

/// A call, by the arguments that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux::mediator) enum Call {
    Open,
    OpenAt,
    Creat,
    Mkdir,
    MkdirAt,
    Mknod,
    MknodAt,
    Rmdir,
    Unlink,
    UnlinkAt,
    Rename,
    RenameAt,
    RenameAt2,
    Link,
    LinkAt,
    Symlink,
    SymlinkAt,
    Chmod,
    Fchmod,
    FchmodAt,
    FchmodAt2,
    Chown,
    Lchown,
    Fchown,
    FchownAt,
    Utime,
    Utimes,
    FutimesAt,
    UtimensAt,
    Truncate,
    SetAttribute,
    SetAttributeOfLink,
    SetAttributeOfDescriptor,
    RemoveAttribute,
    RemoveAttributeOfLink,
    RemoveAttributeOfDescriptor,
    Watch,
    Bind,
    Connect,
    SendTo,
    SendMessage,
    SendMessages,
    Clone,
}

/// The names of those that write files; an architecture has some of them only.
const WRITING: [(&str, Call); 37] = [
    ("open", Call::Open),
    ("openat", Call::OpenAt),
    ("creat", Call::Creat),
    ("mkdir", Call::Mkdir),
    ("mkdirat", Call::MkdirAt),
    ("mknod", Call::Mknod),
    ("mknodat", Call::MknodAt),
    ("rmdir", Call::Rmdir),
    ("unlink", Call::Unlink),
    ("unlinkat", Call::UnlinkAt),
    ("rename", Call::Rename),
    ("renameat", Call::RenameAt),
    ("renameat2", Call::RenameAt2),
    ("link", Call::Link),
    ("linkat", Call::LinkAt),
    ("symlink", Call::Symlink),
    ("symlinkat", Call::SymlinkAt),
    ("chmod", Call::Chmod),
    ("fchmod", Call::Fchmod),
    ("fchmodat", Call::FchmodAt),
    ("fchmodat2", Call::FchmodAt2),
    ("chown", Call::Chown),
    ("lchown", Call::Lchown),
    ("fchown", Call::Fchown),
    ("fchownat", Call::FchownAt),
    ("utime", Call::Utime),
    ("utimes", Call::Utimes),
    ("futimesat", Call::FutimesAt),
    ("utimensat", Call::UtimensAt),
    ("truncate", Call::Truncate),
    ("setxattr", Call::SetAttribute),
    ("lsetxattr", Call::SetAttributeOfLink),
    ("fsetxattr", Call::SetAttributeOfDescriptor),
    ("removexattr", Call::RemoveAttribute),
    ("lremovexattr", Call::RemoveAttributeOfLink),
    ("fremovexattr", Call::RemoveAttributeOfDescriptor),
    ("bind", Call::Bind),
];

/// What tells that an open may write or make something: `O_WRONLY`, `O_RDWR`, `O_CREAT`, `O_TRUNC` and the bit of
/// `O_TMPFILE` that is its own.
const WRITES: i32 = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC | (libc::O_TMPFILE & !libc::O_DIRECTORY);

/// The names of those that read files, or tell what happens to them.
const READING: [(&str, Call); 3] =
    [("open", Call::Open), ("openat", Call::OpenAt), ("inotify_add_watch", Call::Watch)];

/// The names of those that are about sockets.
const SOCKETS: [(&str, Call); 6] = [
    ("bind", Call::Bind),
    ("connect", Call::Connect),
    ("sendto", Call::SendTo),
    ("sendmsg", Call::SendMessage),
    ("sendmmsg", Call::SendMessages),
    ("clone", Call::Clone),
];

/// The calls that wait for an answer.
pub(in crate::linux::mediator) fn judged(mediated: &BTreeSet<Mediated>) -> Vec<Judged> {
    calls(mediated).map(|(call, what)| Judged { call, when: when(what, Opens::of(mediated)) }).collect()
}

/// Which opens are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opens {
    /// Those that may write.
    Writing,
    /// All of them.
    All,
}

impl Opens {
    pub(super) fn of(mediated: &BTreeSet<Mediated>) -> Opens {
        if mediated.contains(&Mediated::Reads) { Opens::All } else { Opens::Writing }
    }

    /// What is judged of files then.
    pub(super) fn actions(self) -> &'static [PathAction] {
        match self {
            Opens::Writing => &[PathAction::Write],
            Opens::All => &[PathAction::Write, PathAction::Read],
        }
    }
}

fn calls(mediated: &BTreeSet<Mediated>) -> impl Iterator<Item = (&'static str, Call)> {
    let writing = if mediated.contains(&Mediated::Writes) { WRITING.as_slice() } else { &[] };
    let sockets = if mediated.contains(&Mediated::Sockets) { SOCKETS.as_slice() } else { &[] };
    let reading = if mediated.contains(&Mediated::Reads) { READING.as_slice() } else { &[] };
    let further = reading.iter().chain(sockets).filter(|call| !writing.contains(call));
    writing.iter().chain(further).copied()
}

/// When a call matters, as far as its numbers tell.
fn when(call: Call, opens: Opens) -> Condition {
    let bits = |flags: i32| u64::from(flags.cast_unsigned());
    let flags = match call {
        Call::Open => 1,
        Call::OpenAt => 2,
        // Without an address there is nothing to judge.
        Call::SendTo => return Condition::NoneOf { argument: 4, width: 64, values: vec![0] },
        // All but the one with which the place is handed over where calls are answered.
        Call::SendMessage => {
            let flag = bits(HANDING_OVER);
            return Condition::Equals { argument: 2, width: 32, mask: flag, value: 0 };
        }
        // A process that has another's descriptors, and is no thread of it.
        Call::Clone => {
            return Condition::All(vec![
                Condition::AnyBit { argument: 0, width: 32, bits: bits(libc::CLONE_FILES) },
                Condition::Equals { argument: 0, width: 32, mask: bits(libc::CLONE_THREAD), value: 0 },
            ]);
        }
        _ => return Condition::Always,
    };
    // Beside `O_PATH` the kernel takes no notice of any other.
    let at_all = Condition::Equals { argument: flags, width: 32, mask: bits(libc::O_PATH), value: 0 };
    match opens {
        Opens::All => at_all,
        Opens::Writing => {
            Condition::All(vec![Condition::AnyBit { argument: flags, width: 32, bits: bits(WRITES) }, at_all])
        }
    }
}

/// Whether a call is judged, by the numbers that it came with: it may wait for somebody who only looks.
pub(super) fn matters(call: Call, arguments: &[u64; 6], opens: Opens) -> bool {
    let [_, second, third, ..] = arguments;
    let flags = match call {
        Call::Open => *second,
        Call::OpenAt => *third,
        _ => return true,
    };
    // The kernel takes no notice of the other half.
    let flags = flags as u32 as i32;
    (opens == Opens::All || flags & WRITES != 0) && flags & libc::O_PATH == 0
}

/// The calls by their numbers on this machine.
pub(in crate::linux::mediator) fn by_number(mediated: &BTreeSet<Mediated>) -> BTreeMap<i32, Call> {
    calls(mediated)
        .filter_map(|(name, call)| Some((i32::try_from(Architecture::NATIVE.number(name)?).ok()?, call)))
        .collect()
}
