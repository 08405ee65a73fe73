//! Who serves the network of a sandbox while its command runs.

use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use super::Error;
use crate::proxy::{Credential, Inside, Watch};

/// Serves what a sandbox's processes connect to.
pub trait Attendant {
    /// Whether it will ask for sockets of the sandbox's network.
    fn making(&self) -> Making;

    /// Serves until the watch breaks. It is called once the sockets are there; the command may run already.
    ///
    /// # Errors
    ///
    /// Why nothing can be served: the sandbox is ended then.
    fn attend(&mut self, sockets: Sockets, watch: &mut dyn Watch) -> Result<(), Error>;

    /// Tells what came of it, where it has served in a process of its own.
    fn conclude(&mut self) {}
}

/// Whether the first process makes sockets while the command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Making {
    /// It makes none.
    Nothing,
    /// It makes them when it is asked.
    OnDemand,
}

/// The sockets that are served.
#[derive(Debug)]
pub struct Sockets {
    /// Those that were made inside, of a network that is judged.
    pub judged: Option<Inside>,
    /// Where further ones are asked for by one byte, and arrive, if that is wanted.
    pub channel: Option<OwnedFd>,
    /// The proxy where there is no network of the sandbox's own.
    pub explicit: Option<Explicit>,
}

/// A proxy that every program of the machine could connect to.
#[derive(Debug)]
pub struct Explicit {
    /// Accepts connections.
    pub listener: OwnedFd,
    /// Where.
    pub at: SocketAddrV4,
    /// What a program of the run shows.
    pub credential: Credential,
}
