//! Making and removing names.

use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use fence_compiler::bytes::AbsolutePath;
use fence_compiler::policy::PathAction;
use nix::errno::Errno;

use super::ground::{Constancy, Last, Named, Reached, Spot};
use super::request::{Made, socket_path};
use super::{Act, Caller, Done, Knowing, No, refused, refused_name};
use crate::linux::sys::{connection, file};

impl Caller<'_> {
    pub(super) fn make(&mut self, named: &Named, made: Made) -> Result<Done, No> {
        let Reached::Name(spot) = self.locate(named, Last::Kept)? else {
            return Err(No::Failed(Errno::EEXIST));
        };
        self.ask_to_make(&spot, Errno::EEXIST)?;
        if let Made::Link { target } = &made {
            self.ask_to_lead(&spot.parent, &spot.path, target.to_bytes())?;
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

    /// Whether a link in a directory may lead somewhere under a path: not if that brings something to a place that a rule
    /// closes, or could bring it to a name that a pattern closes.
    pub(super) fn ask_to_lead(
        &self,
        parent: &Rc<OwnedFd>,
        link: &AbsolutePath,
        target: &[u8],
    ) -> Result<(), No> {
        self.rules.ask_link(link, target).map_err(|refusal| refused(refusal, parent))?;
        if self.judges_reads() {
            // What somebody outside writes by the closed name would be written where the link leads.
            let may = self.rules.ask(PathAction::Read, link, &[]);
            may.map_err(|refusal| refused(refusal, parent))?;
        }
        for place in self.rules.beneath(link).places {
            let Some(rest) = below(&place, link) else { continue };
            let Err(refusal) = self.rules.ask_name(&place, &[]) else { continue };
            let path = [target, b"/", rest].concat();
            let mut constancy = Constancy::Fixed;
            let found = self.tree.walk(self.notice.thread, parent.clone(), &path, Last::Kept, &mut constancy);
            let found = match found {
                Ok(Reached::Name(spot)) => spot.status().map(drop),
                Ok(Reached::Object(_)) => Ok(()),
                Err(errno) => Err(errno),
            };
            // What nobody can look at now may be seen later, and what leads elsewhere for others is there for somebody.
            let is_there = !matches!(found, Err(Errno::ENOENT | Errno::ENOTDIR));
            if is_there || constancy == Constancy::Varying {
                return Err(refused(refusal, parent));
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
        spot.ask_mount()?;
        if self.begin()? == Act::Now {
            file::remove(spot.directory(), &spot.name, flags)?;
        }
        Ok(Done::Nothing)
    }

    /// Gives a socket its address, which may be a name that is made for it.
    pub(super) fn bind(&mut self, number: i32, address: &[u8]) -> Result<Done, No> {
        const FAMILY: usize = 2;
        /// The kernel lets nobody here have these, and would let the mediator. Without a family, an address is one of IPv4.
        const RESERVED: std::ops::Range<u16> = 1..1024;
        let (family, rest) = address.split_at_checked(FAMILY).ok_or(Errno::EINVAL)?;
        let family = i32::from(u16::from_ne_bytes(family.try_into().map_err(|_| Errno::EINVAL)?));
        let socket = self.tree.take(self.notice.thread, number)?;
        let socket = socket.as_raw_fd();
        let port = rest.get(..2).and_then(|port| port.try_into().ok()).map_or(0, u16::from_be_bytes);
        if matches!(family, libc::AF_UNSPEC | libc::AF_INET | libc::AF_INET6) && RESERVED.contains(&port) {
            return Err(No::Failed(Errno::EACCES));
        }
        let Some(named) = socket_path(address) else {
            if self.begin()? == Act::Now {
                file::bind(socket, address)?;
            }
            return Ok(Done::Nothing);
        };
        let Reached::Name(spot) = self.locate(&named, Last::Kept)? else {
            return Err(No::Failed(Errno::EADDRINUSE));
        };
        self.ask_to_make(&spot, Errno::EADDRINUSE)?;
        self.take_mask()?;
        let is_known =
            self.knowing == Knowing::Nothing || self.tree.is_private(&file::status(spot.directory(), c"")?);
        if !is_known {
            self.sockets.make_room()?;
        }
        if self.begin()? == Act::Now {
            file::go_to(spot.directory())?;
            let (family, _) = address.split_at_checked(FAMILY).ok_or(Errno::EINVAL)?;
            file::bind(socket, &[family, spot.name.to_bytes_with_nul()].concat())?;
            if !is_known {
                // What is not known counts as the host's.
                let _ = connection::bound_file(socket).and_then(|file| self.sockets.add(file));
            }
        }
        Ok(Done::Nothing)
    }
}

/// What of a path lies below another one.
pub(super) fn below<'a>(path: &'a AbsolutePath, above: &AbsolutePath) -> Option<&'a [u8]> {
    path.as_bytes().strip_prefix(above.as_bytes())?.strip_prefix(b"/").filter(|below| !below.is_empty())
}
