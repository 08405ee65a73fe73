//! What a call that is looked at would do, and with what.

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::plan::{Condition, Mediated};
use fence_compiler::policy::PathAction;
use fence_compiler::question::{Decision, Reason};
use nix::errno::Errno;

use crate::launch::Observed;
use crate::linux::mediator::files::calls::{Call, judged};
use crate::linux::mediator::files::ground::{Last, Named};
use crate::linux::mediator::files::request::{self, Request, What};
use crate::linux::mediator::memory::Memory;
use crate::linux::sys::notice::Notice;

/// A call that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watched {
    /// One on files, which may write.
    File(Call),
    /// `openat2`.
    OpenHow,
    /// `execve`.
    Execute,
    /// `execveat`.
    ExecuteAt,
    /// `connect`.
    Connect,
}

impl Watched {
    /// Whether it starts a program.
    pub(super) fn starts(self) -> bool {
        matches!(self, Watched::Execute | Watched::ExecuteAt)
    }
}

/// Something that a call does with what a path leads to.
pub(super) struct Asked {
    pub(super) named: Named,
    pub(super) last: Last,
    pub(super) deed: Deed,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// A file is opened to read it, or a directory to list it.
    Read,
    /// A file is opened to write it.
    Write(Missing),
    /// A name is made.
    Make,
    /// A name is removed.
    Remove,
    /// A name is given to something else, and taken from what has it.
    Replace,
    /// What is not the content of something is changed, or its size.
    Change,
    /// A program is started.
    Execute,
    /// A socket is connected to.
    Connect,
}

/// What becomes of a file that is opened and not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is not opened.
    Fails,
    /// It is made.
    Made,
}

impl Deed {
    /// The action that rules know it by.
    pub(super) fn action(self) -> PathAction {
        match self {
            Deed::Read => PathAction::Read,
            Deed::Execute => PathAction::Exec,
            Deed::Connect => PathAction::Socket,
            Deed::Write(_) | Deed::Make | Deed::Remove | Deed::Replace | Deed::Change => PathAction::Write,
        }
    }

    /// The action's word; below `/dev` that of the rules that would open it.
    pub(super) fn word(self, path: &AbsolutePath, decision: &Decision) -> &'static str {
        let is_device = AbsolutePath::new(b"/dev").is_some_and(|devices| path.is_within(&devices));
        match self.action() {
            PathAction::Read | PathAction::Write if is_device && decision.reason == Reason::NothingAllows => {
                "device"
            }
            PathAction::Read => "read",
            PathAction::Exec => "exec",
            PathAction::Socket => "socket",
            PathAction::Write | PathAction::Device => "write",
        }
    }
}

/// When an open waits.
pub(super) fn opens(call: &str, observed: Observed) -> Condition {
    let writing = judged(&[Mediated::Writes].into())
        .into_iter()
        .find(|judged| judged.call == call)
        .map(|judged| judged.when);
    match (observed, writing) {
        (Observed::Changes, Some(writing)) => writing,
        _ => Condition::Equals {
            argument: if call == "open" { 1 } else { 2 },
            width: 32,
            mask: u64::from(libc::O_PATH.cast_unsigned()),
            value: 0,
        },
    }
}

/// The other calls that wait, whatever their numbers: those that name a path.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let by_path = |call: &&str| !OPENS.contains(call) && !BY_DESCRIPTOR.contains(call);
    judged(&[Mediated::Writes].into())
        .into_iter()
        .map(|judged| judged.call)
        .filter(by_path)
        .chain(others().map(|(call, _)| call))
}

/// The calls that no rule has judged.
pub(super) fn others() -> [(&'static str, Watched); 4] {
    [
        ("openat2", Watched::OpenHow),
        ("execve", Watched::Execute),
        ("execveat", Watched::ExecuteAt),
        ("connect", Watched::Connect),
    ]
}

const OPENS: [&str; 2] = ["open", "openat"];

/// What has a descriptor has been opened before.
const BY_DESCRIPTOR: [&str; 4] = ["fchmod", "fchown", "fsetxattr", "fremovexattr"];

/// Reads what a call asks for.
pub(super) fn read(watched: Watched, notice: &Notice) -> Result<Vec<Asked>, Errno> {
    let [first, second, third, _, fifth, _] = notice.arguments;
    let here = u64::from(libc::AT_FDCWD.cast_unsigned());
    match watched {
        Watched::File(call) => Ok(of_files(request::read(call, notice)?)),
        Watched::OpenHow => {
            // `struct open_how` begins with the flags.
            let flags = Memory::of(notice.thread).number(third)?;
            Ok(opened(request::path(notice, first, second)?, flags as u32 as i32))
        }
        Watched::Execute => Ok(vec![started(request::path(notice, here, first)?)]),
        Watched::ExecuteAt => {
            let mut named = request::path(notice, first, second)?;
            if named.path.is_empty() && fifth as u32 as i32 & libc::AT_EMPTY_PATH != 0 {
                // By the name that it was opened by.
                named.path = b".".to_vec();
            }
            Ok(vec![started(named)])
        }
        Watched::Connect => Ok(connected(notice, second, third)?.into_iter().collect()),
    }
}

fn started(named: Named) -> Asked {
    Asked { named, last: Last::Followed, deed: Deed::Execute }
}

fn of_files(request: Request) -> Vec<Asked> {
    let kept = |named, deed| Asked { named, last: Last::Kept, deed };
    match request {
        Request::Open { named, flags, .. } => opened(named, flags),
        Request::Make { named, .. } => vec![kept(named, Deed::Make)],
        Request::Remove { named, .. } => vec![kept(named, Deed::Remove)],
        Request::Move { from, to, .. } => vec![kept(from, Deed::Remove), kept(to, Deed::Replace)],
        Request::Link { to, .. } => vec![kept(to, Deed::Make)],
        Request::Change { what: What::Path(named, last), .. } => {
            vec![Asked { named, last, deed: Deed::Change }]
        }
        Request::Change { what: What::Descriptor(_), .. } => Vec::new(),
        Request::Bind { address, .. } => {
            request::socket_path(&address).map(|named| kept(named, Deed::Make)).into_iter().collect()
        }
        Request::Watch { .. } | Request::Connect { .. } | Request::Send { .. } | Request::Share => Vec::new(),
    }
}

fn opened(named: Named, flags: i32) -> Vec<Asked> {
    let has = |flag: i32| flags & flag == flag;
    if has(libc::O_PATH) {
        return Vec::new();
    }
    let last = if has(libc::O_NOFOLLOW) { Last::Kept } else { Last::Followed };
    let asked = |deed| Asked { named: named.clone(), last, deed };
    if has(libc::O_TMPFILE) {
        return vec![asked(Deed::Change)];
    }
    let access = flags & libc::O_ACCMODE;
    let mut deeds = Vec::new();
    if has(libc::O_CREAT | libc::O_EXCL) {
        return vec![Asked { named, last: Last::Kept, deed: Deed::Make }];
    }
    if access != libc::O_RDONLY || has(libc::O_TRUNC) {
        deeds.push(asked(Deed::Write(if has(libc::O_CREAT) { Missing::Made } else { Missing::Fails })));
    } else if has(libc::O_CREAT) {
        deeds.push(asked(Deed::Make));
    }
    if access != libc::O_WRONLY {
        deeds.push(asked(Deed::Read));
    }
    deeds
}

fn connected(notice: &Notice, address: u64, length: u64) -> Result<Option<Asked>, Errno> {
    let address = request::read_address(&mut Memory::of(notice.thread), address, length as u32 as i32)?;
    Ok(request::socket_path(&address).map(|named| Asked { named, last: Last::Followed, deed: Deed::Connect }))
}
