//! Processes and signals.

use std::ffi::{CStr, CString};
use std::os::fd::RawFd;
use std::ptr;

use nix::errno::Errno;

use super::check;

/// On which side of a clone a process finds itself.
#[derive(Debug)]
pub(in crate::linux) enum Side {
    /// In the new process.
    Child,
    /// In the one that made it.
    Parent {
        /// The new process's number.
        pid: i32,
    },
}

/// Makes a process in namespaces of its own (user, mount, pid, net, ipc, uts, cgroup), and in another cgroup if one is given: its
/// own namespace of those it makes there itself ([`leave_cgroups`]), because this one would begin where its parent is. Its signal
/// handlers are the default ones; its end sends no signal.
///
/// In a program with several threads the child must do system calls only.
pub(in crate::linux) fn clone_namespaces(cgroup: Option<RawFd>) -> Result<Side, Errno> {
    const NAMESPACES: libc::c_int = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS;
    const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    // SAFETY: `clone_args` is plain integers, for which all zero is a value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(NAMESPACES.cast_unsigned()) | CLONE_CLEAR_SIGHAND;
    match cgroup.and_then(|cgroup| u64::try_from(cgroup).ok()) {
        Some(cgroup) => {
            arguments.flags |= CLONE_INTO_CGROUP;
            arguments.cgroup = cgroup;
        }
        None => arguments.flags |= u64::from(libc::CLONE_NEWCGROUP.cast_unsigned()),
    }
    // SAFETY: no CLONE_VM: the child runs on a copy of the memory. The structure lives through the call and its
    // size is told.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) })?;
    Ok(if pid == 0 { Side::Child } else { Side::Parent { pid } })
}

/// Makes a namespace of cgroups that begins where this process is.
pub(in crate::linux) fn leave_cgroups() -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) }.into()).map(drop)
}

/// Makes a process that goes on with a copy of this one's memory, as `fork` does: its allocator works, and of several
/// threads only this one is there.
pub(in crate::linux) fn fork() -> Result<Side, Errno> {
    // SAFETY: no memory is passed. The C library puts its own locks in order in the child.
    let pid = check(unsafe { libc::fork() }.into())?;
    Ok(if pid == 0 { Side::Child } else { Side::Parent { pid } })
}

/// Starts a process that shares this one's memory until it executes a program or ends (as `vfork` does), on a stack of
/// its own; this one waits until then. Its number.
///
/// No page table is copied, and no page that either writes. Whatever the child changes in memory stays changed;
/// descriptors, directories, signal handlers, limits and rights are its own.
pub(in crate::linux) fn start(stack: &mut Stack, mut child: &mut dyn FnMut()) -> Result<i32, Errno> {
    extern "C" fn enter(child: *mut libc::c_void) -> libc::c_int {
        // SAFETY: `start` passes a pointer to this type, and waits, so that what it points to lives.
        unsafe { (*child.cast::<&mut dyn FnMut()>())() };
        1
    }
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is used by nobody else and ends, aligned, behind its last element; with CLONE_VFORK this process
    // does nothing until the child uses its memory no more.
    unsafe {
        let top = stack.0.as_mut_ptr().add(stack.0.len());
        check(libc::clone(enter, top.cast(), flags, (&raw mut child).cast()).into())
    }
}

/// A stack for [`start`].
pub(in crate::linux) struct Stack(Vec<u128>);

impl Stack {
    /// One of 64 KiB, of which the kernel provides what is used.
    pub(in crate::linux) fn new() -> Stack {
        Stack(vec![0; 4096])
    }
}

/// Ends this process at once.
pub(in crate::linux) fn exit(code: i32) -> ! {
    // SAFETY: it does not return, and runs no handler.
    unsafe { libc::_exit(code) }
}

/// Strings as `execve` takes them.
#[derive(Debug)]
pub(in crate::linux) struct Strings {
    pointers: Vec<*const libc::c_char>,
    /// What the pointers point into; moving the vector moves no string.
    _owned: Vec<CString>,
}

// SAFETY: the pointers lead only into what the value itself owns, which nobody changes.
unsafe impl Send for Strings {}
// SAFETY: as above.
unsafe impl Sync for Strings {}

impl Strings {
    /// Prepares the array of pointers.
    pub(in crate::linux) fn new(strings: &[CString]) -> Strings {
        let owned = strings.to_vec();
        let pointers = owned.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        Strings { pointers, _owned: owned }
    }
}

/// Executes a program; it returns only if that fails.
pub(in crate::linux) fn execute(program: &CStr, argv: &Strings, environment: &Strings) -> Errno {
    // SAFETY: the arrays end with a null pointer and point to NUL-terminated strings that they own.
    unsafe { libc::execve(program.as_ptr(), argv.pointers.as_ptr(), environment.pointers.as_ptr()) };
    Errno::last()
}

/// How a child changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux) enum Change {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
    /// This signal stopped it.
    Stopped(i32),
}

/// Takes one change of a child, if there is one: its number and what happened. `Ok(None)`: none now;
/// `Err(ECHILD)`: no child is left.
pub(in crate::linux) fn take_change() -> Result<Option<(i32, Change)>, Errno> {
    let mut status = 0;
    // SAFETY: the pointer is to a live integer.
    let pid = check(
        unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::WUNTRACED | libc::__WALL) }.into(),
    )?;
    if pid == 0 {
        return Ok(None);
    }
    let change = if libc::WIFEXITED(status) {
        Change::Exited(libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        Change::Signalled(libc::WTERMSIG(status))
    } else {
        Change::Stopped(libc::WSTOPSIG(status))
    };
    Ok(Some((pid, change)))
}

/// The signal that has stopped a child, if one has since this was last asked.
pub(in crate::linux) fn stopped(pid: i32) -> Option<i32> {
    // SAFETY: plain integers, for which all zero is a value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let id = libc::id_t::try_from(pid).ok()?;
    // SAFETY: the pointer is to a live value; a child that has ended is left to be waited for.
    unsafe {
        check(libc::waitid(libc::P_PID, id, &raw mut info, libc::WSTOPPED | libc::WNOHANG).into()).ok()?;
        (info.si_signo == libc::SIGCHLD).then(|| info.si_status())
    }
}

/// Waits until a process, of which we are the parent, has ended.
pub(in crate::linux) fn wait_for_end(pid: i32) -> Result<Change, Errno> {
    let mut status = 0;
    loop {
        // SAFETY: the pointer is to a live integer.
        match check(unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) }.into()) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) if libc::WIFSIGNALED(status) => return Ok(Change::Signalled(libc::WTERMSIG(status))),
            Ok(_) => return Ok(Change::Exited(libc::WEXITSTATUS(status))),
        }
    }
}

/// Sends a signal to a process.
pub(in crate::linux) fn kill(pid: i32, signal: i32) {
    // SAFETY: no memory is passed.
    unsafe { libc::kill(pid, signal) };
}

/// Sends a signal to a group of processes.
pub(in crate::linux) fn kill_group(group: i32, signal: i32) {
    // SAFETY: no memory is passed.
    unsafe { libc::kill(-group, signal) };
}

/// Sends SIGKILL to every process of a session among those that an open `/proc` names; how many there were, those included
/// that have ended and were not waited for.
pub(in crate::linux) fn kill_session(processes: RawFd, session: i32) -> usize {
    // SAFETY: no memory is passed.
    unsafe { libc::lseek(processes, 0, libc::SEEK_SET) };
    let mut found = 0;
    let mut buffer = [0_u64; 512];
    loop {
        // SAFETY: pointer and length are those of a live array, which is aligned as the entries are.
        let read = unsafe {
            libc::syscall(libc::SYS_getdents64, processes, buffer.as_mut_ptr(), size_of_val(&buffer))
        };
        let Some(read) = usize::try_from(read).ok().filter(|read| *read > 0) else { return found };
        // SAFETY: the bytes of the same array.
        let mut rest: &[u8] = unsafe {
            std::slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), read.min(size_of_val(&buffer)))
        };
        while let Some(length) =
            rest.get(16..18).map(|two| u16::from_ne_bytes(two.try_into().unwrap_or_default()))
        {
            let name = rest.get(19..usize::from(length)).unwrap_or_default();
            if let Some(pid) = number(name) {
                // SAFETY: no memory is passed.
                unsafe {
                    if libc::getsid(pid) == session {
                        libc::kill(pid, libc::SIGKILL);
                        found += 1;
                    }
                }
            }
            rest = rest.get(usize::from(length).max(1)..).unwrap_or_default();
        }
    }
}

/// The number that a name ended by NUL is.
fn number(name: &[u8]) -> Option<i32> {
    let mut number: Option<i32> = None;
    for byte in name.iter().take_while(|byte| **byte != 0) {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number.unwrap_or(0).checked_mul(10)?.checked_add(i32::from(byte - b'0'));
    }
    number
}

/// Starts a session of its own, without a terminal.
pub(in crate::linux) fn new_session() -> Result<(), Errno> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::setsid() }.into()).map(drop)
}

/// Sets the mask of modes, and yields the one before.
pub(in crate::linux) fn set_umask(mask: u32) -> u32 {
    // SAFETY: no memory is passed.
    unsafe { libc::umask(mask) }
}

/// Goes to a directory.
pub(in crate::linux) fn change_directory(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path is NUL-terminated.
    check(unsafe { libc::chdir(path.as_ptr()) }.into()).map(drop)
}

/// Lowers a limit of this process, soft and hard; one that is lower already stays.
pub(in crate::linux) fn limit(resource: u32, amount: u64) -> Result<(), Errno> {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to live values of the right type; 0 is this process.
    unsafe {
        check(libc::syscall(libc::SYS_prlimit64, 0, resource, ptr::null::<libc::rlimit>(), &raw mut old))?;
        let new = libc::rlimit { rlim_cur: old.rlim_cur.min(amount), rlim_max: old.rlim_max.min(amount) };
        check(libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            &raw const new,
            ptr::null_mut::<libc::rlimit>(),
        ))
        .map(drop)
    }
}

/// A set of signals.
#[derive(Clone, Copy)]
pub(in crate::linux) struct Signals(libc::sigset_t);

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signals")
    }
}

impl Signals {
    /// These signals.
    pub(in crate::linux) fn new(signals: &[i32]) -> Signals {
        // SAFETY: a signal set is plain integers, which sigemptyset initialises; sigaddset changes it in place.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in signals {
                libc::sigaddset(&raw mut set, *signal);
            }
            Signals(set)
        }
    }

    /// These and one more.
    pub(in crate::linux) fn with(mut self, signal: i32) -> Signals {
        // SAFETY: the pointer is to a live set.
        unsafe { libc::sigaddset(&raw mut self.0, signal) };
        self
    }

    /// Blocks these, beside those blocked already, in this thread, and yields the mask before.
    pub(in crate::linux) fn block(&self) -> Signals {
        self.change(libc::SIG_BLOCK)
    }

    /// Unblocks these in this thread.
    pub(in crate::linux) fn unblock(&self) -> Signals {
        self.change(libc::SIG_UNBLOCK)
    }

    /// Makes this the mask of this thread.
    pub(in crate::linux) fn restore(&self) -> Signals {
        self.change(libc::SIG_SETMASK)
    }

    fn change(&self, how: libc::c_int) -> Signals {
        let mut old = Signals::new(&[]);
        // SAFETY: both pointers are to live sets.
        unsafe { libc::pthread_sigmask(how, &raw const self.0, &raw mut old.0) };
        old
    }

    /// A descriptor that these are read from, without blocking.
    pub(in crate::linux) fn descriptor(&self) -> Result<RawFd, Errno> {
        // SAFETY: the pointer is to a live set.
        check(unsafe { libc::signalfd(-1, &raw const self.0, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) }.into())
    }
}

/// A signal that was sent to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux) struct Received {
    /// Which.
    pub(in crate::linux) signal: i32,
    /// By whom.
    pub(in crate::linux) sender: Sender,
}

/// Where a signal comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux) enum Sender {
    /// The kernel: a terminal's key, a timer, a child.
    Kernel,
    /// A process outside this pid namespace, or one whose number is not known here.
    Outside,
    /// A process with this number.
    Process(u32),
}

/// Takes one signal from a descriptor made by [`Signals::descriptor`], if there is one.
pub(in crate::linux) fn take_signal(descriptor: RawFd) -> Option<Received> {
    const SI_KERNEL: i32 = 0x80;
    // SAFETY: plain integers, for which all zero is a value.
    let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live value, and no more than its size is read into it.
    let read = unsafe { libc::read(descriptor, (&raw mut info).cast(), size_of_val(&info)) };
    if usize::try_from(read) != Ok(size_of_val(&info)) {
        return None;
    }
    let sender = if info.ssi_code == SI_KERNEL {
        Sender::Kernel
    } else if info.ssi_pid == 0 {
        Sender::Outside
    } else {
        Sender::Process(info.ssi_pid)
    };
    Some(Received { signal: info.ssi_signo.cast_signed(), sender })
}

/// What happens when a signal arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux) enum Disposition {
    /// What the system does by default.
    Default,
    /// Nothing.
    Ignored,
}

/// Sets what happens when a signal arrives.
pub(in crate::linux) fn set_disposition(signal: i32, disposition: Disposition) -> Result<(), Errno> {
    // SAFETY: plain integers and a null restorer, for which all zero is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = match disposition {
        Disposition::Default => libc::SIG_DFL,
        Disposition::Ignored => libc::SIG_IGN,
    };
    // SAFETY: the pointer is to a live value; no handler is installed.
    check(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) }.into()).map(drop)
}

/// Whether a signal is ignored by this process; a handler counts as the default, which is what it becomes.
pub(in crate::linux) fn disposition(signal: i32) -> Disposition {
    // SAFETY: as in `set_disposition`; only the old action is asked for.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live value.
    unsafe { libc::sigaction(signal, ptr::null(), &raw mut action) };
    if action.sa_sigaction == libc::SIG_IGN { Disposition::Ignored } else { Disposition::Default }
}

/// Waits until one of some descriptors (negative ones are none) has something to read or its other end is gone, or until a time has
/// passed (milliseconds; negative: without end).
pub(in crate::linux) fn wait_readable<const N: usize>(
    descriptors: [RawFd; N],
    milliseconds: i32,
) -> [Readable; N] {
    let mut entries = descriptors.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    // SAFETY: pointer and length are those of a live array.
    if unsafe { libc::poll(entries.as_mut_ptr(), N as libc::nfds_t, milliseconds) } <= 0 {
        return [Readable::No; N];
    }
    entries.map(|entry| answered(&entry))
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux) enum Wanted {
    /// That there is something to read.
    Reading,
    /// That there is room to write.
    Writing,
    /// Either.
    Both,
}

/// The same for any number of descriptors, each named once; an answer for each.
pub(in crate::linux) fn wait_for_any(descriptors: &[(RawFd, Wanted)], milliseconds: i32) -> Vec<Readable> {
    let entry = |(fd, wanted): &(RawFd, Wanted)| {
        let events = match wanted {
            Wanted::Reading => libc::POLLIN,
            Wanted::Writing => libc::POLLOUT,
            Wanted::Both => libc::POLLIN | libc::POLLOUT,
        };
        libc::pollfd { fd: *fd, events, revents: 0 }
    };
    let mut entries: Vec<libc::pollfd> = descriptors.iter().map(entry).collect();
    let count = entries.len() as libc::nfds_t;
    // SAFETY: pointer and length are those of a live vector.
    if unsafe { libc::poll(entries.as_mut_ptr(), count, milliseconds) } <= 0 {
        return vec![Readable::No; entries.len()];
    }
    entries.iter().map(answered).collect()
}

fn answered(entry: &libc::pollfd) -> Readable {
    if entry.revents & entry.events != 0 {
        Readable::Yes
    } else if entry.revents != 0 {
        Readable::Ended
    } else {
        Readable::No
    }
}

/// Whether a write of one message would not wait.
pub(in crate::linux) fn is_writable(descriptor: RawFd) -> bool {
    seen_for_writing(descriptor) & libc::POLLOUT != 0
}

/// Whether a socket that was connecting is connected, or will not be.
pub(in crate::linux) fn is_settled(socket: RawFd) -> bool {
    seen_for_writing(socket) != 0
}

fn seen_for_writing(descriptor: RawFd) -> libc::c_short {
    let mut entry = libc::pollfd { fd: descriptor, events: libc::POLLOUT, revents: 0 };
    // SAFETY: the pointer is to one live entry.
    if unsafe { libc::poll(&raw mut entry, 1, 0) } == 1 { entry.revents } else { 0 }
}

/// Whether a descriptor has something to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux) enum Readable {
    /// It has.
    Yes,
    /// It has not.
    No,
    /// Its other end is gone.
    Ended,
}
