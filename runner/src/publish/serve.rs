//! Passing on what connects to an offered port.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixDatagram};
use tokio::sync::Mutex;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::sleep;

use super::Published;
use crate::linux::serving::confine;
use crate::linux::{ask_for_sockets, take_sockets};
use crate::proxy::{Between, raise_files, reset};

/// Serves in a thread of its own, which gives up what it does not need first, until the process ends.
///
/// Through the channel the sandbox's first process hands over sockets of its own network.
///
/// # Errors
/// The thread cannot be started, or cannot give up its rights: nothing is passed on then.
pub(crate) fn serve(published: Published, channel: OwnedFd) -> io::Result<()> {
    raise_files();
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::Builder::new().name("publish".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.and_then(|runtime| {
            confine().map_err(io::Error::other)?;
            Ok(runtime)
        });
        match runtime {
            Ok(runtime) => {
                let _ = ready.send(Ok(()));
                let _ = LocalSet::new().block_on(&runtime, pass_on(published, channel));
            }
            Err(error) => drop(ready.send(Err(error))),
        }
    })?;
    is_ready.recv().unwrap_or_else(|_| Err(io::Error::other("its thread ended")))
}

async fn pass_on(published: Published, channel: OwnedFd) -> io::Result<()> {
    let maker = Rc::new(Maker::new(channel)?);
    let between = Rc::new(Between::new());
    let mut offered = Vec::new();
    for (listener, port) in published.listeners {
        offered.push(spawn_local(accept(listener, port, maker.clone(), between.clone())));
    }
    for each in offered {
        let _ = each.await;
    }
    Ok(())
}

async fn accept(listener: StdListener, port: u16, maker: Rc<Maker>, between: Rc<Between>) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // Out of descriptors or memory, or the client is gone: others may still be served.
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        let (maker, between) = (maker.clone(), between.clone());
        spawn_local(async move {
            // A delay would come on top of that of the two ends themselves.
            let _ = client.set_nodelay(true);
            match connect(&maker, port).await {
                Ok(inside) => {
                    let _ = inside.set_nodelay(true);
                    between.pass(client, inside).await;
                }
                // Nobody listens inside: the client is reset, as if it had connected there.
                Err(_) => reset(client),
            }
        });
    }
}

/// Connects to a port of the sandbox's loopback, by either family.
async fn connect(maker: &Maker, port: u16) -> io::Result<TcpStream> {
    let v4 = maker.connect(IpAddr::V4(Ipv4Addr::LOCALHOST), port).await;
    match v4 {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            maker.connect(IpAddr::V6(Ipv6Addr::LOCALHOST), port).await
        }
        other => other,
    }
}

/// Sockets of the sandbox's network, asked for as they are needed.
struct Maker {
    /// It keeps messages apart, as a socket for datagrams does.
    channel: UnixDatagram,
    made: RefCell<Vec<OwnedFd>>,
    asking: Mutex<()>,
}

impl Maker {
    fn new(channel: OwnedFd) -> io::Result<Maker> {
        let channel = std::os::unix::net::UnixDatagram::from(channel);
        channel.set_nonblocking(true)?;
        let channel = UnixDatagram::from_std(channel)?;
        Ok(Maker { channel, made: RefCell::default(), asking: Mutex::new(()) })
    }

    async fn connect(&self, address: IpAddr, port: u16) -> io::Result<TcpStream> {
        let made = StdStream::from(self.socket().await?);
        made.set_nonblocking(true)?;
        let address = match (made.local_addr()?, address) {
            (SocketAddr::V6(_), IpAddr::V4(v4)) => IpAddr::V6(v4.to_ipv6_mapped()),
            (SocketAddr::V4(_), IpAddr::V6(_)) => return Err(io::ErrorKind::ConnectionRefused.into()),
            (_, address) => address,
        };
        TcpSocket::from_std_stream(made).connect(SocketAddr::new(address, port)).await
    }

    async fn socket(&self) -> io::Result<OwnedFd> {
        let _alone = self.asking.lock().await;
        if let Some(made) = self.made.borrow_mut().pop() {
            return Ok(made);
        }
        ask_for_sockets(self.channel.as_raw_fd())?;
        let take = || take_sockets(self.channel.as_raw_fd());
        let mut taken = self.channel.async_io(Interest::READABLE, take).await?;
        let first = taken.pop().ok_or(io::ErrorKind::ConnectionRefused)?;
        self.made.borrow_mut().append(&mut taken);
        Ok(first)
    }
}
