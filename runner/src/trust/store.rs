//! The folder of records.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use fence_compiler::bytes::AbsolutePath;
use sha2::{Digest, Sha256};

use super::{RECORD_VERSION, Record, Standing, hex};
use crate::load::{to_path, xdg};

/// The largest record there is.
const LARGEST: u64 = 64 * 1024;

/// The records of one person.
#[derive(Clone, Debug)]
pub struct Store {
    state: AbsolutePath,
    uid: u32,
}

/// Why records cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The system refuses something.
    #[error("cannot {doing} `{path}`: {error}")]
    System {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: AbsolutePath,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// Inside a sandbox nothing is trusted.
    #[error("cannot record trust: `{path}` is not writable here, as inside a sandbox; trust it outside")]
    ReadOnly {
        /// The folder.
        path: AbsolutePath,
    },
    /// Somebody else could have written it.
    #[error("`{path}` is not to be relied on: {problem}; remove it, and what it held is asked for again")]
    Unsafe {
        /// The file or folder.
        path: AbsolutePath,
        /// What is wrong.
        problem: String,
    },
}

impl Store {
    /// The records of the person with this home.
    #[must_use]
    pub fn new(home: &AbsolutePath, uid: u32) -> Store {
        Store { state: state_folder(home), uid }
    }

    /// Where a policy with this hash stands.
    ///
    /// # Errors
    /// A record that is there cannot be relied on.
    pub fn standing(&self, file: &AbsolutePath, sha256: &str) -> Result<Standing, TrustError> {
        Ok(match self.record(&self.record_path(file))? {
            Some(record) if record.file == *file && record.sha256 == sha256 => Standing::Trusted,
            Some(record) if record.file == *file => Standing::Changed(record),
            _ => Standing::Unknown,
        })
    }

    /// Records that a policy is trusted.
    ///
    /// # Errors
    /// The folder cannot be written, or somebody else could write it.
    pub fn trust(&self, record: &Record) -> Result<(), TrustError> {
        let folder = self.make_folder()?;
        let path = self.record_path(&record.file);
        let text = serde_json::to_vec_pretty(record)
            .map_err(|error| system("write", &path, io::Error::other(error)))?;
        let beside = folder.join(format!(".new-{}", std::process::id()).as_bytes());
        let written = write_new(to_path(&beside), &text)
            .and_then(|()| fs::rename(to_path(&beside), to_path(&path)))
            .and_then(|()| File::open(to_path(&folder))?.sync_all());
        written.map_err(|error| {
            let _ = fs::remove_file(to_path(&beside));
            if is_read_only(&error) {
                TrustError::ReadOnly { path: folder.clone() }
            } else {
                system("write", &path, error)
            }
        })
    }

    /// Forgets a policy; tells whether it was trusted.
    ///
    /// # Errors
    /// The record cannot be removed.
    pub fn revoke(&self, file: &AbsolutePath) -> Result<Revoked, TrustError> {
        let path = self.record_path(file);
        match fs::remove_file(to_path(&path)) {
            Ok(()) => Ok(Revoked::Yes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Revoked::WasNone),
            Err(error) if is_read_only(&error) => Err(TrustError::ReadOnly { path: self.folder() }),
            Err(error) => Err(system("remove", &path, error)),
        }
    }

    /// Everything that is trusted, by file.
    ///
    /// # Errors
    /// A record cannot be read or relied on.
    pub fn list(&self) -> Result<Vec<Record>, TrustError> {
        let folder = self.folder();
        let entries = match fs::read_dir(to_path(&folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(system("read", &folder, error)),
        };
        let mut records = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| system("read", &folder, error))?.file_name();
            if name.to_str().is_some_and(|name| name.ends_with(".json")) {
                records.extend(self.record(&folder.join(name.as_encoded_bytes()))?);
            }
        }
        records.sort_by(|a: &Record, b: &Record| a.file.cmp(&b.file));
        Ok(records)
    }

    fn folder(&self) -> AbsolutePath {
        self.state.join(b"trust")
    }

    fn record_path(&self, file: &AbsolutePath) -> AbsolutePath {
        let name = format!("{}.json", hex(&Sha256::digest(file.as_bytes())));
        self.folder().join(name.as_bytes())
    }

    /// Reads one record; `None` where there is none.
    fn record(&self, path: &AbsolutePath) -> Result<Option<Record>, TrustError> {
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(to_path(path));
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
                return Err(untrusted(path, "it is a link"));
            }
            Err(error) => return Err(system("read", path, error)),
        };
        for folder in [self.state.clone(), self.folder()] {
            let found =
                fs::symlink_metadata(to_path(&folder)).map_err(|error| system("look at", &folder, error))?;
            owned(&folder, &found, self.uid)?;
        }
        let found = file.metadata().map_err(|error| system("look at", path, error))?;
        owned(path, &found, self.uid)?;
        if !found.is_file() || found.len() > LARGEST {
            return Err(untrusted(path, "it is no record of trust"));
        }
        let mut text = Vec::new();
        file.take(LARGEST).read_to_end(&mut text).map_err(|error| system("read", path, error))?;
        let record: Record = serde_json::from_slice(&text)
            .map_err(|error| untrusted(path, &format!("it cannot be read: {error}")))?;
        if record.version != RECORD_VERSION {
            return Err(untrusted(path, &format!("it has version {}, this fence knows 1", record.version)));
        }
        Ok(Some(record))
    }

    /// Makes the folder, and what is above it, for this person alone.
    fn make_folder(&self) -> Result<AbsolutePath, TrustError> {
        let folder = self.folder();
        make_state(&self.state, self.uid)?;
        make(&folder, make_private, self.uid)?;
        Ok(folder)
    }
}

/// Whether this person alone can have written something.
pub(crate) fn owned(path: &AbsolutePath, found: &fs::Metadata, uid: u32) -> Result<(), TrustError> {
    if found.uid() != uid {
        return Err(untrusted(path, &format!("user {} owns it", found.uid())));
    }
    if found.mode() & 0o077 != 0 {
        return Err(untrusted(path, &format!("others may use it (mode {:04o})", found.mode() & 0o7777)));
    }
    Ok(())
}

/// The folder of everything that fence keeps about a person, made if there is none; only the person can write it.
pub(crate) fn own_state_folder(home: &AbsolutePath, uid: u32) -> Result<AbsolutePath, TrustError> {
    let state = state_folder(home);
    make_state(&state, uid)?;
    Ok(state)
}

fn make_state(state: &AbsolutePath, uid: u32) -> Result<(), TrustError> {
    let above = state.parent().unwrap_or_else(AbsolutePath::root);
    let with_above = |state: &Path| fs::create_dir_all(to_path(&above)).and_then(|()| make_private(state));
    make(state, with_above, uid)
}

/// Makes a folder, and looks whether it is the person's alone.
fn make(
    folder: &AbsolutePath,
    making: impl FnOnce(&Path) -> io::Result<()>,
    uid: u32,
) -> Result<(), TrustError> {
    making(to_path(folder)).map_err(|error| {
        if is_read_only(&error) {
            TrustError::ReadOnly { path: folder.clone() }
        } else {
            system("make", folder, error)
        }
    })?;
    let found = fs::symlink_metadata(to_path(folder)).map_err(|error| system("look at", folder, error))?;
    if !found.is_dir() {
        return Err(untrusted(folder, "it is no directory"));
    }
    owned(folder, &found, uid)
}

/// Whether something was there to revoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// It was trusted until now.
    Yes,
    /// It was not.
    WasNone,
}

/// The folder of everything that fence keeps about a person.
#[must_use]
pub fn state_folder(home: &AbsolutePath) -> AbsolutePath {
    xdg("XDG_STATE_HOME", home, &[".local", "state"]).join(b"fence")
}

fn make_private(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn is_read_only(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ReadOnlyFilesystem
}

fn system(doing: &'static str, path: &AbsolutePath, error: io::Error) -> TrustError {
    TrustError::System { doing, path: path.clone(), error }
}

fn untrusted(path: &AbsolutePath, problem: &str) -> TrustError {
    TrustError::Unsafe { path: path.clone(), problem: problem.to_owned() }
}

impl Store {
    /// A store in a folder of one's own choice, for tests and for programs that keep their own.
    #[must_use]
    pub fn in_folder(state: AbsolutePath, uid: u32) -> Store {
        Store { state, uid }
    }
}
