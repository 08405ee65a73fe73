//! Namespaces of other processes, and what is asked of a process from outside.

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;

use super::check;
use super::process::Side;

/// Makes a copy of this process, as `fork` does. The child must do system calls only.
pub(in crate::linux) fn fork() -> Result<Side, Errno> {
    // SAFETY: no CLONE_VM: the child runs on a copy of the memory and, by contract, takes no lock there.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) })?;
    Ok(if pid == 0 { Side::Child } else { Side::Parent { pid } })
}

/// Enters a namespace of a kind (`CLONE_NEW*`).
pub(in crate::linux) fn join(namespace: RawFd, kind: libc::c_int) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::setns(namespace, kind) }.into()).map(drop)
}

/// The user namespace that owns a namespace.
pub(in crate::linux) fn owner_of(namespace: RawFd) -> Result<OwnedFd, Errno> {
    const NS_GET_USERNS: libc::Ioctl = 0xb701;
    // SAFETY: the request takes no argument and yields a descriptor of our own.
    let owner = check(unsafe { libc::ioctl(namespace, NS_GET_USERNS) }.into())?;
    // SAFETY: as above.
    Ok(unsafe { OwnedFd::from_raw_fd(owner) })
}

/// A descriptor that becomes readable when a process has ended.
pub(in crate::linux) fn watch_process(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed; the descriptor is our own.
    unsafe { check(libc::syscall(libc::SYS_pidfd_open, pid, 0)).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// A descriptor that becomes readable when a time has passed.
pub(in crate::linux) fn timer(time: Duration) -> Result<OwnedFd, Errno> {
    let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let seconds = libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX);
    let nanoseconds = libc::c_long::from(time.subsec_nanos().max(u32::from(time.is_zero())).cast_signed());
    let once = libc::itimerspec {
        it_interval: none,
        it_value: libc::timespec { tv_sec: seconds, tv_nsec: nanoseconds },
    };
    // SAFETY: the structure lives through the call; the descriptor is our own.
    unsafe {
        let fd = check(
            libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK).into(),
        )?;
        let timer = OwnedFd::from_raw_fd(fd);
        check(libc::timerfd_settime(fd, 0, &raw const once, ptr::null_mut()).into())?;
        Ok(timer)
    }
}

/// Lowers a limit of another process, soft and hard; one that is lower already stays.
pub(in crate::linux) fn limit_of(pid: i32, resource: u32, amount: u64) -> Result<(), Errno> {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to live values of the right type.
    unsafe {
        check(libc::syscall(libc::SYS_prlimit64, pid, resource, ptr::null::<libc::rlimit>(), &raw mut old))?;
        let new = libc::rlimit { rlim_cur: old.rlim_cur.min(amount), rlim_max: old.rlim_max.min(amount) };
        let nothing = ptr::null_mut::<libc::rlimit>();
        check(libc::syscall(libc::SYS_prlimit64, pid, resource, &raw const new, nothing)).map(drop)
    }
}

/// This process ends when the thread that made it does.
pub(in crate::linux) fn die_with_parent() -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }.into()).map(drop)
}

/// Descendants whose parent ends become children of this process.
pub(in crate::linux) fn adopt_orphans() -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }.into()).map(drop)
}

/// Puts descriptors at the numbers that a program expects them at, and keeps every other one but the standard three
/// from being inherited. The descriptors lie above all those numbers.
pub(in crate::linux) fn arrange(descriptors: &[(RawFd, RawFd)]) -> Result<(), Errno> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: no memory is passed.
    unsafe {
        check(libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC))?;
        for (from, to) in descriptors {
            check(libc::dup2(*from, *to).into())?;
        }
    }
    Ok(())
}

/// Another descriptor for the same, with a number of at least 256.
pub(in crate::linux) fn raise(descriptor: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: no memory is passed; the descriptor is our own.
    unsafe {
        check(libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 256).into()).map(|fd| OwnedFd::from_raw_fd(fd))
    }
}

/// Has a function called in a child between `fork` and `exec`.
pub(in crate::linux) fn before_exec(
    command: &mut std::process::Command,
    call: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static,
) {
    use std::os::unix::process::CommandExt;
    // SAFETY: what is called does system calls on values that were made before.
    unsafe { command.pre_exec(call) };
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use super::*;
    use crate::linux::sys::process::{Readable, wait_readable};

    #[test]
    fn a_process_and_a_timer_are_seen_to_end() {
        let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
        let watch = watch_process(child.id().cast_signed()).unwrap();
        assert_eq!(wait_readable([watch.as_raw_fd()], -1), [Readable::Yes]);
        child.wait().unwrap();
        let timer = timer(Duration::ZERO).unwrap();
        assert_eq!(wait_readable([timer.as_raw_fd()], -1), [Readable::Yes]);
    }

    #[test]
    fn the_owner_of_a_namespace_is_a_user_namespace() {
        let own = std::fs::File::open("/proc/self/ns/mnt").unwrap();
        if let Ok(owner) = owner_of(own.as_raw_fd()) {
            let link = std::fs::read_link(format!("/proc/self/fd/{}", owner.as_raw_fd())).unwrap();
            assert!(link.to_string_lossy().starts_with("user:"), "{}", link.display());
        }
    }
}
