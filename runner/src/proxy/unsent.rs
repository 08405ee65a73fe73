//! How much of what was written to a connection may wait in the kernel.

use std::os::fd::{AsFd, AsRawFd};

/// Bytes; enough to keep a fast connection busy.
static MOST: libc::c_int = 128 * 1024;

#[cfg(not(target_os = "macos"))]
use libc::TCP_NOTSENT_LOWAT;
/// As `netinet/tcp.h` of macOS has it; the `libc` crate does not name it there.
#[cfg(target_os = "macos")]
const TCP_NOTSENT_LOWAT: libc::c_int = 0x201;

/// Makes a connection take no more than a little that it has not sent yet (`TCP_NOTSENT_LOWAT`, tcp(7)).
///
/// The kernel's memory for connections is one for the whole machine. Without this each takes megabytes of it for a peer
/// that does not read, and when a thousand do, the kernel drops what it has received and connections stand for minutes.
pub(super) fn keep_little_unsent(connection: &impl AsFd) {
    let connection = connection.as_fd().as_raw_fd();
    // Where this fails, the kernel's own bounds hold.
    // SAFETY: the pointer is to a live integer whose size is told.
    unsafe {
        libc::setsockopt(
            connection,
            libc::IPPROTO_TCP,
            TCP_NOTSENT_LOWAT,
            (&raw const MOST).cast(),
            size_of_val(&MOST) as libc::socklen_t,
        );
    }
}
