//! Races for the arguments of a start, won where nothing looks again and lost where something does; and for the path of an
//! open or a connection, won where the kernel carries it out and lost where the mediator does.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::paths::PathRules;
use fence_compiler::plan::{Mediated, TerminalPlan};
use fence_compiler::question::{Decision, Platform, Reason, Verdict};
use fence_compiler::world::World;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::files::{Carrying, Files};
use super::known::Known;
use super::start::Judge;
use super::watch::{Ends, Second, Watch};
use super::{calls, rights};
use crate::launch::{self, Arbiter, Asked, Links, Observed, Refused, Seen, Ways};
use crate::linux::seccomp::interpreter::{Call, evaluate};
use crate::linux::seccomp::{Architecture, compile_judged};
use crate::linux::sys::notice;
use crate::linux::sys::process::{self, Change, Side, Signals};
use crate::linux::sys::{confine, socket};
use crate::preflight::Refusal;
use crate::proxy::testing::policy;

/// Refuses `touch marker`, and reading, writing or connecting to anything of the name `kept`.
struct NoMarker;

impl Arbiter for NoMarker {
    fn programs(&self) -> Vec<AbsolutePath> {
        Vec::new()
    }

    fn judge(&self, asked: &Asked) -> Result<(), Refusal> {
        if asked.start.argv.get(1).is_none_or(|word| !word.ends_with("marker")) {
            return Ok(());
        }
        let reason = Reason::AlwaysClosed("a test".to_owned());
        let decision = Decision { verdict: Verdict::Denied, reason, assumptions: Vec::new() };
        Err(Refusal { action: "run", item: "touch".to_owned(), decision })
    }

    fn directly(&self, meant: std::net::SocketAddr) -> Refusal {
        let reason = Reason::AlwaysClosed("a test".to_owned());
        let decision = Decision { verdict: Verdict::Denied, reason, assumptions: Vec::new() };
        Refusal { action: "connect", item: meant.to_string(), decision }
    }

    fn homes(&self) -> Option<Vec<AbsolutePath>> {
        None
    }

    fn judge_ssh(&self, _: &[String], _: &[String]) -> Vec<Refusal> {
        Vec::new()
    }

    fn ways(&self) -> Ways {
        Ways { opening: Vec::new(), closing: Vec::new() }
    }

    fn paths(&self, _: &Links, _: &Links) -> PathRules {
        let world = World::test_default(Platform::Linux);
        let rules = policy("allow read write socket /\ndeny read write socket **/kept");
        PathRules::new(&rules, &world, world.clone())
    }

    fn refused(&mut self, _: Refused) {}

    fn workspace(&self) -> Option<AbsolutePath> {
        None
    }

    fn seen(&mut self, _: Seen) {}

    fn conclude(&mut self) {}
}

/// Executes `touch` so often while another process turns its argument from `barker` to `marker` and back.
fn race(directory: &Path, tries: usize) {
    let text = |name: &str| CString::new(directory.join(name).to_str().unwrap()).unwrap();
    let (barker, touch) = (text("barker").into_bytes_with_nul(), c"/usr/bin/touch");
    let at = barker.len() - "barker".len() - 1;
    // SAFETY: a new mapping of one page, longer than the text that is copied into it.
    let shared = unsafe {
        let shared = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        std::ptr::copy_nonoverlapping(barker.as_ptr(), shared.cast(), barker.len());
        shared.cast::<u8>()
    };
    let Side::Parent { pid: writer } = process::fork().unwrap() else {
        for turn in 0_u32.. {
            // SAFETY: the place is within the mapping.
            unsafe { shared.add(at).write_volatile(if turn % 2 == 0 { b'm' } else { b'b' }) };
            for _ in 0..turn % 20_000 {
                std::hint::spin_loop();
            }
        }
        process::exit(0)
    };
    for _ in 0..tries {
        let Side::Parent { pid } = process::fork().unwrap() else {
            let argv = [touch.as_ptr(), shared.cast(), std::ptr::null()];
            let environment = [std::ptr::null()];
            // SAFETY: the arrays end with a null pointer and hold texts that end with NUL.
            unsafe { libc::execve(touch.as_ptr(), argv.as_ptr(), environment.as_ptr()) };
            process::exit(126)
        };
        process::wait_for_end(pid).unwrap();
    }
    process::kill(writer, libc::SIGKILL);
    process::wait_for_end(writer).unwrap();
}

/// One mediator at a time: one that is forked while the lifeline of another is made holds that open, and both would
/// wait for ever if each held the other's.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the race judged; whether the marker was made, which is refused.
fn is_lost(second: Second, tries: usize) -> bool {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let (lifeline, other_end) =
        socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let (mut over, ended) = std::io::pipe().unwrap();
    let mediator = match process::fork().unwrap() {
        Side::Parent { pid } => pid,
        Side::Child => {
            drop((lifeline, over));
            process::exit(mediate(second, folder.path(), tries, other_end, ended.into()))
        }
    };
    drop((other_end, ended));
    over.read_to_end(&mut Vec::new()).unwrap();
    drop(lifeline);
    assert_eq!(process::wait_for_end(mediator), Ok(Change::Exited(0)));
    assert!(folder.path().join("barker").exists(), "what is allowed was started at times");
    folder.path().join("marker").exists()
}

fn mediate(second: Second, folder: &Path, tries: usize, lifeline: OwnedFd, ended: OwnedFd) -> i32 {
    let (channel, sent) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let children = Signals::new(&[libc::SIGCHLD]);
    children.block();
    if let Side::Child = process::fork().unwrap() {
        children.unblock();
        confine::no_new_privileges().unwrap();
        // As inside: who gave up every capability may not look into somebody who has one.
        confine::drop_capabilities().unwrap();
        let starts = calls(&[Mediated::Starts].into(), Observed::Nothing);
        let filter = compile_judged(&[], &starts, Architecture::NATIVE).unwrap();
        let listener = notice::install(&filter).unwrap();
        socket::hand_over(sent.as_raw_fd(), &[listener]).unwrap();
        crate::linux::sys::close(listener);
        // The first start is the command's own.
        std::process::Command::new("true").status().unwrap();
        race(folder, tries);
        drop(ended);
        process::exit(0)
    }
    drop(ended);
    let listener = socket::await_descriptors(channel.as_raw_fd()).unwrap().remove(0);
    let command = launch::Command {
        program: c"/bin/true".to_owned(),
        argv: vec![c"true".to_owned()],
        environment: Vec::new(),
    };
    let ends = Ends { listener, lifeline, children: children.descriptor().unwrap() };
    rights::give_up(&[Mediated::Starts].into()).unwrap();
    let judge = Judge { arbiter: &mut NoMarker, known: Some(Known::default()), read: Vec::new() };
    Watch::new(ends, judge, Some(&command), second).until_the_end();
    0
}

#[test]
fn rewriting_the_arguments_of_a_start_never_wins() {
    let tries = std::env::var("FENCE_RACE_TRIES").ok().and_then(|tries| tries.parse().ok()).unwrap_or(1000);
    assert!(!is_lost(Second::Looked, tries));
}

#[test]
fn without_a_second_look_rewriting_the_arguments_wins() {
    // Until it has won once: that it can is what makes the other test mean something.
    assert!((0..20).any(|_| is_lost(Second::Left, 1000)));
}

/// A path in a directory, whose last name another thread turns from `free` to `kept` and back; with something before it that
/// stays. Where it lies is never given back.
fn turning(before: &[u8], directory: &Path) -> &'static [u8] {
    let path = CString::new(directory.join("free").to_str().unwrap()).unwrap().into_bytes_with_nul();
    let path = [before, &path].concat();
    let at = path.len() - "free".len() - 1;
    let path = Box::leak(path.into_boxed_slice());
    let address = path.as_mut_ptr() as usize;
    std::thread::spawn(move || {
        for turn in 0_usize.. {
            let name = if turn % 2 == 0 { b"kept" } else { b"free" };
            // SAFETY: the place is within memory that is never given back; whoever reads it may see anything.
            unsafe { std::ptr::copy_nonoverlapping(name.as_ptr(), (address + at) as *mut u8, name.len()) };
            for _ in 0..turn % 3000 {
                std::hint::spin_loop();
            }
        }
    });
    path
}

/// Opens such a path for writing, so often.
fn open_turning(directory: &Path, tries: usize) {
    let path = turning(b"", directory);
    for _ in 0..tries {
        // SAFETY: the text ends with a NUL that nobody changes.
        unsafe {
            let file = libc::open(path.as_ptr().cast(), libc::O_WRONLY | libc::O_CREAT, 0o600);
            libc::close(file);
        }
    }
}

/// Opens such a path for reading, so often; `won` is made if that came to `kept`.
fn read_turning(directory: &Path, tries: usize) {
    let path = turning(b"", directory);
    let mut found = [0_u8; 4];
    for _ in 0..tries {
        // SAFETY: the text ends with a NUL that nobody changes; pointer and length are those of a live array.
        unsafe {
            let file = libc::open(path.as_ptr().cast(), libc::O_RDONLY);
            libc::read(file, found.as_mut_ptr().cast(), found.len());
            libc::close(file);
        }
        if &found == b"kept" {
            std::fs::write(directory.join("won"), "").unwrap();
            return;
        }
    }
}

/// Connects to such a path, so often.
fn connect_turning(directory: &Path, tries: usize) {
    let address = turning(&1_u16.to_ne_bytes(), directory);
    for _ in 0..tries {
        // SAFETY: pointer and length are those of memory that is never given back.
        unsafe {
            let socket = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0);
            libc::connect(socket, address.as_ptr().cast(), address.len() as libc::socklen_t);
            libc::close(socket);
        }
    }
}

/// Has these opens judged; whether `kept` was made, which is refused.
fn is_kept_made(carrying: Carrying, tries: usize) -> bool {
    let folder = tempfile::tempdir().unwrap();
    judged_while(&[Mediated::Writes], carrying, || open_turning(folder.path(), tries));
    assert!(folder.path().join("free").exists(), "what is allowed was opened at times");
    folder.path().join("kept").exists()
}

/// Has these connections judged; whether one came to `kept`, which is refused.
fn is_kept_reached(carrying: Carrying, tries: usize) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let [free, kept] = ["free", "kept"].map(|name| UnixListener::bind(folder.path().join(name)).unwrap());
    judged_while(&[Mediated::Sockets], carrying, || connect_turning(folder.path(), tries));
    let is_reached = |listener: UnixListener| {
        listener.set_nonblocking(true).unwrap();
        listener.accept().is_ok()
    };
    assert!(is_reached(free), "what is allowed was connected to at times");
    is_reached(kept)
}

/// Has these opens judged; whether `kept` was read, which is refused.
fn is_kept_read(carrying: Carrying, tries: usize) -> bool {
    let folder = tempfile::tempdir().unwrap();
    for name in ["free", "kept"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    judged_while(&[Mediated::Reads, Mediated::Writes], carrying, || read_turning(folder.path(), tries));
    folder.path().join("won").exists()
}

/// Has the calls of a process judged.
fn judged_while(judged: &[Mediated], carrying: Carrying, act: impl FnOnce()) {
    let _alone = alone();
    let judged = judged.iter().copied().collect();
    let (lifeline, other_end) =
        socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let (channel, sent) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let Side::Parent { pid: mediator } = process::fork().unwrap() else {
        drop((lifeline, sent));
        let children = Signals::new(&[libc::SIGCHLD]);
        children.block();
        let listener = socket::await_descriptors(channel.as_raw_fd()).unwrap().remove(0);
        let ends = Ends { listener, lifeline: other_end, children: children.descriptor().unwrap() };
        rights::give_up(&judged).unwrap();
        let judge = Judge { arbiter: &mut NoMarker, known: Some(Known::default()), read: Vec::new() };
        let files = Files::new(TerminalPlan::None, &judged, carrying);
        Watch::new(ends, judge, None, Second::Looked).with_files(Some(files)).until_the_end();
        process::exit(0)
    };
    drop(other_end);
    let Side::Parent { pid } = process::fork().unwrap() else {
        drop(lifeline);
        confine::no_new_privileges().unwrap();
        confine::drop_capabilities().unwrap();
        let judged = calls(&judged, Observed::Nothing);
        let filter = compile_judged(&[], &judged, Architecture::NATIVE).unwrap();
        let listener = notice::install(&filter).unwrap();
        socket::hand_over(sent.as_raw_fd(), &[listener]).unwrap();
        crate::linux::sys::close(listener);
        act();
        process::exit(0)
    };
    assert_eq!(process::wait_for_end(pid), Ok(Change::Exited(0)));
    drop(lifeline);
    assert_eq!(process::wait_for_end(mediator), Ok(Change::Exited(0)));
}

#[test]
fn rewriting_the_path_of_an_open_never_wins() {
    let tries = std::env::var("FENCE_RACE_TRIES").ok().and_then(|tries| tries.parse().ok()).unwrap_or(2000);
    assert!(!is_kept_made(Carrying::Mediator, tries));
}

#[test]
fn where_the_kernel_carries_an_open_out_rewriting_its_path_wins() {
    // Until it has won once: that it can is what makes the other test mean something.
    assert!((0..20).any(|_| is_kept_made(Carrying::Kernel, 2000)));
}

#[test]
fn rewriting_the_path_of_an_open_for_reading_never_wins() {
    let tries = std::env::var("FENCE_RACE_TRIES").ok().and_then(|tries| tries.parse().ok()).unwrap_or(2000);
    assert!(!is_kept_read(Carrying::Mediator, tries));
}

#[test]
fn where_the_kernel_carries_an_open_for_reading_out_rewriting_its_path_wins() {
    assert!((0..20).any(|_| is_kept_read(Carrying::Kernel, 2000)));
}

#[test]
fn what_waits_to_be_looked_at_is_judged_only_if_it_would_wait_for_that() {
    let answers = [&[Mediated::Writes][..], &[Mediated::Writes, Mediated::Reads]].map(waiting);
    assert_eq!(answers.map(|answers| answers.len()), [3, 3]);
}

/// Which calls are judged, and which wait at all where everything is looked at.
fn waiting(mediated: &[Mediated]) -> std::collections::BTreeSet<(bool, bool)> {
    let mediated = mediated.iter().copied().collect();
    let files = Files::new(TerminalPlan::None, &mediated, Carrying::Mediator);
    let judged = calls(&mediated, Observed::Nothing);
    let filter = compile_judged(&[], &judged, Architecture::NATIVE).unwrap();
    let looked_at = calls(&mediated, Observed::Everything);
    let both = compile_judged(&[], &looked_at, Architecture::NATIVE).unwrap();
    let flags = [0, 1, 2, 3, libc::O_CREAT, libc::O_TRUNC, libc::O_TMPFILE, libc::O_DIRECTORY, libc::O_PATH];
    let mut answers = std::collections::BTreeSet::new();
    for name in ["open", "openat", "openat2", "creat", "mkdirat", "unlinkat", "fchmod", "execve", "read"] {
        let Some(number) = Architecture::NATIVE.number(name) else { continue };
        for (one, other) in flags.iter().flat_map(|one| flags.map(|other| (*one, other))) {
            // The kernel takes no notice of the upper half.
            let flags = u64::from((one | other).cast_unsigned()) | 1 << 41;
            let arguments = if name == "open" { [0, flags, 0, 0, 0, 0] } else { [0, 0, flags, 0, 0, 0] };
            let call = Call { number, architecture: Architecture::NATIVE.audit(), arguments };
            let waits = |filter| evaluate(filter, &call).0 == libc::SECCOMP_RET_USER_NOTIF;
            let notice =
                notice::Notice { listener: -1, id: 0, thread: 0, call: number.cast_signed(), arguments };
            assert_eq!(files.takes(&notice), waits(&filter), "{name} {flags:o}");
            assert!(waits(&both) || !waits(&filter), "{name} {flags:o}");
            answers.insert((files.takes(&notice), waits(&both)));
        }
    }
    answers
}

#[test]
fn rewriting_the_address_of_a_connection_never_wins() {
    let tries = std::env::var("FENCE_RACE_TRIES").ok().and_then(|tries| tries.parse().ok()).unwrap_or(2000);
    assert!(!is_kept_reached(Carrying::Mediator, tries));
}

#[test]
fn where_the_kernel_makes_a_connection_rewriting_its_address_wins() {
    assert!((0..20).any(|_| is_kept_reached(Carrying::Kernel, 2000)));
}
