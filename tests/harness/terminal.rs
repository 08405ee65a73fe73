//! A terminal with a shell in it, as a person has one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{Winsize, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::Mode;

use super::{Scene, Start};

/// How long something may take to show.
const PATIENCE: Duration = Duration::from_secs(20);

/// A pseudo-terminal with an interactive shell, whose prompt is `ready> `.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    /// Reads what is shown.
    reader: Option<JoinHandle<()>>,
    hung_up: Arc<AtomicBool>,
    mute: Arc<AtomicBool>,
    away: Arc<AtomicBool>,
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    seen: usize,
}

impl Terminal {
    /// Opens a terminal of 24 lines with a shell that has job control, in the workspace of a scene.
    pub fn open(scene: &Scene) -> Terminal {
        let (master, slave) = pair();
        let mut start = scene.start().words(["/bin/bash", "--norc", "--noprofile", "-i"]);
        start.environment.insert("PS1".into(), "ready> ".into());
        start.environment.insert("FENCE".into(), scene.fence().into());
        let child = in_session(&start, &slave);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let mut output = master.try_clone().unwrap();
        let store = shown.clone();
        let hung_up = Arc::new(AtomicBool::new(false));
        let over = hung_up.clone();
        let mute = Arc::new(AtomicBool::new(false));
        let silent = mute.clone();
        let away = Arc::new(AtomicBool::new(false));
        let elsewhere = away.clone();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            let mut answered = 0;
            while !over.load(Ordering::Relaxed) {
                if elsewhere.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(10));
                    continue;
                }
                if poll(&mut [PollFd::new(output.as_fd(), PollFlags::POLLIN)], 50_u8) == Ok(0) {
                    continue;
                }
                let Ok(count @ 1..) = output.read(&mut buffer) else { break };
                let mut shown = store.lock().unwrap();
                shown.extend_from_slice(&buffer[..count]);
                let (replies, at) = replies(&shown, answered);
                answered = at;
                if !silent.load(Ordering::Relaxed) {
                    let _ = output.write_all(&replies);
                }
            }
        });
        let reader = Some(reader);
        let mut terminal = Terminal { master, reader, hung_up, mute, away, child, shown, seen: 0 };
        terminal.wait_for("ready> ").unwrap();
        terminal
    }

    /// Types.
    pub fn type_in(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Says no more where its cursor is.
    pub fn be_mute(&self) {
        self.mute.store(true, Ordering::Relaxed);
    }

    /// What it would have said when it was asked first where its cursor is.
    pub fn replies(&self) -> String {
        let shown = self.shown.lock().unwrap();
        String::from_utf8(replies(&shown, 0).0).unwrap()
    }

    /// Reads nothing of what is shown, until it does again.
    pub fn look_away(&self, away: bool) {
        self.away.store(away, Ordering::Relaxed);
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

    /// Whether something shows already that was not seen before.
    pub fn shows(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.shown.lock().unwrap()[self.seen..]).contains(text)
    }

    /// Whether a text was never shown.
    pub fn never_showed(&self, text: &str) -> Result<(), String> {
        let shown = String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned();
        if shown.contains(text) { Err(format!("the terminal shows {text:?}: {shown:?}")) } else { Ok(()) }
    }

    /// Takes the terminal away.
    pub fn hang_up(&mut self) {
        self.hung_up.store(true, Ordering::Relaxed);
        self.reader.take().unwrap().join().unwrap();
        self.master = File::open("/dev/null").unwrap();
    }

    /// Changes the window's size.
    pub fn resize(&self, lines: u16, columns: u16) {
        resize(&self.master, lines, columns);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a terminal says that is asked where its cursor is, by what is shown from somewhere on, and how far that was looked at. The
/// places are those that the cursor was put to just before; all are there when it is put to the last line.
fn replies(shown: &[u8], from: usize) -> (Vec<u8>, usize) {
    let text = String::from_utf8_lossy(&shown[from..]);
    let Some((asked, _)) = text.rsplit_once("\x1b[6n\x1b[999;1H") else { return (Vec::new(), from) };
    let places = asked.split("\x1b[6n").filter_map(|before| before.rsplit("\x1b[").next()?.strip_suffix('H'));
    (places.flat_map(|place| format!("\x1b[{place}R").into_bytes()).collect(), shown.len())
}

/// Both ends of a terminal of 24 lines, which no other program that is started gets: else nobody could hang it up.
fn pair() -> (File, OwnedFd) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave = open(ptsname_r(&master).unwrap().as_str(), flags, Mode::empty()).unwrap();
    let master = File::from(OwnedFd::from(master));
    resize(&master, 24, 80);
    (master, slave)
}

fn resize(master: &File, lines: u16, columns: u16) {
    // SAFETY: the descriptor is open, and the pointer is to a `winsize`.
    let done = unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &size(lines, columns)) };
    assert_eq!(done, 0);
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
