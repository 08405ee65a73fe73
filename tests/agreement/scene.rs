//! A home, a repository in it, the program under test and the prober.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Where questions are asked.
pub struct Scene {
    root: TempDir,
}

impl Scene {
    /// Makes it, with what programs that anybody can execute.
    pub fn new() -> Scene {
        let root = tempfile::Builder::new().prefix("fence-agreement-").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let scene = Scene { root };
        fs::create_dir_all(scene.root().join("bin")).unwrap();
        fs::create_dir_all(scene.workspace().join(".git")).unwrap();
        fs::write(scene.workspace().join(".git/HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::create_dir_all(scene.workspace().join(".git/objects")).unwrap();
        fs::create_dir_all(scene.workspace().join(".git/refs")).unwrap();
        let own = std::env::current_exe().unwrap();
        for (from, to) in [(own.as_path(), "agreement"), (Path::new(env!("CARGO_BIN_EXE_fence")), "fence")] {
            let to = scene.root().join("bin").join(to);
            fs::hard_link(from, &to).or_else(|_| fs::copy(from, &to).map(drop)).unwrap();
        }
        scene
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    pub fn workspace(&self) -> PathBuf {
        self.home().join("work")
    }

    /// Makes the home somebody's.
    pub fn give_to(&self, uid: u32) {
        let mut todo = vec![self.home()];
        while let Some(at) = todo.pop() {
            chown(&at, Some(uid), Some(uid)).unwrap();
            if at.is_dir() {
                todo.extend(fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        chown(self.root(), Some(uid), Some(uid)).unwrap();
    }
}
