//! Tracing: threads that stop when they have executed a program.

use std::ptr;

use nix::errno::Errno;

use super::check;

/// Takes hold of a thread: it stops once it has executed a program, or else at the end of the call that it is in. If this
/// process ends, so does it.
pub(in crate::linux) fn hold(thread: i32) -> Result<(), Errno> {
    let options = libc::PTRACE_O_TRACEEXEC | libc::PTRACE_O_EXITKILL;
    // SAFETY: both requests pass numbers only.
    unsafe {
        check(libc::ptrace(
            libc::PTRACE_SEIZE,
            thread,
            ptr::null_mut::<libc::c_void>(),
            options as usize as *mut libc::c_void,
        ))?;
        check(libc::ptrace(
            libc::PTRACE_INTERRUPT,
            thread,
            ptr::null_mut::<libc::c_void>(),
            ptr::null_mut::<libc::c_void>(),
        ))
        .map(drop)
    }
}

/// Lets a stopped thread go, with a signal if there is one for it.
pub(in crate::linux) fn let_go(thread: i32, signal: i32) {
    // SAFETY: the request passes numbers only. A thread that is gone needs nothing.
    unsafe {
        libc::ptrace(
            libc::PTRACE_DETACH,
            thread,
            ptr::null_mut::<libc::c_void>(),
            signal as usize as *mut libc::c_void,
        );
    }
}

/// What happened to a thread that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux) enum Stop {
    /// A program was executed: the process stands before its first instruction.
    Executed {
        /// The process, which is the thread's number from now on.
        process: i32,
        /// The thread's number before.
        thread: i32,
    },
    /// It stopped for something else.
    Other {
        /// The thread.
        thread: i32,
        /// The signal that it is to get; 0: none.
        signal: i32,
    },
    /// It has ended.
    Ended {
        /// The thread.
        thread: i32,
    },
}

/// Takes one thing that happened to the threads that are held, without waiting.
pub(in crate::linux) fn take_stop() -> Option<Stop> {
    let mut status = 0;
    // SAFETY: the pointer is to a live integer.
    let thread = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) };
    if thread <= 0 {
        return None;
    }
    if !libc::WIFSTOPPED(status) {
        return Some(Stop::Ended { thread });
    }
    let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
    if event == libc::PTRACE_EVENT_EXEC {
        let mut former: libc::c_ulong = 0;
        // SAFETY: the pointer is to a live value of the type that the request writes.
        let told = unsafe {
            libc::ptrace(
                libc::PTRACE_GETEVENTMSG,
                thread,
                ptr::null_mut::<libc::c_void>(),
                (&raw mut former).cast::<libc::c_void>(),
            )
        };
        let former = if told == 0 { i32::try_from(former).unwrap_or(thread) } else { thread };
        return Some(Stop::Executed { process: thread, thread: former });
    }
    // A stop with an event is no delivery of a signal.
    Some(Stop::Other { thread, signal: if event == 0 { signal } else { 0 } })
}
