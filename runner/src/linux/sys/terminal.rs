//! Pseudo-terminals.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;

use super::{check, close, owned};

/// Lines and columns of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Lines.
    pub(crate) lines: u16,
    /// Columns.
    pub(crate) columns: u16,
}

impl Size {
    /// What a terminal has that nobody has said the size of.
    pub(crate) const USUAL: Size = Size { lines: 24, columns: 80 };

    /// That of a terminal's window; `None` for what is none.
    pub(in crate::linux) fn of(terminal: RawFd) -> Option<Size> {
        // SAFETY: plain integers, for which all zero is a value.
        let mut size: libc::winsize = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a live value of the type that the request fills.
        check(unsafe { libc::ioctl(terminal, libc::TIOCGWINSZ, &raw mut size) }.into()).ok()?;
        Some(Size { lines: size.ws_row, columns: size.ws_col })
    }

    /// Gives it to a terminal; whoever is in its foreground is told by the kernel.
    pub(in crate::linux) fn give(self, terminal: RawFd) {
        let size = libc::winsize { ws_row: self.lines, ws_col: self.columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the pointer is to a live value of the type that the request reads.
        unsafe { libc::ioctl(terminal, libc::TIOCSWINSZ, &raw const size) };
    }
}

/// Makes a terminal, without allocating: the end that is relayed, and the one that programs use.
pub(in crate::linux) fn make(size: Size) -> Result<(RawFd, RawFd), Errno> {
    const TIOCGPTPEER: libc::Ioctl = 0x5441;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the path is NUL-terminated.
    let outer = check(unsafe { libc::open(c"/dev/ptmx".as_ptr(), flags) }.into())?;
    let unlocked: libc::c_int = 0;
    // SAFETY: the pointer is to a live integer; the other request takes a number.
    let inner = unsafe {
        check(libc::ioctl(outer, libc::TIOCSPTLCK, &raw const unlocked).into())
            .and_then(|_| check(libc::ioctl(outer, TIOCGPTPEER, flags).into()))
    };
    let inner = inner.inspect_err(|_| close(outer))?;
    size.give(outer);
    read_as_utf8(inner);
    Ok((outer, inner))
}

/// Has a terminal take what is typed for UTF-8, so that erasing erases a character.
fn read_as_utf8(terminal: RawFd) {
    // SAFETY: plain integers, for which all zero is a value; the pointers are to a live value of the right type.
    unsafe {
        let mut modes: libc::termios = std::mem::zeroed();
        if libc::tcgetattr(terminal, &raw mut modes) == 0 {
            modes.c_iflag |= libc::IUTF8;
            libc::tcsetattr(terminal, libc::TCSANOW, &raw const modes);
        }
    }
}

/// Makes a terminal the controlling one of this process, which is the first of its session.
pub(in crate::linux) fn take_control(terminal: RawFd) -> Result<(), Errno> {
    // SAFETY: a number is passed.
    check(unsafe { libc::ioctl(terminal, libc::TIOCSCTTY, 0) }.into()).map(drop)
}

/// Which of the standard descriptors a program gets a terminal for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::linux) enum Standard {
    /// Each.
    All,
    /// Those that are terminals.
    Terminals,
}

/// Has a program get these descriptors, which are closed in every other that is started.
pub(in crate::linux) fn hand_on(command: &mut Command, descriptors: Vec<RawFd>) {
    // SAFETY: only system calls are made, on numbers.
    unsafe {
        command.pre_exec(move || {
            for descriptor in &descriptors {
                check(libc::fcntl(*descriptor, libc::F_SETFD, 0).into())?;
            }
            Ok(())
        });
    }
}

/// Starts a program in a session of its own, with this terminal for its controlling one and its standard descriptors. It
/// ends with the thread that starts it.
pub(in crate::linux) fn spawn(
    mut command: Command,
    terminal: OwnedFd,
    standard: Standard,
) -> io::Result<Child> {
    let gets = |number| standard == Standard::All || Size::of(number).is_some();
    if gets(0) {
        command.stdin(Stdio::from(terminal.try_clone()?));
    }
    if gets(1) {
        command.stdout(Stdio::from(terminal.try_clone()?));
    }
    if gets(2) {
        command.stderr(Stdio::from(terminal.try_clone()?));
    }
    let parent = std::process::id();
    // SAFETY: only system calls are made.
    unsafe {
        command.pre_exec(move || {
            // Nobody would relay it any more, and what ignores a hangup would go on.
            super::join::die_with_parent()?;
            if libc::getppid().cast_unsigned() != parent {
                return Err(Errno::ESRCH.into());
            }
            super::process::new_session()?;
            Ok(take_control(terminal.as_raw_fd())?)
        });
    }
    command.spawn()
}

/// What can be read from when a child has ended.
pub(in crate::linux) fn watch(child: &Child) -> io::Result<OwnedFd> {
    // SAFETY: two numbers are passed.
    let made = check(unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) })?;
    Ok(owned(made))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_to_one_end_of_a_terminal_is_read_from_the_other() {
        let size = Size { lines: 31, columns: 97 };
        let (outer, inner) = make(size).unwrap();
        assert_eq!((Size::of(outer), Size::of(inner)), (Some(size), Some(size)));
        assert_eq!(super::super::write(outer, b"typed\r"), Ok(6));
        let mut bytes = [0; 16];
        assert_eq!(super::super::read(inner, &mut bytes), Ok(6));
        assert_eq!(bytes.get(..6), Some(&b"typed\n"[..]));
        Size::USUAL.give(outer);
        assert_eq!(Size::of(inner), Some(Size::USUAL));
        close(outer);
        close(inner);
    }

    #[test]
    fn a_program_has_the_terminal_that_it_is_started_with() {
        let (outer, inner) = make(Size::USUAL).unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read x < /dev/tty; test \"$x\" = typed && exit 7"]);
        let mut child = spawn(command, owned(inner), Standard::All).unwrap();
        let ended = watch(&child).unwrap();
        super::super::write(outer, b"typed\r").unwrap();
        let wait = super::super::process::wait_readable([std::os::fd::AsRawFd::as_raw_fd(&ended)], 20_000);
        assert_eq!(wait, [super::super::process::Readable::Yes]);
        assert_eq!(child.wait().unwrap().code(), Some(7));
        close(outer);
    }
}
