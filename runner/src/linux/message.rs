//! What the processes of a launch tell each other through their pipes.

use std::os::fd::RawFd;

use nix::errno::Errno;

use super::sys;
use crate::launch::Phase;

/// From inside to the parent: one message is one write of 16 bytes, which a pipe never splits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// The operation with this index failed.
    Failed(List, u32, i32),
    /// A phase ended at this time of the monotonic clock, in nanoseconds.
    Reached(u32, u64),
    /// The command exited with this code.
    Exited(i32),
    /// This signal ended the command.
    Signalled(i32),
    /// This signal stopped the command.
    Stopped(i32),
    /// The time limit ended the command.
    TimedOut,
    /// The sandbox of a session is made.
    Ready,
    /// The processor time of all processes together was used up.
    UsedUp,
}

/// Which list an operation belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// What makes the sandbox.
    Sandbox,
    /// What the command's process does.
    Command,
    /// What the first process does between both.
    First,
}

/// The length of a message.
pub(crate) const LENGTH: usize = 16;

impl Message {
    /// Sends it; that nobody listens any more is not an error of the sender.
    pub(super) fn send(self, pipe: RawFd) {
        let _ = sys::write(pipe, &self.encode());
    }

    /// Reports that the operation with this index failed.
    pub(super) fn failed(list: List, index: usize, errno: Errno) -> Message {
        Message::Failed(list, u32::try_from(index).unwrap_or(u32::MAX), errno as i32)
    }

    /// Reports that a phase has just ended.
    pub(super) fn reached(phase: Phase) -> Message {
        Message::Reached(phase as u32, sys::now())
    }

    pub(super) fn encode(self) -> [u8; LENGTH] {
        let (kind, first, second): (u32, u32, u64) = match self {
            Message::Failed(List::Sandbox, index, errno) => (1, index, word(errno)),
            Message::Failed(List::Command, index, errno) => (2, index, word(errno)),
            Message::Failed(List::First, index, errno) => (3, index, word(errno)),
            Message::Reached(phase, time) => (4, phase, time),
            Message::Exited(code) => (5, 0, word(code)),
            Message::Signalled(signal) => (6, 0, word(signal)),
            Message::Stopped(signal) => (7, 0, word(signal)),
            Message::TimedOut => (8, 0, 0),
            Message::Ready => (9, 0, 0),
            Message::UsedUp => (10, 0, 0),
        };
        let all = u128::from(kind) | u128::from(first) << 32 | u128::from(second) << 64;
        all.to_le_bytes()
    }

    /// Reads a message; `None` for what is none.
    pub(super) fn decode(bytes: [u8; LENGTH]) -> Option<Message> {
        let all = u128::from_le_bytes(bytes);
        let (first, second) = ((all >> 32) as u32, (all >> 64) as u64);
        let number = second as u32 as i32;
        Some(match all as u32 {
            1 => Message::Failed(List::Sandbox, first, number),
            2 => Message::Failed(List::Command, first, number),
            3 => Message::Failed(List::First, first, number),
            4 => Message::Reached(first, second),
            5 => Message::Exited(number),
            6 => Message::Signalled(number),
            7 => Message::Stopped(number),
            8 => Message::TimedOut,
            9 => Message::Ready,
            10 => Message::UsedUp,
            _ => return None,
        })
    }
}

fn word(number: i32) -> u64 {
    u64::from(number.cast_unsigned())
}

/// From the parent to the first process: a signal that the parent got, as one byte. The top bit says that it
/// came from the kernel (a key of the terminal), which everybody in the process group gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forward {
    /// Which.
    pub(super) signal: i32,
    /// Whether the kernel sent it.
    pub(super) origin: Origin,
}

/// Who sent a signal to the parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The kernel.
    Kernel,
    /// A process.
    Process,
}

impl Forward {
    /// As a byte.
    pub(super) fn encode(self) -> u8 {
        let mark = if self.origin == Origin::Kernel { 0x80 } else { 0 };
        (self.signal & 0x7f) as u8 | mark
    }

    /// From a byte.
    pub(super) fn decode(byte: u8) -> Forward {
        let origin = if byte & 0x80 == 0 { Origin::Process } else { Origin::Kernel };
        Forward { signal: i32::from(byte & 0x7f), origin }
    }
}

#[cfg(test)]
mod tests {
    use super::{Forward, List, Message, Origin};

    #[test]
    fn every_message_survives_the_pipe() {
        for message in [
            Message::Failed(List::Sandbox, 7, 13),
            Message::Failed(List::Command, u32::MAX, 2),
            Message::Failed(List::First, 0, 11),
            Message::Reached(3, u64::MAX),
            Message::Exited(255),
            Message::Signalled(64),
            Message::Stopped(20),
            Message::TimedOut,
            Message::Ready,
            Message::UsedUp,
        ] {
            assert_eq!(Message::decode(message.encode()), Some(message));
        }
        assert_eq!(Message::decode([0; 16]), None);
    }

    #[test]
    fn every_signal_survives_the_pipe() {
        for signal in 1..65 {
            for origin in [Origin::Kernel, Origin::Process] {
                let forward = Forward { signal, origin };
                assert_eq!(Forward::decode(forward.encode()), forward);
            }
        }
    }
}
