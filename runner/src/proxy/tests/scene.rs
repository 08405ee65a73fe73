//! A server of the proxy with a policy, and servers of the outside.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use fence_compiler::pattern::PortRange;
use fence_compiler::plan::{JudgedNetwork, NameBlock, PROXY, RESOLVER};
use fence_compiler::policy::Tls;
use fence_compiler::question::{Platform, Verdict};
use fence_compiler::world::World;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use super::super::origin::Origins;
use super::super::resolve::Source;
use super::super::server::{Server, accept};
use super::super::testing::policy;
use super::super::{Callers, Setting, Trusted};
use crate::audit::Event;

/// Runs a test that spawns tasks.
pub(super) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        tokio::time::timeout(std::time::Duration::from_secs(60), test).await.expect("the test ends");
    });
}

/// What the next connection is said to have been meant for.
pub(super) struct Told(Cell<SocketAddr>);

impl Origins for Told {
    fn of(&self, _: &TcpStream) -> io::Result<SocketAddr> {
        Ok(self.0.get())
    }
}

pub(super) struct Scene {
    pub(super) server: Rc<Server>,
    pub(super) address: SocketAddr,
    told: Rc<Told>,
}

/// What is not the default of a scene.
#[derive(Default)]
pub(super) struct Given<'a> {
    pub(super) rules: &'a str,
    /// Names and their addresses; `*.example` that are not here do not exist.
    pub(super) hosts: &'a [(&'a str, &'a str)],
    pub(super) nameserver: Option<SocketAddr>,
    pub(super) environment: &'a [(&'a str, &'a str)],
    /// Where the person is asked.
    pub(super) asks: Option<OwnedFd>,
}

impl Scene {
    pub(super) async fn new(given: Given<'_>) -> Scene {
        let network = JudgedNetwork {
            names: vec![NameBlock { block: "198.19.0.0/20".parse().unwrap(), ports: vec![PortRange::ALL] }],
            addresses: Vec::new(),
            host_ports: Vec::new(),
            proxy: PROXY,
            resolver: RESOLVER,
            tls: Tls::Strict,
            connect_time: None,
            idle_time: None,
        };
        let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::new();
        for (name, address) in given.hosts {
            hosts.entry((*name).to_owned()).or_default().push(address.parse().unwrap());
        }
        let environment = given.environment;
        let callers = Callers::read(|name| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        });
        let world = World::test_default(Platform::Linux);
        let setting = Setting {
            policy: policy(given.rules),
            world,
            network,
            callers,
            trusted: Trusted::OfTheHost,
            credential: None,
            asks: given.asks.map(Arc::new),
        };
        let nameservers = given.nameserver.into_iter().collect();
        let server = Rc::new(Server::new(setting, Source::Table(hosts, nameservers)).unwrap());
        let heard = server.clone();
        tokio::task::spawn_local(async move { heard.hear().await });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let told = Rc::new(Told(Cell::new(SocketAddr::V4(PROXY))));
        tokio::task::spawn_local(accept(server.clone(), listener, 10_000, told.clone()));
        Scene { server, address, told }
    }

    /// A scene whose rules allow `a.example` and the host's loopback on a port.
    pub(super) async fn with_port(port: u16, more: &str) -> Scene {
        let rules = format!("allow connect a.example:{port}, 127.0.0.1:{port}\n{more}");
        let hosts = [("a.example", "127.0.0.1"), ("b.example", "127.0.0.1")];
        Scene::new(Given { rules: &rules, hosts: &hosts, ..Given::default() }).await
    }

    /// A connection to the explicit proxy.
    pub(super) async fn to_proxy(&self) -> TcpStream {
        self.told.0.set(SocketAddr::V4(PROXY));
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A connection that was meant for an address.
    pub(super) async fn to(&self, meant: SocketAddr) -> TcpStream {
        self.told.0.set(meant);
        let stream = TcpStream::connect(self.address).await.unwrap();
        // It is asked when the connection is accepted.
        tokio::task::yield_now().await;
        stream
    }

    /// A connection to the address inside of a name.
    pub(super) async fn to_name(&self, name: &str, port: u16) -> TcpStream {
        let name = fence_compiler::pattern::DomainName::new(name).unwrap();
        let ports = self.server.askable(&name).unwrap_or_else(|| self.server.judge().ports(&name));
        let address = self.server.names.borrow_mut().address(&name, &ports).unwrap();
        self.to((address, port).into()).await
    }

    /// What was refused so far.
    pub(super) fn refused(&self) -> Vec<String> {
        self.events().iter().filter(|event| event.verdict == Verdict::Denied).map(Event::told).collect()
    }

    pub(super) fn events(&self) -> Vec<Event> {
        self.server.report.take().into_iter().map(|told| told.event).collect()
    }
}

/// A server of the outside that sends everything back.
pub(super) async fn echo() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::task::spawn_local(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
                let _ = to.shutdown().await;
            });
        }
    });
    port
}

/// A server of the outside that does one thing with each connection.
pub(super) async fn serving<F: Future<Output = ()> + 'static>(
    each: impl Fn(TcpStream) -> F + 'static,
) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::task::spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::task::spawn_local(each(stream));
        }
    });
    port
}

/// A server of HTTP that answers `ok` to each request, and keeps what it was sent.
pub(super) async fn web() -> (u16, Rc<RefCell<Vec<u8>>>) {
    let seen: Rc<RefCell<Vec<u8>>> = Rc::default();
    let kept = seen.clone();
    let port = serving(move |mut stream| {
        let seen = kept.clone();
        async move {
            let mut held = Vec::new();
            while stream.read_buf(&mut held).await.is_ok_and(|read| read > 0) {
                while let Some(length) = whole(&held) {
                    seen.borrow_mut().extend(held.drain(..length));
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                }
            }
            seen.borrow_mut().extend(held);
        }
    })
    .await;
    (port, seen)
}

/// How long the first request is, if all of it is there.
fn whole(bytes: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(bytes);
    let head = text.find("\r\n\r\n")? + 4;
    let lower = text[..head].to_ascii_lowercase();
    if lower.contains("transfer-encoding: chunked") {
        return text[head..]
            .find("0\r\n")
            .and_then(|last| text[head + last..].find("\r\n\r\n").map(|end| head + last + end + 4));
    }
    let length = lower
        .split("content-length: ")
        .nth(1)
        .map_or(0, |rest| rest.split("\r\n").next().unwrap().parse().unwrap());
    (bytes.len() >= head + length).then_some(head + length)
}

/// Everything that comes until the end, or until it breaks.
pub(super) async fn all(stream: &mut TcpStream) -> (String, Option<io::ErrorKind>) {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes).await;
    (String::from_utf8_lossy(&bytes).into_owned(), ended.err().map(|error| error.kind()))
}
