//! Opening files, to read or to write them.

use std::os::fd::{AsRawFd, OwnedFd};

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::plan::TerminalPlan;
use fence_compiler::policy::PathAction;
use nix::errno::Errno;

use super::ground::{Last, Named, Object, Place, Reached, Spot};
use super::{Act, Caller, Done, No, refused, terminal};
use crate::linux::sys::file::{self, How, NO_LINKS};
use crate::preflight::Refusal;

/// The flags that the kernel knows; it takes no notice of others.
const KNOWN: i32 = libc::O_ACCMODE
    | libc::O_CREAT
    | libc::O_EXCL
    | libc::O_NOCTTY
    | libc::O_TRUNC
    | libc::O_APPEND
    | libc::O_NONBLOCK
    | libc::O_SYNC
    | libc::O_ASYNC
    | libc::O_DIRECT
    | libc::O_DIRECTORY
    | libc::O_NOFOLLOW
    | libc::O_NOATIME
    | libc::O_CLOEXEC
    | libc::O_TMPFILE;

/// The flags that an open file keeps and that can be set on it.
const KEPT: i32 = libc::O_APPEND | libc::O_ASYNC | libc::O_DIRECT | libc::O_NOATIME;

/// What an open is for.
#[derive(Clone, Copy)]
struct Intent {
    flags: i32,
    mode: u32,
}

impl Intent {
    fn has(self, flag: i32) -> bool {
        self.flags & flag == flag
    }

    fn reads(self) -> bool {
        self.flags & libc::O_ACCMODE != libc::O_WRONLY
    }

    fn writes(self) -> bool {
        self.flags & libc::O_ACCMODE != libc::O_RDONLY || self.has(libc::O_TRUNC)
    }

    fn makes_or_writes(self) -> bool {
        self.writes() || self.has(libc::O_CREAT)
    }

    fn makes_new(self) -> bool {
        self.has(libc::O_CREAT | libc::O_EXCL)
    }
}

impl Caller<'_> {
    pub(super) fn open(&mut self, named: &Named, flags: i32, mode: u32) -> Result<Done, No> {
        let intent = Intent { flags: flags & KNOWN, mode: mode & 0o7777 };
        if intent.has(libc::O_TMPFILE) {
            if intent.flags & libc::O_ACCMODE == libc::O_RDONLY {
                return Err(No::Failed(Errno::EINVAL));
            }
            return self.open_nameless(named, intent);
        }
        // A slash at the end asks for what a link leads to.
        let kept = intent.has(libc::O_NOFOLLOW) && !named.path.ends_with(b"/") || intent.makes_new();
        let last = if kept { Last::Kept } else { Last::Followed };
        if named.path.ends_with(b"/") && intent.makes_or_writes() {
            return Err(No::Failed(self.with_slash(named, intent)?));
        }
        let quickly = match self.locate(named, last)? {
            Reached::Object(object) => return self.open_again(object, intent),
            Reached::Name(spot) => self.open_name(spot, intent),
        };
        match quickly {
            // It may be a link, which leads to something else than its own name says.
            Err(No::Refused(..) | No::Failed(Errno::ELOOP | Errno::EROFS | Errno::EACCES))
                if last == Last::Followed =>
            {
                match self.tree.locate_slowly(self.notice.thread, named, last)? {
                    Reached::Object(object) => self.open_again(object, intent),
                    Reached::Name(spot) => self.open_name(spot, intent),
                }
            }
            done => done,
        }
    }

    /// Why a path with a slash at its end is not opened.
    fn with_slash(&self, named: &Named, intent: Intent) -> Result<Errno, Errno> {
        Ok(match self.locate(named, Last::Followed)? {
            Reached::Object(_) => Errno::EISDIR,
            Reached::Name(spot) => match spot.status() {
                Ok(status) if status.kind() == libc::S_IFDIR => Errno::EISDIR,
                Ok(_) => Errno::ENOTDIR,
                Err(Errno::ENOENT) if intent.has(libc::O_CREAT) => Errno::EISDIR,
                Err(errno) => errno,
            },
        })
    }

    fn open_name(&mut self, spot: Spot, intent: Intent) -> Result<Done, No> {
        let mut intent = intent;
        let mut unmade = None;
        if intent.writes() {
            let may = self.rules.ask(PathAction::Write, &spot.path, &spot.spellings);
            may.map_err(|refusal| not_opened(refusal, &spot, intent))?;
        } else if intent.has(libc::O_CREAT)
            && let Err(refusal) = self.rules.ask(PathAction::Write, &spot.path, &spot.spellings)
        {
            // It may be there, and only be read.
            if intent.makes_new() {
                return Err(not_opened(refusal, &spot, intent));
            }
            intent.flags &= !libc::O_CREAT;
            unmade = Some(refusal);
        }
        if intent.reads() {
            let may = self.ask_to_read(&spot.path, &spot.spellings);
            may.map_err(|refusal| not_opened(refusal, &spot, intent))?;
        }
        self.ask_kernel(&spot.parent, Some(&spot.path), intent.makes_or_writes())?;
        let makes = intent.has(libc::O_CREAT);
        if makes {
            self.take_mask()?;
        }
        if self.begin()? != Act::Now {
            return Ok(Done::Nothing);
        }
        // Nobody waits here: what is new is a file.
        let patience = if intent.makes_new() { 0 } else { libc::O_NONBLOCK };
        let how = How {
            flags: intent.flags | patience | libc::O_NOCTTY | libc::O_CLOEXEC,
            mode: if makes { intent.mode } else { 0 },
            resolve: NO_LINKS,
        };
        match file::open(spot.directory(), &spot.name, how) {
            Ok(file) => {
                if intent.reads() {
                    self.ask_where(&file, &spot.path)?;
                }
                match intent.makes_new() {
                    true => Ok(Done::File { file, flags: intent.flags }),
                    false => self.opened(file, intent),
                }
            }
            Err(Errno::ENOENT) if unmade.is_some() => {
                Err(unmade.map_or(No::Failed(Errno::ENOENT), |refusal| refused(refusal, &spot.parent)))
            }
            Err(errno @ (Errno::ENXIO | Errno::EAGAIN | Errno::EBUSY)) => {
                let object = self.tree.object(spot, Last::Kept)?;
                self.open_special(&object, intent, errno)
            }
            Err(errno) => Err(No::Failed(errno)),
        }
    }

    /// What was opened without waiting becomes what was asked for.
    fn opened(&mut self, file: OwnedFd, intent: Intent) -> Result<Done, No> {
        if !intent.has(libc::O_NONBLOCK) {
            if intent.flags & libc::O_ACCMODE == libc::O_RDONLY
                && file::status(file.as_raw_fd(), c"")?.kind() == libc::S_IFIFO
            {
                self.waiting.read(self.notice, &file, intent.flags, intent.flags & KEPT)?;
                return Ok(Done::Later);
            }
            file::set_flags(file.as_raw_fd(), intent.flags & KEPT)?;
        }
        Ok(Done::File { file, flags: intent.flags })
    }

    /// Opens what does not open at once.
    fn open_special(&mut self, object: &Object, intent: Intent, errno: Errno) -> Result<Done, No> {
        const TERMINAL: (u32, u32) = (5, 0);
        let status = file::status(object.file.as_raw_fd(), c"")?;
        let waits = !intent.has(libc::O_NONBLOCK);
        match status.kind() {
            libc::S_IFCHR if status.device == TERMINAL => {
                let file = terminal::open(self.notice.thread, intent.flags)?;
                Ok(Done::File { file, flags: intent.flags })
            }
            libc::S_IFIFO | libc::S_IFREG | libc::S_IFCHR if waits => {
                self.waiting.open(self.notice, &object.file, intent.flags)?;
                Ok(Done::Later)
            }
            _ => Err(No::Failed(errno)),
        }
    }

    /// Opens again what is open already, or a directory.
    fn open_again(&mut self, object: Object, intent: Intent) -> Result<Done, No> {
        let status = file::status(object.file.as_raw_fd(), c"")?;
        let told = match &object.place {
            Place::Inside(path) => Some(path),
            Place::Nowhere | Place::Outside => None,
        };
        self.ask_kernel(&object.file, told, intent.makes_or_writes())?;
        if intent.reads() {
            self.ask_lost(&object, &status)?;
        }
        match &object.place {
            Place::Inside(path) => self.ask_again(&object, path, intent)?,
            Place::Nowhere => {}
            Place::Outside => self.ask_outside(&object, status.kind(), intent)?,
        }
        if intent.makes_new() {
            return Err(No::Failed(Errno::EEXIST));
        }
        if intent.has(libc::O_CREAT) && status.kind() == libc::S_IFDIR {
            return Err(No::Failed(Errno::EISDIR));
        }
        if self.begin()? != Act::Now {
            return Ok(Done::Nothing);
        }
        let without = libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
        let flags = intent.flags & !without | libc::O_NONBLOCK | libc::O_NOCTTY;
        match file::open_plainly(&object.own_path(), flags) {
            Ok(file) => {
                if let Place::Inside(path) = &object.place
                    && intent.reads()
                {
                    self.ask_where(&file, path)?;
                }
                self.opened(file, intent)
            }
            Err(errno @ (Errno::ENXIO | Errno::EAGAIN | Errno::EBUSY)) => {
                self.open_special(&object, intent, errno)
            }
            Err(errno) => Err(No::Failed(errno)),
        }
    }

    fn ask_again(&self, object: &Object, path: &AbsolutePath, intent: Intent) -> Result<(), No> {
        let mut may = Ok(());
        if intent.writes() {
            may = self.rules.ask(PathAction::Write, path, &object.spellings);
        }
        if intent.reads() {
            may = may.and_then(|()| self.ask_to_read(path, &object.spellings));
        }
        may.map_err(|refusal| refused(refusal, &object.file))
    }

    /// What was handed in from outside is opened again for what it was opened for: a file, unless it is only added to,
    /// and the terminal, if that is kept.
    fn ask_outside(&self, object: &Object, kind: u32, intent: Intent) -> Result<(), No> {
        let flags = object.flags.filter(|flags| flags & libc::O_PATH == 0).ok_or(Errno::EACCES)?;
        let access = flags & libc::O_ACCMODE;
        let covers = (!intent.reads() || access != libc::O_WRONLY)
            && (!intent.writes() || matches!(access, libc::O_WRONLY | libc::O_RDWR));
        let may = match kind {
            libc::S_IFREG => flags & libc::O_APPEND == 0,
            libc::S_IFCHR => self.terminal == TerminalPlan::Kept,
            _ => false,
        };
        if covers && may { Ok(()) } else { Err(No::Failed(Errno::EACCES)) }
    }

    /// Opens a file without a name in a directory.
    fn open_nameless(&mut self, named: &Named, intent: Intent) -> Result<Done, No> {
        let object = self.object(named, Last::Followed)?;
        let Place::Inside(path) = &object.place else { return Err(No::Failed(Errno::EACCES)) };
        self.ask_again(&object, path, intent)?;
        self.take_mask()?;
        if self.begin()? != Act::Now {
            return Ok(Done::Nothing);
        }
        let how = How { flags: intent.flags | libc::O_CLOEXEC, mode: intent.mode, resolve: NO_LINKS };
        let file = file::open(object.file.as_raw_fd(), c".", how)?;
        Ok(Done::File { file, flags: intent.flags })
    }
}

/// The answer to an open that is refused: that of the kernel, where it says why nothing would be opened anyway.
fn not_opened(refusal: Refusal, spot: &Spot, intent: Intent) -> No {
    match spot.status() {
        Err(Errno::ENOENT) if intent.has(libc::O_CREAT) => refused(refusal, &spot.parent),
        Err(errno) => No::Failed(errno),
        Ok(_) if intent.makes_new() => No::Failed(Errno::EEXIST),
        Ok(status) if status.kind() == libc::S_IFDIR && intent.writes() => No::Failed(Errno::EISDIR),
        Ok(_) => refused(refusal, &spot.parent),
    }
}
