//! Who asks.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::scene::Scene;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Person {
    /// Root, if that runs the tests.
    Root,
    /// An ordinary user.
    User,
}

const UID: u32 = 54321;

impl Person {
    /// Those that the tests can be; which others there are is said, and under `CI=true` required.
    pub fn everybody() -> Vec<Person> {
        if nix::unistd::geteuid().is_root() {
            return vec![Person::Root, Person::User];
        }
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "nothing was asked as root");
        println!("skipped: everything as root, because the tests do not run as root");
        vec![Person::User]
    }

    /// Makes a scene for one policy and asks there, the deciders too where that is wanted; what comes out is printed.
    pub fn runs(self, policy: &str, deciders: bool) -> bool {
        let scene = Scene::new();
        let prober = scene.root().join("bin/agreement");
        let given = self == Person::User && nix::unistd::geteuid().is_root();
        let mut command = if given {
            scene.give_to(UID);
            let mut command = Command::new("setpriv");
            let (uid, gid) = (format!("--reuid={UID}"), format!("--regid={UID}"));
            command.args([&uid, &gid, "--clear-groups", "--"]).arg(&prober);
            command
        } else {
            Command::new(&prober)
        };
        let kind = if self == Person::Root { "root" } else { "user" };
        let status = command
            .args(["case", policy, kind])
            .current_dir(scene.workspace())
            .env_clear()
            .env("HOME", scene.home())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("LANG", "C.UTF-8")
            .env("FENCE_AGREEMENT_ROOT", scene.root())
            .envs(deciders.then_some(("FENCE_AGREEMENT_DECIDERS", "1")))
            .envs(std::env::var_os("FENCE_AGREEMENT_ALL").map(|all| ("FENCE_AGREEMENT_ALL", all)))
            .status()
            .unwrap();
        assert!(scene.root().metadata().unwrap().permissions().mode() & 0o055 == 0o055);
        status.success()
    }
}
