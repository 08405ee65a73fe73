//! A client's connection, as the library that serves requests reads it: nothing comes through unchecked.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::head::Fault;
use super::limits::Silence;
use super::requests::{Requests, Step};

/// What is read at once.
const BUFFER: usize = 16 * 1024;

/// A client's connection with the check before it.
#[derive(Debug)]
pub(super) struct Gate {
    stream: TcpStream,
    requests: Requests,
    shared: Rc<Shared>,
    silence: Rc<Silence>,
}

/// What the gate and those who answer the requests know together.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// The request that was refused, and why.
    fault: Cell<Option<(u64, Fault)>>,
    /// Whether the connection has stayed one of requests though it was asked to become something else.
    stayed: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Gate {
    /// A gate for a stream of which some bytes were read already.
    pub(super) fn new(stream: TcpStream, read: &[u8], shared: Rc<Shared>, silence: Rc<Silence>) -> Gate {
        Gate { stream, requests: Requests::new(read), shared, silence }
    }

    /// The stream, and what was read from it and not passed on.
    pub(super) fn into_parts(self) -> (TcpStream, BytesMut) {
        (self.stream, self.requests.into_rest())
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

impl hyper::rt::Read for Gate {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut out: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let gate = self.get_mut();
        loop {
            let step = gate.requests.step();
            gate.shared.fault.set(gate.requests.fault());
            match step.map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault.0))? {
                Step::Take => {
                    let checked = gate.requests.checked();
                    let taken = checked.len().min(out.remaining());
                    out.put_slice(checked.get(..taken).unwrap_or(&[]));
                    gate.requests.take(taken);
                    return Poll::Ready(Ok(()));
                }
                Step::End => return Poll::Ready(Ok(())),
                Step::Wait if gate.shared.stayed.replace(false) => gate.requests.stay(),
                Step::Wait => {
                    *gate.shared.waiting.borrow_mut() = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                Step::Read => {
                    let mut buffer = [0; BUFFER];
                    let mut buffer = ReadBuf::new(&mut buffer);
                    ready!(Pin::new(&mut gate.stream).poll_read(cx, &mut buffer))?;
                    if buffer.filled().is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                    gate.silence.broken();
                    gate.requests.add(buffer.filled());
                }
            }
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
