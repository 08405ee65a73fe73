//! The cgroup of a run is gone when the run is, however that ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::endings::wait_until;
use crate::harness::{Ground, Person, Scene, Start, Suite};

const LIMITED: &str = "include base\nallow read write $cwd\nlimit cpu 600s\n";
const SERVED: &str = "include base\nallow read write $cwd\nallow connect localhost:9\nlimit cpu 600s\n";

/// What is looked at in a scene.
type Look = fn(&Scene) -> Result<(), String>;

/// Adds the tests.
pub fn add(suite: &mut Suite) {
    let cases: [(&str, Look); 5] = [
        ("is gone when the command has ended", |scene| gone_after(scene, LIMITED, "exit 0")),
        ("is gone when a run that is served has ended", |scene| gone_after(scene, SERVED, "exit 0")),
        ("is gone when the command leaves processes", |scene| {
            gone_after(scene, LIMITED, "setsid sleep 599 & exit 0")
        }),
        ("is removed by the next run if fence is killed", swept),
        ("is gone when fence is killed that serves", removed),
    ];
    for person in Person::everybody() {
        for (name, test) in cases {
            let (ground, someone): (std::sync::Arc<Ground>, Person) = (suite.ground(), person.clone());
            let together = ["cpu".to_owned()];
            suite.add_together(&format!("cgroups::it {name}"), &person, (&together, &[]), move || {
                test(&Scene::new(&ground, &someone, &[], &[]))
            });
        }
    }
}

fn fenced(scene: &Scene, policy: &str, text: &str) -> Start {
    let policy = scene.policy(policy).display().to_string();
    let fence = scene.fence().display().to_string();
    scene.start().words([fence.as_str(), "run", "-q", "-p", &policy, "--", "/bin/sh", "-c", text])
}

fn gone_after(scene: &Scene, policy: &str, text: &str) -> Result<(), String> {
    let text = format!("touch begun; while [ -e begun ]; do sleep 0.02; done; {text}");
    let mut child = begun(scene, policy, &text)?;
    there(&child)?;
    fs::remove_file(scene.path("{work}/begun")).map_err(|error| error.to_string())?;
    let status = child.wait().map_err(|error| error.to_string())?;
    match (status.code(), of(&child)) {
        (Some(0), None) => Ok(()),
        (code, left) => Err(format!("{code:?}, left: {left:?}")),
    }
}

fn swept(scene: &Scene) -> Result<(), String> {
    let mut child = begun(scene, LIMITED, "touch begun; sleep 599")?;
    let leaf = there(&child)?;
    kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).map_err(|error| error.to_string())?;
    child.wait().map_err(|error| error.to_string())?;
    wait_until("the processes to end", || {
        fs::read_to_string(leaf.join("cgroup.procs")).is_ok_and(|processes| processes.is_empty())
            || !leaf.exists()
    })?;
    let next = fenced(scene, LIMITED, "exit 0").run();
    if leaf.exists() { Err(format!("{} is left: {}", leaf.display(), next.err())) } else { Ok(()) }
}

fn removed(scene: &Scene) -> Result<(), String> {
    let mut child = begun(scene, SERVED, "touch begun; sleep 599")?;
    let leaf = there(&child)?;
    kill(Pid::from_raw(child.id() as i32), Signal::SIGKILL).map_err(|error| error.to_string())?;
    child.wait().map_err(|error| error.to_string())?;
    wait_until("the cgroup to be removed", || !leaf.exists())
}

fn begun(scene: &Scene, policy: &str, text: &str) -> Result<Child, String> {
    let child = fenced(scene, policy, text).spawn().map_err(|error| error.to_string())?;
    wait_until("the command to begin", || scene.path("{work}/begun").exists())?;
    Ok(child)
}

fn there(child: &Child) -> Result<PathBuf, String> {
    of(child).ok_or_else(|| "there is no cgroup for the run".to_owned())
}

/// The cgroup that a process has made.
fn of(child: &Child) -> Option<PathBuf> {
    named(Path::new("/sys/fs/cgroup"), &format!("fence-{}-", child.id()))
}

fn named(directory: &Path, prefix: &str) -> Option<PathBuf> {
    let directories = fs::read_dir(directory)
        .ok()?
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.into_iter().find_map(|entry| {
        let is_it = entry.file_name().to_string_lossy().starts_with(prefix);
        if is_it { Some(entry.path()) } else { named(&entry.path(), prefix) }
    })
}
