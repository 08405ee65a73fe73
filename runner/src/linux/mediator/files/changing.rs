//! Changing what is not a file's content: its mode, owner, times, attributes; and its size by its name.

use std::os::fd::AsRawFd;

use fence_compiler::policy::PathAction;
use nix::errno::Errno;

use super::ground::{Object, Place};
use super::request::{Change, What};
use super::{Act, Caller, Done, No, refused};
use crate::linux::sys::file;

impl Caller<'_> {
    pub(super) fn change(&mut self, what: What, change: Change) -> Result<Done, No> {
        let object = match what {
            What::Descriptor(number) => {
                let object = self.tree.described(self.notice.thread, number)?;
                // What was handed in from outside is changed by whoever may write it.
                if object.place == Place::Outside && !object.flags.is_some_and(is_for_writing) {
                    return Err(No::Failed(Errno::EPERM));
                }
                object
            }
            What::Path(named, last) => {
                let object = self.object(&named, last)?;
                if object.place == Place::Outside {
                    return Err(No::Failed(Errno::EACCES));
                }
                object
            }
        };
        if let Place::Inside(path) = &object.place
            && let Err(refusal) = self.rules.ask(PathAction::Write, path, &object.spellings)
        {
            return Err(refused(refusal, &object.file));
        }
        if let Change::Size(size) = change
            && self.largest().is_some_and(|largest| u64::try_from(size).is_ok_and(|size| size > largest))
        {
            return Err(No::Failed(Errno::EFBIG));
        }
        if self.begin()? == Act::Now {
            apply(&object, change)?;
        }
        Ok(Done::Nothing)
    }

    /// How large the caller may make a file.
    fn largest(&self) -> Option<u64> {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.notice.thread)).ok()?;
        let sizes = limits.lines().find_map(|line| line.strip_prefix("Max file size"))?;
        sizes.split_whitespace().next()?.parse().ok()
    }
}

/// Whether these are the flags of what was opened for writing.
fn is_for_writing(flags: i32) -> bool {
    flags & libc::O_PATH == 0 && matches!(flags & libc::O_ACCMODE, libc::O_WRONLY | libc::O_RDWR)
}

fn apply(object: &Object, change: Change) -> Result<(), Errno> {
    let (file, path) = (object.file.as_raw_fd(), object.own_path());
    match change {
        Change::Mode(mode) => file::set_mode(&path, mode & 0o7777),
        Change::Owner { user, group } => file::set_owner(file, user, group),
        Change::Times(times) => file::set_times(file, times),
        Change::Size(size) => file::set_size(&path, size),
        Change::SetAttribute { name, value, flags } => file::set_attribute(&path, &name, &value, flags),
        Change::RemoveAttribute { name } => file::remove_attribute(&path, &name),
    }
}
