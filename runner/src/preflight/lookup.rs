//! Finds the file of a program as the command's own shell would: on the `PATH` that it will have.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fence_compiler::bytes::AbsolutePath;
use nix::unistd::{AccessFlags, access};

/// Where programs are looked for if the command has no `PATH`.
const WITHOUT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A program that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The path it was found under; links in it are not followed.
    pub path: AbsolutePath,
    /// The file that it leads to.
    pub resolved: AbsolutePath,
}

/// What is looked for, and where.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// The program's name, or a path.
    pub program: &'a OsStr,
    /// The `PATH` of the command; none if it has none.
    pub path: Option<&'a OsStr>,
    /// The directory the command starts in.
    pub cwd: &'a AbsolutePath,
}

/// Why no program was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// There is none.
    Missing,
    /// There is a file, and it cannot be executed.
    NotExecutable(AbsolutePath),
    /// There is a program, and the policy does not let it be started.
    Refused(Program),
}

/// Looks for a program. `inside` tells whether a file can be executed in the sandbox; one that cannot is passed
/// over, as a search inside would not see it.
///
/// # Errors
/// Says why there is none: the first that was refused, else the first that cannot be executed.
pub fn look_up(lookup: Lookup<'_>, mut inside: impl FnMut(&Program) -> bool) -> Result<Program, NotFound> {
    let mut problem = NotFound::Missing;
    for candidate in candidates(lookup) {
        let Ok(resolved) = candidate.canonicalize() else { continue };
        let (Some(path), Some(resolved)) = (normalised(&candidate), absolute(&resolved)) else { continue };
        if !Path::new(OsStr::from_bytes(resolved.as_bytes())).is_file() {
            if lookup.program.as_bytes().contains(&b'/') {
                problem = NotFound::NotExecutable(path);
            }
            continue;
        }
        if access(&candidate, AccessFlags::X_OK).is_err() {
            if problem == NotFound::Missing {
                problem = NotFound::NotExecutable(path);
            }
            continue;
        }
        let program = Program { path, resolved };
        if inside(&program) {
            return Ok(program);
        }
        if !matches!(problem, NotFound::Refused(_)) {
            problem = NotFound::Refused(program);
        }
    }
    Err(problem)
}

fn candidates(lookup: Lookup<'_>) -> Vec<PathBuf> {
    let cwd = Path::new(OsStr::from_bytes(lookup.cwd.as_bytes()));
    if lookup.program.is_empty() {
        return Vec::new();
    }
    if lookup.program.as_bytes().contains(&b'/') {
        return vec![cwd.join(lookup.program)];
    }
    let path = lookup.path.map_or_else(|| OsString::from(WITHOUT_PATH), OsStr::to_owned);
    std::env::split_paths(&path).map(|directory| cwd.join(directory).join(lookup.program)).collect()
}

/// A path without `.` and with `..` taken away where no link is before it; else the path with its links followed.
fn normalised(path: &Path) -> Option<AbsolutePath> {
    absolute(path).or_else(|| {
        let directory = path.parent()?.canonicalize().ok()?;
        absolute(&directory.join(path.file_name()?))
    })
}

fn absolute(path: &Path) -> Option<AbsolutePath> {
    AbsolutePath::new(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use fence_compiler::bytes::AbsolutePath;

    use super::{Lookup, NotFound, look_up};

    #[test]
    fn the_first_program_that_may_be_started_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        for (name, mode) in [("a/tool", 0o644), ("b/tool", 0o755), ("c/tool", 0o755), ("c/only", 0o600)] {
            fs::create_dir_all(top.join(name).parent().unwrap()).unwrap();
            fs::write(top.join(name), "#!/bin/sh\n").unwrap();
            fs::set_permissions(top.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink("tool", top.join("c/link")).unwrap();
        let path = format!("relative:{0}/a:{0}/b:{0}/c", top.display());
        let cwd = AbsolutePath::new(top.as_os_str().as_bytes()).unwrap();
        let found = |program: &str, refused: &str| {
            look_up(
                Lookup { program: OsStr::new(program), path: Some(OsStr::new(&path)), cwd: &cwd },
                |found| !found.path.to_string().ends_with(refused),
            )
            .map(|found| {
                let strip = |path: AbsolutePath| path.to_string().replace(&top.display().to_string(), "");
                (strip(found.path), strip(found.resolved))
            })
        };
        let both = |path: &str| Ok((path.to_owned(), path.to_owned()));
        assert_eq!(found("tool", "none"), both("/b/tool"));
        assert_eq!(found("tool", "/b/tool"), both("/c/tool"));
        assert_eq!(found("link", "none"), Ok(("/c/link".to_owned(), "/c/tool".to_owned())));
        assert_eq!(found("./b/../c/tool", "none"), both("/c/tool"));
        assert_eq!(found("c/tool", "none"), both("/c/tool"));
        assert_eq!(found("nothing", "none"), Err(NotFound::Missing));
        assert_eq!(found("", "none"), Err(NotFound::Missing));
        assert!(matches!(found("./a", "none"), Err(NotFound::NotExecutable(_))));
        assert!(matches!(found("link", "/c/link"), Err(NotFound::Refused(_))));
        // For root, access(2) asks only whether anybody may execute.
        assert!(matches!(found("only", "none"), Err(NotFound::NotExecutable(_))));
    }
}
