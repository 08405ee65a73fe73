//! Reads one policy file.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use fence_compiler::bytes::AbsolutePath;

use super::to_path;

/// The largest policy text there is.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Who may own a file, and who may write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trustees {
    /// Anybody: the file was named by the person, or is held against a recorded hash.
    Anybody,
    /// This user or root; nobody else may write it.
    User(u32),
    /// Root; nobody else may write it.
    Root,
}

/// Why a file could not be read as a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// There is none.
    #[error("no such file")]
    Missing,
    /// The system refuses it.
    #[error("{0}")]
    System(String),
    /// It is a directory, a device, a FIFO or a socket.
    #[error("not a regular file")]
    NotAFile,
    /// It is too large.
    #[error("larger than 16 MiB")]
    TooLarge,
    /// It is not text.
    #[error("not UTF-8 at byte {0}")]
    NotText(usize),
    /// Somebody else owns it.
    #[error("owned by user {owner}; only you or root may own it: chown it")]
    Owner {
        /// Who.
        owner: u32,
    },
    /// Others may write it.
    #[error("writable by others (mode {mode:04o}): `chmod go-w` it")]
    Writable {
        /// Its mode.
        mode: u32,
    },
}

/// Reads a policy's text: a regular file of at most 16 MiB, in UTF-8, owned and writable by nobody but those
/// trusted.
///
/// # Errors
/// Says what of that does not hold.
pub fn read(path: &AbsolutePath, trustees: Trustees) -> Result<String, ReadError> {
    let system = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ReadError::Missing,
        io::ErrorKind::PermissionDenied => ReadError::System("permission denied".to_owned()),
        _ => ReadError::System(error.to_string()),
    };
    // Non-blocking, so that a FIFO in place of a policy keeps nobody waiting.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(to_path(path))
        .map_err(system)?;
    let found = file.metadata().map_err(system)?;
    if !found.is_file() {
        return Err(ReadError::NotAFile);
    }
    owned(&found, trustees)?;
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(system)?;
    if bytes.len() as u64 > LARGEST {
        return Err(ReadError::TooLarge);
    }
    String::from_utf8(bytes).map_err(|error| ReadError::NotText(error.utf8_error().valid_up_to()))
}

fn owned(found: &std::fs::Metadata, trustees: Trustees) -> Result<(), ReadError> {
    let owners: &[u32] = match &trustees {
        Trustees::Anybody => return Ok(()),
        Trustees::User(uid) => &[*uid, 0],
        Trustees::Root => &[0],
    };
    if !owners.contains(&found.uid()) {
        return Err(ReadError::Owner { owner: found.uid() });
    }
    if found.mode() & 0o022 != 0 {
        return Err(ReadError::Writable { mode: found.mode() & 0o7777 });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;

    use fence_compiler::bytes::AbsolutePath;

    use super::{ReadError, Trustees, read};

    #[test]
    fn only_a_small_text_of_the_right_owner_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| AbsolutePath::new(folder.path().join(name).as_os_str().as_bytes()).unwrap();
        let uid = nix::unistd::getuid().as_raw();
        fs::write(folder.path().join("text"), "fence 1\n").unwrap();
        fs::set_permissions(folder.path().join("text"), fs::Permissions::from_mode(0o644)).unwrap();
        fs::write(folder.path().join("bytes"), b"fence\xff").unwrap();
        fs::write(folder.path().join("large"), vec![b'#'; 16 * 1024 * 1024 + 1]).unwrap();
        nix::unistd::mkfifo(&folder.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();

        assert_eq!(read(&at("text"), Trustees::User(uid)), Ok("fence 1\n".to_owned()));
        assert_eq!(read(&at("none"), Trustees::Anybody), Err(ReadError::Missing));
        assert_eq!(read(&at("text").join(b"x"), Trustees::Anybody), Err(ReadError::Missing));
        assert_eq!(read(&at("bytes"), Trustees::Anybody), Err(ReadError::NotText(5)));
        assert_eq!(read(&at("large"), Trustees::Anybody), Err(ReadError::TooLarge));
        assert_eq!(read(&at("fifo"), Trustees::Anybody), Err(ReadError::NotAFile));
        assert_eq!(read(&at(""), Trustees::Anybody), Err(ReadError::NotAFile));

        fs::set_permissions(folder.path().join("text"), fs::Permissions::from_mode(0o664)).unwrap();
        assert_eq!(read(&at("text"), Trustees::User(uid)), Err(ReadError::Writable { mode: 0o664 }));
        assert!(read(&at("text"), Trustees::Anybody).is_ok());
        if uid == 0 {
            fs::set_permissions(folder.path().join("text"), fs::Permissions::from_mode(0o644)).unwrap();
            nix::unistd::chown(&folder.path().join("text"), Some(12345.into()), None).unwrap();
            assert_eq!(read(&at("text"), Trustees::User(uid)), Err(ReadError::Owner { owner: 12345 }));
            assert_eq!(read(&at("text"), Trustees::Root), Err(ReadError::Owner { owner: 12345 }));
        }
    }
}
