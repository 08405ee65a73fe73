//! Who serves the network of a sandbox while its command runs.

use std::os::fd::OwnedFd;

use super::Error;
use crate::proxy::{Inside, Watch};

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
}

/// Whether the first process makes sockets while the command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Making {
    /// It makes none.
    Nothing,
    /// It makes them when it is asked.
    OnDemand,
}

/// The sockets that were made inside and handed out.
#[derive(Debug)]
pub struct Sockets {
    /// Those of a network that is judged.
    pub judged: Option<Inside>,
    /// Where further ones are asked for by one byte, and arrive, if that is wanted.
    pub channel: Option<OwnedFd>,
}
