//! Ports that are offered to the machine: a command listens at them itself, since the network is the machine's.

use std::collections::BTreeSet;

use crate::publish::Request;

/// Why a port cannot be offered as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOffered {
    /// Under another number than the command's.
    #[error(
        "cannot publish port {inside} as {outside}: on macOS the command listens at the machine's own port; have it listen at {outside}, or publish {inside}"
    )]
    Renumbered {
        /// The number outside.
        outside: u16,
        /// That of the command.
        inside: u16,
    },
    /// On a certain address.
    #[error(
        "cannot publish port {0} on one address: on macOS the command listens by itself, and a profile knows loopback only; publish {0} alone"
    )]
    Address(u16),
}

/// The ports that a command may listen at because they were asked for.
///
/// # Errors
/// The first that cannot be offered so.
pub fn offered(requests: &[Request]) -> Result<BTreeSet<u16>, NotOffered> {
    requests
        .iter()
        .map(|request| match *request {
            Request { address: Some(_), inside, .. } => Err(NotOffered::Address(inside)),
            Request { outside, inside, .. } if outside != inside => {
                Err(NotOffered::Renumbered { outside, inside })
            }
            Request { inside, .. } => Ok(inside),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_offered_under_its_own_number_on_loopback() {
        for (text, expected) in [
            ("3000", Ok(3000)),
            ("3000:3000", Ok(3000)),
            ("8080:3000", Err(NotOffered::Renumbered { outside: 8080, inside: 3000 })),
            ("127.0.0.1:3000", Err(NotOffered::Address(3000))),
            ("0.0.0.0:3000", Err(NotOffered::Address(3000))),
            ("[::1]:3000:3000", Err(NotOffered::Address(3000))),
        ] {
            let found = offered(&[text.parse().unwrap()]);
            assert_eq!(found, expected.map(|port| BTreeSet::from([port])), "{text}");
        }
    }
}
