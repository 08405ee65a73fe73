//! Calls on sockets, for whoever carries them out in another's place.

use std::os::fd::{OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;

use super::process::Signals;
use super::{check, owned};

/// What a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux) struct Kind {
    /// Its family.
    pub(in crate::linux) family: i32,
    /// Its type.
    pub(in crate::linux) of: i32,
}

/// What a descriptor stands for, if that is a socket.
pub(in crate::linux) fn kind(socket: RawFd) -> Result<Kind, Errno> {
    Ok(Kind { family: option(socket, libc::SO_DOMAIN)?, of: option(socket, libc::SO_TYPE)? })
}

/// By which protocol a socket speaks.
pub(in crate::linux) fn protocol(socket: RawFd) -> Result<i32, Errno> {
    option(socket, libc::SO_PROTOCOL)
}

/// How much a socket takes before whoever sends has to wait.
pub(in crate::linux) fn room(socket: RawFd) -> Result<usize, Errno> {
    usize::try_from(option(socket, libc::SO_SNDBUF)?).map_err(|_| Errno::EINVAL)
}

/// How long whoever sends on a socket waits, in nanoseconds; without end, if nothing is set.
pub(in crate::linux) fn patience(socket: RawFd) -> Result<Option<u64>, Errno> {
    let mut time = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let mut size = size_of_val(&time) as libc::socklen_t;
    // SAFETY: the pointers are to live values of the size that is told.
    let told = unsafe {
        let time = (&raw mut time).cast();
        libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_SNDTIMEO, time, &raw mut size)
    };
    check(told.into())?;
    let (seconds, rest) = (time.tv_sec.cast_unsigned(), time.tv_usec.cast_unsigned());
    let time = seconds.saturating_mul(1_000_000_000).saturating_add(rest.saturating_mul(1000));
    Ok((time > 0).then_some(time))
}

fn option(socket: RawFd, name: i32) -> Result<i32, Errno> {
    let mut value = 0_i32;
    let mut size = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the pointers are to live values of the size that is told.
    let told =
        unsafe { libc::getsockopt(socket, libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut size) };
    check(told.into())?;
    Ok(value)
}

/// Connects a socket to an address, which is bytes as the kernel takes them.
pub(in crate::linux) fn connect(socket: RawFd, address: &[u8]) -> Result<(), Errno> {
    let length = libc::socklen_t::try_from(address.len()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: pointer and length are those of a live slice, which the kernel only reads.
    check(unsafe { libc::connect(socket, address.as_ptr().cast(), length) }.into()).map(drop)
}

/// Does the same for a socket that may have to wait, for a millisecond at most. `EINTR`: it would go on waiting.
pub(in crate::linux) fn connect_soon(socket: RawFd, address: &[u8]) -> Result<(), Errno> {
    const SOON: libc::suseconds_t = 1000;
    soon(SOON, || connect(socket, address))
}

/// Does something that may have to wait, for so many microseconds at most. `EINTR`: it would go on waiting.
pub(in crate::linux) fn soon<T>(
    microseconds: libc::suseconds_t,
    act: impl FnOnce() -> Result<T, Errno>,
) -> Result<T, Errno> {
    extern "C" fn interrupt(_: libc::c_int) {}
    // SAFETY: plain integers and a null restorer, for which all zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = interrupt as *const () as libc::sighandler_t;
    // SAFETY: the pointer is to a live value; the handler does nothing.
    check(unsafe { libc::sigaction(libc::SIGALRM, &raw const action, ptr::null_mut()) }.into())?;
    Signals::new(&[libc::SIGALRM]).unblock();
    // Again and again, in case that it comes before there is a wait to end.
    timer(microseconds)?;
    let done = act();
    timer(0)?;
    done
}

fn timer(microseconds: libc::suseconds_t) -> Result<(), Errno> {
    let time = libc::timeval { tv_sec: 0, tv_usec: microseconds };
    let timer = libc::itimerval { it_interval: time, it_value: time };
    // SAFETY: the pointer is to a live value; the old one is not asked for.
    check(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) }.into()).map(drop)
}

/// The file that a Unix socket is bound to. Only who owns the socket's network namespace is told.
pub(in crate::linux) fn bound_file(socket: RawFd) -> Result<OwnedFd, Errno> {
    const SIOCUNIXFILE: libc::c_ulong = 0x89e0;
    // SAFETY: no memory is passed; what is answered is a new descriptor.
    check(unsafe { libc::ioctl(socket, SIOCUNIXFILE as _, 0) }.into()).map(owned)
}

/// A message to be sent.
pub(in crate::linux) struct Message {
    /// To whom; to whom the socket is connected, if it is empty.
    pub(in crate::linux) name: Vec<u8>,
    /// What.
    pub(in crate::linux) data: Vec<u8>,
    /// Control messages, as the kernel takes them; in words, because they are aligned.
    pub(in crate::linux) control: Vec<u64>,
}

/// Sends a message, without waiting or raising a signal; how much of it was sent.
pub(in crate::linux) fn send(socket: RawFd, message: &Message, flags: i32) -> Result<usize, Errno> {
    let Message { name, data, control } = message;
    let part = libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() };
    // SAFETY: plain integers and pointers, for which all zero is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = (&raw const part).cast_mut();
    header.msg_iovlen = 1;
    if !name.is_empty() {
        header.msg_name = name.as_ptr().cast_mut().cast();
        header.msg_namelen = libc::socklen_t::try_from(name.len()).map_err(|_| Errno::EINVAL)?;
    }
    if !control.is_empty() {
        header.msg_control = control.as_ptr().cast_mut().cast();
        header.msg_controllen = size_of_val(control.as_slice()) as _;
    }
    let flags = flags | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: pointers and lengths are those of live values, which the kernel only reads.
    let sent = unsafe { libc::sendmsg(socket, &raw const header, flags) };
    usize::try_from(sent).map_err(|_| Errno::last())
}

/// Writes a number of 32 bits into the memory of another process, where it may write itself.
pub(in crate::linux) fn write_number(thread: i32, address: u64, number: u32) -> Result<(), Errno> {
    let bytes = number.to_ne_bytes();
    let here = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let there = libc::iovec { iov_base: address as usize as *mut libc::c_void, iov_len: bytes.len() };
    // SAFETY: one pointer and length are those of a live array, which is only read; the other means memory of the other
    // process, which the kernel checks.
    let written = unsafe { libc::process_vm_writev(thread, &raw const here, 1, &raw const there, 1, 0) };
    if usize::try_from(written) == Ok(bytes.len()) { Ok(()) } else { Err(Errno::EFAULT) }
}

/// Sends a signal to a thread.
pub(in crate::linux) fn signal_thread(process: i32, thread: i32, signal: i32) {
    // SAFETY: no memory is passed.
    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, signal) };
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::super::process::{self, Change, Side};
    use super::*;

    /// In a process of its own, which has one thread as the one that connects: a timer's signal goes to any.
    #[test]
    fn a_connection_that_would_wait_is_given_up_soon() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        // SAFETY: no memory is passed.
        unsafe { libc::listen(listener.as_raw_fd(), 0) };
        let address = [&1_u16.to_ne_bytes()[..], path.as_os_str().as_bytes()].concat();
        let made = || {
            // SAFETY: no memory is passed.
            owned(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) })
        };
        let (first, second) = (made(), made());
        assert_eq!(kind(first.as_raw_fd()).unwrap(), Kind { family: libc::AF_UNIX, of: libc::SOCK_STREAM });
        let Side::Parent { pid } = process::fork().unwrap() else {
            let is_given_up = connect_soon(first.as_raw_fd(), &address) == Ok(())
                && connect_soon(second.as_raw_fd(), &address) == Err(Errno::EINTR)
                && listener.accept().is_ok()
                && connect_soon(second.as_raw_fd(), &address) == Ok(());
            process::exit(i32::from(!is_given_up))
        };
        assert_eq!(process::wait_for_end(pid), Ok(Change::Exited(0)));
    }

    /// In a process of its own, as above.
    #[test]
    fn a_connection_that_was_given_up_goes_on_and_is_seen_to_stand() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // SAFETY: no memory is passed.
        unsafe { libc::listen(listener.as_raw_fd(), 0) };
        let port = listener.local_addr().unwrap().port().to_be_bytes();
        let address = [&2_u16.to_ne_bytes()[..], &port, &[127, 0, 0, 1], &[0; 8]].concat();
        let made = || {
            // SAFETY: no memory is passed.
            owned(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) })
        };
        let (first, second) = (made(), made());
        assert_eq!(protocol(first.as_raw_fd()), Ok(libc::IPPROTO_TCP));
        let Side::Parent { pid } = process::fork().unwrap() else {
            let waits = connect_soon(first.as_raw_fd(), &address) == Ok(())
                && connect_soon(second.as_raw_fd(), &address) == Err(Errno::EINTR)
                && !process::is_settled(second.as_raw_fd())
                && listener.accept().is_ok();
            while waits && !process::is_settled(second.as_raw_fd()) {
                process::wait_readable([-1], 10);
            }
            let stands = connect_soon(second.as_raw_fd(), &address) == Ok(());
            process::exit(i32::from(!(waits && stands)))
        };
        assert_eq!(process::wait_for_end(pid), Ok(Change::Exited(0)));
    }

    #[test]
    fn a_message_is_sent_with_what_it_carries() {
        let (one, other) = UnixStream::pair().unwrap();
        let rights = [20_u64, (u64::from(libc::SCM_RIGHTS.cast_unsigned()) << 32) | 1, 1];
        let message = Message { name: Vec::new(), data: b"text".to_vec(), control: rights.to_vec() };
        assert_eq!(send(one.as_raw_fd(), &message, 0), Ok(4));
        assert_eq!(super::super::socket::take_descriptors(other.as_raw_fd()).unwrap().len(), 1);
        drop(other);
        // A process that another test forks meanwhile has the end, too, until it ends.
        process::wait_readable([one.as_raw_fd()], -1);
        assert_eq!(send(one.as_raw_fd(), &message, 0), Err(Errno::EPIPE));
    }
}
