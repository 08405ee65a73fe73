//! The system calls of a launch: thin, without allocation, usable in a child of any process.
//!
//! Only here is `unsafe` allowed. Every function is safe to call: what it is given is checked by its types.

pub(super) mod attributes;
pub(super) mod confine;
pub(super) mod connection;
pub(super) mod events;
pub(super) mod file;
pub(super) mod join;
pub(super) mod mount;
pub(super) mod notice;
pub(super) mod process;
pub(super) mod processor;
pub(super) mod request;
pub(super) mod socket;
pub(super) mod terminal;
pub(super) mod trace;

use std::ffi::CStr;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// Turns the result of a raw system call into a value or an error.
fn check(result: libc::c_long) -> Result<i32, Errno> {
    if result < 0 { Err(Errno::last()) } else { Ok(i32::try_from(result).unwrap_or(i32::MAX)) }
}

/// Opens a file for writing, writes the whole text at once, and closes it.
pub(super) fn write_file(path: &CStr, text: &CStr) -> Result<(), Errno> {
    // SAFETY: both pointers are NUL-terminated strings that live through the calls; the descriptor is our own.
    unsafe {
        let file = check(libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC).into())?;
        let written = libc::write(file, text.as_ptr().cast(), text.count_bytes());
        let result = if written < 0 { Err(Errno::last()) } else { Ok(()) };
        libc::close(file);
        result
    }
}

/// Writes all bytes, or as many as the reader takes.
pub(super) fn write(fd: RawFd, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: pointer and length are those of a live slice.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(written).map_err(|_| Errno::last())
}

/// Reads what is there, at most as much as fits.
pub(super) fn read(fd: RawFd, bytes: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: pointer and length are those of a live slice that nobody else reads meanwhile.
    let read = unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) };
    usize::try_from(read).map_err(|_| Errno::last())
}

/// Reads from the beginning of a file, at most as much as fits.
pub(super) fn read_from_start(fd: RawFd, bytes: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: pointer and length are those of a live slice that nobody else reads meanwhile.
    let read = unsafe { libc::pread(fd, bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    usize::try_from(read).map_err(|_| Errno::last())
}

/// Closes a descriptor; an error is of no use to anybody.
pub(super) fn close(fd: RawFd) {
    // SAFETY: no memory is passed.
    unsafe { libc::close(fd) };
}

/// Makes a number stand for what another stands for, and stay open when a program is executed.
pub(super) fn put(from: RawFd, to: RawFd) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::dup2(from, to) }.into()).map(drop)
}

/// The same, and closed when a program is executed.
pub(super) fn put_for_oneself(from: RawFd, to: RawFd) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::dup3(from, to, libc::O_CLOEXEC) }.into()).map(drop)
}

/// Opens a directory, to read its names from or to walk from.
pub(super) fn open_directory(path: &CStr) -> Result<RawFd, Errno> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the path is NUL-terminated.
    check(unsafe { libc::open(path.as_ptr(), flags) }.into())
}

/// Removes an empty directory.
pub(super) fn remove_directory(above: RawFd, name: &CStr) -> Result<(), Errno> {
    // SAFETY: the name is NUL-terminated.
    check(unsafe { libc::unlinkat(above, name.as_ptr(), libc::AT_REMOVEDIR) }.into()).map(drop)
}

/// Closes all descriptors from the first to the last number.
pub(super) fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Closes all descriptors but the standard ones and these.
pub(super) fn close_all_but<'a>(kept: impl Iterator<Item = &'a RawFd>) -> Result<(), Errno> {
    let mut kept: Vec<u32> = kept.filter(|fd| **fd > 2).map(|fd| fd.cast_unsigned()).collect();
    kept.sort_unstable();
    let mut first = 3;
    for fd in kept {
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = first.max(fd + 1);
    }
    close_range(first, u32::MAX)
}

/// The monotonic clock in nanoseconds.
pub(super) fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live value of the right type.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Switches the loopback interface of the current network namespace on.
pub(super) fn loopback_up() -> Result<(), Errno> {
    // SAFETY: the request holds a NUL-terminated name and flags, which is all that SIOCSIFFLAGS reads; the
    // socket is our own.
    unsafe {
        let socket = check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0).into())?;
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
        let result = check(libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request).into());
        libc::close(socket);
        result.map(drop)
    }
}

/// A standard descriptor, borrowed for as long as the program runs; using it while it is closed yields `EBADF`.
pub(super) fn standard(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: 0, 1 and 2 are never closed by this program while it uses them, and the number is never -1.
    unsafe { BorrowedFd::borrow_raw(number.max(0)) }
}

/// Another descriptor for the same.
pub(super) fn copy(fd: RawFd) -> std::io::Result<OwnedFd> {
    // SAFETY: the number is borrowed for the call alone, and is not -1; a closed one yields `EBADF`.
    unsafe { BorrowedFd::borrow_raw(fd.max(0)) }.try_clone_to_owned()
}

/// A descriptor that was just made for this process, and that nobody else has.
pub(super) fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: by contract it is open and nobody else's; it is never -1.
    unsafe { OwnedFd::from_raw_fd(fd.max(0)) }
}

/// The metadata of a descriptor, which stays open.
pub(super) fn metadata(number: RawFd) -> std::io::Result<std::fs::Metadata> {
    // SAFETY: the file is never dropped, so the descriptor is not closed.
    let file = std::mem::ManuallyDrop::new(unsafe { std::fs::File::from_raw_fd(number) });
    file.metadata()
}

/// Puts `/dev/null` in the place of standard input and output, if it can be opened.
pub(super) fn release_standard() {
    // SAFETY: the path is NUL-terminated; the descriptors are this program's own.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        if null > 2 {
            libc::dup2(null, 0);
            libc::dup2(null, 1);
            libc::close(null);
        }
    }
}
