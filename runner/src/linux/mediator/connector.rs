//! Connections where no network namespace keeps programs from any: each is made in the program's place, to the proxy of the run alone.
//!
//! A `connect` inside waits, and is never left to the kernel. The address is read once and the socket taken once; if the socket is
//! one of TCP and the address was the proxy's, what was taken is connected to an address of fence's own, so that nothing that
//! the caller's memory or descriptors become meanwhile counts. Everything else is refused.
//!
//! Who does that must be an ancestor of whoever asks: there is no user namespace that would give the right to look at others, and
//! Yama lets a process look at its descendants.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use fence_compiler::question::{Decision, Reason, Verdict};
use nix::errno::Errno;

use super::files::interrupted;
use super::place::{Own, process_of};
use super::rights;
use super::watch::program_of;
use crate::launch::{Arbiter, Refused};
use crate::linux::seccomp::Judged;
use crate::linux::sys::connection::{self, Kind};
use crate::linux::sys::file;
use crate::linux::sys::notice::{self, Answer, Notice};
use crate::linux::sys::process::{self, Readable};
use crate::preflight::Refusal;
use fence_compiler::plan::Condition;

/// How often connections that wait are looked after, in milliseconds.
const PATIENCE: i32 = 20;

/// The calls that wait for an answer.
pub(in crate::linux) fn judged() -> Vec<Judged> {
    vec![Judged { call: "connect", when: Condition::Always }]
}

/// Who makes the connections of a run.
pub(in crate::linux) struct Connector<'a> {
    arbiter: &'a mut dyn Arbiter,
    /// Where everything is connected to.
    proxy: SocketAddrV4,
    /// Where calls are answered, once that was handed over.
    listener: Option<OwnedFd>,
    /// The calls whose connections wait to be accepted.
    waiting: Vec<(Notice, OwnedFd)>,
}

/// Why there is no connection yet.
enum No {
    /// It fails.
    Failed(Errno),
    /// It would lead elsewhere; with this error.
    Refused(Refusal, Errno),
    /// It waits to be accepted.
    Waits(OwnedFd),
}

impl From<Errno> for No {
    fn from(errno: Errno) -> No {
        No::Failed(errno)
    }
}

impl<'a> Connector<'a> {
    /// Is ready for the place where calls are answered.
    pub(in crate::linux) fn new(arbiter: &'a mut dyn Arbiter, proxy: SocketAddrV4) -> Connector<'a> {
        Connector { arbiter, proxy, listener: None, waiting: Vec::new() }
    }

    /// Takes the place where calls are answered, and gives up what that does not need.
    ///
    /// # Errors
    /// The kernel does not let it: nobody may be answered then.
    pub(in crate::linux) fn listen(&mut self, listener: OwnedFd) -> Result<(), Errno> {
        rights::give_up_alone()?;
        self.listener = Some(listener);
        Ok(())
    }

    /// What tells that a call waits; -1 without.
    pub(in crate::linux) fn descriptor(&self) -> RawFd {
        self.listener.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// How long nobody needs to look after connections that wait, in milliseconds; without end if there are none.
    pub(in crate::linux) fn patience(&self) -> i32 {
        if self.waiting.is_empty() { -1 } else { PATIENCE }
    }

    /// Handles what there is to do.
    pub(in crate::linux) fn turn(&mut self, call: Readable) {
        self.look_after();
        match (call, self.listener.as_ref()) {
            (Readable::Yes, Some(listener)) => {
                if let Ok(notice) = notice::receive(listener.as_raw_fd()) {
                    self.take(notice);
                }
            }
            // Nobody is left whose calls are answered there.
            (Readable::Ended, _) => self.listener = None,
            _ => {}
        }
    }

    /// Gives up connections that wait: nobody is left to use them.
    pub(in crate::linux) fn let_go(&mut self) {
        self.waiting.clear();
    }

    /// Tells what was refused, when the run is over.
    pub(in crate::linux) fn conclude(self) {
        self.arbiter.conclude();
    }

    fn take(&mut self, notice: Notice) {
        let answer = match self.connect(&notice) {
            Ok(()) => Answer::Done(0),
            Err(No::Failed(errno)) => Answer::Fail(errno),
            Err(No::Waits(socket)) => return self.waiting.push((notice, socket)),
            Err(No::Refused(refusal, errno)) => {
                let process = Own::Thread(notice.thread).numbers().ok().map(|(process, _)| process);
                let program = String::from_utf8_lossy(&program_of(notice.thread)).into_owned();
                self.arbiter.refused(Refused { refusal, process, program: Some(program) });
                Answer::Fail(errno)
            }
        };
        // Whoever is gone needs none.
        let _ = notice::answer(notice.listener, notice.id, answer);
    }

    fn connect(&self, notice: &Notice) -> Result<(), No> {
        let [number, address, length, ..] = notice.arguments;
        // Both are numbers of 32 bits.
        let (number, length) = (number as u32 as i32, length as u32 as i32);
        let thread = notice.thread;
        if i64::from(notice.call) != libc::SYS_connect {
            return Err(No::Failed(Errno::ENOSYS));
        }
        let socket = file::take(thread, || process_of(thread).ok_or(Errno::ESRCH), number)?;
        let address = read(thread, address, length)?;
        if !notice::waits(notice.listener, notice.id) {
            // What was taken and read may be another process's by now.
            return Err(No::Failed(Errno::ESRCH));
        }
        let kind = connection::kind(socket.as_raw_fd())?;
        if !is_tcp(kind, socket.as_raw_fd())? {
            let item = format!("a socket of family {}, type {}", kind.family, kind.of);
            return Err(closed(item, "only TCP leads to the proxy of the run", Errno::EACCES));
        }
        match meant(&address) {
            Some(SocketAddr::V4(meant)) if meant == self.proxy => self.reach(socket),
            Some(meant) => Err(No::Refused(self.arbiter.directly(meant), Errno::ECONNREFUSED)),
            None => {
                let item = format!("an address of family {}", family(&address));
                Err(closed(item, "it is no address of IP", Errno::EAFNOSUPPORT))
            }
        }
    }

    /// Connects a socket to the proxy: what its owner's memory says by now does not matter.
    fn reach(&self, socket: OwnedFd) -> Result<(), No> {
        // The flags are shared with the caller, who could take `O_NONBLOCK` away at any moment.
        match connection::connect_soon(socket.as_raw_fd(), &bytes_of(self.proxy)) {
            Err(Errno::EINTR) => Err(No::Waits(socket)),
            connected => Ok(connected?),
        }
    }

    /// Answers calls whose connections were accepted or failed, whose thread is gone, and those that a signal ends.
    fn look_after(&mut self) {
        for (notice, socket) in std::mem::take(&mut self.waiting) {
            let answer = match notice::waits(notice.listener, notice.id) {
                false => continue,
                true if process::is_settled(socket.as_raw_fd()) => match self.reach(socket) {
                    Ok(()) => Answer::Done(0),
                    Err(No::Waits(socket)) => {
                        self.waiting.push((notice, socket));
                        continue;
                    }
                    Err(No::Failed(errno) | No::Refused(_, errno)) => Answer::Fail(errno),
                },
                true => match interrupted(notice.thread) {
                    Some(answer) => answer,
                    None => {
                        self.waiting.push((notice, socket));
                        continue;
                    }
                },
            };
            let _ = notice::answer(notice.listener, notice.id, answer);
        }
    }
}

/// How long an address of any kind may be.
const LONGEST: usize = 128;
/// The lengths of what is read of addresses: of a family, of one of IPv4, and of one of IPv6 without its scope.
const FAMILY: usize = 2;
const IPV4: usize = 16;
const IPV6: usize = 24;

/// Reads an address as the kernel would, as much of it as matters.
fn read(thread: i32, address: u64, length: i32) -> Result<Vec<u8>, Errno> {
    let length = usize::try_from(length).map_err(|_| Errno::EINVAL)?;
    if !(FAMILY..=LONGEST).contains(&length) {
        return Err(Errno::EINVAL);
    }
    let mut bytes = vec![0; length.min(IPV6)];
    match notice::read_memory(thread, address, &mut bytes) {
        Ok(read) if read == bytes.len() => Ok(bytes),
        Ok(_) => Err(Errno::EFAULT),
        Err(errno) => Err(errno),
    }
}

fn family(address: &[u8]) -> i32 {
    let bytes = address.get(..FAMILY).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(libc::AF_UNSPEC, |bytes| u16::from_ne_bytes(bytes).into())
}

/// What an address means, if it is one of IP.
fn meant(address: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(address.get(2..4)?.try_into().ok()?);
    match family(address) {
        libc::AF_INET if address.len() >= IPV4 => {
            let host: [u8; 4] = address.get(4..8)?.try_into().ok()?;
            Some(SocketAddr::from((Ipv4Addr::from(host), port)))
        }
        libc::AF_INET6 if address.len() >= IPV6 => {
            let host: [u8; 16] = address.get(8..IPV6)?.try_into().ok()?;
            Some(SocketAddr::from((Ipv6Addr::from(host), port)))
        }
        _ => None,
    }
}

/// An address as the kernel takes it.
fn bytes_of(address: SocketAddrV4) -> [u8; IPV4] {
    let [family_low, family_high] = (libc::AF_INET as u16).to_ne_bytes();
    let [port_high, port_low] = address.port().to_be_bytes();
    let [a, b, c, d] = address.ip().octets();
    [family_low, family_high, port_high, port_low, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0]
}

fn is_tcp(kind: Kind, socket: RawFd) -> Result<bool, Errno> {
    Ok(kind == Kind { family: libc::AF_INET, of: libc::SOCK_STREAM }
        && connection::protocol(socket)? == libc::IPPROTO_TCP)
}

fn closed(item: String, why: &str, errno: Errno) -> No {
    let reason = Reason::AlwaysClosed(why.to_owned());
    let decision = Decision { verdict: Verdict::Denied, reason, assumptions: Vec::new() };
    No::Refused(Refusal { action: "connect", item, decision }, errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_the_kernel_reads_it() {
        let proxy = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 3128);
        assert_eq!(meant(&bytes_of(proxy)), Some(proxy.into()));
        assert_eq!(meant(&bytes_of(proxy)[..15]), None);
        let six = [&[10, 0, 0, 80, 0, 0, 0, 0][..], &[0; 15], &[1]].concat();
        assert_eq!(meant(&six), Some("[::1]:80".parse().unwrap()));
        assert_eq!(meant(&six[..23]), None);
        for other in [[0, 0, 12, 56, 127, 0, 0, 1], [1, 0, 12, 56, 127, 0, 0, 1]] {
            assert_eq!(meant(&[&other[..], &[0; 8]].concat()), None);
        }
    }
}
