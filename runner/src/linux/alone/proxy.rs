//! The proxy of a run: on a port of the machine's loopback, for whoever shows the run's credential.

use std::ffi::{CStr, CString};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};

use fence_compiler::lower::environment;
use nix::errno::Errno;

use crate::launch::{self, Attendant, Error, Explicit, Sockets};
use crate::linux::served::{Served, failed};
use crate::linux::sys::{self, socket};
use crate::proxy::Credential;

/// The proxy, as the process sees it that has started the one that serves it.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) served: Served,
    /// Kept, so that no other program gets the port while the run's programs know it.
    _listener: TcpListener,
    /// Where it listens.
    pub(super) at: SocketAddrV4,
    credential: Credential,
}

impl Proxy {
    /// Starts to serve it. The signals that are for the command are blocked already.
    ///
    /// # Errors
    /// There is no port, no credential, or no process.
    pub(super) fn start(attendant: &mut dyn Attendant) -> Result<Proxy, Error> {
        let any = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
        let listener = socket::listen_at(any).map(sys::owned).map_err(|errno| failed("listening", errno))?;
        let listener = TcpListener::from(listener);
        let at = match listener.local_addr() {
            Ok(SocketAddr::V4(at)) => at,
            _ => return Err(failed("listening", Errno::EADDRNOTAVAIL)),
        };
        let credential = Credential::fresh().map_err(|error| {
            Error::Serve(format!("cannot serve connections: making a credential: {error}"))
        })?;
        let handed = listener.try_clone().map_err(|_| failed("listening", Errno::EMFILE))?;
        let explicit = Explicit { listener: handed.into(), at, credential: credential.clone() };
        let served = Served::start(attendant, |attendant, watch| {
            attendant.attend(Sockets { judged: None, channel: None, explicit: Some(explicit) }, watch)
        })?;
        Ok(Proxy { served, _listener: listener, at, credential })
    }

    /// The command, with what only the run knows in its environment: where the proxy is, and what it asks for. Loopback is reached
    /// through it like everything else.
    pub(super) fn known_to(&self, command: &launch::Command) -> launch::Command {
        let at = SocketAddr::V4(self.at);
        let (http, socks) = (self.credential.url("http", at), self.credential.url("socks5h", at));
        let variables = environment::proxy(&http, &socks);
        let is = |variable: &CStr, name: &str| {
            variable.to_bytes().strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
        };
        let mut command = command.clone();
        command.environment.retain(|known| !variables.iter().any(|(name, _)| is(known, name)));
        let told = variables.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("NO_PROXY"));
        command
            .environment
            .extend(told.filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok()));
        command
    }
}
