//! The refusal that came last, kept for `fence why --last`.
//!
//! It lies in fence's state folder, readable by its owner only. What is kept are names: of a command its first word, of
//! a request its path without what follows a `?`. A process that has given up its rights can still write it: the file is
//! opened before, and a record is one write of a fixed length.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::bail;
use fence_compiler::bytes::AbsolutePath;
use fence_compiler::question::Verdict;
use nix::sys::resource::{Resource, getrlimit};
use serde::{Deserialize, Serialize};

use super::{Event, EventRule, EventSource, Timestamp, Told};
use crate::load::to_path;
use crate::trust;

/// The version of the record's form.
const VERSION: u32 = 1;

/// The length of the file, bytes: what is shorter is filled with blanks.
const LENGTH: usize = 4096;

/// The refusal that came last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRefusal {
    /// The version of this form: 1.
    pub version: u32,
    /// When.
    pub time: Timestamp,
    /// Who refused it.
    pub source: EventSource,
    /// The policy.
    pub policy: String,
    /// The action's word.
    pub action: String,
    /// The item, names only.
    pub item: String,
    /// The rules that refused it.
    pub rules: Vec<EventRule>,
    /// The reason where no rule did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// What would allow it, where that holds names only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remedy: Option<String>,
}

impl LastRefusal {
    /// Keeps the names of what was told; `None` if it was allowed.
    #[must_use]
    pub fn of(told: &Told, policy: &str) -> Option<LastRefusal> {
        let Event { time, source, action, item, rules, reason, verdict, .. } = &told.event;
        if *verdict == Verdict::Allowed {
            return None;
        }
        let named = names_only(action, item);
        Some(LastRefusal {
            version: VERSION,
            time: *time,
            source: *source,
            policy: policy.to_owned(),
            action: action.clone(),
            rules: rules.clone(),
            reason: reason.clone(),
            remedy: told.remedy.clone().filter(|_| named == *item),
            item: named,
        })
    }

    /// The same without what may be long.
    fn shorter(&self) -> LastRefusal {
        let rules = self.rules.iter().take(1).map(|rule| EventRule { because: None, ..rule.clone() });
        LastRefusal {
            item: "…".to_owned(),
            rules: rules.collect(),
            reason: self.reason.as_ref().map(|_| "…".to_owned()),
            remedy: None,
            ..self.clone()
        }
    }

    /// As the bytes of the file; `None` if it is longer than the file.
    fn record(&self) -> Option<Vec<u8>> {
        let mut record = serde_json::to_vec(self).ok().filter(|record| record.len() < LENGTH)?;
        record.resize(LENGTH - 1, b' ');
        record.push(b'\n');
        Some(record)
    }
}

/// An item without what could hold more than names.
fn names_only(action: &str, item: &str) -> String {
    match action {
        "run" => match item.split_once(' ') {
            Some((program, _)) => format!("{program} …"),
            None => item.to_owned(),
        },
        "ssh" => match item.split_once(' ') {
            Some((host, _)) => format!("{host} …"),
            None => item.to_owned(),
        },
        "http" => match item.split_once(['?', '#']) {
            Some((path, _)) => format!("{path}?…"),
            None => item.to_owned(),
        },
        _ => item.to_owned(),
    }
}

/// The file that the last refusal is kept in, open.
#[derive(Debug)]
pub struct Keeper {
    file: File,
}

impl Keeper {
    /// Opens the file of the person with this home, and makes it where there is none.
    ///
    /// # Errors
    /// The state folder cannot be written, or somebody else could write it.
    pub fn open(home: &AbsolutePath, uid: u32) -> io::Result<Keeper> {
        // Beyond such a limit the system would end the process.
        if getrlimit(Resource::RLIMIT_FSIZE).is_ok_and(|(most, _)| most < LENGTH as u64) {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        }
        let folder = trust::own_state_folder(home, uid).map_err(io::Error::other)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(to_path(&folder.join(NAME)))?;
        Ok(Keeper { file })
    }

    /// The number of its descriptor, for a process that closes all others.
    #[must_use]
    pub fn descriptor(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.file)
    }

    /// Keeps a refusal, unless a later one is kept.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&mut self, refusal: &LastRefusal) -> io::Result<()> {
        let mut known = Vec::new();
        self.file.rewind()?;
        (&self.file).take(LENGTH as u64).read_to_end(&mut known)?;
        let later = refusal.time..=Timestamp::now();
        if read(&known).is_some_and(|known| known.time != refusal.time && later.contains(&known.time)) {
            return Ok(());
        }
        let Some(record) = refusal.record().or_else(|| refusal.shorter().record()) else { return Ok(()) };
        self.file.rewind()?;
        self.file.write_all(&record)
    }
}

const NAME: &[u8] = b"last-refusal.json";

/// The refusal that came last; `None` if none was kept.
///
/// # Errors
/// The file cannot be read, or somebody else could have written it.
pub fn last(home: &AbsolutePath, uid: u32) -> anyhow::Result<Option<LastRefusal>> {
    let folder = trust::state_folder(home);
    let path = folder.join(NAME);
    let found = match std::fs::symlink_metadata(to_path(&folder)) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => bail!("cannot look at `{folder}`: {error}"),
    };
    if !found.is_dir() {
        bail!("`{folder}` is no directory");
    }
    trust::owned(&folder, &found, uid)?;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(to_path(&path));
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => bail!("cannot open `{path}`: {error}"),
    };
    let found = file.metadata()?;
    trust::owned(&path, &found, uid)?;
    let mut text = Vec::new();
    if found.is_file() {
        file.take(LENGTH as u64).read_to_end(&mut text)?;
        if text.is_empty() {
            return Ok(None);
        }
    }
    match read(&text) {
        Some(refusal) => Ok(Some(refusal)),
        None => bail!("`{path}` holds no refusal that this fence can read; remove it"),
    }
}

fn read(text: &[u8]) -> Option<LastRefusal> {
    serde_json::from_slice(text).ok().filter(|kept: &LastRefusal| kept.version == VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::EVENT_VERSION;

    fn told(action: &str, item: &str, millis: u64) -> Told {
        let event = Event {
            event: EVENT_VERSION,
            time: Timestamp::from_unix_millis(millis),
            source: EventSource::Proxy,
            action: action.to_owned(),
            item: item.to_owned(),
            verdict: Verdict::Denied,
            rules: Vec::new(),
            reason: Some("nothing allows it".to_owned()),
            address: None,
            pid: None,
            program: None,
        };
        Told { event, remedy: Some(format!("to allow it, add: allow {action} {item}")) }
    }

    #[test]
    fn names_are_kept_and_nothing_that_could_be_a_secret() {
        for (action, item, kept) in [
            ("run", "git push https://me:secret@host/x", "git …"),
            ("run", "git", "git"),
            ("ssh", "host.example sudo -S secret", "host.example …"),
            ("http", "GET host.example/a?token=secret", "GET host.example/a?…"),
            ("connect", "host.example:443", "host.example:443"),
        ] {
            let refusal = LastRefusal::of(&told(action, item, 1), "p").unwrap();
            assert_eq!(refusal.item, kept);
            assert_eq!(refusal.remedy.is_some(), item == kept, "{item}");
            assert!(!String::from_utf8(refusal.record().unwrap()).unwrap().contains("secret"));
        }
    }

    #[test]
    fn what_is_allowed_is_no_refusal() {
        let mut allowed = told("connect", "a:1", 1);
        allowed.event.verdict = Verdict::Allowed;
        assert_eq!(LastRefusal::of(&allowed, "p"), None);
    }

    #[test]
    fn the_later_one_is_kept_whatever_its_length() {
        let folder = tempfile::tempdir().unwrap();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(folder.path().join("last"))
            .unwrap();
        let mut keeper = Keeper { file };
        let kept = || read(&std::fs::read(folder.path().join("last")).unwrap()).unwrap();
        let long = LastRefusal::of(&told("connect", &"x".repeat(9000), 7), "p").unwrap();
        keeper.keep(&long).unwrap();
        let rule = EventRule { file: "p".into(), line: 1, label: None, because: Some("x".repeat(9000)) };
        keeper.keep(&LastRefusal { rules: vec![rule], ..long.clone() }).unwrap();
        assert_eq!(kept().rules.len(), 1);
        let never = LastRefusal { time: Timestamp::from_unix_millis(u64::MAX / 2), ..long.clone() };
        keeper.keep(&never).unwrap();
        keeper.keep(&long).unwrap();
        assert_eq!(kept().time, long.time, "a moment that has not come is no later one");
        assert_eq!((kept().item.as_str(), kept().remedy), ("…", None));
        let later = LastRefusal::of(&told("connect", "later:1", 9), "p").unwrap();
        keeper.keep(&later).unwrap();
        keeper.keep(&LastRefusal::of(&told("connect", "earlier:1", 8), "p").unwrap()).unwrap();
        assert_eq!(kept(), later);
        assert_eq!(std::fs::metadata(folder.path().join("last")).unwrap().len(), LENGTH as u64);
    }
}
