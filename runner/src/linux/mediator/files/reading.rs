//! Reading: what may be opened for that, and what may be watched.

use std::os::fd::{AsRawFd, OwnedFd};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::policy::PathAction;
use fence_compiler::question::Reason;
use nix::errno::Errno;

use super::calls::Opens;
use super::ground::{Last, Named, Object, Place, told_path};
use super::kernel::{Telling, telling};
use super::{Act, Caller, Done, Files, No, inside, refused};
use crate::launch::Arbiter;
use crate::linux::mediator::place::Own;
use crate::linux::mediator::start::{Read, Stopped, closed};
use crate::linux::sys::file::{self, Status};
use crate::preflight::Refusal;

/// What is said of a program whose name is gone.
const LOST: &str = "nobody can tell whether a program that has lost its name may be read";

impl Files {
    /// Whether the files may be read that a thread's start needs, where reading is judged.
    pub(in crate::linux::mediator) fn ask_to_start(
        &mut self,
        thread: i32,
        arbiter: &dyn Arbiter,
        read: &[Read],
        is_there: impl FnOnce() -> bool,
    ) -> Result<(), Stopped> {
        if self.opens == Opens::Writing {
            return Ok(());
        }
        let (_, rules) = inside(&mut self.inside, &self.private, self.opens, thread, arbiter, is_there)?;
        for Read { path, spellings } in read {
            let Some(path) = path else { continue };
            if is_lost(path) {
                return Err(closed(path.as_bytes(), LOST));
            }
            rules.ask(PathAction::Read, path, spellings).map_err(Stopped::Refused)?;
        }
        Ok(())
    }
}

impl Caller<'_> {
    /// Whether what lies at a path may be read. The files that names are resolved by are fence's own there.
    pub(super) fn ask_to_read(&self, path: &AbsolutePath, spellings: &[AbsolutePath]) -> Result<(), Refusal> {
        match self.rules.ask(PathAction::Read, path, spellings) {
            Err(refusal) if refusal.decision.reason == Reason::NothingAllows && self.names.contains(path) => {
                Ok(())
            }
            may => may,
        }
    }

    /// Whether what the kernel tells may be opened: not where it would tell the mediator what it does not tell the caller.
    pub(super) fn ask_kernel(
        &self,
        at: &OwnedFd,
        path: Option<&AbsolutePath>,
        changes: bool,
    ) -> Result<(), No> {
        let told = match telling(at) {
            Telling::Nothing => return Ok(()),
            Telling::Rights => false,
            Telling::Processes => {
                !changes
                    && path.is_some_and(|path| {
                        super::kernel::is_the_same_for(Own::Thread(self.notice.thread), path)
                    })
            }
            Telling::System => !changes,
        };
        if told && self.judges_reads() { Ok(()) } else { Err(No::Failed(Errno::EACCES)) }
    }

    /// Whether something that lost the name which it was opened by may be read: nobody can tell what that was, so only by a
    /// descriptor with which it can be read anyway.
    pub(super) fn ask_lost(&self, object: &Object, status: &Status) -> Result<(), No> {
        if !self.judges_reads() || !self.tree.holds(status) {
            return Ok(());
        }
        let lost = match &object.place {
            Place::Nowhere => true,
            Place::Inside(path) => is_lost(path),
            Place::Outside => false,
        };
        if lost && !object.flags.is_some_and(reads) { Err(No::Failed(Errno::EACCES)) } else { Ok(()) }
    }

    /// Whether reading is judged.
    pub(super) fn judges_reads(&self) -> bool {
        self.opens == Opens::All
    }

    /// Whether something that was reached by a path which has been judged is still what lies there, or lies where it may be
    /// read too: somebody outside may have moved it, or what is around it, in between.
    pub(super) fn ask_where(&self, file: &OwnedFd, judged: &AbsolutePath) -> Result<(), No> {
        if !self.judges_reads() {
            return Ok(());
        }
        match told_path(file)? {
            Some(path) if path == *judged => Ok(()),
            // A device may yield another than itself.
            _ if matches!(file::status(file.as_raw_fd(), c"")?.kind(), libc::S_IFCHR | libc::S_IFBLK) => {
                Ok(())
            }
            Some(path) if !is_lost(&path) => {
                self.ask_to_read(&path, &[]).map_err(|refusal| refused(refusal, file))
            }
            _ => Err(No::Failed(Errno::ENOENT)),
        }
    }

    /// Has what happens to something told: that asks to read it.
    pub(super) fn watch(&mut self, watcher: i32, named: &Named, last: Last, mask: u32) -> Result<Done, No> {
        let object = self.object(named, last)?;
        let status = file::status(object.file.as_raw_fd(), c"")?;
        self.ask_lost(&object, &status)?;
        let Place::Inside(path) = &object.place else { return Err(No::Failed(Errno::EACCES)) };
        self.ask_kernel(&object.file, Some(path), false)?;
        let may = self.ask_to_read(path, &object.spellings);
        may.map_err(|refusal| refused(refusal, &object.file))?;
        let watcher = self.tree.take(self.notice.thread, watcher)?;
        if self.begin()? != Act::Now {
            return Ok(Done::Nothing);
        }
        // The link that is followed is this process's own.
        let mask = mask & !libc::IN_DONT_FOLLOW;
        let number = file::watch(watcher.as_raw_fd(), &object.own_path(), mask)?;
        if let Err(no) = self.ask_where(&object.file, path) {
            file::unwatch(watcher.as_raw_fd(), number);
            return Err(no);
        }
        Ok(Done::Number(number))
    }
}

/// What the kernel puts behind a name that is gone.
const DELETED: &[u8] = b" (deleted)";

/// Whether a path is told of something that has lost its name.
pub(super) fn is_lost(path: &AbsolutePath) -> bool {
    path.as_bytes().ends_with(DELETED)
}

/// Whether these are the flags of what was opened for reading.
fn reads(flags: i32) -> bool {
    flags & libc::O_PATH == 0 && matches!(flags & libc::O_ACCMODE, libc::O_RDONLY | libc::O_RDWR)
}
