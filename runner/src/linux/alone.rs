//! Running a command under Landlock and seccomp alone: no namespace, no mount. What it may connect to it reaches by a proxy, to which
//! this process makes each connection in its place.

mod network;
mod proxy;

use std::ffi::OsStr;
use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fence_compiler::lower::landlock::own_tmp;
use fence_compiler::lower::seatbelt::RunId;
use fence_compiler::plan::{LinuxPlan, NetworkPlan};
use nix::errno::Errno;

use super::cgroup::{Beside, Leaf};
use super::command::{Command, Filter};
use super::descriptors::Standard;
use super::landlock::Layers;
use super::mediator::connector;
use super::message::{self, List, Message};
use super::operation::{Operation, State, Step};
use super::outside::{Outside, Target, Time, children};
use super::parent::{Blocked, PASSED, pipe};
use super::sys::join;
use super::sys::process::{self, Change, Side, Signals};
use super::{elsewhere, explain, seccomp, sys};
use crate::launch::{self, Arbiter, Attendant, Ended, Error, Making, Options, Outcome, Resource};
use network::Network;

/// Starts a command under the plan's rules, and waits for its end; nothing that it started is left then.
///
/// # Errors
///
/// Whatever the plan asks for and the host refuses; the command has not run then.
pub fn run(
    plan: &LinuxPlan,
    command: &launch::Command,
    options: &Options,
    attendant: Option<&mut dyn Attendant>,
    arbiter: Option<&mut dyn Arbiter>,
) -> Result<Ended, Error> {
    if attendant.as_ref().is_some_and(|attendant| attendant.making() == Making::OnDemand) {
        let why = "with Landlock alone no port can be published: there is no network of its own";
        return Err(Error::Plan(why.to_owned()));
    }
    let serving = match (&plan.network, attendant, arbiter) {
        (NetworkPlan::Isolated, ..) => None,
        // A plan for a namespace has an address of its own there, and does not refuse what goes past the proxy.
        (NetworkPlan::Judged(judged), Some(attendant), Some(arbiter)) if judged.proxy.port() == 0 => {
            Some((attendant, arbiter))
        }
        (NetworkPlan::Judged(_), ..) => {
            return Err(Error::Plan("nobody serves the connections that the plan allows".to_owned()));
        }
    };
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
    standard.refuse_cgroups(plan)?;
    let signals = Signals::new(&PASSED);
    let blocked = Blocked::new(signals.with(libc::SIGCHLD));
    let leaf = Leaf::of(plan, Beside(0))?;
    let entrance = leaf.as_ref().map(Leaf::entrance).transpose()?;
    let mut network = serving.map(|(attendant, arbiter)| Network::start(attendant, arbiter)).transpose()?;
    let layers = Layers::alone()?;
    let wire_end = network.as_ref().map(|network| network.wire_end.as_raw_fd());
    let filter = filter(plan, wire_end)?;
    let (report, report_end) = pipe()?;
    let mut steps = vec![Step::from(Operation::DieWithParent)];
    steps.extend(
        entrance
            .as_ref()
            .map(|entrance| Step::from(Operation::EnterCgroup { entrance: entrance.as_raw_fd() })),
    );
    steps.push(Operation::NoNewPrivileges.into());
    steps.extend(layers.alone_steps(&plan.landlock, &standard.rights(plan.terminal)));
    let mut keep: Vec<RawFd> = [report_end.as_raw_fd()].into_iter().chain(wire_end).collect();
    keep.sort_unstable();
    steps.push(Operation::CloseOthers { keep }.into());
    if may_empty_the_bounding_set() {
        steps.push(Operation::DropBoundingSet.into());
    }
    steps.push(Operation::DropCapabilities.into());
    let known = network.as_ref().map(|network| network.proxy.known_to(command));
    let command = known.as_ref().unwrap_or(command);
    let command = Command::new(plan, command, filter, None, blocked.before, None, options.timings)?;
    steps.extend(command.steps.into_iter().map(|step| match step.operation {
        Operation::Check => Operation::CheckWithoutBoundingSet.into(),
        _ => step,
    }));
    if let Some(network) = &mut network {
        network.proxy.served.heard()?;
    }
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
    let served = match &mut network {
        Some(network) => network.until_the_end(&mut outside),
        None => {
            outside.until_the_end();
            Ok(())
        }
    };
    if let Some(network) = &mut network {
        network.let_go();
    }
    let ended = end_all(network.as_ref().map(|network| network.proxy.served.pid()));
    if let Some(network) = network {
        network.conclude();
    }
    let counted = Leaf::conclude(leaf);
    drop(blocked);
    served?;
    ended.map_err(|error| Error::Step {
        attempt: "ending what the command has left running".to_owned(),
        reason: error.to_string(),
        repair: "look for it with `ps`, and end it yourself".to_owned(),
        rules: Vec::new(),
    })?;
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
    let outcome = match (outside.time, outside.end) {
        (Time::Over, _) => Outcome::TimedOut,
        _ if counted.out_of_memory => Outcome::UsedUp(Resource::Memory),
        (_, Some(Change::Exited(code))) => Outcome::Exited(code),
        (_, Some(Change::Signalled(signal))) => Outcome::Signalled(signal),
        (_, Some(Change::Stopped(_)) | None) => return Err(Error::Lost("something unknown".to_owned())),
    };
    Ok(Ended { refused: counted.refused, ..outcome.into() })
}

/// The filter of system calls; with a channel, one in which each connection waits.
fn filter(plan: &LinuxPlan, channel: Option<RawFd>) -> Result<Filter, Error> {
    let judged = if channel.is_some() { connector::judged() } else { Vec::new() };
    let program = seccomp::compile_judged(&plan.seccomp, &judged, seccomp::Architecture::NATIVE)
        .map_err(|error| Error::Plan(error.to_string()))?;
    Ok(match channel {
        Some(channel) => Filter::Judged { program, channel },
        None => Filter::Alone(program),
    })
}

/// Why nobody can make the connections of a command in its place on this machine; `None` if somebody can.
#[must_use]
pub fn unanswered() -> Option<String> {
    network::unanswered()
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

/// Ends everything that the command has left: each becomes a child of this process when its own parent ends. One is no part of it.
fn end_all(other: Option<i32>) -> io::Result<()> {
    let own = nix::unistd::getpid().as_raw();
    let mut tries = 0;
    loop {
        let left = children(own);
        for pid in left.iter().flatten().filter(|pid| Some(**pid) != other) {
            process::kill(*pid, libc::SIGKILL);
        }
        loop {
            match process::take_change() {
                Err(Errno::ECHILD) => return Ok(()),
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        match left {
            Ok(left) if left.iter().all(|pid| Some(*pid) == other) => return Ok(()),
            Ok(_) => {}
            // It may be for a moment that nothing can be looked at.
            Err(_) if tries < PATIENCE => tries += 1,
            Err(error) => return Err(error),
        }
        // Some of them are about to end.
        let _ = process::wait_readable([-1], 1);
    }
}

/// How often what is left is looked for where it cannot be seen, a millisecond apart.
const PATIENCE: u32 = 2000;

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
