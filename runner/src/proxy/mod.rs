//! The host side of the network: every connection out of a sandbox is judged here, and made from here.
//!
//! One process, one thread of it, one runtime that is started only when a policy allows connections. All paths into
//! it (a redirected connection, an HTTP proxy's request, SOCKS) come to the same decision: a name or an address and a
//! port, the policy, the addresses that the host resolves the name to, those of them that are allowed, one of which
//! is dialled.

mod asker;
mod credential;
mod destination;
mod dial;
mod door;
mod exchange;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gate;
mod head;
mod hello;
mod judge;
mod limits;
mod link;
mod names;
pub(crate) mod narrowing;
mod opening;
mod origin;
#[cfg(target_os = "linux")]
mod packets;
mod page;
mod refusal;
mod relay;
mod report;
mod requests;
mod resolve;
#[cfg(target_os = "linux")]
mod responder;
mod server;
mod socks;
#[cfg(any(test, fuzzing))]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tunnel;
#[allow(unsafe_code)]
mod unsent;
mod upstream;
#[allow(unsafe_code)]
pub(crate) mod watched;

use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use fence_compiler::plan::JudgedNetwork;
use fence_compiler::policy::Policy;
use fence_compiler::world::World;

use crate::audit::Told;

pub use credential::Credential;
pub use dial::Certificates;
pub(crate) use relay::{Between, reset};
pub use report::{Refused, Summary};
pub(crate) use server::raise_files;
pub use upstream::Callers;

/// What was made inside and handed out.
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct Inside {
    /// Accepts what the sandbox's processes connect to.
    pub listener: OwnedFd,
    /// Gets the questions of their resolvers.
    pub resolver_udp: OwnedFd,
    /// The same by TCP: a listener.
    pub resolver_tcp: OwnedFd,
    /// Tells of packets that were refused inside: a netlink socket bound to the group of the log.
    pub log: Option<OwnedFd>,
}

/// Everything that decides.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The policy.
    pub policy: Policy,
    /// The values of its variables.
    pub world: World,
    /// The addresses inside.
    pub network: JudgedNetwork,
    /// The proxies that the caller's own environment names.
    pub callers: Callers,
    /// The certificates of proxies of the host side that are trusted.
    pub trusted: Trusted,
    /// What a program must show to be served, where others than the sandbox's could ask.
    pub credential: Option<Credential>,
    /// Who is asked before something is refused: where questions are sent to.
    pub asks: Option<Arc<OwnedFd>>,
}

/// Certificates that are trusted.
#[derive(Clone, Debug)]
pub enum Trusted {
    /// The host's own; they are read if they are needed.
    OfTheHost,
    /// These.
    These(Certificates),
}

/// What goes on beside serving, and ends it.
pub trait Watch {
    /// Copies of the descriptors that are waited for.
    ///
    /// # Errors
    /// They cannot be copied.
    fn descriptors(&self) -> std::io::Result<Vec<OwnedFd>>;

    /// Where narrower policies come from while it is served, if they may (`narrowing`).
    fn orders(&mut self) -> Option<UnixStream> {
        None
    }

    /// Handles what is ready at them, without waiting for more; breaks at the end.
    fn turn(&mut self) -> ControlFlow<()>;
}

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} for the network of the sandbox: {error}; see `fence doctor`")]
pub struct ServeError {
    doing: &'static str,
    #[source]
    error: std::io::Error,
}

/// Serves what was made inside until the watch ends, and then until what was sent has been passed on.
///
/// `events` gets each event as it happens; the same one again and again only the first few times.
///
/// # Errors
/// No runtime can be made, or one of the sockets cannot be used. Nothing was served then.
#[cfg(target_os = "linux")]
pub fn serve(
    setting: Setting,
    inside: Inside,
    events: &mut dyn FnMut(&Told),
    watch: &mut dyn Watch,
) -> Result<Summary, ServeError> {
    server::serve(setting, inside, events, watch)
}

/// Whether a process that serves has rights to give up by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// It was started without them.
    GivenUp,
    /// It gives them up before the first byte is read.
    #[cfg(target_os = "linux")]
    ToGiveUp,
}

/// Serves a listener that programs take for their proxy, until the watch ends.
///
/// # Errors
/// No runtime can be made, or the listener cannot be used. Nothing was served then.
pub fn serve_as_proxy(
    setting: Setting,
    listener: OwnedFd,
    rights: Rights,
    events: &mut dyn FnMut(&Told),
    watch: &mut dyn Watch,
) -> Result<Summary, ServeError> {
    server::serve_as_proxy(setting, listener, rights, events, watch)
}

/// Whether a proxy of the host side that speaks TLS may be used, so that certificates are needed.
#[must_use]
pub fn needs_certificates(policy: &Policy, callers: &Callers) -> bool {
    upstream::any_secure(policy, callers)
}
