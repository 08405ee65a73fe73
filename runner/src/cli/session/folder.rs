//! Where the sessions of a person are found: one folder below fence's state, which nobody else can enter and which is never
//! writable from inside a sandbox. Each session is a directory there, with its socket.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, bind, connect, listen, recv, socket,
};

use super::wire::{Kind, send};
use crate::load::to_path;
use crate::trust::state_folder;

/// The sessions of the caller.
pub(super) struct Folder(PathBuf);

/// The name of the socket in a session's directory.
const SOCKET: &str = "socket";

/// How long a name may be.
const LONGEST: usize = 64;

/// Refuses what is no name of a session.
pub(super) fn check_name(name: &str) -> anyhow::Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > LONGEST || name.starts_with(['-', '.']) || !name.chars().all(plain) {
        bail!(
            "`{}` is no name of a session: letters, digits, `-`, `_` and `.`, not more than {LONGEST}",
            crate::audit::visible(name)
        );
    }
    Ok(())
}

impl Folder {
    /// That of the caller.
    pub(super) fn of_caller() -> anyhow::Result<Folder> {
        let person = crate::host::person()?;
        Ok(Folder(to_path(&state_folder(&person.home)).join("sessions")))
    }

    /// The names that are taken, in order; some may be left over.
    pub(super) fn names(&self) -> anyhow::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.with_context(|| format!("cannot read `{}`", self.0.display()))?,
        };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| check_name(name).is_ok());
        names.sort();
        Ok(names)
    }

    /// Makes the directory of a session and listens there; refuses a name that is in use.
    pub(super) fn listen(&self, name: &str) -> anyhow::Result<(PathBuf, OwnedFd)> {
        let state = self.0.parent().unwrap_or(&self.0);
        fs::create_dir_all(state.parent().unwrap_or(state))
            .with_context(|| format!("cannot make `{}`", state.display()))?;
        for folder in [state, &self.0] {
            private(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
            refuse_shared(folder)?;
        }
        let own = self.0.join(name);
        if !private(&own).with_context(|| format!("cannot make `{}`", own.display()))? {
            if self.reach(name)?.is_some() {
                bail!("there is a session `{name}` already; stop it first: fence session stop {name}");
            }
            // Whoever kept it was killed.
            let _ = fs::remove_file(own.join(SOCKET));
        }
        refuse_shared(&own)?;
        let made = endpoint()?;
        let directory = opened(&own)?;
        bind(made.as_raw_fd(), &address(&directory)?).context("cannot make the socket of the session")?;
        listen(&made, Backlog::new(4096).unwrap_or(Backlog::MAXCONN))?;
        Ok((own, made))
    }

    /// A connection to a session; `None` if there is none, and what is left of it is removed.
    pub(super) fn reach(&self, name: &str) -> anyhow::Result<Option<OwnedFd>> {
        let own = self.0.join(name);
        let Ok(directory) = opened(&own) else { return Ok(None) };
        let made = endpoint()?;
        match connect(made.as_raw_fd(), &address(&directory)?) {
            Ok(()) => Ok(Some(made)),
            Err(Errno::ECONNREFUSED) => {
                remove(&own);
                Ok(None)
            }
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(errno).with_context(|| format!("cannot reach the session `{name}`")),
        }
    }

    /// Asks a session for something that is answered with a text; `None` if there is none.
    pub(super) fn ask(&self, name: &str, kind: Kind) -> anyhow::Result<Option<String>> {
        let Some(connection) = self.reach(name)? else { return Ok(None) };
        if send(&connection, kind, &[]).is_err() {
            return Ok(None);
        }
        let mut text = vec![0; 4096];
        let length = match recv(connection.as_raw_fd(), &mut text, MsgFlags::empty()) {
            Ok(length) => length,
            Err(Errno::ECONNRESET) => 0,
            Err(errno) => return Err(errno).with_context(|| format!("no answer from the session `{name}`")),
        };
        text.truncate(length);
        if kind == Kind::Stop {
            // The end of the connection is the end of the session.
            let _ = recv(connection.as_raw_fd(), &mut [0; 1], MsgFlags::empty());
        }
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }
}

/// Removes the directory of a session that has ended.
pub(super) fn remove(own: &Path) {
    let _ = fs::remove_file(own.join(SOCKET));
    let _ = fs::remove_dir(own);
}

fn endpoint() -> anyhow::Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
        .context("cannot make a socket")
}

/// The address of a session's socket: by its directory's descriptor, because the path may be longer than an address.
fn address(directory: &fs::File) -> anyhow::Result<UnixAddr> {
    let path = format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd());
    UnixAddr::new(path.as_str()).context("cannot name the socket of the session")
}

fn opened(own: &Path) -> io::Result<fs::File> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
    fs::File::options().read(true).custom_flags(flags).open(own)
}

/// Makes a directory for oneself alone; whether it was not there.
fn private(folder: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Refuses a directory that is not the caller's own, or that others can enter.
fn refuse_shared(folder: &Path) -> anyhow::Result<()> {
    let found =
        fs::symlink_metadata(folder).with_context(|| format!("cannot look at `{}`", folder.display()))?;
    if !found.is_dir() || found.uid() != nix::unistd::geteuid().as_raw() || found.mode() & 0o077 != 0 {
        bail!(
            "`{}` must be a directory of yours that nobody else can enter: chmod 700 {0}",
            folder.display()
        );
    }
    Ok(())
}
