//! The machine's file tree as a run in an overlay sees it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::host::{Entry, Files};

use super::folder::Place;
use crate::host::{ProbedFiles, read_entry};
use crate::linux::is_opaque;
use crate::load::to_path;

/// The files of the machine, with what an overlay holds in their place.
#[derive(Debug)]
pub struct Merged {
    layers: Vec<(AbsolutePath, AbsolutePath)>,
}

/// What a layer says of a place.
enum Said {
    /// Nothing: what the host has there is seen.
    Nothing,
    /// There is nothing.
    Gone,
    /// This is there.
    There(Entry, AbsolutePath),
}

impl Merged {
    pub(super) fn new(places: &[Place]) -> Merged {
        let layers = places.iter().filter_map(|place| match place {
            Place::Layer { over, kept } => Some((over.clone(), kept.join(b"upper"))),
            Place::Copy { .. } => None,
        });
        Merged { layers: layers.collect() }
    }

    fn layer(&self, path: &AbsolutePath) -> Option<(AbsolutePath, AbsolutePath)> {
        self.layers.iter().find(|(over, _)| path.is_within(over)).cloned()
    }

    /// What a layer has at a place. No component of the path above the last is a link.
    fn said(over: &AbsolutePath, upper: &AbsolutePath, path: &AbsolutePath) -> Said {
        let mut at = upper.clone();
        let below = path.components().skip(over.components().count());
        let count = below.clone().count();
        let mut covered = is_opaque(&at);
        for (number, name) in below.enumerate() {
            at = at.join(name);
            let Ok(found) = fs::symlink_metadata(to_path(&at)) else {
                return if covered { Said::Gone } else { Said::Nothing };
            };
            if is_whiteout(&found) {
                return Said::Gone;
            }
            if number + 1 == count {
                return Said::There(read_entry(&at), at);
            }
            if !found.is_dir() {
                return Said::Gone;
            }
            covered = covered || is_opaque(&at);
        }
        Said::Nothing
    }
}

/// Whether something in a layer stands for nothing being there.
pub(super) fn is_whiteout(found: &fs::Metadata) -> bool {
    found.file_type().is_char_device() && found.rdev() == 0
}

impl Files for Merged {
    fn entry(&mut self, path: &AbsolutePath) -> Entry {
        let host = ProbedFiles.entry(path);
        let Some((over, upper)) = self.layer(path).filter(|(over, _)| over != path) else { return host };
        match Merged::said(&over, &upper, path) {
            Said::Nothing => host,
            Said::Gone => Entry::Missing,
            Said::There(entry, _) => entry,
        }
    }

    fn names(&mut self, directory: &AbsolutePath) -> Vec<Vec<u8>> {
        let host = ProbedFiles.names(directory);
        let Some((over, upper)) = self.layer(directory) else { return host };
        let (kept, at) = if *directory == over {
            (!is_opaque(&upper), upper.clone())
        } else {
            match Merged::said(&over, &upper, directory) {
                Said::Nothing => return host,
                Said::Gone => return Vec::new(),
                Said::There(_, at) => (Merged::is_merged(&over, &upper, directory), at),
            }
        };
        let mut names: BTreeSet<Vec<u8>> = if kept { host.into_iter().collect() } else { BTreeSet::new() };
        for entry in fs::read_dir(to_path(&at)).into_iter().flatten().flatten() {
            let name = entry.file_name().as_bytes().to_vec();
            match entry.metadata() {
                Ok(found) if is_whiteout(&found) => names.remove(&name),
                _ => names.insert(name),
            };
        }
        names.into_iter().collect()
    }

    fn listing(&mut self, directory: &AbsolutePath) -> Option<Vec<Vec<u8>>> {
        let covered = self.layers.iter().any(|(over, _)| directory.is_within(over));
        if covered { None } else { ProbedFiles.listing(directory) }
    }

    fn sockets(&mut self, beneath: &BTreeSet<AbsolutePath>) -> Vec<AbsolutePath> {
        ProbedFiles.sockets(beneath)
    }
}

impl Merged {
    /// Whether the host's entries of a directory that a layer has, too, are seen in it.
    fn is_merged(over: &AbsolutePath, upper: &AbsolutePath, directory: &AbsolutePath) -> bool {
        let mut at = upper.clone();
        let mut merged = !is_opaque(&at);
        for name in directory.components().skip(over.components().count()) {
            at = at.join(name);
            merged = merged && !is_opaque(&at);
        }
        merged
    }
}
