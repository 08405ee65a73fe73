//! Where a run may have a cgroup (version 2) of its own: below the nearest, of fence's own and those above it, that this user
//! may make one in and that hands the controllers down already.
//!
//! Nothing is made or changed here. Fence enables no controller: whoever manages the cgroups may take back what it did not
//! give, and the limit of a run would be gone.

use std::fmt;
use std::path::{Path, PathBuf};

use fence_compiler::host::{Cgroup, Support};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{AccessFlags, faccessat};

use super::features::read;
use super::lacking;

/// What a cgroup of a run's own could hold.
#[must_use]
pub fn cgroup() -> Cgroup {
    let able = able();
    let support = |controller| match nearest(&able, &[controller]) {
        Ok(_) => Support::Yes,
        Err(why) => Support::No(why.to_string()),
    };
    let mut cgroup = Cgroup {
        memory: support(Controller::Memory),
        processes: support(Controller::Processes),
        cpu: support(Controller::Time),
    };
    lacking::take_cgroup_away(&mut cgroup);
    cgroup
}

/// What is held, or counted, of all processes in a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controller {
    /// Memory.
    Memory,
    /// Their number.
    Processes,
    /// Their processor time, which every cgroup counts.
    Time,
}

impl Controller {
    /// What has to be handed down for it.
    fn name(self) -> Option<&'static str> {
        match self {
            Controller::Memory => Some("memory"),
            Controller::Processes => Some("pids"),
            Controller::Time => None,
        }
    }
}

/// Why a run cannot have a cgroup of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// None is mounted.
    Hierarchy,
    /// That of fence is not among those that are mounted.
    Own(String),
    /// None may be made.
    Rights(PathBuf),
    /// In the last of those in which one may be made, a controller is not handed down.
    Controller(&'static str, PathBuf),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lack::Hierarchy => f.write_str("no cgroup of version 2 is mounted"),
            Lack::Own(path) => write!(f, "fence's own cgroup {path} is not among those that are mounted"),
            Lack::Rights(own) => {
                write!(f, "this user may make no cgroup in {} or above it", own.display())
            }
            Lack::Controller(name, above) => {
                write!(f, "{name} is not among the controllers in {}/cgroup.subtree_control", above.display())
            }
        }
    }
}

/// Where a cgroup can be made that has all of these.
pub(crate) fn place(wanted: &[Controller]) -> Result<PathBuf, Lack> {
    nearest(&able(), wanted).map(|able| able.path.clone())
}

/// A cgroup that one can be made in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Able {
    path: PathBuf,
    /// The controllers that it hands down.
    controllers: Vec<String>,
}

/// Those that one can be made in, the nearest first.
fn able() -> Result<Vec<Able>, Lack> {
    let mounts = read("/proc/self/mountinfo").unwrap_or_default();
    let own = read("/proc/self/cgroup").unwrap_or_default();
    let (top, own) = own_directory(&mounts, &own)?;
    if !statfs(&top).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC) {
        return Err(Lack::Hierarchy);
    }
    let above = own.ancestors().take_while(|above| above.starts_with(&top));
    let able: Vec<Able> = above.filter_map(Able::of).collect();
    if able.is_empty() { Err(Lack::Rights(own)) } else { Ok(able) }
}

impl Able {
    /// A process is put into a new cgroup by whoever may make it, and write the list of processes of the nearest one that is above
    /// both that and where the process was before: here, of this one.
    fn of(path: &Path) -> Option<Able> {
        let may = |path: &Path, how| faccessat(AT_FDCWD, path, how, AtFlags::AT_EACCESS).is_ok();
        let kind = std::fs::read_to_string(path.join("cgroup.type"));
        // The root has no type; below any other kind than a domain, memory is not held.
        let domain = kind.as_deref().map_or(true, |kind| kind.trim_end() == "domain");
        let able = domain
            && may(path, AccessFlags::W_OK | AccessFlags::X_OK)
            && may(&path.join("cgroup.procs"), AccessFlags::W_OK);
        let controllers = std::fs::read_to_string(path.join("cgroup.subtree_control")).ok()?;
        let controllers = controllers.split_whitespace().map(str::to_owned).collect();
        able.then(|| Able { path: path.to_owned(), controllers })
    }
}

/// The nearest that has all of these: what one hands down, all above it do.
fn nearest<'a>(able: &'a Result<Vec<Able>, Lack>, wanted: &[Controller]) -> Result<&'a Able, Lack> {
    let able = able.as_ref().map_err(Lack::clone)?;
    let mut lacking = Lack::Hierarchy;
    for one in able {
        let missing = wanted
            .iter()
            .filter_map(|controller| controller.name())
            .find(|name| !one.controllers.iter().any(|held| held == name));
        match missing {
            None => return Ok(one),
            Some(name) => lacking = Lack::Controller(name, one.path.clone()),
        }
    }
    Err(lacking)
}

/// The mounted top of the hierarchy, and the directory of fence's own cgroup: by the table of mounts, and what `/proc` says
/// of this process.
fn own_directory(mounts: &str, own: &str) -> Result<(PathBuf, PathBuf), Lack> {
    let mounted: Vec<(&str, &str)> = mounts.lines().filter_map(mounted).collect();
    if mounted.is_empty() {
        return Err(Lack::Hierarchy);
    }
    let own = own.lines().find_map(|line| line.strip_prefix("0::")).ok_or(Lack::Hierarchy)?;
    mounted
        .iter()
        .rev()
        .find_map(|(root, at)| {
            let below = Path::new(own).strip_prefix(root).ok()?;
            let plain = below.components().all(|part| matches!(part, std::path::Component::Normal(_)));
            // `join` with nothing would end the path with a slash.
            let own = below.components().fold(PathBuf::from(at), |path, part| path.join(part));
            plain.then(|| (PathBuf::from(at), own))
        })
        .ok_or_else(|| Lack::Own(own.to_owned()))
}

/// The root of a cgroup file system and where it is mounted, from a line of the table. One with a blank in its path is none.
fn mounted(line: &str) -> Option<(&str, &str)> {
    let mut fields = line.split(' ');
    let (root, at) = (fields.nth(3)?, fields.next()?);
    let kind = line.split(" - ").nth(1)?.split(' ').next()?;
    (kind == "cgroup2" && !root.contains('\\') && !at.contains('\\')).then_some((root, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "30 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n\
                          31 23 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                          32 23 8:1 / /home rw - ext4 /dev/sda1 rw\n";

    #[test]
    fn the_own_cgroup_is_found_below_where_it_is_mounted() {
        let found = |mounts, own| own_directory(mounts, own).map(|(_, own)| own.display().to_string());
        let container = "30 23 0:28 /docker/a /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        for (mounts, own, expected) in [
            (MOUNTS, "0::/\n", Ok("/sys/fs/cgroup")),
            (MOUNTS, "4:memory:/a\n0::/user.slice/user-1000.slice/session-3.scope\n", {
                Ok("/sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope")
            }),
            (container, "0::/docker/a/b\n", Ok("/sys/fs/cgroup/b")),
            (container, "0::/docker/ab\n", Err(Lack::Own("/docker/ab".to_owned()))),
            (MOUNTS, "0::/../other\n", Err(Lack::Own("/../other".to_owned()))),
            (MOUNTS, "4:memory:/a\n", Err(Lack::Hierarchy)),
            ("32 23 8:1 / /home rw - ext4 /dev/sda1 rw\n", "0::/\n", Err(Lack::Hierarchy)),
            ("", "", Err(Lack::Hierarchy)),
        ] {
            assert_eq!(found(mounts, own), expected.map(str::to_owned), "{mounts}{own}");
        }
    }

    #[test]
    fn the_nearest_that_hands_all_of_them_down_is_taken() {
        let one = |path: &str, controllers: &[&str]| Able {
            path: path.into(),
            controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
        };
        let able = Ok(vec![one("/a/b/c", &[]), one("/a/b", &["pids"]), one("/a", &["memory", "pids"])]);
        let taken =
            |wanted: &[Controller]| nearest(&able, wanted).map(|able| able.path.display().to_string());
        assert_eq!(taken(&[Controller::Time]), Ok("/a/b/c".to_owned()));
        assert_eq!(taken(&[Controller::Processes, Controller::Time]), Ok("/a/b".to_owned()));
        assert_eq!(taken(&[Controller::Memory, Controller::Processes]), Ok("/a".to_owned()));
        let none = Ok(vec![one("/a/b", &["pids"]), one("/a", &["pids"])]);
        assert_eq!(nearest(&none, &[Controller::Memory]), Err(Lack::Controller("memory", "/a".into())));
        assert_eq!(nearest(&Err(Lack::Hierarchy), &[Controller::Time]), Err(Lack::Hierarchy));
    }

    #[test]
    fn nothing_is_made_where_no_cgroup_is() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Able::of(directory.path()), None);
    }
}
