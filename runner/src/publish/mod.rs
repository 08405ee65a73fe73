//! Ports of a sandbox that are offered to the host: listened at outside, connected to with sockets made inside.

mod request;
#[cfg(target_os = "linux")]
mod serve;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

pub use request::{Anywhere, Request};
#[cfg(target_os = "linux")]
pub(crate) use serve::serve;

/// Listeners of the host, and the port inside that each leads to.
#[derive(Debug)]
pub struct Published {
    listeners: Vec<(TcpListener, u16)>,
}

/// Why a port cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Somebody else has it, or nobody may.
    #[error("cannot publish port {port} on {address}: {}", .error.to_string().to_lowercase())]
    Taken {
        /// The port.
        port: u16,
        /// Where.
        address: IpAddr,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// It would be offered to others than this machine.
    #[error("`{address}` is not loopback: others could connect; add `--publish-anywhere` if that is meant")]
    Outside {
        /// Where.
        address: IpAddr,
    },
}

impl Published {
    /// Listens at everything that is asked for: on both addresses of loopback, where no other is named.
    ///
    /// # Errors
    /// Which port cannot be offered, and why.
    pub fn new(requests: &[Request], anywhere: Anywhere) -> Result<Published, PublishError> {
        let mut listeners = Vec::new();
        for request in requests {
            let named = request.address.map(|address| vec![address]);
            let loopback = || vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            for address in named.unwrap_or_else(loopback) {
                if anywhere == Anywhere::Refused && !address.to_canonical().is_loopback() {
                    return Err(PublishError::Outside { address });
                }
                let port = request.outside;
                match TcpListener::bind((address, port)) {
                    Ok(listener) => listeners.push((listener, request.inside)),
                    // A machine without IPv6 has only one of the two.
                    Err(error) if request.address.is_none() && address.is_ipv6() && is_absent(&error) => {}
                    Err(error) => return Err(PublishError::Taken { port, address, error }),
                }
            }
        }
        Ok(Published { listeners })
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Request {
        text.parse().unwrap()
    }

    #[test]
    fn a_port_is_offered_on_loopback_alone_and_once() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let asked = [request(&format!("{free}:80"))];
        let published = Published::new(&asked, Anywhere::Refused).unwrap();
        for (listener, inside) in &published.listeners {
            assert!(listener.local_addr().unwrap().ip().is_loopback());
            assert_eq!(*inside, 80);
        }
        let again = Published::new(&asked, Anywhere::Refused).unwrap_err();
        assert!(
            again.to_string().starts_with(&format!("cannot publish port {free} on 127.0.0.1: ")),
            "{again}"
        );
        for address in ["0.0.0.0", "[::]", "192.0.2.1"] {
            let asked = [request(&format!("{address}:{free}"))];
            let refused = Published::new(&asked, Anywhere::Refused).unwrap_err();
            assert!(matches!(refused, PublishError::Outside { .. }), "{refused}");
        }
    }
}
