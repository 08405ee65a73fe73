//! The heads of HTTP/1 requests, read strictly: what two programs could read differently is refused.
//!
//! The library that serves requests is lenient where the standard lets it be (bare line feeds, several equal
//! lengths, …). What stands behind the proxy may be lenient in another way; so nothing reaches the library that is
//! not written in the one plain form.

use super::destination::Target;
use super::opening::is_token;

/// The longest head.
pub(super) const LONGEST: usize = 32 * 1024;
/// The most header lines.
const MOST_LINES: usize = 100;

/// How long the body of a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes; none is 0.
    Length(u64),
    /// It is chunked.
    Chunked,
}

/// What follows a request and its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another request.
    Request,
    /// Whatever the answer makes of the connection: it was asked to become something else.
    Waits,
}

/// What a head says about the bytes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) framing: Framing,
    pub(super) next: Next,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Fault(pub(super) &'static str);

const LINE: Fault = Fault("a line does not end in CR LF, or holds a control character");

/// Reads a head, the empty line at its end included.
pub(super) fn read(head: &[u8]) -> Result<Head, Fault> {
    let text = head.strip_suffix(b"\r\n\r\n").ok_or(LINE)?;
    let mut lines = Lines { rest: Some(text) };
    let request = Request::read(lines.next().ok_or(LINE)??)?;
    let mut seen = Seen::default();
    for (number, line) in lines.enumerate() {
        if number >= MOST_LINES {
            return Err(Fault("it has more than 100 header lines"));
        }
        let (name, value) = header(line?)?;
        seen.add(name, value)?;
    }
    seen.head(&request)
}

/// Lines that end in CR LF and hold neither alone.
struct Lines<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Result<&'a [u8], Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        let end = rest.windows(2).position(|pair| pair == b"\r\n");
        let line = match end {
            Some(end) => {
                self.rest = rest.get(end + 2..);
                rest.get(..end).unwrap_or(&[])
            }
            None => rest,
        };
        let plain = line.iter().all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f));
        Some(if plain { Ok(line) } else { Err(LINE) })
    }
}

struct Request {
    connect: bool,
    version: Version,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Zero,
    One,
}

impl Request {
    fn read(line: &[u8]) -> Result<Request, Fault> {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Fault(
                "the request line is not a method, a target and a version with a blank between",
            ));
        };
        if method.is_empty() || method.len() > 32 || !method.iter().all(|byte| is_token(*byte)) {
            return Err(Fault("the method is no word"));
        }
        if target.is_empty() || !target.iter().all(|byte| (0x21..0x7f).contains(byte) && *byte != b'#') {
            return Err(Fault("the target holds a character that has no place there"));
        }
        let version = match version {
            b"HTTP/1.1" => Version::One,
            b"HTTP/1.0" => Version::Zero,
            b"HTTP/2.0" if method == b"PRI" => {
                return Err(Fault("HTTP/2 without TLS cannot be judged here"));
            }
            _ => return Err(Fault("the version is neither HTTP/1.1 nor HTTP/1.0")),
        };
        Ok(Request { connect: method == b"CONNECT", version })
    }
}

/// A name and its value, the blanks around that left out.
fn header(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return Err(Fault("a header goes on in a second line"));
    }
    let colon = line.iter().position(|byte| *byte == b':').ok_or(Fault("a header line has no colon"))?;
    let (name, value) = line.split_at(colon);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(Fault(
            "a header's name holds a character that has no place there, or a blank before the colon",
        ));
    }
    Ok((name, value.get(1..).unwrap_or(&[]).trim_ascii()))
}

/// What the headers said so far.
#[derive(Default)]
struct Seen {
    length: Option<u64>,
    chunked: bool,
    host: bool,
    upgrade: bool,
    asked_to_upgrade: bool,
}

impl Seen {
    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("content-length") {
            if self.length.is_some() {
                return Err(Fault("there are two Content-Length headers"));
            }
            let digits = !value.is_empty() && value.len() <= 18 && value.iter().all(u8::is_ascii_digit);
            let number =
                std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
            self.length = Some(number.ok_or(Fault("Content-Length is no number"))?);
        } else if is("transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault("Transfer-Encoding is something else than `chunked`, once"));
            }
            self.chunked = true;
        } else if is("host") {
            if self.host {
                return Err(Fault("there are two Host headers"));
            }
            let host = std::str::from_utf8(value).ok();
            if !value.is_empty() && host.is_none_or(|host| Target::read(host, Some(80)).is_err()) {
                return Err(Fault("Host is no host"));
            }
            self.host = true;
        } else if is("upgrade") {
            self.upgrade = true;
        } else if is("connection") {
            let mut words = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            self.asked_to_upgrade |= words.any(|word| word.eq_ignore_ascii_case(b"upgrade"));
        }
        Ok(())
    }

    fn head(self, request: &Request) -> Result<Head, Fault> {
        let framing = match (self.length, self.chunked) {
            (Some(_), true) => return Err(Fault("it has both Content-Length and Transfer-Encoding")),
            (None, true) if request.version == Version::Zero => {
                return Err(Fault("HTTP/1.0 has no Transfer-Encoding"));
            }
            (None, true) => Framing::Chunked,
            (length, false) => Framing::Length(length.unwrap_or(0)),
        };
        if request.version == Version::One && !self.host {
            return Err(Fault("the Host header is missing"));
        }
        if request.connect && framing != Framing::Length(0) {
            return Err(Fault("a CONNECT has a body"));
        }
        let waits = request.connect || (self.upgrade && self.asked_to_upgrade);
        Ok(Head { framing, next: if waits { Next::Waits } else { Next::Request } })
    }
}

/// Reads the line that a chunk begins with, without its CR LF: how long the chunk is.
pub(super) fn chunk(line: &[u8]) -> Result<u64, Fault> {
    let (digits, extension) = match line.iter().position(|byte| *byte == b';') {
        Some(end) => line.split_at(end),
        None => (line, &[][..]),
    };
    let plain = |byte: &u8| (0x20..0x7f).contains(byte) || *byte == b'\t';
    if digits.is_empty()
        || digits.len() > 15
        || !digits.iter().all(u8::is_ascii_hexdigit)
        || !extension.iter().all(plain)
    {
        return Err(Fault("the length of a chunk is no number"));
    }
    let digits = std::str::from_utf8(digits).map_err(|_| LINE)?;
    u64::from_str_radix(digits, 16).map_err(|_| Fault("the length of a chunk is no number"))
}

/// Checks a line behind the last chunk, without its CR LF.
pub(super) fn trailer(line: &[u8]) -> Result<(), Fault> {
    if !line.iter().all(|byte| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f)) {
        return Err(LINE);
    }
    let (name, _) = header(line)?;
    let forbidden =
        ["content-length", "transfer-encoding", "host", "connection", "upgrade", "content-encoding"];
    if forbidden.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())) {
        return Err(Fault("a trailer says what only a header may say"));
    }
    Ok(())
}
