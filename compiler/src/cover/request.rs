//! HTTP requests, and what an `ssh` is asked to do.

use super::{Covers, HostAsked, StartAsked};
use crate::pattern::glob::Case;
use crate::pattern::ground::matches_beginning;
use crate::pattern::{ConnectPattern, HttpPattern, Polarity, SshPattern};

/// A request that is asked about.
#[derive(Clone, Debug)]
pub struct RequestAsked<'a> {
    host: HostAsked<'a>,
    method: &'a str,
    /// The segments of the path, in each way that a server may read it; the plain one first.
    readings: Vec<Vec<Vec<u8>>>,
    certainty: Certainty,
}

/// Whether servers agree on what a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certainty {
    Certain,
    Doubtful,
}

impl<'a> RequestAsked<'a> {
    /// Reads the path of a request in the ways in which servers do.
    #[must_use]
    pub fn new(host: HostAsked<'a>, method: &'a str, path: &str) -> RequestAsked<'a> {
        let path = path.split(['?', '#']).next().unwrap_or("");
        let raw = segments(path.as_bytes());
        let decoded: Vec<Vec<u8>> = raw.iter().map(|segment| decode(segment)).collect();
        // Some servers leave out what stands behind `;` in a segment, and so read `..;x` as `..`.
        let bare: Vec<Vec<u8>> = decoded.iter().map(|segment| without_parameters(segment)).collect();
        let strange = |byte: &u8| matches!(byte, b'/' | b'\\' | b'%' | 0..=31);
        // What is no UTF-8 may hold a `.` or a `/` in more bytes than it takes.
        let doubtful = path.contains("//")
            || decoded
                .iter()
                .any(|segment| segment.iter().any(strange) || std::str::from_utf8(segment).is_err())
            || bare.iter().any(|segment| matches!(segment.as_slice(), b"" | b"." | b".."));
        let named: Vec<Vec<u8>> = bare.into_iter().filter(|segment| !segment.is_empty()).collect();
        let mut readings = vec![
            collapse(&decoded),
            collapse(&raw),
            collapse(&segments(&decode(path.as_bytes()))),
            collapse(&named),
        ];
        readings.extend([decoded, raw]);
        readings.dedup();
        let certainty = if doubtful { Certainty::Doubtful } else { Certainty::Certain };
        RequestAsked { host, method, readings, certainty }
    }

    /// Whether the item is about this host and port at all, whatever it says of requests.
    #[must_use]
    pub fn is_about_host(&self, pattern: &HttpPattern) -> bool {
        self.host.is_meant(&connect(pattern), Polarity::Closing)
    }
}

fn connect(pattern: &HttpPattern) -> ConnectPattern {
    ConnectPattern { host: pattern.host.clone(), ports: pattern.ports }
}

impl Covers<HttpPattern> for RequestAsked<'_> {
    fn covers(&self, pattern: &HttpPattern, polarity: Polarity) -> bool {
        let method = match (&pattern.method, polarity) {
            (None, _) => true,
            (Some(method), Polarity::Opening) => method == self.method,
            (Some(method), Polarity::Closing) => method.eq_ignore_ascii_case(self.method),
        };
        let matches = |reading: &Vec<Vec<u8>>| {
            matches_beginning(&pattern.path, reading.iter().map(Vec::as_slice), Case::Exact)
        };
        let path = match polarity {
            Polarity::Opening => {
                pattern.path.is_empty()
                    || (self.certainty == Certainty::Certain && self.readings.first().is_some_and(matches))
            }
            Polarity::Closing => self.readings.iter().any(matches),
        };
        method && path && self.host.is_meant(&connect(pattern), polarity)
    }
}

fn segments(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty()).map(<[u8]>::to_vec).collect()
}

fn without_parameters(segment: &[u8]) -> Vec<u8> {
    segment.split(|byte| *byte == b';').next().unwrap_or_default().to_vec()
}

/// Takes `.` and `..` out, as RFC 3986 does.
fn collapse(segments: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    for segment in segments {
        match segment.as_slice() {
            b"." => {}
            b".." => {
                out.pop();
            }
            _ => out.push(segment.clone()),
        }
    }
    out
}

fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let code =
            (*byte == b'%').then(|| after.get(..2)).flatten().and_then(|code| std::str::from_utf8(code).ok());
        let code = code.filter(|code| code.bytes().all(|b| b.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or(&[]);
            }
            None => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    out
}

/// What an `ssh` is asked to do on another machine.
#[derive(Clone, Debug)]
pub struct SshAsked<'a> {
    /// The host.
    pub host: HostAsked<'a>,
    /// The remote command; `None`: a login shell.
    pub command: Option<StartAsked<'a>>,
}

impl Covers<SshPattern> for SshAsked<'_> {
    fn covers(&self, pattern: &SshPattern, polarity: Polarity) -> bool {
        let command = match (&pattern.command, &self.command) {
            (None, _) => true,
            (Some(pattern), Some(command)) => command.covers(pattern, polarity),
            (Some(_), None) => false,
        };
        command && self.host.is_meant(&ConnectPattern { host: pattern.host.clone(), ports: None }, polarity)
    }
}
