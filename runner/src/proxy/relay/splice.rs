//! Bytes that never come into this process: `splice(2)` moves them through a pipe in the kernel. A pipe is held only
//! while bytes are in it, so a thousand silent connections hold none.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::{Ended, Silence, close_half, copy_between};

/// What moves at once, and what a pipe is asked to hold.
const SIZE: usize = 512 * 1024;
/// How many empty pipes are kept.
const KEPT: usize = 64;

/// A pipe.
#[derive(Debug)]
struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
}

/// Empty pipes.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Pipes(RefCell<Vec<Pipe>>);

impl Pipes {
    fn take(&self) -> io::Result<Pipe> {
        if let Some(pipe) = self.0.borrow_mut().pop() {
            return Ok(pipe);
        }
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        // A user has a limit of such memory: a smaller pipe does as well.
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(i32::try_from(SIZE).unwrap_or(i32::MAX)));
        Ok(Pipe { read, write })
    }

    /// Takes a pipe back; it must be empty.
    fn give(&self, pipe: Pipe) {
        let mut kept = self.0.borrow_mut();
        if kept.len() < KEPT {
            kept.push(pipe);
        }
    }
}

/// Moves everything from one connection to the other.
pub(in crate::proxy) async fn all(
    from: &TcpStream,
    to: &TcpStream,
    pipes: &Pipes,
    silence: &Silence,
) -> Ended {
    loop {
        from.readable().await?;
        let Ok(pipe) = pipes.take() else { return copy_between(from, to, silence).await };
        let moved = from.try_io(Interest::READABLE, || Ok(some(from, &pipe.write, SIZE)?));
        let mut left = match moved {
            Ok(0) => {
                pipes.give(pipe);
                break;
            }
            Ok(moved) => moved,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                pipes.give(pipe);
                continue;
            }
            Err(error) => return Err(error),
        };
        silence.broken();
        while left > 0 {
            let moved = to.async_io(Interest::WRITABLE, || Ok(some(&pipe.read, to, left)?)).await?;
            left = left.saturating_sub(moved);
            silence.broken();
        }
        pipes.give(pipe);
        tokio::task::consume_budget().await;
    }
    close_half(to);
    Ok(())
}

fn some(from: &impl AsFd, to: &impl AsFd, most: usize) -> nix::Result<usize> {
    splice(from, None, to, None, most, SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK)
}
