//! What `fence session run` and a session's manager tell each other.
//!
//! One message asks: a byte that says for what, and descriptors. A command to run comes with memory that holds it as texts
//! ended by NUL, with its standard descriptors, and with a socket where it is told what somebody wants to see of it. What is refused is answered with a text; of a command that was started
//! the first process of the sandbox tells by the same connection.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use fence_compiler::policy::Policy;

use crate::linux::session::{Size, memory, receive, send_with};
use crate::session::judged::Wanted;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// To run a command.
    Run = 1,
    /// What the session is.
    About = 2,
    /// To end.
    Stop = 3,
    /// Why a command was not started.
    Explain = 4,
    /// What its policy was made of.
    Origin = 5,
    /// To hold commands by a narrower policy.
    Reload = 6,
    /// To run a command, and to tell what is logged of it.
    Log = 7,
    /// To run a command, and to tell all that it is refused.
    Monitor = 8,
}

impl Kind {
    pub(super) fn of(byte: u8) -> Option<Kind> {
        use Kind::{About, Explain, Log, Monitor, Origin, Reload, Run, Stop};
        [Run, About, Stop, Explain, Origin, Reload, Log, Monitor].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The first byte of a text that answers: no message about a command begins so.
pub(super) const TEXT: u8 = 0xff;

/// The most that a command may hold: what the system takes as arguments and environment, and some more.
const LARGEST: u64 = 16 << 20;

/// Asks for something.
pub(super) fn send(connection: &OwnedFd, kind: Kind, descriptors: &[RawFd]) -> io::Result<()> {
    send_with(connection.as_raw_fd(), kind as u8, descriptors)
}

/// What was asked for, and the descriptors that came with it.
pub(super) fn take(connection: &OwnedFd) -> io::Result<(Option<Kind>, Vec<OwnedFd>)> {
    let (byte, descriptors) = receive(connection.as_raw_fd())?;
    Ok((byte.and_then(Kind::of), descriptors))
}

/// Memory that holds a command.
pub(super) fn written(wanted: &Wanted) -> io::Result<OwnedFd> {
    memory(&texts(wanted))
}

/// Memory that holds a policy.
pub(super) fn policy_written(policy: &Policy) -> io::Result<OwnedFd> {
    memory(&serde_json::to_vec(policy)?)
}

/// The policy that memory holds; `None` for what is none.
pub(super) fn policy_read(memory: OwnedFd) -> Option<Policy> {
    serde_json::from_slice(&held(memory)?).ok()
}

/// A command as texts.
pub(super) fn texts(wanted: &Wanted) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut add = |text: &[u8]| {
        bytes.extend_from_slice(text);
        bytes.push(0);
    };
    add(wanted.umask.to_string().as_bytes());
    let window = wanted.terminal.map(|Size { lines, columns }| format!("{lines} {columns}"));
    add(window.unwrap_or_default().as_bytes());
    add(wanted.directory.as_os_str().as_bytes());
    add(wanted.argv.len().to_string().as_bytes());
    wanted.argv.iter().for_each(|word| add(word.as_bytes()));
    for (name, value) in &wanted.environment {
        add(&[name.as_bytes(), b"=", value.as_bytes()].concat());
    }
    bytes
}

/// The command that memory holds; `None` for what is none.
pub(super) fn read(memory: OwnedFd) -> Option<Wanted> {
    of_texts(held(memory)?)
}

fn held(memory: OwnedFd) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = File::from(memory);
    io::Seek::rewind(&mut file).ok()?;
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The command that texts are; `None` for what is none.
pub(super) fn of_texts(mut bytes: Vec<u8>) -> Option<Wanted> {
    bytes.pop_if(|last| *last == 0)?;
    let mut texts = bytes.split(|byte| *byte == 0);
    let number = |texts: &mut dyn Iterator<Item = &[u8]>| -> Option<usize> {
        std::str::from_utf8(texts.next()?).ok()?.parse().ok()
    };
    let umask = u32::try_from(number(&mut texts)?).ok()? & 0o777;
    let window = std::str::from_utf8(texts.next()?).ok()?;
    let terminal = match window.split_once(' ') {
        Some((lines, columns)) => Some(Size { lines: lines.parse().ok()?, columns: columns.parse().ok()? }),
        None if window.is_empty() => None,
        None => return None,
    };
    let directory = PathBuf::from(OsString::from_vec(texts.next()?.to_vec()));
    let count = number(&mut texts)?;
    let argv: Vec<OsString> =
        texts.by_ref().take(count).map(|word| OsString::from_vec(word.to_vec())).collect();
    if argv.len() != count {
        return None;
    }
    let environment = texts
        .filter_map(|pair| {
            let equals = pair.iter().skip(1).position(|byte| *byte == b'=')? + 1;
            let (name, value) = (pair.get(..equals)?, pair.get(equals + 1..)?);
            Some((OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec())))
        })
        .collect();
    Some(Wanted { argv, environment, directory, umask, terminal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_survives_the_way_to_the_manager() {
        let wanted = Wanted {
            argv: ["sh", "", "a b", "\u{e9}"].map(OsString::from).into(),
            environment: vec![("A".into(), "b=c".into()), ("EMPTY".into(), "".into())],
            directory: "/var/tmp".into(),
            umask: 0o27,
            terminal: Some(Size { lines: 0, columns: u16::MAX }),
        };
        assert_eq!(read(written(&wanted).unwrap()), Some(wanted.clone()));
        let none = Wanted { environment: Vec::new(), argv: vec![OsString::new()], terminal: None, ..wanted };
        assert_eq!(read(written(&none).unwrap()), Some(none));
    }

    #[test]
    fn what_is_no_command_is_none() {
        for bytes in [
            &b""[..],
            b"\0",
            b"7\0\0/\0",
            b"7\0\0/\x002\0a\0",
            b"x\0\0/\x000\0",
            b"7\0\0/\x00-1\0",
            b"7\x001\0/\x000\0",
            b"no end",
        ] {
            assert_eq!(read(memory(bytes).unwrap()), None, "{bytes:?}");
        }
    }
}
