//! The file tree of a Mac, as far as it is the same on every one.

use std::collections::BTreeSet;

use crate::bytes::AbsolutePath;
use crate::host::{Entry, Files, LinkText};

/// Links that every Mac has at its root; a description of a machine need not name them.
const LINKS: [(&[u8], &[u8]); 3] =
    [(b"/etc", b"private/etc"), (b"/tmp", b"private/tmp"), (b"/var", b"private/var")];

/// Directories that every Mac has.
const DIRECTORIES: [&[u8]; 4] = [b"/private", b"/private/etc", b"/private/tmp", b"/private/var"];

/// Answers from the machine, and from what is the same on every Mac where the machine's description says nothing.
pub struct MacFiles<'a> {
    files: &'a mut dyn Files,
}

impl<'a> MacFiles<'a> {
    /// Looks at these files.
    pub fn new(files: &'a mut dyn Files) -> MacFiles<'a> {
        MacFiles { files }
    }
}

impl Files for MacFiles<'_> {
    fn entry(&mut self, path: &AbsolutePath) -> Entry {
        let known = self.files.entry(path);
        if known != Entry::Missing {
            return known;
        }
        let link = LINKS.iter().find(|(at, _)| *at == path.as_bytes());
        match link {
            Some((_, to)) => Entry::Link(LinkText::new(to)),
            None if DIRECTORIES.contains(&path.as_bytes()) => Entry::Directory,
            None => Entry::Missing,
        }
    }

    fn names(&mut self, directory: &AbsolutePath) -> Vec<Vec<u8>> {
        self.files.names(directory)
    }

    fn sockets(&mut self, beneath: &BTreeSet<AbsolutePath>) -> Vec<AbsolutePath> {
        self.files.sockets(beneath)
    }
}
