//! A connection to the outside, as the library that passes requests on uses it.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::limits::Silence;
use super::super::link::Link;

/// What is read at once.
const BUFFER: usize = 16 * 1024;

/// A connection that notes when something is heard on it.
pub(super) struct Outside {
    pub(super) link: Link,
    pub(super) silence: Rc<Silence>,
}

impl hyper::rt::Read for Outside {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut out: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let outside = self.get_mut();
        let mut buffer = [0; BUFFER];
        let room = out.remaining().min(BUFFER);
        let mut buffer = ReadBuf::new(buffer.get_mut(..room).unwrap_or(&mut []));
        std::task::ready!(Pin::new(&mut outside.link).poll_read(cx, &mut buffer))?;
        outside.silence.broken();
        out.put_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Outside {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outside = self.get_mut();
        outside.silence.broken();
        Pin::new(&mut outside.link).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().link).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().link).poll_shutdown(cx)
    }
}
