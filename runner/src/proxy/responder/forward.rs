//! Questions for services and texts of an allowed name, passed on to the host's nameservers.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long one nameserver may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// What is taken by UDP.
const BY_UDP: u16 = 1232;

/// Asks one nameserver after the other, and keeps of the answer what was asked for.
pub(super) async fn ask(nameservers: Vec<SocketAddr>, query: &Query) -> (ResponseCode, Vec<Record>) {
    for nameserver in nameservers {
        if let Ok(Ok(answer)) = timeout(PATIENCE, ask_one(nameserver, query)).await {
            let asked =
                |record: &Record| [query.query_type(), RecordType::CNAME].contains(&record.record_type());
            let records = answer.answers().iter().filter(|record| asked(record)).cloned().collect();
            return (answer.response_code(), records);
        }
    }
    (ResponseCode::ServFail, Vec::new())
}

async fn ask_one(nameserver: SocketAddr, query: &Query) -> io::Result<Message> {
    // Random keys, which is what makes them different from run to run.
    let id = u16::try_from(RandomState::new().hash_one(query.name().to_ascii()) & 0xffff).unwrap_or(0);
    let mut question = Message::new();
    let mut edns = Edns::new();
    edns.set_max_payload(BY_UDP).set_version(0);
    question
        .set_id(id)
        .set_message_type(MessageType::Query)
        .set_op_code(OpCode::Query)
        .set_recursion_desired(true)
        .add_query(query.clone())
        .set_edns(edns);
    let bytes = question.to_vec().map_err(io::Error::other)?;
    let answer = by_udp(nameserver, &bytes, |answer| is_answer(answer, id, query)).await?;
    if !answer.truncated() {
        return Ok(answer);
    }
    let mut stream = TcpStream::connect(nameserver).await?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), bytes.as_slice()].concat()).await?;
    let mut whole = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut whole).await?;
    let answer = Message::from_vec(&whole).map_err(io::Error::other)?;
    if is_answer(&answer, id, query) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

async fn by_udp(
    nameserver: SocketAddr,
    question: &[u8],
    is_answer: impl Fn(&Message) -> bool,
) -> io::Result<Message> {
    let any: SocketAddr = if nameserver.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(nameserver).await?;
    socket.send(question).await?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match Message::from_vec(buffer.get(..length).unwrap_or(&[])) {
            Ok(answer) if is_answer(&answer) => return Ok(answer),
            // Somebody else's: the right one may still come.
            _ => {}
        }
    }
}

fn is_answer(answer: &Message, id: u16, query: &Query) -> bool {
    answer.id() == id && answer.message_type() == MessageType::Response && answer.queries() == [query.clone()]
}
