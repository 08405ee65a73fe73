//! The cgroup (version 2) that a run has of its own: what all its processes together may use, and what they have used.

mod remover;

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use fence_compiler::plan::{LimitMechanism, LimitPlan, LinuxPlan};
use fence_compiler::policy::LimitKind;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat, write};

use super::budget::Budget;
use super::sys::{self, process};
use crate::host::cgroup::{Controller, place};
use crate::launch::{Error, Resource};
use remover::Remover;

/// A cgroup that holds one run. It is removed when this value is gone, and everything in it has ended before.
#[derive(Debug)]
pub(super) struct Leaf {
    above: OwnedFd,
    name: CString,
    /// Locked for as long as whoever made it lives: by that a later run knows what was left over.
    directory: File,
    /// Where the kernel counts what it has done for the limit of memory.
    memory: Option<OwnedFd>,
    /// The same for that of processes.
    processes: Option<OwnedFd>,
    /// Where processor time is counted, and how much there is.
    time: Option<(OwnedFd, u64)>,
    /// Who removes it where this process has given up the right to.
    remover: Option<Remover>,
}

/// How many processes of fence's own, or of what makes the sandbox, are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beside(pub(super) u64);

/// What a cgroup has counted of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    /// Whether the kernel has ended all of it for its memory. In which order it has, the first process may have seen a part of.
    pub(super) out_of_memory: bool,
    /// How many processes were refused.
    pub(super) refused: u64,
}

impl Leaf {
    /// Makes one, if a limit of the plan is held by it.
    pub(super) fn of(plan: &LinuxPlan, beside: Beside) -> Result<Option<Leaf>, Error> {
        let limits: Vec<&LimitPlan> = held(plan).collect();
        if limits.is_empty() {
            return Ok(None);
        }
        let wanted: Vec<Controller> =
            limits.iter().map(|limit| controller(limit.kind)).collect::<Result<_, _>>()?;
        let failed = |reason: String| Error::Step {
            attempt: "making a cgroup for the run".to_owned(),
            reason,
            repair: "`fence doctor` tells where one can be made".to_owned(),
            rules: Vec::new(),
        };
        let place = place(&wanted).map_err(|lack| failed(lack.to_string()))?;
        let leaf = Leaf::below(&place, &limits, beside)
            .map_err(|errno| failed(format!("{}: {}", place.display(), errno.desc().to_lowercase())))?;
        Ok(Some(leaf))
    }

    fn below(place: &Path, limits: &[&LimitPlan], beside: Beside) -> Result<Leaf, Errno> {
        /// Another run may take one for left over before it is locked.
        const TRIES: u32 = 8;
        let above = openat(AT_FDCWD, place, DIRECTORY, Mode::empty())?;
        sweep(place, &above);
        let mut tries = 0;
        loop {
            tries += 1;
            match Leaf::make(&above, limits, beside) {
                Err(Errno::ENOENT | Errno::ENODEV | Errno::EWOULDBLOCK | Errno::EEXIST) if tries < TRIES => {}
                made => return made,
            }
        }
    }

    fn make(above: &OwnedFd, limits: &[&LimitPlan], beside: Beside) -> Result<Leaf, Errno> {
        let name = format!("{PREFIX}{}-{}", std::process::id(), random()?);
        let name = CString::new(name).map_err(|_| Errno::EINVAL)?;
        let above = above.try_clone().map_err(|_| Errno::EMFILE)?;
        mkdirat(&above, name.as_c_str(), Mode::from_bits_truncate(0o755))?;
        let directory = match openat(&above, name.as_c_str(), DIRECTORY, Mode::empty()).and_then(lock) {
            Ok(directory) => directory,
            Err(errno) => {
                remove(above.as_raw_fd(), &name);
                return Err(errno);
            }
        };
        let mut leaf =
            Leaf { above, name, directory, memory: None, processes: None, time: None, remover: None };
        for limit in limits {
            leaf.hold(limit, beside)?;
        }
        Ok(leaf)
    }

    fn hold(&mut self, limit: &LimitPlan, beside: Beside) -> Result<(), Errno> {
        match limit.kind {
            LimitKind::Memory => {
                self.set("memory.max", &limit.amount.to_string())?;
                // Where the kernel has no swap, there is no such file.
                for (file, text) in [("memory.swap.max", "0"), ("memory.oom.group", "1")] {
                    match self.set(file, text) {
                        Err(Errno::ENOENT) => {}
                        set => set?,
                    }
                }
                self.memory = Some(self.open("memory.events", OFlag::O_RDONLY)?);
            }
            LimitKind::Processes => {
                let most = limit.amount.saturating_add(beside.0).min(GREATEST);
                self.set("pids.max", &most.to_string())?;
                self.processes = Some(self.open("pids.events", OFlag::O_RDONLY)?);
            }
            _ => self.time = Some((self.open("cpu.stat", OFlag::O_RDONLY)?, limit.amount)),
        }
        Ok(())
    }

    fn set(&self, file: &str, text: &str) -> Result<(), Errno> {
        write(self.open(file, OFlag::O_WRONLY)?, text.as_bytes()).map(drop)
    }

    fn open(&self, file: &str, how: OFlag) -> Result<OwnedFd, Errno> {
        openat(&self.directory, file, how | OFlag::O_CLOEXEC, Mode::empty())
    }

    /// Has it removed by a process beside this one, which is about to give up the right to. The signals that are for the command are
    /// blocked already.
    pub(super) fn leave_removal(&mut self) -> Result<(), Error> {
        self.remover = Some(Remover::start(self.above.as_raw_fd(), &self.name).map_err(not_entered)?);
        Ok(())
    }

    /// What a process is made in.
    pub(super) fn descriptor(&self) -> RawFd {
        self.directory.as_raw_fd()
    }

    /// What a process writes to so that it goes there.
    pub(super) fn entrance(&self) -> Result<OwnedFd, Error> {
        self.open("cgroup.procs", OFlag::O_WRONLY).map_err(not_entered)
    }

    /// How much processor time its processes may have, if that is limited.
    pub(super) fn budget(&self) -> Option<Budget> {
        self.time.as_ref().map(|(statistics, most)| Budget::new(statistics.as_raw_fd(), *most))
    }

    /// Whether the kernel has ended everything in it, because its memory was used up.
    fn is_out_of_memory(&self) -> bool {
        // The second counts what the kernel has ended for any reason, the first what was so for this limit.
        let events = events(self.memory.as_ref());
        number(&events, "oom") > 0 && number(&events, "oom_kill") > 0
    }

    /// Reads what it has counted, once everything in it has ended, and removes it.
    pub(super) fn conclude(leaf: Option<Leaf>) -> Counted {
        Counted {
            out_of_memory: leaf.as_ref().is_some_and(Leaf::is_out_of_memory),
            refused: leaf.as_ref().map_or(0, Leaf::refused),
        }
    }

    /// What of it is used up, once everything in it has ended.
    pub(super) fn used_up(&self) -> Option<Resource> {
        if self.is_out_of_memory() {
            return Some(Resource::Memory);
        }
        self.budget().filter(|budget| budget.is_used_up()).map(|_| Resource::Cpu)
    }

    /// How many processes its limit has refused; before Linux 6.11, those too that one of a cgroup above has.
    fn refused(&self) -> u64 {
        number(&events(self.processes.as_ref()), "max")
    }
}

/// What is told in a file that has been open since before rights were given up.
fn events(file: Option<&OwnedFd>) -> String {
    let mut text = [0; 1024];
    let read = file.and_then(|file| sys::read_from_start(file.as_raw_fd(), &mut text).ok());
    String::from_utf8_lossy(text.get(..read.unwrap_or(0)).unwrap_or_default()).into_owned()
}

impl Drop for Leaf {
    fn drop(&mut self) {
        match self.remover.take() {
            Some(remover) => remover.conclude(),
            None => remove(self.above.as_raw_fd(), &self.name),
        }
    }
}

/// What a process could not be put into a cgroup for.
pub(super) fn not_entered(errno: Errno) -> Error {
    Error::Step {
        attempt: "starting the run in a cgroup of its own".to_owned(),
        reason: errno.desc().to_lowercase(),
        repair: "somebody else has changed the cgroups meanwhile: run it again, or see `fence doctor`"
            .to_owned(),
        rules: Vec::new(),
    }
}

/// The limits that are held by a cgroup.
pub(super) fn held(plan: &LinuxPlan) -> impl Iterator<Item = &LimitPlan> {
    plan.limits.iter().filter(|limit| limit.by == LimitMechanism::Cgroup)
}

fn controller(kind: LimitKind) -> Result<Controller, Error> {
    match kind {
        LimitKind::Memory => Ok(Controller::Memory),
        LimitKind::Processes => Ok(Controller::Processes),
        LimitKind::Cpu => Ok(Controller::Time),
        _ => Err(Error::Plan(format!("no cgroup limits {kind:?}"))),
    }
}

/// The kernel takes no greater number of processes, and has no more (`PID_MAX_LIMIT`).
const GREATEST: u64 = 4 << 20;

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);
/// How the name of each begins; the number of the process that made it follows, and digits that nobody knows before.
const PREFIX: &str = "fence-";
const DIGITS: usize = 16;

fn random() -> Result<String, Errno> {
    let mut bytes = [0; DIGITS / 2];
    let read = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    read.map_err(|_| Errno::EIO)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn lock(directory: OwnedFd) -> Result<File, Errno> {
    let directory = File::from(directory);
    directory.try_lock().map_err(|_| Errno::EWOULDBLOCK)?;
    Ok(directory)
}

/// Removes what runs have left whose fence was killed: their processes ended with it, and it locks nothing any more.
fn sweep(place: &Path, above: &OwnedFd) {
    let Ok(entries) = std::fs::read_dir(place) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_ours(name)) else { continue };
        if let Ok(directory) = openat(above, name, DIRECTORY, Mode::empty())
            && lock(directory).is_ok()
        {
            let _ = unlinkat(above, name, UnlinkatFlags::RemoveDir);
        }
    }
}

fn is_ours(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
    rest.is_some_and(|(process, random)| {
        !process.is_empty()
            && process.bytes().all(|byte| byte.is_ascii_digit())
            && random.len() == DIGITS
            && random.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Removes an empty one. A process that is ending may still be counted there. It makes system calls only.
fn remove(above: RawFd, name: &CStr) {
    const TRIES: u32 = 1000;
    for _ in 0..TRIES {
        if sys::remove_directory(above, name) != Err(Errno::EBUSY) {
            return;
        }
        let _ = process::wait_readable([-1], 1);
    }
}

/// The number behind a word, at the beginning of a line.
fn number(text: &str, word: &str) -> u64 {
    let found = text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    found.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fence_has_made_is_swept() {
        for (name, expected) in [
            ("fence-1-0123456789abcdef", true),
            ("fence-12345-ffffffffffffffff", true),
            ("fence--0123456789abcdef", false),
            ("fence-1-0123456789abcde", false),
            ("fence-1-0123456789abcdef0", false),
            ("fence-x-0123456789abcdef", false),
            ("fence-1", false),
            ("fences-1-0123456789abcdef", false),
            ("user.slice", false),
        ] {
            assert_eq!(is_ours(name), expected, "{name}");
        }
        assert!(is_ours(&format!("{PREFIX}{}-{}", std::process::id(), random().unwrap())));
    }

    #[test]
    fn a_number_is_that_of_its_own_line() {
        let text = "low 0\nhigh 1\nmax 22\noom 3\noom_kill 4\noom_group_kill 1\n";
        for (word, expected) in [("oom", 3), ("oom_kill", 4), ("max", 22), ("none", 0), ("oo", 0)] {
            assert_eq!(number(text, word), expected, "{word}");
        }
    }
}
