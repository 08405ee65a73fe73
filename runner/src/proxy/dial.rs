//! Connections to the outside: to an address that was checked, or through a proxy of the host side.

mod http;
mod secure;
mod socks;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use fence_compiler::question::Decision;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::destination::{Host, Target};
use super::judge::Judge;
use super::link::Link;
use super::resolve::{self, Resolver};
use super::upstream::{Callers, Kind, Proxy, proxy_for};

pub(super) use http::basic;
pub use secure::Certificates;
pub(super) use secure::Trust;

/// How long one address may take before the next one is tried beside it (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);

/// Makes connections.
#[derive(Debug)]
pub(super) struct Dialer {
    pub(super) resolver: Resolver,
    pub(super) callers: Callers,
    pub(super) trust: Option<Trust>,
    pub(super) limit: Option<Duration>,
}

/// What a connection is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Bytes of any protocol.
    Bytes,
    /// Requests of HTTP: a proxy of the host side is asked for each of them.
    Requests,
}

/// A connection that stands.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) link: Link,
    /// The address that was dialled, where it was dialled from here.
    pub(super) address: Option<IpAddr>,
    /// How a request is written on it.
    pub(super) form: Form,
    /// Who decides about it, where the person has allowed it.
    pub(super) granted: Option<Rc<Judge>>,
}

/// How a request is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// To the server itself: its path.
    Path,
    /// To a proxy: the whole URL, and who asks.
    Whole {
        /// The value of `Proxy-Authorization`.
        login: Option<String>,
    },
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum NotOpened {
    /// The policy allows none of the addresses.
    Refused {
        /// Why.
        decision: Decision,
        /// The addresses.
        found: Vec<IpAddr>,
    },
    /// It may be, and cannot be made.
    Failed(Failure),
}

/// Why a connection cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The name has no address.
    #[error("{0}")]
    Name(#[from] resolve::NoAddress),
    /// The limit of the policy, or that of the system.
    #[error("it took too long to connect")]
    TimedOut,
    /// No address answers.
    #[error("{}", .0.to_string().to_lowercase())]
    Unreachable(io::Error),
    /// The proxy of the host side does not do it.
    #[error("the proxy `{proxy}` of the host side {problem}")]
    Proxy {
        /// Which one.
        proxy: String,
        /// Why not.
        problem: String,
    },
}

impl Dialer {
    /// Resolves, checks and dials a target that the policy allows by its name and port.
    pub(super) async fn open(
        &self,
        judge: &Judge,
        target: &Target,
        purpose: Purpose,
    ) -> Result<Opened, NotOpened> {
        let opened = self.open_in_time(judge, target, purpose);
        match self.limit {
            Some(limit) => timeout(limit, opened).await.unwrap_or(Err(NotOpened::Failed(Failure::TimedOut))),
            None => opened.await,
        }
    }

    /// Whether connections to a target are made by a proxy, to which its name is passed on unresolved.
    pub(super) fn is_passed_on(&self, judge: &Judge, target: &Target) -> bool {
        proxy_for(&judge.policy, &self.callers, target).is_some()
    }

    async fn open_in_time(
        &self,
        judge: &Judge,
        target: &Target,
        purpose: Purpose,
    ) -> Result<Opened, NotOpened> {
        if let Some(proxy) = proxy_for(&judge.policy, &self.callers, target) {
            return self.through(&proxy, target, purpose).await.map_err(NotOpened::Failed);
        }
        let failed = |failure| NotOpened::Failed(failure);
        let found = match &target.host {
            Host::Name(name) => self.resolver.addresses(name).await.map_err(|error| failed(error.into()))?,
            Host::Address(address) => around(*address),
        };
        let allowed = match judge.addresses(target, &found) {
            Ok(allowed) => allowed,
            Err(decision) => return Err(NotOpened::Refused { decision, found }),
        };
        let stream = dial(&allowed, target.port).await.map_err(failed)?;
        let address = stream.peer_addr().ok().map(|peer| peer.ip().to_canonical());
        Ok(Opened { link: Link::Plain(stream), address, form: Form::Path, granted: None })
    }

    /// Asks a proxy for a connection.
    async fn through(&self, proxy: &Proxy, target: &Target, purpose: Purpose) -> Result<Opened, Failure> {
        let told = format!("{}:{}", proxy.host, proxy.port);
        let failure = |problem: String| Failure::Proxy { proxy: told.clone(), problem };
        let unreachable = |error: Failure| failure(format!("cannot be reached: {error}"));
        let addresses = match Host::read(&proxy.host) {
            Ok(Host::Address(address)) => vec![address],
            Ok(Host::Name(name)) => {
                self.resolver.addresses(&name).await.map_err(|error| unreachable(error.into()))?
            }
            Err(error) => return Err(failure(format!("has no address: {error}"))),
        };
        let stream = dial(&addresses, proxy.port).await.map_err(unreachable)?;
        let mut link = match proxy.kind {
            Kind::Https => {
                let trust = self
                    .trust
                    .as_ref()
                    .ok_or_else(|| failure("speaks TLS, and no certificate is trusted here".to_owned()))?;
                trust
                    .secure(stream, &proxy.host)
                    .await
                    .map_err(|error| failure(format!("is not trusted: {error}")))?
            }
            Kind::Http | Kind::Socks5 => Link::Plain(stream),
        };
        let login = proxy.login.as_ref();
        let form = match (proxy.kind, purpose) {
            (Kind::Socks5, _) => {
                socks::connect(&mut link, target, login).await.map_err(failure)?;
                Form::Path
            }
            (Kind::Http | Kind::Https, Purpose::Requests) => Form::Whole { login: login.map(http::basic) },
            (Kind::Http | Kind::Https, Purpose::Bytes) => {
                http::connect(&mut link, target, login).await.map_err(failure)?;
                Form::Path
            }
        };
        Ok(Opened { link, address: None, form, granted: None })
    }
}

/// The host's loopback is one place with two addresses; any other address is only itself.
fn around(address: IpAddr) -> Vec<IpAddr> {
    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
    match address {
        V4 => vec![V4, V6],
        V6 => vec![V6, V4],
        other => vec![other],
    }
}

/// Connects to one of the addresses, the first that answers.
async fn dial(addresses: &[IpAddr], port: u16) -> Result<TcpStream, Failure> {
    let mut waiting = in_turn(addresses);
    let mut tried = JoinSet::new();
    let mut last = Failure::Unreachable(io::ErrorKind::AddrNotAvailable.into());
    loop {
        if let Some(address) = waiting.pop_front() {
            if waiting.is_empty() && tried.is_empty() {
                return connect(SocketAddr::new(address, port)).await.map_err(failure);
            }
            tried.spawn_local(connect(SocketAddr::new(address, port)));
        }
        if tried.is_empty() {
            return Err(last);
        }
        tokio::select! {
            biased;
            Some(ended) = tried.join_next() => match ended {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = failure(error),
                Err(_) => {}
            },
            () = sleep(HEAD_START), if !waiting.is_empty() => {}
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn failure(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::TimedOut => Failure::TimedOut,
        _ => Failure::Unreachable(error),
    }
}

/// The addresses, one family after the other in turn, beginning with the first.
fn in_turn(addresses: &[IpAddr]) -> VecDeque<IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (mut these, mut those): (VecDeque<IpAddr>, VecDeque<IpAddr>) =
        addresses.iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut all = VecDeque::with_capacity(addresses.len());
    while !(these.is_empty() && those.is_empty()) {
        all.extend(these.pop_front());
        all.extend(those.pop_front());
    }
    all
}
