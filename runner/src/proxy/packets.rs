//! Packets that the kernel refused inside, as its log tells of them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use fence_compiler::question::Verdict;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use super::destination::{Host, Target};
use super::refusal::Refusal;
use super::server::Server;
use super::watched::waiting;
use crate::audit::EventSource;

/// What is read at once.
const BUFFER: usize = 16 * 1024;

/// A packet that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) protocol: Protocol,
    pub(super) to: IpAddr,
    /// 0 where the protocol has none.
    pub(super) port: u16,
}

/// What it is a packet of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Tcp,
    Udp,
    Icmp,
    Other(u8),
}

/// Tells of each packet, as long as the log can be read.
pub(super) async fn told(server: Rc<Server>, log: OwnedFd) -> io::Result<()> {
    let log = waiting(log)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let mut ready = log.readable().await?;
        match recv(log.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => {
                for packet in packets(buffer.get(..length).unwrap_or(&[])) {
                    server.refused(EventSource::Kernel, &refusal(&server, packet));
                }
            }
            Err(Errno::EAGAIN) => ready.clear_ready(),
            // There were more than the socket could hold: what is lost is lost.
            Err(Errno::ENOBUFS | Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn refusal(server: &Server, packet: Packet) -> Box<Refusal> {
    let target = Target { host: Host::address(packet.to), port: packet.port };
    let other = |protocol: &str, item: String| {
        Refusal::closed("connect", format!("{protocol} {item}"), "only TCP leads out of a sandbox")
    };
    match packet.protocol {
        Protocol::Tcp => match server.translated(target) {
            Ok(target) => match server.judge().connect(&target) {
                decision if decision.verdict == Verdict::Denied => Refusal::connect(&target, decision),
                _ => Refusal::closed("connect", target.to_string(), "the sandbox's own network refused it"),
            },
            Err(refusal) => refusal,
        },
        Protocol::Udp => other("udp", target.to_string()),
        Protocol::Icmp => other("icmp", packet.to.to_string()),
        Protocol::Other(number) => other(&format!("protocol {number}"), packet.to.to_string()),
    }
}

/// `NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET`
const PACKET: u16 = 4 << 8;
/// `NFULA_PAYLOAD`
const PAYLOAD: u16 = 9;

/// The packets in the messages of a log (`linux/netfilter/nfnetlink_log.h`).
pub(super) fn packets(messages: &[u8]) -> Vec<Packet> {
    let mut found = Vec::new();
    let mut rest = messages;
    while let Some(length) = number32(rest, 0).and_then(|length| usize::try_from(length).ok()) {
        let Some(message) = rest.get(..length).filter(|message| message.len() >= 20) else { break };
        if number16(message, 4) == Some(PACKET) {
            // Behind the header of the message and that of its kind.
            found.extend(attribute(message.get(20..).unwrap_or(&[]), PAYLOAD).and_then(packet));
        }
        rest = rest.get(aligned(length)..).unwrap_or(&[]);
    }
    found
}

/// The value of the first attribute of a type.
fn attribute(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = attributes;
    loop {
        let length = usize::from(number16(rest, 0)?);
        let kind = number16(rest, 2)? & 0x3fff;
        let value = rest.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        rest = rest.get(aligned(length)..)?;
    }
}

fn packet(bytes: &[u8]) -> Option<Packet> {
    let (protocol, to, behind) = match bytes.first()? >> 4 {
        4 => {
            let to: [u8; 4] = bytes.get(16..20)?.try_into().ok()?;
            let length = usize::from(bytes.first()? & 0x0f) * 4;
            (*bytes.get(9)?, IpAddr::V4(Ipv4Addr::from(to)), bytes.get(length..)?)
        }
        6 => {
            let to: [u8; 16] = bytes.get(24..40)?.try_into().ok()?;
            (*bytes.get(6)?, IpAddr::V6(Ipv6Addr::from(to)), bytes.get(40..)?)
        }
        _ => return None,
    };
    let protocol = match protocol {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        1 | 58 => Protocol::Icmp,
        other => Protocol::Other(other),
    };
    let port = match (protocol, behind) {
        (Protocol::Tcp | Protocol::Udp, [_, _, high, low, ..]) => u16::from_be_bytes([*high, *low]),
        _ => 0,
    };
    Some(Packet { protocol, to: to.to_canonical(), port })
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4).max(4)
}

fn number16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn number32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![2, 0, 0, 1];
        for (kind, value) in attributes {
            body.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        let length = u32::try_from(body.len() + 16).unwrap();
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], &body].concat()
    }

    fn v4(protocol: u8, to: [u8; 4], port: u16) -> Vec<u8> {
        let mut bytes = vec![0x45, 0, 0, 40, 0, 0, 0, 0, 64, protocol, 0, 0, 127, 0, 0, 1];
        bytes.extend(to);
        bytes.extend([0x80, 0]);
        bytes.extend(port.to_be_bytes());
        bytes
    }

    #[test]
    fn packets_are_read_out_of_the_messages_of_a_log() {
        let v6 = {
            let mut bytes = vec![0x60, 0, 0, 0, 0, 8, 17, 64];
            bytes.extend([0; 16]);
            bytes.extend("2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
            bytes.extend([0x80, 0, 0, 53]);
            bytes
        };
        let log = [
            message(PACKET, &[(1, &[0; 4]), (10, b"fence\0"), (PAYLOAD, &v4(6, [8, 8, 8, 8], 443))]),
            message(PACKET, &[(PAYLOAD, &v6)]),
            message(PACKET, &[(PAYLOAD, &v4(1, [1, 1, 1, 1], 0))]),
            message(2, &[(PAYLOAD, &v4(6, [9, 9, 9, 9], 1))]),
        ]
        .concat();
        let told: Vec<String> =
            packets(&log).iter().map(|p| format!("{:?} {} {}", p.protocol, p.to, p.port)).collect();
        assert_eq!(told, ["Tcp 8.8.8.8 443", "Udp 2001:db8::1 53", "Icmp 1.1.1.1 0"]);
        for end in 0..log.len() {
            assert!(packets(&log[..end]).len() <= 3);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            packets(&bytes);
        }
    }
}
