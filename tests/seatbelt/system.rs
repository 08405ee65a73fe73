//! System calls as the checks they make, over a file tree with links.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::profile::{Profile, Reading, Request};
use crate::table::{Table, catalina};

/// A number that stays with a thing whatever it is called.
pub type Object = u32;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    File,
    Directory,
    Link(String),
}

/// What lies where.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tree {
    nodes: BTreeMap<String, (Object, Kind)>,
    next: Object,
}

impl Tree {
    pub fn with(mut self, path: &str, kind: Kind) -> Tree {
        for (at, _) in path.match_indices('/').skip(1) {
            let above = path[..at].to_owned();
            if !self.nodes.contains_key(&above) {
                self.add(above, Kind::Directory);
            }
        }
        self.add(path.to_owned(), kind);
        self
    }

    fn add(&mut self, path: String, kind: Kind) {
        self.next += 1;
        self.nodes.insert(path, (self.next, kind));
    }

    pub fn paths(&self) -> impl Iterator<Item = (&str, Object, &Kind)> {
        self.nodes.iter().map(|(path, (object, kind))| (path.as_str(), *object, kind))
    }

    fn is_directory(&self, path: &str) -> bool {
        path.is_empty()
            || path == "/"
            || self.nodes.get(path).is_some_and(|(_, kind)| *kind == Kind::Directory)
    }
}

/// A process under a profile, in one reading.
pub struct System<'a> {
    pub profile: &'a Profile,
    pub table: &'static Table,
    pub reading: Reading,
    /// What was asked before.
    known: RefCell<BTreeMap<(&'static str, String), bool>>,
}

impl<'a> System<'a> {
    pub fn new(profile: &'a Profile, reading: Reading) -> System<'a> {
        System { profile, table: catalina(), reading, known: RefCell::default() }
    }

    fn may(&self, operation: &'static str, path: &str) -> bool {
        let key = (operation, path.to_owned());
        if let Some(known) = self.known.borrow().get(&key) {
            return *known;
        }
        let request = Request::path(path.as_bytes());
        let answer = self.profile.allows(self.table, operation, &request, self.reading);
        self.known.borrow_mut().insert(key, answer);
        answer
    }

    /// Follows links; each one needs its metadata.
    pub fn resolve(&self, tree: &Tree, path: &str) -> Option<String> {
        self.walk(tree, path, true)
    }

    /// The same, but the last name is taken as it is.
    pub fn resolve_parent(&self, tree: &Tree, path: &str) -> Option<String> {
        self.walk(tree, path, false)
    }

    fn walk(&self, tree: &Tree, path: &str, last: bool) -> Option<String> {
        let mut rest: Vec<String> =
            path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        rest.reverse();
        let mut at = String::new();
        let mut links = 0;
        while let Some(name) = rest.pop() {
            if name == ".." {
                at.truncate(at.rfind('/').unwrap_or(0));
                continue;
            }
            let next = format!("{at}/{name}");
            match tree.nodes.get(&next) {
                Some((_, Kind::Link(text))) if last || !rest.is_empty() => {
                    links += 1;
                    if links > 32 || !self.may("file-read-metadata", &next) {
                        return None;
                    }
                    if text.starts_with('/') {
                        at.clear();
                    }
                    let names = text.split('/').filter(|name| !name.is_empty() && *name != ".");
                    rest.extend(names.map(str::to_owned).collect::<Vec<_>>().into_iter().rev());
                }
                _ => at = next,
            }
        }
        Some(if at.is_empty() { "/".to_owned() } else { at })
    }

    pub fn open_to_read(&self, tree: &Tree, path: &str) -> bool {
        self.resolve(tree, path).is_some_and(|path| self.may("file-read-data", &path))
    }

    pub fn open_to_write(&self, tree: &Tree, path: &str) -> bool {
        self.resolve(tree, path).is_some_and(|path| {
            let operation =
                if tree.nodes.contains_key(&path) { "file-write-data" } else { "file-write-create" };
            self.may(operation, &path)
        })
    }

    pub fn stat(&self, tree: &Tree, path: &str) -> bool {
        self.resolve(tree, path).is_some_and(|path| self.may("file-read-metadata", &path))
    }

    pub fn readlink(&self, tree: &Tree, path: &str) -> bool {
        self.resolve_parent(tree, path).is_some_and(|path| self.may("file-read-metadata", &path))
    }

    pub fn exec(&self, tree: &Tree, path: &str) -> bool {
        self.resolve(tree, path).is_some_and(|path| self.may("process-exec*", &path))
    }

    /// Connects to a Unix socket.
    pub fn connect(&self, tree: &Tree, path: &str) -> bool {
        self.resolve(tree, path).is_some_and(|path| self.may("network-outbound", &path))
    }

    pub fn bind(&self, tree: &Tree, path: &str) -> bool {
        self.resolve_parent(tree, path)
            .is_some_and(|path| !tree.nodes.contains_key(&path) && self.may("network-bind", &path))
    }

    pub fn mkdir(&self, tree: &Tree, path: &str) -> Option<Tree> {
        let path = self.resolve_parent(tree, path)?;
        let parent = &path[..path.rfind('/')?];
        if tree.nodes.contains_key(&path)
            || !tree.is_directory(parent)
            || !self.may("file-write-create", &path)
        {
            return None;
        }
        let mut tree = tree.clone();
        tree.add(path, Kind::Directory);
        Some(tree)
    }

    pub fn unlink(&self, tree: &Tree, path: &str) -> Option<Tree> {
        let path = self.resolve_parent(tree, path)?;
        let empty = !tree.nodes.keys().any(|other| other.starts_with(&format!("{path}/")));
        if !tree.nodes.contains_key(&path) || !empty || !self.may("file-write-unlink", &path) {
            return None;
        }
        let mut tree = tree.clone();
        tree.nodes.remove(&path);
        Some(tree)
    }

    /// Moves a thing and everything beneath, over what may be there.
    pub fn rename(&self, tree: &Tree, from: &str, to: &str) -> Option<Tree> {
        let (from, to) = (self.resolve_parent(tree, from)?, self.resolve_parent(tree, to)?);
        let parent = &to[..to.rfind('/')?];
        let inside = format!("{from}/");
        if from == to
            || to.starts_with(&inside)
            || !tree.nodes.contains_key(&from)
            || !tree.is_directory(parent)
        {
            return None;
        }
        if tree.nodes.keys().any(|other| other.starts_with(&format!("{to}/"))) {
            return None;
        }
        if !self.may("file-write-unlink", &from) || !self.may("file-write-create", &to) {
            return None;
        }
        let mut moved = tree.clone();
        moved.nodes.remove(&to);
        let names: Vec<String> =
            tree.nodes.keys().filter(|path| **path == from || path.starts_with(&inside)).cloned().collect();
        for path in names {
            let node = moved.nodes.remove(&path)?;
            moved.nodes.insert(format!("{to}{}", &path[from.len()..]), node);
        }
        Some(moved)
    }

    /// Gives a file another name.
    pub fn link(&self, tree: &Tree, from: &str, to: &str) -> Option<Tree> {
        let (from, to) = (self.resolve_parent(tree, from)?, self.resolve_parent(tree, to)?);
        let (object, kind) = tree.nodes.get(&from)?.clone();
        let parent = &to[..to.rfind('/')?];
        if kind == Kind::Directory || tree.nodes.contains_key(&to) || !tree.is_directory(parent) {
            return None;
        }
        if !self.may("file-link", &from) || !self.may("file-write-create", &to) {
            return None;
        }
        let mut tree = tree.clone();
        tree.nodes.insert(to, (object, kind));
        Some(tree)
    }
}

/// Each call asks what it should: what a link leads to decides, and the link itself must be seen.
#[test]
fn calls_ask_about_what_they_touch() {
    let text = "(version 1)\n(deny default)\n(allow file-read* file-write* process-exec* network* (subpath \"/w\"))\n\
                (deny file-read* (literal \"/w/closed\"))\n(deny file-write-unlink (literal \"/w/kept\"))";
    let profile = Profile::new(text, &BTreeMap::new(), catalina()).unwrap();
    let tree = Tree::default()
        .with("/w/f", Kind::File)
        .with("/w/kept", Kind::File)
        .with("/w/link", Kind::Link("f".into()))
        .with("/w/out", Kind::Link("/etc/hosts".into()))
        .with("/w/closed", Kind::Link("/w/f".into()))
        .with("/etc/hosts", Kind::File);
    let system = System::new(&profile, Reading::likely());
    assert!(system.open_to_read(&tree, "/w/link") && system.stat(&tree, "/w/link"));
    assert!(system.readlink(&tree, "/w/out") && !system.open_to_read(&tree, "/w/out"));
    assert!(!system.readlink(&tree, "/w/closed") && !system.open_to_read(&tree, "/w/closed"));
    assert!(system.exec(&tree, "/w/f") && !system.exec(&tree, "/etc/hosts"));
    assert!(system.connect(&tree, "/w/s") && !system.connect(&tree, "/etc/s"));
    assert!(system.bind(&tree, "/w/s") && !system.bind(&tree, "/w/f"));
    assert!(system.unlink(&tree, "/w/f").is_some() && system.unlink(&tree, "/w/kept").is_none());
    assert!(system.open_to_write(&tree, "/w/new") && !system.open_to_write(&tree, "/etc/hosts"));
}
