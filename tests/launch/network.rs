//! A network that is judged: what of it comes to the listener, what the kernel refuses, and what stays inside.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::ops::ControlFlow;
use std::os::fd::AsFd;

use fence::launch::{Attendant, Error, Making, Sockets};
use fence::proxy::Watch;
use fence_compiler::pattern::PortRange;
use fence_compiler::plan::{AddressBlock, JudgedNetwork, LinuxPlan, NameBlock, NetworkPlan, PROXY, RESOLVER};
use fence_compiler::policy::Tls;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt};

use crate::Case;
use crate::world::World;

pub const CASES: &[Case] = &[
    ("what may be allowed comes to the listener with what was meant", meant),
    ("what no rule allows is refused before connect returns", refused),
    ("loopback stays the sandbox's own but for the ports of the host", loopback),
    ("datagrams go to the resolver and to nobody else", datagrams),
    ("nobody inside listens in the place of fence", places),
];

/// Says to each connection what it was meant for, and to each question what it was.
pub struct Says;

impl Attendant for Says {
    fn making(&self) -> Making {
        Making::Nothing
    }

    fn attend(&mut self, sockets: Sockets, watch: &mut dyn Watch) -> Result<(), Error> {
        let judged = sockets.judged.unwrap();
        let (listener, names) = (TcpListener::from(judged.listener), TcpListener::from(judged.resolver_tcp));
        let questions = UdpSocket::from(judged.resolver_udp);
        std::thread::spawn(move || listener.incoming().for_each(|accepted| answer(accepted.unwrap())));
        std::thread::spawn(move || names.incoming().for_each(|accepted| answer(accepted.unwrap())));
        std::thread::spawn(move || {
            let mut text = [0; 100];
            while let Ok((count, from)) = questions.recv_from(&mut text) {
                let _ = questions.send_to(&[b"answer to ", &text[..count]].concat(), from);
            }
        });
        let descriptors = watch.descriptors().unwrap();
        loop {
            let waited = descriptors.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
            let mut waited: Vec<PollFd<'_>> = waited.collect();
            poll(&mut waited, PollTimeout::NONE).unwrap();
            if watch.turn() == ControlFlow::Break(()) {
                return Ok(());
            }
        }
    }
}

fn answer(mut accepted: TcpStream) {
    let bound = accepted.local_addr().unwrap();
    let meant = match bound.ip().to_canonical() {
        IpAddr::V4(_) => getsockopt(&accepted, sockopt::OriginalDst).map(|v4| {
            SocketAddr::from(SocketAddrV4::new(
                u32::from_be(v4.sin_addr.s_addr).into(),
                u16::from_be(v4.sin_port),
            ))
        }),
        IpAddr::V6(_) => getsockopt(&accepted, sockopt::Ip6tOriginalDst)
            .map(|v6| SocketAddr::new(IpAddr::V6(v6.sin6_addr.s6_addr.into()), u16::from_be(v6.sin6_port))),
    };
    // In one piece, which a program reads at once.
    let _ = accepted.write_all(format!("meant {}", meant.unwrap_or(bound)).as_bytes());
    let _ = accepted.shutdown(std::net::Shutdown::Write);
    let _ = accepted.read(&mut [0; 10]);
}

fn ports(low: u16, high: u16) -> PortRange {
    PortRange { low, high }
}

fn plan(world: &World) -> LinuxPlan {
    let names = |block: &str, ports| NameBlock { block: block.parse().unwrap(), ports };
    let addresses = |block: &str, ports| AddressBlock { block: block.parse().unwrap(), ports };
    let network = JudgedNetwork {
        names: vec![
            names("198.18.16.0/20", vec![ports(443, 443), ports(8000, 8100)]),
            names("198.18.32.0/20", vec![PortRange::ALL]),
        ],
        addresses: vec![
            addresses("192.0.2.0/24", vec![ports(22, 22)]),
            addresses("2001:db8::/32", vec![ports(443, 443)]),
        ],
        host_ports: vec![ports(5432, 5432), ports(6000, 6001)],
        proxy: PROXY,
        resolver: RESOLVER,
        tls: Tls::Strict,
        connect_time: None,
        idle_time: None,
    };
    LinuxPlan { network: NetworkPlan::Judged(network), ..world.plan() }
}

const PYTHON: &str = r#"
import errno, os, socket, sys, threading
def outcome(do):
    try: return do()
    except OSError as error: return errno.errorcode.get(error.errno, str(error))
def tcp(host, port):
    def do():
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        made = socket.socket(family); made.settimeout(10); made.connect((host, port))
        text = made.recv(100).decode(); made.close(); return text
    return outcome(do)
def udp(host, port, connected=True):
    def do():
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_DGRAM); made.settimeout(10)
        if connected: made.connect((host, port)); made.send(b'q'); return made.recv(100).decode()
        made.sendto(b'q', (host, port)); text, source = made.recvfrom(100)
        assert source[0] == host, source
        return text.decode()
    return outcome(do)
def serve(family, host, port, text):
    made = socket.socket(family); made.bind((host, port)); made.listen(9)
    def go():
        while True:
            accepted, _ = made.accept(); accepted.sendall(text); accepted.close()
    threading.Thread(target=go, daemon=True).start()
def check(*pairs):
    wrong = [f'{what}: {found!r}, not {expected!r}' for what, found, expected in pairs if found != expected]
    print('\n'.join(wrong) or 'fine')
"#;

fn python(world: &World, text: &str) {
    if !std::path::Path::new("/usr/bin/python3").exists() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "/usr/bin/python3 is missing");
        return println!("skipped: there is no /usr/bin/python3");
    }
    world.write("net.py", &format!("{PYTHON}\n{text}"));
    let script = world.workspace.join("net.py");
    let mut launch = world.launch(&plan(world), &["/usr/bin/python3", script.to_str().unwrap()]);
    let ran = crate::world::Ran::new(launch.env("DRIVER_ATTENDS", "1").output().unwrap());
    assert_eq!(ran.out.trim(), "fine", "{ran:?}");
}

fn meant(world: &World) {
    python(
        world,
        r"
check(
  ('a name', tcp('198.18.16.5', 443), 'meant 198.18.16.5:443'),
  ('a range', tcp('198.18.16.5', 8100), 'meant 198.18.16.5:8100'),
  ('every port', tcp('198.18.47.255', 65535), 'meant 198.18.47.255:65535'),
  ('the port of the listener', tcp('198.18.32.1', 1), 'meant 198.18.32.1:1'),
  ('an address', tcp('192.0.2.77', 22), 'meant 192.0.2.77:22'),
  ('a mapped address', tcp('::ffff:192.0.2.77', 22), 'meant 192.0.2.77:22'),
  ('an IPv6 address', tcp('2001:db8::5', 443), 'meant [2001:db8::5]:443'),
  ('the proxy', tcp('198.18.0.2', 3128), 'meant 198.18.0.2:3128'),
)",
    );
}

fn refused(world: &World) {
    python(
        world,
        r"
check(
  ('another port of a name', tcp('198.18.16.5', 80), 'ECONNREFUSED'),
  ('below the range', tcp('198.18.16.5', 7999), 'ECONNREFUSED'),
  ('above the range', tcp('198.18.16.5', 8101), 'ECONNREFUSED'),
  ('an address that stands for nothing', tcp('198.18.48.1', 443), 'ECONNREFUSED'),
  ('another address', tcp('192.0.3.77', 22), 'ECONNREFUSED'),
  ('another port of an address', tcp('192.0.2.77', 23), 'ECONNREFUSED'),
  ('another IPv6 address', tcp('2001:db9::5', 443), 'ECONNREFUSED'),
  ('a private address', tcp('10.0.0.1', 443), 'ECONNREFUSED'),
  ('the metadata of a cloud', tcp('169.254.169.254', 80), 'ECONNREFUSED'),
  ('a mapped address', tcp('::ffff:8.8.8.8', 443), 'ECONNREFUSED'),
  ('the proxy on another port', tcp('198.18.0.2', 3129), 'ECONNREFUSED'),
  ('the listener itself', tcp('127.0.0.1', 1), 'ECONNREFUSED'),
  ('the listener by another address', tcp('127.9.9.9', 1), 'ECONNREFUSED'),
  ('the listener by IPv6', tcp('::1', 1), 'ECONNREFUSED'),
  ('the listener by no address', tcp('0.0.0.0', 1), 'ECONNREFUSED'),
  ('the listener at an outer address', tcp('8.8.8.8', 1), 'ECONNREFUSED'),
)",
    );
}

fn loopback(world: &World) {
    python(
        world,
        r"
serve(socket.AF_INET, '127.0.0.1', 3000, b'own'); serve(socket.AF_INET6, '::1', 3000, b'own six')
serve(socket.AF_INET, '0.0.0.0', 3002, b'own everywhere')
def bind(port, host='0.0.0.0'):
    def do(): made = socket.socket(); made.bind((host, port)); return 'bound'
    return outcome(do)
def reused():
    made = socket.socket(); made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(('127.0.0.1', 5432)); return 'bound'
check(
  ('own', tcp('127.0.0.1', 3000), 'own'),
  ('own by IPv6', tcp('::1', 3000), 'own six'),
  ('own by another address of loopback', tcp('127.0.0.2', 3002), 'own everywhere'),
  ('own by no address', tcp('0.0.0.0', 3002), 'own everywhere'),
  ('nobody', tcp('127.0.0.1', 3001), 'ECONNREFUSED'),
  ('the host', tcp('127.0.0.1', 5432), 'meant 127.0.0.1:5432'),
  ('the host by IPv6', tcp('::1', 6001), 'meant [::1]:6001'),
  ('the host by no address', tcp('0.0.0.0', 6000), 'meant 127.0.0.1:6000'),
  ('a port of the host bound', bind(5432), 'EADDRINUSE'),
  ('a port of the host bound at one address', bind(6001, '127.0.0.1'), 'EADDRINUSE'),
  ('a port of the host bound again', outcome(reused), 'EADDRINUSE'),
  ('another port bound', bind(5433), 'bound'),
  ('the port of the proxy bound', bind(3128), 'bound'),
)",
    );
}

fn datagrams(world: &World) {
    python(
        world,
        r"
def ping():
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP); return 'made'
def raw():
    made = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP); return 'made'
def own():
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); one.bind(('127.0.0.1', 4000)); one.settimeout(10)
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); other.sendto(b'hello', ('127.0.0.1', 4000)); return one.recv(9).decode()
refusals = ('EPERM', 'EACCES', 'ECONNREFUSED', 'EHOSTUNREACH', 'ENETUNREACH')
def shut(what, found): return (what, found if found not in refusals else 'refused', 'refused')
check(
  ('the resolver', udp('198.18.0.1', 53), 'answer to q'),
  ('the resolver, unconnected', udp('198.18.0.1', 53, False), 'answer to q'),
  ('the resolver by TCP', tcp('198.18.0.1', 53), 'meant 198.18.0.1:53'),
  ('own', outcome(own), 'hello'),
  shut('another resolver', udp('8.8.8.8', 53)),
  shut('another resolver, unconnected', udp('8.8.8.8', 53, False)),
  shut('another resolver by IPv6', udp('2001:4860:4860::8888', 53)),
  shut('QUIC to a name', udp('198.18.16.5', 443)),
  shut('QUIC to an address', udp('192.0.2.77', 22, False)),
  shut('QUIC by IPv6', udp('2001:db8::5', 443)),
  shut('the resolver on another port', udp('198.18.0.1', 54)),
  shut('multicast', udp('224.0.0.251', 5353, False)),
  shut('another resolver by TCP', tcp('8.8.8.8', 53)),
  shut('ICMP', outcome(ping)),
  shut('raw', outcome(raw)),
)",
    );
}

fn places(world: &World) {
    python(
        world,
        r"
def bind(kind, host, port, family=socket.AF_INET):
    def do(): made = socket.socket(family, kind); made.bind((host, port)); return 'bound'
    return outcome(do)
check(
  ('the listener', bind(socket.SOCK_STREAM, '127.0.0.1', 1), 'EACCES'),
  ('the resolver', bind(socket.SOCK_DGRAM, '198.18.0.1', 53), 'EACCES'),
  ('a resolver of loopback', bind(socket.SOCK_DGRAM, '127.0.0.1', 53), 'EACCES'),
)
# What is bound at a name's own address gets nothing: every connection there is fence's.
serve(socket.AF_INET, '198.18.16.5', 8080, b'stolen'); serve(socket.AF_INET, '198.18.0.2', 3128, b'stolen')
print(tcp('198.18.16.5', 8080), tcp('198.18.0.2', 3128), file=sys.stderr)
assert tcp('198.18.16.5', 8080) == 'meant 198.18.16.5:8080' and tcp('198.18.0.2', 3128) == 'meant 198.18.0.2:3128'
",
    );
}
