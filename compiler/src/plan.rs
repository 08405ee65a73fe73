//! What a sandbox on Linux is made of: a flat list that somebody can read first.
//!
//! Every target for Linux (native, bwrap, Landlock alone) is made from this one plan.

pub mod bwrap;
pub mod overlay;

mod network;
mod text;

pub use network::{AddressBlock, JudgedNetwork, NameBlock, NetworkPlan, POOL, PROXY, RESOLVER};
pub(crate) use text::name;
pub use text::text;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bytes::AbsolutePath;
use crate::host::LinkText;
use crate::policy::{LimitKind, RuleId};

/// The plan of a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LinuxPlan {
    /// What the file tree is made of, in order, on an empty root. The namespaces (user, mount, pid, net, ipc,
    /// uts, cgroup) are always all made.
    pub mounts: Vec<Mount>,
    /// The second line of defence for files, and the scopes.
    pub landlock: LandlockPlan,
    /// The system calls that are refused.
    pub seccomp: Vec<CallRule>,
    /// The network inside.
    pub network: NetworkPlan,
    /// The environment of the command.
    pub environment: EnvironmentPlan,
    /// The limits, one a kind at most.
    pub limits: Vec<LimitPlan>,
    /// Whether the command keeps the controlling terminal.
    pub terminal: TerminalPlan,
    /// What `memfd_create` may make.
    pub memfd: MemfdPlan,
    /// What a process outside judges, call by call; without any there is no such process.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub mediated: BTreeSet<Mediated>,
    /// The directory the command starts in; it exists inside (as an unreadable stand-in where the policy does
    /// not allow reading it).
    pub cwd: AbsolutePath,
}

/// A kind of system call that a process outside judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mediated {
    /// Starting a program: its file and its arguments, at the call and again when it has been loaded.
    Starts,
    /// Whatever makes, changes, moves or removes files, or opens them for that: it is carried out from outside, on what
    /// has been judged.
    Writes,
    /// Opening files and directories to read them: it is carried out from outside, on what has been judged. Starts and writes
    /// are judged then too: a program is read when it starts, and what is closed must not get a name that is not.
    Reads,
    /// Connecting to Unix sockets by their paths, and sending to them: it is done from outside, to what has been judged.
    Sockets,
}

/// One step of making the file tree. Paths called `at` are those inside, `source` those of the host; both
/// without links in any component but those made by [`Mount::Link`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mount {
    /// An empty directory of fence's own (on the root, or within a mask).
    Directory {
        /// Where.
        at: AbsolutePath,
        /// Its mode: 0755 for the ancestor of something readable, 0111 for a stand-in.
        mode: u32,
    },
    /// A symbolic link of fence's own, for a link of the host that an allowed path goes through.
    Link {
        /// Where.
        at: AbsolutePath,
        /// What it holds.
        target: LinkText,
    },
    /// A tree or a file of the host, with everything mounted below it.
    Tree {
        /// Of the host.
        source: AbsolutePath,
        /// Where; the mount point is made if it lies on the root or in a mask.
        at: AbsolutePath,
        /// Whether it is a directory or a file.
        kind: TreeKind,
        /// Whether it may be written.
        writing: Writing,
        /// Whether what lies there may be executed.
        executing: Executing,
        /// Whether devices work there.
        devices: Devices,
        /// The rules it is there for.
        rules: Vec<RuleId>,
    },
    /// Something in place of what the host has there: it can be neither read nor changed.
    Mask {
        /// What is covered: it exists.
        at: AbsolutePath,
        /// What it is covered with.
        kind: MaskKind,
        /// The rules it is there for.
        rules: Vec<RuleId>,
    },
    /// A directory mounted onto itself, so that nobody inside can move or remove it.
    Pin {
        /// The directory, in a writable tree.
        at: AbsolutePath,
        /// The rules it is there for.
        rules: Vec<RuleId>,
    },
    /// `/proc` of the sandbox's own processes, read-only.
    Proc {
        /// Where.
        at: AbsolutePath,
        /// How it is made.
        how: ProcKind,
    },
    /// A minimal `/dev`: null, zero, full, random, urandom, tty, ptmx, pts, shm, fd, std*; and devices allowed.
    Dev {
        /// Where.
        at: AbsolutePath,
        /// Further devices of the host, by path.
        devices: Vec<AbsolutePath>,
    },
    /// A file of fence's own that programs resolve names by, read-only.
    Names {
        /// Where; the host's file there is covered, or there is none.
        at: AbsolutePath,
        /// Which of them.
        file: NamesFile,
    },
    /// A layer over a directory of the host: it takes what is written, and the host's files stay as they are. What comes
    /// of both lies nowhere inside by itself; [`Mount::Overlaid`] mounts parts of it.
    Layer {
        /// The directory of the host, with nothing mounted below it.
        over: AbsolutePath,
        /// Where the layer lies.
        keep: Keep,
        /// The mode of the directory as it is seen.
        mode: u32,
    },
    /// A tree or a file as a layer shows it.
    Overlaid {
        /// The directory that the layer is over.
        over: AbsolutePath,
        /// Where: the place of what is shown, too.
        at: AbsolutePath,
        /// Whether it is a directory or a file.
        kind: TreeKind,
        /// Whether it may be written.
        writing: Writing,
        /// Whether what lies there may be executed.
        executing: Executing,
        /// The rules it is there for.
        rules: Vec<RuleId>,
    },
    /// A copy of a file of the host, which takes what is written to it.
    Copy {
        /// Where, and what is copied.
        at: AbsolutePath,
        /// Where the copy lies.
        keep: Keep,
        /// The mode of the file.
        mode: u32,
        /// Whether it may be executed.
        executing: Executing,
        /// The rules it is there for.
        rules: Vec<RuleId>,
    },
    /// An empty file system of this run alone, gone at its end.
    Private {
        /// Where.
        at: AbsolutePath,
        /// The mode of its root: 01777 for `/tmp`.
        mode: u32,
        /// Whether what lies there may be executed.
        executing: Executing,
    },
}

impl Mount {
    /// Where it is inside; for a layer, what it is over.
    #[must_use]
    pub fn at(&self) -> &AbsolutePath {
        match self {
            Mount::Directory { at, .. }
            | Mount::Link { at, .. }
            | Mount::Tree { at, .. }
            | Mount::Mask { at, .. }
            | Mount::Pin { at, .. }
            | Mount::Proc { at, .. }
            | Mount::Dev { at, .. }
            | Mount::Names { at, .. }
            | Mount::Layer { over: at, .. }
            | Mount::Overlaid { at, .. }
            | Mount::Copy { at, .. }
            | Mount::Private { at, .. } => at,
        }
    }
}

/// Where what is written over the host's files lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// In memory, until the run ends.
    Run,
    /// In a directory of fence's state (a file, for a copy), which is nowhere inside.
    Kept(AbsolutePath),
}

/// A file that programs resolve names by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NamesFile {
    /// `/etc/hosts`: loopback and the machine's own name.
    Hosts,
    /// `/etc/resolv.conf`: fence's resolver.
    Resolver,
    /// `/etc/nsswitch.conf`: files, then the resolver.
    Order,
}

/// What is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TreeKind {
    /// A directory.
    Directory,
    /// A file, a socket or a FIFO.
    File,
}

/// Whether a mount may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Writing {
    /// Yes.
    Allowed,
    /// Read-only.
    Refused,
}

/// Whether what lies on a mount may be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Executing {
    /// Yes.
    Allowed,
    /// `noexec`.
    Refused,
}

/// Whether device nodes on a mount work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Devices {
    /// Yes: it is a device that a rule allows.
    Allowed,
    /// `nodev`.
    Refused,
}

/// What something is covered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MaskKind {
    /// An empty file of mode 000.
    File,
    /// An empty directory of mode 000.
    Directory,
    /// A directory of mode 0111: something within it is allowed, and mounted or made there by a later step.
    Passage,
}

/// How `/proc` is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProcKind {
    /// A fresh one.
    Fresh,
    /// The host's, read-only: names and command lines of outside processes can be read.
    Bound,
}

/// Landlock's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LandlockPlan {
    /// What is allowed beneath each path; everything else that Landlock can handle is refused. Paths are
    /// those inside. Sorted by path, each once. `/proc`, `/dev` and `/tmp` of fence's own are among them.
    pub rules: Vec<LandlockRule>,
}

/// What Landlock allows beneath a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LandlockRule {
    /// Where.
    pub path: AbsolutePath,
    /// Reading files and listing directories.
    pub read: bool,
    /// Everything that `write` covers.
    pub write: bool,
    /// Executing.
    pub execute: bool,
    /// `ioctl` on devices.
    pub device: bool,
}

/// System calls that are refused, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallRule {
    /// Their names, as in the kernel's tables.
    pub calls: Vec<String>,
    /// When; any of these is enough.
    pub when: Vec<Condition>,
    /// The error they answer: `EPERM`, `ENOSYS`, `EAFNOSUPPORT`, ….
    pub errno: String,
    /// Why, in a few words.
    pub reason: String,
}

/// When a call is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Always.
    Always,
    /// When an argument, masked, equals this. Compared in the width that the kernel reads.
    Equals {
        /// Which argument, from 0.
        argument: u8,
        /// How many bits of it the kernel reads: 16, 32 or 64.
        width: u8,
        /// Which bits count.
        mask: u64,
        /// Their value.
        value: u64,
    },
    /// When any of these bits of an argument is set.
    AnyBit {
        /// Which argument, from 0.
        argument: u8,
        /// How many bits of it the kernel reads.
        width: u8,
        /// The bits.
        bits: u64,
    },
    /// When all of these hold.
    All(Vec<Condition>),
    /// When an argument is none of these values.
    NoneOf {
        /// Which argument, from 0.
        argument: u8,
        /// How many bits of it the kernel reads.
        width: u8,
        /// The values that pass.
        values: Vec<u64>,
    },
}

/// The environment of the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentPlan {
    /// The caller's variables that are passed on, by name, sorted.
    pub pass: Vec<String>,
    /// The variables that are set.
    pub set: BTreeMap<String, String>,
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitPlan {
    /// What is limited.
    pub kind: LimitKind,
    /// Milliseconds, bytes, or a count.
    pub amount: u64,
    /// By what.
    pub by: LimitMechanism,
}

/// What holds a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LimitMechanism {
    /// `setrlimit`, in each process.
    Rlimit,
    /// A timer in pid 1 of the sandbox.
    Timer,
    /// `kernel.pid_max` of the pid namespace.
    PidMax,
    /// A cgroup (version 2) of the sandbox's own.
    Cgroup,
}

/// Whether the command keeps the controlling terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TerminalPlan {
    /// It does, and job control works.
    Kept,
    /// It starts in a session of its own, without one.
    None,
}

/// What `memfd_create` may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MemfdPlan {
    /// Only what can never be executed (`vm.memfd_noexec=2` in the pid namespace).
    NeverExecutable,
    /// Anything.
    Unrestricted,
}
