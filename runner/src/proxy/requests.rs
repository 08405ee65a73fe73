//! The stream of a client's requests, checked before anybody else sees a byte of it.

use bytes::{Buf, BytesMut};

use super::head::{self, Fault, Framing, Next};

/// The longest line of a chunk, and all lines behind the last one together.
const LONGEST_LINES: usize = 16 * 1024;

/// What is passed on in the place of a request that is refused, so that the answer comes in its turn.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n";

/// Bytes of a client, of which those that have been checked may be taken.
#[derive(Debug)]
pub(super) struct Requests {
    /// What was read and not yet taken.
    held: BytesMut,
    /// How much of it, from the beginning, has been checked.
    checked: usize,
    place: Place,
    /// The number of heads that came through.
    heads: u64,
    fault: Option<(u64, Fault)>,
}

/// Where in the stream the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Head,
    Body {
        left: u64,
        then: Next,
    },
    ChunkLine {
        then: Next,
    },
    Chunk {
        left: u64,
        then: Next,
    },
    ChunkEnd {
        then: Next,
    },
    Trailers {
        read: usize,
        then: Next,
    },
    /// Until somebody says what becomes of the connection.
    Waits,
    Refused,
}

/// What can be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Bytes can be taken.
    Take,
    /// More must be read.
    Read,
    /// The connection was asked to become something else.
    Wait,
    /// Nothing follows.
    End,
}

impl Requests {
    /// A stream of which some bytes were read already.
    pub(super) fn new(read: &[u8]) -> Requests {
        Requests { held: BytesMut::from(read), checked: 0, place: Place::Head, heads: 0, fault: None }
    }

    /// Adds bytes that were read.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
    }

    /// Checks what is there, as far as it goes.
    ///
    /// # Errors
    /// A body is broken; its head has been passed on.
    pub(super) fn step(&mut self) -> Result<Step, Fault> {
        if self.checked == 0 {
            loop {
                match self.advance() {
                    Ok(true) => {}
                    Ok(false) => break,
                    // What came before it is taken first.
                    Err(_) if self.checked > 0 => break,
                    Err(fault) => return Err(fault),
                }
            }
        }
        Ok(match self.place {
            _ if self.checked > 0 => Step::Take,
            Place::Waits => Step::Wait,
            Place::Refused => Step::End,
            _ => Step::Read,
        })
    }

    /// What may be taken.
    pub(super) fn checked(&self) -> &[u8] {
        self.held.get(..self.checked).unwrap_or(&[])
    }

    /// Takes that many of these.
    pub(super) fn take(&mut self, bytes: usize) {
        let taken = bytes.min(self.checked);
        self.held.advance(taken);
        self.checked -= taken;
    }

    /// The request that was refused, the first having number 1, and why. What is passed on for it is another.
    pub(super) fn fault(&self) -> Option<(u64, Fault)> {
        self.fault
    }

    /// The connection stays one of requests though it was asked to become something else.
    pub(super) fn stay(&mut self) {
        if self.place == Place::Waits {
            self.place = Place::Head;
        }
    }

    /// What was not taken.
    pub(super) fn into_rest(self) -> BytesMut {
        self.held
    }

    /// Checks one thing; whether there was enough for it.
    fn advance(&mut self) -> Result<bool, Fault> {
        let rest = self.held.get(self.checked..).unwrap_or(&[]);
        match self.place {
            Place::Head => {
                let (length, read) = match head_length(rest) {
                    Some(length) if length <= head::LONGEST => {
                        (length, head::read(rest.get(..length).unwrap_or(&[])))
                    }
                    None if rest.len() <= head::LONGEST => return Ok(false),
                    _ => (0, Err(Fault("its head is longer than 32 KiB"))),
                };
                match read {
                    Ok(read) => {
                        self.heads += 1;
                        self.checked += length;
                        self.place = match read.framing {
                            Framing::Length(left) => Place::Body { left, then: read.next },
                            Framing::Chunked => Place::ChunkLine { then: read.next },
                        };
                    }
                    Err(fault) => self.refuse(fault),
                }
            }
            Place::Body { left: 0, then } => self.place = after(then),
            Place::Body { left, then } => {
                let passed = self.pass(left);
                self.place = Place::Body { left: left - passed, then };
                return Ok(passed > 0);
            }
            Place::ChunkLine { then } => {
                let Some(line) = line(rest)? else { return Ok(false) };
                let left = head::chunk(line)?;
                self.checked += line.len() + 2;
                self.place =
                    if left == 0 { Place::Trailers { read: 0, then } } else { Place::Chunk { left, then } };
            }
            Place::Chunk { left: 0, then } => self.place = Place::ChunkEnd { then },
            Place::Chunk { left, then } => {
                let passed = self.pass(left);
                self.place = Place::Chunk { left: left - passed, then };
                return Ok(passed > 0);
            }
            Place::ChunkEnd { then } => match rest {
                [b'\r', b'\n', ..] => {
                    self.checked += 2;
                    self.place = Place::ChunkLine { then };
                }
                [] | [b'\r'] => return Ok(false),
                _ => return Err(Fault("a chunk is longer than it says")),
            },
            Place::Trailers { read, then } => {
                let Some(line) = line(rest)? else { return Ok(false) };
                let length = line.len();
                if read + length > LONGEST_LINES {
                    return Err(Fault("the trailers are longer than 16 KiB"));
                }
                self.place = if length == 0 {
                    after(then)
                } else {
                    head::trailer(line)?;
                    Place::Trailers { read: read + length, then }
                };
                self.checked += length + 2;
            }
            Place::Waits | Place::Refused => return Ok(false),
        }
        Ok(true)
    }

    /// Lets at most this many of the bytes that are there pass.
    fn pass(&mut self, most: u64) -> u64 {
        let there = self.held.len() - self.checked;
        let passed = usize::try_from(most).unwrap_or(usize::MAX).min(there);
        self.checked += passed;
        passed as u64
    }

    fn refuse(&mut self, fault: Fault) {
        self.fault = Some((self.heads + 1, fault));
        self.held.truncate(self.checked);
        self.held.extend_from_slice(STAND_IN);
        self.checked = self.held.len();
        self.place = Place::Refused;
    }
}

fn after(next: Next) -> Place {
    match next {
        Next::Request => Place::Head,
        Next::Waits => Place::Waits,
    }
}

/// How long the head at the beginning is; `None` if its end is not there.
fn head_length(bytes: &[u8]) -> Option<usize> {
    // A bare line feed ends a line for some: the head must not seem to go on behind an empty line of that kind.
    let mut from = 0;
    loop {
        let found = bytes.get(from..)?.iter().position(|byte| *byte == b'\n')? + from;
        match bytes.get(found + 1..) {
            Some([b'\r', b'\n', ..]) => return Some(found + 3),
            Some([b'\n', ..]) => return Some(found + 2),
            _ => from = found + 1,
        }
    }
}

/// The first line, without its CR LF; `None` if its end is not there.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Fault> {
    let fault = Fault("a line of a chunked body does not end in CR LF, or is longer than 16 KiB");
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => match bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")) {
            Some(line) if !line.contains(&b'\r') => Ok(Some(line)),
            _ => Err(fault),
        },
        None if bytes.len() > LONGEST_LINES => Err(fault),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Everything that passes, and the fault if there was one.
    fn passed(pieces: &[&[u8]]) -> (Vec<u8>, Option<Fault>) {
        let (mut requests, mut out) = (Requests::new(&[]), Vec::new());
        for piece in pieces {
            requests.add(piece);
            loop {
                match requests.step() {
                    Ok(Step::Take) => {
                        out.extend_from_slice(requests.checked());
                        requests.take(requests.checked().len());
                    }
                    Ok(Step::Read) => break,
                    Ok(Step::Wait | Step::End) => return (out, requests.fault().map(|(_, fault)| fault)),
                    Err(fault) => return (out, Some(fault)),
                }
            }
        }
        (out, None)
    }

    fn request() -> impl Strategy<Value = Vec<u8>> {
        let bodies = prop_oneof![
            Just((String::new(), Vec::new())),
            proptest::collection::vec(any::<u8>(), 0..40)
                .prop_map(|body| (format!("Content-Length: {}\r\n", body.len()), body)),
            proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..20), 0..4).prop_map(
                |chunks| {
                    let mut body = Vec::new();
                    for chunk in chunks {
                        body.extend(format!("{:X};e=1\r\n", chunk.len()).into_bytes());
                        body.extend(chunk);
                        body.extend(b"\r\n");
                    }
                    body.extend(b"0\r\nX-Sum: 1\r\n\r\n");
                    ("Transfer-Encoding: chunked\r\n".to_owned(), body)
                }
            ),
        ];
        (bodies, "[a-z/?=%0-9]{0,12}", "[ -~\t]{0,20}").prop_map(|((framing, body), path, value)| {
            let head = format!("POST /{path} HTTP/1.1\r\nHost: a.example\r\nX-A: {value}\r\n{framing}\r\n");
            [head.as_bytes(), &body].concat()
        })
    }

    proptest! {
        #[test]
        fn plain_requests_pass_unchanged_however_they_are_cut(
            all in proptest::collection::vec(request(), 1..5), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6)
        ) {
            let whole = all.concat();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len())).collect();
            at.extend([0, whole.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &whole[pair[0]..pair[1]]).collect();
            prop_assert_eq!(passed(&pieces), (whole.clone(), None));
        }

        #[test]
        fn cutting_changes_nothing_for_any_bytes(bytes in proptest::collection::vec(prop_oneof![
            Just(b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec()), Just(b"\r\n".to_vec()), Just(b"\n".to_vec()),
            Just(b"Content-Length: 3\r\n".to_vec()), Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
            Just(b"0\r\n\r\n".to_vec()), proptest::collection::vec(any::<u8>(), 0..6)], 0..12)) {
            let whole = bytes.concat();
            let each: Vec<&[u8]> = whole.chunks(1).collect();
            prop_assert_eq!(passed(&[&whole]), passed(&each));
        }
    }
}
