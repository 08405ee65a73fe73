//! `[ADDRESS:]HOSTPORT[:PORT]`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// One port that is to be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where on the host; loopback if none is named.
    pub address: Option<IpAddr>,
    /// The port of the host.
    pub outside: u16,
    /// The port inside.
    pub inside: u16,
}

/// Whether a port may be offered on other addresses than those of loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anywhere {
    /// It may.
    Allowed,
    /// It may not.
    Refused,
}

impl FromStr for Request {
    type Err = String;

    fn from_str(text: &str) -> Result<Request, String> {
        let (address, ports) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, ports) = rest.split_once("]:").ok_or("`[` has no `]:` and port behind it")?;
                let address: Ipv6Addr =
                    address.parse().map_err(|_| format!("`{address}` is no IPv6 address"))?;
                (Some(IpAddr::V6(address)), ports)
            }
            None => match text.split_once(':') {
                Some((first, ports)) if first.contains('.') => {
                    let address: Ipv4Addr =
                        first.parse().map_err(|_| format!("`{first}` is no IPv4 address"))?;
                    (Some(IpAddr::V4(address)), ports)
                }
                _ => (None, text),
            },
        };
        let (outside, inside) = ports.split_once(':').unwrap_or((ports, ports));
        Ok(Request { address, outside: port(outside)?, inside: port(inside)? })
    }
}

fn port(text: &str) -> Result<u16, String> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if plain { text.parse().ok().filter(|port| *port > 0) } else { None };
    number.ok_or_else(|| format!("`{text}` is no port: write a number from 1 to 65535"))
}

#[cfg(test)]
mod tests {
    use super::Request;

    #[test]
    fn ports_are_read_with_and_without_an_address() {
        for (text, address, outside, inside) in [
            ("3000", None, 3000, 3000),
            ("8080:3000", None, 8080, 3000),
            ("127.0.0.2:8080", Some("127.0.0.2"), 8080, 8080),
            ("0.0.0.0:80:3000", Some("0.0.0.0"), 80, 3000),
            ("[::1]:80:3000", Some("::1"), 80, 3000),
        ] {
            let request: Request = text.parse().unwrap();
            let expected = Request { address: address.map(|text| text.parse().unwrap()), outside, inside };
            assert_eq!(request, expected, "{text}");
        }
        for text in
            ["", "0", "65536", "a", "1:2:3", "1.2.3:4", "[::1]", "[::1]80", "[x]:1", "+1", " 1", "1:", ":1"]
        {
            assert!(text.parse::<Request>().is_err(), "{text}");
        }
    }
}
