//! What the kernel does with each question: asked from inside, one line each, answered by one character each.

use std::ffi::CString;
use std::io::{BufRead, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use fence_compiler::bytes::unescape;

use crate::beyond;

/// The most of a launch's questions that may be left without an answer.
pub const UNANSWERED: char = '?';

/// Reads questions (`read PATH`, escaped; `env NAME`; `connect HOST PORT`), and answers `1`, `0`, or `?` where this kernel cannot be asked.
pub fn answer() -> ExitCode {
    let can_execute =
        executes(Path::new("/bin/true")) != Some(false) && executes(Path::new("/nowhere")).is_some();
    let mut answers = String::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let Some((action, path)) = line.split_once(' ') else { continue };
        match action {
            "env" => {
                answers.push(shown(beyond::arrives(path)));
                continue;
            }
            "connect" => {
                answers.push(shown(beyond::connects(path)));
                continue;
            }
            _ => {}
        }
        let path = unescape(path).unwrap();
        let path = Path::new(std::ffi::OsStr::from_bytes(&path));
        answers.push(match action {
            "read" => shown(reads(path)),
            "write" => shown(writes(path)),
            "exec" if can_execute => executes(path).map_or(UNANSWERED, shown),
            _ => UNANSWERED,
        });
    }
    std::io::stdout().write_all(answers.as_bytes()).unwrap();
    ExitCode::SUCCESS
}

fn shown(allowed: bool) -> char {
    if allowed { '1' } else { '0' }
}

fn reads(path: &Path) -> bool {
    if path.is_dir() { std::fs::read_dir(path).is_ok() } else { open(path, libc::O_RDONLY) }
}

/// Opens what is there for writing, or makes something of that name and takes it away again; in a directory, something
/// of another name.
fn writes(path: &Path) -> bool {
    if path.is_dir() {
        return makes(&path.join("made-by-the-prober"));
    }
    match path.symlink_metadata() {
        Err(_) => makes(path),
        Ok(_) => open(path, libc::O_WRONLY | libc::O_APPEND),
    }
}

fn makes(path: &Path) -> bool {
    let made = open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL);
    if made {
        let _ = std::fs::remove_file(path);
    }
    made
}

fn open(path: &Path, flags: i32) -> bool {
    let Ok(path) = CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: the path is NUL-terminated; a descriptor that is got is closed.
    unsafe {
        let flags = flags | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
        let opened = libc::open(path.as_ptr(), flags, 0o755);
        if opened >= 0 {
            libc::close(opened);
        }
        opened >= 0
    }
}

/// Whether a file could be executed: the kernel is asked without executing it (Linux 6.14). `None` where it cannot be.
fn executes(path: &Path) -> Option<bool> {
    const AT_EXECVE_CHECK: libc::c_int = 0x10000;
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let (argv, nothing) = ([path.as_ptr(), std::ptr::null()], [std::ptr::null::<libc::c_char>()]);
    // SAFETY: the arrays end with a null pointer and live through the call, which executes nothing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            libc::AT_FDCWD,
            path.as_ptr(),
            argv.as_ptr(),
            nothing.as_ptr(),
            AT_EXECVE_CHECK,
        )
    };
    match (result, std::io::Error::last_os_error().raw_os_error()) {
        (0, _) => Some(true),
        (_, Some(libc::EINVAL | libc::ENOSYS)) => None,
        _ => Some(false),
    }
}
