//! What the host had where an overlay was written.
//!
//! A layer does not say from what it was made. So the host's side is looked at when a run ends, at each place that the run was
//! the first to write, and kept. What the kernel last changed after that run had begun may have been changed before or after it
//! was written: that is kept as unsure, and counts as changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use fence_compiler::bytes::{AbsolutePath, escape, unescape};
use nix::sys::stat::FileStat;
use serde::{Deserialize, Serialize};

use super::Error;
use super::change::{Conflict, DEEPEST, source};
use super::folder::Place;
use super::tree::{At, Node, NodeKind, is_whiteout, joined, names, open_below, open_top};
use crate::linux::is_opaque_directory as is_opaque;
use crate::load::to_path;

/// The version of the file.
const VERSION: u32 = 1;

/// A time of the kernel's: seconds and nanoseconds.
pub(super) type Time = (i64, i64);

/// What the host had, by where below the place.
#[derive(Clone, Debug, Default)]
pub(super) struct Base {
    /// When the run began that last wrote.
    since: Option<Time>,
    /// Whether the host's side of what that run wrote has still to be looked at.
    pending: bool,
    entries: BTreeMap<Vec<u8>, Was>,
    /// The places of which all that the host had is among the entries: what is there now and not among them is new.
    whole: BTreeSet<Vec<u8>>,
}

/// What was at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Was {
    /// Nothing.
    Missing,
    /// This.
    There(Mark),
    /// Something that was changed while the run went on.
    Unsure,
}

/// What tells that something is still what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    kind: String,
    mode: u32,
    /// Nothing of the rest is told of directories: it changes with what they hold.
    file: u64,
    size: i64,
    modified: Time,
    changed: Time,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    since: Option<Time>,
    pending: bool,
    entries: BTreeMap<String, Was>,
    whole: Vec<String>,
}

impl Mark {
    fn new(node: &Node, found: &FileStat) -> Mark {
        let mark = Mark {
            kind: node.kind.word().to_owned(),
            mode: node.mode,
            file: 0,
            size: 0,
            modified: (0, 0),
            changed: (0, 0),
        };
        if node.kind == NodeKind::Directory {
            return mark;
        }
        Mark {
            file: found.st_ino,
            size: found.st_size,
            modified: (found.st_mtime, found.st_mtime_nsec),
            changed: (found.st_ctime, found.st_ctime_nsec),
            ..mark
        }
    }
}

impl Base {
    /// Reads what was kept.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn read(place: &Place) -> Result<Base, Error> {
        let file = place.kept().join(b"base");
        let damaged = |error: serde_json::Error| Error::system("read", &file)(error.into());
        let text = match fs::read(to_path(&file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Base::default()),
            other => other.map_err(Error::system("read", &file))?,
        };
        let Written { since, pending, entries, whole, .. } =
            serde_json::from_slice(&text).map_err(damaged)?;
        let entries = entries.into_iter().filter_map(|(path, was)| Some((unescape(&path)?, was)));
        let whole = whole.iter().filter_map(|path| unescape(path));
        Ok(Base { since, pending, entries: entries.collect(), whole: whole.collect() })
    }

    /// Keeps it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(&self, place: &Place) -> Result<(), Error> {
        let (file, beside) = (place.kept().join(b"base"), place.kept().join(b"base-new"));
        let entries = self.entries.iter().map(|(path, was)| (escape(path).into_owned(), was.clone()));
        let whole = self.whole.iter().map(|path| escape(path).into_owned());
        let written = Written {
            version: VERSION,
            since: self.since,
            pending: self.pending,
            entries: entries.collect(),
            whole: whole.collect(),
        };
        let text =
            serde_json::to_vec(&written).map_err(|error| Error::system("write", &file)(error.into()))?;
        fs::write(to_path(&beside), text)
            .and_then(|()| fs::rename(to_path(&beside), to_path(&file)))
            .map_err(Error::system("write", &file))
    }

    /// Begins a run: what the host changes from now on may have been changed before or after it was written.
    ///
    /// # Errors
    /// It cannot be written down.
    pub(super) fn begin(&mut self, place: &Place) -> Result<(), Error> {
        let clock = place.kept().join(b"clock");
        // The time that the kernel gives to changes of files is not quite that of the clock.
        let now = fs::write(to_path(&clock), b"").and_then(|()| fs::metadata(to_path(&clock)));
        let now = now.map_err(Error::system("write", &clock))?;
        self.since = Some((now.ctime(), now.ctime_nsec()));
        self.pending = true;
        self.write(place)
    }

    /// Looks at the host's side of everything that the last run was the first to write, and forgets what is no longer in
    /// the layer.
    ///
    /// # Errors
    /// Something cannot be read.
    pub(super) fn record(&mut self, place: &Place) -> Result<(), Error> {
        let (Some(since), true) = (self.since, self.pending) else { return Ok(()) };
        let mut recorder = Recorder::new(std::mem::take(self), since);
        recorder.place(place).map_err(Error::system("compare", place.over()))?;
        *self = Base { since: Some(since), pending: false, ..recorder.seen };
        Ok(())
    }

    /// Forgets a place and everything below it: what the host has there is what was put there.
    pub(super) fn forget(&mut self, below: &[u8]) {
        self.entries.retain(|path, _| !is_below(path, below));
        self.whole.retain(|path| !is_below(path, below));
    }

    /// What the host did since to a place, or to anything in it.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub(super) fn conflict(
        &self,
        over: &AbsolutePath,
        below: &[u8],
        reach: Reach,
    ) -> io::Result<Option<Conflict>> {
        let now = Recorder::now(over, below, reach)?;
        for (path, now) in &now {
            return Ok(Some(match (self.entries.get(path), now) {
                (Some(Was::Unsure), _) => Conflict::Meanwhile,
                (Some(was), now) if was == now => continue,
                (None, Was::Missing) => continue,
                (None | Some(Was::Missing), _) => Conflict::Appeared,
                (Some(Was::There(_)), Was::Missing) => Conflict::Vanished,
                (Some(Was::There(_)), _) => Conflict::Changed,
            }));
        }
        if reach == Reach::Alone {
            return Ok(None);
        }
        let hidden = self.entries.range(below.to_vec()..).take_while(|(path, _)| path.starts_with(below));
        let gone = hidden
            .filter(|(path, was)| is_below(path, below) && **was != Was::Missing)
            .any(|(path, _)| !now.contains_key(path));
        Ok(gone.then_some(Conflict::Vanished))
    }

    /// Whether something is what was at a place, wherever it has been moved.
    pub(super) fn fits(&self, below: &[u8], node: &Node, found: &FileStat) -> bool {
        let Some(Was::There(was)) = self.entries.get(below) else { return false };
        let changed = was.changed;
        *was == Mark { changed, ..Mark::new(node, found) }
    }
}

/// How much of a place is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// What lies there.
    Alone,
    /// Everything in it, too: nothing of it is seen in the overlay.
    Everything,
}

/// Whether a path is another or lies below it.
fn is_below(path: &[u8], above: &[u8]) -> bool {
    above.is_empty() || path.strip_prefix(above).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

struct Recorder {
    known: Base,
    since: Time,
    seen: Base,
}

/// Whether the host's entries are seen in a directory of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// They are, but for those that the layer has something for.
    Through,
    /// None is: the directory was made anew, or lies in one that was.
    Covered,
}

impl Sight {
    /// Of a directory of a layer that lies in one of this sight.
    pub(super) fn within(self, directory: &OwnedFd) -> Sight {
        if is_opaque(directory) { Sight::Covered } else { self }
    }
}

impl Recorder {
    fn new(known: Base, since: Time) -> Recorder {
        Recorder { known, since, seen: Base::default() }
    }

    fn place(&mut self, place: &Place) -> io::Result<()> {
        let (folder, name) = source(place);
        let Some(folder) = open_top(folder)? else { return Ok(()) };
        let here = At { directory: &folder, name };
        if here.look()?.is_none() {
            return Ok(());
        }
        match place {
            Place::Layer { over, .. } => {
                let entered = here.enter()?;
                self.directory(b"", &entered.directory, open_top(over)?.as_ref(), Sight::Through, 0)
            }
            Place::Copy { of, .. } => {
                let parent = of.parent().map(|parent| open_top(&parent)).transpose()?.flatten();
                self.note(b"", parent.as_ref(), of.name().unwrap_or_default())
            }
        }
    }

    fn directory(
        &mut self,
        below: &[u8],
        upper: &OwnedFd,
        host: Option<&OwnedFd>,
        sight: Sight,
        depth: usize,
    ) -> io::Result<()> {
        let sight = sight.within(upper);
        if depth > DEEPEST {
            // Nothing is shown of it either.
            return Ok(());
        }
        let held = names(upper)?;
        let settled = sight == Sight::Covered && self.known.whole.contains(below);
        if sight == Sight::Covered
            && let Some(host) = host
        {
            for name in names(host)? {
                let path = joined(below, &name);
                if held.binary_search(&name).is_ok() || settled && self.is_new(&path) {
                    continue;
                }
                self.hidden(&path, host, &name, depth)?;
            }
        }
        if sight == Sight::Covered {
            self.seen.whole.insert(below.to_vec());
        }
        for name in held {
            let path = joined(below, &name);
            if settled {
                self.is_new(&path);
            }
            let here = At { directory: upper, name: &name };
            let Some((node, found)) = here.look()? else { continue };
            let is_directory = node.kind == NodeKind::Directory && !is_whiteout(&found);
            match host {
                Some(host) if !is_directory => self.hidden(&path, host, &name, depth)?,
                host => self.note(&path, host, &name)?,
            }
            if is_directory {
                let host = host.map(|host| open_below(host, &name)).transpose()?.flatten();
                let entered = here.enter()?;
                self.directory(&path, &entered.directory, host.as_ref(), sight, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Notes what the host has at a place of which nothing is seen in the layer, with everything in it.
    fn hidden(&mut self, path: &[u8], host: &OwnedFd, name: &[u8], depth: usize) -> io::Result<()> {
        if self.known.whole.contains(path) {
            let entries = self.known.entries.iter().filter(|(known, _)| is_below(known, path));
            self.seen.entries.extend(entries.map(|(known, was)| (known.clone(), was.clone())));
            self.seen.whole.extend(self.known.whole.iter().filter(|known| is_below(known, path)).cloned());
            return Ok(());
        }
        self.seen.whole.insert(path.to_vec());
        self.note(path, Some(host), name)?;
        let here = At { directory: host, name };
        let is_directory = here.look()?.is_some_and(|(node, _)| node.kind == NodeKind::Directory);
        if is_directory
            && depth <= DEEPEST
            && let Some(directory) = open_below(host, name)?
        {
            for name in names(&directory)? {
                self.hidden(&joined(path, &name), &directory, &name, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Takes a place of which nothing is known, where all that the host had is, for one where there was nothing.
    fn is_new(&mut self, path: &[u8]) -> bool {
        let is_new = !self.known.entries.contains_key(path);
        if is_new {
            self.known.entries.insert(path.to_vec(), Was::Missing);
            self.seen.entries.insert(path.to_vec(), Was::Missing);
        }
        is_new
    }

    fn note(&mut self, path: &[u8], host: Option<&OwnedFd>, name: &[u8]) -> io::Result<()> {
        let was = match self.known.entries.get(path) {
            Some(was) => was.clone(),
            None => match host.map(|directory| At { directory, name }.look()).transpose()?.flatten() {
                None => Was::Missing,
                Some((node, found)) => {
                    let late = (found.st_ctime, found.st_ctime_nsec) > self.since;
                    if late && node.kind != NodeKind::Directory {
                        Was::Unsure
                    } else {
                        Was::There(Mark::new(&node, &found))
                    }
                }
            },
        };
        self.seen.entries.insert(path.to_vec(), was);
        Ok(())
    }

    /// The host's side of a place now.
    fn now(over: &AbsolutePath, below: &[u8], reach: Reach) -> io::Result<BTreeMap<Vec<u8>, Was>> {
        let whole = whole(over, below);
        let parent = whole.parent().map(|parent| open_top(&parent)).transpose()?.flatten();
        let mut recorder = Recorder::new(Base::default(), (i64::MAX, 0));
        let name = whole.name().unwrap_or_default();
        match (&parent, reach) {
            (Some(parent), Reach::Everything) => recorder.hidden(below, parent, name, 0)?,
            (parent, _) => recorder.note(below, parent.as_ref(), name)?,
        }
        Ok(recorder.seen.entries)
    }
}

/// The path of the host that something below a place stands for.
pub(super) fn whole(over: &AbsolutePath, below: &[u8]) -> AbsolutePath {
    let names = below.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    over.join_all(names)
}
