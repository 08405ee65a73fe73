//! Connecting sockets.

use std::os::fd::{AsRawFd, OwnedFd};

use fence_compiler::policy::PathAction;
use fence_compiler::question::Reason;
use nix::errno::Errno;

use super::ground::{Last, Object, Place, own_path};
use super::request::socket_path;
use super::{Act, Caller, Done, No};
use crate::linux::sys::connection::{self, Kind};
use crate::linux::sys::file::{self, Status};

/// Where a socket is connected to, or something is sent.
pub(super) struct Target {
    /// The address.
    pub(super) address: Vec<u8>,
    /// What is judged, if it is a path: the address stands for what this does.
    pub(super) file: Option<OwnedFd>,
}

/// How long the family of an address is.
const FAMILY: usize = 2;
/// How long an address of a Unix socket may be: 108 bytes of a path need no NUL.
const LONGEST: usize = 110;

impl Caller<'_> {
    pub(super) fn connect(&mut self, number: i32, address: Vec<u8>) -> Result<Done, No> {
        let socket = self.tree.take(self.notice.thread, number)?;
        let kind = connection::kind(socket.as_raw_fd())?;
        let Target { address, file } = self.target(kind, address)?;
        if self.begin()? != Act::Now {
            return Ok(Done::Nothing);
        }
        let flags = file::flags(socket.as_raw_fd())?;
        if flags & libc::O_NONBLOCK != 0 || kind.of == libc::SOCK_DGRAM {
            connection::connect(socket.as_raw_fd(), &address)?;
            return Ok(Done::Nothing);
        }
        match connection::connect_soon(socket.as_raw_fd(), &address) {
            // It waits for whoever is to take it.
            Err(Errno::EINTR) => {
                self.waiting.connect(self.notice, &socket, &address, file.as_ref())?;
                Ok(Done::Later)
            }
            connected => Ok(connected.map(|()| Done::Nothing)?),
        }
    }

    /// What an address of a socket stands for, if the policy allows to go there.
    pub(super) fn target(&mut self, kind: Kind, address: Vec<u8>) -> Result<Target, No> {
        let plain = |address| Ok(Target { address, file: None });
        if kind.family == libc::AF_NETLINK {
            return if is_kernel(&address) { plain(address) } else { Err(No::Failed(Errno::EPERM)) };
        }
        // Names without a file belong to the network namespace of the socket.
        let Some(named) = socket_path(&address).filter(|_| kind.family == libc::AF_UNIX) else {
            return plain(address);
        };
        if address.len() > LONGEST {
            return Err(No::Failed(Errno::EINVAL));
        }
        let object = self.object(&named, Last::Followed)?;
        let status = file::status(object.file.as_raw_fd(), c"")?;
        self.ask_socket(&object, &status)?;
        let own = own_path(object.file.as_raw_fd());
        let address = [address.get(..FAMILY).unwrap_or_default(), own.to_bytes_with_nul()].concat();
        Ok(Target { address, file: Some(object.file) })
    }

    /// Whether something may go to what lies there: the sandbox's own sockets are open always.
    fn ask_socket(&self, object: &Object, status: &Status) -> Result<(), No> {
        let is_socket = status.kind() == libc::S_IFSOCK;
        if is_socket && (self.tree.is_private(status) || self.sockets.has(status)) {
            return Ok(());
        }
        let path = match &object.place {
            Place::Inside(path) => path,
            // A socket without a name, to which nothing can be connected.
            Place::Nowhere => return Ok(()),
            Place::Outside => return Err(No::Failed(Errno::EACCES)),
        };
        let Err(refusal) = self.rules.ask(PathAction::Socket, path, &object.spellings) else { return Ok(()) };
        // What is no socket the kernel refuses; it is told where that stands in the place of one.
        let covers = self.tree.is_private(status) && status.mode & 0o7777 == 0;
        if is_socket || covers || matches!(refusal.decision.reason, Reason::Rules(_)) {
            return Err(No::Refused(refusal, Errno::EACCES));
        }
        Ok(())
    }
}

/// Whether an address of netlink is the kernel's, or takes one back. The mediator has made the namespace of the socket, and
/// would be let send to others.
fn is_kernel(address: &[u8]) -> bool {
    let (family, rest) = address.split_at_checked(FAMILY).unwrap_or_default();
    match <[u8; FAMILY]>::try_from(family).map(u16::from_ne_bytes).map(i32::from) {
        Ok(libc::AF_UNSPEC) => true,
        // Behind the family and what is not used: the number of a process, and groups.
        Ok(libc::AF_NETLINK) => rest.get(2..10).is_some_and(|numbers| numbers.iter().all(|byte| *byte == 0)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_netlink_only_the_kernel_is_spoken_to() {
        let family = 16_u16.to_ne_bytes();
        let address = |numbers: [u8; 8]| [&family[..], &[9, 9], &numbers].concat();
        assert!(is_kernel(&address([0; 8])));
        assert!(is_kernel(&[0, 0, 1]));
        assert!(!is_kernel(&address([1, 0, 0, 0, 0, 0, 0, 0])));
        assert!(!is_kernel(&address([0, 0, 0, 0, 0, 0, 0, 1])));
        assert!(!is_kernel(&address([0; 8])[..11]));
        assert!(!is_kernel(&[]));
    }
}
