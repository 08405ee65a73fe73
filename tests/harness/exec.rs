//! Starting a command as somebody, and waiting for it no longer than it may take.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::Person;

/// The directories programs are looked for in; those of the person who runs the tests may be closed to others.
pub const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// The number under which a descriptor is left open for the command.
const LEFT_OPEN: i32 = 7;

/// A command about to be started.
#[derive(Clone, Debug)]
pub struct Start {
    /// The program and its arguments.
    pub words: Vec<OsString>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// The whole environment.
    pub environment: BTreeMap<OsString, OsString>,
    /// What it reads from standard input.
    pub stdin: Vec<u8>,
    /// What standard input is in place of a pipe, opened for reading only.
    pub stdin_file: Option<PathBuf>,
    /// Who starts it.
    pub person: Person,
    /// A file left open for reading and writing (a directory: for reading) as descriptor 7.
    pub left_open: Option<PathBuf>,
    /// The process group it joins; its own if there is none.
    pub group: Option<i32>,
    /// How long it may take.
    pub limit: Duration,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It did not: it was killed when its time was over.
    Overdue,
}

/// What a command left.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub ending: Ending,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
    /// How long it took.
    pub elapsed: Duration,
    /// The most memory that it and its children held, in bytes.
    pub memory: u64,
    /// Whether something held its output open after its end.
    pub outlived: bool,
}

impl Start {
    /// A command in a directory, with the plain environment of a person whose home is `home`.
    pub fn new(person: &Person, home: &Path, cwd: &Path) -> Start {
        let environment = [
            ("PATH", OsStr::new(PATH)),
            ("HOME", home.as_os_str()),
            ("USER", OsStr::new(&person.name)),
            ("LOGNAME", OsStr::new(&person.name)),
            ("LANG", OsStr::new("C.UTF-8")),
            ("SHELL", OsStr::new("/bin/sh")),
            ("TERM", OsStr::new("xterm")),
        ];
        Start {
            words: Vec::new(),
            cwd: cwd.to_owned(),
            environment: environment.map(|(name, value)| (name.into(), value.to_owned())).into(),
            stdin: Vec::new(),
            stdin_file: None,
            person: person.clone(),
            left_open: None,
            group: None,
            limit: Duration::from_secs(60),
        }
    }

    /// The same with these words.
    #[must_use]
    pub fn words<W: Into<OsString>>(mut self, words: impl IntoIterator<Item = W>) -> Start {
        self.words = words.into_iter().map(Into::into).collect();
        self
    }

    /// Starts it, its output going to pipes.
    pub fn spawn(&self) -> io::Result<Child> {
        let mut command = self.command()?;
        let stdin = match &self.stdin_file {
            Some(path) => Stdio::from(File::open(path)?),
            None => Stdio::piped(),
        };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn()
    }

    /// The command in a process group, its standard descriptors still to be said.
    pub fn command(&self) -> io::Result<Command> {
        let mut command = self.session_command()?;
        command.process_group(self.group.unwrap_or(0));
        Ok(command)
    }

    /// The command in whatever process group it is started in.
    pub fn session_command(&self) -> io::Result<Command> {
        let (program, arguments) = self.words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.cwd).env_clear().envs(&self.environment);
        if self.person != Person::oneself() {
            command.uid(self.person.uid.as_raw()).gid(self.person.gid.as_raw());
        }
        if let Some(path) = &self.left_open {
            let file = File::options().read(true).write(path.is_file()).open(path)?;
            // SAFETY: between fork and exec only `dup2` and `fcntl` are called, on a descriptor that the closure owns.
            unsafe {
                command.pre_exec(move || {
                    // Where it has that number already, `dup2` changes nothing, and it would be closed.
                    match libc::dup2(file.as_raw_fd(), LEFT_OPEN) == -1
                        || libc::fcntl(LEFT_OPEN, libc::F_SETFD, 0) == -1
                    {
                        true => Err(io::Error::last_os_error()),
                        false => Ok(()),
                    }
                });
            }
        }
        Ok(command)
    }

    /// Starts it and waits for its end.
    pub fn run(&self) -> Finished {
        let began = Instant::now();
        let child = match self.spawn() {
            Ok(child) => child,
            Err(error) => panic!("{:?} did not start: {error}", self.words.first()),
        };
        finish(child, &self.stdin, began, self.limit)
    }
}

/// Feeds a child, reads it out and waits for its end.
fn finish(mut child: Child, stdin: &[u8], began: Instant, limit: Duration) -> Finished {
    let pid = child.id() as i32;
    let mut input = child.stdin.take();
    let text = stdin.to_vec();
    thread::spawn(move || input.as_mut().map(|input| input.write_all(&text)));
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(wait_with_usage(pid)));
    let (status, memory, overdue) = match ended.recv_timeout(limit) {
        Ok((status, memory)) => (status, memory, false),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            let (status, memory) = ended.recv_timeout(Duration::from_secs(20)).expect("SIGKILL ends it");
            (status, memory, true)
        }
    };
    let elapsed = began.elapsed();
    let (stdout, out) = stdout.take(Duration::from_secs(3));
    let (stderr, err) = stderr.take(Duration::from_secs(1));
    let ending = match (overdue, status.code(), status.signal()) {
        (true, ..) => Ending::Overdue,
        (false, Some(code), _) => Ending::Code(code),
        (false, None, signal) => Ending::Signal(signal.unwrap_or(0)),
    };
    Finished { ending, stdout, stderr, elapsed, memory, outlived: out || err }
}

/// What is read from a pipe, by a thread of its own.
struct Reader {
    text: Arc<Mutex<Vec<u8>>>,
    ended: mpsc::Receiver<()>,
}

fn reader(source: Option<impl Read + Send + 'static>) -> Reader {
    let (sender, ended) = mpsc::channel();
    let text = Arc::new(Mutex::new(Vec::new()));
    let store = text.clone();
    thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        if let Some(mut source) = source {
            while let Ok(count @ 1..) = source.read(&mut buffer) {
                store.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        }
        sender.send(())
    });
    Reader { text, ended }
}

impl Reader {
    /// What came, and whether something still holds the other end.
    fn take(self, patience: Duration) -> (Vec<u8>, bool) {
        let held = self.ended.recv_timeout(patience).is_err();
        (std::mem::take(&mut *self.text.lock().unwrap()), held)
    }
}

fn wait_with_usage(pid: i32) -> (ExitStatus, u64) {
    let mut status = 0;
    // SAFETY: `rusage` is plain numbers, all zero is a value of it.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers are to locals of the right type.
        let waited = unsafe { libc::wait4(pid, &mut status, 0, &mut usage) };
        if waited == pid || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            break;
        }
    }
    (ExitStatus::from_raw(status), usage.ru_maxrss.unsigned_abs() * 1024)
}

impl Finished {
    /// What it wrote, as text.
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// What it wrote to standard error, as text.
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}
