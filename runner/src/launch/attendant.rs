//! Who serves the network of a sandbox while its command runs.

use super::Error;
use crate::proxy::{Inside, Watch};

/// Serves what a sandbox's processes connect to.
pub trait Attendant {
    /// Serves until the watch breaks. It is called once the sockets are there; the command may run already.
    ///
    /// # Errors
    ///
    /// Why nothing can be served: the sandbox is ended then.
    fn attend(&mut self, sockets: Sockets, watch: &mut dyn Watch) -> Result<(), Error>;
}

/// The sockets that were made inside and handed out.
#[derive(Debug)]
pub struct Sockets {
    /// Those of a network that is judged.
    pub judged: Option<Inside>,
}
