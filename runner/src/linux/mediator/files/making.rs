//! Making and removing names.

use std::os::fd::AsRawFd;

use fence_compiler::bytes::AbsolutePath;
use nix::errno::Errno;

use super::super::place::process_of;
use super::ground::{Last, Named, Reached, Spot};
use super::request::Made;
use super::{Act, Caller, Done, No, refused, refused_name};
use crate::linux::sys::file;

impl Caller<'_> {
    pub(super) fn make(&mut self, named: &Named, made: Made) -> Result<Done, No> {
        let Reached::Name(spot) = self.locate(named, Last::Kept)? else {
            return Err(No::Failed(Errno::EEXIST));
        };
        self.ask_to_make(&spot, Errno::EEXIST)?;
        if let Made::Link { target } = &made {
            self.ask_to_lead(&spot, target.to_bytes())?;
        } else {
            self.take_mask()?;
        }
        if self.begin()? == Act::Now {
            match &made {
                Made::Directory { mode } => file::make_directory(spot.directory(), &spot.name, *mode)?,
                Made::Node { mode, device } => {
                    file::make_node(spot.directory(), &spot.name, *mode, *device)?;
                }
                Made::Link { target } => file::make_link(target, spot.directory(), &spot.name)?,
            }
        }
        if matches!(made, Made::Link { .. }) {
            self.rules.changed(&spot.path, self.arbiter, self.tree);
        }
        Ok(Done::Nothing)
    }

    /// Whether a name may be made where there is none.
    fn ask_to_make(&self, spot: &Spot, there: Errno) -> Result<(), No> {
        let Err(refusal) = self.rules.ask_name(&spot.path, &spot.spellings) else { return Ok(()) };
        if spot.status().is_ok() {
            return Err(No::Failed(there));
        }
        Err(refused(refusal, &spot.parent))
    }

    /// Whether a link may lead somewhere: not if that brings something to a place that a rule closes.
    fn ask_to_lead(&self, spot: &Spot, target: &[u8]) -> Result<(), No> {
        for place in self.rules.beneath(&spot.path).places {
            let Some(rest) = below(&place, &spot.path) else { continue };
            let path = [target, b"/", rest].concat();
            let found = self.tree.walk_from(self.notice.thread, spot.parent.clone(), &path, Last::Kept);
            let is_there = match found {
                Ok(Reached::Name(spot)) => spot.status().is_ok(),
                Ok(Reached::Object(_)) => true,
                Err(_) => false,
            };
            if is_there && let Err(refusal) = self.rules.ask_name(&place, &[]) {
                return Err(refused(refusal, &spot.parent));
            }
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, named: &Named, flags: i32) -> Result<Done, No> {
        let Reached::Name(spot) = self.locate(named, Last::Kept)? else {
            return Err(No::Failed(if flags == 0 { Errno::EISDIR } else { Errno::EINVAL }));
        };
        if let Err(refusal) = self.rules.ask_name(&spot.path, &spot.spellings) {
            return Err(refused_name(refusal, &spot));
        }
        if self.begin()? == Act::Now {
            file::remove(spot.directory(), &spot.name, flags)?;
        }
        Ok(Done::Nothing)
    }

    /// Gives a socket its address, which may be a name that is made for it.
    pub(super) fn bind(&mut self, number: i32, address: &[u8]) -> Result<Done, No> {
        const FAMILY: usize = 2;
        /// The kernel lets nobody here have these, and would let the mediator.
        const RESERVED: std::ops::Range<u16> = 1..1024;
        let (family, rest) = address.split_at_checked(FAMILY).ok_or(Errno::EINVAL)?;
        let family = i32::from(u16::from_ne_bytes(family.try_into().map_err(|_| Errno::EINVAL)?));
        let process = process_of(self.notice.thread).ok_or(Errno::ESRCH)?;
        self.still_waits()?;
        let socket = file::take(process, number)?;
        let socket = socket.as_raw_fd();
        let port = rest.get(..2).and_then(|port| port.try_into().ok()).map_or(0, u16::from_be_bytes);
        if matches!(family, libc::AF_INET | libc::AF_INET6) && RESERVED.contains(&port) {
            return Err(No::Failed(Errno::EACCES));
        }
        if family != libc::AF_UNIX || rest.first().is_none_or(|first| *first == 0) {
            if self.begin()? == Act::Now {
                file::bind(socket, address)?;
            }
            return Ok(Done::Nothing);
        }
        let path = rest.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        let named = Named { directory: libc::AT_FDCWD, path };
        let Reached::Name(spot) = self.locate(&named, Last::Kept)? else {
            return Err(No::Failed(Errno::EADDRINUSE));
        };
        self.ask_to_make(&spot, Errno::EADDRINUSE)?;
        self.take_mask()?;
        if self.begin()? == Act::Now {
            file::go_to(spot.directory())?;
            let (family, _) = address.split_at_checked(FAMILY).ok_or(Errno::EINVAL)?;
            file::bind(socket, &[family, spot.name.to_bytes_with_nul()].concat())?;
        }
        Ok(Done::Nothing)
    }
}

/// What of a path lies below another one.
pub(super) fn below<'a>(path: &'a AbsolutePath, above: &AbsolutePath) -> Option<&'a [u8]> {
    path.as_bytes().strip_prefix(above.as_bytes())?.strip_prefix(b"/").filter(|below| !below.is_empty())
}
