//! The process that serves the connections of a session.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use fence_compiler::pattern::Variable;
use fence_compiler::plan::LinuxPlan;
use fence_compiler::policy::Policy;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::launch::Attendant;
use crate::linux::parent::attend;
use crate::linux::sys;
use crate::linux::sys::process::{self, Readable, Side};
use crate::proxy;

/// The server, as the process that keeps the session sees it.
#[derive(Debug)]
pub(super) struct Server {
    pid: i32,
    /// Its end is the server's.
    lifeline: OwnedFd,
    /// Narrower policies are sent there.
    orders: UnixStream,
}

impl Server {
    /// Starts it. The sockets arrive through the channel; all descriptors but that and these are closed in it.
    pub(super) fn start(
        attendant: &mut dyn Attendant,
        channel: OwnedFd,
        plan: &LinuxPlan,
        kept: &[RawFd],
    ) -> Result<Server, Errno> {
        let (lifeline, other_end) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        let (orders, taken) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        match process::fork()? {
            Side::Parent { pid } => Ok(Server { pid, lifeline, orders: orders.into() }),
            Side::Child => {
                let own = [channel.as_raw_fd(), other_end.as_raw_fd(), taken.as_raw_fd()];
                let _ = process::new_session();
                sys::release_standard();
                let served = sys::close_all_but(own.iter().chain(kept)).is_ok()
                    && attend(attendant, channel, plan, &mut Lifeline(other_end, Some(taken.into()))).is_ok();
                process::exit(i32::from(!served))
            }
        }
    }

    /// Has it decide by another policy, from when this returns.
    pub(super) fn narrow(
        &mut self,
        policy: &Policy,
        values: BTreeMap<Variable, Vec<u8>>,
    ) -> std::io::Result<()> {
        proxy::narrowing::send(&mut self.orders, policy, values)
    }

    /// Has it end, and waits for that.
    pub(super) fn conclude(self) {
        drop(self.lifeline);
        let _ = process::wait_for_end(self.pid);
    }
}

/// Ends the serving when the session's keeper is gone, and knows where that sends narrower policies.
struct Lifeline(OwnedFd, Option<UnixStream>);

impl proxy::Watch for Lifeline {
    fn descriptors(&self) -> std::io::Result<Vec<OwnedFd>> {
        Ok(vec![self.0.try_clone()?])
    }

    fn orders(&mut self) -> Option<UnixStream> {
        self.1.take().filter(|orders| orders.set_nonblocking(true).is_ok())
    }

    fn turn(&mut self) -> ControlFlow<()> {
        match process::wait_readable([self.0.as_raw_fd()], 0) {
            [Readable::No] => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }
}
