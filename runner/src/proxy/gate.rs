//! Requests of a client, each checked before the library that serves them sees a byte of it.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::head::{self, Fault, Framing, Next};
use super::limits::Silence;

/// What is read at once.
const BUFFER: usize = 16 * 1024;
/// The longest line of a chunk, and all lines behind the last one together.
const LONGEST_LINES: usize = 16 * 1024;

/// What the library is given in the place of a request that is refused, so that the answer comes in its turn.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n";

/// A client's connection with the check before it.
#[derive(Debug)]
pub(super) struct Gate {
    stream: TcpStream,
    /// What was read and not yet passed on.
    held: BytesMut,
    /// How much of it, from the beginning, has been checked.
    checked: usize,
    place: Place,
    shared: Rc<Shared>,
    silence: Rc<Silence>,
}

/// What the gate and those who answer the requests know together.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The number of heads that came through, the first being 1.
    heads: Cell<u64>,
    /// The head that was refused, and why.
    fault: Cell<Option<(u64, Fault)>>,
    /// Whether the connection has stayed one of requests though it was asked to become something else.
    stayed: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

/// Where in the stream of requests the next byte stands.
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

impl Gate {
    /// A gate for a stream of which some bytes were read already.
    pub(super) fn new(stream: TcpStream, read: &[u8], shared: Rc<Shared>, silence: Rc<Silence>) -> Gate {
        Gate { stream, held: BytesMut::from(read), checked: 0, place: Place::Head, shared, silence }
    }

    /// The stream, and what was read from it and not passed on.
    pub(super) fn into_parts(self) -> (TcpStream, BytesMut) {
        (self.stream, self.held)
    }

    /// Checks what is held, as far as it goes.
    fn check(&mut self) -> io::Result<()> {
        loop {
            let rest = self.held.get(self.checked..).unwrap_or(&[]);
            match self.place {
                Place::Head => {
                    let Some(length) = head_length(rest) else {
                        if rest.len() > head::LONGEST {
                            self.refuse(Fault("its head is longer than 64 KiB"));
                        }
                        return Ok(());
                    };
                    self.shared.heads.set(self.shared.heads.get() + 1);
                    match rest.get(..length).ok_or(Fault("")).and_then(head::read) {
                        Ok(_) if length > head::LONGEST => {
                            self.shared.heads.set(self.shared.heads.get() - 1);
                            self.refuse(Fault("its head is longer than 64 KiB"));
                            return Ok(());
                        }
                        Ok(read) => {
                            self.checked += length;
                            self.place = match read.framing {
                                Framing::Length(left) => Place::Body { left, then: read.next },
                                Framing::Chunked => Place::ChunkLine { then: read.next },
                            };
                        }
                        Err(fault) => {
                            self.shared.heads.set(self.shared.heads.get() - 1);
                            self.refuse(fault);
                            return Ok(());
                        }
                    }
                }
                Place::Body { left: 0, then } => self.place = self.after(then),
                Place::Body { left, then } => {
                    let Some(passed) = self.pass(left) else { return Ok(()) };
                    self.place = Place::Body { left: left - passed, then };
                }
                Place::ChunkLine { then } => {
                    let Some(line) = line(rest)? else { return Ok(()) };
                    let left = head::chunk(line).map_err(broken)?;
                    self.checked += line.len() + 2;
                    self.place = if left == 0 {
                        Place::Trailers { read: 0, then }
                    } else {
                        Place::Chunk { left, then }
                    };
                }
                Place::Chunk { left: 0, then } => self.place = Place::ChunkEnd { then },
                Place::Chunk { left, then } => {
                    let Some(passed) = self.pass(left) else { return Ok(()) };
                    self.place = Place::Chunk { left: left - passed, then };
                }
                Place::ChunkEnd { then } => match rest {
                    [b'\r', b'\n', ..] => {
                        self.checked += 2;
                        self.place = Place::ChunkLine { then };
                    }
                    [] | [b'\r'] => return Ok(()),
                    _ => return Err(broken(Fault("a chunk is longer than it says"))),
                },
                Place::Trailers { read, then } => {
                    let Some(line) = line(rest)? else { return Ok(()) };
                    if read + line.len() > LONGEST_LINES {
                        return Err(broken(Fault("the trailers are longer than 16 KiB")));
                    }
                    let (length, is_end) = (line.len(), line.is_empty());
                    if !is_end {
                        head::trailer(line).map_err(broken)?;
                    }
                    self.checked += length + 2;
                    self.place =
                        if is_end { self.after(then) } else { Place::Trailers { read: read + length, then } };
                }
                Place::Waits if self.shared.stayed.replace(false) => self.place = Place::Head,
                Place::Waits | Place::Refused => return Ok(()),
            }
        }
    }

    fn after(&self, next: Next) -> Place {
        match next {
            Next::Request => Place::Head,
            Next::Waits => Place::Waits,
        }
    }

    /// Lets at most this many of the bytes that are there pass; `None` if none is.
    fn pass(&mut self, most: u64) -> Option<u64> {
        let there = self.held.len() - self.checked;
        let passed = usize::try_from(most).unwrap_or(usize::MAX).min(there);
        self.checked += passed;
        (passed > 0).then_some(passed as u64)
    }

    fn refuse(&mut self, fault: Fault) {
        self.shared.fault.set(Some((self.shared.heads.get() + 1, fault)));
        self.held.truncate(self.checked);
        self.held.extend_from_slice(STAND_IN);
        self.checked = self.held.len();
        self.place = Place::Refused;
    }
}

impl Shared {
    /// Why the request with this number, the first being 1, is refused.
    pub(super) fn fault(&self, number: u64) -> Option<Fault> {
        self.fault.get().filter(|(refused, _)| *refused == number).map(|(_, fault)| fault)
    }

    /// The connection stays one of requests.
    pub(super) fn stay(&self) {
        self.stayed.set(true);
        if let Some(waker) = self.waiting.borrow_mut().take() {
            waker.wake();
        }
    }
}

fn broken(fault: Fault) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, fault.0)
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
fn line(bytes: &[u8]) -> io::Result<Option<&[u8]>> {
    let fault = || broken(Fault("a line of a chunked body does not end in CR LF, or is longer than 16 KiB"));
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => match bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")) {
            Some(line) if !line.contains(&b'\r') => Ok(Some(line)),
            _ => Err(fault()),
        },
        None if bytes.len() > LONGEST_LINES => Err(fault()),
        None => Ok(None),
    }
}

impl hyper::rt::Read for Gate {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut out: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        loop {
            gate.check()?;
            if gate.checked > 0 {
                let passed = gate.checked.min(out.remaining());
                out.put_slice(gate.held.get(..passed).unwrap_or(&[]));
                gate.held.advance(passed);
                gate.checked -= passed;
                return Poll::Ready(Ok(()));
            }
            match gate.place {
                Place::Refused => return Poll::Ready(Ok(())),
                Place::Waits => {
                    *gate.shared.waiting.borrow_mut() = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                _ => {}
            }
            let mut buffer = [0; BUFFER];
            let mut buffer = ReadBuf::new(&mut buffer);
            std::task::ready!(Pin::new(&mut gate.stream).poll_read(cx, &mut buffer))?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            gate.silence.broken();
            gate.held.extend_from_slice(buffer.filled());
        }
    }
}

impl hyper::rt::Write for Gate {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let gate = self.get_mut();
        gate.silence.broken();
        Pin::new(&mut gate.stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
