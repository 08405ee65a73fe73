//! A plan as arguments for bubblewrap, from version 0.8 on.
//!
//! The arguments end before the command. What bubblewrap reads from descriptors has fixed numbers, so that the same
//! list works for whoever opens them.

use super::{Devices, LinuxPlan, MaskKind, Mount, NamesFile, ProcKind, TerminalPlan, Writing};
use crate::bytes::{AbsolutePath, unescape};

/// The arguments, and what has to be open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// One word each.
    pub arguments: Vec<Vec<u8>>,
    /// What is read at which descriptor: at [`FILTER`], and from [`FIRST_CONTENT`] on.
    pub descriptors: Vec<(i32, Content)>,
}

/// What bubblewrap reads from a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The program for seccomp: the kernel's own form.
    Filter,
    /// Nothing.
    Empty,
    /// A file that programs resolve names by.
    Names(NamesFile),
}

/// The descriptor of the seccomp program.
pub const FILTER: i32 = 10;
/// The first descriptor of a file's content.
pub const FIRST_CONTENT: i32 = 11;

/// Namespaces, rights and the end: the same for every plan.
const ALWAYS: [&str; 9] = [
    "--unshare-user",
    "--unshare-ipc",
    "--unshare-pid",
    "--unshare-net",
    "--unshare-uts",
    "--unshare-cgroup",
    "--die-with-parent",
    "--cap-drop",
    "ALL",
];

/// The list for a plan; the caller's variables that are passed on are not in it.
#[must_use]
pub fn list(plan: &LinuxPlan) -> List {
    let mut builder =
        Builder { arguments: Vec::new(), descriptors: vec![(FILTER, Content::Filter)], seals: Vec::new() };
    builder.words(&ALWAYS);
    if plan.terminal == TerminalPlan::None {
        builder.words(&["--new-session"]);
    }
    let own_root = !matches!(plan.mounts.first(), Some(Mount::Tree { at, .. }) if at.is_root());
    if own_root {
        builder.seals.push(AbsolutePath::root());
    }
    for mount in &plan.mounts {
        builder.mount(mount);
    }
    // What lies deeper first, so that nothing has to be made on what is read-only.
    for seal in std::mem::take(&mut builder.seals).iter().rev() {
        builder.words(&["--remount-ro"]);
        builder.path(seal);
    }
    builder.words(&["--chdir"]);
    builder.path(&plan.cwd);
    builder.words(&["--clearenv"]);
    for (name, value) in &plan.environment.set {
        builder.words(&["--setenv", name, value]);
    }
    let filter = FILTER.to_string();
    builder.words(&["--seccomp", &filter]);
    List { arguments: builder.arguments, descriptors: builder.descriptors }
}

struct Builder {
    arguments: Vec<Vec<u8>>,
    descriptors: Vec<(i32, Content)>,
    /// What becomes read-only at the end.
    seals: Vec<AbsolutePath>,
}

impl Builder {
    fn words(&mut self, words: &[&str]) {
        self.arguments.extend(words.iter().map(|word| word.as_bytes().to_vec()));
    }

    fn path(&mut self, path: &AbsolutePath) {
        self.arguments.push(path.as_bytes().to_vec());
    }

    fn mode(&mut self, mode: u32) {
        let mode = format!("{mode:04o}");
        self.words(&["--perms", &mode]);
    }

    /// A file of fence's own, read-only, with what is read from a descriptor.
    fn file(&mut self, at: &AbsolutePath, mode: u32, content: Content) {
        let number = self.descriptors.last().map_or(FIRST_CONTENT, |(last, _)| last + 1);
        self.descriptors.push((number, content));
        self.mode(mode);
        let number = number.to_string();
        self.words(&["--ro-bind-data", &number]);
        self.path(at);
    }

    fn mount(&mut self, mount: &Mount) {
        match mount {
            Mount::Directory { at, mode } => {
                self.mode(*mode);
                self.words(&["--dir"]);
                self.path(at);
            }
            Mount::Link { at, target } => {
                self.words(&["--symlink"]);
                self.arguments.push(unescape(target.escaped()).unwrap_or_default());
                self.path(at);
            }
            Mount::Tree { source, at, writing, devices, .. } => {
                self.words(&[match (writing, devices) {
                    (_, Devices::Allowed) => "--dev-bind",
                    (Writing::Allowed, Devices::Refused) => "--bind",
                    (Writing::Refused, Devices::Refused) => "--ro-bind",
                }]);
                self.path(source);
                self.path(at);
            }
            Mount::Mask { at, kind: MaskKind::File, .. } => self.file(at, 0, Content::Empty),
            Mount::Mask { at, kind, .. } => {
                self.mode(if *kind == MaskKind::Passage { 0o111 } else { 0 });
                self.words(&["--tmpfs"]);
                self.path(at);
                self.seals.push(at.clone());
            }
            Mount::Pin { at, .. } => {
                self.words(&["--bind"]);
                self.path(at);
                self.path(at);
            }
            Mount::Proc { at, how } => match how {
                ProcKind::Fresh => {
                    self.words(&["--proc"]);
                    self.path(at);
                    self.seals.push(at.clone());
                }
                ProcKind::Bound => {
                    self.words(&["--ro-bind"]);
                    self.path(at);
                    self.path(at);
                }
            },
            Mount::Dev { at, devices } => {
                self.words(&["--dev"]);
                self.path(at);
                for device in devices {
                    self.words(&["--dev-bind"]);
                    self.path(device);
                    self.path(device);
                }
                self.mode(0o1777);
                self.words(&["--tmpfs"]);
                self.path(&at.join(b"shm"));
                self.seals.push(at.clone());
            }
            Mount::Names { at, file } => self.file(at, 0o444, Content::Names(*file)),
            // Nobody gives it layers; without them nothing is written.
            Mount::Layer { .. } => {}
            Mount::Overlaid { at, .. } | Mount::Copy { at, .. } => {
                self.words(&["--ro-bind"]);
                self.path(at);
                self.path(at);
            }
            Mount::Private { at, mode, .. } => {
                self.mode(*mode);
                self.words(&["--tmpfs"]);
                self.path(at);
            }
        }
    }
}

/// Writes the list as a shell reads it: one quoted word a line.
#[must_use]
pub fn lines(list: &List) -> Vec<u8> {
    let mut out = Vec::new();
    for argument in &list.arguments {
        out.extend(quoted(argument));
        out.push(b'\n');
    }
    out
}

/// A word in single quotes.
#[must_use]
pub fn quoted(word: &[u8]) -> Vec<u8> {
    let mut out = vec![b'\''];
    for byte in word {
        match byte {
            b'\'' => out.extend(b"'\\''"),
            other => out.push(*other),
        }
    }
    out.push(b'\'');
    out
}
