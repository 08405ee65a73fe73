//! Which bubblewrap there is.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fence_compiler::bytes::AbsolutePath;

/// A bubblewrap that fence can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bwrap {
    /// Its file.
    pub(super) path: PathBuf,
    version: (u32, u32, u32),
}

/// The oldest whose options are all there.
const OLDEST: (u32, u32, u32) = (0, 8, 0);

impl Bwrap {
    /// Finds the one that the search path leads to, but for directories that belong to somebody else or lie in what
    /// the command works on: whoever can put a program there could have it started outside of every sandbox.
    ///
    /// # Errors
    ///
    /// Why there is none that can be used.
    pub fn find(search: &OsStr, workspace: &AbsolutePath) -> Result<Bwrap, String> {
        let own = nix::unistd::geteuid().as_raw();
        let trusted = |path: &Path| {
            let real = path.canonicalize().ok()?;
            let inside = AbsolutePath::new(real.as_os_str().as_bytes())?.is_within(workspace);
            let directory = real.parent()?.metadata().ok()?;
            let file = real.metadata().ok()?;
            let safe = |owner: u32, mode: u32| (owner == 0 || owner == own) && mode & 0o002 == 0;
            (!inside
                && file.is_file()
                && file.permissions().mode() & 0o111 != 0
                && safe(file.uid(), file.mode())
                && safe(directory.uid(), directory.mode()))
            .then_some((real, file.mode()))
        };
        let directories = search.as_bytes().split(|byte| *byte == b':').filter(|path| path.starts_with(b"/"));
        let mut candidates = directories.map(|path| Path::new(OsStr::from_bytes(path)).join("bwrap"));
        let (path, mode) = candidates
            .find_map(|path| trusted(&path))
            .ok_or("`bwrap` is not in the search path: install bubblewrap")?;
        if mode & 0o4000 != 0 {
            return Err(format!(
                "`{}` is setuid, so that fence cannot finish what it makes: install one that is not",
                path.display()
            ));
        }
        let version = version(&path)?;
        if version < OLDEST {
            return Err(format!("bubblewrap {} is too old: fence needs 0.8 or later", Shown(version)));
        }
        Ok(Bwrap { path, version })
    }

    /// Has it make namespaces here, as it would for a command, and start itself in them.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub fn tried(self) -> Result<Bwrap, String> {
        let tried = Command::new(&self.path)
            .args(["--unshare-user", "--unshare-pid", "--unshare-net", "--dev-bind", "/", "/", "--"])
            .arg(&self.path)
            .arg("--version")
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("`{}` cannot be started: {error}", self.path.display()))?;
        if tried.status.success() {
            return Ok(self);
        }
        let said = String::from_utf8_lossy(&tried.stderr);
        Err(said.lines().next().unwrap_or("bubblewrap makes no sandbox here").to_owned())
    }

    /// Whether it can start a program under another name (0.9).
    pub(super) fn takes_name(&self) -> bool {
        self.version >= (0, 9, 0)
    }
}

impl fmt::Display for Bwrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bubblewrap {}", Shown(self.version))
    }
}

struct Shown((u32, u32, u32));

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// Asks it.
fn version(path: &Path) -> Result<(u32, u32, u32), String> {
    let answer = Command::new(path)
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .map_err(|error| format!("`{}` cannot be started: {error}", path.display()))?;
    parse(&String::from_utf8_lossy(&answer.stdout))
        .ok_or_else(|| format!("`{}` does not tell its version as bubblewrap does", path.display()))
}

fn parse(text: &str) -> Option<(u32, u32, u32)> {
    let mut numbers = text.trim().strip_prefix("bubblewrap ")?.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next().flatten().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn versions_are_read() {
        for (text, expected) in [
            ("bubblewrap 0.8.0\n", Some((0, 8, 0))),
            ("bubblewrap 0.11.0", Some((0, 11, 0))),
            ("bubblewrap 1.0", Some((1, 0, 0))),
            ("busybox 1.2.3", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_program_in_the_workspace_or_in_anybodys_directory_is_not_taken() {
        let place = tempfile::tempdir().unwrap();
        let real = place.path().canonicalize().unwrap();
        let program = |directory: &str, mode: u32, shown: &str| {
            let directory = real.join(directory);
            std::fs::create_dir(&directory).unwrap();
            let file = directory.join("bwrap");
            std::fs::write(&file, format!("#!/bin/sh\necho bubblewrap {shown}\n")).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
            std::fs::set_permissions(&directory, PermissionsExt::from_mode(mode)).unwrap();
            directory
        };
        let workspace = program("work", 0o755, "9.0.0");
        let anybody = program("anybody", 0o777, "8.0.0");
        let good = program("good", 0o755, "0.11.2");
        let old = program("old", 0o755, "0.7.0");
        let linked = real.join("linked");
        std::fs::create_dir(&linked).unwrap();
        symlink(workspace.join("bwrap"), linked.join("bwrap")).unwrap();
        let path = |directories: &[&PathBuf]| {
            let texts: Vec<String> =
                directories.iter().map(|directory| directory.to_string_lossy().into_owned()).collect();
            format!("relative::{}", texts.join(":"))
        };
        let within = AbsolutePath::new(workspace.as_os_str().as_bytes()).unwrap();
        let find = |directories: &[&PathBuf]| Bwrap::find(path(directories).as_ref(), &within);
        let found = find(&[&workspace, &anybody, &linked, &good]).unwrap();
        assert_eq!((found.version, found.path.clone()), ((0, 11, 2), good.join("bwrap")));
        assert!(found.takes_name());
        for (directories, word) in [(vec![&workspace, &anybody, &linked], "install"), (vec![&old], "too old")]
        {
            let why = find(&directories).unwrap_err();
            assert!(why.contains(word), "{why}");
        }
    }
}
