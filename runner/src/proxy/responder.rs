//! Answers for names: an address inside for those that may be connected to.

mod forward;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fence_compiler::pattern::{DomainName, PortRange};
use fence_compiler::question::Verdict;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, PTR};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

use super::destination::{Host, Target};
use super::refusal::Refusal;
use super::resolve::NoAddress;
use super::server::Server;
use crate::audit::EventSource;

/// How long an answer may be used again, in seconds.
const KEPT: u32 = 60;
/// The longest question that is read.
const LONGEST: usize = 4096;
/// What is sent by UDP to one who does not say how much he takes, and at most.
const BY_UDP: (u16, u16) = (512, 1232);
/// How long a connection may be silent.
const SILENT: Duration = Duration::from_secs(10);
/// How many questions are answered at once.
const AT_ONCE: usize = 256;

/// Answers what comes by UDP.
pub(super) async fn by_udp(server: Rc<Server>, socket: Rc<UdpSocket>) {
    let busy = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    loop {
        let mut question = vec![0; LONGEST];
        let Ok((length, from)) = socket.recv_from(&mut question).await else {
            // The error of an answer that nobody took, for one.
            sleep(Duration::from_millis(1)).await;
            continue;
        };
        question.truncate(length);
        let Ok(permit) = busy.clone().acquire_owned().await else { return };
        let (server, socket) = (server.clone(), socket.clone());
        tokio::task::spawn_local(async move {
            if let Some(answer) = answer(&server, &question, Way::Udp).await {
                // A client that is gone needs no answer.
                let _ = socket.send_to(&answer, from).await;
            }
            drop(permit);
        });
    }
}

/// Answers what comes by TCP.
pub(super) async fn by_tcp(server: Rc<Server>, listener: TcpListener) {
    let busy = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    loop {
        let Ok(permit) = busy.clone().acquire_owned().await else { return };
        let Ok((client, _)) = listener.accept().await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let server = server.clone();
        tokio::task::spawn_local(async move {
            // A broken connection needs no answer.
            let _ = questions(&server, client).await;
            drop(permit);
        });
    }
}

async fn questions(server: &Server, mut client: TcpStream) -> io::Result<()> {
    loop {
        let length = usize::from(timeout(SILENT, client.read_u16()).await??);
        let mut question = vec![0; length.min(LONGEST)];
        timeout(SILENT, client.read_exact(&mut question)).await??;
        if length > LONGEST {
            return Ok(());
        }
        let Some(answer) = answer(server, &question, Way::Tcp).await else { return Ok(()) };
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        timeout(SILENT, client.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat())).await??;
    }
}

/// By what a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Udp,
    Tcp,
}

/// The answer to a question; `None` if there is nothing to answer to.
pub(super) async fn answer(server: &Server, question: &[u8], way: Way) -> Option<Vec<u8>> {
    let asked = match Message::from_vec(question) {
        Ok(asked) if asked.message_type() == MessageType::Query => asked,
        Ok(_) => return None,
        Err(_) => return malformed(question),
    };
    let mut answer = Message::new();
    answer
        .set_id(asked.id())
        .set_message_type(MessageType::Response)
        .set_op_code(asked.op_code())
        .set_recursion_desired(asked.recursion_desired())
        .set_recursion_available(true)
        .add_queries(asked.queries().to_vec());
    if asked.extensions().is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(BY_UDP.1).set_version(0);
        answer.set_edns(edns);
    }
    let (code, records) = match asked.queries() {
        _ if asked.op_code() != OpCode::Query => (ResponseCode::NotImp, Vec::new()),
        [query] if query.query_class() == DNSClass::IN => records(server, query).await,
        [_] => (ResponseCode::Refused, Vec::new()),
        _ => (ResponseCode::FormErr, Vec::new()),
    };
    answer.set_response_code(code).add_answers(records);
    let bytes = answer.to_vec().ok()?;
    let room = match (way, asked.extensions()) {
        (Way::Tcp, _) => u16::MAX,
        (Way::Udp, Some(edns)) => edns.max_payload().clamp(BY_UDP.0, BY_UDP.1),
        (Way::Udp, None) => BY_UDP.0,
    };
    if bytes.len() <= usize::from(room) { Some(bytes) } else { answer.truncate().to_vec().ok() }
}

/// The answer to what cannot be read, if it is a question at all.
fn malformed(question: &[u8]) -> Option<Vec<u8>> {
    let [high, low, flags, ..] = *question else { return None };
    if question.len() < 12 || flags & 0x80 != 0 {
        return None;
    }
    let id = u16::from_be_bytes([high, low]);
    Message::error_msg(id, OpCode::Query, ResponseCode::FormErr).to_vec().ok()
}

async fn records(server: &Server, query: &Query) -> (ResponseCode, Vec<Record>) {
    let found =
        |data: RData| (ResponseCode::NoError, vec![Record::from_rdata(query.name().clone(), KEPT, data)]);
    let none = (ResponseCode::NoError, Vec::new());
    let kind = query.query_type();
    if kind == RecordType::PTR {
        return match behind(server, query.name()) {
            Some(name) => found(RData::PTR(PTR(name))),
            None => (ResponseCode::NXDomain, Vec::new()),
        };
    }
    let text = query.name().to_ascii();
    let Ok(name) = DomainName::new(&text) else { return (ResponseCode::NXDomain, Vec::new()) };
    if is_own(&name) {
        return match kind {
            RecordType::A => found(RData::A(A(Ipv4Addr::LOCALHOST))),
            RecordType::AAAA => found(RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))),
            _ => none,
        };
    }
    let decision = server.judge().name(&name);
    if decision.verdict == Verdict::Denied {
        // Where the person is asked, that is when it is connected to, and nobody outside learns of the name before.
        if let Some(ports) = server.askable(&name) {
            return match kind {
                RecordType::A => match assigned(server, &name, &ports) {
                    Ok(address) => found(RData::A(A(address))),
                    Err(code) => (code, Vec::new()),
                },
                _ => none,
            };
        }
        server.refused(EventSource::Resolver, &Refusal::name(name.as_str(), decision));
        return (ResponseCode::NXDomain, Vec::new());
    }
    match kind {
        RecordType::A => match address(server, &name).await {
            Ok(address) => found(RData::A(A(address))),
            Err(code) => (code, Vec::new()),
        },
        RecordType::SRV | RecordType::TXT => forward::ask(server.nameservers(), query).await,
        // One family: an address of the other one, or a service binding, would only lead past.
        _ => none,
    }
}

/// The address inside of a name that exists.
async fn address(server: &Server, name: &DomainName) -> Result<Ipv4Addr, ResponseCode> {
    let ports = server.judge().ports(name);
    let bounds = server.askable(name);
    let port = ports.first().map_or(443, |ports| ports.low);
    let target = Target { host: Host::Name(name.clone()), port };
    // A proxy of the host side gets names, so nobody here may know this one.
    if !server.dialer.is_passed_on(&server.judge(), &target) {
        match server.dialer.resolver.addresses(name).await {
            Ok(_) => {}
            Err(NoAddress::NoName) => return Err(ResponseCode::NXDomain),
            Err(NoAddress::Unknown) => return Err(ResponseCode::ServFail),
        }
    }
    assigned(server, name, bounds.as_deref().unwrap_or(&ports))
}

/// The address inside of a name with these ports.
fn assigned(server: &Server, name: &DomainName, ports: &[PortRange]) -> Result<Ipv4Addr, ResponseCode> {
    server.names.borrow_mut().address(name, ports).map_err(|error| {
        let refusal = Refusal::closed("connect", name.as_str().to_owned(), &error.to_string());
        server.refused(EventSource::Resolver, &refusal);
        ResponseCode::ServFail
    })
}

/// Whether a name is the sandbox's own.
fn is_own(name: &DomainName) -> bool {
    let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let host = host.and_then(|name| DomainName::new(&name).ok());
    name.as_str() == "localhost" || name.as_str().ends_with(".localhost") || host.as_ref() == Some(name)
}

/// The name that an address stands for, from its name below `arpa`.
fn behind(server: &Server, reverse: &Name) -> Option<Name> {
    let address = reverse.parse_arpa_name().ok()?.addr();
    if address.is_loopback() {
        return Name::from_ascii("localhost.").ok();
    }
    let IpAddr::V4(address) = address else { return None };
    let names = server.names.borrow();
    Name::from_ascii(format!("{}.", names.name(address)?)).ok()
}

/// The system's nameservers.
pub(super) fn nameservers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let named = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let addresses = named.filter_map(|rest| rest.trim().parse::<IpAddr>().ok());
    addresses.map(|address| SocketAddr::new(address, 53)).collect()
}
