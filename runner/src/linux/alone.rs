//! Running a command under Landlock and seccomp alone: no namespace, no mount.

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fence_compiler::lower::landlock::own_tmp;
use fence_compiler::lower::seatbelt::RunId;
use fence_compiler::plan::{LinuxPlan, NetworkPlan};
use nix::errno::Errno;

use super::command::{Command, Filter};
use super::descriptors::Standard;
use super::landlock::Layers;
use super::message::{self, List, Message};
use super::operation::{Operation, State, Step};
use super::outside::{Outside, Target, Time, children};
use super::parent::{Blocked, PASSED, pipe};
use super::sys::join;
use super::sys::process::{self, Change, Side, Signals};
use super::{elsewhere, explain, seccomp, sys};
use crate::launch::{self, Error, Options, Outcome};

/// Starts a command under the plan's rules, and waits for its end; nothing that it started is left then.
///
/// # Errors
///
/// Whatever the plan asks for and the host refuses; the command has not run then.
pub fn run(plan: &LinuxPlan, command: &launch::Command, options: &Options) -> Result<Outcome, Error> {
    if plan.network != NetworkPlan::Isolated {
        return Err(Error::Plan("without a network namespace no connection is judged".to_owned()));
    }
    if let Some(at) = elsewhere::opened(&plan.landlock.rules) {
        return Err(Error::Step {
            attempt: format!(
                "keeping `{at}` closed, a file system of the kernel in a tree that the policy opens"
            ),
            reason: "Landlock alone takes nothing out of a tree".to_owned(),
            repair: "unmount it, or open only what lies beside it".to_owned(),
            rules: Vec::new(),
        });
    }
    let standard = Standard::new()?;
    let layers = Layers::new()?;
    let filter = seccomp::compile(&plan.seccomp, seccomp::Architecture::NATIVE)
        .map_err(|error| Error::Plan(error.to_string()))?;
    let (report, report_end) = pipe()?;
    let signals = Signals::new(&PASSED);
    let blocked = Blocked::new(signals.with(libc::SIGCHLD));
    let mut steps = vec![Step::from(Operation::DieWithParent), Operation::NoNewPrivileges.into()];
    steps.extend(layers.alone(&plan.landlock, &standard.rights(plan.terminal)));
    steps.push(Operation::CloseOthers { keep: vec![report_end.as_raw_fd()] }.into());
    if may_empty_the_bounding_set() {
        steps.push(Operation::DropBoundingSet.into());
    }
    steps.push(Operation::DropCapabilities.into());
    let command =
        Command::new(plan, command, Filter::Alone(filter), None, blocked.before, None, options.timings)?;
    steps.extend(command.steps.into_iter().map(|step| match step.operation {
        Operation::Check => Operation::CheckWithoutBoundingSet.into(),
        _ => step,
    }));
    let _ = join::adopt_orphans();
    let pid = match join::fork().map_err(|errno| explain::first(1, errno))? {
        Side::Child => {
            let mut state = State::new(report_end.as_raw_fd());
            if let Err((index, errno)) = state.work(&steps) {
                Message::failed(List::Command, index, errno).send(report_end.as_raw_fd());
            }
            process::exit(125)
        }
        Side::Parent { pid } => pid,
    };
    drop(report_end);
    if options.standard == launch::Standard::Released {
        sys::release_standard();
    }
    let mut outside = Outside::new(pid, Target::Child, plan, signals)?;
    outside.until_the_end();
    end_all();
    drop(blocked);
    let mut bytes = [0; message::LENGTH];
    let mut failure = None;
    while sys::read(report.as_raw_fd(), &mut bytes) == Ok(message::LENGTH) {
        if let Some(Message::Failed(_, index, errno)) = Message::decode(bytes) {
            failure = Some((usize::try_from(index).unwrap_or(usize::MAX), Errno::from_raw(errno)));
        }
    }
    if let Some((index, errno)) = failure {
        return Err(match steps.get(index) {
            Some(step) => explain::step(step, errno),
            None => explain::first(1, errno),
        });
    }
    match (outside.time, outside.end) {
        (Time::Over, _) => Ok(Outcome::TimedOut),
        (_, Some(Change::Exited(code))) => Ok(Outcome::Exited(code)),
        (_, Some(Change::Signalled(signal))) => Ok(Outcome::Signalled(signal)),
        (_, Some(Change::Stopped(_)) | None) => Err(Error::Lost("something unknown".to_owned())),
    }
}

/// Whether this process has `CAP_SETPCAP`. Without it the bounding set stays, and `no_new_privs` makes it useless.
fn may_empty_the_bounding_set() -> bool {
    const CAP_SETPCAP: u64 = 1 << 8;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
        .is_some_and(|set| set & CAP_SETPCAP != 0)
}

/// Ends everything that the command has left: each becomes a child of this process when its own parent ends.
fn end_all() {
    let own = nix::unistd::getpid().as_raw();
    loop {
        let left = children(own);
        for pid in &left {
            process::kill(*pid, libc::SIGKILL);
        }
        match process::take_change() {
            Err(Errno::ECHILD) => return,
            Ok(None) if left.is_empty() => return,
            Ok(None) => {
                // One of them is about to end.
                let _ = process::wait_readable([-1], 1);
            }
            _ => {}
        }
    }
}

/// The run's own `$tmp`, which is gone when this is dropped.
#[derive(Debug)]
pub struct Tmp {
    run: RunId,
    path: PathBuf,
}

impl Tmp {
    /// Makes it for the caller alone: a name that is taken is refused, never shared.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make() -> io::Result<Tmp> {
        let mut random = [0; 8];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let run = RunId::new(&digits).map_err(io::Error::other)?;
        let path = PathBuf::from(OsStr::from_bytes(own_tmp(&run).as_bytes()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Tmp { run, path })
    }

    /// The run it is for.
    #[must_use]
    pub fn run(&self) -> &RunId {
        &self.run
    }
}

impl Drop for Tmp {
    fn drop(&mut self) {
        // What the command has closed against itself is opened again: it is the caller's own.
        if std::fs::remove_dir_all(&self.path).is_err() {
            open_up(&self.path);
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

fn open_up(directory: &Path) {
    let _ = std::fs::set_permissions(directory, PermissionsExt::from_mode(0o700));
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        open_up(&entry.path());
    }
}
