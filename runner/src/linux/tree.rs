//! From the mounts of a plan to operations.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::plan::{Devices, Executing, MaskKind, Mount, ProcKind, TreeKind, Writing};
use fence_compiler::policy::RuleId;

use super::operation::{FileSystem, Ground, OWN, Operation, Step};
use super::sys::mount::{self, Attributes};

/// Turns mounts into operations that begin with making the root and end before it becomes `/`. The terminal is the
/// device of the caller's own, which `/dev/console` then stands for.
pub(super) fn operations(mounts: &[Mount], terminal: Option<&AbsolutePath>) -> Vec<Step> {
    let mut tree =
        Tree { steps: Vec::new(), places: BTreeMap::new(), made: BTreeSet::new(), seals: Vec::new() };
    let rest = tree.root(mounts);
    for mount in rest {
        tree.mount(mount, terminal);
    }
    for seal in std::mem::take(&mut tree.seals) {
        tree.add(Operation::Seal { at: seal }, &[]);
    }
    tree.steps
}

/// What lies at a place, as far as making something in it goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A file system of fence's own.
    Own,
    /// The mask with this number, which things can be made in.
    Passage(usize),
    /// Something of the host: nothing is made there.
    Foreign,
}

struct Tree {
    steps: Vec<Step>,
    /// What is mounted where.
    places: BTreeMap<AbsolutePath, Place>,
    /// What was made on own ground.
    made: BTreeSet<AbsolutePath>,
    /// What becomes read-only at the end.
    seals: Vec<CString>,
}

impl Tree {
    fn add(&mut self, operation: Operation, rules: &[RuleId]) {
        self.steps.push(Step { operation, rules: rules.to_vec() });
    }

    /// Makes the root: the host's, if the first mount says so, or an empty one. Yields the mounts that are left.
    fn root<'a>(&mut self, mounts: &'a [Mount]) -> &'a [Mount] {
        let (rest, place) = match mounts.split_first() {
            Some((Mount::Tree { source, at, writing, executing, devices, rules, .. }, rest))
                if at.is_root() =>
            {
                let attributes = attributes(*writing, *executing, *devices);
                self.add(Operation::HostRoot { source: absolute(source), attributes }, rules);
                (rest, Place::Foreign)
            }
            _ => {
                self.add(Operation::EmptyRoot, &[]);
                self.seals.push(beneath(&AbsolutePath::root()));
                (mounts, Place::Own)
            }
        };
        self.places.insert(AbsolutePath::root(), place);
        self.add(Operation::Masks, &[]);
        self.add(Operation::AttachRoot, &[]);
        if rest.iter().any(|mount| matches!(mount, Mount::Mask { .. })) {
            let (file, directory) = (c"file".to_owned(), c"directory".to_owned());
            self.add(Operation::File { ground: Ground::Masks, path: file, mode: 0 }, &[]);
            self.add(Operation::Directory { ground: Ground::Masks, path: directory, mode: 0 }, &[]);
        }
        rest
    }

    fn mount(&mut self, mount: &Mount, terminal: Option<&AbsolutePath>) {
        match mount {
            Mount::Directory { at, mode } => self.directory(at, *mode),
            Mount::Link { at, target } => self.link(at, &target.bytes()),
            Mount::Tree { source, at, kind, writing, executing, devices, rules } => {
                let attributes = attributes(*writing, *executing, *devices);
                self.bind(source, at, *kind, attributes, rules);
            }
            Mount::Mask { at, kind, rules } => self.mask(at, *kind, rules),
            Mount::Pin { at, rules } => self.add(Operation::Pin { at: beneath(at) }, rules),
            Mount::Proc { at, how: ProcKind::Fresh } => {
                self.fresh(FileSystem::Processes, at, OWN | mount::READ_ONLY, Place::Foreign);
            }
            Mount::Proc { at, how: ProcKind::Bound } => {
                let source = AbsolutePath::root().join(b"proc");
                self.bind(&source, at, TreeKind::Directory, OWN | mount::READ_ONLY, &[]);
            }
            Mount::Dev { at, devices } => self.dev(at, devices, terminal),
            Mount::Private { at, mode, executing } => {
                let execution = if *executing == Executing::Allowed { 0 } else { mount::NO_EXECUTION };
                let attributes = mount::NO_SETUID | mount::NO_DEVICES | execution;
                self.fresh(memory(*mode), at, attributes, Place::Own);
            }
        }
    }

    fn bind(
        &mut self,
        source: &AbsolutePath,
        at: &AbsolutePath,
        kind: TreeKind,
        attributes: Attributes,
        rules: &[RuleId],
    ) {
        self.point(at, kind);
        self.add(Operation::Bind { source: absolute(source), at: beneath(at), attributes }, rules);
        self.places.insert(at.clone(), Place::Foreign);
    }

    fn fresh(&mut self, filesystem: FileSystem, at: &AbsolutePath, attributes: Attributes, place: Place) {
        self.point(at, TreeKind::Directory);
        self.add(Operation::New { filesystem, at: beneath(at), attributes }, &[]);
        self.places.insert(at.clone(), place);
    }

    fn mask(&mut self, at: &AbsolutePath, kind: MaskKind, rules: &[RuleId]) {
        let (name, covered, place) = match kind {
            MaskKind::File => (c"file".to_owned(), TreeKind::File, Place::Foreign),
            MaskKind::Directory => (c"directory".to_owned(), TreeKind::Directory, Place::Foreign),
            MaskKind::Passage => {
                // Steps are only ever added, so no two passages share a number.
                let number = self.steps.len();
                let name = text(number.to_string().as_bytes());
                let path = name.clone();
                self.add(Operation::Directory { ground: Ground::Masks, path, mode: 0o111 }, rules);
                (name, TreeKind::Directory, Place::Passage(number))
            }
        };
        self.point(at, covered);
        self.add(Operation::Mask { name, at: beneath(at) }, rules);
        self.places.insert(at.clone(), place);
    }

    fn dev(&mut self, at: &AbsolutePath, devices: &[AbsolutePath], terminal: Option<&AbsolutePath>) {
        const DEVICE: Attributes = mount::NO_SETUID | mount::NO_EXECUTION;
        self.fresh(memory(0o755), at, DEVICE, Place::Own);
        let host = AbsolutePath::root().join(b"dev");
        for name in ["null", "zero", "full", "random", "urandom", "tty"] {
            let source = host.join(name.as_bytes());
            self.bind(&source, &at.join(name.as_bytes()), TreeKind::File, DEVICE, &[]);
        }
        if let Some(terminal) = terminal {
            self.bind(terminal, &at.join(b"console"), TreeKind::File, DEVICE, &[]);
        }
        for device in devices {
            let names: Vec<&[u8]> = device.components().skip(host.components().count()).collect();
            let inside = names.iter().fold(at.clone(), |path, name| path.join(name));
            self.bind(device, &inside, TreeKind::File, DEVICE, &[]);
        }
        self.fresh(FileSystem::Terminals, &at.join(b"pts"), DEVICE, Place::Foreign);
        self.fresh(memory(0o1777), &at.join(b"shm"), OWN, Place::Own);
        for (name, target) in [
            ("ptmx", "pts/ptmx"),
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ] {
            self.link(&at.join(name.as_bytes()), target.as_bytes());
        }
        self.seals.push(beneath(at));
    }

    fn directory(&mut self, at: &AbsolutePath, mode: u32) {
        if let Some((ground, path)) = self.own(at) {
            self.made.insert(at.clone());
            self.add(Operation::Directory { ground, path, mode }, &[]);
        }
    }

    fn link(&mut self, at: &AbsolutePath, target: &[u8]) {
        if let Some((ground, path)) = self.own(at) {
            self.made.insert(at.clone());
            self.add(Operation::Link { ground, path, target: text(target) }, &[]);
        }
    }

    /// Makes a mount point, if it lies on own ground and is not there.
    fn point(&mut self, at: &AbsolutePath, kind: TreeKind) {
        if self.made.contains(at) || self.places.contains_key(at) {
            return;
        }
        if let Some((ground, path)) = self.own(at) {
            self.made.insert(at.clone());
            self.add(
                match kind {
                    TreeKind::Directory => Operation::Directory { ground, path, mode: 0o755 },
                    TreeKind::File => Operation::File { ground, path, mode: 0o444 },
                },
                &[],
            );
        }
    }

    /// Where something of fence's own is made, its ancestors included; `None` where the host's own lies.
    fn own(&mut self, at: &AbsolutePath) -> Option<(Ground, CString)> {
        let parent = at.parent()?;
        let within = |place: &AbsolutePath| self.places.get(place).map(|kind| (place.clone(), *kind));
        let (mounted, place) = std::iter::successors(Some(parent.clone()), AbsolutePath::parent)
            .find_map(|ancestor| within(&ancestor))?;
        if place == Place::Foreign {
            return None;
        }
        if parent != mounted && !self.made.contains(&parent) {
            self.directory(&parent, 0o755);
        }
        Some(match place {
            Place::Passage(number) => {
                let inside = at.as_bytes().strip_prefix(mounted.as_bytes()).unwrap_or_default();
                (Ground::Masks, text(&[number.to_string().as_bytes(), inside].concat()))
            }
            _ => (Ground::Root, beneath(at)),
        })
    }
}

fn attributes(writing: Writing, executing: Executing, devices: Devices) -> Attributes {
    let when = |refused: bool, attribute| if refused { attribute } else { 0 };
    mount::NO_SETUID
        | when(writing == Writing::Refused, mount::READ_ONLY)
        | when(executing == Executing::Refused, mount::NO_EXECUTION)
        | when(devices == Devices::Refused, mount::NO_DEVICES)
}

fn memory(mode: u32) -> FileSystem {
    FileSystem::Memory { mode: text(format!("{mode:04o}").as_bytes()) }
}

/// A path below the root that is being made; `.` for `/`.
pub(super) fn beneath(path: &AbsolutePath) -> CString {
    match path.as_bytes().strip_prefix(b"/") {
        Some(rest) if !rest.is_empty() => text(rest),
        _ => c".".to_owned(),
    }
}

/// A path of the host.
pub(super) fn absolute(path: &AbsolutePath) -> CString {
    text(path.as_bytes())
}

/// Bytes without NUL as the system takes them.
// INVARIANT: paths hold no NUL; a link's text, which could, ends at it, as it would for the system.
fn text(bytes: &[u8]) -> CString {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    CString::new(bytes.get(..end).unwrap_or_default()).unwrap_or_default()
}
