//! Calls that wait until this process has answered them.

use std::os::fd::RawFd;

use nix::errno::Errno;

use super::check;

/// A call inside that waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::linux) struct Notice {
    /// Where it was taken, and is answered.
    pub(in crate::linux) listener: RawFd,
    /// Its number among those that wait.
    pub(in crate::linux) id: u64,
    /// The thread that made it, as this process's namespace numbers it.
    pub(in crate::linux) thread: i32,
    /// Which call.
    pub(in crate::linux) call: i32,
    /// Its arguments.
    pub(in crate::linux) arguments: [u64; 6],
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux) enum Answer {
    /// The kernel carries it out.
    GoOn,
    /// It fails with this error.
    Fail(Errno),
    /// It has been carried out, and yields this number.
    Done(i32),
    /// It is to be made again once a signal that waits for the thread has been taken.
    Again,
}

const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;
const IS_VALID: libc::c_ulong = 0x4008_2102;
const ADD: libc::c_ulong = 0x4018_2103;
const SET_FLAGS: libc::c_ulong = 0x4008_2104;

/// `ERESTARTSYS`, which no program ever sees: the kernel makes the call again, or says `EINTR`, as the signal's handler
/// wants it.
const RESTART: i32 = 512;

/// Installs a filter for this process and everything it starts, and yields the descriptor at which calls are answered.
/// A signal does not interrupt a call that has been received.
pub(in crate::linux) fn install(program: &[libc::sock_filter]) -> Result<RawFd, Errno> {
    const NEW_LISTENER: libc::c_ulong = 8;
    const WAIT_KILLABLE: libc::c_ulong = 32;
    let length = u16::try_from(program.len()).map_err(|_| Errno::E2BIG)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the program's pointer and length are those of a live slice, which the kernel only reads.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            NEW_LISTENER | WAIT_KILLABLE,
            &raw const program,
        )
    })
}

/// Takes the next call that waits. `ENOENT`: whoever made it is gone.
pub(in crate::linux) fn receive(listener: RawFd) -> Result<Notice, Errno> {
    // SAFETY: plain integers, for which all zero is a value, and what the kernel asks for.
    let mut notice: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live value of the size that the request's number tells.
    check(unsafe { libc::ioctl(listener, RECEIVE as _, &raw mut notice) }.into())?;
    Ok(Notice {
        listener,
        id: notice.id,
        thread: notice.pid.cast_signed(),
        call: notice.data.nr,
        arguments: notice.data.args,
    })
}

/// Whether a call still waits: then its thread's number is still that thread's.
pub(in crate::linux) fn waits(listener: RawFd, id: u64) -> bool {
    // SAFETY: the pointer is to a live integer of the size that the request's number tells.
    unsafe { libc::ioctl(listener, IS_VALID as _, &raw const id) == 0 }
}

/// Answers a call. `ENOENT`: it does not wait any more.
pub(in crate::linux) fn answer(listener: RawFd, id: u64, answer: Answer) -> Result<(), Errno> {
    const GO_ON: u32 = 1;
    let (error, flags) = match answer {
        Answer::GoOn => (0, GO_ON),
        Answer::Fail(errno) => (-(errno as i32), 0),
        Answer::Done(_) => (0, 0),
        Answer::Again => (-RESTART, 0),
    };
    let val = if let Answer::Done(number) = answer { i64::from(number) } else { 0 };
    let answer = libc::seccomp_notif_resp { id, val, error, flags };
    // SAFETY: the pointer is to a live value of the size that the request's number tells.
    check(unsafe { libc::ioctl(listener, SEND as _, &raw const answer) }.into()).map(drop)
}

/// Gives whoever waits for an answer a descriptor for what one of this process stands for, and yields its number.
pub(in crate::linux) fn hand(listener: RawFd, id: u64, file: RawFd, flags: i32) -> Result<i32, Errno> {
    #[repr(C)]
    struct Add {
        id: u64,
        flags: u32,
        source: u32,
        number: u32,
        number_flags: u32,
    }
    let add = Add {
        id,
        flags: 0,
        source: file.cast_unsigned(),
        number: 0,
        number_flags: (flags & libc::O_CLOEXEC).cast_unsigned(),
    };
    // SAFETY: the pointer is to a live value of the size that the request's number tells.
    check(unsafe { libc::ioctl(listener, ADD as _, &raw const add) }.into())
}

/// Has whoever makes a call and whoever answers it take turns on one processor: waking another one costs more than what is
/// done. A kernel before 6.6 does not know that.
pub(in crate::linux) fn take_turns(listener: RawFd) {
    const SYNCHRONOUS: u64 = 1;
    // SAFETY: the request passes a number.
    unsafe { libc::ioctl(listener, SET_FLAGS as _, SYNCHRONOUS) };
}

/// Reads memory of another process: as much as is there from an address on, at most what fits.
pub(in crate::linux) fn read_memory(thread: i32, address: u64, bytes: &mut [u8]) -> Result<usize, Errno> {
    let here = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let there = libc::iovec { iov_base: address as usize as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: one pointer and length are those of a live slice that nobody else reads meanwhile; the other means memory of
    // the other process, which the kernel checks.
    let read = unsafe { libc::process_vm_readv(thread, &raw const here, 1, &raw const there, 1, 0) };
    usize::try_from(read).map_err(|_| Errno::last())
}

/// Reads a short text of another process, up to its NUL; `None` where that takes more than one look.
pub(in crate::linux) fn read_text(thread: i32, address: u64) -> Option<Vec<u8>> {
    const PAGE: u64 = 4096;
    let mut bytes = [0; 512];
    // Not beyond the page: the next one may not be there.
    let most = usize::try_from(PAGE - address % PAGE).unwrap_or(bytes.len()).min(bytes.len());
    let read = read_memory(thread, address, bytes.get_mut(..most)?).ok()?;
    let text = bytes.get(..read)?;
    let end = text.iter().position(|byte| *byte == 0)?;
    text.get(..end).map(<[u8]>::to_vec)
}
