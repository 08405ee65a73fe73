//! Opens and connections that wait for somebody else: each in a process of its own, which answers the call when it is done.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::ground::own_path;
use crate::linux::sys::notice::{self, Answer, Notice};
use crate::linux::sys::process::{self, Side};
use crate::linux::sys::{self, connection, file, join};

/// How often those who wait are looked after, in milliseconds.
const PATIENCE: i32 = 20;

/// How long a reader waits before it looks again who has been there, in microseconds.
const AGAIN: libc::suseconds_t = 20_000;

/// How many wait at once: the processes are the machine's, whatever limit holds inside.
const MOST: usize = 256;

/// The calls that wait.
#[derive(Default)]
pub(super) struct Waiting {
    /// By the process that carries each out.
    calls: BTreeMap<i32, Notice>,
    /// When they were looked after last, in nanoseconds.
    looked: u64,
}

impl Waiting {
    /// Opens what a descriptor stands for, however long that takes.
    pub(super) fn open(&mut self, notice: &Notice, file: &OwnedFd, flags: i32) -> Result<(), Errno> {
        let (path, without) = (own_path(file.as_raw_fd()), libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW);
        self.answer(notice, &[file.as_raw_fd()], || {
            let opened = file::open_plainly(&path, flags & !without | libc::O_NOCTTY)?;
            notice::hand(notice.listener, notice.id, opened.as_raw_fd(), flags)
        })
    }

    /// Opens a FIFO again that was opened for reading without waiting, so that somebody writes to it: whoever began since then has
    /// found a reader, and may have left.
    pub(super) fn read(
        &mut self,
        notice: &Notice,
        file: &OwnedFd,
        flags: i32,
        kept: i32,
    ) -> Result<(), Errno> {
        let path = own_path(file.as_raw_fd());
        self.answer(notice, &[file.as_raw_fd()], || {
            loop {
                let [came] = process::wait_readable([file.as_raw_fd()], 0);
                if came != process::Readable::No {
                    file::set_flags(file.as_raw_fd(), kept)?;
                    return notice::hand(notice.listener, notice.id, file.as_raw_fd(), flags);
                }
                let again = flags & libc::O_ACCMODE | kept | libc::O_NOCTTY;
                // A signal ends the wait, so that it is looked again who came before that began.
                match connection::soon(AGAIN, || file::open_plainly(&path, again)) {
                    Err(Errno::EINTR) => {}
                    opened => {
                        return notice::hand(notice.listener, notice.id, opened?.as_raw_fd(), flags);
                    }
                }
            }
        })
    }

    /// Connects a socket, however long that takes; to what one of the descriptors stands for, if the address says so.
    pub(super) fn connect(
        &mut self,
        notice: &Notice,
        socket: &OwnedFd,
        address: &[u8],
        target: Option<&OwnedFd>,
    ) -> Result<(), Errno> {
        let kept: Vec<RawFd> = [socket].into_iter().chain(target).map(AsRawFd::as_raw_fd).collect();
        self.answer(notice, &kept, || connection::connect(socket.as_raw_fd(), address).map(|()| 0))
    }

    /// Has a process do something and answer what comes of it; of the descriptors it keeps these alone.
    fn answer(
        &mut self,
        notice: &Notice,
        kept: &[RawFd],
        act: impl FnOnce() -> Result<i32, Errno>,
    ) -> Result<(), Errno> {
        if self.calls.len() >= MOST {
            return Err(Errno::ENFILE);
        }
        match process::fork()? {
            Side::Parent { pid } => {
                self.calls.insert(pid, *notice);
                Ok(())
            }
            Side::Child => {
                let kept = [&[notice.listener], kept].concat();
                let done = join::die_with_parent().and_then(|()| sys::close_all_but(kept.iter()));
                let answer = done.and_then(|()| act()).map_or_else(Answer::Fail, Answer::Done);
                let _ = notice::answer(notice.listener, notice.id, answer);
                process::exit(0)
            }
        }
    }

    /// A process has ended, and its number may be another's from now on.
    pub(super) fn ended(&mut self, process: i32) {
        self.calls.remove(&process);
    }

    /// Nobody is left whose calls are answered there.
    pub(super) fn gone(&mut self, listener: RawFd) {
        self.calls.retain(|pid, notice| {
            if notice.listener == listener {
                process::kill(*pid, libc::SIGKILL);
            }
            notice.listener != listener
        });
    }

    /// How long nobody needs to look after them; without end if there are none.
    pub(super) fn patience(&self) -> i32 {
        if self.calls.is_empty() { -1 } else { PATIENCE }
    }

    /// Lets go of calls that are answered or whose thread is gone, and of those that a signal ends. It costs something for
    /// each of them, and is done no more often than somebody's patience asks for.
    pub(super) fn look_after(&mut self) {
        let now = sys::now();
        if now.saturating_sub(self.looked) < u64::from(PATIENCE.unsigned_abs()) * 1_000_000 {
            return;
        }
        self.looked = now;
        self.calls.retain(|pid, notice| {
            let answer = match notice::waits(notice.listener, notice.id) {
                true => interrupted(notice.thread),
                false => Some(Answer::Fail(Errno::EINTR)),
            };
            let Some(answer) = answer else { return true };
            process::kill(*pid, libc::SIGKILL);
            let _ = notice::answer(notice.listener, notice.id, answer);
            false
        });
    }
}

/// How a call of a thread ends for which a signal waits.
pub(in crate::linux::mediator) fn interrupted(thread: i32) -> Option<Answer> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    let field = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let signals = |key| field(key).and_then(|bits| u64::from_str_radix(bits, 16).ok()).unwrap_or(0);
    let taken = !signals("SigBlk:") & !signals("SigIgn:");
    let (own, shared) = (signals("SigPnd:") & taken, signals("ShdPnd:") & taken);
    match (own, shared) {
        (0, 0) => None,
        // Of several threads another one may take it.
        (0, _) if field("Threads:") != Some("1") => Some(Answer::Fail(Errno::EINTR)),
        _ => Some(Answer::Again),
    }
}
