//! What a connection that reached the listener was meant for.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;

/// Knows where accepted connections were meant to go.
pub(super) trait Origins {
    /// The address and port that the program connected to.
    fn of(&self, accepted: &TcpStream) -> io::Result<SocketAddr>;
}

/// Every connection was meant for the listener itself: whoever makes one takes it for a proxy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listener(pub(super) SocketAddr);

impl Origins for Listener {
    fn of(&self, _: &TcpStream) -> io::Result<SocketAddr> {
        Ok(self.0)
    }
}

/// The kernel's own knowledge: what its address translation replaced, or, where nothing was replaced, what the
/// connection is bound to.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel;

#[cfg(target_os = "linux")]
impl Origins for Kernel {
    fn of(&self, accepted: &TcpStream) -> io::Result<SocketAddr> {
        use std::net::{SocketAddrV4, SocketAddrV6};

        use nix::sys::socket::{getsockopt, sockopt};

        let bound = accepted.local_addr()?;
        let replaced = match bound {
            SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_none() => {
                getsockopt(accepted, sockopt::Ip6tOriginalDst).map(|found| {
                    let address = SocketAddrV6::new(
                        found.sin6_addr.s6_addr.into(),
                        u16::from_be(found.sin6_port),
                        0,
                        0,
                    );
                    SocketAddr::V6(address)
                })
            }
            _ => getsockopt(accepted, sockopt::OriginalDst).map(|found| {
                let address = u32::from_be(found.sin_addr.s_addr).into();
                SocketAddr::V4(SocketAddrV4::new(address, u16::from_be(found.sin_port)))
            }),
        };
        let meant = replaced.unwrap_or(bound);
        Ok(SocketAddr::new(meant.ip().to_canonical(), meant.port()))
    }
}
