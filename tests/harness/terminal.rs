//! A terminal with a shell in it, as a person has one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};

use super::{Scene, Start};

/// How long something may take to show.
const PATIENCE: Duration = Duration::from_secs(20);

/// A pseudo-terminal with an interactive shell, whose prompt is `ready> `.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    seen: usize,
}

impl Terminal {
    /// Opens a terminal of 24 lines with a shell that has job control, in the workspace of a scene.
    pub fn open(scene: &Scene) -> Terminal {
        let pair = openpty(Some(&size(24, 80)), None).unwrap();
        let mut start = scene.start().words(["/bin/bash", "--norc", "--noprofile", "-i"]);
        start.environment.insert("PS1".into(), "ready> ".into());
        start.environment.insert("FENCE".into(), scene.fence().into());
        let child = in_session(&start, &pair.slave);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let mut output = File::from(pair.master.try_clone().unwrap());
        let store = shown.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                store.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        let mut terminal = Terminal { master: File::from(pair.master), child, shown, seen: 0 };
        terminal.wait_for("ready> ").unwrap();
        terminal
    }

    /// Types.
    pub fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Waits for the prompt, and for the shell to say that the last command ended with this code.
    pub fn ends_with(&mut self, code: i32) -> Result<(), String> {
        self.wait_for("ready> ")?;
        self.line("echo code=$?");
        self.wait_for(&format!("code={code}")).map(drop)
    }

    /// Types a line.
    pub fn line(&mut self, text: &str) {
        self.type_in(text);
        self.type_in("\r");
    }

    /// Waits until something shows that was not seen before; what came until then is seen.
    pub fn wait_for(&mut self, text: &str) -> Result<String, String> {
        let began = Instant::now();
        loop {
            let shown = String::from_utf8_lossy(&self.shown.lock().unwrap()[self.seen..]).into_owned();
            if let Some(at) = shown.find(text) {
                self.seen += at + text.len();
                return Ok(shown[..at].to_owned());
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("the terminal does not show {text:?}, it shows {shown:?}"));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether a text was never shown.
    pub fn never_showed(&self, text: &str) -> Result<(), String> {
        let shown = String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned();
        if shown.contains(text) { Err(format!("the terminal shows {text:?}: {shown:?}")) } else { Ok(()) }
    }

    /// Changes the window's size.
    pub fn resize(&self, lines: u16, columns: u16) {
        // SAFETY: the descriptor is open, and the pointer is to a `winsize`.
        let done = unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &size(lines, columns)) };
        assert_eq!(done, 0);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(lines: u16, columns: u16) -> Winsize {
    Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Starts a command in a session of its own, the terminal its controlling one.
fn in_session(start: &Start, slave: &OwnedFd) -> Child {
    let end = || Stdio::from(slave.try_clone().unwrap());
    let mut command = start.session_command().unwrap();
    command.stdin(end()).stdout(end()).stderr(end());
    // SAFETY: between fork and exec only `setsid` and `ioctl` are called.
    unsafe {
        command.pre_exec(|| {
            if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    command.spawn().unwrap()
}
