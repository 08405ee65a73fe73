//! Sockets: those of netlink, those that listen inside, and the channel that they are handed over by.

use std::net::SocketAddrV4;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::{mem, ptr};

use nix::errno::Errno;

use super::{check, close};

/// Sends messages to a part of the kernel that is spoken to by netlink, and yields the first error that it answers.
/// The kernel works through each message before `send` returns, so that nothing is waited for.
pub(in crate::linux) fn tell_kernel(protocol: i32, messages: &[Vec<u8>]) -> Result<(), Errno> {
    let socket = netlink(protocol)?;
    let result = messages.iter().try_for_each(|message| exchange(socket, message));
    close(socket);
    result
}

/// Opens a socket that a part of the kernel is spoken to by, and keeps it after saying this.
pub(in crate::linux) fn listen_to_kernel(protocol: i32, message: &[u8]) -> Result<RawFd, Errno> {
    let socket = netlink(protocol)?;
    exchange(socket, message).map(|()| socket).inspect_err(|_| close(socket))
}

fn netlink(protocol: i32) -> Result<RawFd, Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) }.into())
}

fn exchange(socket: RawFd, message: &[u8]) -> Result<(), Errno> {
    // SAFETY: all of it is plain integers, for which all zero is a value.
    let mut kernel: libc::sockaddr_nl = unsafe { mem::zeroed() };
    kernel.nl_family = libc::AF_NETLINK as u16;
    let size = size_of_val(&kernel) as libc::socklen_t;
    // SAFETY: both pointers and lengths are those of live values.
    let sent = unsafe {
        libc::sendto(socket, message.as_ptr().cast(), message.len(), 0, (&raw const kernel).cast(), size)
    };
    if sent < 0 {
        return Err(Errno::last());
    }
    let mut answer = [0_u8; 4096];
    loop {
        // SAFETY: pointer and length are those of a live array.
        let read =
            unsafe { libc::recv(socket, answer.as_mut_ptr().cast(), answer.len(), libc::MSG_DONTWAIT) };
        if read < 0 {
            return match Errno::last() {
                Errno::EAGAIN => Ok(()),
                errno => Err(errno),
            };
        }
        if let Some(errno) = refusal(&answer) {
            return Err(errno);
        }
    }
}

/// The error that an answer tells, if it is one.
fn refusal(answer: &[u8]) -> Option<Errno> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(answer.get(16..20)?.try_into().ok()?);
    (i32::from(kind) == libc::NLMSG_ERROR && code != 0).then(|| Errno::from_raw(-code))
}

/// A listener for both families on every address; for IPv4 alone where there is no other.
pub(in crate::linux) fn listen_everywhere(port: u16) -> Result<RawFd, Errno> {
    let socket = bind_everywhere(port)?;
    listen(socket)
}

/// A TCP socket that holds a port of every address, without listening.
pub(in crate::linux) fn bind_everywhere(port: u16) -> Result<RawFd, Errno> {
    match tcp(libc::AF_INET6) {
        Ok(socket) => {
            let off: libc::c_int = 0;
            // SAFETY: both are plain integers and bytes, for which all zero is a value: `::`.
            let mut address: libc::sockaddr_in6 = unsafe { mem::zeroed() };
            address.sin6_family = libc::AF_INET6 as u16;
            address.sin6_port = port.to_be();
            // SAFETY: pointers and sizes are those of live values of the right types.
            let bound = unsafe {
                check(
                    libc::setsockopt(
                        socket,
                        libc::IPPROTO_IPV6,
                        libc::IPV6_V6ONLY,
                        (&raw const off).cast(),
                        size_of_val(&off) as libc::socklen_t,
                    )
                    .into(),
                )
                .and_then(|_| {
                    let size = size_of_val(&address) as libc::socklen_t;
                    check(libc::bind(socket, (&raw const address).cast(), size).into())
                })
            };
            bound.map(|_| socket).inspect_err(|_| close(socket))
        }
        Err(Errno::EAFNOSUPPORT) => {
            bind_v4(libc::SOCK_STREAM, SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, port))
        }
        Err(errno) => Err(errno),
    }
}

/// A listener on one address.
pub(in crate::linux) fn listen_at(address: SocketAddrV4) -> Result<RawFd, Errno> {
    listen(bind_v4(libc::SOCK_STREAM, address)?)
}

/// A socket for datagrams to one address.
pub(in crate::linux) fn datagrams_at(address: SocketAddrV4) -> Result<RawFd, Errno> {
    bind_v4(libc::SOCK_DGRAM, address)
}

/// A TCP socket of this namespace, for both families where there are two.
pub(in crate::linux) fn stream() -> Result<RawFd, Errno> {
    match tcp(libc::AF_INET6) {
        Err(Errno::EAFNOSUPPORT) => tcp(libc::AF_INET),
        made => made,
    }
}

fn tcp(family: i32) -> Result<RawFd, Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) }.into())
}

fn bind_v4(kind: i32, at: SocketAddrV4) -> Result<RawFd, Errno> {
    // SAFETY: no memory is passed.
    let socket = check(unsafe { libc::socket(libc::AF_INET, kind | libc::SOCK_CLOEXEC, 0) }.into())?;
    // SAFETY: plain integers and bytes, for which all zero is a value.
    let mut address: libc::sockaddr_in = unsafe { mem::zeroed() };
    address.sin_family = libc::AF_INET as u16;
    address.sin_port = at.port().to_be();
    address.sin_addr.s_addr = u32::from(*at.ip()).to_be();
    let size = size_of_val(&address) as libc::socklen_t;
    // SAFETY: pointer and size are those of a live value.
    let bound = check(unsafe { libc::bind(socket, (&raw const address).cast(), size) }.into());
    bound.map(|_| socket).inspect_err(|_| close(socket))
}

fn listen(socket: RawFd) -> Result<RawFd, Errno> {
    // SAFETY: no memory is passed.
    let result = check(unsafe { libc::listen(socket, 4096) }.into());
    result.map(|_| socket).inspect_err(|_| close(socket))
}

/// The most descriptors that one message carries.
pub(in crate::linux) const MOST_CARRIED: usize = 16;

/// Room for the control message with that many descriptors, aligned as the kernel wants it.
#[repr(C, align(8))]
struct Control([u8; 16 + 4 * MOST_CARRIED]);

/// Sends descriptors through a channel, with one byte; at most [`MOST_CARRIED`] of them.
pub(in crate::linux) fn send_descriptors(channel: RawFd, descriptors: &[RawFd]) -> Result<(), Errno> {
    send_with(channel, 0, descriptors)
}

/// The same with a byte that says something.
pub(in crate::linux) fn send_with(channel: RawFd, byte: u8, descriptors: &[RawFd]) -> Result<(), Errno> {
    send(channel, byte, descriptors, libc::MSG_NOSIGNAL)
}

fn send(channel: RawFd, byte: u8, descriptors: &[RawFd], flags: libc::c_int) -> Result<(), Errno> {
    if descriptors.len() > MOST_CARRIED {
        return Err(Errno::E2BIG);
    }
    let byte = [byte];
    let mut control = Control([0; 16 + 4 * MOST_CARRIED]);
    let part = libc::iovec { iov_base: byte.as_ptr().cast_mut().cast(), iov_len: 1 };
    let length = size_of_val(descriptors);
    // SAFETY: the header's pointers are to live values; the control message is written within its room, which holds
    // as many descriptors as were allowed for above.
    unsafe {
        let mut header: libc::msghdr = mem::zeroed();
        header.msg_iov = (&raw const part).cast_mut();
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(length as u32) as _;
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        (*first).cmsg_level = libc::SOL_SOCKET;
        (*first).cmsg_type = libc::SCM_RIGHTS;
        (*first).cmsg_len = libc::CMSG_LEN(length as u32) as _;
        ptr::copy_nonoverlapping(descriptors.as_ptr().cast::<u8>(), libc::CMSG_DATA(first), length);
        check(libc::sendmsg(channel, &raw const header, flags).try_into().unwrap_or(-1)).map(drop)
    }
}

/// A flag of `sendmsg` that no program sets and that a Unix socket takes no notice of (`MSG_BATCH`).
pub(in crate::linux) const HANDING_OVER: libc::c_int = 0x40000;

/// Sends descriptors through a channel with that flag, where whatever is sent without it is judged already by whoever is to get
/// them.
pub(in crate::linux) fn hand_over(channel: RawFd, descriptors: &[RawFd]) -> Result<(), Errno> {
    send(channel, 0, descriptors, libc::MSG_NOSIGNAL | HANDING_OVER)
}

/// Takes the descriptors of one message, without waiting for it; none if the other end is gone.
pub(in crate::linux) fn take_descriptors(channel: RawFd) -> Result<Vec<OwnedFd>, Errno> {
    receive(channel, libc::MSG_DONTWAIT).map(|(_, taken)| taken)
}

/// Waits for a message and takes its descriptors.
pub(in crate::linux) fn await_descriptors(channel: RawFd) -> Result<Vec<OwnedFd>, Errno> {
    receive(channel, 0).map(|(_, taken)| taken)
}

/// Takes the byte and the descriptors of one message, without waiting for it; no byte if the other end is gone.
pub(in crate::linux) fn take_with(channel: RawFd) -> Result<(Option<u8>, Vec<OwnedFd>), Errno> {
    receive(channel, libc::MSG_DONTWAIT)
}

/// The process that made a connection (`SO_PEERPIDFD`, Linux 6.5); it becomes readable when that has ended.
pub(in crate::linux) fn peer_process(connection: RawFd) -> Result<OwnedFd, Errno> {
    const SO_PEERPIDFD: libc::c_int = 77;
    let mut process: libc::c_int = -1;
    let mut size = size_of_val(&process) as libc::socklen_t;
    // SAFETY: the pointers are to live values of the size that is told; the descriptor is our own.
    unsafe {
        let (to, size) = ((&raw mut process).cast(), &raw mut size);
        check(libc::getsockopt(connection, libc::SOL_SOCKET, SO_PEERPIDFD, to, size).into())?;
        Ok(OwnedFd::from_raw_fd(process))
    }
}

/// Takes the descriptors of one message into an array, without allocating; its byte, and how many. `ENODATA`: the other
/// end is gone; `EMFILE`: some had no room, and all are closed.
pub(in crate::linux) fn take_into(
    channel: RawFd,
    taken: &mut [RawFd; MOST_CARRIED],
) -> Result<(u8, usize), Errno> {
    let mut byte = [0_u8];
    let mut control = Control([0; 16 + 4 * MOST_CARRIED]);
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut count = 0;
    // SAFETY: as in `receive`.
    unsafe {
        let mut header: libc::msghdr = mem::zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = control.0.len() as _;
        let read = libc::recvmsg(channel, &raw mut header, libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT);
        if read < 0 {
            return Err(Errno::last());
        }
        if read == 0 {
            return Err(Errno::ENODATA);
        }
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        if !first.is_null() && (*first).cmsg_type == libc::SCM_RIGHTS {
            let length = (*first).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
            let descriptors = libc::CMSG_DATA(first).cast::<RawFd>();
            for (index, slot) in taken.iter_mut().enumerate().take(length / size_of::<RawFd>()) {
                *slot = ptr::read_unaligned(descriptors.add(index));
                count = index + 1;
            }
        }
        if header.msg_flags & libc::MSG_CTRUNC != 0 {
            taken.iter().take(count).for_each(|descriptor| close(*descriptor));
            return Err(Errno::EMFILE);
        }
    }
    let [byte] = byte;
    Ok((byte, count))
}

/// Sends a message that nobody has to take: it neither waits nor raises a signal.
pub(in crate::linux) fn tell(channel: RawFd, bytes: &[u8]) -> Result<(), Errno> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: pointer and length are those of a live slice.
    let sent = unsafe { libc::send(channel, bytes.as_ptr().cast(), bytes.len(), flags) };
    if sent < 0 { Err(Errno::last()) } else { Ok(()) }
}

fn receive(channel: RawFd, flags: libc::c_int) -> Result<(Option<u8>, Vec<OwnedFd>), Errno> {
    let mut byte = [0_u8];
    let mut control = Control([0; 16 + 4 * MOST_CARRIED]);
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut taken = Vec::new();
    // SAFETY: the header's pointers are to live values with their lengths; the kernel says how much of the control
    // message it has written, and each descriptor in it is new and nobody else's.
    unsafe {
        let mut header: libc::msghdr = mem::zeroed();
        header.msg_iov = &raw mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = control.0.len() as _;
        let read = libc::recvmsg(channel, &raw mut header, libc::MSG_CMSG_CLOEXEC | flags);
        if read < 0 {
            return Err(Errno::last());
        }
        if read == 0 {
            return Ok((None, taken));
        }
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        if first.is_null() || (*first).cmsg_type != libc::SCM_RIGHTS {
            return Ok((byte.first().copied(), taken));
        }
        let length = (*first).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
        let descriptors = libc::CMSG_DATA(first).cast::<RawFd>();
        for index in 0..length / size_of::<RawFd>() {
            taken.push(OwnedFd::from_raw_fd(ptr::read_unaligned(descriptors.add(index))));
        }
    }
    Ok((byte.first().copied(), taken))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    use super::*;

    #[test]
    fn descriptors_pass_through_a_channel() {
        let (one, other) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
        let (mut reader, writer) = std::io::pipe().unwrap();
        send_descriptors(one.as_raw_fd(), &[writer.as_raw_fd(), reader.as_raw_fd()]).unwrap();
        drop(writer);
        let mut taken = take_descriptors(other.as_raw_fd()).unwrap();
        assert_eq!(taken.len(), 2);
        std::fs::File::from(taken.remove(0)).write_all(b"through").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
        drop(one);
        // A process that another test forks meanwhile has the end, too, until it ends.
        super::super::process::wait_readable([other.as_raw_fd()], -1);
        assert!(take_descriptors(other.as_raw_fd()).unwrap().is_empty());
        let many = [1; MOST_CARRIED + 1];
        assert_eq!(send_descriptors(other.as_raw_fd(), &many), Err(Errno::E2BIG));
    }
}
