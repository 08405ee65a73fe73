//! A workspace of one case, and running in it.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fence_compiler::plan::LinuxPlan;
use tempfile::TempDir;

use crate::plan;

/// Who launches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// Whoever runs the tests, if that is root.
    Root,
    /// An ordinary user.
    Ordinary,
}

const UID: u32 = 54321;

impl User {
    /// Those that the tests can be; which others there are is said, and under `CI=true` required.
    pub fn available() -> Vec<User> {
        if nix::unistd::geteuid().is_root() {
            return vec![User::Root, User::Ordinary];
        }
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "the launch as root was not tested");
        println!("skipped: everything as root, because the tests do not run as root");
        vec![User::Ordinary]
    }
}

/// A fresh workspace.
pub struct World {
    /// Who launches.
    pub user: User,
    /// The directory that the plan makes writable.
    pub workspace: PathBuf,
    /// A directory beside it that the plan does not know.
    pub outside: PathBuf,
    /// The driver.
    driver: PathBuf,
    plans: PathBuf,
    _directory: TempDir,
}

impl World {
    /// Makes one, with a copy of the driver that anybody can execute.
    pub fn new(user: User) -> World {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let at = |name: &str| directory.path().join(name);
        let (workspace, outside, driver, plans) = (at("work"), at("outside"), at("driver"), at("plans"));
        for made in [&workspace, &outside, &plans] {
            std::fs::create_dir(made).unwrap();
        }
        let own = std::env::current_exe().unwrap();
        if std::fs::hard_link(&own, &driver).is_err() {
            std::fs::copy(own, &driver).unwrap();
        }
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        if user == User::Ordinary && nix::unistd::geteuid().is_root() {
            for given in [&workspace, &outside] {
                chown(given, Some(UID), Some(UID)).unwrap();
            }
        }
        World { user, workspace, outside, driver, plans, _directory: directory }
    }

    /// The ordinary user that root makes things for.
    pub fn owner(&self) -> Option<u32> {
        (self.user == User::Ordinary && nix::unistd::geteuid().is_root()).then_some(UID)
    }

    /// The usual plan for this workspace.
    pub fn plan(&self) -> LinuxPlan {
        plan::plan(&self.workspace)
    }

    /// Writes a file below the workspace as its owner.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.workspace.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        if self.owner().is_some() {
            for made in file.ancestors().take_while(|made| *made != self.workspace) {
                chown(made, Some(UID), Some(UID)).unwrap();
            }
        }
        file
    }

    /// A command that launches a program under a plan.
    pub fn launch(&self, plan: &LinuxPlan, command: &[&str]) -> Command {
        let file = self.plans.join(format!("{}.json", std::fs::read_dir(&self.plans).unwrap().count()));
        std::fs::write(&file, serde_json::to_string(plan).unwrap()).unwrap();
        let mut launch = self.as_user(&self.driver);
        launch.arg("drive").arg(file).args(command).current_dir(&self.workspace);
        launch
    }

    /// A command that runs a program of the host as the user.
    pub fn as_user(&self, program: &Path) -> Command {
        if self.owner().is_some() {
            let mut command = Command::new("setpriv");
            command.args([&format!("--reuid={UID}"), &format!("--regid={UID}"), "--clear-groups", "--"]);
            command.arg(program);
            command
        } else {
            Command::new(program)
        }
    }

    /// Runs a shell text under a plan.
    pub fn shell(&self, plan: &LinuxPlan, text: &str) -> Ran {
        Ran::new(self.launch(plan, &["/bin/sh", "-c", text]).output().unwrap())
    }
}

/// What a run yielded.
#[derive(Debug)]
pub struct Ran {
    /// The exit code.
    pub code: Option<i32>,
    /// What was written.
    pub out: String,
    /// What was complained about.
    pub err: String,
}

impl Ran {
    /// Takes it from an output.
    pub fn new(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Checks that it went well, and yields what was written.
    pub fn fine(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// Checks that it failed, with this in what was complained about.
    pub fn refused(&self, complaint: &str) {
        assert!(self.code != Some(0) && self.err.contains(complaint), "expected `{complaint}`: {self:?}");
    }
}
