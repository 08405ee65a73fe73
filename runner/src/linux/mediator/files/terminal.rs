//! The controlling terminal, which `/dev/tty` stands for: another one for each session of processes.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;

use super::super::place::{Own, know};
use super::ground::own_path;
use crate::linux::sys::file;

/// How many processes above the caller are asked for a descriptor of it.
const MOST: usize = 16;

/// Opens the terminal of a thread's session, which the thread or one that it descends from has open.
pub(super) fn open(thread: i32, flags: i32) -> Result<OwnedFd, Errno> {
    let (_, terminal) = parent_and_terminal(thread).ok_or(Errno::ENXIO)?;
    if terminal == (0, 0) {
        return Err(Errno::ENXIO);
    }
    let mut process = thread;
    for _ in 0..MOST {
        if let Some(found) = find(process, terminal) {
            let without = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW | libc::O_TRUNC;
            return file::open_plainly(&own_path(found.as_raw_fd()), flags & !without | libc::O_NOCTTY);
        }
        match parent_and_terminal(process) {
            // Beyond the first process inside is nobody's concern here.
            Some((parent, _)) if Own::Thread(parent).numbers().is_ok_and(|(own, _)| own > 1) => {
                process = parent
            }
            _ => break,
        }
    }
    Err(Errno::ENXIO)
}

/// What a process has open for a terminal.
fn find(process: i32, terminal: (u32, u32)) -> Option<OwnedFd> {
    let mut numbers: Vec<i32> = std::fs::read_dir(format!("/proc/{process}/fd"))
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers.into_iter().find_map(|number| {
        let file = know(format!("/proc/{process}/fd/{number}").as_str()).ok()?;
        let status = file::status(file.as_raw_fd(), c"").ok()?;
        (status.kind() == libc::S_IFCHR && status.device == terminal).then_some(file)
    })
}

/// The parent of a process, and the device of its terminal.
fn parent_and_terminal(process: i32) -> Option<(i32, (u32, u32))> {
    let stat = std::fs::read(format!("/proc/{process}/stat")).ok()?;
    // The name of a program may hold blanks and brackets; the last one ends it.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(stat.get(end + 1..)?).ok()?.split_whitespace().skip(1);
    let parent = fields.next()?.parse().ok()?;
    let device = fields.nth(2)?.parse::<i32>().ok()?.cast_unsigned();
    Some((parent, (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xfff00)))
}
