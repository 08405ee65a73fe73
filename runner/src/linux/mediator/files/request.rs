//! What a call asks for, read once: what is changed in the caller's memory afterwards is not seen.

use std::ffi::CString;

use nix::errno::Errno;

use super::calls::Call;
use super::ground::{Last, Named};
use crate::linux::mediator::memory::Memory;
use crate::linux::sys::notice::{self, Notice};

/// How long a path may be, as in the kernel; its NUL counts.
const LONGEST_PATH: usize = 4095;
/// How much an attribute holds at most, and how long its name is.
const LARGEST_ATTRIBUTE: u64 = 65_536;
const LONGEST_NAME: usize = 255;
/// How long an address may be.
pub(super) const LONGEST_ADDRESS: usize = 128;

/// A call, with everything that it points to.
pub(in crate::linux::mediator) enum Request {
    /// Opens a file, which may make it.
    Open { named: Named, flags: i32, mode: u32 },
    /// Makes a name.
    Make { named: Named, made: Made },
    /// Removes a name.
    Remove { named: Named, flags: i32 },
    /// Moves a name.
    Move { from: Named, to: Named, flags: u32 },
    /// Makes another name for something.
    Link { from: Named, to: Named, flags: i32 },
    /// Changes what is not its content, or its size.
    Change { what: What, change: Change },
    /// Has what happens to something told.
    Watch { watcher: i32, named: Named, last: Last, mask: u32 },
    /// Gives a socket its address.
    Bind { socket: i32, address: Vec<u8> },
    /// Connects a socket.
    Connect { socket: i32, address: Vec<u8> },
    /// Sends something; what, is read when it is known what the socket is.
    Send { socket: i32, sent: Sent, flags: i32 },
    /// Has a process that shares its descriptors with another.
    Share,
}

/// Where it lies what is sent.
#[derive(Clone, Copy)]
pub(in crate::linux::mediator) enum Sent {
    /// In one place, to an address.
    To { data: u64, length: u64, name: u64, name_length: i32 },
    /// As a message tells.
    Message { header: u64 },
    /// As several messages tell.
    Messages { headers: u64, count: u32 },
}

/// What is made.
pub(in crate::linux::mediator) enum Made {
    Directory { mode: u32 },
    Node { mode: u32, device: u64 },
    Link { target: CString },
}

/// What is changed.
pub(in crate::linux::mediator) enum What {
    /// What a path leads to.
    Path(Named, Last),
    /// What a descriptor stands for.
    Descriptor(i32),
}

/// How it is changed.
pub(in crate::linux::mediator) enum Change {
    Mode(u32),
    Owner { user: u32, group: u32 },
    Times(Option<[libc::timespec; 2]>),
    Size(i64),
    SetAttribute { name: CString, value: Vec<u8>, flags: i32 },
    RemoveAttribute { name: CString },
}

/// Reads a call.
pub(in crate::linux::mediator) fn read(call: Call, notice: &Notice) -> Result<Request, Errno> {
    let mut reader = Reader { memory: Memory::of(notice.thread), notice };
    let [first, second, third, fourth, fifth, sixth] = notice.arguments;
    let here = libc::AT_FDCWD;
    let mode = |argument: u64| number(argument).cast_unsigned() & 0o177_777;
    Ok(match call {
        Call::Open => {
            Request::Open { named: reader.path(here, first)?, flags: number(second), mode: mode(third) }
        }
        Call::OpenAt => Request::Open {
            named: reader.path(number(first), second)?,
            flags: number(third),
            mode: mode(fourth),
        },
        Call::Creat => Request::Open {
            named: reader.path(here, first)?,
            flags: libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC,
            mode: mode(second),
        },
        Call::Mkdir => reader.make(here, first, Made::Directory { mode: mode(second) })?,
        Call::MkdirAt => reader.make(number(first), second, Made::Directory { mode: mode(third) })?,
        Call::Mknod => reader.make(here, first, node(second, third))?,
        Call::MknodAt => reader.make(number(first), second, node(third, fourth))?,
        Call::Symlink => {
            let target = reader.text(first)?;
            reader.make(here, second, Made::Link { target })?
        }
        Call::SymlinkAt => {
            let target = reader.text(first)?;
            reader.make(number(second), third, Made::Link { target })?
        }
        Call::Rmdir => Request::Remove { named: reader.path(here, first)?, flags: libc::AT_REMOVEDIR },
        Call::Unlink => Request::Remove { named: reader.path(here, first)?, flags: 0 },
        Call::UnlinkAt => {
            let flags = number(third);
            if flags & !libc::AT_REMOVEDIR != 0 {
                return Err(Errno::EINVAL);
            }
            Request::Remove { named: reader.path(number(first), second)?, flags }
        }
        Call::Rename => reader.moved((here, first), (here, second), 0)?,
        Call::RenameAt => reader.moved((number(first), second), (number(third), fourth), 0)?,
        Call::RenameAt2 => {
            reader.moved((number(first), second), (number(third), fourth), number(fifth).cast_unsigned())?
        }
        Call::Link => reader.link((here, first), (here, second), 0)?,
        Call::LinkAt => reader.link((number(first), second), (number(third), fourth), number(fifth))?,
        Call::Chmod => reader.change(here, first, Last::Followed, Change::Mode(mode(second)))?,
        Call::Fchmod => described(first, Change::Mode(mode(second))),
        Call::FchmodAt => reader.change(number(first), second, Last::Followed, Change::Mode(mode(third)))?,
        Call::FchmodAt2 => {
            reader.flagged(number(first), second, number(fourth), Change::Mode(mode(third)))?
        }
        Call::Chown => reader.change(here, first, Last::Followed, owner(second, third))?,
        Call::Lchown => reader.change(here, first, Last::Kept, owner(second, third))?,
        Call::Fchown => described(first, owner(second, third)),
        Call::FchownAt => reader.flagged(number(first), second, number(fifth), owner(third, fourth))?,
        Call::Utime => {
            let times = reader.seconds(second)?;
            reader.change(here, first, Last::Followed, Change::Times(times))?
        }
        Call::Utimes => {
            let times = reader.microseconds(second)?;
            reader.change(here, first, Last::Followed, Change::Times(times))?
        }
        Call::FutimesAt => {
            let times = Change::Times(reader.microseconds(third)?);
            if second == 0 {
                described(first, times)
            } else {
                reader.change(number(first), second, Last::Followed, times)?
            }
        }
        Call::UtimensAt => {
            let times = Change::Times(reader.times(third)?);
            if second == 0 {
                if number(fourth) != 0 {
                    return Err(Errno::EINVAL);
                }
                described(first, times)
            } else {
                reader.flagged(number(first), second, number(fourth), times)?
            }
        }
        Call::Truncate => reader.change(here, first, Last::Followed, Change::Size(second.cast_signed()))?,
        Call::SetAttribute | Call::SetAttributeOfLink | Call::SetAttributeOfDescriptor => {
            let name = reader.attribute(second)?;
            if fourth > LARGEST_ATTRIBUTE {
                return Err(Errno::E2BIG);
            }
            let value = reader.memory.bytes(third, usize::try_from(fourth).map_err(|_| Errno::E2BIG)?)?;
            let change = Change::SetAttribute { name, value, flags: number(fifth) };
            reader.attributed(call, first, change)?
        }
        Call::RemoveAttribute | Call::RemoveAttributeOfLink | Call::RemoveAttributeOfDescriptor => {
            let name = reader.attribute(second)?;
            reader.attributed(call, first, Change::RemoveAttribute { name })?
        }
        Call::Watch => {
            let mask = number(third).cast_unsigned();
            let last = if mask & libc::IN_DONT_FOLLOW == 0 { Last::Followed } else { Last::Kept };
            Request::Watch { watcher: number(first), named: reader.path(here, second)?, last, mask }
        }
        Call::Bind => {
            Request::Bind { socket: number(first), address: reader.address(second, number(third))? }
        }
        Call::Connect => {
            Request::Connect { socket: number(first), address: reader.address(second, number(third))? }
        }
        Call::SendTo => {
            let sent = Sent::To { data: second, length: third, name: fifth, name_length: number(sixth) };
            Request::Send { socket: number(first), sent, flags: number(fourth) }
        }
        Call::SendMessage => {
            let sent = Sent::Message { header: second };
            Request::Send { socket: number(first), sent, flags: number(third) }
        }
        Call::SendMessages => {
            let sent = Sent::Messages { headers: second, count: third as u32 };
            Request::Send { socket: number(first), sent, flags: number(fourth) }
        }
        Call::Clone => Request::Share,
    })
}

/// Reads a path that a call names.
pub(in crate::linux::mediator) fn path(
    notice: &Notice,
    directory: u64,
    address: u64,
) -> Result<Named, Errno> {
    Reader { memory: Memory::of(notice.thread), notice }.path(number(directory), address)
}

/// An argument of 32 bits: the kernel takes no notice of the others.
fn number(argument: u64) -> i32 {
    argument as u32 as i32
}

fn node(mode: u64, device: u64) -> Made {
    // Both are numbers of the kernel's own width.
    Made::Node { mode: mode as u32 & 0o177_777, device: u64::from(device as u32) }
}

fn owner(user: u64, group: u64) -> Change {
    Change::Owner { user: user as u32, group: group as u32 }
}

fn described(descriptor: u64, change: Change) -> Request {
    Request::Change { what: What::Descriptor(number(descriptor)), change }
}

struct Reader<'a> {
    memory: Memory,
    notice: &'a Notice,
}

impl Reader<'_> {
    fn bytes(&mut self, address: u64, most: usize, longer: Errno) -> Result<Vec<u8>, Errno> {
        if let Some(text) = notice::read_text(self.notice.thread, address) {
            return if text.len() > most { Err(longer) } else { Ok(text) };
        }
        self.memory.text(address, most).map_err(|errno| if errno == Errno::E2BIG { longer } else { errno })
    }

    /// The address of a socket.
    fn address(&mut self, address: u64, length: i32) -> Result<Vec<u8>, Errno> {
        read_address(&mut self.memory, address, length)
    }

    fn path(&mut self, directory: i32, address: u64) -> Result<Named, Errno> {
        Ok(Named { directory, path: self.bytes(address, LONGEST_PATH, Errno::ENAMETOOLONG)? })
    }

    fn text(&mut self, address: u64) -> Result<CString, Errno> {
        let text = self.bytes(address, LONGEST_PATH, Errno::ENAMETOOLONG)?;
        if text.is_empty() {
            return Err(Errno::ENOENT);
        }
        CString::new(text).map_err(|_| Errno::EINVAL)
    }

    /// The name of an attribute.
    fn attribute(&mut self, address: u64) -> Result<CString, Errno> {
        let name = self.bytes(address, LONGEST_NAME, Errno::ERANGE)?;
        if name.is_empty() {
            return Err(Errno::ERANGE);
        }
        // Nobody inside has the capability for these; this process has made the namespace that some file systems inside
        // belong to, and would be let.
        if [&b"security."[..], b"trusted."].iter().any(|of| name.starts_with(of)) {
            return Err(Errno::EPERM);
        }
        CString::new(name).map_err(|_| Errno::EINVAL)
    }

    fn make(&mut self, directory: i32, address: u64, made: Made) -> Result<Request, Errno> {
        Ok(Request::Make { named: self.path(directory, address)?, made })
    }

    fn moved(&mut self, from: (i32, u64), to: (i32, u64), flags: u32) -> Result<Request, Errno> {
        Ok(Request::Move { from: self.path(from.0, from.1)?, to: self.path(to.0, to.1)?, flags })
    }

    fn link(&mut self, from: (i32, u64), to: (i32, u64), flags: i32) -> Result<Request, Errno> {
        if flags & !(libc::AT_SYMLINK_FOLLOW | libc::AT_EMPTY_PATH) != 0 {
            return Err(Errno::EINVAL);
        }
        Ok(Request::Link { from: self.path(from.0, from.1)?, to: self.path(to.0, to.1)?, flags })
    }

    fn change(&mut self, directory: i32, address: u64, last: Last, change: Change) -> Result<Request, Errno> {
        Ok(Request::Change { what: What::Path(self.path(directory, address)?, last), change })
    }

    /// A change of what a path leads to, with the flags that `…at` calls have.
    fn flagged(
        &mut self,
        directory: i32,
        address: u64,
        flags: i32,
        change: Change,
    ) -> Result<Request, Errno> {
        if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
            return Err(Errno::EINVAL);
        }
        let last = if flags & libc::AT_SYMLINK_NOFOLLOW != 0 { Last::Kept } else { Last::Followed };
        let named = self.path(directory, address)?;
        if named.path.is_empty() && flags & libc::AT_EMPTY_PATH != 0 && directory != libc::AT_FDCWD {
            return Ok(Request::Change { what: What::Descriptor(directory), change });
        }
        let named = match named.path.is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
            true => Named { directory, path: b".".to_vec() },
            false => named,
        };
        Ok(Request::Change { what: What::Path(named, last), change })
    }

    fn attributed(&mut self, call: Call, first: u64, change: Change) -> Result<Request, Errno> {
        match call {
            Call::SetAttributeOfDescriptor | Call::RemoveAttributeOfDescriptor => {
                Ok(described(first, change))
            }
            Call::SetAttributeOfLink | Call::RemoveAttributeOfLink => {
                self.change(libc::AT_FDCWD, first, Last::Kept, change)
            }
            _ => self.change(libc::AT_FDCWD, first, Last::Followed, change),
        }
    }

    /// Two numbers of seconds.
    fn seconds(&mut self, address: u64) -> Result<Option<[libc::timespec; 2]>, Errno> {
        self.numbers::<2>(address)
            .map(|times| times.map(|[access, change]| [time(access, 0), time(change, 0)]))
    }

    /// Two times in microseconds.
    fn microseconds(&mut self, address: u64) -> Result<Option<[libc::timespec; 2]>, Errno> {
        let Some([access, part, change, rest]) = self.numbers::<4>(address)? else { return Ok(None) };
        if [part, rest].iter().any(|part| !(0..1_000_000).contains(part)) {
            return Err(Errno::EINVAL);
        }
        Ok(Some([time(access, part * 1000), time(change, rest * 1000)]))
    }

    /// Two times in nanoseconds.
    fn times(&mut self, address: u64) -> Result<Option<[libc::timespec; 2]>, Errno> {
        self.numbers::<4>(address)
            .map(|times| times.map(|[access, part, change, rest]| [time(access, part), time(change, rest)]))
    }

    fn numbers<const N: usize>(&mut self, address: u64) -> Result<Option<[i64; N]>, Errno> {
        if address == 0 {
            return Ok(None);
        }
        let mut numbers = [0; N];
        let mut at = address;
        for number in &mut numbers {
            *number = self.memory.number(at)?.cast_signed();
            at = at.checked_add(8).ok_or(Errno::EFAULT)?;
        }
        Ok(Some(numbers))
    }
}

/// The address of a socket, as bytes.
pub(in crate::linux::mediator) fn read_address(
    memory: &mut Memory,
    address: u64,
    length: i32,
) -> Result<Vec<u8>, Errno> {
    match usize::try_from(length) {
        Ok(length) if length <= LONGEST_ADDRESS => memory.bytes(address, length),
        _ => Err(Errno::EINVAL),
    }
}

/// The path that the address of a Unix socket is, if it is one: no other family's, and no name without a file.
pub(in crate::linux::mediator) fn socket_path(address: &[u8]) -> Option<Named> {
    let (family, path) = address.split_first_chunk()?;
    if i32::from(u16::from_ne_bytes(*family)) != libc::AF_UNIX {
        return None;
    }
    let path = path.split(|byte| *byte == 0).next().filter(|path| !path.is_empty())?;
    Some(Named { directory: libc::AT_FDCWD, path: path.to_vec() })
}

fn time(seconds: i64, nanoseconds: i64) -> libc::timespec {
    libc::timespec { tv_sec: seconds, tv_nsec: nanoseconds }
}
