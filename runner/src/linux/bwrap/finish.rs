//! What bubblewrap has no option for, done from outside in the namespaces that it made: `noexec` mounts, and the
//! network in which connections are judged.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::plan::{Executing, LinuxPlan, Mount, NetworkPlan};
use nix::errno::Errno;

use super::super::message::{self, List, Message};
use super::super::operation::{Operation, State, Step};
use super::super::parent::{channel, pipe};
use super::super::sys::process::{self, Readable, Side};
use super::super::sys::{self, join};
use super::super::tree::absolute;
use super::super::{elsewhere, explain, first, network};
use super::failed;
use crate::launch::{Error, Phase};

/// What goes on in the sandbox's namespaces beside the command.
pub(super) struct Finisher {
    /// Where the sockets of the network come from.
    pub(super) channel: Option<OwnedFd>,
    /// Its end is the end of the process that made them.
    pub(super) control: Option<OwnedFd>,
}

impl Finisher {
    /// Enters the namespaces of a sandbox's first process and finishes them. `Err(None)` if that process is gone.
    pub(super) fn start(first: i32, plan: &LinuxPlan, on_demand: bool) -> Result<Finisher, Option<Error>> {
        let namespaces = Namespaces::of(first)?;
        let (report, report_end) = pipe().map_err(Some)?;
        let (control_end, control) = pipe().map_err(Some)?;
        let judged = matches!(plan.network, NetworkPlan::Judged(_));
        let stays = judged || on_demand;
        let channel = if stays { Some(channel().map_err(Some)?) } else { None };
        let inner = channel.as_ref().map_or(-1, |(_, end)| end.as_raw_fd());
        let steps = steps(first, plan, &namespaces, inner)?;
        let keep = Kept {
            report: report_end.as_raw_fd(),
            control: control_end.as_raw_fd(),
            channel: if on_demand { inner } else { -1 },
        };
        match join::fork().map_err(|errno| Some(explain::first(1, errno)))? {
            Side::Child => become_finisher(&steps, keep, if stays { Stay::UntilTheEnd } else { Stay::Not }),
            Side::Parent { pid } => {
                drop((report_end, control_end));
                let channel = channel.map(|(outer, _)| outer);
                let mut bytes = [0; message::LENGTH];
                let said = match sys::read(report.as_raw_fd(), &mut bytes) {
                    Ok(message::LENGTH) => Message::decode(bytes),
                    _ => None,
                };
                if !stays {
                    let _ = process::wait_for_end(pid);
                }
                match said {
                    Some(Message::Reached(..)) => Ok(Finisher { channel, control: stays.then_some(control) }),
                    Some(Message::Failed(_, index, errno)) => {
                        let step = steps.get(usize::try_from(index).unwrap_or(usize::MAX));
                        let errno = Errno::from_raw(errno);
                        Err(Some(
                            step.map_or_else(|| explain::first(1, errno), |step| explain::step(step, errno)),
                        ))
                    }
                    _ => {
                        Err(Some(failed("finishing what bubblewrap has made", "the process for it was lost")))
                    }
                }
            }
        }
    }
}

/// The namespaces that something is done in.
struct Namespaces {
    user: OwnedFd,
    mounts: File,
    network: File,
}

impl Namespaces {
    /// Those of a process; the user namespace is the one that owns the others, which is not always the one that the
    /// process is in.
    fn of(pid: i32) -> Result<Namespaces, Option<Error>> {
        let open = |name: &str| {
            File::open(format!("/proc/{pid}/ns/{name}")).map_err(|error| {
                (error.kind() != std::io::ErrorKind::NotFound)
                    .then(|| failed("entering the namespaces that bubblewrap has made", &error.to_string()))
            })
        };
        let mounts = open("mnt")?;
        let user = join::owner_of(mounts.as_raw_fd()).map_err(|errno| {
            Some(failed("entering the namespaces that bubblewrap has made", &errno.desc().to_lowercase()))
        })?;
        Ok(Namespaces { user, mounts, network: open("net")? })
    }
}

fn steps(
    first: i32,
    plan: &LinuxPlan,
    namespaces: &Namespaces,
    channel: RawFd,
) -> Result<Vec<Step>, Option<Error>> {
    let mut steps: Vec<Step> = vec![
        Operation::DieWithParent.into(),
        Operation::Join { namespace: namespaces.user.as_raw_fd(), kind: libc::CLONE_NEWUSER }.into(),
    ];
    if channel >= 0 {
        steps.push(
            Operation::Join { namespace: namespaces.network.as_raw_fd(), kind: libc::CLONE_NEWNET }.into(),
        );
    }
    if let NetworkPlan::Judged(judged) = &plan.network {
        steps.extend(network::steps(judged, channel));
        let ports = network::held(judged);
        if !ports.is_empty() {
            steps.push(Operation::Hold { ports }.into());
        }
    }
    steps.push(Operation::Join { namespace: namespaces.mounts.as_raw_fd(), kind: libc::CLONE_NEWNS }.into());
    let table = std::fs::read(format!("/proc/{first}/mountinfo")).map_err(|_| None)?;
    for at in not_executable(&elsewhere::places(&table), &plan.mounts) {
        steps.push(Operation::NoExecution { path: absolute(&at) }.into());
    }
    Ok(steps)
}

/// The mounts inside on which nothing may be executed: all but those in which the innermost step of the plan allows it.
fn not_executable(places: &[AbsolutePath], mounts: &[Mount]) -> Vec<AbsolutePath> {
    let mut found: Vec<AbsolutePath> =
        places.iter().filter(|place| !executes(place, mounts)).cloned().collect();
    found.sort();
    found.dedup();
    found
}

fn executes(place: &AbsolutePath, mounts: &[Mount]) -> bool {
    let mut innermost: Option<(usize, Executing)> = None;
    for mount in mounts {
        let (at, executing) = match mount {
            Mount::Tree { at, executing, .. }
            | Mount::Overlaid { at, executing, .. }
            | Mount::Copy { at, executing, .. }
            | Mount::Private { at, executing, .. } => (at, *executing),
            Mount::Mask { at, .. }
            | Mount::Names { at, .. }
            | Mount::Proc { at, .. }
            | Mount::Dev { at, .. } => (at, Executing::Refused),
            Mount::Directory { .. } | Mount::Link { .. } | Mount::Pin { .. } | Mount::Layer { .. } => {
                continue;
            }
        };
        let depth = at.components().count();
        // A later step at the same place covers the earlier one.
        if place.is_within(at) && innermost.is_none_or(|(known, _)| depth >= known) {
            innermost = Some((depth, executing));
        }
    }
    innermost.is_some_and(|(_, executing)| executing == Executing::Allowed)
}

/// What the process that finishes a sandbox holds on to.
#[derive(Clone, Copy)]
struct Kept {
    report: RawFd,
    control: RawFd,
    channel: RawFd,
}

/// Whether the process stays: it holds ports, and makes sockets when it is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stay {
    UntilTheEnd,
    Not,
}

fn become_finisher(steps: &[Step], kept: Kept, stay: Stay) -> ! {
    let mut state = State::new(kept.report);
    if let Err((index, errno)) = state.work(steps) {
        Message::failed(List::Sandbox, index, errno).send(kept.report);
        process::exit(125)
    }
    Message::reached(Phase::Network).send(kept.report);
    if stay == Stay::Not {
        process::exit(0)
    }
    sys::close(kept.report);
    let _ = sys::close_range(0, 2);
    let mut channel = kept.channel;
    loop {
        let [asked, control] = process::wait_readable([channel, kept.control], -1);
        match asked {
            Readable::Yes if first::make_sockets(channel).is_break() => channel = -1,
            Readable::Ended => channel = -1,
            Readable::Yes | Readable::No => {}
        }
        if control != Readable::No {
            process::exit(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use fence_compiler::plan::{Devices, MaskKind, TreeKind, Writing};

    use super::*;

    #[test]
    fn the_innermost_step_says_whether_a_mount_executes() {
        let path = |text: &str| AbsolutePath::new(text.as_bytes()).unwrap();
        let tree = |at: &str, executing| Mount::Tree {
            source: path(at),
            at: path(at),
            kind: TreeKind::Directory,
            writing: Writing::Refused,
            executing,
            devices: Devices::Refused,
            rules: Vec::new(),
        };
        let mask = |at: &str| Mount::Mask { at: path(at), kind: MaskKind::Directory, rules: Vec::new() };
        let mounts = [
            tree("/usr", Executing::Allowed),
            tree("/usr/share", Executing::Refused),
            tree("/usr/share/bin", Executing::Allowed),
            mask("/usr/lib/x"),
            tree("/etc", Executing::Refused),
        ];
        let places: Vec<AbsolutePath> =
            ["/", "/usr", "/usr/local", "/usr/share", "/usr/share/bin/y", "/usr/lib/x", "/etc", "/usrx"]
                .map(path)
                .into();
        let expected: Vec<AbsolutePath> = ["/", "/etc", "/usr/lib/x", "/usr/share", "/usrx"].map(path).into();
        assert_eq!(not_executable(&places, &mounts), expected);
    }
}
