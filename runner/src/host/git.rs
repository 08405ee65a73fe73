//! The repository that holds a directory, found without running git.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fence_compiler::bytes::AbsolutePath;

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its root: the directory with `.git` in it; of a linked worktree, that worktree's own.
    pub root: AbsolutePath,
    /// The directory that git needs beside it: a linked worktree's common directory, a submodule's own.
    pub common: Option<AbsolutePath>,
}

/// Finds the nearest repository at or above a directory (which holds no link).
///
/// A `.git` that somebody else put above the directory is none: its owner would decide what this person's
/// command may write. So it has to belong to this user, or the root and it to the owner of the directory itself.
#[must_use]
pub fn repository(directory: &AbsolutePath, uid: u32) -> Option<Repository> {
    let own = owner(&to_path(directory))?;
    std::iter::once(directory.clone()).chain(directory.ancestors()).find_map(|root| {
        let dot_git = to_path(&root).join(".git");
        let found = fs::symlink_metadata(&dot_git).ok()?;
        let ours = found.uid() == uid && [uid, own].contains(&owner(&to_path(&root))?);
        let theirs = found.uid() == own && owner(&to_path(&root))? == own;
        if !ours && !theirs {
            return None;
        }
        if found.is_file() {
            Some(Repository { common: beside(&dot_git), root })
        } else if is_git_directory(&dot_git) {
            Some(Repository { root, common: None })
        } else {
            None
        }
    })
}

/// The directory that a `.git` file leads to, if what is there leads back to it: a worktree's `gitdir` names the
/// `.git` file, a submodule lies below the `.git` of the repository above. A file that merely claims to belong
/// to a directory opens nothing.
fn beside(dot_git: &Path) -> Option<AbsolutePath> {
    let here = dot_git.parent()?;
    let text = small_file(dot_git)?;
    let git_dir = here.join(first_line(text.strip_prefix(b"gitdir: ")?)).canonicalize().ok()?;
    if let Some(common) = small_file(&git_dir.join("commondir")) {
        let common = git_dir.join(first_line(&common)).canonicalize().ok()?;
        let back = small_file(&git_dir.join("gitdir"))?;
        let leads_back =
            git_dir.join(first_line(&back)).canonicalize().ok()? == dot_git.canonicalize().ok()?;
        let inside = git_dir.parent()? == common.join("worktrees");
        return (leads_back && inside && is_git_directory(&common)).then(|| to_absolute(&common)).flatten();
    }
    let above = here.ancestors().skip(1).any(|above| git_dir.starts_with(above.join(".git").join("modules")));
    let leads_back = || Some(work_tree(&git_dir)?.canonicalize().ok()? == here.canonicalize().ok()?);
    (above && is_git_directory(&git_dir) && leads_back() == Some(true))
        .then(|| to_absolute(&git_dir))
        .flatten()
}

/// The directory that the settings of a repository name as its `core.worktree`, which `git submodule` always writes.
fn work_tree(git_dir: &Path) -> Option<PathBuf> {
    let settings = small_file(&git_dir.join("config"))?;
    let mut in_core = false;
    let mut found = None;
    for line in settings.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii) {
        if line.starts_with(b"[") {
            in_core = line.eq_ignore_ascii_case(b"[core]");
        } else if in_core && let Some(equals) = line.iter().position(|byte| *byte == b'=') {
            let (name, value) = line.split_at_checked(equals)?;
            if name.trim_ascii().eq_ignore_ascii_case(b"worktree") {
                let value = value.strip_prefix(b"=")?.trim_ascii();
                let bare =
                    value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value);
                found = Some(git_dir.join(OsStr::from_bytes(bare)));
            }
        }
    }
    found
}

/// Whether git itself would take it for a repository.
fn is_git_directory(path: &Path) -> bool {
    path.join("HEAD").symlink_metadata().is_ok()
        && path.join("objects").is_dir()
        && path.join("refs").is_dir()
}

/// The content of a file of at most a few lines.
fn small_file(path: &Path) -> Option<Vec<u8>> {
    let found = fs::metadata(path).ok()?;
    if found.is_file() && found.len() <= 16 * 1024 { fs::read(path).ok() } else { None }
}

fn first_line(text: &[u8]) -> PathBuf {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    PathBuf::from(OsStr::from_bytes(line.strip_suffix(b"\r").unwrap_or(line)))
}

fn owner(path: &Path) -> Option<u32> {
    fs::symlink_metadata(path).ok().map(|found| found.uid())
}

fn to_path(path: &AbsolutePath) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(path.as_bytes()))
}

fn to_absolute(path: &Path) -> Option<AbsolutePath> {
    AbsolutePath::new(path.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{repository, to_absolute};

    fn make_repository(at: &Path) {
        fs::create_dir_all(at.join("objects")).unwrap();
        fs::create_dir_all(at.join("refs")).unwrap();
        fs::write(at.join("HEAD"), "ref: refs/heads/main\n").unwrap();
    }

    fn uid() -> u32 {
        nix::unistd::getuid().as_raw()
    }

    fn found(at: &Path) -> Option<(String, Option<String>)> {
        repository(&to_absolute(&at.canonicalize().unwrap()).unwrap(), uid())
            .map(|found| (found.root.to_string(), found.common.map(|common| common.to_string())))
    }

    #[test]
    fn the_nearest_repository_above_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("work/src/deep")).unwrap();
        assert_eq!(found(&top.join("work/src/deep")), None);
        fs::create_dir_all(top.join("work/.git")).unwrap();
        assert_eq!(found(&top.join("work/src/deep")), None, "an empty .git is no repository");
        make_repository(&top.join("work/.git"));
        let work = top.join("work").display().to_string();
        assert_eq!(found(&top.join("work/src/deep")), Some((work.clone(), None)));
        assert_eq!(found(&top.join("work")), Some((work, None)));
    }

    #[test]
    fn a_worktree_brings_its_common_directory_only_if_that_leads_back() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        make_repository(&top.join("main/.git"));
        let own = top.join("main/.git/worktrees/side");
        fs::create_dir_all(&own).unwrap();
        fs::create_dir_all(top.join("side")).unwrap();
        fs::write(top.join("side/.git"), format!("gitdir: {}\n", own.display())).unwrap();
        fs::write(own.join("commondir"), "../..\n").unwrap();
        fs::write(own.join("gitdir"), format!("{}\n", top.join("side/.git").display())).unwrap();
        let side = top.join("side").display().to_string();
        let common = top.join("main/.git").display().to_string();
        assert_eq!(found(&top.join("side")), Some((side, Some(common))));

        fs::create_dir_all(top.join("thief")).unwrap();
        fs::write(top.join("thief/.git"), format!("gitdir: {}\n", own.display())).unwrap();
        assert_eq!(found(&top.join("thief")), Some((top.join("thief").display().to_string(), None)));
    }

    #[test]
    fn a_submodule_brings_its_own_directory_below_the_one_above_only() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        make_repository(&top.join("outer/.git"));
        make_repository(&top.join("outer/.git/modules/sub"));
        make_repository(&top.join("elsewhere"));
        fs::create_dir_all(top.join("outer/sub")).unwrap();
        fs::write(
            top.join("outer/.git/modules/sub/config"),
            "[core]\n\tbare = false\n\tworktree = ../../../sub\n",
        )
        .unwrap();
        fs::write(top.join("outer/sub/.git"), "gitdir: ../.git/modules/sub\n").unwrap();
        let sub = top.join("outer/sub").display().to_string();
        let modules = top.join("outer/.git/modules/sub").display().to_string();
        assert_eq!(found(&top.join("outer/sub")), Some((sub.clone(), Some(modules))));
        fs::create_dir_all(top.join("outer/thief")).unwrap();
        fs::write(top.join("outer/thief/.git"), "gitdir: ../.git/modules/sub\n").unwrap();
        assert_eq!(
            found(&top.join("outer/thief")),
            Some((top.join("outer/thief").display().to_string(), None)),
            "the directory of another submodule"
        );
        fs::write(top.join("outer/sub/.git"), "gitdir: ../../elsewhere\n").unwrap();
        assert_eq!(found(&top.join("outer/sub")), Some((sub, None)));
    }

    #[test]
    fn what_a_guest_puts_into_a_shared_directory_is_no_repository_of_its_owner() {
        if uid() != 0 {
            eprintln!("skipped: only root can give a directory away");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        make_repository(&top.join(".git"));
        fs::create_dir_all(top.join("guest")).unwrap();
        for theirs in [".git", "guest"] {
            nix::unistd::chown(&top.join(theirs), Some(12345.into()), None).unwrap();
        }
        assert_eq!(found(&top.join("guest")), None);
        nix::unistd::chown(&top, Some(12345.into()), None).unwrap();
        assert_eq!(found(&top.join("guest")), Some((top.display().to_string(), None)));
    }
}
