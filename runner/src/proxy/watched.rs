//! What the process goes on doing beside serving.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::Poll;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::Watch;

/// Lets the watch handle what is ready, until it breaks.
pub(super) async fn watched(watch: &mut dyn Watch) -> io::Result<()> {
    let waiting = watch.descriptors()?.into_iter().map(waiting).collect::<io::Result<Vec<_>>>()?;
    loop {
        // Told again if more comes from here on.
        let mut told = poll_fn(|cx| {
            let mut told = Vec::new();
            for waiting in &waiting {
                if let Poll::Ready(guard) = waiting.poll_read_ready(cx) {
                    told.push(guard?);
                }
            }
            if told.is_empty() { Poll::Pending } else { Poll::Ready(io::Result::Ok(told)) }
        })
        .await?;
        while is_ready(waiting.iter().map(AsyncFd::get_ref))? {
            if watch.turn().is_break() {
                return Ok(());
            }
        }
        told.iter_mut().for_each(tokio::io::unix::AsyncFdReadyGuard::clear_ready);
    }
}

/// Waits for a descriptor of one's own.
pub(crate) fn waiting(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned by what is made, which nothing takes it out of.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    registered.map_err(io::Error::from)
}

/// Whether one of them can be read now, or has ended.
pub(super) fn is_ready<'a>(descriptors: impl Iterator<Item = &'a OwnedFd>) -> io::Result<bool> {
    let mut asked: Vec<PollFd<'_>> =
        descriptors.map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
    match poll(&mut asked, PollTimeout::ZERO) {
        Ok(ready) => Ok(ready > 0),
        Err(nix::errno::Errno::EINTR) => Ok(true),
        Err(errno) => Err(errno.into()),
    }
}
