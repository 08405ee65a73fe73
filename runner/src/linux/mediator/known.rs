//! The programs that rules name, as files: they are known again under any other name.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, metadata};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use fence_compiler::bytes::AbsolutePath;

use super::place::Found;

/// The files, by what they are.
#[derive(Default)]
pub(super) struct Known {
    by_identity: BTreeMap<(u64, u64), Vec<AbsolutePath>>,
    by_size: BTreeMap<u64, Vec<AbsolutePath>>,
    /// The copies that were found: the file, its size and when it was last changed. What is no copy is compared again:
    /// a file that is written through a mapping becomes one without its time changing.
    compared: BTreeMap<(u64, u64, i64, i64, i64), Vec<AbsolutePath>>,
}

/// The most comparisons that are kept.
const MOST_COMPARED: usize = 4096;

impl Known {
    /// Looks at these files; those that are not there are no programs now.
    pub(super) fn new(programs: Vec<AbsolutePath>) -> Known {
        let mut known = Known::default();
        for path in programs {
            let Ok(found) = metadata(OsStr::from_bytes(path.as_bytes())) else { continue };
            if found.is_file() && found.len() > 0 {
                known.by_identity.entry((found.dev(), found.ino())).or_default().push(path.clone());
                known.by_size.entry(found.len()).or_default().push(path);
            }
        }
        known
    }

    /// The programs that a file is, under whatever name: the same file, or one with the same content.
    pub(super) fn names(&mut self, found: &Found) -> Vec<AbsolutePath> {
        if let Some(paths) = self.by_identity.get(&found.identity()) {
            return paths.clone();
        }
        let status = &found.status;
        let Some(alike) = u64::try_from(status.st_size).ok().and_then(|size| self.by_size.get(&size)) else {
            return Vec::new();
        };
        let (device, file) = found.identity();
        let key = (device, file, status.st_size, status.st_ctime, status.st_ctime_nsec);
        if let Some(paths) = self.compared.get(&key) {
            return paths.clone();
        }
        let held = format!("/proc/self/fd/{}", found.file.as_raw_fd());
        let same = |path: &&AbsolutePath| is_same(&held, OsStr::from_bytes(path.as_bytes())).unwrap_or(false);
        let paths: Vec<AbsolutePath> = alike.iter().filter(same).cloned().collect();
        if self.compared.len() >= MOST_COMPARED {
            self.compared.clear();
        }
        if !paths.is_empty() {
            self.compared.insert(key, paths.clone());
        }
        paths
    }
}

/// Whether two files hold the same.
fn is_same(one: &str, other: &OsStr) -> io::Result<bool> {
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let (mut one, mut other) = (options.open(one)?, options.open(other)?);
    let (mut here, mut there) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let read = one.read(&mut here)?;
        if read == 0 {
            return Ok(other.read(&mut there)? == 0);
        }
        let there = there.get_mut(..read).unwrap_or_default();
        other.read_exact(there)?;
        if here.get(..read) != Some(there) {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::super::place::know;
    use super::*;

    #[test]
    fn a_program_is_known_by_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let write = |name: &str, text: &[u8]| fs::write(top.join(name), text).unwrap();
        write("git", &[7; 100_000]);
        write("copy", &[7; 100_000]);
        write("other", &[[7; 99_999].as_slice(), &[8]].concat());
        write("longer", &[7; 100_001]);
        fs::hard_link(top.join("git"), top.join("hard")).unwrap();
        let path = |name: &str| AbsolutePath::new(top.join(name).as_os_str().as_bytes()).unwrap();
        let mut known = Known::new(vec![path("git"), path("missing")]);
        for (name, is_known) in [
            ("git", true),
            ("copy", true),
            ("copy", true),
            ("hard", true),
            ("other", false),
            ("longer", false),
        ] {
            let found = know(top.join(name).to_str().unwrap()).unwrap();
            let found = Found::of(found, BTreeMap::new()).unwrap();
            assert_eq!(known.names(&found) == [path("git")], is_known, "{name}");
        }
    }
}
