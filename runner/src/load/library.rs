//! Where an `include` finds its text.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::source::{LoadError, Loader, Origin, Reference, Source};

use super::{ReadError, Trustees, USER, built_in, display_name, known_names, read, to_path, user_policy};

/// Every policy that can be had: the built-in ones, the person's own, the machine's, and files.
///
/// It remembers which text included which, for the closure that `fence trust` records.
#[derive(Debug)]
pub struct Library {
    home: AbsolutePath,
    uid: u32,
    cwd: AbsolutePath,
    included: RefCell<BTreeMap<Origin, BTreeMap<Origin, String>>>,
    texts: RefCell<BTreeMap<Origin, String>>,
    asked: RefCell<BTreeSet<AbsolutePath>>,
}

impl Library {
    /// The library of a person who works in a directory.
    #[must_use]
    pub fn new(home: AbsolutePath, uid: u32, cwd: AbsolutePath) -> Library {
        Library {
            home,
            uid,
            cwd,
            included: RefCell::default(),
            texts: RefCell::default(),
            asked: RefCell::default(),
        }
    }

    /// A policy file that the person named or that was found; a relative path counts from the caller's directory.
    ///
    /// # Errors
    /// Says why it cannot be read.
    pub fn file(&self, path: &Path) -> Result<Source, ReadError> {
        self.asked.borrow_mut().extend(spelled(path, &self.cwd));
        let real = path.canonicalize().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => ReadError::Missing,
            std::io::ErrorKind::PermissionDenied => ReadError::System("permission denied".to_owned()),
            _ => ReadError::System(error.to_string()),
        })?;
        let path = AbsolutePath::new(real.as_os_str().as_bytes()).ok_or(ReadError::Missing)?;
        let text = read(&path, Trustees::Anybody)?;
        Ok(Source { name: display_name(&path, &self.cwd), origin: Origin::File(path), text })
    }

    /// The names under which files were asked for: links among them lead to what was read.
    #[must_use]
    pub fn asked(&self) -> BTreeSet<AbsolutePath> {
        self.asked.borrow().clone()
    }

    /// The person's own policy; `None` where there is none.
    ///
    /// # Errors
    /// It is there and cannot be taken: a policy of one's own is never passed over.
    pub fn user(&self) -> Result<Option<Source>, ReadError> {
        let path = user_policy(&self.home);
        self.standing(&path, Trustees::User(self.uid), Origin::User)
    }

    /// The machine's policy; `None` where there is none, or root does not own it alone.
    ///
    /// # Errors
    /// It is root's and cannot be read.
    pub fn machine(&self, path: &AbsolutePath) -> Result<Option<Source>, ReadError> {
        match self.standing(path, Trustees::Root, Origin::Machine) {
            Err(ReadError::Owner { .. } | ReadError::Writable { .. }) => Ok(None),
            other => other,
        }
    }

    fn standing(
        &self,
        path: &AbsolutePath,
        trustees: Trustees,
        origin: fn(AbsolutePath) -> Origin,
    ) -> Result<Option<Source>, ReadError> {
        match read(path, trustees) {
            Ok(text) => {
                Ok(Some(Source { name: display_name(path, &self.cwd), origin: origin(path.clone()), text }))
            }
            Err(ReadError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every text that a text includes, through others too, with its own: all that its meaning hangs on.
    #[must_use]
    pub fn closure(&self, source: &Source) -> BTreeMap<Origin, String> {
        let included = self.included.borrow();
        let mut closure = BTreeMap::from([(source.origin.clone(), source.text.clone())]);
        let mut open = vec![source.origin.clone()];
        let mut seen = BTreeSet::new();
        while let Some(origin) = open.pop() {
            if !seen.insert(origin.clone()) {
                continue;
            }
            for (other, text) in included.get(&origin).into_iter().flatten() {
                closure.insert(other.clone(), text.clone());
                open.push(other.clone());
            }
        }
        closure
    }

    /// Why a name of a policy means nothing.
    fn unknown(&self) -> LoadError {
        let has_own = to_path(&user_policy(&self.home)).exists();
        let known = known_names().into_iter().filter(|name| name != USER || has_own).collect();
        LoadError::UnknownName { known }
    }

    fn find(&self, reference: &Reference<'_>, from: &Origin) -> Result<Source, LoadError> {
        let unreadable = |error: ReadError| LoadError::Unreadable { reason: error.to_string() };
        match reference {
            Reference::Name(USER) => self.user().map_err(unreadable)?.ok_or_else(|| self.unknown()),
            Reference::Name(name) => built_in(name).ok_or_else(|| self.unknown()),
            Reference::Path(path) => {
                let (Origin::File(file) | Origin::User(file) | Origin::Machine(file)) = from else {
                    return Err(LoadError::NoDirectory);
                };
                let directory = file.parent().unwrap_or_else(AbsolutePath::root);
                let trustees = match from {
                    Origin::User(_) => Trustees::User(self.uid),
                    Origin::Machine(_) => Trustees::Root,
                    _ => Trustees::Anybody,
                };
                let mut source = self.file(&to_path(&directory).join(path)).map_err(unreadable)?;
                if let Origin::File(path) = &source.origin.clone() {
                    // What a policy of one's own includes is as much one's own: read once more, with its owner.
                    if trustees != Trustees::Anybody {
                        source.text = read(path, trustees).map_err(unreadable)?;
                    }
                }
                Ok(source)
            }
        }
    }
}

/// A path as somebody spelled it, from the root on; what stands before a `..` is looked up.
pub fn spelled(path: &Path, cwd: &AbsolutePath) -> Option<AbsolutePath> {
    let whole = to_path(cwd).join(path);
    AbsolutePath::new(whole.as_os_str().as_bytes()).or_else(|| {
        let directory = whole.parent()?.canonicalize().ok()?;
        AbsolutePath::new(directory.join(whole.file_name()?).as_os_str().as_bytes())
    })
}

impl Loader for Library {
    fn load(&self, reference: Reference<'_>, from: &Origin) -> Result<Source, LoadError> {
        let mut source = self.find(&reference, from)?;
        // A text that was read before is the one that counts, for what holds and for what is trusted, whatever
        // somebody has made of its file since.
        let text = self.texts.borrow_mut().entry(source.origin.clone()).or_insert(source.text).clone();
        self.included
            .borrow_mut()
            .entry(from.clone())
            .or_default()
            .insert(source.origin.clone(), text.clone());
        source.text = text;
        Ok(source)
    }

    fn prepared(&self, source: &Source) -> Option<&'static [u8]> {
        match &source.origin {
            Origin::BuiltIn(name) => fence_policies::prepared(name),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use fence_compiler::bytes::AbsolutePath;
    use fence_compiler::source::{Loader, Origin, Reference};

    use super::Library;

    #[test]
    fn a_text_that_changes_between_two_readings_counts_as_it_was_read_first() {
        let folder = tempfile::tempdir().unwrap();
        let top = folder.path().canonicalize().unwrap();
        let at = |name: &str| AbsolutePath::new(top.join(name).as_os_str().as_bytes()).unwrap();
        let library = Library::new(at("home"), nix::unistd::getuid().as_raw(), at("work"));
        let (one, other) = (Origin::File(at("one.fence")), Origin::File(at("other.fence")));
        let read = |from: &Origin| library.load(Reference::Path("./shared.fence"), from).unwrap();
        std::fs::write(top.join("shared.fence"), "allow read /\n").unwrap();
        let first = read(&one);
        std::fs::write(top.join("shared.fence"), "deny read /\n").unwrap();
        assert_eq!(read(&other), first);
        assert!(library.closure(&first).values().all(|text| text == "allow read /\n"));
    }
}
