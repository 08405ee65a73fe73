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
    /// Opens a file to add events at its end; a new one is readable by its owner only.
    ///
    /// # Errors
    /// Says which file, and why it cannot be opened.
    pub fn open(path: &Path) -> Result<Log, LogError> {
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map(|file| Log { file, path: path.to_owned() })
            .map_err(|error| LogError { doing: "open", path: path.to_owned(), error })
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
