//! What kind of protocol the first bytes of a client belong to.

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// A record of TLS.
    Tls,
    /// A request line of HTTP, or what a lenient server could take for one.
    Http,
    /// Something else.
    Opaque,
    /// More bytes are needed to tell.
    Undecided,
}

/// The longest beginning of a line that is looked at.
const LONGEST: usize = 32 * 1024;

/// Tells by the first bytes.
///
/// Doubt counts for HTTP: what is then no request is refused there. Only what no server of HTTP would read as a
/// request is opaque.
pub(super) fn opening(bytes: &[u8]) -> Opening {
    match bytes {
        [] | [0x14..=0x18] => return Opening::Undecided,
        // Any record, not only a handshake: servers skip some others before a ClientHello.
        [0x14..=0x18, 0x03, ..] => return Opening::Tls,
        // A ClientHello in the form of SSL 2, which some servers still answer to, and which shows no name.
        [0x80..=0x8f, _, 0x01, 0x03, ..] => return Opening::Tls,
        [0x80..=0x8f] | [0x80..=0x8f, _] | [0x80..=0x8f, _, 0x01] => return Opening::Undecided,
        _ => {}
    }
    let skipped = bytes.iter().take_while(|byte| is_blank(**byte) || **byte == b'\n').count();
    let rest = bytes.get(skipped..).unwrap_or(&[]);
    let end = rest.iter().position(|byte| *byte == b'\n');
    let line = end.and_then(|end| rest.get(..end)).unwrap_or(rest);
    let line = if end.is_some() { line.strip_suffix(b"\r").unwrap_or(line) } else { line };
    let method = line.iter().take_while(|byte| is_token(**byte)).count();
    let behind = line.get(method..).unwrap_or(&[]);
    let whole = end.is_some();
    match behind.first() {
        // The method goes on.
        None if !whole && rest.len() <= LONGEST => Opening::Undecided,
        // The line is one word.
        None => Opening::Opaque,
        Some(blank) if method > 0 && is_blank(*blank) => {
            if behind.windows(5).any(|part| part.eq_ignore_ascii_case(b"HTTP/")) {
                Opening::Http
            } else if behind.contains(&0) || (!begins_with_letter(line) && behind.iter().any(is_control)) {
                // No method begins so: a message of LDAP, for one.
                Opening::Opaque
            } else if whole {
                // A line without a version, as HTTP/0.9 had it, names no host.
                if looks_like_a_request(line) { Opening::Http } else { Opening::Opaque }
            } else if rest.len() > LONGEST {
                Opening::Http
            } else {
                Opening::Undecided
            }
        }
        Some(_) => Opening::Opaque,
    }
}

fn begins_with_letter(line: &[u8]) -> bool {
    line.first().is_some_and(u8::is_ascii_alphabetic)
}

fn is_control(byte: &u8) -> bool {
    *byte < 0x20 && !is_blank(*byte)
}

/// Whether a lenient server takes it for a blank within a line.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

/// Whether a line without a version is a request nevertheless: of a method that asks for a path or a URL.
fn looks_like_a_request(line: &[u8]) -> bool {
    let mut words = line.split(|byte| is_blank(*byte)).filter(|word| !word.is_empty());
    let method = words.next().unwrap_or(&[]);
    let target = words.next().unwrap_or(&[]);
    ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"]
        .iter()
        .any(|known| method.eq_ignore_ascii_case(known.as_bytes()))
        && (target.starts_with(b"/") || target.windows(3).any(|part| part == b"://"))
}

/// Whether a byte can stand in a token of HTTP.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_told_apart() {
        let cases: &[(&[u8], Opening)] = &[
            (b"\x16\x03\x01\x02\x00", Opening::Tls),
            (b"\x16", Opening::Undecided),
            (b"\x15\x03\x01\x00\x02\x01\x00", Opening::Tls),
            (b"\x16\x02", Opening::Opaque),
            (b"GET / HTTP/1.1\r\n", Opening::Http),
            (b"GET / HT", Opening::Undecided),
            (b"get / http/1.1\n", Opening::Http),
            (b"\r\n\r\nGET / HTTP/1.1\r\n", Opening::Http),
            (b" GET / HTTP/1.1\r\n", Opening::Http),
            (b"GET\t/\tHTTP/1.1\r\n", Opening::Http),
            (b"GET\x0b/\x0cHTTP/1.1\r\n", Opening::Http),
            (b"GET\r/ HTTP/1.1\n", Opening::Http),
            (b"GET /\x01", Opening::Undecided),
            (b"GET /\x01 HTTP/1.1\r\n", Opening::Http),
            (&[b'A'; 100], Opening::Undecided),
            (b"PING\r", Opening::Undecided),
            (b"PING\n", Opening::Opaque),
            (b"\x80\x2e\x01\x03\x01", Opening::Tls),
            (b"\x80\x2e\x02", Opening::Opaque),
            (b"\xff\0\0", Opening::Opaque),
            (b"GET /\r\n", Opening::Http),
            (b"PRI * HTTP/2.0\r\n", Opening::Http),
            (b"WHATEVER /x HTTP/9.9\r\n", Opening::Http),
            (b"GET ", Opening::Undecided),
            (b"G", Opening::Undecided),
            (b"SSH-2.0-OpenSSH_9.6\r\n", Opening::Opaque),
            (b"*1\r\n$4\r\nPING\r\n", Opening::Opaque),
            (b"PING\r\n", Opening::Opaque),
            (b"set key 0 0 5\r\nvalue\r\n", Opening::Opaque),
            (b"get key\r\n", Opening::Opaque),
            (b"EHLO host\r\n", Opening::Opaque),
            (b"0032git-upload-pack /repo\0host=a\0", Opening::Opaque),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", Opening::Opaque),
            (b"AMQP\0\0\x09\x01", Opening::Opaque),
            (b"0\x0c\x02\x01\x01`\x07", Opening::Opaque),
            (b"0 \x02\x01\x01`\x1b", Opening::Opaque),
            (b"0\n\x02\x01", Opening::Opaque),
            (b"", Opening::Undecided),
        ];
        for (bytes, expected) in cases {
            assert_eq!(opening(bytes), *expected, "{:?}", String::from_utf8_lossy(bytes));
        }
        assert_eq!(
            opening(&b"GET /".iter().chain([b'a'; 33_000].iter()).copied().collect::<Vec<_>>()),
            Opening::Http
        );
    }
}
