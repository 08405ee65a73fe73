//! Every connection that reaches the listener.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::destination::Target;
use super::dial::{Failure, Purpose};
use super::exchange::{self, Route};
use super::refusal::Refusal;
use super::relay;
use super::resolve::NoAddress;
use super::server::{NotAllowed, Server};
use super::socks::{self, Answer, NotAsked};
use super::tunnel::tunnel;
use crate::audit::EventSource;

/// What is read at once of what is said to the proxy first.
const BEGINNING: usize = 2 * 1024;

/// How long somebody who has not shown the credential of the run may keep a connection.
pub(super) const UNKNOWN: Duration = Duration::from_secs(30);

/// Serves one connection, from its first byte to its last.
pub(super) async fn admit(place: &Rc<Server>, client: TcpStream, meant: SocketAddr) {
    if client.set_nodelay(true).is_err() {
        return;
    }
    if meant == SocketAddr::V4(place.proxy) {
        as_proxy(place, client).await;
    } else {
        directly(place, client, meant).await;
    }
}

/// A program that knows of no proxy.
async fn directly(place: &Rc<Server>, client: TcpStream, meant: SocketAddr) {
    match place.open(Target::from(meant), Purpose::Bytes).await {
        Ok((target, opened)) => tunnel(place, client, Vec::new(), target, opened).await,
        Err(_) => relay::reset(client),
    }
}

/// A program that takes this for its proxy: the first byte tells which kind.
async fn as_proxy(place: &Rc<Server>, client: TcpStream) {
    // What a program says first, it mostly says in one piece.
    let mut client = BufReader::with_capacity(BEGINNING, client);
    let first = match known_in_time(place, client.fill_buf()).await {
        Some(Ok(read)) => read.first().copied(),
        _ => return,
    };
    match first {
        None => {}
        Some(4 | 5) => by_socks(place, client).await,
        Some(_) => {
            let (client, read) = taken(client);
            Box::pin(exchange::serve(place, client, &read, Route::Asked)).await;
        }
    }
}

async fn by_socks(place: &Rc<Server>, mut client: BufReader<TcpStream>) {
    let asked = match known_in_time(place, socks::read(&mut client, place.credential.as_ref())).await {
        Some(Ok(asked)) => asked,
        Some(Err(NotAsked::Unknown)) => return place.unknown(),
        Some(Err(NotAsked::Broken(_))) | None => return,
    };
    let (mut client, read) = taken(client);
    let (answer, opened) = match asked.target {
        Ok(target) => match place.open(target, Purpose::Bytes).await {
            Ok(opened) => (Answer::Connected, Some(opened)),
            Err((_, not_opened)) => (answer(&not_opened), None),
        },
        Err((item, problem)) => {
            let refusal = Refusal::closed("connect", item, &problem.to_string());
            place.refused(EventSource::Proxy, &refusal);
            (problem.answer(), None)
        }
    };
    if client.write_all(&socks::answer(asked.version, asked.owed, answer)).await.is_err() {
        return;
    }
    if let Some((target, opened)) = opened {
        tunnel(place, client, read, target, opened).await;
    }
}

/// Waits for what says who somebody is; not for ever where that could be anybody. `None` when it took too long.
async fn known_in_time<T>(place: &Server, read: impl Future<Output = T>) -> Option<T> {
    match place.credential {
        Some(_) => timeout(UNKNOWN, read).await.ok(),
        None => Some(read.await),
    }
}

/// The connection, and what was read of it beyond what was needed.
fn taken(client: BufReader<TcpStream>) -> (TcpStream, Vec<u8>) {
    let read = client.buffer().to_vec();
    (client.into_inner(), read)
}

fn answer(not_opened: &NotAllowed) -> Answer {
    match not_opened {
        NotAllowed::Refused(_) => Answer::Refused,
        NotAllowed::Failed(Failure::Name(NoAddress::NoName)) => Answer::NoHost,
        NotAllowed::Failed(Failure::TimedOut) => Answer::TimedOut,
        NotAllowed::Failed(Failure::Unreachable(error)) => match error.kind() {
            std::io::ErrorKind::ConnectionRefused => Answer::NotAccepted,
            std::io::ErrorKind::HostUnreachable | std::io::ErrorKind::NetworkUnreachable => Answer::NoHost,
            _ => Answer::Failed,
        },
        NotAllowed::Failed(_) => Answer::Failed,
    }
}
