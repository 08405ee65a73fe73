//! The file tree, looked at while lowering; every answer is recorded.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::host::{Entry, FileFacts, Files, LinkText};

/// The machine's own file tree.
#[derive(Debug, Default)]
pub struct ProbedFiles {
    facts: FileFacts,
}

impl ProbedFiles {
    /// Starts without any fact.
    #[must_use]
    pub fn new() -> ProbedFiles {
        ProbedFiles::default()
    }

    /// What was looked at, and what was there.
    #[must_use]
    pub fn into_facts(self) -> FileFacts {
        self.facts
    }
}

impl Files for ProbedFiles {
    fn entry(&mut self, path: &AbsolutePath) -> Entry {
        if let Some(known) = self.facts.entries.get(path) {
            return known.clone();
        }
        let found = read_entry(path);
        self.facts.entries.insert(path.clone(), found.clone());
        found
    }

    fn names(&mut self, directory: &AbsolutePath) -> Vec<Vec<u8>> {
        let mut names: Vec<Vec<u8>> = std::fs::read_dir(as_path(directory))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().as_bytes().to_vec())
            .collect();
        names.sort();
        let told = names.iter().map(|name| escaped_name(name)).collect();
        self.facts.names.insert(directory.clone(), told);
        names
    }
}

/// What lies at a path now, links not followed.
#[must_use]
pub fn read_entry(path: &AbsolutePath) -> Entry {
    let path = as_path(path);
    let Ok(found) = std::fs::symlink_metadata(path) else { return Entry::Missing };
    let kind = found.file_type();
    if kind.is_symlink() {
        match std::fs::read_link(path) {
            Ok(text) => Entry::Link(LinkText(escaped_name(text.as_os_str().as_bytes()))),
            Err(_) => Entry::Missing,
        }
    } else if kind.is_dir() {
        Entry::Directory
    } else if kind.is_file() {
        Entry::File
    } else {
        Entry::Special
    }
}

fn as_path(path: &AbsolutePath) -> &Path {
    Path::new(OsStr::from_bytes(path.as_bytes()))
}

/// Bytes as a document holds them: what is not UTF-8, control characters and `\` as `\xHH`.
fn escaped_name(name: &[u8]) -> String {
    fence_compiler::bytes::escape(name).into_owned()
}
