//! Proxies of the host side: those that a policy names, and the caller's own.

use std::net::IpAddr;

use fence_compiler::pattern::HostPattern;
use fence_compiler::policy::Policy;
use ipnet::IpNet;

use super::destination::{Host, Target};

/// A proxy of the host side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) kind: Kind,
    /// A name or an address.
    pub(super) host: String,
    pub(super) port: u16,
    /// Who asks, for one that wants to know.
    pub(super) login: Option<Login>,
}

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// HTTP.
    Http,
    /// HTTP within TLS.
    Https,
    /// SOCKS5.
    Socks5,
}

/// A user and a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: Vec<u8>,
    pub(super) password: Vec<u8>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

/// What the caller's environment says of proxies.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    http: Option<Proxy>,
    https: Option<Proxy>,
    all: Option<Proxy>,
    except: Vec<Exception>,
    /// What could not be read, for a note to the caller: the variables.
    pub unread: Vec<String>,
}

/// An entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    Everything,
    /// This name and what is below it, on one port or every.
    Name(String, Option<u16>),
    Block(IpNet, Option<u16>),
}

impl Callers {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, and their lower-case forms, which come first, as in
    /// curl.
    #[must_use]
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Callers {
        let mut callers = Callers::default();
        let value = |name: &str| {
            let lower = name.to_ascii_lowercase();
            variable(&lower)
                .filter(|value| !value.is_empty())
                .or_else(|| variable(name))
                .filter(|v| !v.is_empty())
        };
        let mut proxy = |name: &str| {
            let value = value(name)?;
            let read = read_proxy(&value);
            if read.is_none() {
                callers.unread.push(name.to_owned());
            }
            read
        };
        let (http, https, all) = (proxy("HTTP_PROXY"), proxy("HTTPS_PROXY"), proxy("ALL_PROXY"));
        callers.http = http;
        callers.https = https;
        callers.all = all;
        callers.except = value("NO_PROXY").map(|value| read_exceptions(&value)).unwrap_or_default();
        callers
    }

    /// The proxy for a target.
    fn proxy(&self, target: &Target) -> Option<&Proxy> {
        if target.is_loopback() || self.except.iter().any(|exception| exception.covers(target)) {
            return None;
        }
        let own = if target.port == 80 { &self.http } else { &self.https };
        own.as_ref().or(self.all.as_ref())
    }
}

/// The proxy that a connection goes through: the policy's first, then the caller's. The host's own loopback is
/// always dialled from here.
pub(super) fn proxy_for(policy: &Policy, callers: &Callers, target: &Target) -> Option<Proxy> {
    if target.is_loopback() {
        return None;
    }
    let named = policy.upstreams.iter().filter(|upstream| {
        upstream.hosts.is_empty() || upstream.hosts.iter().any(|item| is_host(&item.pattern, target))
    });
    // One for some hosts before one for all.
    let named = named.min_by_key(|upstream| upstream.hosts.is_empty());
    match named {
        Some(upstream) => {
            let kind = kind(&upstream.scheme)?.0;
            Some(Proxy { kind, host: upstream.host.clone(), port: upstream.port, login: None })
        }
        None => callers.proxy(target).cloned(),
    }
}

/// Whether any proxy speaks TLS, so that certificates are needed.
pub(super) fn any_secure(policy: &Policy, callers: &Callers) -> bool {
    let own = [&callers.http, &callers.https, &callers.all];
    policy.upstreams.iter().any(|upstream| upstream.scheme == "https")
        || own.into_iter().flatten().any(|proxy| proxy.kind == Kind::Https)
}

fn is_host(pattern: &HostPattern, target: &Target) -> bool {
    match (pattern, &target.host) {
        (HostPattern::Any, _) => true,
        (HostPattern::Name(name), Host::Name(asked)) => name == asked,
        (HostPattern::Below(name), Host::Name(asked)) => asked.is_below(name),
        (HostPattern::Block(block), Host::Address(address)) => block.contains(address),
        _ => false,
    }
}

impl Exception {
    fn covers(&self, target: &Target) -> bool {
        let port = |named: &Option<u16>| named.is_none_or(|port| port == target.port);
        match (self, &target.host) {
            (Exception::Everything, _) => true,
            (Exception::Name(name, named), Host::Name(asked)) => {
                let asked = asked.as_str();
                let below = asked.strip_suffix(name.as_str());
                port(named) && below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            (Exception::Block(block, named), Host::Address(address)) => {
                port(named) && block.contains(address)
            }
            _ => false,
        }
    }
}

fn read_exceptions(value: &str) -> Vec<Exception> {
    let entries = value.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
    entries.filter_map(read_exception).collect()
}

fn read_exception(entry: &str) -> Option<Exception> {
    if entry == "*" {
        return Some(Exception::Everything);
    }
    if let Ok(block) = entry.parse::<IpNet>() {
        return Some(Exception::Block(block, None));
    }
    if let Ok(address) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(Exception::Block(IpNet::from(address), None));
    }
    let entry = entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.')).unwrap_or(entry);
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse::<u16>().ok()?)),
        None => (entry, None),
    };
    match Host::read(host.trim_matches(['[', ']'])).ok()? {
        Host::Name(name) => Some(Exception::Name(name.as_str().to_owned(), port)),
        Host::Address(address) => Some(Exception::Block(IpNet::from(address), port)),
    }
}

/// Reads `[SCHEME://][USER:PASSWORD@]HOST[:PORT][/]`.
fn read_proxy(value: &str) -> Option<Proxy> {
    let (scheme, rest) = value.split_once("://").unwrap_or(("http", value));
    let (kind, default) = kind(&scheme.to_ascii_lowercase())?;
    let rest = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let (login, host) = match rest.rsplit_once('@') {
        Some((login, host)) => {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            (Some(Login { user: decoded(user), password: decoded(password) }), host)
        }
        None => (None, rest),
    };
    // curl's own default is 1080 for every kind; a port that is written is the rule.
    let target = Target::read(host, Some(default)).ok()?;
    let host = match target.host {
        Host::Name(name) => name.as_str().to_owned(),
        Host::Address(address) => address.to_string(),
    };
    Some(Proxy { kind, host, port: target.port, login })
}

fn kind(scheme: &str) -> Option<(Kind, u16)> {
    match scheme {
        "http" => Some((Kind::Http, 80)),
        "https" => Some((Kind::Https, 443)),
        "socks5" | "socks5h" | "socks" => Some((Kind::Socks5, 1080)),
        _ => None,
    }
}

/// Takes the `%xx` out of a part of a URL.
fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.extend_from_slice(before.as_bytes());
        let code = after.get(..2).filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or("");
            }
            None => {
                out.push(b'%');
                rest = after;
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::super::testing::policy;
    use super::*;

    fn callers(pairs: &[(&str, &str)]) -> Callers {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Callers::read(move |name| {
            pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn the_callers_proxies_are_read_as_other_programs_read_them() {
        let callers = callers(&[
            ("HTTP_PROXY", "one.example:3128"),
            ("https_proxy", "http://u%40x:p%3aw@two.example/"),
            ("HTTPS_PROXY", "http://three.example"),
            ("ALL_PROXY", "socks5h://127.0.0.1"),
            ("NO_PROXY", "intern.example, .b.example:8443, 10.0.0.0/8 ::1"),
        ]);
        let proxy = |text: &str| {
            let target = Target::read(text, None).unwrap();
            callers.proxy(&target).map(|proxy| format!("{:?} {}:{}", proxy.kind, proxy.host, proxy.port))
        };
        assert_eq!(proxy("a.example:80").as_deref(), Some("Http one.example:3128"));
        assert_eq!(proxy("a.example:443").as_deref(), Some("Http two.example:80"));
        assert_eq!(proxy("a.example:22").as_deref(), Some("Http two.example:80"));
        for direct in
            ["intern.example:443", "x.intern.example:80", "x.b.example:8443", "10.1.1.1:443", "localhost:80"]
        {
            assert_eq!(proxy(direct), None, "{direct}");
        }
        for through in ["xintern.example:443", "b.example:443", "11.1.1.1:443"] {
            assert!(proxy(through).is_some(), "{through}");
        }
        let login = callers.https.and_then(|proxy| proxy.login).unwrap();
        assert_eq!((login.user.as_slice(), login.password.as_slice()), (&b"u@x"[..], &b"p:w"[..]));
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        assert_eq!(callers(&[("HTTPS_PROXY", "quic://x")]).unread, ["HTTPS_PROXY"]);
        assert!(callers(&[("HTTPS_PROXY", "")]).unread.is_empty());
        assert!(
            callers(&[("NO_PROXY", "*"), ("ALL_PROXY", "http://p:1")])
                .proxy(&Target::read("a.example:443", None).unwrap())
                .is_none()
        );
    }

    #[test]
    fn a_policys_proxy_comes_before_the_callers() {
        let policy = policy(
            "allow connect *\nupstream http://all.example:1\nupstream socks5://some.example:2 for *.a.example",
        );
        let callers = callers(&[("ALL_PROXY", "http://callers.example:3")]);
        let host = |text: &str| {
            proxy_for(&policy, &callers, &Target::read(text, None).unwrap()).map(|proxy| proxy.host)
        };
        assert_eq!(host("x.a.example:443").as_deref(), Some("some.example"));
        assert_eq!(host("b.example:443").as_deref(), Some("all.example"));
        assert_eq!(host("localhost:443"), None);
    }
}
