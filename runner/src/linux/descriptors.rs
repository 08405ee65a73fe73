//! The three standard descriptors: what may be handed on, and what can be done with it inside.

use std::collections::BTreeSet;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::plan::{LinuxPlan, Mount, TerminalPlan, Writing};
use landlock::{AccessFs, BitFlags};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{UnixAddr, getpeername};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, fstatfs};
use nix::unistd::AccessFlags;

use super::cgroup::held;
use super::sys::{self, connection, standard};
use crate::launch::Error;

/// The standard descriptors, looked at.
pub(super) struct Standard {
    descriptors: Vec<Descriptor>,
}

struct Descriptor {
    number: RawFd,
    name: &'static str,
    kind: Kind,
    access: OFlag,
    /// Where its file lies on the host, if it lies anywhere.
    path: Option<AbsolutePath>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Terminal,
    Other,
}

impl Standard {
    /// Looks at the three; a directory and an `O_PATH` descriptor are refused, because a program inside could
    /// walk from there, and a socket that is not connected for good, because it is of the caller's network.
    pub(super) fn new() -> Result<Standard, Error> {
        Standard::at([0, 1, 2])
    }

    /// Looks at those that will be the standard ones of a command, and have these numbers here.
    pub(super) fn at(numbers: [RawFd; 3]) -> Result<Standard, Error> {
        let mut descriptors = Vec::new();
        for (number, name) in numbers.into_iter().zip(["standard input", "standard output", "standard error"])
        {
            descriptors.extend(Descriptor::new(number, name)?);
        }
        Ok(Standard { descriptors })
    }

    /// None: whoever has none hands none on.
    pub(super) fn none() -> Standard {
        Standard { descriptors: Vec::new() }
    }

    /// Refuses a file that the command could open again through `/proc/self/fd` with more rights than its
    /// descriptor has, although the plan's mounts keep it from them: Landlock, which sees the file at its place on
    /// the host, would allow it there.
    pub(super) fn refuse_reopening(&self, plan: &LinuxPlan) -> Result<(), Error> {
        for descriptor in self.descriptors.iter().filter(|descriptor| descriptor.kind == Kind::File) {
            let Some(path) = &descriptor.path else { continue };
            let missing = descriptor.missing(path, plan);
            if let Some(right) = missing {
                return Err(Error::Descriptor {
                    name: descriptor.name,
                    problem: format!("is `{path}`, which the policy does not let the command {right}"),
                    repair: match descriptor.name {
                        "standard input" => format!("give it through a pipe: `cat {path} | fence …`"),
                        _ => format!("give it through a pipe: `fence … | cat > {path}`"),
                    },
                });
            }
        }
        Ok(())
    }

    /// Refuses a file of cgroups that can be written, where one holds a limit: by some of them a process leaves it.
    pub(super) fn refuse_cgroups(&self, plan: &LinuxPlan) -> Result<(), Error> {
        let is_cgroup = |number| {
            fstatfs(standard(number)).is_ok_and(|found| {
                [CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC].contains(&found.filesystem_type())
            })
        };
        let mut open = self.descriptors.iter().filter(|descriptor| descriptor.writes());
        match open.find(|descriptor| held(plan).next().is_some() && is_cgroup(descriptor.number)) {
            None => Ok(()),
            Some(descriptor) => Err(Error::Descriptor {
                name: descriptor.name,
                problem:
                    "is a file of cgroups, by which the command could leave the one that its limits hold in"
                        .to_owned(),
                repair: "give it through a pipe: `fence … | cat > FILE`".to_owned(),
            }),
        }
    }

    /// Refuses the same where no Landlock holds: the kernel would open any file of the caller's own again, whatever its
    /// mount inside allows.
    pub(super) fn refuse_reopening_by_mounts(&self, plan: &LinuxPlan) -> Result<(), Error> {
        for descriptor in self.descriptors.iter().filter(|descriptor| descriptor.kind == Kind::File) {
            let (read, write) = descriptor.path.as_ref().map_or((false, false), |path| mounted(path, plan));
            let reads = descriptor.reads() || read || !descriptor.permits(AccessFlags::R_OK);
            let overwrites = descriptor.writes() && !descriptor.access.contains(OFlag::O_APPEND);
            let writes = overwrites || write || !descriptor.permits(AccessFlags::W_OK);
            if reads && writes {
                continue;
            }
            let right = if reads { "write" } else { "read" };
            let path = descriptor.path.as_ref().map_or_else(|| "FILE".to_owned(), ToString::to_string);
            return Err(Error::Descriptor {
                name: descriptor.name,
                problem: format!(
                    "is a file that the command could open again to {right} it under bubblewrap"
                ),
                repair: match descriptor.name {
                    "standard input" => format!("give it through a pipe: `cat {path} | fence …`"),
                    _ => format!("give it through a pipe: `fence … | cat > {path}`"),
                },
            });
        }
        Ok(())
    }

    /// The terminal that the command has, by its path on the host, if it keeps one.
    pub(super) fn terminal_device(&self, plan: TerminalPlan) -> Option<&AbsolutePath> {
        if plan == TerminalPlan::None {
            return None;
        }
        let mut terminals = self.descriptors.iter().filter(|descriptor| descriptor.kind == Kind::Terminal);
        terminals.find_map(|terminal| terminal.path.as_ref())
    }

    /// What each descriptor already allows, and may therefore be done with the same file by another way
    /// (`/dev/stderr`): a terminal that is kept, and a file as it was opened. One that only appends gives nothing:
    /// opened again, it could overwrite.
    pub(super) fn rights(&self, plan: TerminalPlan) -> Vec<(RawFd, BitFlags<AccessFs>)> {
        let kept = |descriptor: &&Descriptor| match descriptor.kind {
            Kind::Terminal => plan == TerminalPlan::Kept,
            Kind::File => !descriptor.access.contains(OFlag::O_APPEND) && descriptor.path.is_some(),
            Kind::Other => false,
        };
        let rights = |descriptor: &Descriptor| {
            let mut rights = BitFlags::empty();
            if descriptor.reads() {
                rights |= AccessFs::ReadFile;
            }
            if descriptor.writes() {
                rights |= AccessFs::WriteFile | AccessFs::Truncate;
            }
            if descriptor.kind == Kind::Terminal {
                rights |= AccessFs::IoctlDev;
            }
            (descriptor.number, rights)
        };
        self.descriptors.iter().filter(kept).map(rights).collect()
    }

    /// A descriptor of the terminal in whose foreground the caller is, if it is.
    pub(super) fn foreground(&self) -> Option<RawFd> {
        let mut terminals = self.descriptors.iter().filter(|descriptor| descriptor.kind == Kind::Terminal);
        let here = |terminal: &&Descriptor| {
            nix::unistd::tcgetpgrp(standard(terminal.number)) == Ok(nix::unistd::getpgrp())
        };
        terminals.rfind(here).map(|terminal| terminal.number)
    }
}

impl Descriptor {
    fn new(number: RawFd, name: &'static str) -> Result<Option<Descriptor>, Error> {
        let refuse = |problem: &str, repair: &str| Error::Descriptor {
            name,
            problem: problem.to_owned(),
            repair: repair.to_owned(),
        };
        let Ok(flags) = fcntl(standard(number), FcntlArg::F_GETFL) else { return Ok(None) };
        let access = OFlag::from_bits_truncate(flags);
        if access.contains(OFlag::O_PATH) {
            return Err(refuse(
                "was opened as a mere path (`O_PATH`)",
                "give it a file, a pipe or `/dev/null`",
            ));
        }
        let metadata = sys::metadata(number).map_err(|error| refuse(&error.to_string(), "give it a file"))?;
        let file_type = metadata.file_type();
        if file_type.is_dir() {
            return Err(refuse(
                "is a directory, from which the command could reach what lies around it",
                "give it a file, a pipe or `/dev/null`",
            ));
        }
        if file_type.is_socket() && !leads_to_one_other_end(number) {
            return Err(refuse(
                "is a socket with which the command could reach what no rule opens: it is of the caller's network, and can be connected or sent from anew",
                "give it through a pipe: `cat | fence … | cat`",
            ));
        }
        let kind = if file_type.is_file() || file_type.is_block_device() {
            Kind::File
        } else if file_type.is_char_device() && nix::unistd::isatty(standard(number)) == Ok(true) {
            Kind::Terminal
        } else {
            Kind::Other
        };
        // A file that was removed, or lies in another's view of the tree, has no path here.
        let path = std::fs::read_link(format!("/proc/self/fd/{number}"))
            .ok()
            .and_then(|link| AbsolutePath::new(link.as_os_str().as_bytes()).map(|path| (link, path)))
            .filter(|(link, _)| {
                std::fs::symlink_metadata(link)
                    .is_ok_and(|there| (there.dev(), there.ino()) == (metadata.dev(), metadata.ino()))
            })
            .map(|(_, path)| path);
        Ok(Some(Descriptor { number, name, kind, access, path }))
    }

    /// Whether the file's own mode lets the caller do something with it.
    fn permits(&self, how: AccessFlags) -> bool {
        let path = format!("/proc/self/fd/{}", self.number);
        nix::unistd::access(path.as_str(), how).is_ok()
    }

    fn reads(&self) -> bool {
        self.access & OFlag::O_ACCMODE != OFlag::O_WRONLY
    }

    fn writes(&self) -> bool {
        self.access & OFlag::O_ACCMODE != OFlag::O_RDONLY
    }

    /// What Landlock would let the command do with the file, although neither the descriptor nor the mounts do.
    fn missing(&self, path: &AbsolutePath, plan: &LinuxPlan) -> Option<&'static str> {
        // A rule is about a directory, whatever mount of it the file was reached through.
        let above: BTreeSet<(u64, u64)> = std::iter::once(path.clone())
            .chain(path.ancestors())
            .filter_map(|above| identity(&above))
            .collect();
        let holds = |place: &AbsolutePath| {
            path.is_within(place) || identity(place).is_some_and(|identity| above.contains(&identity))
        };
        let rules =
            plan.landlock.rules.iter().filter(|rule| of_the_host(&rule.path, plan) && holds(&rule.path));
        let (read, write) =
            rules.fold((false, false), |(read, write), rule| (read || rule.read, write || rule.write));
        let (mount_read, mount_write) = mounted(path, plan);
        let overwrites = self.writes() && !self.access.contains(OFlag::O_APPEND);
        if write && !mount_write && !overwrites {
            Some("write")
        } else if read && !mount_read && !self.reads() {
            Some("read")
        } else {
            None
        }
    }
}

/// Whether a socket is connected for good, as one of a pair is: not even one of TCP is, which can be disconnected.
fn leads_to_one_other_end(number: RawFd) -> bool {
    let is_stream = |kind: connection::Kind| matches!(kind.of, libc::SOCK_STREAM | libc::SOCK_SEQPACKET);
    connection::kind(number).is_ok_and(|kind| kind.family == libc::AF_UNIX && is_stream(kind))
        && getpeername::<UnixAddr>(number).is_ok()
}

/// What tells one file from all others.
fn identity(path: &AbsolutePath) -> Option<(u64, u64)> {
    let found = std::fs::symlink_metadata(std::ffi::OsStr::from_bytes(path.as_bytes())).ok()?;
    Some((found.dev(), found.ino()))
}

/// Whether a path inside is the same place on the host, so that a rule of Landlock for it holds there too.
fn of_the_host(path: &AbsolutePath, plan: &LinuxPlan) -> bool {
    let covering = plan.mounts.iter().rfind(|mount| match mount {
        Mount::Tree { at, .. }
        | Mount::Overlaid { at, .. }
        | Mount::Copy { at, .. }
        | Mount::Mask { at, .. }
        | Mount::Names { at, .. }
        | Mount::Private { at, .. }
        | Mount::Proc { at, .. }
        | Mount::Dev { at, .. } => path.is_within(at),
        Mount::Directory { .. } | Mount::Link { .. } | Mount::Pin { .. } | Mount::Layer { .. } => false,
    });
    matches!(covering, Some(Mount::Tree { source, at, .. }) if source == at)
}

/// What the mounts let the command do at a path: read, write.
fn mounted(path: &AbsolutePath, plan: &LinuxPlan) -> (bool, bool) {
    let mut rights = (false, false);
    for mount in &plan.mounts {
        match mount {
            Mount::Tree { at, writing, .. } if path.is_within(at) => {
                rights = (true, *writing == Writing::Allowed);
            }
            // The host's own file can be written by no mount.
            Mount::Overlaid { at, .. } | Mount::Copy { at, .. } if path.is_within(at) => {
                rights = (true, false);
            }
            Mount::Mask { at, .. }
            | Mount::Names { at, .. }
            | Mount::Private { at, .. }
            | Mount::Proc { at, .. }
            | Mount::Dev { at, .. }
                if path.is_within(at) =>
            {
                rights = (false, false);
            }
            _ => {}
        }
    }
    rights
}
