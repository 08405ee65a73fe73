//! Patterns of hosts.

use std::fmt;
use std::net::Ipv6Addr;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::{shown, unknown_variable};
use super::variable::{leading_name, lone_dollar};
use super::{DomainName, ItemError, PortRange, Scope, ValuePart, Variable, address};
use crate::diagnostic::Code;

/// A pattern of hosts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostPattern {
    /// `*`: every name; when it closes, every host.
    Any,
    /// This name alone.
    Name(DomainName),
    /// `*.name`: its subdomains at any depth, not itself.
    Below(DomainName),
    /// An address or a block of addresses.
    Block(#[schemars(with = "String")] IpNet),
    /// `localhost`: the host's loopback, 127.0.0.1 and ::1.
    Localhost,
    /// `$NAME`: a name or an address from the caller's environment.
    Environment(String),
}

/// An item of `connect`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ConnectPattern {
    /// The host.
    pub host: HostPattern,
    /// The ports; `None` where none is written, which means every port.
    pub ports: Option<PortRange>,
}

impl HostPattern {
    /// Reads a host without a port.
    ///
    /// # Errors
    /// What makes it no host, with the repair.
    pub fn parse(text: &str, scope: &dyn Scope) -> Result<HostPattern, ItemError> {
        refuse_decoration(text)?;
        let bare = match text.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(|| {
                ItemError::new(Code::BadPort, 0..text.len(), "only a host stands here, without a port")
            })?,
            None => text,
        };
        if bare.contains(':') || bare.len() < text.len() {
            return read_ipv6(bare).map_err(|error| match bare.rsplit_once(':') {
                Some((host, port)) if !host.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => {
                    ItemError::new(Code::BadPort, 0..text.len(), "only a host stands here, without a port")
                        .instead(host)
                }
                _ => error,
            });
        }
        read_host(text, scope)
    }
}

impl ConnectPattern {
    /// Reads `HOST`, `HOST:PORT` or `HOST:LOW-HIGH`.
    ///
    /// # Errors
    /// What makes it no host or no port, with the repair.
    pub fn parse(text: &str, scope: &dyn Scope) -> Result<ConnectPattern, ItemError> {
        refuse_decoration(text)?;
        if let Some(rest) = text.strip_prefix('[') {
            let Some(close) = rest.find(']') else {
                return Err(ItemError::new(Code::BadHost, 0..1, "`[` has no `]` that closes it")
                    .help("an IPv6 address with a port is written `[::1]:443`"));
            };
            let host = read_ipv6(rest.get(..close).unwrap_or("")).map_err(|error| error.moved(1))?;
            let after = rest.get(close + 1..).unwrap_or("");
            let ports = match after.strip_prefix(':') {
                Some(ports) => Some(PortRange::parse(ports, scope).map_err(|error| error.moved(close + 3))?),
                None if after.is_empty() => None,
                None => {
                    return Err(ItemError::new(
                        Code::BadHost,
                        close + 2..text.len(),
                        format!("`{}` after an address is no port", shown(after)),
                    )
                    .help("a port follows a colon: `[::1]:443`"));
                }
            };
            return Ok(ConnectPattern { host, ports });
        }
        match text.find(':') {
            Some(colon) if text.matches(':').count() == 1 => {
                let host = read_host(text.get(..colon).unwrap_or(""), scope).map_err(|mut error| {
                    let ports = text.get(colon..).unwrap_or("");
                    error.replacement = error.replacement.map(|host| format!("{host}{ports}"));
                    error
                })?;
                let ports = PortRange::parse(text.get(colon + 1..).unwrap_or(""), scope)
                    .map_err(|error| with_host(error.moved(colon + 1), text.get(..=colon).unwrap_or("")))?;
                Ok(ConnectPattern { host, ports: Some(ports) })
            }
            Some(_) => Ok(ConnectPattern { host: read_ipv6(text)?, ports: None }),
            None => Ok(ConnectPattern { host: read_host(text, scope)?, ports: None }),
        }
    }
}

/// Makes a port's replacement one of the whole item.
fn with_host(mut error: ItemError, host: &str) -> ItemError {
    error.replacement = error.replacement.map(|ports| format!("{host}{ports}"));
    error
}

/// Refuses what belongs to URLs and not to hosts.
fn refuse_decoration(text: &str) -> Result<(), ItemError> {
    let error = |message: &str| {
        ItemError::new(Code::NotOnlyAHost, 0..text.len(), format!("`{}` {message}", shown(text)))
    };
    if let Some((scheme, rest)) = text.split_once("://") {
        let host = rest.split(['/', '?', '#']).next().unwrap_or("");
        let host = host.rsplit('@').next().unwrap_or("");
        let port = match scheme {
            _ if host.rsplit(']').next().unwrap_or(host).contains(':') => "",
            "http" | "ws" => ":80",
            "https" | "wss" => ":443",
            "ssh" => ":22",
            _ => "",
        };
        let told = error("is a URL, and here stands a host");
        return Err(if host.is_empty() { told } else { told.instead(format!("{host}{port}")) });
    }
    if let Some((_, host)) = text.rsplit_once('@') {
        return Err(error("names a user, and no rule can be about one").instead(host));
    }
    if let Some((address, zone)) = text.split_once('%') {
        let rest = zone.find([']', '/', ':']).and_then(|at| zone.get(at..)).unwrap_or("");
        return Err(
            error("names a zone, which differs from machine to machine").instead(format!("{address}{rest}"))
        );
    }
    if text.contains(['?', '#', '\\']) {
        return Err(
            error("is no host").help("a host is a name, `*.name`, an address, a block, `localhost` or `*`")
        );
    }
    Ok(())
}

fn read_ipv6(text: &str) -> Result<HostPattern, ItemError> {
    if text.contains('/') {
        return read_block(text);
    }
    text.parse::<Ipv6Addr>()
        .map(|address| HostPattern::Block(IpNet::from(std::net::IpAddr::V6(address))))
        .map_err(|_| {
            ItemError::new(Code::BadHost, 0..text.len(), format!("`{}` is no IPv6 address", shown(text)))
                .help("an address with a port is written `[::1]:443`, a range of ports `host:3000-3999`")
        })
}

/// Reads a host that is no IPv6 address.
fn read_host(text: &str, scope: &dyn Scope) -> Result<HostPattern, ItemError> {
    let error = |message: String| ItemError::new(Code::BadHost, 0..text.len(), message);
    if text.is_empty() {
        return Err(error("a host is missing".into())
            .help("write a name, `*.name`, an address, a block, `localhost`, or `*` for every name"));
    }
    if text == "*" {
        return Ok(HostPattern::Any);
    }
    if text.starts_with('$') {
        return read_variable(text, scope);
    }
    if let Some(above) = text.strip_prefix("*.") {
        if above.contains('*') {
            return Err(error(format!("in `{}` only the first part can be `*`", shown(text)))
                .help("`*.name` covers every subdomain of `name`, at any depth"));
        }
        return DomainName::new(above).map(HostPattern::Below).map_err(|error| error.moved(2));
    }
    if text.contains('*') {
        return Err(error(format!(
            "`*` stands alone or as a first part, and `{}` has it elsewhere",
            shown(text)
        ))
        .help("`*.name` covers every subdomain of `name`, at any depth"));
    }
    if text.contains('/') {
        return read_block(text);
    }
    let ascii = Uts46::new()
        .to_ascii(text.as_bytes(), AsciiDenyList::URL, Hyphens::Allow, DnsLength::Ignore)
        .unwrap_or(std::borrow::Cow::Borrowed(text));
    if address::ends_in_number(&ascii) {
        let address = address::read_ipv4(&ascii, text)?;
        return Ok(HostPattern::Block(IpNet::from(std::net::IpAddr::V4(address))));
    }
    let name = DomainName::new(text)?;
    Ok(if name.as_str() == "localhost" { HostPattern::Localhost } else { HostPattern::Name(name) })
}

fn read_block(text: &str) -> Result<HostPattern, ItemError> {
    let (base, length) = text.split_once('/').unwrap_or((text, ""));
    let error = |code, message: String| ItemError::new(code, 0..text.len(), message);
    let address = match base.parse::<std::net::IpAddr>() {
        Ok(address) => address,
        Err(_) if address::ends_in_number(base) => {
            std::net::IpAddr::V4(address::read_ipv4(base, base).map_err(|mut error| {
                error.replacement = error.replacement.map(|address| format!("{address}/{length}"));
                error
            })?)
        }
        Err(_) if base.contains(':') => {
            return Err(error(Code::BadHost, format!("`{}` is no IPv6 address", shown(base))));
        }
        Err(_) => {
            return Err(error(
                Code::NotOnlyAHost,
                format!("`{}` has a path, and here stands a host", shown(text)),
            )
            .help(format!("write `{}`; a request's path belongs to an `http` rule", shown(base))));
        }
    };
    let most: u8 = if address.is_ipv4() { 32 } else { 128 };
    let length = match length.parse::<u8>() {
        Ok(number) if number <= most && number.to_string() == length => number,
        _ => {
            return Err(error(Code::BadBlock, format!("`{}` is no length of a block", shown(length)))
                .help(format!("the length of a block of such addresses is 0 to {most}")));
        }
    };
    let net = IpNet::new(address, length)
        .map_err(|_| error(Code::BadBlock, format!("`{}` is no block of addresses", shown(text))))?;
    if net.trunc().addr() != address {
        return Err(error(Code::BadBlock, format!("`{}` has bits set behind its length", shown(text)))
            .help(format!("for the address alone write `{address}`"))
            .instead(net.trunc().to_string()));
    }
    Ok(HostPattern::Block(net))
}

/// `$NAME` from the caller's environment, or the text of a `let`, which is a name or an address.
fn read_variable(text: &str, scope: &dyn Scope) -> Result<HostPattern, ItemError> {
    let all = 0..text.len();
    let name = leading_name(text.get(1..).unwrap_or(""));
    if name.is_empty() {
        return Err(lone_dollar(0, text.get(1..).unwrap_or("")));
    }
    let value = scope.lookup(name).ok_or_else(|| unknown_variable(name, 0..name.len() + 1, scope))?;
    if name.len() + 1 != text.len() {
        return Err(ItemError::new(
            Code::VariablePlace,
            all,
            format!("`${name}` is only a part of a host here"),
        )
        .help("a variable stands for a whole host"));
    }
    match value.0.as_slice() {
        [ValuePart::Variable(Variable::Environment(name))] => Ok(HostPattern::Environment(name.clone())),
        _ => match value.plain().map(literal_host) {
            Some(Some(host)) => Ok(host),
            _ => Err(ItemError::new(
                Code::VariableValue,
                all,
                format!("the value of `${name}` is neither a host name nor an address"),
            )
            .help("the value of a variable is a name or an address, never a pattern")),
        },
    }
}

/// What the value of a variable stands for as a host: a name or an address; `None` where it is neither.
pub(crate) fn literal_host(text: &str) -> Option<HostPattern> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<std::net::IpAddr>() {
        return Some(HostPattern::Block(IpNet::from(address)));
    }
    let name = DomainName::new(text).ok()?;
    Some(if name.as_str() == "localhost" { HostPattern::Localhost } else { HostPattern::Name(name) })
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::Any => f.write_str("*"),
            HostPattern::Name(name) => write!(f, "{name}"),
            HostPattern::Below(name) => write!(f, "*.{name}"),
            HostPattern::Block(net) if net.prefix_len() == net.max_prefix_len() => {
                write!(f, "{}", net.addr())
            }
            HostPattern::Block(net) => write!(f, "{net}"),
            HostPattern::Localhost => f.write_str("localhost"),
            HostPattern::Environment(name) => write!(f, "${name}"),
        }
    }
}

impl fmt::Display for ConnectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, &self.ports) {
            (host, None) => write!(f, "{host}"),
            (host @ HostPattern::Block(IpNet::V6(_)), Some(ports)) => write!(f, "[{host}]:{ports}"),
            (host, Some(ports)) => write!(f, "{host}:{ports}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::testing::scope;

    fn parse(text: &str) -> Result<ConnectPattern, ItemError> {
        ConnectPattern::parse(text, &scope())
    }

    #[test]
    fn hosts_are_read_into_one_form() {
        for (written, meant) in [
            ("*", "*"),
            ("*:443", "*:443"),
            ("GitHub.com.:22", "github.com:22"),
            ("*.Example.org", "*.example.org"),
            ("localhost:5432", "localhost:5432"),
            ("LOCALHOST.", "localhost"),
            ("169.254.0.0/16", "169.254.0.0/16"),
            ("10.0.0.0/8:80-90", "10.0.0.0/8:80-90"),
            ("1.2.3.4/32", "1.2.3.4"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("[::1]:443", "[::1]:443"),
            ("fd00::/8", "fd00::/8"),
            ("[FD00::/8]:1-2", "[fd00::/8]:1-2"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("$db:5432", "db.internal:5432"),
            ("$PGHOST:5432", "$PGHOST:5432"),
        ] {
            let pattern = parse(written).unwrap_or_else(|e| panic!("{written}: {e:?}"));
            assert_eq!(pattern.to_string(), meant);
            assert_eq!(parse(meant).unwrap(), pattern);
        }
    }

    #[test]
    fn what_is_no_host_is_told_with_its_repair() {
        for (text, code, replacement) in [
            ("", Code::BadHost, None),
            ("5432", Code::LegacyAddress, None),
            ("2130706433", Code::LegacyAddress, Some("127.0.0.1")),
            ("127.1", Code::LegacyAddress, Some("127.0.0.1")),
            ("0x7f.1", Code::LegacyAddress, Some("127.0.0.1")),
            ("0x7F000001", Code::LegacyAddress, Some("127.0.0.1")),
            ("0177.0.0.1", Code::LegacyAddress, None),
            ("１27.0.0.1", Code::LegacyAddress, Some("127.0.0.1")),
            ("127.0.0.1.", Code::LegacyAddress, Some("127.0.0.1")),
            ("999.1.1.1", Code::BadHost, None),
            ("1.2.3.4.5", Code::BadHost, None),
            ("a.1", Code::BadHost, None),
            ("h:0", Code::BadPort, None),
            ("h:65536", Code::BadPort, None),
            ("h:9-1", Code::BadPort, Some("h:1-9")),
            ("h:", Code::BadPort, None),
            ("10.0.0.1/8", Code::BadBlock, Some("10.0.0.0/8")),
            ("fd00::1/8", Code::BadBlock, Some("fd00::/8")),
            ("10.0.0.0/33", Code::BadBlock, None),
            ("10.0.0.0/08", Code::BadBlock, None),
            ("10.1/16", Code::LegacyAddress, Some("10.0.0.1/16")),
            ("http://example.org/x", Code::NotOnlyAHost, Some("example.org:80")),
            ("https://u:p@example.org:8443", Code::NotOnlyAHost, Some("example.org:8443")),
            ("https://[::1]", Code::NotOnlyAHost, Some("[::1]:443")),
            ("git@github.com:22", Code::NotOnlyAHost, Some("github.com:22")),
            ("fe80::1%eth0", Code::NotOnlyAHost, Some("fe80::1")),
            ("[fe80::1%eth0]:22", Code::NotOnlyAHost, Some("[fe80::1]:22")),
            ("example.org/x", Code::NotOnlyAHost, None),
            ("a*.example.org", Code::BadHost, None),
            ("*.*.org", Code::BadHost, None),
            ("1::2::3", Code::BadHost, None),
            ("[::1", Code::BadHost, None),
            ("[::1]443", Code::BadHost, None),
            ("a_b..c", Code::BadHost, None),
            ("$nothing", Code::UnknownVariable, None),
            ("$state", Code::VariableValue, None),
            ("$db.x", Code::VariablePlace, None),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.code, error.replacement.as_deref()), (code, replacement), "{text}: {error:?}");
            assert!(error.range.end <= text.len(), "{text}: {error:?}");
            if let Some(replacement) = replacement {
                assert!(parse(replacement).is_ok() || text == "10.1/16", "{replacement}");
            }
        }
        assert_eq!(HostPattern::parse("h:80", &scope()).unwrap_err().replacement.as_deref(), Some("h"));
        assert!(HostPattern::parse("[::1]", &scope()).is_ok());
    }
}
