//! The readers of what a sandbox sends, for fuzzing.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use fence_compiler::pattern::PortRange;
use fence_compiler::plan::{JudgedNetwork, NameBlock, PROXY, RESOLVER};
use fence_compiler::policy::Tls;
use fence_compiler::question::Platform;
use fence_compiler::world::World;

use super::destination::Target;
use super::requests::{Requests, Step};
use super::resolve::Source;
use super::server::Server;
use super::{Callers, Setting, Trusted, hello, opening, packets, responder, socks};

/// Requests of HTTP: whole and byte by byte, the same passes.
pub fn requests(bytes: &[u8]) {
    let whole = passed([bytes].into_iter());
    let each = passed(bytes.chunks(1));
    assert_eq!(whole, each);
    opening::opening(bytes);
}

fn passed<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Option<&'static str>) {
    let (mut requests, mut out) = (Requests::new(&[]), Vec::new());
    for piece in pieces {
        requests.add(piece);
        loop {
            match requests.step() {
                Ok(Step::Take) => {
                    let checked = requests.checked().to_vec();
                    requests.take(checked.len());
                    out.extend(checked);
                }
                Ok(Step::Read) => break,
                Ok(Step::Wait | Step::End) => return (out, requests.fault().map(|(_, fault)| fault.0)),
                Err(fault) => return (out, Some(fault.0)),
            }
        }
    }
    (out, None)
}

/// A request of SOCKS.
pub fn socks(bytes: &[u8]) {
    let mut stream = tokio::io::BufReader::new(tokio::io::join(bytes, tokio::io::sink()));
    if let Poll::Ready(Ok(asked)) = now(socks::read(&mut stream, None))
        && let Ok(target) = asked.target
    {
        // It is in the one form that is compared.
        assert_eq!(Target::read(&target.to_string(), None), Ok(target));
    }
}

/// The beginning of a TLS connection.
pub fn hello(bytes: &[u8]) {
    hello::read(bytes);
}

/// A question for a name.
pub fn names(bytes: &[u8]) {
    thread_local! {
        static SERVER: Server = server();
    }
    SERVER.with(|server| {
        if let Poll::Ready(Some(answer)) = now(responder::answer(server, bytes, responder::Way::Udp)) {
            assert!(answer.len() <= 1232);
        }
    });
}

/// Messages of the kernel's log of packets.
pub fn log(bytes: &[u8]) {
    packets::packets(bytes);
}

fn server() -> Server {
    let network = JudgedNetwork {
        names: vec![NameBlock {
            block: ipnet::Ipv4Net::new_assert([198, 19, 0, 0].into(), 20),
            ports: vec![PortRange::ALL],
        }],
        addresses: Vec::new(),
        host_ports: Vec::new(),
        proxy: PROXY,
        resolver: RESOLVER,
        tls: Tls::Strict,
        connect_time: None,
        idle_time: None,
    };
    let policy = super::testing::policy("allow connect *.example");
    let world = World::test_default(Platform::Linux);
    let setting = Setting {
        policy,
        world,
        network,
        callers: Callers::default(),
        trusted: Trusted::OfTheHost,
        credential: None,
        asks: None,
    };
    let hosts = [("a.example".to_owned(), vec![std::net::Ipv4Addr::LOCALHOST.into()])];
    Server::new(setting, Source::Table(hosts.into(), Vec::new())).unwrap()
}

/// What is there without waiting.
fn now<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).as_mut().poll(&mut Context::from_waker(Waker::noop()))
}
