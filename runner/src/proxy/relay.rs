//! Bytes that pass between two connections.
//!
//! On Linux, those between plain sockets never come into this process: see `splice.rs`.

#[cfg_attr(not(target_os = "linux"), path = "relay/copy.rs")]
mod splice;

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::limits::Silence;
use super::link::Link;
use super::unsent::keep_little_unsent;

pub(super) use splice::Pipes;

/// What is copied at once where bytes cannot be spliced.
const BUFFER: usize = 16 * 1024;

/// How one direction ended.
type Ended = io::Result<()>;

/// Lets bytes pass in both directions until both have ended, each closing the other's half.
///
/// # Errors
/// One of the connections broke, or was silent for too long: the other one is reset.
pub(super) async fn relay(
    client: TcpStream,
    link: Link,
    pipes: &Pipes,
    silence: &Silence,
    ending: &Ending,
) -> Ended {
    keep_little_unsent(&client);
    let passed = match link {
        Link::Plain(upstream) => {
            keep_little_unsent(&upstream);
            let passed = both(
                splice::all(&client, &upstream, pipes, silence),
                splice::all(&upstream, &client, pipes, silence),
                silence,
                ending,
            )
            .await;
            if passed.is_err() {
                reset(upstream);
            }
            passed
        }
        Link::Secure(_) => {
            let (mut from_link, mut to_link) = tokio::io::split(link);
            let (mut from_client, mut to_client) = client.into_split();
            let passed = both(
                copy_all(&mut from_client, &mut to_link, silence),
                copy_all(&mut from_link, &mut to_client, silence),
                silence,
                ending,
            )
            .await;
            return match from_client.reunite(to_client) {
                Ok(client) if passed.is_err() => {
                    reset(client);
                    passed
                }
                _ => passed,
            };
        }
    };
    if passed.is_err() {
        reset(client);
    }
    passed
}

/// Pairs of plain connections, for whoever else passes bytes on.
#[derive(Debug)]
pub(crate) struct Between {
    pipes: Pipes,
    silence: Silence,
    ending: Ending,
}

impl Between {
    pub(crate) fn new() -> Between {
        Between { pipes: Pipes::default(), silence: Silence::new(None), ending: Ending::default() }
    }

    /// Lets bytes pass until both directions have ended; where one connection breaks, the other is reset.
    pub(crate) async fn pass(&self, one: TcpStream, other: TcpStream) {
        // That a connection broke was told to the other side, and nobody else asks.
        let _ = relay(one, Link::Plain(other), &self.pipes, &self.silence, &self.ending).await;
    }
}

/// Ends a connection so that the other side sees it at once, and as an error.
pub(crate) fn reset(stream: TcpStream) {
    // Where this fails, the connection is closed in order instead.
    let _ = stream.set_zero_linger();
}

/// Becomes true when the sandbox is gone.
#[derive(Debug, Default)]
pub(super) struct Ending {
    over: std::cell::Cell<bool>,
    told: tokio::sync::Notify,
}

impl Ending {
    /// The sandbox is gone.
    pub(super) fn begin(&self) {
        self.over.set(true);
        self.told.notify_waiters();
    }

    /// Waits until the sandbox has been gone for some time.
    pub(super) async fn begun_for(&self, time: Duration) {
        self.begun().await;
        tokio::time::sleep(time).await;
    }

    /// Waits until the sandbox is gone.
    pub(super) async fn begun(&self) {
        let told = self.told.notified();
        if !self.over.get() {
            told.await;
        }
    }
}

/// Both directions; when the sandbox is gone, what it had sent is still passed on, and nothing else is waited for.
async fn both(
    outward: impl Future<Output = Ended>,
    inward: impl Future<Output = Ended>,
    silence: &Silence,
    ending: &Ending,
) -> Ended {
    let mut outward = std::pin::pin!(outward);
    let mut inward = std::pin::pin!(inward);
    let (mut sent, mut received) = (false, false);
    while !(sent && received) {
        tokio::select! {
            ended = &mut outward, if !sent => {
                ended?;
                sent = true;
            }
            ended = &mut inward, if !received => {
                ended?;
                received = true;
            }
            () = ending.begun(), if sent => return Ok(()),
            () = silence.too_long() => return Err(io::ErrorKind::TimedOut.into()),
        }
    }
    Ok(())
}

/// From one connection to the other by copying.
async fn copy_between(from: &TcpStream, to: &TcpStream, silence: &Silence) -> Ended {
    let mut buffer = vec![0; BUFFER];
    loop {
        from.readable().await?;
        let read = match from.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        silence.broken();
        write_all(to, buffer.get(..read).unwrap_or(&[])).await?;
        silence.broken();
        tokio::task::consume_budget().await;
    }
    close_half(to);
    Ok(())
}

/// Writes all of it to a shared stream.
pub(super) async fn write_all(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or(&[]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn close_half(to: &TcpStream) {
    // An error means that it is closed already.
    let _ = shutdown(to.as_raw_fd(), Shutdown::Write);
}

async fn copy_all(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    silence: &Silence,
) -> Ended {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        silence.broken();
        to.write_all(buffer.get(..read).unwrap_or(&[])).await?;
        to.flush().await?;
        silence.broken();
    }
    // An error means that it is closed already.
    let _ = to.shutdown().await;
    Ok(())
}
