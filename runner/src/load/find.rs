//! Finds the policy of a directory.

use std::fs;
use std::os::unix::fs::MetadataExt;

use fence_compiler::bytes::AbsolutePath;

use super::{FOUND_NAMES, to_path};

/// A policy that was found, not named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The directory that holds it.
    pub directory: AbsolutePath,
    /// The file.
    pub file: AbsolutePath,
}

/// Why it cannot be told which policy is meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// One directory holds two.
    #[error("`{directory}` holds both `{first}` and `{second}`: remove one, or name one with -p")]
    Two {
        /// The directory.
        directory: AbsolutePath,
        /// One of them.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
}

/// Looks for a policy from a directory upwards: the nearest one counts. It goes no further than the root of the
/// repository, and into no directory that belongs to somebody else.
///
/// # Errors
/// One directory holds two.
pub fn find(
    cwd: &AbsolutePath,
    repository: Option<&AbsolutePath>,
    uid: u32,
) -> Result<Option<Found>, FindError> {
    for directory in std::iter::once(cwd.clone()).chain(cwd.ancestors()) {
        let own = fs::metadata(to_path(&directory)).is_ok_and(|found| found.uid() == uid);
        if !own && directory != *cwd {
            return Ok(None);
        }
        let mut names = FOUND_NAMES
            .into_iter()
            .filter(|name| fs::symlink_metadata(to_path(&directory).join(name)).is_ok());
        match (names.next(), names.next()) {
            (Some(first), Some(second)) => return Err(FindError::Two { directory, first, second }),
            (Some(name), None) => {
                return Ok(Some(Found { file: directory.join(name.as_bytes()), directory }));
            }
            (None, _) if !own || repository == Some(&directory) => return Ok(None),
            (None, _) => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use fence_compiler::bytes::AbsolutePath;

    use super::{FindError, find};

    fn absolute(path: &Path) -> AbsolutePath {
        AbsolutePath::new(path.as_os_str().as_bytes()).unwrap()
    }

    #[test]
    fn the_nearest_policy_counts_and_the_repository_is_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let uid = nix::unistd::getuid().as_raw();
        let deep = top.join("work/src");
        fs::create_dir_all(&deep).unwrap();
        fs::write(top.join("policy.fence"), "").unwrap();
        let found = |repository: Option<&Path>| {
            find(&absolute(&deep), repository.map(absolute).as_ref(), uid)
                .map(|found| found.map(|found| found.file.to_string()))
        };
        assert_eq!(found(None), Ok(Some(top.join("policy.fence").display().to_string())));
        assert_eq!(found(Some(&top.join("work"))), Ok(None), "beyond the repository's root");
        fs::write(top.join("work/policy.fence.json"), "").unwrap();
        let json = top.join("work/policy.fence.json").display().to_string();
        assert_eq!(found(Some(&top.join("work"))), Ok(Some(json)));
        fs::write(top.join("work/policy.fence"), "").unwrap();
        assert!(matches!(found(None), Err(FindError::Two { .. })));
    }

    #[test]
    fn a_directory_of_somebody_else_is_not_looked_into() {
        if !nix::unistd::getuid().is_root() {
            eprintln!("skipped: only root can give a directory away");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("theirs/mine")).unwrap();
        fs::write(top.join("theirs/policy.fence"), "").unwrap();
        let looked = || find(&absolute(&top.join("theirs/mine")), None, 0).unwrap();
        assert!(looked().is_some());
        nix::unistd::chown(&top.join("theirs"), Some(12345.into()), None).unwrap();
        assert_eq!(looked(), None);
    }
}
