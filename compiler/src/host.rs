//! The machine, as a value.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bytes::{self, AbsolutePath};
use crate::question::Platform;

/// The facts about a machine that lowering uses. The runner probes a real one; tests make one by hand;
/// `fence compile --host FILE` reads one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// The platform.
    pub platform: Platform,
    /// The person.
    pub person: Person,
    /// The directory the command starts in.
    pub cwd: AbsolutePath,
    /// The root of the repository that holds it, if one does (a linked worktree's own root).
    pub git_root: Option<AbsolutePath>,
    /// Directories that git needs beside `git_root`: a linked worktree's common directory.
    pub git_common: Option<AbsolutePath>,
    /// The names of the caller's environment variables.
    pub environment_names: BTreeSet<String>,
    /// The values of those that the policy names as variables (`$NAME`), and of `PATH`. No other value is a fact.
    pub environment: BTreeMap<String, String>,
    /// What the kernel offers.
    pub features: Features,
    /// Files never writable from inside: the policy's texts, fence's state folder.
    pub protected: Vec<AbsolutePath>,
}

/// The person who runs the command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Person {
    /// The login name.
    pub name: String,
    /// The home directory.
    pub home: AbsolutePath,
    /// The user number.
    pub uid: u32,
    /// The group number.
    pub gid: u32,
}

/// What a Linux kernel offers here. On another platform everything is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Features {
    /// `uname -r`, its first two numbers.
    pub kernel: (u32, u32),
    /// Whether a user namespace can be made and used (probed by a map write, not by the clone).
    pub user_namespaces: Support,
    /// The version of Landlock; 0: none.
    pub landlock_abi: u32,
    /// Whether seccomp filters can be installed.
    pub seccomp: Support,
    /// Whether a fresh `/proc` may be mounted in a namespace of one's own.
    pub fresh_proc: Support,
    /// Whether `mount_setattr`, `open_tree` and `move_mount` work (5.12).
    pub mount_api: Support,
    /// Whether `vm.memfd_noexec` exists in a pid namespace (6.3).
    pub memfd_noexec: Support,
    /// Whether `kernel.pid_max` belongs to a pid namespace (6.14).
    pub pid_max: Support,
    /// Whether `TIOCSTI` is refused by the kernel itself (`dev.tty.legacy_tiocsti=0`, 6.2).
    pub tiocsti_off: Support,
    /// Whether another process can judge system calls: user notification of seccomp that no signal interrupts (5.19),
    /// and tracing of what it lets through.
    pub mediation: Support,
    /// What a cgroup of a run's own could hold; absent where nobody asked, because no limit needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Cgroup>,
}

/// What a cgroup (version 2) could hold that is made for one run, below one in which that is delegated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cgroup {
    /// Whether it could hold memory.
    pub memory: Support,
    /// Whether it could hold the number of processes.
    pub processes: Support,
    /// Whether it could count processor time.
    pub cpu: Support,
}

impl Features {
    /// Nothing of it, and why.
    #[must_use]
    pub fn none(why: &str) -> Features {
        let no = || Support::No(why.to_owned());
        Features {
            kernel: (0, 0),
            user_namespaces: no(),
            landlock_abi: 0,
            seccomp: no(),
            fresh_proc: no(),
            mount_api: no(),
            memfd_noexec: no(),
            pid_max: no(),
            tiocsti_off: no(),
            mediation: no(),
            cgroup: None,
        }
    }
}

/// Whether the machine offers something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Support {
    /// It does.
    Yes,
    /// It does not, for this reason (`refused: EPERM (kernel.apparmor_restrict_unprivileged_userns=1)`).
    No(String),
}

impl Support {
    /// Whether it does.
    #[must_use]
    pub fn is_yes(&self) -> bool {
        matches!(self, Support::Yes)
    }
}

/// What lies at a path, links not followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// Nothing, or something that cannot be looked at.
    Missing,
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link and the text it holds.
    Link(LinkText),
    /// A socket.
    Socket,
    /// A FIFO.
    Fifo,
    /// A device.
    Device,
}

/// The text that a link holds: bytes, escaped in documents like a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct LinkText(pub String);

impl LinkText {
    /// Takes the bytes of a link.
    #[must_use]
    pub fn new(bytes: &[u8]) -> LinkText {
        LinkText(bytes::escape(bytes).into_owned())
    }

    /// The bytes of the link. What no link holds (a wrong escape in a document) counts as no text.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        bytes::unescape(&self.0).unwrap_or_default()
    }

    /// As text for a person or a document.
    #[must_use]
    pub fn escaped(&self) -> &str {
        &self.0
    }
}

/// Looks at the file tree of the machine: the only facts that are asked for while lowering, because which
/// paths matter follows from links. The runner's records each answer, and the record goes into the artifact.
pub trait Files {
    /// What lies at this path. Its parent is resolved already: no component above the last is a link.
    fn entry(&mut self, path: &AbsolutePath) -> Entry;
    /// The names in this directory, sorted; empty if it cannot be read. Asked only for the parent of a
    /// pattern's first wildcard, never for a tree.
    fn names(&mut self, directory: &AbsolutePath) -> Vec<Vec<u8>>;
    /// Every name in this directory, sorted, where having them all is cheaper than asking for several one by one:
    /// nothing lies at a name that is not among them. `None` where that is not so, or not known.
    fn listing(&mut self, directory: &AbsolutePath) -> Option<Vec<Vec<u8>>> {
        let _ = directory;
        None
    }
    /// The sockets that programs of the machine have bound beneath these places, sorted; no component of their
    /// paths is a link. Asked once.
    fn sockets(&mut self, beneath: &BTreeSet<AbsolutePath>) -> Vec<AbsolutePath>;
}

/// The part of a file tree that was looked at: as answers recorded, and as a machine made by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileFacts {
    /// What lies at paths.
    pub entries: BTreeMap<AbsolutePath, Entry>,
    /// The names in directories, escaped like paths.
    pub names: BTreeMap<AbsolutePath, Vec<String>>,
    /// The sockets that programs have bound.
    #[serde(default)]
    pub sockets: BTreeSet<AbsolutePath>,
}

impl FileFacts {
    /// Adds a socket that a program has bound.
    #[must_use]
    pub fn with_socket(mut self, path: AbsolutePath) -> FileFacts {
        self.sockets.insert(path.clone());
        self.with(path, Entry::Socket)
    }

    /// Adds something, and the directories above it that are not there yet.
    #[must_use]
    pub fn with(mut self, path: AbsolutePath, entry: Entry) -> FileFacts {
        for above in path.ancestors() {
            self.entries.entry(above).or_insert(Entry::Directory);
        }
        self.entries.insert(path, entry);
        self
    }
}

/// Answers from what is written down; what is not there is missing. Names that were not recorded are those of
/// the entries that are there.
impl Files for FileFacts {
    fn entry(&mut self, path: &AbsolutePath) -> Entry {
        match self.entries.get(path) {
            Some(entry) => entry.clone(),
            None if path.is_root() => Entry::Directory,
            None => Entry::Missing,
        }
    }

    fn names(&mut self, directory: &AbsolutePath) -> Vec<Vec<u8>> {
        if let Some(names) = self.names.get(directory) {
            return names.iter().filter_map(|name| bytes::unescape(name)).collect();
        }
        self.entries
            .iter()
            .filter(|(path, entry)| **entry != Entry::Missing && path.parent().as_ref() == Some(directory))
            .filter_map(|(path, _)| path.name().map(<[u8]>::to_vec))
            .collect()
    }

    fn sockets(&mut self, beneath: &BTreeSet<AbsolutePath>) -> Vec<AbsolutePath> {
        let lies = |path: &&AbsolutePath| {
            beneath.contains(*path) || path.ancestors().any(|above| beneath.contains(&above))
        };
        self.sockets.iter().filter(lies).cloned().collect()
    }
}

/// Passes questions on, each once, and keeps the answers.
pub struct Recorder<'a> {
    files: &'a mut dyn Files,
    facts: FileFacts,
}

impl<'a> Recorder<'a> {
    /// Records what these files answer.
    pub fn new(files: &'a mut dyn Files) -> Recorder<'a> {
        Recorder { files, facts: FileFacts::default() }
    }

    /// What was answered.
    #[must_use]
    pub fn into_facts(self) -> FileFacts {
        self.facts
    }
}

impl Files for Recorder<'_> {
    fn entry(&mut self, path: &AbsolutePath) -> Entry {
        if let Some(entry) = self.facts.entries.get(path) {
            return entry.clone();
        }
        let entry = self.files.entry(path);
        self.facts.entries.insert(path.clone(), entry.clone());
        entry
    }

    fn names(&mut self, directory: &AbsolutePath) -> Vec<Vec<u8>> {
        if let Some(names) = self.facts.names.get(directory) {
            return names.iter().filter_map(|name| bytes::unescape(name)).collect();
        }
        let mut names = self.files.names(directory);
        names.sort();
        let escaped = names.iter().map(|name| bytes::escape(name).into_owned()).collect();
        self.facts.names.insert(directory.clone(), escaped);
        names
    }

    fn sockets(&mut self, beneath: &BTreeSet<AbsolutePath>) -> Vec<AbsolutePath> {
        let found = self.files.sockets(beneath);
        self.facts.sockets.extend(found.iter().cloned());
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> AbsolutePath {
        AbsolutePath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_recorded_answers_the_same() {
        let mut made = FileFacts::default()
            .with(path("/a/b"), Entry::File)
            .with(path("/a/c"), Entry::Link(LinkText::new(b"\xff")))
            .with(path("/a/gone"), Entry::Missing);
        let mut recorder = Recorder::new(&mut made);
        let asked = [path("/a"), path("/a/c"), path("/none")];
        let answers: Vec<Entry> = asked.iter().map(|path| recorder.entry(path)).collect();
        let names = recorder.names(&path("/a"));
        let mut facts = recorder.into_facts();
        assert_eq!(names, [b"b".to_vec(), b"c".to_vec()]);
        assert_eq!(facts.names(&path("/a")), names);
        assert_eq!(asked.iter().map(|path| facts.entry(path)).collect::<Vec<_>>(), answers);
        assert_eq!(answers, [Entry::Directory, Entry::Link(LinkText::new(b"\xff")), Entry::Missing]);
    }
}
