//! Who runs the command.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::host::Person;

use super::HostError;

/// The person whose rights this process has.
///
/// The home is `$HOME` where that is a directory of this very user, and otherwise the one on record: so under
/// `sudo`, which may keep the caller's `HOME`, it is root's.
///
/// # Errors
/// No home is known.
pub fn person() -> Result<Person, HostError> {
    let uid = nix::unistd::getuid().as_raw();
    let gid = nix::unistd::getgid().as_raw();
    let record = record(uid);
    let home = own_home(uid)
        .or_else(|| record.as_ref().and_then(|found| AbsolutePath::new(&found.home)))
        .ok_or(HostError::NoHome { uid })?;
    let name = record.map_or_else(|| uid.to_string(), |found| found.name);
    Ok(Person { name, home, uid, gid })
}

/// `$HOME`, if it is a directory that this user owns.
fn own_home(uid: u32) -> Option<AbsolutePath> {
    let home = std::env::var_os("HOME")?;
    let found = std::fs::metadata(&home).ok()?;
    if found.is_dir() && found.uid() == uid { AbsolutePath::new(home.as_bytes()) } else { None }
}

/// What is on record about a user.
struct Record {
    name: String,
    home: Vec<u8>,
}

/// Looks a user up in `/etc/passwd`, and only if it is not there in whatever else the system asks.
fn record(uid: u32) -> Option<Record> {
    local_records().find(|(found, _)| *found == uid).map(|(_, record)| record).or_else(|| {
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid)).ok()??;
        Some(Record { name: user.name, home: user.dir.into_os_string().into_vec() })
    })
}

/// The users of `/etc/passwd`.
fn local_records() -> impl Iterator<Item = (u32, Record)> {
    let text = std::fs::read("/etc/passwd").unwrap_or_default();
    let mut records = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut fields = line.split(|byte| *byte == b':');
        let (Some(name), Some(uid), Some(home)) = (fields.next(), fields.nth(1), fields.nth(2)) else {
            continue;
        };
        let uid = std::str::from_utf8(uid).ok().and_then(|text| text.parse().ok());
        if let (Some(uid), Ok(name)) = (uid, std::str::from_utf8(name)) {
            records.push((uid, Record { name: name.to_owned(), home: home.to_owned() }));
        }
    }
    records.into_iter()
}

/// The homes of the other people on this machine: of every user with a login directory that exists and is not
/// a directory of the system.
#[must_use]
pub fn people_homes(own_uid: u32) -> Vec<AbsolutePath> {
    let system =
        ["/", "/bin", "/dev", "/home", "/nonexistent", "/proc", "/sbin", "/tmp", "/usr", "/usr/sbin"];
    local_records()
        .filter(|(uid, _)| *uid != own_uid && (*uid == 0 || (1000..60_000).contains(uid)))
        .filter_map(|(_, record)| AbsolutePath::new(&record.home))
        .filter(|home| !system.contains(&home.escaped().as_ref()))
        .filter(|home| Path::new(std::ffi::OsStr::from_bytes(home.as_bytes())).is_dir())
        .collect()
}
