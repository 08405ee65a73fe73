//! One step of a launch, and how a child carries it out.

use std::ffi::{CStr, CString};
use std::net::SocketAddrV4;
use std::os::fd::RawFd;

use fence_compiler::policy::RuleId;
use nix::errno::Errno;

use super::sys::confine::{self, Missing};
use super::sys::join;
use super::sys::mount::{self, Attributes, Depth};
use super::sys::notice;
use super::sys::process::{self, Disposition, Signals, Strings};
use super::sys::processor::Processors;
use super::sys::request::{Controls, Request};
use super::sys::socket;
use super::sys::terminal;
use super::{message::Message, seccomp, sys};
use crate::launch::Phase;

/// An operation and the rules it is there for.
#[derive(Debug)]
pub(super) struct Step {
    /// What is done.
    pub(super) operation: Operation,
    /// For which rules.
    pub(super) rules: Vec<RuleId>,
}

impl From<Operation> for Step {
    fn from(operation: Operation) -> Step {
        Step { operation, rules: Vec::new() }
    }
}

/// What a child does: system calls, and nothing that allocates, locks or panics. All that it needs is in it.
///
/// Paths called `at` are below the root that is being made, without a slash in front.
#[derive(Debug)]
pub(super) enum Operation {
    /// Tells the parent that a phase has ended.
    Mark(Phase),
    /// Writes a text to a file (`/proc/self/uid_map`, a sysctl).
    Write { path: &'static CStr, text: CString },
    /// Sees no cgroup above its own.
    LeaveCgroups,
    /// Goes into the cgroup whose list of processes is open.
    EnterCgroup { entrance: RawFd },
    /// Sets the mask of modes aside, so that modes are made as written.
    Umask,
    /// Makes all mounts private.
    Private,
    /// A tree of the host will be the root; everything that follows happens in it.
    HostRoot { source: CString, attributes: Attributes },
    /// Makes the one file system of fence's own, over the host's root. What is empty inside (the root, masks, private
    /// directories) is a directory of it, mounted where it belongs.
    Store,
    /// A directory of the store will be the root.
    EmptyRoot { name: CString },
    /// Puts the new root over the store.
    AttachRoot,
    /// Makes an empty directory.
    Directory { ground: Ground, path: CString, mode: u32 },
    /// Makes an empty file.
    File { ground: Ground, path: CString, mode: u32 },
    /// Writes a file of the store.
    Fill { name: CString, text: CString },
    /// Makes a symbolic link.
    Link { ground: Ground, path: CString, target: CString },
    /// Mounts a tree or file of the host.
    Bind { source: CString, at: Place, attributes: Attributes },
    /// Mounts a directory or file of the store.
    Stored { name: CString, at: Place, attributes: Attributes },
    /// Mounts a directory or file of the store in the place of what the host has there.
    Mask { name: CString, at: Place },
    /// Makes a file system of a directory of the host and one that lies over it, and mounts it in the store.
    Layer { name: CString, lower: CString, upper: Upper, work: CString },
    /// Mounts what lies below such a file system's place in the store.
    Overlaid { source: CString, at: Place, attributes: Attributes },
    /// Copies a file of the host to a file of the store.
    Copy { source: CString, name: CString },
    /// Mounts a directory onto itself.
    Pin { at: CString },
    /// Mounts a new file system.
    New { filesystem: FileSystem, at: Place, attributes: Attributes },
    /// Makes a mount read-only.
    Seal { at: CString },
    /// Makes the new root `/`, and drops the host's.
    Pivot,
    /// Switches the loopback interface on.
    Loopback,
    /// Says something to a part of the kernel.
    Netlink { protocol: i32, attempt: Attempt, messages: Vec<Vec<u8>> },
    /// Makes the rules of netfilter, with a log of what they refuse where the kernel has one.
    Firewall { logging: Vec<Vec<u8>>, silent: Vec<Vec<u8>> },
    /// Makes the sockets that the parent serves, and hands them over: the listener, the resolver's two, and one for the
    /// log where there is one.
    HandOver { channel: RawFd, listener: u16, resolver: SocketAddrV4, log: Vec<u8> },
    /// Keeps ports from being bound, for as long as this process lives.
    Hold { ports: Vec<u16> },
    /// Allows rights beneath a path, inside.
    Allow { ruleset: RawFd, path: CString, access: u64, of_files: u64 },
    /// Allows rights on what a descriptor stands for.
    AllowDescriptor { ruleset: RawFd, descriptor: RawFd, access: u64, of_files: u64 },
    /// Enters a Landlock ruleset.
    Enter { ruleset: RawFd },
    /// Closes all descriptors but the standard ones and these, which are sorted.
    CloseOthers { keep: Vec<RawFd> },
    /// Nothing executed from here on gains rights.
    NoNewPrivileges,
    /// Nobody may look into this process.
    Undumpable,
    /// Empties the bounding set and locks the securebits.
    DropBoundingSet,
    /// Gives up every capability.
    DropCapabilities,
    /// Starts a session without a terminal.
    NewSession,
    /// Limits a resource of this process.
    Limit { resource: u32, amount: u64 },
    /// Goes to the directory that the command starts in.
    Start { path: CString },
    /// Sets what a signal does.
    Signal { signal: i32, disposition: Disposition },
    /// Gives signals the mask, and modes theirs, that the caller had.
    Restore { signals: Signals },
    /// Lets the process run on these processors again.
    Spread { processors: Processors },
    /// Installs the filter.
    Filter { program: Vec<libc::sock_filter> },
    /// Installs a filter whose calls are judged elsewhere, and hands over where they are answered.
    Mediate { program: Vec<libc::sock_filter>, channel: RawFd },
    /// Checks that every right is gone.
    Check,
    /// Checks the same where no namespace gave the right to empty the bounding set, which `no_new_privs` makes useless.
    CheckWithoutBoundingSet,
    /// Ends this process with its parent.
    DieWithParent,
    /// Enters a namespace.
    Join { namespace: RawFd, kind: i32 },
    /// Has nothing executed that lies on a mount.
    NoExecution { path: CString },
    /// Allows rights beneath a path, if it is still there.
    Offer { ruleset: RawFd, path: CString, access: u64, of_files: u64 },
    /// Keeps open, at a number that is kept for it, what names the processes inside.
    Remember { processes: RawFd },
    /// Puts the descriptors that a command of a session was asked for with at the standard numbers.
    Standard,
    /// Sets the mask of modes, and goes to the directory, that a command of a session was asked for with.
    StartAsked,
    /// Installs a filter whose calls are judged elsewhere, and hands over where they are answered, with the command.
    MediateAsked { program: Vec<libc::sock_filter>, channel: RawFd },
    /// Executes the program that a session was asked for: the last operation.
    ExecuteAsked,
    /// Executes the program: the last operation.
    Execute { program: CString, argv: Strings, environment: Strings },
}

/// Where the directory lies that takes what is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Upper {
    /// In the store; so does the one to work in.
    Stored(CString),
    /// In fence's state; so does the one to work in.
    Kept(CString),
}

/// Whether something has to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It does.
    Must,
    /// Without it more is refused.
    May,
}

/// Where something is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ground {
    /// Below the new root.
    Root,
    /// In the store.
    Store,
}

/// Where something is mounted, below the new root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Everything on the way is of fence's own making: no link can be there.
    Own(CString),
    /// The way leads through a tree of the host, which others may be changing.
    Host(CString),
}

impl Place {
    /// The path.
    pub(super) fn path(&self) -> &CStr {
        match self {
            Place::Own(path) | Place::Host(path) => path,
        }
    }
}

/// A kind of file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FileSystem {
    /// Processes.
    Processes,
    /// Terminals.
    Terminals,
}

impl FileSystem {
    fn make(&self, attributes: Attributes) -> Result<RawFd, Errno> {
        match self {
            FileSystem::Processes => mount::make(c"proc", &[], attributes),
            FileSystem::Terminals => {
                mount::make(c"devpts", &[(c"ptmxmode", c"0666"), (c"mode", c"0620")], attributes)
            }
        }
    }
}

/// What a child knows while it works through a list.
#[derive(Debug)]
pub(super) struct State {
    /// The pipe to the parent.
    pub(super) report: RawFd,
    root: RawFd,
    store: RawFd,
    umask: u32,
    /// The command of a session that is started.
    pub(super) asked: Option<Asked>,
}

/// A command that a session is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    /// What it is.
    pub(super) request: Request,
    /// The descriptor of the memory that it was laid out in.
    pub(super) memory: RawFd,
    /// Its standard descriptors.
    pub(super) standard: [RawFd; 3],
    /// Who looks at it, if somebody wants to see what it is refused.
    pub(super) watched: Option<Watched>,
}

/// Who looks at a command, which has a filter of its own for that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watched {
    /// Where it is handed over to who looks.
    pub(super) judge: RawFd,
    /// Where whoever asked for it is told.
    pub(super) told: RawFd,
}

impl State {
    /// Before the first operation.
    pub(super) fn new(report: RawFd) -> State {
        State { report, root: -1, store: -1, umask: 0o022, asked: None }
    }

    /// Carries the operations out in their order; the index and error of the first that fails.
    pub(super) fn work(&mut self, steps: &[Step]) -> Result<(), (usize, Errno)> {
        for (index, step) in steps.iter().enumerate() {
            self.carry_out(&step.operation).map_err(|errno| (index, errno))?;
        }
        Ok(())
    }

    fn carry_out(&mut self, operation: &Operation) -> Result<(), Errno> {
        match operation {
            Operation::Mark(phase) => Message::reached(*phase).send(self.report),
            Operation::Write { path, text } => sys::write_file(path, text)?,
            Operation::LeaveCgroups => process::leave_cgroups()?,
            Operation::EnterCgroup { entrance } => sys::write(*entrance, b"0").map(drop)?,
            Operation::Umask => self.umask = process::set_umask(0),
            Operation::Private => mount::make_private()?,
            Operation::HostRoot { source, attributes } => {
                self.root = clone_from(mount::open_absolute(source)?, Depth::Tree)?;
                mount::set_attributes(self.root, *attributes, Depth::Tree)?;
            }
            Operation::Store => {
                self.store =
                    mount::make(c"tmpfs", &[(c"mode", c"0700")], mount::NO_SETUID | mount::NO_DEVICES)?;
                mount::attach_over_root(self.store)?;
            }
            Operation::EmptyRoot { name } => self.root = self.stored(name, OWN)?,
            Operation::AttachRoot => mount::attach_over_root(self.root)?,
            Operation::Directory { ground, path, mode } => {
                mount::make_directory(self.ground(*ground), path, *mode)?;
            }
            Operation::File { ground, path, mode } => mount::make_file(self.ground(*ground), path, *mode)?,
            Operation::Fill { name, text } => mount::fill(self.store, name, text)?,
            Operation::Link { ground, path, target } => {
                mount::make_link(self.ground(*ground), path, target)?;
            }
            Operation::Bind { source, at, attributes } => {
                let tree = clone_from(mount::open_absolute(source)?, Depth::Tree)?;
                mount::set_attributes(tree, *attributes, Depth::Tree)?;
                self.attach(tree, at)?;
            }
            Operation::Mask { name, at } => {
                let mask = self.stored(name, OWN | mount::READ_ONLY)?;
                self.attach(mask, at)?;
            }
            Operation::Stored { name, at, attributes } => {
                let directory = self.stored(name, *attributes)?;
                self.attach(directory, at)?;
            }
            Operation::Layer { name, lower, upper, work } => self.layer(name, lower, upper, work)?,
            Operation::Overlaid { source, at, attributes } => {
                let shown = mount::open_beneath(self.store, source)?;
                let tree = clone_from(shown, Depth::One)?;
                mount::set_attributes(tree, *attributes, Depth::One)?;
                self.attach(tree, at)?;
            }
            Operation::Copy { source, name } => mount::copy(source, self.store, name)?,
            Operation::Pin { at } => {
                let place = mount::open_beneath(self.root, at)?;
                let result =
                    mount::clone_tree(place, Depth::Tree).and_then(|tree| mount::attach(tree, place));
                sys::close(place);
                result?;
            }
            Operation::New { filesystem, at, attributes } => {
                let made = filesystem.make(*attributes)?;
                self.attach(made, at)?;
            }
            Operation::Seal { at } => {
                let place = mount::open_beneath(self.root, at)?;
                let result = mount::set_attributes(place, mount::READ_ONLY, Depth::One);
                sys::close(place);
                result?;
            }
            Operation::Pivot => mount::pivot(self.root)?,
            Operation::Loopback => sys::loopback_up()?,
            Operation::Netlink { protocol, attempt, messages } => {
                match socket::tell_kernel(*protocol, messages) {
                    Err(errno) if *attempt == Attempt::Must => return Err(errno),
                    _ => {}
                }
            }
            Operation::Firewall { logging, silent } => {
                if socket::tell_kernel(libc::NETLINK_NETFILTER, logging).is_err() {
                    socket::tell_kernel(libc::NETLINK_NETFILTER, silent)?;
                }
            }
            Operation::HandOver { channel, listener, resolver, log } => {
                hand_over(*channel, *listener, *resolver, log)?;
            }
            Operation::Hold { ports } => {
                for port in ports {
                    socket::bind_everywhere(*port)?;
                }
            }
            Operation::Allow { ruleset, path, access, of_files } => {
                let place = mount::open_absolute(path)?;
                let result = confine::landlock_allow(*ruleset, place, *access, *of_files);
                sys::close(place);
                result?;
            }
            Operation::AllowDescriptor { ruleset, descriptor, access, of_files } => {
                confine::landlock_allow(*ruleset, *descriptor, *access, *of_files)?;
            }
            Operation::Enter { ruleset } => confine::landlock_enter(*ruleset)?,
            Operation::CloseOthers { keep } => close_others(keep)?,
            Operation::NoNewPrivileges => confine::no_new_privileges()?,
            Operation::Undumpable => confine::undumpable()?,
            Operation::DropBoundingSet => {
                confine::drop_bounding_set()?;
                confine::lock_securebits()?;
            }
            Operation::DropCapabilities => confine::drop_capabilities()?,
            Operation::NewSession => process::new_session()?,
            Operation::Limit { resource, amount } => process::limit(*resource, *amount)?,
            Operation::Start { path } => process::change_directory(path)?,
            Operation::Signal { signal, disposition } => process::set_disposition(*signal, *disposition)?,
            Operation::Restore { signals } => {
                process::set_umask(self.umask);
                signals.restore();
            }
            Operation::Spread { processors } => processors.restore(),
            Operation::Filter { program } => match self.watched() {
                Some((watched, program)) => self.mediate_asked(program, watched.judge, Some(watched.told))?,
                None => confine::install_filter(program)?,
            },
            Operation::Mediate { program, channel } => {
                let listener = notice::install(program)?;
                let result = socket::hand_over(*channel, &[listener]);
                sys::close(listener);
                result?;
                confine::install_filter(&seccomp::handed_over())?;
            }
            Operation::Check => confine::check_rights().map_err(missing_as_errno)?,
            Operation::CheckWithoutBoundingSet => match confine::check_rights() {
                Ok(()) => {}
                Err(Missing::BoundingSet) => confine::check_the_rest().map_err(missing_as_errno)?,
                Err(missing) => return Err(missing_as_errno(missing)),
            },
            Operation::DieWithParent => join::die_with_parent()?,
            Operation::Join { namespace, kind } => join::join(*namespace, *kind)?,
            Operation::NoExecution { path } => {
                let place = mount::open_absolute(path)?;
                let result = mount::set_attributes(place, mount::NO_EXECUTION, Depth::One);
                sys::close(place);
                result?;
            }
            Operation::Offer { ruleset, path, access, of_files } => match mount::open_absolute(path) {
                // What is gone, or hidden from the caller too, opens nothing.
                Err(Errno::ENOENT | Errno::ELOOP | Errno::EACCES | Errno::ENOTDIR) => {}
                Err(errno) => return Err(errno),
                Ok(place) => {
                    let result = confine::landlock_allow(*ruleset, place, *access, *of_files);
                    sys::close(place);
                    result?;
                }
            },
            Operation::Remember { processes } => {
                // Without it, less is found of what is to be ended.
                if let Ok(directory) = sys::open_directory(c"/proc") {
                    let result = sys::put_for_oneself(directory, *processes);
                    sys::close(directory);
                    result?;
                }
            }
            Operation::Standard => {
                let standard = self.asked()?.standard;
                for (number, descriptor) in (0..).zip(standard) {
                    sys::put(descriptor, number)?;
                }
                if self.asked()?.request.terminal().is_some_and(|own| own.controls == Controls::Yes) {
                    terminal::take_control(0)?;
                }
            }
            Operation::StartAsked => {
                let request = &self.asked()?.request;
                process::set_umask(request.umask());
                process::change_directory(request.directory())?;
            }
            Operation::MediateAsked { program, channel } => match self.watched() {
                Some((watched, program)) => {
                    self.mediate_asked(program, watched.judge, Some(watched.told))?;
                }
                None => self.mediate_asked(program, *channel, None)?,
            },
            Operation::ExecuteAsked => return Err(self.asked()?.request.execute()),
            Operation::Execute { program, argv, environment } => {
                return Err(process::execute(program, argv, environment));
            }
        }
        Ok(())
    }

    /// Who looks at what was asked for, and the filter for that.
    fn watched(&self) -> Option<(Watched, &[libc::sock_filter])> {
        let asked = self.asked.as_ref()?;
        Some((asked.watched?, asked.request.filter()))
    }

    /// Installs a filter and hands over where calls are answered, together with what was asked for.
    fn mediate_asked(
        &self,
        program: &[libc::sock_filter],
        channel: RawFd,
        told: Option<RawFd>,
    ) -> Result<(), Errno> {
        let memory = self.asked()?.memory;
        let listener = notice::install(program)?;
        let result = match told {
            Some(told) => socket::hand_over(channel, &[listener, memory, told]),
            None => socket::hand_over(channel, &[listener, memory]),
        };
        sys::close(listener);
        result?;
        confine::install_filter(&seccomp::handed_over())
    }

    fn asked(&self) -> Result<&Asked, Errno> {
        self.asked.as_ref().ok_or(Errno::EINVAL)
    }

    fn ground(&self, ground: Ground) -> RawFd {
        match ground {
            Ground::Root => self.root,
            Ground::Store => self.store,
        }
    }

    /// A mount of a directory or file of the store, attached nowhere yet.
    fn stored(&self, name: &CStr, attributes: Attributes) -> Result<RawFd, Errno> {
        let made = mount::clone_at(self.store, name)?;
        mount::set_attributes(made, attributes, Depth::One)?;
        Ok(made)
    }

    /// Makes a layer, and attaches it in the store.
    fn layer(&self, name: &CStr, lower: &CStr, upper: &Upper, work: &CStr) -> Result<(), Errno> {
        let lower = mount::open_absolute(lower)?;
        let (upper, work) = match upper {
            Upper::Stored(upper) => {
                (mount::open_beneath(self.store, upper), mount::open_beneath(self.store, work))
            }
            Upper::Kept(upper) => (mount::open_absolute(upper), mount::open_absolute(work)),
        };
        let made = match (upper, work) {
            (Ok(upper), Ok(work)) => mount::overlay(lower, upper, work, mount::NO_SETUID | mount::NO_DEVICES),
            (Err(errno), _) | (_, Err(errno)) => Err(errno),
        };
        for opened in [Ok(lower), upper, work].into_iter().flatten() {
            sys::close(opened);
        }
        let made = made?;
        let result = mount::attach_at(made, self.store, name);
        sys::close(made);
        result
    }

    /// Attaches a mount below the new root, and closes its descriptor.
    fn attach(&self, made: RawFd, at: &Place) -> Result<(), Errno> {
        let result = match at {
            Place::Own(path) => mount::attach_at(made, self.root, path),
            Place::Host(path) => {
                let place = mount::open_beneath(self.root, path)?;
                let result = mount::attach(made, place);
                sys::close(place);
                result
            }
        };
        sys::close(made);
        result
    }
}

/// What holds for file systems of fence's own.
pub(super) const OWN: Attributes = mount::NO_SETUID | mount::NO_DEVICES | mount::NO_EXECUTION;

/// Copies the mounts at a place, whose descriptor is closed.
fn clone_from(place: RawFd, depth: Depth) -> Result<RawFd, Errno> {
    let result = mount::clone_tree(place, depth);
    sys::close(place);
    result
}

fn hand_over(channel: RawFd, listener: u16, resolver: SocketAddrV4, log: &[u8]) -> Result<(), Errno> {
    let made = [
        socket::listen_everywhere(listener)?,
        socket::datagrams_at(resolver)?,
        socket::listen_at(resolver)?,
        socket::listen_to_kernel(libc::NETLINK_NETFILTER, log).unwrap_or(-1),
    ];
    let there = if made.contains(&-1) { made.get(..3) } else { Some(made.as_slice()) };
    let result = socket::send_descriptors(channel, there.unwrap_or(&[]));
    made.into_iter().for_each(sys::close);
    result
}

fn close_others(keep: &[RawFd]) -> Result<(), Errno> {
    let mut first = 3;
    for fd in keep.iter().map(|fd| fd.cast_unsigned()) {
        if fd > first {
            sys::close_range(first, fd - 1)?;
        }
        first = first.max(fd + 1);
    }
    sys::close_range(first, u32::MAX)
}

/// The errors that stand for what [`confine::check_rights`] found missing.
fn missing_as_errno(missing: Missing) -> Errno {
    match missing {
        Missing::Capabilities => Errno::EPERM,
        Missing::BoundingSet => Errno::EACCES,
        Missing::NoNewPrivileges => Errno::EINVAL,
        Missing::Filter => Errno::ENOSYS,
    }
}
