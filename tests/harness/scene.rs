//! The scene of a case: a home, a workspace, a directory outside, and other processes of the host.

use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use tempfile::TempDir;

use super::backend::Backend;
use super::case::{Entry, Helper, Kind};
use super::leftovers::marked;
use super::{Person, Start};

/// What every case of a suite stands on: a directory that everybody can reach, with the program under test.
#[derive(Debug)]
pub struct Ground {
    root: TempDir,
    scenes: AtomicU32,
}

impl Ground {
    /// Makes the directory, puts the program there (another than the one just built, if `FENCE_TEST_BINARY` names
    /// it), and compiles the probe beside it.
    pub fn new(suite: &str) -> Ground {
        let root =
            tempfile::Builder::new().prefix(&format!("fence-{suite}-")).tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let bin = root.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let built =
            std::env::var_os("FENCE_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_fence").into());
        let built = Path::new(&built);
        let placed = if std::env::var_os("FENCE_TEST_SESSION").is_some() {
            through_sessions(&root.path().join("alone"), &bin.join("fence"))
        } else {
            bin.join("fence")
        };
        fs::hard_link(built, &placed).or_else(|_| fs::copy(built, &placed).map(drop)).unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/attacks/probe.c");
        let compiled = Command::new("cc")
            .args(["-O1", "-w", "-pthread", "-o"])
            .arg(bin.join("probe"))
            .arg(source)
            .output();
        match compiled {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                panic!("cc does not compile the probe: {}", String::from_utf8_lossy(&output.stderr))
            }
            Err(error) => panic!("the suite needs cc to compile its probe: {error}"),
        }
        for (name, text) in [
            ("server.py", include_str!("../attacks/server.py")),
            ("client.py", include_str!("../attacks/client.py")),
        ] {
            fs::write(bin.join(name), text).unwrap();
        }
        Backend::ALL.iter().for_each(|backend| backend.lay(&bin));
        Ground { root, scenes: AtomicU32::new(0) }
    }

    /// The program under test.
    pub fn fence(&self) -> PathBuf {
        self.bin().join("fence")
    }

    /// Where the program and the probe lie.
    pub fn bin(&self) -> PathBuf {
        self.root.path().join("bin")
    }

    fn scene(&self) -> PathBuf {
        self.root.path().join(self.scenes.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

/// Puts a script in the place of the program that makes of each `fence run` a session with one command; where the program
/// itself is to lie. The state of fence lies outside of the scenes, which are compared.
fn through_sessions(alone: &Path, script: &Path) -> PathBuf {
    const SCRIPT: &str = r#"#!/bin/sh
alone=FENCE
if [ "$1" != run ]; then exec "$alone" "$@"; fi
shift
all=$#
taken=0
set -- "$@" ""
while [ $taken -lt $all ] && [ "$1" != -- ]; do
  word=$1; shift; set -- "$@" "$word"; taken=$((taken + 1))
done
[ $taken -lt $all ] || exit 125
# Now: `--`, the command, an empty word, and the options.
shift
command=$((all - taken - 1))
rest=$command
while [ $rest -gt 0 ]; do word=$1; shift; set -- "$@" "$word"; rest=$((rest - 1)); done
shift
# Now: the options, and the command.
export XDG_STATE_HOME=STATE/$(id -u)-$$
mkdir -p "$XDG_STATE_HOME"
options=$taken
count=0
for word do
  count=$((count + 1))
  [ $count -le $options ] && quoted="$quoted '$(printf %s "$word" | sed "s/'/'\\''/g")'"
done
eval ""\$alone" session start s --idle 120s $quoted" > /dev/null || exit 125
shift $options
"$alone" session run s -- "$@"
code=$?
"$alone" session stop s
rm -rf "$XDG_STATE_HOME"
exit $code
"#;
    let state = alone.with_file_name("state");
    fs::create_dir_all(alone).unwrap();
    fs::create_dir_all(&state).unwrap();
    fs::set_permissions(alone, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o1777)).unwrap();
    let program = alone.join("fence");
    let text = SCRIPT
        .replace("FENCE", &program.display().to_string())
        .replace("STATE/", &format!("{}/", state.display()));
    fs::write(script, text).unwrap();
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    program
}

/// A port of 127.0.0.1 and ::1 at which nobody listens. It lies below those that the kernel hands out, and each call
/// gives another, so that nobody else takes it before it is used.
///
/// # Panics
///
/// When there is none.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    // Another suite that runs at the same time begins elsewhere.
    let start = std::process::id().wrapping_mul(97);
    (0..COUNT)
        .map(|_| FIRST + start.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % COUNT)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| {
            TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
                && TcpListener::bind((Ipv6Addr::LOCALHOST, *port)).is_ok()
        })
        .expect("a free port below 30,000")
}

/// One scene.
#[derive(Debug)]
pub struct Scene {
    root: PathBuf,
    person: Person,
    fence: PathBuf,
    names: Vec<(&'static str, String)>,
    /// What was laid outside `root`.
    elsewhere: Vec<PathBuf>,
    servers: Vec<Server>,
    bystander: Option<Child>,
    shared_memory: Option<i32>,
}

#[derive(Debug)]
struct Server {
    contacts: Arc<AtomicU32>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Scene {
    /// Lays out a scene that belongs to a person.
    pub fn new(ground: &Ground, person: &Person, entries: &[Entry], helpers: &[Helper]) -> Scene {
        let root = ground.scene();
        let home = root.join("home");
        let mut scene = Scene {
            person: person.clone(),
            fence: ground.fence(),
            names: vec![
                ("{home}", home.display().to_string()),
                ("{work}", home.join("work").display().to_string()),
                ("{outside}", root.join("outside").display().to_string()),
                ("{root}", root.display().to_string()),
                ("{state}", format!("{}-state", root.display())),
                ("{bin}", ground.bin().display().to_string()),
                ("{fence}", ground.fence().display().to_string()),
                ("{uid}", person.uid.to_string()),
            ],
            elsewhere: vec![root.with_file_name(format!("{}-state", root.file_name().unwrap().display()))],
            servers: Vec::new(),
            bystander: None,
            shared_memory: None,
            root,
        };
        scene.make_directory(&scene.path("{state}")).unwrap();
        scene.lay(entries);
        for (name, kind) in NAMESPACES {
            let own = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap_or_default();
            scene.names.push((name, own.display().to_string()));
        }
        helpers.iter().for_each(|helper| scene.start_helper(*helper));
        scene
    }

    /// The same, where fence takes a backend that is not its own.
    #[must_use]
    pub fn by(mut self, backend: Option<Backend>) -> Scene {
        let Some(backend) = backend else { return self };
        self.fence.set_file_name(backend.file());
        for (name, value) in &mut self.names {
            if *name == "{fence}" {
                *value = self.fence.display().to_string();
            }
        }
        self
    }

    /// What every scene has, then the entries.
    fn lay(&mut self, entries: &[Entry]) {
        for directory in ["", "home", "home/work", "home/secret", "outside"] {
            self.make_directory(&self.root.join(directory)).unwrap();
        }
        for (file, text) in [
            ("home/work/file", "a file of the workspace\n"),
            ("home/secret/key", "the secret\n"),
            ("home/.bashrc", "# nothing yet\n"),
            ("outside/file", "a file outside\n"),
        ] {
            self.put(&self.root.join(file), text.as_bytes()).unwrap();
        }
        for entry in entries {
            let path = self.path(&entry.path);
            self.make(entry, &path).unwrap_or_else(|error| panic!("{}: {error}", entry.path));
        }
    }

    fn make(&mut self, entry: &Entry, path: &Path) -> io::Result<()> {
        if !path.starts_with(&self.root) {
            self.elsewhere.push(path.to_owned());
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
            let missing: Vec<&Path> = parent.ancestors().take_while(|path| !path.exists()).collect();
            missing.iter().rev().try_for_each(|path| self.make_directory(path))?;
        }
        let text = self.fill(&entry.text);
        match entry.kind {
            Kind::File => {
                let text = match entry.repeat {
                    Some(times) => (1..=times).map(|n| text.replace("{n}", &n.to_string())).collect(),
                    None => text,
                };
                self.put(path, &unescape(&text))?;
            }
            Kind::Dir => self.make_directory(path)?,
            Kind::Link => {
                symlink(OsString::from_vec(unescape(&text)), path)?;
                lchown(path, Some(self.person.uid.as_raw()), Some(self.person.gid.as_raw()))?;
            }
            Kind::HardLink => fs::hard_link(self.path(&entry.text), path)?,
            Kind::Copy => {
                fs::copy(&text, path)?;
                self.give(path)?;
            }
            Kind::Fifo => {
                mkfifo(path, Mode::from_bits_truncate(0o600))?;
                self.give(path)?;
            }
            Kind::Socket => {
                let listener = UnixListener::bind(path)?;
                self.give(path)?;
                listener.set_nonblocking(true)?;
                self.serve(move || {
                    let (mut stream, _) = listener.accept()?;
                    stream.write_all(GREETING)
                });
            }
            Kind::Git => self.commit(path),
        }
        if let Some(mode) = &entry.mode {
            let mode = u32::from_str_radix(mode, 8).map_err(|_| io::ErrorKind::InvalidData)?;
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        match entry.owner.as_deref() {
            None => Ok(()),
            Some("root") => {
                let mode = fs::metadata(path)?.permissions();
                chown(path, Some(0), Some(0))?;
                fs::set_permissions(path, mode)
            }
            Some(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn commit(&self, path: &Path) {
        let text = "git init -q -b main . && git config user.email nobody@invalid && git config user.name Nobody \
                    && git add -A . && git commit -q -m first";
        let done = self.start().words(["/bin/sh", "-c", text]);
        let done = Start { cwd: path.to_owned(), ..done }.run();
        assert!(
            matches!(done.ending, super::Ending::Code(0)),
            "git does not make a repository: {}",
            done.err()
        );
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        self.give(path)
    }

    fn put(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        fs::write(path, text)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
        self.give(path)
    }

    fn give(&self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.person.uid.as_raw()), Some(self.person.gid.as_raw()))
    }

    fn start_helper(&mut self, helper: Helper) {
        let name = format!("fence-test-{}", self.root.display());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        match helper {
            Helper::Tcp | Helper::Tcp6 => {
                let (host, key) =
                    if helper == Helper::Tcp { ("127.0.0.1:0", "{port}") } else { ("[::1]:0", "{port6}") };
                let listener = TcpListener::bind(host).unwrap();
                self.names.push((key, listener.local_addr().unwrap().port().to_string()));
                listener.set_nonblocking(true).unwrap();
                self.serve(move || listener.accept()?.0.write_all(GREETING));
            }
            Helper::Udp => {
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                self.names.push(("{port}", socket.local_addr().unwrap().port().to_string()));
                socket.set_nonblocking(true).unwrap();
                self.serve(move || {
                    let (_, from) = socket.recv_from(&mut [0; 100])?;
                    socket.send_to(GREETING, from).map(drop)
                });
            }
            Helper::Free => self.names.push(("{free}", free_port().to_string())),
            Helper::Abstract => {
                let listener = UnixListener::bind_addr(&address).unwrap();
                self.names.push(("{abstract}", name));
                listener.set_nonblocking(true).unwrap();
                self.serve(move || listener.accept()?.0.write_all(GREETING));
            }
            Helper::AbstractDatagram => {
                let socket = UnixDatagram::bind_addr(&address).unwrap();
                self.names.push(("{abstract}", name));
                socket.set_nonblocking(true).unwrap();
                self.serve(move || socket.recv_from(&mut [0; 100]).map(drop));
            }
            Helper::Socket => {
                let path = self.root.join("home/work/service");
                let listener = UnixListener::bind(&path).unwrap();
                self.give(&path).unwrap();
                listener.set_nonblocking(true).unwrap();
                self.serve(move || listener.accept()?.0.write_all(GREETING));
            }
            Helper::SharedMemory => {
                // One for each scene: several of one person's may be played at once.
                static SCENES: AtomicI32 = AtomicI32::new(0);
                let scene = SCENES.fetch_add(1, Ordering::Relaxed);
                let key = 0x0f00_0000 | (std::process::id() as i32 & 0xffff) << 8 | scene & 0xff;
                // SAFETY: plain numbers go in, a number comes out.
                let id = unsafe { libc::shmget(key, 4096, libc::IPC_CREAT | 0o666) };
                assert!(id >= 0, "no shared memory: {}", io::Error::last_os_error());
                self.names.push(("{shm}", format!("0x{key:08x}")));
                self.shared_memory = Some(id);
            }
            Helper::Bystander => {
                let mut start = self.start().words(["/bin/sleep", "600"]);
                start.environment.insert("BYSTANDER".into(), "its-secret".into());
                let mut command = start.command().unwrap();
                let child =
                    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                self.names.push(("{bystander}", child.id().to_string()));
                self.bystander = Some(child);
            }
        }
    }

    /// Answers again and again until the scene ends; `once` does not block.
    fn serve(&mut self, once: impl Fn() -> io::Result<()> + Send + 'static) {
        let (contacts, ended) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, end) = (contacts.clone(), ended.clone());
        let thread = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                match once() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        thread::sleep(Duration::from_millis(5));
                    }
                    Ok(()) | Err(_) => drop(counter.fetch_add(1, Ordering::Relaxed)),
                }
            }
        });
        self.servers.push(Server { contacts, ended, thread: Some(thread) });
    }

    /// A command of this scene's person, its words still to be said.
    pub fn start(&self) -> Start {
        let home = self.root.join("home");
        let mut start = Start::new(&self.person, &home, &home.join("work"));
        start.group = self.bystander.as_ref().map(|child| child.id() as i32);
        start
    }

    /// The program under test.
    pub fn fence(&self) -> &Path {
        &self.fence
    }

    /// A policy's text laid beside home and workspace, as a file.
    pub fn policy(&self, text: &str) -> PathBuf {
        let path = self.root.join("case.fence");
        self.put(&path, &unescape(&self.fill(text))).unwrap();
        path
    }

    /// A text with the names of this scene put in.
    pub fn fill(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// A path with the names of this scene put in; `\xHH` is any byte.
    pub fn path(&self, text: &str) -> PathBuf {
        PathBuf::from(OsString::from_vec(unescape(&self.fill(text))))
    }

    /// The directory that everything lies in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The processes of this scene that still live, the bystander aside; they are ended.
    pub fn survivors(&self) -> Vec<String> {
        let bystander = self.bystander.as_ref().map(Child::id);
        let mark = format!("{}/", self.root.display());
        let ours =
            || marked(&mark).into_iter().filter(|(pid, _)| Some(*pid) != bystander).collect::<Vec<_>>();
        let began = Instant::now();
        let mut found = ours();
        if found.is_empty() {
            // A process that is just executing shows neither its words nor its environment.
            thread::sleep(Duration::from_millis(20));
            found = ours();
        }
        while !found.is_empty() && began.elapsed() < Duration::from_secs(2) {
            thread::sleep(Duration::from_millis(10));
            found = ours();
        }
        for (pid, _) in &found {
            let _ = kill(Pid::from_raw(*pid as i32), Signal::SIGKILL);
        }
        found.into_iter().map(|(pid, line)| format!("{pid} {line}")).collect()
    }

    /// How often the servers of the host were spoken to.
    pub fn contacts(&self) -> u32 {
        // What was sent is still to be taken out.
        if !self.servers.is_empty() {
            thread::sleep(Duration::from_millis(30));
        }
        self.servers.iter().map(|server| server.contacts.load(Ordering::Relaxed)).sum()
    }

    /// Whether there are servers.
    pub fn has_servers(&self) -> bool {
        !self.servers.is_empty()
    }

    /// Whether the bystander lives, if there is one; what was sent to it is given the time to arrive.
    pub fn bystander_lives(&mut self) -> bool {
        let Some(child) = &mut self.bystander else { return true };
        let began = Instant::now();
        while matches!(child.try_wait(), Ok(None)) {
            if began.elapsed() > Duration::from_secs(1) {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

/// The names of the host's namespaces.
const NAMESPACES: [(&str, &str); 7] = [
    ("{mnt-namespace}", "mnt"),
    ("{pid-namespace}", "pid"),
    ("{net-namespace}", "net"),
    ("{ipc-namespace}", "ipc"),
    ("{uts-namespace}", "uts"),
    ("{cgroup-namespace}", "cgroup"),
    ("{user-namespace}", "user"),
];

const GREETING: &[u8] = b"hello from the host\n";

impl Drop for Scene {
    fn drop(&mut self) {
        for server in &mut self.servers {
            server.ended.store(true, Ordering::Relaxed);
        }
        for thread in self.servers.iter_mut().filter_map(|server| server.thread.take()) {
            let _ = thread.join();
        }
        if let Some(mut child) = self.bystander.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(id) = self.shared_memory.take() {
            // SAFETY: the segment is this scene's own; nothing is mapped.
            unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) };
        }
        unmount_below(&self.root);
        remove(&self.root);
        self.elsewhere.iter().for_each(|path| remove(path));
    }
}

/// Takes away what an attack that succeeded has mounted in a scene, the last mount first.
fn unmount_below(root: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below = format!("{}/", root.display());
    for at in
        mounts.lines().rev().filter_map(|line| line.split(' ').nth(4)).filter(|at| at.starts_with(&below))
    {
        if let Ok(path) = CString::new(at) {
            // SAFETY: the pointer is to a text that ends in NUL.
            unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        }
    }
}

/// Removes a tree, directories that nobody may enter too.
fn remove(path: &Path) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    if !metadata.is_dir() {
        let _ = fs::remove_file(path);
        return;
    }
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    fs::read_dir(path).into_iter().flatten().flatten().for_each(|entry| remove(&entry.path()));
    let _ = fs::remove_dir(path);
}

/// Reads `\xHH`.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        bytes.extend_from_slice(before.as_bytes());
        match after.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.extend_from_slice(b"\\x");
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// A text as a word of a command; `\xHH` is any byte.
pub fn word(text: &str) -> OsString {
    OsStr::from_bytes(&unescape(text)).to_owned()
}
