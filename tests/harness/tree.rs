//! A file tree as it was at one moment, to be compared with the same tree later.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What was found at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Leaf {
    kind: &'static str,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    links: u64,
    /// A file's content, a link's text.
    content: Vec<u8>,
}

/// How a path differs whose time alone changed.
pub const TOUCHED: &str = "its time changed";

/// A snapshot of a tree: every path with what lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree(BTreeMap<PathBuf, Leaf>);

impl Tree {
    /// Looks at everything below a directory. Links are not followed; what cannot be read has no content.
    pub fn of(root: &Path) -> Tree {
        let mut leaves = BTreeMap::new();
        let mut open = vec![root.to_owned()];
        while let Some(path) = open.pop() {
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let kind = metadata.file_type();
            let (kind, content) = if kind.is_dir() {
                open.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
                ("directory", Vec::new())
            } else if kind.is_symlink() {
                (
                    "link",
                    fs::read_link(&path).map_or_else(|_| Vec::new(), |to| to.as_os_str().as_bytes().to_vec()),
                )
            } else if kind.is_file() {
                ("file", fs::read(&path).unwrap_or_default())
            } else if kind.is_socket() {
                ("socket", Vec::new())
            } else if kind.is_fifo() {
                ("fifo", Vec::new())
            } else {
                ("device", Vec::new())
            };
            let leaf = Leaf {
                kind,
                mode: metadata.mode() & 0o7777,
                owner: (metadata.uid(), metadata.gid()),
                modified: (metadata.mtime(), metadata.mtime_nsec()),
                links: metadata.nlink(),
                content,
            };
            leaves.insert(path, leaf);
        }
        Tree(leaves)
    }

    /// The paths that differ, each with how: a word a line. A directory whose entries came or went is among
    /// them, because its time of modification changed.
    pub fn changes(&self, later: &Tree) -> BTreeMap<PathBuf, String> {
        let paths: BTreeSet<&PathBuf> = self.0.keys().chain(later.0.keys()).collect();
        let mut changes = BTreeMap::new();
        for path in paths {
            let how = match (self.0.get(path), later.0.get(path)) {
                (Some(before), Some(after)) => before.difference(after),
                (None, Some(after)) => Some(format!("a {} came", after.kind)),
                (Some(before), None) => Some(format!("the {} went", before.kind)),
                (None, None) => None,
            };
            if let Some(how) = how {
                changes.insert(path.clone(), how);
            }
        }
        changes
    }
}

impl Leaf {
    fn difference(&self, after: &Leaf) -> Option<String> {
        let mut words = Vec::new();
        if self.kind != after.kind {
            words.push(format!("{} became {}", self.kind, after.kind));
        }
        if self.mode != after.mode {
            words.push(format!("mode {:o} became {:o}", self.mode, after.mode));
        }
        if self.owner != after.owner {
            words.push(format!("owner {:?} became {:?}", self.owner, after.owner));
        }
        if self.content != after.content {
            words.push(format!(
                "content became {:?}",
                OsStr::from_bytes(&after.content[..after.content.len().min(80)])
            ));
        }
        if self.kind == "file" && self.links != after.links {
            words.push(format!("{} names became {}", self.links, after.links));
        }
        if words.is_empty() && self.modified != after.modified {
            words.push(TOUCHED.to_owned());
        }
        (!words.is_empty()).then(|| words.join(", "))
    }
}
