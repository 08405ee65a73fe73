//! The process that serves the connections of a run: its proxy, on a port of the machine's loopback.
//!
//! It reads what the run's programs send, and so it has given up its rights before they start. What it decides, it tells by itself.
//! It ends with the run, and the run ends with it.

use std::ffi::{CStr, CString};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use fence_compiler::lower::environment;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::launch::{self, Attendant, Error, Explicit, Sockets};
use crate::linux::parent::lost;
use crate::linux::sys::process::{self, Readable, Side};
use crate::linux::sys::{self, join, socket};
use crate::proxy::{Credential, Watch};

/// That process, as the one sees it that has started it.
#[derive(Debug)]
pub(super) struct Served {
    pid: i32,
    /// Its other end is the process's: each sees that the other has ended.
    lifeline: Option<OwnedFd>,
    /// Kept, so that no other program gets the port while the run's programs know it.
    _listener: TcpListener,
    /// Where it listens.
    pub(super) at: SocketAddrV4,
    credential: Credential,
}

/// What it says when it serves.
const READY: u8 = b'.';
/// The most that is read of why it does not.
const LONGEST: usize = 2048;

impl Served {
    /// Starts it. The signals that are for the command are blocked already.
    ///
    /// # Errors
    /// There is no port, no credential, or no process.
    pub(super) fn start(attendant: &mut dyn Attendant) -> Result<Served, Error> {
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
        let (lifeline, other_end) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
                .map_err(|errno| failed("making a channel", errno))?;
        match process::fork().map_err(|errno| failed("starting a process", errno))? {
            Side::Parent { pid } => {
                Ok(Served { pid, lifeline: Some(lifeline), _listener: listener, at, credential })
            }
            Side::Child => {
                drop(lifeline);
                let explicit = Explicit { listener: listener.into(), at, credential };
                process::exit(i32::from(serve(attendant, explicit, other_end).is_err()))
            }
        }
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// Why it does not.
    pub(super) fn await_ready(&mut self) -> Result<(), Error> {
        let mut byte = [0];
        match sys::read(self.descriptor(), &mut byte) {
            Ok(1) if byte == [READY] => Ok(()),
            Ok(1) => Err(self.ended(&byte)),
            _ => Err(self.ended(&[])),
        }
    }

    /// What tells that it has ended.
    pub(super) fn descriptor(&self) -> RawFd {
        self.lifeline.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Its number.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Why it has ended before the run: in its own words, which may have begun already, or how.
    pub(super) fn ended(&mut self, begun: &[u8]) -> Error {
        let mut words = begun.to_vec();
        let mut part = [0; 256];
        while words.len() < LONGEST {
            match sys::read(self.descriptor(), &mut part) {
                Ok(read) if read > 0 => words.extend_from_slice(part.get(..read).unwrap_or_default()),
                _ => break,
            }
        }
        let words = String::from_utf8_lossy(&words).into_owned();
        self.lifeline = None;
        process::kill(self.pid, libc::SIGKILL);
        let change = process::wait_for_end(self.pid);
        Error::Serve(if words.is_empty() {
            format!("the process that serves connections was ended by {}; run it again", lost(change))
        } else {
            words
        })
    }

    /// Lets it pass on what was sent and tell what it has to, and waits for that.
    pub(super) fn conclude(mut self) {
        self.lifeline = None;
        let _ = process::wait_for_end(self.pid);
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

impl Drop for Served {
    fn drop(&mut self) {
        if self.lifeline.take().is_some() {
            process::kill(self.pid, libc::SIGKILL);
            let _ = process::wait_for_end(self.pid);
        }
    }
}

fn failed(doing: &str, errno: Errno) -> Error {
    let reason = errno.desc().to_lowercase();
    Error::Serve(format!("cannot serve connections: {doing}: {reason}; nothing was run"))
}

/// What the process does.
fn serve(attendant: &mut dyn Attendant, explicit: Explicit, lifeline: OwnedFd) -> Result<(), ()> {
    let sockets = Sockets { judged: None, channel: None, explicit: Some(explicit) };
    let mut until = Until(lifeline);
    let prepared = join::die_with_parent()
        // Keys of the terminal are for the command.
        .and_then(|()| process::new_session())
        .map_err(|errno| failed("beginning", errno));
    sys::release_standard();
    match prepared.and_then(|()| attendant.attend(sockets, &mut until)) {
        Ok(()) => {
            attendant.conclude();
            Ok(())
        }
        Err(error) => {
            let _ = sys::write(until.0.as_raw_fd(), error.to_string().as_bytes());
            Err(())
        }
    }
}

/// Until the lifeline ends.
struct Until(OwnedFd);

impl Watch for Until {
    /// They are asked for once, when serving begins.
    fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        sys::write(self.0.as_raw_fd(), &[READY])?;
        Ok(vec![self.0.try_clone()?])
    }

    fn turn(&mut self) -> ControlFlow<()> {
        match process::wait_readable([self.0.as_raw_fd()], 0) {
            [Readable::No] => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }
}
