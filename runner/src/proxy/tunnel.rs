//! A connection to one target: what its first bytes say must agree with the name, then they pass.

use std::io;
use std::rc::Rc;

use fence_compiler::policy::{RuleId, Tls};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::destination::Target;
use super::dial::Opened;
use super::exchange::{self, Route};
use super::hello::{self, Hello};
use super::limits::Silence;
use super::link::Link;
use super::opening::{Opening, opening};
use super::refusal::Refusal;
use super::relay::{self, relay};
use super::server::Server;
use crate::audit::EventSource;

/// What is read at once.
const BUFFER: usize = 2 * 1024;

/// Lets a client speak with a target, some of whose bytes were read already.
pub(super) async fn tunnel(
    place: &Rc<Server>,
    client: TcpStream,
    read: Vec<u8>,
    target: Target,
    opened: Opened,
) {
    let silence = Silence::new(place.limits.idle);
    let rules = place.judge().request_rules(&target);
    let mut beginning = Beginning { client, link: opened.link, sent: read, answered: Vec::new() };
    let found = if target.name().is_none() && rules.is_empty() {
        Ok(Found::Bytes)
    } else {
        // Where the sandbox has ended, so have its connections, and what they sent before is still read.
        tokio::select! {
            found = beginning.found() => found,
            () = silence.too_long() => Err(io::ErrorKind::TimedOut.into()),
        }
    };
    let Beginning { client, mut link, sent, answered } = beginning;
    let allowed = match found {
        Ok(Found::Requests) => {
            let opened = Opened { link, ..opened };
            // On the heap: a tunnel of any other protocol is much smaller.
            return Box::pin(exchange::serve(place, client, &sent, Route::Fixed(target, opened))).await;
        }
        Ok(Found::Hello(hello)) => judge_hello(place, &target, &hello, rules),
        Ok(Found::Bytes) if rules.is_empty() => Ok(()),
        Ok(Found::Bytes) => {
            let decision = place.judge().unreadable(rules);
            Err(Refusal::request("*", &target, "", decision))
        }
        Err(_) => return relay::reset(client),
    };
    if let Err(refusal) = allowed {
        place.refused(EventSource::Proxy, &refusal);
        return relay::reset(client);
    }
    let begun = async {
        relay::write_all(&client, &answered).await?;
        link.write_all(&sent).await?;
        link.flush().await
    };
    if begun.await.is_err() {
        return relay::reset(client);
    }
    drop((sent, answered));
    // A broken connection has been reset on the other side, which is all that can be told.
    let _ = relay(client, link, &place.pipes, &silence, &place.ending).await;
}

fn judge_hello(
    place: &Server,
    target: &Target,
    hello: &Hello,
    rules: Vec<RuleId>,
) -> Result<(), Box<Refusal>> {
    if !rules.is_empty() {
        return Err(Refusal::request("*", target, "", place.judge().unreadable(rules)));
    }
    let Some(name) = target.name() else { return Ok(()) };
    let tls = place.judge().policy.tls.unwrap_or(Tls::Strict);
    hello::agrees(hello, name, tls)
        .map_err(|disagrees| Refusal::closed("connect", target.to_string(), &disagrees.to_string()))
}

/// What the beginning of a connection is.
enum Found {
    /// A ClientHello.
    Hello(Hello),
    /// A request.
    Requests,
    /// Anything else, or the target spoke first.
    Bytes,
}

/// A connection whose first bytes are looked at. None has been passed on.
struct Beginning {
    client: TcpStream,
    link: Link,
    sent: Vec<u8>,
    /// What the target said first.
    answered: Vec<u8>,
}

impl Beginning {
    /// Reads until it is clear what this is. Where the target speaks before the client has said a byte, it is none of
    /// the protocols that show a name.
    async fn found(&mut self) -> io::Result<Found> {
        loop {
            match opening(&self.sent) {
                Opening::Tls => match hello::read(&self.sent) {
                    Hello::Incomplete => {}
                    hello => return Ok(Found::Hello(hello)),
                },
                Opening::Http => return Ok(Found::Requests),
                Opening::Opaque => return Ok(Found::Bytes),
                Opening::Undecided => {}
            }
            let silent = self.sent.is_empty();
            self.sent.reserve(BUFFER);
            tokio::select! {
                read = self.client.read_buf(&mut self.sent) => if read? == 0 {
                    return Ok(self.ended());
                },
                answered = answer(&mut self.link), if silent => {
                    self.answered = answered?;
                    return Ok(Found::Bytes);
                }
            }
        }
    }

    /// What it is when no byte follows.
    fn ended(&self) -> Found {
        match opening(&self.sent) {
            Opening::Tls => Found::Hello(Hello::Broken),
            _ => Found::Bytes,
        }
    }
}

/// Waits until the target says something, or ends; what had to be read for that.
async fn answer(link: &mut Link) -> io::Result<Vec<u8>> {
    match link {
        Link::Plain(stream) => stream.peek(&mut [0]).await.map(|_| Vec::new()),
        Link::Secure(stream) => {
            let mut answered = Vec::with_capacity(BUFFER);
            stream.read_buf(&mut answered).await?;
            Ok(answered)
        }
    }
}
