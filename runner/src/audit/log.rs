//! The file that `--log` names: JSON Lines, one event each.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Event;
use super::text::visible_json;

/// A log of events that is being written.
#[derive(Debug)]
pub struct Log {
    file: File,
    path: PathBuf,
}

/// Why a log could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} the log `{}`", path.display())]
pub struct LogError {
    doing: &'static str,
    path: PathBuf,
    #[source]
    error: io::Error,
}

impl Log {
    /// Opens a file to add events at its end; a new one is readable by its owner only. A link is not followed, but
    /// for those of `/dev`: whoever wrote the directory could lead the log into any file of the person's.
    ///
    /// # Errors
    /// Says which file, and why it cannot be opened.
    pub fn open(path: &Path) -> Result<Log, LogError> {
        let follow = if path.starts_with("/dev") { 0 } else { libc::O_NOFOLLOW };
        OpenOptions::new()
            .custom_flags(follow)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map(|file| Log { file, path: path.to_owned() })
            .map_err(|error| match error.raw_os_error() {
                Some(libc::ELOOP) => io::Error::other("it is a link; name the file that it leads to"),
                _ => error,
            })
            .map_err(|error| LogError { doing: "open", path: path.to_owned(), error })
    }

    /// The number of its descriptor, for a process that closes all others.
    #[must_use]
    pub fn descriptor(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.file)
    }

    /// Adds an event, as one write, so that several runs can share a file.
    ///
    /// # Errors
    /// Says which file, and why it cannot be written.
    pub fn add(&mut self, event: &Event) -> Result<(), LogError> {
        let mut line = event.to_json_line();
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(|error| LogError {
            doing: "write",
            path: self.path.clone(),
            error,
        })
    }
}

impl Event {
    /// The event as one line of JSON, in which every control and hidden character is escaped.
    #[must_use]
    pub fn to_json_line(&self) -> String {
        // INVARIANT: an event is made of texts and numbers, and the keys of its objects are texts.
        serde_json::to_string(self).map(|json| visible_json(&json)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::Log;

    #[test]
    fn a_log_does_not_follow_a_link() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("elsewhere", folder.path().join("log")).unwrap();
        let error = Log::open(&folder.path().join("log")).unwrap_err();
        let reason = error.source().map(ToString::to_string);
        assert_eq!(reason.as_deref(), Some("it is a link; name the file that it leads to"));
        assert!(!folder.path().join("elsewhere").exists());
        assert!(Log::open(&folder.path().join("file")).is_ok());
        assert!(
            Log::open(std::path::Path::new("/dev/stderr")).is_ok()
                || !std::path::Path::new("/dev/stderr").exists()
        );
    }
}
