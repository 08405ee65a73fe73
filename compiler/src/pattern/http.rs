//! Patterns of HTTP requests.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::shown;
use super::{Component, ConnectPattern, HostPattern, ItemError, PathPattern, PortRange, Scope, path};
use crate::diagnostic::Code;

/// An item of `http`: `METHOD HOST/PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct HttpPattern {
    /// The method in upper case; `None` is `*`.
    pub method: Option<String>,
    /// The host.
    pub host: HostPattern,
    /// The port; `None` where none is written.
    pub ports: Option<PortRange>,
    /// The path, `*` within a segment and `**` across segments; it covers what is beneath.
    pub path: Vec<Component>,
}

impl HttpPattern {
    /// Reads `METHOD HOST/PATH`, `METHOD HOST:PORT/PATH`; `*` is any method, no path is every path.
    ///
    /// # Errors
    /// What makes it no such item.
    pub fn parse(text: &str, scope: &dyn Scope) -> Result<HttpPattern, ItemError> {
        let error = |message: String| ItemError::new(Code::BadHttpItem, 0..text.len(), message);
        let Some(blank) = text.find(char::is_whitespace) else {
            let told = error(format!("`{}` is not a method and a host", shown(text)));
            return Err(if text.contains(['.', '/', ':']) {
                told.help("for one method write it before the host, in the same string: `GET host/path`")
                    .help(format!("for any method write `* {}`", shown(text)))
            } else {
                told.help("write both in one string: `GET api.example.org/v1`")
            });
        };
        let (method, rest) = text.split_at(blank);
        let at = blank + rest.len() - rest.trim_start().len();
        let rest = rest.trim();
        let method = match method {
            "*" => None,
            method if is_method(method) => Some(method.to_owned()),
            _ => {
                let told = error(format!("`{}` is no method", shown(method)));
                let upper = method.to_ascii_uppercase();
                return Err(if is_method(&upper) {
                    told.instead(format!("{upper} {rest}"))
                } else {
                    told.help("a method is a word such as `GET`, or `*` for any")
                });
            }
        };
        if rest.contains("://") {
            return Err(ConnectPattern::parse(rest, scope)
                .err()
                .unwrap_or_else(|| error("a URL stands where a host belongs".into()))
                .moved(at)
                .without_replacement());
        }
        let slash = rest.find('/').unwrap_or(rest.len());
        let (host, request) = rest.split_at(slash);
        let host =
            ConnectPattern::parse(host, scope).map_err(|error| error.moved(at).without_replacement())?;
        if let Some(place) = request.find(['?', '#', '%', '{']) {
            let c = request.get(place..).and_then(|rest| rest.chars().next()).unwrap_or('?');
            let told = ItemError::new(
                Code::BadHttpItem,
                at + slash + place..at + slash + place + 1,
                format!("`{c}` cannot stand in the path of a request"),
            );
            return Err(told.help(match c {
                '?' | '#' => "a rule is about the path; what follows `?` is not compared: leave it out",
                '%' => "write the character itself: paths are compared decoded",
                _ => "write one item for each alternative; a literal `{` is written `[{]`",
            }));
        }
        let path = match request {
            "" => Vec::new(),
            request => path::parse_absolute(request)
                .map_err(|error| error.moved(at + slash).without_replacement())?,
        };
        Ok(HttpPattern { method, host: host.host, ports: host.ports, path })
    }
}

fn is_method(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

impl fmt::Display for HttpPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = ConnectPattern { host: self.host.clone(), ports: self.ports };
        let path = PathPattern { root: super::Root::Slash, components: self.path.clone() };
        write!(f, "{} {host}", self.method.as_deref().unwrap_or("*"))?;
        if self.path.is_empty() { Ok(()) } else { write!(f, "{path}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::testing::scope;

    #[test]
    fn requests_are_read_into_one_form() {
        for (written, meant) in [
            ("GET api.example.org/v1", "GET api.example.org/v1"),
            ("*  API.example.org:8443/a//b/", "* api.example.org:8443/a/b"),
            ("POST *.example.org", "POST *.example.org"),
            ("GET [::1]:80/x/*/y/**", "GET [::1]:80/x/*/y"),
            ("GET h/**/x", "GET h/**/x"),
            ("GET h/", "GET h"),
            ("GET h/a b", "GET h/a b"),
        ] {
            let pattern =
                HttpPattern::parse(written, &scope()).unwrap_or_else(|e| panic!("{written}: {e:?}"));
            assert_eq!(pattern.to_string(), meant);
            assert_eq!(HttpPattern::parse(meant, &scope()).unwrap(), pattern);
        }
    }

    #[test]
    fn what_is_no_request_is_told() {
        for (text, code, replacement) in [
            ("api.example.org/v1", Code::BadHttpItem, None),
            ("GET", Code::BadHttpItem, None),
            ("get h/x", Code::BadHttpItem, Some("GET h/x")),
            ("G=T h/x", Code::BadHttpItem, None),
            ("GET https://h/x", Code::NotOnlyAHost, None),
            ("GET h/x?y=1", Code::BadHttpItem, None),
            ("GET h/a%20b", Code::BadHttpItem, None),
            ("GET h/{a,b}", Code::BadHttpItem, None),
            ("GET h:0/x", Code::BadPort, None),
            ("GET /x", Code::BadHost, None),
            ("", Code::BadHttpItem, None),
        ] {
            let error = HttpPattern::parse(text, &scope()).unwrap_err();
            assert_eq!((error.code, error.replacement.as_deref()), (code, replacement), "{text}: {error:?}");
            assert!(error.range.end <= text.len(), "{text}");
        }
    }
}
