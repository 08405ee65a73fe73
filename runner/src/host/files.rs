//! The file tree, looked at while lowering.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
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

    fn listing(&mut self, directory: &AbsolutePath) -> Option<Vec<Vec<u8>>> {
        listing(as_path(directory))
    }

    fn sockets(&mut self, beneath: &BTreeSet<AbsolutePath>) -> Vec<AbsolutePath> {
        bound_sockets(&std::fs::read("/proc/net/unix").unwrap_or_default())
            .into_iter()
            .filter(|path| beneath.contains(path) || path.ancestors().any(|above| beneath.contains(&above)))
            .collect()
    }
}

/// The names in a directory that says it is small, sorted, if nothing can lie at any other name.
///
/// That holds on the common file systems, unless a directory on one of them takes names in any case (`chattr +F`).
/// Others find what they do not list: automounters, servers, Windows.
#[cfg(target_os = "linux")]
pub(crate) fn listing(directory: &Path) -> Option<Vec<Vec<u8>>> {
    use nix::sys::statfs::{
        BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC, statfs,
    };
    const SMALL: u64 = 4096;
    const COMMON: [nix::sys::statfs::FsType; 5] =
        [BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC];
    if std::fs::symlink_metadata(directory).ok()?.len() > SMALL
        || !COMMON.contains(&statfs(directory).ok()?.filesystem_type())
    {
        return None;
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).ok()? {
        names.push(entry.ok()?.file_name().as_bytes().to_vec());
    }
    names.sort();
    let other_case = |name: &[u8]| {
        name.iter().map(|byte| if byte.is_ascii_alphabetic() { byte ^ 0x20 } else { *byte }).collect()
    };
    let turned: Option<(&Vec<u8>, Vec<u8>)> =
        names.iter().map(|name| (name, other_case(name))).find(|(name, turned)| *name != turned);
    match turned {
        Some((_, turned)) if names.binary_search(&turned).is_err() => {
            let found = std::fs::symlink_metadata(directory.join(OsStr::from_bytes(&turned)));
            found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound).then_some(names)
        }
        Some(_) => None,
        None => names.is_empty().then_some(names),
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn listing(_: &Path) -> Option<Vec<Vec<u8>>> {
    None
}

/// Where the sockets of a table like `/proc/net/unix` lie now, as far as their directories are there. A name in it
/// is what the program that bound it wrote; abstract names begin with `@`.
fn bound_sockets(table: &[u8]) -> BTreeSet<AbsolutePath> {
    let mut by_directory: BTreeMap<&[u8], BTreeSet<&[u8]>> = BTreeMap::new();
    for line in table.split(|byte| *byte == b'\n') {
        let Some(blank) = line.windows(2).position(|two| two == b" /") else { continue };
        let path = line.get(blank + 1..).unwrap_or_default();
        let Some(slash) = path.iter().rposition(|byte| *byte == b'/') else { continue };
        if let Some((directory, name)) = path.split_at_checked(slash + 1) {
            by_directory.entry(directory).or_default().insert(name);
        }
    }
    let mut found = BTreeSet::new();
    for (directory, names) in by_directory {
        let Ok(real) = Path::new(OsStr::from_bytes(directory)).canonicalize() else { continue };
        let Some(real) = AbsolutePath::new(real.as_os_str().as_bytes()) else { continue };
        found.extend(names.iter().filter(|name| !name.is_empty()).map(|name| real.join(name)));
    }
    found
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
    } else if kind.is_socket() {
        Entry::Socket
    } else if kind.is_fifo() {
        Entry::Fifo
    } else {
        Entry::Device
    }
}

fn as_path(path: &AbsolutePath) -> &Path {
    Path::new(OsStr::from_bytes(path.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::bound_sockets;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_small_directory_is_listed_if_it_can_be_read_and_is_on_a_common_file_system() {
        let folder = tempfile::tempdir().unwrap();
        if super::listing(folder.path()).is_none() {
            eprintln!("skipped: the temporary directory is on another file system");
            return;
        }
        for name in ["su", "b", "\u{e4}", "1"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let names = super::listing(folder.path()).unwrap();
        assert_eq!(names, [&b"1"[..], b"b", b"su", "\u{e4}".as_bytes()]);
        for unlisted in ["/proc/self", "/dev/fd", "/nowhere"] {
            assert_eq!(super::listing(std::path::Path::new(unlisted)), None, "{unlisted}");
        }
        let large = folder.path().join("large");
        std::fs::create_dir(&large).unwrap();
        for number in 0..600 {
            std::fs::write(large.join(format!("a-program-with-a-long-name-{number}")), "").unwrap();
        }
        assert_eq!(super::listing(&large), None);
    }

    #[test]
    fn a_bound_socket_is_found_by_its_resolved_directory() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        std::fs::create_dir(top.join("real")).unwrap();
        std::os::unix::fs::symlink("real", top.join("link")).unwrap();
        let head = "Num       RefCount Protocol Flags    Type St Inode Path\n";
        let line = "0000000000000000: 00000002 00000000 00010000 0001 01 12345";
        let shown = top.display();
        let table = format!(
            "{head}{line} {shown}/link/a b\n{line} {shown}/link/a b\n{line}\n{line} @{shown}/real/abstract\n{line} {shown}/real/../link//c\n{line} relative\n{line} {shown}/gone/x\n"
        );
        let found: Vec<Vec<u8>> =
            bound_sockets(table.as_bytes()).iter().map(|path| path.as_bytes().to_vec()).collect();
        let real = |name: &str| top.join("real").join(name).as_os_str().as_bytes().to_vec();
        assert_eq!(found, [real("a b"), real("c")]);
    }
}
