//! The process that serves the connections of a run, by the same proxy as on Linux.
//!
//! It is fence again, started under a profile of its own (`serving.sb`), since it reads what the run's programs send. It
//! holds two descriptors: its standard input is a channel to the process that started it, by which it hears what to
//! serve and tells what it decided, and whose end is its own; its standard output is the listener.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use fence_compiler::host::Host;
use fence_compiler::lower::values;
use fence_compiler::plan::JudgedNetwork;
use fence_compiler::policy::{Policy, Tls};
use fence_compiler::world::World;
use serde::{Deserialize, Serialize};

use crate::audit::{Event, Told};
use crate::proxy::{self, Callers, Certificates, Credential, Rights, Setting, Summary, Trusted, Watch};

/// The word that fence is started with to serve, and by nobody but itself.
pub const SERVING: &str = "--serve-the-connections-of-a-run";

/// The profile of that process.
pub(super) const PROFILE: &str = include_str!("serving.sb");

/// The parameter of that profile which names fence's own program.
pub(super) const PROGRAM_PARAMETER: &str = "FENCE";

/// The most that is read of what is to be served.
const LONGEST: u64 = 256 * 1024 * 1024;

/// What is to be served: one line on the channel.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) policy: Policy,
    pub(super) host: Host,
    /// The port of the listener.
    pub(super) port: u16,
    pub(super) credential: String,
    /// The caller's variables about proxies.
    pub(super) variables: BTreeMap<String, String>,
    pub(super) trusted: Certificates,
}

/// What is said while it serves: each a line on the channel.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// It serves.
    Ready,
    /// Something was decided.
    Told { event: Box<Event>, remedy: Option<String> },
    /// Nothing is served any more, and this came of it.
    Ended(Summary),
}

/// Serves what the channel says, until it ends: the code to exit with.
#[must_use]
pub fn serve() -> u8 {
    match served() {
        Ok(()) => 0,
        Err(error) => {
            // Whoever started it reads this; nobody else does.
            let _ = writeln!(io::stderr(), "{error}");
            1
        }
    }
}

fn served() -> io::Result<()> {
    let channel = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let listener: OwnedFd = io::stdout().as_fd().try_clone_to_owned()?;
    let order: Order = serde_json::from_slice(&line(&channel)?)?;
    let setting = setting(order)?;
    say(&channel, &Said::Ready)?;
    let mut told = |told: &Told| {
        let Told { event, remedy } = told.clone();
        // Where nobody listens, the channel has ended, and so does this.
        let _ = say(&channel, &Said::Told { event: Box::new(event), remedy });
    };
    let mut until = Until(&channel);
    let summary = proxy::serve_as_proxy(setting, listener, Rights::GivenUp, &mut told, &mut until)
        .map_err(io::Error::other)?;
    say(&channel, &Said::Ended(summary))
}

/// The first line of a stream, and nothing behind it.
fn line(stream: &UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut part = vec![0; 64 * 1024];
    let mut rest = stream.take(LONGEST);
    loop {
        let read = rest.read(&mut part)?;
        line.extend_from_slice(part.get(..read).unwrap_or(&[]));
        if line.last() == Some(&b'\n') {
            return Ok(line);
        }
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn say(mut channel: &UnixStream, said: &Said) -> io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    channel.write_all(&line)
}

fn setting(order: Order) -> io::Result<Setting> {
    let Order { policy, host, port, credential, variables, trusted } = order;
    let credential = Credential::new(&credential).ok_or(io::ErrorKind::InvalidData)?;
    let world = World {
        platform: host.platform,
        variables: values::of(&host, &policy),
        links: BTreeMap::new(),
        hosts: BTreeMap::new(),
        protected: host.protected.clone(),
    };
    // No address stands for a name here: a program that does not ask the proxy connects nowhere.
    let network = JudgedNetwork {
        names: Vec::new(),
        addresses: Vec::new(),
        host_ports: Vec::new(),
        proxy: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port),
        resolver: Ipv4Addr::LOCALHOST,
        tls: policy.tls.unwrap_or(Tls::Strict),
        connect_time: None,
        idle_time: None,
    };
    let callers = Callers::read(|name| variables.get(name).cloned());
    let trusted = Trusted::These(trusted);
    Ok(Setting { policy, world, network, callers, trusted, credential: Some(credential), asks: None })
}

/// Until the channel ends.
struct Until<'a>(&'a UnixStream);

impl Watch for Until<'_> {
    fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        Ok(vec![self.0.try_clone()?.into()])
    }

    fn turn(&mut self) -> ControlFlow<()> {
        let mut channel = self.0;
        match channel.read(&mut [0; 64]) {
            Ok(0) => ControlFlow::Break(()),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}
