//! The addresses of names, as any program of the host would get them.
//!
//! The system's own resolver is asked (`getaddrinfo`), so `/etc/hosts`, search domains, and whatever else
//! `nsswitch.conf` names count as they do for everybody. It blocks, so it runs on threads of its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::time::Duration;

use fence_compiler::pattern::DomainName;
use tokio::time::Instant;

/// How long an answer is used again: a program resolves a name and connects to it at once, often several times.
const KEPT: Duration = Duration::from_secs(10);
/// How many answers are kept.
const MOST: usize = 512;

/// Asks for addresses.
#[derive(Debug)]
pub(super) struct Resolver {
    kept: RefCell<HashMap<DomainName, (Instant, Vec<IpAddr>)>>,
    pub(super) source: Source,
}

/// Where answers come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// The system.
    System,
    /// A table, and nameservers, for tests.
    #[cfg(any(test, fuzzing))]
    Table(HashMap<String, Vec<IpAddr>>, Vec<std::net::SocketAddr>),
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAddress {
    /// There is no such name, or it has no address.
    #[error("the name does not exist")]
    NoName,
    /// Nobody could say.
    #[error("the name cannot be resolved now")]
    Unknown,
}

impl Resolver {
    pub(super) fn new(source: Source) -> Resolver {
        Resolver { kept: RefCell::default(), source }
    }

    /// The addresses of a name, at least one.
    pub(super) async fn addresses(&self, name: &DomainName) -> Result<Vec<IpAddr>, NoAddress> {
        if name.as_str() == "localhost" {
            return Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]);
        }
        let now = Instant::now();
        if let Some((until, addresses)) = self.kept.borrow().get(name)
            && *until > now
        {
            return Ok(addresses.clone());
        }
        let found = match &self.source {
            Source::System => {
                let asked = name.as_str().to_owned();
                let answer = tokio::task::spawn_blocking(move || system(&asked));
                answer.await.unwrap_or(Err(NoAddress::Unknown))?
            }
            #[cfg(any(test, fuzzing))]
            Source::Table(table, _) => table.get(name.as_str()).cloned().ok_or(NoAddress::NoName)?,
        };
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= MOST {
            kept.retain(|_, (until, _)| *until > now);
        }
        if kept.len() < MOST {
            kept.insert(name.clone(), (Instant::now() + KEPT, found.clone()));
        }
        Ok(found)
    }
}

fn system(name: &str) -> Result<Vec<IpAddr>, NoAddress> {
    match (name, 0).to_socket_addrs() {
        Ok(found) => {
            let mut addresses = Vec::new();
            for address in found.map(|address| address.ip()) {
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            if addresses.is_empty() { Err(NoAddress::NoName) } else { Ok(addresses) }
        }
        Err(error) => Err(if is_temporary(&error) { NoAddress::Unknown } else { NoAddress::NoName }),
    }
}

/// The standard library keeps the resolver's error only as its text.
fn is_temporary(error: &io::Error) -> bool {
    let text = error.to_string();
    ["emporary", "System error", "system error"].iter().any(|part| text.contains(part))
}
