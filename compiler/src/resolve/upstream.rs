//! The address of a proxy.

use std::net::IpAddr;

use crate::diagnostic::Code;
use crate::pattern::{DomainName, ItemError};

/// The parts of a proxy's address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) scheme: String,
    pub(super) host: String,
    pub(super) port: u16,
}

/// Reads `SCHEME://HOST[:PORT]`, the scheme one of `http`, `https` and `socks5`.
pub(super) fn address(text: &str) -> Result<Address, ItemError> {
    let bad = |message: String| ItemError::new(Code::BadUpstream, 0..text.len(), message);
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(bad(format!("`{text}` is no URL"))
            .help("write for example `http://proxy.example:3128` or `socks5://127.0.0.1:1080`"));
    };
    let default = match scheme {
        "http" => 80,
        "https" => 443,
        "socks5" => 1080,
        other => {
            return Err(bad(format!("`{other}` is no kind of proxy that fence speaks"))
                .help("the kinds are `http`, `https` and `socks5`"));
        }
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#']) {
        return Err(bad("a proxy's address has no path".to_owned()).help("write only the host and the port"));
    }
    if rest.contains('@') {
        return Err(bad("a password does not belong into a policy".to_owned())
            .help("leave out what stands before the `@`; a proxy that needs a password is configured in the caller's environment"));
    }
    let (host, port) = match rest.strip_prefix('[') {
        Some(inner) => match inner.split_once(']') {
            Some((host, after)) => (host, after),
            None => return Err(bad("`[` has no `]` that closes it".to_owned())),
        },
        None => rest.split_at(rest.find(':').unwrap_or(rest.len())),
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default,
        Some(digits) => match digits.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return Err(bad(format!("`{digits}` is no port")).help("a port is a number from 1 to 65535")),
        },
        None => return Err(bad(format!("`{port}` after an address is no port"))),
    };
    let host = match host.parse::<IpAddr>() {
        Ok(address) => address.to_string(),
        Err(_) => DomainName::new(host)
            .map_err(|error| ItemError {
                code: Code::BadUpstream,
                range: 0..text.len(),
                replacement: None,
                ..error
            })?
            .as_str()
            .to_owned(),
    };
    Ok(Address { scheme: scheme.to_owned(), host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_proxies_are_read() {
        for (text, scheme, host, port) in [
            ("http://proxy.example:3128", "http", "proxy.example", 3128),
            ("https://Proxy.Example/", "https", "proxy.example", 443),
            ("socks5://127.0.0.1", "socks5", "127.0.0.1", 1080),
            ("http://[::1]:8080", "http", "::1", 8080),
        ] {
            let expected = Address { scheme: scheme.to_owned(), host: host.to_owned(), port };
            assert_eq!(address(text), Ok(expected), "{text}");
        }
        for text in [
            "proxy:3128",
            "ftp://p",
            "http://",
            "http://a b",
            "http://u:p@h",
            "http://h/x",
            "http://h:0",
            "http://h:x",
            "http://[::1",
        ] {
            assert_eq!(address(text).map_err(|error| error.code), Err(Code::BadUpstream), "{text}");
        }
    }
}
