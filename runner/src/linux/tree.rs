//! From the mounts of a plan to operations.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::plan::{
    Devices, Executing, Keep, MaskKind, Mount, NamesFile, ProcKind, TreeKind, Writing,
};
use fence_compiler::policy::RuleId;

use super::network;
use super::operation::{FileSystem, Ground, OWN, Operation, Place, Step, Upper};
use super::sys::mount::{self, Attributes};

/// Turns mounts into operations that begin with making the root and end before it becomes `/`. The terminal is the
/// device of the caller's own, which `/dev/console` then stands for.
pub(super) fn operations(mounts: &[Mount], terminal: Option<&AbsolutePath>) -> Vec<Step> {
    let mut tree = Tree {
        steps: Vec::new(),
        places: BTreeMap::new(),
        made: BTreeSet::new(),
        seals: Vec::new(),
        layers: BTreeMap::new(),
    };
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
enum Found {
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
    places: BTreeMap<AbsolutePath, Found>,
    /// What was made on own ground.
    made: BTreeSet<AbsolutePath>,
    /// What becomes read-only at the end.
    seals: Vec<CString>,
    /// The layers in the store, by what they are over.
    layers: BTreeMap<AbsolutePath, CString>,
}

impl Tree {
    fn add(&mut self, operation: Operation, rules: &[RuleId]) {
        self.steps.push(Step { operation, rules: rules.to_vec() });
    }

    /// Makes the root: the host's, if the first mount says so, or an empty one. Yields the mounts that are left.
    fn root<'a>(&mut self, mounts: &'a [Mount]) -> &'a [Mount] {
        let (rest, found) = match mounts.split_first() {
            Some((Mount::Tree { source, at, writing, executing, devices, rules, .. }, rest))
                if at.is_root() =>
            {
                let attributes = attributes(*writing, *executing, *devices);
                self.add(Operation::HostRoot { source: absolute(source), attributes }, rules);
                self.add(Operation::Store, &[]);
                (rest, Found::Foreign)
            }
            _ => {
                self.add(Operation::Store, &[]);
                let name = self.stored(0o755, &[]);
                self.add(Operation::EmptyRoot { name }, &[]);
                self.seals.push(beneath(&AbsolutePath::root()));
                (mounts, Found::Own)
            }
        };
        self.places.insert(AbsolutePath::root(), found);
        self.add(Operation::AttachRoot, &[]);
        if rest.iter().any(|mount| matches!(mount, Mount::Mask { .. })) {
            let (file, directory) = (c"file".to_owned(), c"directory".to_owned());
            self.add(Operation::File { ground: Ground::Store, path: file, mode: 0 }, &[]);
            self.add(Operation::Directory { ground: Ground::Store, path: directory, mode: 0 }, &[]);
        }
        rest
    }

    /// Makes a directory in the store; its name there is a number.
    fn stored(&mut self, mode: u32, rules: &[RuleId]) -> CString {
        // Steps are only ever added, so no two directories share a number.
        let name = number(self.steps.len());
        self.add(Operation::Directory { ground: Ground::Store, path: name.clone(), mode }, rules);
        name
    }

    fn mount(&mut self, mount: &Mount, terminal: Option<&AbsolutePath>) {
        match mount {
            Mount::Directory { at, mode } => self.directory(at, *mode),
            Mount::Link { at, target } => self.link(at, &target.bytes()),
            Mount::Tree { source, at, kind, writing, executing, devices, rules } => {
                let attributes = attributes(*writing, *executing, *devices);
                self.bind(source, at, *kind, attributes, rules);
            }
            Mount::Layer { over, keep, mode } => self.layer(over, keep, *mode),
            Mount::Overlaid { over, at, kind, writing, executing, rules } => {
                let attributes = attributes(*writing, *executing, Devices::Refused);
                self.overlaid(over, at, *kind, attributes, rules);
            }
            Mount::Copy { at, keep, mode, executing, rules } => {
                let attributes = attributes(Writing::Allowed, *executing, Devices::Refused);
                self.copy(at, keep, *mode, attributes, rules);
            }
            Mount::Mask { at, kind, rules } => self.mask(at, *kind, rules),
            Mount::Pin { at, rules } => self.add(Operation::Pin { at: beneath(at) }, rules),
            Mount::Proc { at, how: ProcKind::Fresh } => {
                self.fresh(FileSystem::Processes, at, OWN | mount::READ_ONLY);
            }
            Mount::Proc { at, how: ProcKind::Bound } => {
                let source = AbsolutePath::root().join(b"proc");
                self.bind(&source, at, TreeKind::Directory, OWN | mount::READ_ONLY, &[]);
            }
            Mount::Names { at, file } => self.names(at, *file),
            Mount::Dev { at, devices } => self.dev(at, devices, terminal),
            Mount::Private { at, mode, executing } => {
                let execution = if *executing == Executing::Allowed { 0 } else { mount::NO_EXECUTION };
                self.private(at, *mode, mount::NO_SETUID | mount::NO_DEVICES | execution);
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
        let place = self.place(at);
        self.add(Operation::Bind { source: absolute(source), at: place, attributes }, rules);
        self.places.insert(at.clone(), Found::Foreign);
    }

    fn layer(&mut self, over: &AbsolutePath, keep: &Keep, mode: u32) {
        let name = self.stored(0o700, &[]);
        let (upper, work) = match keep {
            Keep::Run => (Upper::Stored(self.stored(mode, &[])), self.stored(0o700, &[])),
            Keep::Kept(place) => {
                (Upper::Kept(absolute(&place.join(b"upper"))), absolute(&place.join(b"work")))
            }
        };
        self.add(Operation::Layer { name: name.clone(), lower: absolute(over), upper, work }, &[]);
        self.layers.insert(over.clone(), name);
    }

    fn overlaid(
        &mut self,
        over: &AbsolutePath,
        at: &AbsolutePath,
        kind: TreeKind,
        attributes: Attributes,
        rules: &[RuleId],
    ) {
        self.point(at, kind);
        let place = self.place(at);
        let name = self.layers.get(over).map_or(&[][..], |name| name.to_bytes());
        let below = at.as_bytes().strip_prefix(over.as_bytes()).unwrap_or_default();
        let source = text(&[name, below].concat());
        self.add(Operation::Overlaid { source, at: place, attributes }, rules);
        self.places.insert(at.clone(), Found::Foreign);
    }

    fn copy(&mut self, at: &AbsolutePath, keep: &Keep, mode: u32, attributes: Attributes, rules: &[RuleId]) {
        let Keep::Run = keep else {
            if let Keep::Kept(copy) = keep {
                self.bind(copy, at, TreeKind::File, attributes, rules);
            }
            return;
        };
        let name = number(self.steps.len());
        self.add(Operation::File { ground: Ground::Store, path: name.clone(), mode }, &[]);
        self.add(Operation::Copy { source: absolute(at), name: name.clone() }, rules);
        self.point(at, TreeKind::File);
        let place = self.place(at);
        self.add(Operation::Stored { name, at: place, attributes }, rules);
        self.places.insert(at.clone(), Found::Foreign);
    }

    fn fresh(&mut self, filesystem: FileSystem, at: &AbsolutePath, attributes: Attributes) {
        self.point(at, TreeKind::Directory);
        let place = self.place(at);
        self.add(Operation::New { filesystem, at: place, attributes }, &[]);
        self.places.insert(at.clone(), Found::Foreign);
    }

    /// An empty directory of this run alone.
    fn private(&mut self, at: &AbsolutePath, mode: u32, attributes: Attributes) {
        self.point(at, TreeKind::Directory);
        let (name, place) = (self.stored(mode, &[]), self.place(at));
        self.add(Operation::Stored { name, at: place, attributes }, &[]);
        self.places.insert(at.clone(), Found::Own);
    }

    fn mask(&mut self, at: &AbsolutePath, kind: MaskKind, rules: &[RuleId]) {
        let (name, covered, found) = match kind {
            MaskKind::File => (c"file".to_owned(), TreeKind::File, Found::Foreign),
            MaskKind::Directory => (c"directory".to_owned(), TreeKind::Directory, Found::Foreign),
            MaskKind::Passage => {
                let passage = Found::Passage(self.steps.len());
                (self.stored(0o111, rules), TreeKind::Directory, passage)
            }
        };
        self.point(at, covered);
        let place = self.place(at);
        self.add(Operation::Mask { name, at: place }, rules);
        self.places.insert(at.clone(), found);
    }

    /// A file of fence's own, which nobody inside can change.
    fn names(&mut self, at: &AbsolutePath, file: NamesFile) {
        let name = number(self.steps.len());
        self.add(Operation::File { ground: Ground::Store, path: name.clone(), mode: 0o444 }, &[]);
        self.add(Operation::Fill { name: name.clone(), text: network::names_file(file) }, &[]);
        self.point(at, TreeKind::File);
        let place = self.place(at);
        self.add(Operation::Mask { name, at: place }, &[]);
        self.places.insert(at.clone(), Found::Foreign);
    }

    fn dev(&mut self, at: &AbsolutePath, devices: &[AbsolutePath], terminal: Option<&AbsolutePath>) {
        const DEVICE: Attributes = mount::NO_SETUID | mount::NO_EXECUTION;
        if self.parent(at) == Some(Found::Own) {
            self.directory(at, 0o755);
        } else {
            self.private(at, 0o755, DEVICE);
            self.seals.push(beneath(at));
        }
        let host = AbsolutePath::root().join(b"dev");
        for name in ["null", "zero", "full", "random", "urandom", "tty"] {
            let source = host.join(name.as_bytes());
            self.bind(&source, &at.join(name.as_bytes()), TreeKind::File, DEVICE, &[]);
        }
        if let Some(terminal) = terminal {
            self.bind(terminal, &at.join(b"console"), TreeKind::File, DEVICE, &[]);
        }
        for device in devices {
            let inside = at.join_all(device.components().skip(host.components().count()));
            self.bind(device, &inside, TreeKind::File, DEVICE, &[]);
        }
        self.fresh(FileSystem::Terminals, &at.join(b"pts"), DEVICE);
        self.private(&at.join(b"shm"), 0o1777, OWN);
        for (name, target) in [
            ("ptmx", "pts/ptmx"),
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ] {
            self.link(&at.join(name.as_bytes()), target.as_bytes());
        }
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
        let (mounted, found) = self.above(&parent)?;
        if found == Found::Foreign {
            return None;
        }
        if parent != mounted && !self.made.contains(&parent) {
            self.directory(&parent, 0o755);
        }
        Some(match found {
            Found::Passage(name) => {
                let inside = at.as_bytes().strip_prefix(mounted.as_bytes()).unwrap_or_default();
                (Ground::Store, text(&[number(name).as_bytes(), inside].concat()))
            }
            _ => (Ground::Root, beneath(at)),
        })
    }

    /// What lies at a place or is the nearest above it, and where that is.
    fn above(&self, at: &AbsolutePath) -> Option<(AbsolutePath, Found)> {
        std::iter::successors(Some(at.clone()), AbsolutePath::parent)
            .find_map(|place| self.places.get(&place).map(|found| (place.clone(), *found)))
    }

    /// What the directory lies on that a place is in.
    fn parent(&self, at: &AbsolutePath) -> Option<Found> {
        self.above(&at.parent()?).map(|(_, found)| found)
    }

    /// A place as it is mounted at: through the host's files, or over own ground alone.
    fn place(&self, at: &AbsolutePath) -> Place {
        let above = std::iter::successors(at.parent(), AbsolutePath::parent);
        let own = above.filter_map(|place| self.places.get(&place)).all(|found| *found == Found::Own);
        if own { Place::Own(beneath(at)) } else { Place::Host(beneath(at)) }
    }
}

fn attributes(writing: Writing, executing: Executing, devices: Devices) -> Attributes {
    let when = |refused: bool, attribute| if refused { attribute } else { 0 };
    mount::NO_SETUID
        | when(writing == Writing::Refused, mount::READ_ONLY)
        | when(executing == Executing::Refused, mount::NO_EXECUTION)
        | when(devices == Devices::Refused, mount::NO_DEVICES)
}

/// A number as a name.
fn number(number: usize) -> CString {
    text(number.to_string().as_bytes())
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
