//! Running a command with bubblewrap: it makes the namespaces and the mounts, fence does what it has no option for
//! while it waits, and behaves as the command does.

mod finish;
mod program;

use std::ffi::{CString, OsString};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use fence_compiler::plan::bwrap::{self, Content};
use fence_compiler::plan::{LimitMechanism, LinuxPlan, Mount};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;

use super::cgroup::{Beside, Leaf};
use super::descriptors::Standard;
use super::outside::{Outside, Target, Time};
use super::parent::{Blocked, PASSED, attend, pipe, take_terminal_back};
use super::served::Served;
use super::sys::join;
use super::sys::process::{Change, Signals};
use super::{command, elsewhere, seccomp, sys};
use crate::launch::{self, Attendant, Ended, Error, Making, Options, Outcome, Resource};
use finish::Finisher;
pub use program::Bwrap;

/// Where bubblewrap reads its arguments.
const ARGUMENTS: RawFd = 9;
/// Where it says what becomes of the command.
const STATUS: RawFd = 8;
/// Where it waits.
const BLOCK: RawFd = 7;

/// Makes the sandbox of a plan with bubblewrap, runs a command in it, and waits for its end.
///
/// # Errors
///
/// Whatever bubblewrap or the host refuses; the command has not run then.
pub fn run(
    program: &Bwrap,
    plan: &LinuxPlan,
    command: &launch::Command,
    options: &Options,
    attendant: Option<&mut dyn Attendant>,
) -> Result<Ended, Error> {
    let standard = Standard::new()?;
    standard.refuse_reopening_by_mounts(plan)?;
    standard.refuse_cgroups(plan)?;
    let signals = Signals::new(&PASSED);
    let blocked = Blocked::new(signals.with(libc::SIGCHLD));
    // bubblewrap, and the first process inside.
    let leaf = Leaf::of(plan, Beside(2))?;
    let entrance = leaf.as_ref().map(Leaf::entrance).transpose()?;
    let mut plan = plan.clone();
    let covers: Vec<Mount> = elsewhere::covers(&plan.mounts);
    plan.mounts.extend(covers);
    let list = bwrap::list(&plan);
    let mut open_at: Vec<(OwnedFd, RawFd)> = Vec::new();
    for (number, content) in &list.descriptors {
        open_at.push((opened(&plan, *content)?, *number));
    }
    open_at.push((bytes(&words(&list, command))?, ARGUMENTS));
    let (status, status_end) = pipe()?;
    open_at.push((status_end, STATUS));
    let gate = Gate::new()?;
    open_at.push((gate.waiting()?, BLOCK));
    let open_at: Vec<(OwnedFd, RawFd)> = open_at
        .into_iter()
        .map(|(from, to)| Ok((join::raise(from.as_raw_fd())?, to)))
        .collect::<Result<_, Errno>>()
        .map_err(|errno| failed("arranging descriptors for bubblewrap", &errno.desc().to_lowercase()))?;
    let terminal = standard.foreground();
    let child = spawn(program, command, open_at, blocked.before, entrance)?;
    let pid = child.id().cast_signed();
    if options.standard == launch::Standard::Released {
        sys::release_standard();
    }
    let mut status = Status { pipe: status, text: Vec::new() };
    let Some(first) = status.first() else { return Err(refused(child)) };
    let outside = Outside::new(pid, Target::ChildOf(first), &plan, signals);
    let mut outside = match outside {
        Ok(outside) => outside,
        Err(error) => return Err(abandon(child, first, error)),
    };
    let on_demand = attendant.as_ref().is_some_and(|attendant| attendant.making() == Making::OnDemand);
    let finisher = match await_setup(first, pid)
        .and_then(|()| limit(&plan, first))
        .and_then(|()| Finisher::start(first, &plan, on_demand))
    {
        Ok(finisher) => finisher,
        Err(Some(error)) => return Err(abandon(child, first, error)),
        Err(None) => return Err(refused(child)),
    };
    gate.open()?;
    let attended = match (attendant, finisher.channel) {
        (Some(attendant), Some(channel)) => served(attendant, channel, &plan, &mut outside),
        _ => Ok(()),
    };
    if attended.is_err() {
        outside.kill();
    }
    outside.until_the_end();
    drop(finisher.control);
    if let Some(terminal) = terminal {
        take_terminal_back(terminal);
    }
    let counted = Leaf::conclude(leaf);
    drop(blocked);
    attended?;
    let outcome = match (status.exit_code(), outside.end) {
        _ if outside.time == Time::Over => Outcome::TimedOut,
        _ if counted.out_of_memory => Outcome::UsedUp(Resource::Memory),
        (Some(code), _) => Outcome::Exited(code),
        (None, Some(Change::Signalled(signal))) => Outcome::Signalled(signal),
        // It has said itself why the program could not be executed.
        (None, _) => {
            return Err(Error::Exec {
                program: command.program.to_string_lossy().into_owned(),
                problem: launch::ExecProblem::Refused,
            });
        }
    };
    Ok(Ended { refused: counted.refused, ..outcome.into() })
}

/// Has the network served by a process of its own until the command has ended: whoever waits for it signals it.
fn served(
    attendant: &mut dyn Attendant,
    channel: OwnedFd,
    plan: &LinuxPlan,
    outside: &mut Outside,
) -> Result<(), Error> {
    let mut served = Served::start(attendant, |attendant, watch| attend(attendant, channel, plan, watch))?;
    let ended = served.until_the_end(outside);
    served.conclude();
    ended
}

/// Everything that bubblewrap is told, but for the command.
fn words(list: &bwrap::List, command: &launch::Command) -> Vec<u8> {
    let mut words: Vec<&[u8]> = list.arguments.iter().map(Vec::as_slice).collect();
    for variable in &command.environment {
        let mut parts = variable.as_bytes().splitn(2, |byte| *byte == b'=');
        if let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            words.extend([b"--setenv".as_slice(), name, value]);
        }
    }
    words.extend([b"--json-status-fd".as_slice(), b"8", b"--block-fd", b"7"]);
    words.iter().flat_map(|word| word.iter().chain(b"\0")).copied().collect()
}

/// What bubblewrap reads, as a descriptor at its beginning.
fn opened(plan: &LinuxPlan, content: Content) -> Result<OwnedFd, Error> {
    match content {
        Content::Filter => {
            let program = seccomp::bytes(&plan.seccomp, seccomp::Architecture::NATIVE)
                .map_err(|error| Error::Plan(error.to_string()))?;
            bytes(&program)
        }
        Content::Empty => bytes(b""),
        Content::Names(file) => bytes(super::names_file(file).as_bytes()),
    }
}

/// A file in memory.
fn bytes(text: &[u8]) -> Result<OwnedFd, Error> {
    let attempt = "handing something to bubblewrap";
    let made = memfd_create(c"fence", MFdFlags::MFD_CLOEXEC)
        .map_err(|errno| failed(attempt, &errno.desc().to_lowercase()))?;
    let mut file = std::fs::File::from(made);
    file.write_all(text).and_then(|()| file.rewind()).map_err(|error| failed(attempt, &error.to_string()))?;
    Ok(file.into())
}

/// What bubblewrap waits at. It holds a writing end of it itself, so that the end of fence lets nothing pass.
struct Gate {
    ours: OwnedFd,
    reading: OwnedFd,
}

impl Gate {
    fn new() -> Result<Gate, Error> {
        let (reading, ours) = pipe()?;
        Ok(Gate { ours, reading })
    }

    fn waiting(&self) -> Result<OwnedFd, Error> {
        let path = format!("/proc/self/fd/{}", self.reading.as_raw_fd());
        open(path.as_str(), OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())
            .map_err(|errno| failed("making a gate for bubblewrap", &errno.desc().to_lowercase()))
    }

    fn open(self) -> Result<(), Error> {
        sys::write(self.ours.as_raw_fd(), b"1")
            .map(drop)
            .map_err(|errno| failed("letting bubblewrap go on", &errno.desc().to_lowercase()))
    }
}

/// Starts bubblewrap without any variable of the caller's: what is passed on is passed to the command alone.
fn spawn(
    program: &Bwrap,
    inside: &launch::Command,
    open_at: Vec<(OwnedFd, RawFd)>,
    signals: Signals,
    entrance: Option<OwnedFd>,
) -> Result<Child, Error> {
    let numbers: Vec<(RawFd, RawFd)> = open_at.iter().map(|(from, to)| (from.as_raw_fd(), *to)).collect();
    let mut command = std::process::Command::new(&program.path);
    command.env_clear().args(["--args", "9"]);
    let text = |text: &CString| OsString::from_vec(text.as_bytes().to_vec());
    if let Some(name) = inside.argv.first().filter(|name| program.takes_name() && **name != inside.program) {
        command.arg("--argv0").arg(text(name));
    }
    command.arg("--").arg(text(&inside.program)).args(inside.argv.iter().skip(1).map(text));
    command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    join::before_exec(&mut command, move || {
        signals.restore();
        if let Some(entrance) = &entrance {
            sys::write(entrance.as_raw_fd(), b"0")?;
        }
        Ok(join::arrange(&numbers)?)
    });
    let child = command.spawn().map_err(|error| {
        let path = program.path.as_os_str().as_bytes().escape_ascii().to_string();
        failed(&format!("starting `{path}`"), &error.to_string())
    })?;
    drop(open_at);
    Ok(child)
}

/// What bubblewrap says of itself, in JSON.
struct Status {
    pipe: OwnedFd,
    text: Vec<u8>,
}

impl Status {
    /// The number of the first process inside; none if bubblewrap has ended.
    fn first(&mut self) -> Option<i32> {
        loop {
            if let Some(pid) = number(&self.text, "child-pid") {
                return Some(pid);
            }
            let mut bytes = [0; 512];
            match sys::read(self.pipe.as_raw_fd(), &mut bytes) {
                Ok(0) => return None,
                Ok(count) => self.text.extend(bytes.iter().take(count)),
                Err(Errno::EINTR) => {}
                Err(_) => return None,
            }
        }
    }

    /// What the command exited with, if it was started at all.
    fn exit_code(self) -> Option<i32> {
        let Status { pipe, mut text } = self;
        let _ = std::fs::File::from(pipe).read_to_end(&mut text);
        number(&text, "exit-code")
    }
}

/// A number by its name in a text of JSON objects with plain numbers; only one that ends is whole.
fn number(text: &[u8], name: &str) -> Option<i32> {
    let text = std::str::from_utf8(text).ok()?;
    let rest = text.split(&format!("\"{name}\"")).nth(1)?.trim_start().strip_prefix(':')?.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest.get(..end)?.parse().ok()
}

/// How long bubblewrap may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the first process inside has made everything: it gives up its capabilities then, and waits at the gate.
/// `Err(None)` if it has ended.
fn await_setup(first: i32, bwrap: i32) -> Result<(), Option<Error>> {
    let begun = Instant::now();
    let watch = join::watch_process(bwrap).map_err(|_| None)?;
    loop {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{first}/status")) else { return Err(None) };
        let line = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default()
        };
        if line("State:").starts_with(['Z', 'X']) {
            return Err(None);
        }
        if line("CapPrm:") == "0000000000000000" && line("NoNewPrivs:") == "1" {
            return Ok(());
        }
        if super::sys::process::wait_readable([watch.as_raw_fd()], 0) != [super::sys::process::Readable::No] {
            return Err(None);
        }
        if begun.elapsed() > PATIENCE {
            return Err(Some(failed("waiting for bubblewrap", "it makes no sandbox")));
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Limits what is inherited from the first process.
fn limit(plan: &LinuxPlan, first: i32) -> Result<(), Option<Error>> {
    for limit in plan.limits.iter().filter(|limit| limit.by == LimitMechanism::Rlimit) {
        let (resource, amount) = command::resource(limit).map_err(Some)?;
        join::limit_of(first, resource, amount)
            .map_err(|errno| Some(failed("limiting the sandbox", &errno.desc().to_lowercase())))?;
    }
    Ok(())
}

/// Ends everything that was begun.
fn abandon(mut child: Child, first: i32, error: Error) -> Error {
    super::sys::process::kill(first, libc::SIGKILL);
    let _ = child.kill();
    let _ = child.wait();
    error
}

/// Bubblewrap has said on standard error why.
fn refused(mut child: Child) -> Error {
    let _ = child.kill();
    let _ = child.wait();
    Error::Step {
        attempt: "making the sandbox with bubblewrap".to_owned(),
        reason: "it has ended before the command started, and says why above".to_owned(),
        repair: "`fence doctor` tells what this host offers and how to mend it".to_owned(),
        rules: Vec::new(),
    }
}

fn failed(attempt: &str, reason: &str) -> Error {
    Error::Step {
        attempt: attempt.to_owned(),
        reason: reason.to_owned(),
        repair: "`fence doctor` tells what this host offers and how to mend it".to_owned(),
        rules: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn a_number_is_read_only_when_it_is_whole() {
        for (text, expected) in [
            ("", None),
            ("{ \"child-pid\": 12", None),
            ("{ \"child-pid\": 12, \"x\": 1 }", Some(12)),
            ("{ \"child-pid\": 7 }\n{ \"exit-code\": 3 }", Some(7)),
            ("{ \"child-pid\": x }", None),
        ] {
            assert_eq!(number(text.as_bytes(), "child-pid"), expected, "{text}");
        }
        assert_eq!(number(b"{ \"child-pid\": 7 }\n{ \"exit-code\": 3 }", "exit-code"), Some(3));
    }
}
