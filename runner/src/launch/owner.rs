//! Files that root cannot reach once its capabilities are gone.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Somebody else owns the directory that root starts a command in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignOwner {
    /// The owner of the directory.
    pub uid: u32,
    /// Whether the command can at least read there.
    pub reach: Reach,
}

/// What remains possible in another's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everyone may read and enter it.
    Read,
    /// Not even that.
    Nothing,
}

/// Tells whether a directory becomes out of reach inside: root without its capabilities is to another's files
/// what any user is. `None` for everybody but root, for root's own directories, and where everyone may write.
#[must_use]
pub fn unreachable_owner(cwd: &Path) -> Option<ForeignOwner> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let metadata = std::fs::metadata(cwd).ok()?;
    let group = nix::unistd::getegid().as_raw();
    let allowed = if metadata.gid() == group { metadata.mode() >> 3 } else { metadata.mode() } & 0o7;
    if metadata.uid() == 0 || allowed == 0o7 {
        return None;
    }
    let reach = if allowed & 0o5 == 0o5 { Reach::Read } else { Reach::Nothing };
    Some(ForeignOwner { uid: metadata.uid(), reach })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::{ForeignOwner, Reach, unreachable_owner};

    #[test]
    fn root_is_told_of_anothers_directory() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root loses anything");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(unreachable_owner(directory.path()), None);
        chown(directory.path(), Some(1001), Some(1001)).unwrap();
        for (mode, reach) in [(0o700, Some(Reach::Nothing)), (0o755, Some(Reach::Read)), (0o777, None)] {
            std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(mode)).unwrap();
            let expected = reach.map(|reach| ForeignOwner { uid: 1001, reach });
            assert_eq!(unreachable_owner(directory.path()), expected, "{mode:o}");
        }
    }
}
