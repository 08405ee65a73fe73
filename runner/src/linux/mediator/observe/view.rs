//! What lies at a path inside, and on the host where there is nothing inside; and what the kernel will make of a call on it.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::plan::{LandlockPlan, LandlockRule};
use fence_compiler::policy::PathAction;
use fence_compiler::question::Decision;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{AccessFlags, access};

use super::asked::{Deed, Missing};
use super::host;
use crate::launch::Arbiter;
use crate::linux::mediator::files::ground::{Last, Named, Tree, components, with};
use crate::linux::mediator::files::rules::Rules;
use crate::linux::mediator::place::{MOST_LINKS, kind, know};
use crate::linux::sys::file;

/// The sandbox as somebody sees it who only looks.
pub(super) struct View {
    root: OwnedFd,
    tree: Tree,
    rules: Rules,
    landlock: Vec<LandlockRule>,
    workspace: Option<AbsolutePath>,
}

/// Where a path leads.
pub(super) struct Place {
    /// The whole path, no component of it a link as far as it is there.
    pub(super) path: AbsolutePath,
    /// The paths by which it was reached.
    spellings: Vec<AbsolutePath>,
    /// How many components at its end are not there inside.
    missing: usize,
}

/// What the kernel will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It carries the call out.
    Done,
    /// It does not, because of how the sandbox was made.
    Refused,
    /// It does not, as it would not without a sandbox; or nobody can tell.
    Otherwise,
}

impl View {
    /// The sandbox that a thread is in.
    pub(super) fn of(thread: i32, arbiter: &dyn Arbiter, landlock: &LandlockPlan) -> Result<View, Errno> {
        let tree = Tree::of(thread, &[])?;
        let rules = Rules::new(arbiter, &tree, &[]);
        let root = know(format!("/proc/{thread}/root").as_str())?;
        Ok(View { root, tree, rules, landlock: landlock.rules.clone(), workspace: arbiter.workspace() })
    }

    /// Looks at the links again that rules lead through.
    pub(super) fn refresh(&mut self, arbiter: &dyn Arbiter) {
        self.rules.refresh(arbiter, &self.tree);
    }

    /// What the rules say.
    pub(super) fn decide(&self, action: PathAction, place: &Place) -> Decision {
        self.rules.decide(action, &place.path, &place.spellings)
    }

    /// Whether a path is in the workspace.
    pub(super) fn is_in_workspace(&self, path: &AbsolutePath) -> bool {
        self.workspace.as_ref().is_some_and(|workspace| path.is_within(workspace))
    }

    /// Walks a path: what is not there is taken for a plain name.
    pub(super) fn place(&self, thread: i32, named: &Named, last: Last) -> Result<Place, Errno> {
        if named.path.is_empty() {
            return Err(Errno::ENOENT);
        }
        let mut rest = components(&named.path);
        let last = if named.path.ends_with(b"/") { Last::Followed } else { last };
        let mut at = match named.directory {
            _ if named.path.first() == Some(&b'/') => AbsolutePath::root(),
            libc::AT_FDCWD => told(&format!("/proc/{thread}/cwd"))?,
            number => told(&format!("/proc/{thread}/fd/{number}"))?,
        };
        let mut spellings = Vec::new();
        if rest.iter().any(|name| name == b"..") {
            spellings.push(with(&at, &rest));
        }
        let (mut missing, mut followed) = (0_usize, 0);
        while let Some(name) = rest.pop() {
            match name.as_slice() {
                b"." => continue,
                b".." => {
                    missing = missing.saturating_sub(1);
                    at = at.parent().unwrap_or(at);
                    continue;
                }
                _ => {}
            }
            let next = at.join(&name);
            if missing > 0 {
                missing += 1;
                at = next;
                continue;
            }
            match self.link(&next) {
                Ok(_) if rest.is_empty() && last == Last::Kept => at = next,
                Ok(target) => {
                    followed += 1;
                    if followed > MOST_LINKS {
                        return Err(Errno::ELOOP);
                    }
                    if spellings.is_empty() {
                        spellings.push(with(&at, &[rest.as_slice(), &[name]].concat()));
                    }
                    if target.first() == Some(&b'/') {
                        at = AbsolutePath::root();
                    }
                    rest.extend(components(&target));
                    spellings.push(with(&at, &rest));
                }
                Err(Errno::EINVAL) => at = next,
                Err(_) => {
                    missing = 1;
                    at = next;
                }
            }
        }
        Ok(Place { path: at, spellings, missing })
    }

    /// What a link holds; `EINVAL` if something else is there.
    fn link(&self, path: &AbsolutePath) -> Result<Vec<u8>, Errno> {
        let below = below(path)?;
        readlinkat(&self.root, below.as_c_str()).map(|text| text.as_bytes().to_vec())
    }

    /// What the kernel will make of a call.
    pub(super) fn foretell(&self, deed: Deed, place: &Place) -> Fate {
        if place.missing > 0 {
            return match deed {
                Deed::Make | Deed::Replace | Deed::Write(Missing::Made) => self.foretell_making(place),
                Deed::Execute => hidden(place, |found| kind(found) == SFlag::S_IFREG),
                Deed::Connect => hidden(place, |found| kind(found) == SFlag::S_IFSOCK),
                _ => hidden(place, |_| true),
            };
        }
        if !self.lets(deed, &place.path) {
            return Fate::Refused;
        }
        let Ok(file) = self.open(place) else { return Fate::Otherwise };
        let Ok(found) = fstat(&file) else { return Fate::Otherwise };
        match deed {
            Deed::Read => may(&file, AccessFlags::R_OK),
            Deed::Write(_) if kind(&found) == SFlag::S_IFDIR => Fate::Otherwise,
            Deed::Write(_) => may(&file, AccessFlags::W_OK),
            Deed::Make => Fate::Otherwise,
            Deed::Remove | Deed::Replace => self.foretell_removing(place, &file),
            Deed::Change if is_read_only(&file) => Fate::Refused,
            Deed::Change => Fate::Done,
            Deed::Execute if kind(&found) == SFlag::S_IFREG => may(&file, AccessFlags::X_OK),
            Deed::Execute => Fate::Otherwise,
            Deed::Connect if kind(&found) == SFlag::S_IFSOCK => may(&file, AccessFlags::W_OK),
            // Something else stands in its place.
            Deed::Connect => hidden(place, |found| kind(found) == SFlag::S_IFSOCK),
        }
    }

    /// Whether Landlock lets a call through, which knows neither metadata nor sockets.
    fn lets(&self, deed: Deed, path: &AbsolutePath) -> bool {
        let grants = |rule: &LandlockRule| match deed {
            Deed::Read => rule.read,
            Deed::Execute => rule.execute,
            Deed::Write(_) | Deed::Make | Deed::Remove | Deed::Replace => rule.write,
            Deed::Change | Deed::Connect => true,
        };
        self.landlock.iter().any(|rule| grants(rule) && path.is_within(&rule.path))
    }

    /// The same for a name that is not there yet.
    fn foretell_making(&self, place: &Place) -> Fate {
        let Some(parent) = place.path.parent() else { return Fate::Otherwise };
        if place.missing > 1 {
            let is_there = host::status(&parent).is_some_and(|found| kind(&found) == SFlag::S_IFDIR);
            return if is_there { Fate::Refused } else { Fate::Otherwise };
        }
        if !self.lets(Deed::Make, &place.path) {
            return Fate::Refused;
        }
        match self.know(&parent) {
            Ok(parent) => may(&parent, AccessFlags::W_OK | AccessFlags::X_OK),
            Err(_) => Fate::Otherwise,
        }
    }

    /// The same for a name that loses what it has: nothing that is mounted there, and in no directory that cannot be written.
    fn foretell_removing(&self, place: &Place, file: &OwnedFd) -> Fate {
        let Some(parent) = place.path.parent().and_then(|parent| self.know(&parent).ok()) else {
            return Fate::Otherwise;
        };
        let mount = |file: &OwnedFd| file::status(file.as_raw_fd(), c"").map(|status| status.mount);
        match (mount(&parent), mount(file)) {
            (Ok(around), Ok(own)) if around != own => Fate::Refused,
            (Ok(_), Ok(_)) => may(&parent, AccessFlags::W_OK | AccessFlags::X_OK),
            _ => Fate::Otherwise,
        }
    }

    /// Whether what a call changes is the host's own, and not of a file system that ends with the run.
    pub(super) fn is_of_the_host(&self, deed: Deed, place: &Place) -> bool {
        let whole = place.missing == 0 && !matches!(deed, Deed::Make | Deed::Remove | Deed::Replace);
        let path = if whole { Some(place.path.clone()) } else { place.path.parent() };
        let Some(path) = path else { return false };
        let here = self.know(&path).and_then(|file| fstat(&file));
        let same =
            |here: &FileStat, there: &FileStat| (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino);
        here.is_ok_and(|here| host::status(&path).is_some_and(|there| same(&here, &there)))
    }

    /// Opens what lies at a place, for nothing but to know it.
    pub(super) fn open(&self, place: &Place) -> Result<OwnedFd, Errno> {
        self.know(&place.path)
    }

    fn know(&self, path: &AbsolutePath) -> Result<OwnedFd, Errno> {
        let below = below(path).unwrap_or_else(|_| c".".to_owned());
        let how = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.root, below.as_c_str(), how, Mode::empty())
    }
}

/// Whether a place that is not there inside is refused: on the host there is something of this kind.
fn hidden(place: &Place, is_kind: impl Fn(&FileStat) -> bool) -> Fate {
    let is_there = host::status(&place.path).is_some_and(|found| is_kind(&found));
    if is_there { Fate::Refused } else { Fate::Otherwise }
}

/// Whether this process, which has the caller's rights to files, would be let.
fn may(file: &OwnedFd, how: AccessFlags) -> Fate {
    match access(format!("/proc/self/fd/{}", file.as_raw_fd()).as_str(), how) {
        Ok(()) => Fate::Done,
        Err(Errno::EACCES | Errno::EROFS | Errno::EPERM) => Fate::Refused,
        Err(_) => Fate::Otherwise,
    }
}

fn is_read_only(file: &OwnedFd) -> bool {
    fstatvfs(file).is_ok_and(|system| system.flags().contains(FsFlags::ST_RDONLY))
}

/// A path from the root on, which it does not begin with.
fn below(path: &AbsolutePath) -> Result<CString, Errno> {
    let below = path.as_bytes().get(1..).filter(|below| !below.is_empty()).ok_or(Errno::EINVAL)?;
    CString::new(below).map_err(|_| Errno::ENOENT)
}

/// The path of a directory of a process, as the kernel tells it.
fn told(link: &str) -> Result<AbsolutePath, Errno> {
    let text = readlinkat(AT_FDCWD, link)?;
    AbsolutePath::new(text.as_bytes()).ok_or(Errno::ENOENT)
}
