//! The connections of a run: the process that serves them, and who makes them.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;

use super::proxy::Proxy;
use crate::launch::{Arbiter, Attendant, Error};
use crate::linux::mediator::connector::Connector;
use crate::linux::outside::Outside;
use crate::linux::parent::channel;
use crate::linux::sys::process::{self, Readable, Side};
use crate::linux::sys::{file, join, notice, socket};
use crate::linux::unobservable;

/// Why nobody can make the connections of a command here; `None` if somebody can. What a container's own filter and the system's
/// security modules refuse, only trying tells.
pub(super) fn unanswered() -> Option<String> {
    static SEEN: u8 = 1;

    if let Some(why) = unobservable() {
        return Some(why);
    }
    let refused = |what: &str, errno: Errno| {
        let reason = errno.desc().to_lowercase();
        Some(format!(
            "fence may not look at what it starts ({what}: {reason}); in a container, `CAP_SYS_PTRACE` or another filter lets it"
        ))
    };
    let pid = match process::fork() {
        Ok(Side::Parent { pid }) => pid,
        Ok(Side::Child) => {
            let _ = join::die_with_parent();
            loop {
                process::wait_readable([-1], -1);
            }
        }
        Err(errno) => return refused("fork", errno),
    };
    let mut byte = [0];
    // It lies where it lies here.
    let read = notice::read_memory(pid, (&raw const SEEN) as u64, &mut byte);
    let taken = file::take(pid, || Ok(pid), 2);
    process::kill(pid, libc::SIGKILL);
    let _ = process::wait_for_end(pid);
    match (read, taken) {
        (Err(errno), _) => refused("process_vm_readv", errno),
        (_, Err(errno)) if errno != Errno::EBADF => refused("pidfd_getfd", errno),
        _ => None,
    }
}

fn cannot_answer(errno: Errno) -> Error {
    let reason = errno.desc().to_lowercase();
    Error::Serve(format!("the connections of the command cannot be made: {reason}; see `fence doctor`"))
}

/// What is there beside the command.
pub(super) struct Network<'a> {
    pub(super) proxy: Proxy,
    connector: Connector<'a>,
    /// Where the place is handed over where calls are answered; nothing, once it was.
    wire: Option<OwnedFd>,
    /// The command's end of it.
    pub(super) wire_end: OwnedFd,
}

impl<'a> Network<'a> {
    /// Starts to serve. The signals that are for the command are blocked already.
    ///
    /// # Errors
    /// Why nothing can be served.
    pub(super) fn start(
        attendant: &mut dyn Attendant,
        arbiter: &'a mut dyn Arbiter,
    ) -> Result<Network<'a>, Error> {
        let proxy = Proxy::start(attendant)?;
        let (wire, wire_end) = channel()?;
        let connector = Connector::new(arbiter, proxy.at);
        Ok(Network { proxy, connector, wire: Some(wire), wire_end })
    }

    /// Makes connections until the command has ended.
    ///
    /// # Errors
    /// Nobody serves any more: the command is ended then.
    pub(super) fn until_the_end(&mut self, outside: &mut Outside) -> Result<(), Error> {
        let mut served = Ok(());
        loop {
            let [ended, received, timer] = outside.waited();
            let wire = self.wire.as_ref().map_or(-1, AsRawFd::as_raw_fd);
            let (call, serving) = (self.connector.descriptor(), self.proxy.served.descriptor());
            let waited = [ended, received, timer, wire, call, serving];
            let [.., wire, call, serving] = process::wait_readable(waited, self.connector.patience());
            if outside.wait(0).is_break() {
                return served;
            }
            served = served.and(self.proxy.served.hear(serving, outside));
            if wire != Readable::No
                && let Some(wire) = self.wire.take()
                && let Err(errno) = self.listen(&wire)
            {
                served = served.and(Err(cannot_answer(errno)));
                outside.kill();
            }
            self.connector.turn(call);
        }
    }

    fn listen(&mut self, wire: &OwnedFd) -> Result<(), Errno> {
        let listener = socket::take_descriptors(wire.as_raw_fd())?.into_iter().next();
        self.connector.listen(listener.ok_or(Errno::EBADF)?)
    }

    /// Gives up the connections that wait: whoever asked for them is ended, and their descriptors are needed for that.
    pub(super) fn let_go(&mut self) {
        self.connector.let_go();
    }

    /// Lets what was sent be passed on, and tells what was refused.
    pub(super) fn conclude(self) {
        self.proxy.served.conclude();
        self.connector.conclude();
    }
}
