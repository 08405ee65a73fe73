//! The file tree, looked at while lowering.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::host::{Entry, Files, LinkText};

/// The machine's own file tree.
#[derive(Clone, Copy, Debug)]
pub struct ProbedFiles;

impl Files for ProbedFiles {
    fn entry(&mut self, path: &AbsolutePath) -> Entry {
        read_entry(path)
    }

    fn names(&mut self, directory: &AbsolutePath) -> Vec<Vec<u8>> {
        let mut names: Vec<Vec<u8>> = std::fs::read_dir(as_path(directory))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.file_name().as_bytes().to_vec())
            .collect();
        names.sort();
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
            Ok(text) => Entry::Link(LinkText::new(text.as_os_str().as_bytes())),
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
