//! What a connection through the proxy costs against a direct one: bytes, and set-up. It prints the ratios.
//!
//! `cargo bench -p fence-sandbox --bench proxy`; everything is on loopback, and each pair is measured in turn.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]
#![cfg_attr(not(target_os = "linux"), allow(unused))]

mod counted;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use counted::counted;
use fence::proxy::{Callers, Inside, Setting, Trusted, Watch, serve};
use fence_compiler::plan::{JudgedNetwork, RESOLVER};
use fence_compiler::policy::Tls;
use fence_compiler::question::Platform;
use fence_compiler::resolve::{Request, resolve};
use fence_compiler::source::{LoadError, Loader, Origin, Reference, Source};
use fence_compiler::world::World;

const BYTES: usize = 1 << 30;
const ROUNDS: usize = 5;
const CONNECTIONS: usize = 2_000;
/// Connections that are kept, and requests on each of them.
const KEPT: usize = 8;
const REQUESTS: usize = 500;

struct Nothing;

impl Loader for Nothing {
    fn load(&self, _: Reference<'_>, _: &Origin) -> Result<Source, LoadError> {
        Err(LoadError::NoDirectory)
    }
}

/// Serves until the process ends.
struct Forever(std::os::unix::net::UnixStream);

impl Watch for Forever {
    fn descriptors(&self) -> std::io::Result<Vec<OwnedFd>> {
        Ok(vec![self.0.try_clone()?.into()])
    }

    fn turn(&mut self) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

fn main() {
    let proxy = proxy();
    let sink = sink();
    let echo = echo();
    let pages = pages();
    for (name, way) in [("socks", Way::Socks), ("connect", Way::Connect), ("http", Way::Http)] {
        let (direct, through) =
            in_turn(ROUNDS, || requested(pages, None), || requested(pages, Some((proxy, way))));
        let rate = |took: Duration| (KEPT * REQUESTS) as f64 / took.as_secs_f64();
        println!(
            "proxy/{name}/requests, {KEPT} connections kept: direct {:.0}/s, through {:.0}/s, ratio {:.2}",
            rate(direct),
            rate(through),
            direct.as_secs_f64() / through.as_secs_f64()
        );
        counted(&format!("proxy/{name}/{} requests", KEPT * REQUESTS), || {
            requested(pages, Some((proxy, way)))
        });
    }
    for (name, way) in [("socks", Way::Socks), ("connect", Way::Connect)] {
        let (direct, through) = in_turn(ROUNDS, || moved(sink, None), || moved(sink, Some((proxy, way))));
        let rate = |took: Duration| BYTES as f64 / took.as_secs_f64() / 1e9;
        println!(
            "proxy/{name}/1GiB: direct {:.2} GB/s, through {:.2} GB/s, ratio {:.2}",
            rate(direct),
            rate(through),
            direct.as_secs_f64() / through.as_secs_f64()
        );
        let (direct, through) =
            in_turn(CONNECTIONS, || set_up(echo, None), || set_up(echo, Some((proxy, way))));
        println!(
            "proxy/{name}/set-up and one byte back: direct {:.0} us, through {:.0} us, more {:.0} us (medians of {CONNECTIONS})",
            direct.as_secs_f64() * 1e6,
            through.as_secs_f64() * 1e6,
            (through.saturating_sub(direct)).as_secs_f64() * 1e6
        );
        counted(&format!("proxy/{name}/set-up and one byte back"), || set_up(echo, Some((proxy, way))));
    }
    std::process::exit(0);
}

/// The medians of two things, measured in turn.
fn in_turn(
    rounds: usize,
    mut one: impl FnMut() -> Duration,
    mut other: impl FnMut() -> Duration,
) -> (Duration, Duration) {
    let (mut ones, mut others): (Vec<Duration>, Vec<Duration>) =
        (0..rounds).map(|_| (one(), other())).unzip();
    ones.sort();
    others.sort();
    (ones[rounds / 2], others[rounds / 2])
}

#[derive(Clone, Copy)]
enum Way {
    Socks,
    Connect,
    /// Requests with whole URLs: nothing is said before them.
    Http,
}

fn connect(to: SocketAddr, by: Option<(SocketAddrV4, Way)>) -> TcpStream {
    let Some((proxy, way)) = by else { return TcpStream::connect(to).unwrap() };
    let mut stream = TcpStream::connect(proxy).unwrap();
    stream.set_nodelay(true).unwrap();
    match way {
        Way::Http => {}
        Way::Socks => {
            // Greeting and request at once, as a program in a hurry may.
            let [high, low] = to.port().to_be_bytes();
            stream.write_all(&[5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, high, low]).unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer[3], 0);
        }
        Way::Connect => {
            // In one piece, as programs write it: `write!` would send each part by itself.
            let request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n\r\n");
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = [0; 19];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200 OK\r\n\r\n");
        }
    }
    stream
}

/// How long it takes to send a gibibyte, until the other side has read it all.
fn moved(to: SocketAddr, by: Option<(SocketAddrV4, Way)>) -> Duration {
    let mut stream = connect(to, by);
    let chunk = vec![7; 1 << 18];
    let started = Instant::now();
    for _ in 0..BYTES / chunk.len() {
        stream.write_all(&chunk).unwrap();
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 1);
    started.elapsed()
}

/// How long it takes to ask for the same page again and again, on some connections at once.
fn requested(to: SocketAddr, by: Option<(SocketAddrV4, Way)>) -> Duration {
    let url = if matches!(by, Some((_, Way::Http))) { format!("http://{to}/") } else { "/".to_owned() };
    let request = format!("GET {url} HTTP/1.1\r\nHost: {to}\r\n\r\n");
    let mut streams: Vec<TcpStream> = (0..KEPT).map(|_| connect(to, by)).collect();
    streams.iter().for_each(|stream| stream.set_nodelay(true).unwrap());
    let started = Instant::now();
    thread::scope(|scope| {
        for stream in &mut streams {
            scope.spawn(|| {
                for _ in 0..REQUESTS {
                    stream.write_all(request.as_bytes()).unwrap();
                    until_the_page_is_there(stream);
                }
            });
        }
    });
    started.elapsed()
}

/// Reads an answer to its end, whatever headers were added on the way.
fn until_the_page_is_there(stream: &mut TcpStream) {
    let (mut buffer, mut length) = ([0; 1024], 0);
    while !buffer[..length].ends_with(b"\r\n\r\npage") {
        let read = stream.read(&mut buffer[length..]).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&buffer[..length]));
        length += read;
    }
}

/// Answers each request with the same page.
fn pages() -> SocketAddr {
    each(|mut stream| {
        let _ = stream.set_nodelay(true);
        let (mut buffer, mut length) = ([0; 1024], 0);
        while let Ok(read @ 1..) = stream.read(&mut buffer[length..]) {
            length += read;
            if buffer[..length].ends_with(b"\r\n\r\n") {
                length = 0;
                if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage").is_err() {
                    break;
                }
            }
        }
    })
}

fn set_up(to: SocketAddr, by: Option<(SocketAddrV4, Way)>) -> Duration {
    let started = Instant::now();
    let mut stream = connect(to, by);
    stream.write_all(&[1]).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    started.elapsed()
}

/// Reads everything, then says so.
fn sink() -> SocketAddr {
    each(|mut stream| {
        let mut buffer = vec![0; 1 << 18];
        while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
        let _ = stream.write_all(&[1]);
    })
}

fn echo() -> SocketAddr {
    each(|mut stream| {
        let mut byte = [0];
        while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
    })
}

fn each(serve: impl Fn(TcpStream) + Copy + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A proxy on a thread of its own, which gives up its rights.
fn proxy() -> SocketAddrV4 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port());
    let inside = Inside {
        listener: listener.into(),
        resolver_udp: UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().into(),
        resolver_tcp: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().into(),
        log: None,
    };
    let text = "fence 1\npolicy bench \"For measuring\"\nallow connect localhost\n".to_owned();
    let origin = Origin::Given("bench".to_owned());
    let mains = vec![Source { origin, name: "bench".to_owned(), text }];
    let setting = Setting {
        policy: resolve(&Request { mains, ..Request::default() }, &Nothing).policy,
        world: World::test_default(Platform::Linux),
        network: JudgedNetwork {
            names: Vec::new(),
            addresses: Vec::new(),
            host_ports: Vec::new(),
            proxy: address,
            resolver: RESOLVER,
            tls: Tls::Strict,
            connect_time: None,
            idle_time: None,
        },
        callers: Callers::default(),
        trusted: Trusted::OfTheHost,
        credential: None,
        asks: None,
    };
    thread::spawn(move || {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let served = serve(setting, inside, &mut |_| {}, &mut Forever(ours));
        drop(theirs);
        served.unwrap();
    });
    address
}
