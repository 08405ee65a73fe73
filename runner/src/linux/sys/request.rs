//! What a command of a session consists of, laid out in memory that is handed over by its descriptor.
//!
//! It is composed outside, where memory can be allocated, and only mapped by the first process inside: the arrays of
//! pointers that `execve` takes are there already, and become pointers by adding where the mapping lies.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use nix::errno::Errno;

use super::check;
use super::terminal::Size;

/// The words at the beginning, by their index: the length of all, and where the parts lie.
const LENGTH: usize = 0;
const PROGRAM: usize = 1;
const DIRECTORY: usize = 2;
const ARGUMENTS: usize = 3;
const ENVIRONMENT: usize = 4;
const UMASK: usize = 5;
const TERMINAL: usize = 6;
const FILTER: usize = 7;
const INSTRUCTIONS: usize = 8;
const HEAD: usize = 9;
const WORD: usize = size_of::<u64>();

/// The terminal that a command is to have of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terminal {
    /// Of its window.
    pub(crate) size: Size,
    /// Whether it is its controlling one.
    pub(crate) controls: Controls,
}

/// Whether a terminal is the controlling one of who has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controls {
    /// It is: its keys are signals, and `/dev/tty` opens.
    Yes,
    /// It is read and written only.
    No,
}

impl Terminal {
    const MADE: u64 = 1 << 32;
    const CONTROLLING: u64 = 1 << 33;

    fn encode(self) -> u64 {
        let controls = if self.controls == Controls::Yes { Terminal::CONTROLLING } else { 0 };
        Terminal::MADE | controls | u64::from(self.size.lines) << 16 | u64::from(self.size.columns)
    }

    fn decode(word: u64) -> Option<Terminal> {
        let controls = if word & Terminal::CONTROLLING == 0 { Controls::No } else { Controls::Yes };
        let size = Size { lines: (word >> 16) as u16, columns: word as u16 };
        (word & Terminal::MADE != 0).then_some(Terminal { size, controls })
    }
}

/// Lays a command out in memory of its own, and yields its descriptor.
pub(in crate::linux) fn compose(
    program: &CStr,
    directory: &CStr,
    arguments: &[CString],
    environment: &[CString],
    umask: u32,
    terminal: Option<Terminal>,
    filter: &[libc::sock_filter],
) -> Result<OwnedFd, Errno> {
    let filter_at = HEAD + arguments.len() + environment.len() + 2;
    let words = filter_at + filter.len();
    let mut numbers: Vec<u64> = Vec::with_capacity(words);
    let mut texts: Vec<u8> = Vec::new();
    let mut place = |text: &CStr| {
        let at = words * WORD + texts.len();
        texts.extend_from_slice(text.to_bytes_with_nul());
        at as u64
    };
    let arguments_at = HEAD * WORD;
    let environment_at = (HEAD + arguments.len() + 1) * WORD;
    let (program, directory) = (place(program), place(directory));
    let lists: Vec<u64> = arguments
        .iter()
        .map(|text| place(text))
        .chain([0])
        .collect::<Vec<_>>()
        .into_iter()
        .chain(environment.iter().map(|text| place(text)).chain([0]))
        .collect();
    let length = (words * WORD + texts.len()) as u64;
    let terminal = terminal.map_or(0, Terminal::encode);
    numbers.extend([length, program, directory, arguments_at as u64, environment_at as u64]);
    numbers.extend([umask.into(), terminal, (filter_at * WORD) as u64, filter.len() as u64]);
    numbers.extend(lists);
    numbers.extend(filter.iter().map(instruction));
    let mut bytes: Vec<u8> = Vec::with_capacity(words * WORD + texts.len());
    numbers.iter().for_each(|number| bytes.extend_from_slice(&number.to_ne_bytes()));
    bytes.extend_from_slice(&texts);
    memory(&bytes)
}

/// An instruction as it lies in memory.
fn instruction(instruction: &libc::sock_filter) -> u64 {
    let libc::sock_filter { code, jt, jf, k } = *instruction;
    let ([a, b], [c, d, e, f]) = (code.to_ne_bytes(), k.to_ne_bytes());
    u64::from_ne_bytes([a, b, jt, jf, c, d, e, f])
}

/// Memory with these bytes in it, by its descriptor, which stands at its beginning.
pub(in crate::linux) fn memory(bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let made = |flags| {
        // SAFETY: the name is NUL-terminated; the descriptor is our own.
        check(unsafe { libc::memfd_create(c"fence".as_ptr(), libc::MFD_CLOEXEC | flags) }.into())
            .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
    };
    // An older kernel knows no such flag, and a newer one may insist on it.
    let memory = made(libc::MFD_NOEXEC_SEAL).or_else(|_| made(0))?;
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        // SAFETY: pointer and length are those of a live slice; the offset is within what is written.
        let count = unsafe {
            libc::pwrite(memory.as_raw_fd(), rest.as_ptr().cast(), rest.len(), written as libc::off_t)
        };
        written += usize::try_from(count).ok().filter(|count| *count > 0).ok_or_else(Errno::last)?;
    }
    Ok(memory)
}

/// A command that was laid out, mapped.
#[derive(Debug)]
pub(in crate::linux) struct Request {
    base: *mut u64,
    length: usize,
}

impl Request {
    /// Maps it. Only [`compose`] has made what is there: whoever sends it is outside and trusted.
    pub(in crate::linux) fn map(memory: RawFd) -> Result<Request, Errno> {
        // SAFETY: plain integers, for which all zero is a value.
        let mut status: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a live value of the right type.
        check(unsafe { libc::fstat(memory, &raw mut status) }.into())?;
        let length = usize::try_from(status.st_size).unwrap_or(0);
        if length < HEAD * WORD {
            return Err(Errno::EINVAL);
        }
        // SAFETY: a new mapping, private to this process, of a file that is as long.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE,
                memory,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        let request = Request { base: base.cast(), length };
        if request.word(LENGTH) != length as u64 {
            request.unmap();
            return Err(Errno::EINVAL);
        }
        request.settle(ARGUMENTS);
        request.settle(ENVIRONMENT);
        Ok(request)
    }

    /// Gives the memory back.
    pub(in crate::linux) fn unmap(self) {
        // SAFETY: the mapping is this value's own, and nothing of it is used any more.
        unsafe { libc::munmap(self.base.cast(), self.length) };
    }

    fn word(&self, index: usize) -> u64 {
        // SAFETY: the head is within the mapping, which is aligned to a page.
        unsafe { self.base.add(index).read() }
    }

    fn at(&self, index: usize) -> *mut u8 {
        // SAFETY: `compose` names only places within what it has laid out.
        unsafe { self.base.cast::<u8>().add(usize::try_from(self.word(index)).unwrap_or(0)) }
    }

    /// Turns the places of a list into pointers.
    fn settle(&self, list: usize) {
        let mut entry = self.at(list).cast::<u64>();
        // SAFETY: the list lies within the mapping, aligned, and ends with a zero.
        unsafe {
            while entry.read() != 0 {
                entry.write(entry.read() + self.base as u64);
                entry = entry.add(1);
            }
        }
    }

    fn text(&self, index: usize) -> &CStr {
        // SAFETY: the text lies within the mapping and ends with a NUL there.
        unsafe { CStr::from_ptr(self.at(index).cast()) }
    }

    /// The program's file and the arguments, copied.
    pub(in crate::linux) fn command(&self) -> (CString, Vec<CString>) {
        let mut arguments = Vec::new();
        let mut entry = self.at(ARGUMENTS).cast::<*const libc::c_char>();
        // SAFETY: the list has become pointers to texts of the mapping that end with a NUL, and ends with a null pointer.
        unsafe {
            while !entry.read().is_null() {
                arguments.push(CStr::from_ptr(entry.read()).to_owned());
                entry = entry.add(1);
            }
        }
        (self.text(PROGRAM).to_owned(), arguments)
    }

    /// The directory that it starts in.
    pub(in crate::linux) fn directory(&self) -> &CStr {
        self.text(DIRECTORY)
    }

    /// The mask of modes that it has.
    pub(in crate::linux) fn umask(&self) -> u32 {
        self.word(UMASK) as u32
    }

    /// The terminal that it is to have of its own.
    pub(in crate::linux) fn terminal(&self) -> Option<Terminal> {
        Terminal::decode(self.word(TERMINAL))
    }

    /// The filter of system calls that it has in the place of the usual one; empty: it has that.
    pub(in crate::linux) fn filter(&self) -> &[libc::sock_filter] {
        let length = usize::try_from(self.word(INSTRUCTIONS)).unwrap_or(0);
        // SAFETY: `compose` has laid out so many instructions there, each a word, within the mapping, which lives as long as
        // this value and is not written to any more.
        unsafe { std::slice::from_raw_parts(self.at(FILTER).cast(), length) }
    }

    /// Executes the program; it returns only if that fails.
    pub(in crate::linux) fn execute(&self) -> Errno {
        let (arguments, environment) = (self.at(ARGUMENTS), self.at(ENVIRONMENT));
        // SAFETY: both lists end with a null pointer and point to NUL-terminated texts of the mapping.
        unsafe { libc::execve(self.text(PROGRAM).as_ptr(), arguments.cast(), environment.cast()) };
        Errno::last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::sys::process::{self, Stack};

    #[test]
    fn a_command_survives_being_handed_over() {
        let texts =
            |texts: &[&str]| texts.iter().map(|text| CString::new(*text).unwrap()).collect::<Vec<_>>();
        for (script, code) in
            [("test \"$1\" = 'a b' -a \"$X\" = y -a \"$(pwd)\" = /usr || exit 3; exit 7", 7), ("exit $#", 2)]
        {
            let size = Size { lines: 65535, columns: 80 };
            let terminal = (code == 7).then_some(Terminal { size, controls: Controls::Yes });
            let filter = [libc::sock_filter { code: 6, jt: 1, jf: 255, k: 0xdead_beef }; 2];
            let arguments = texts(&["sh", "-c", script, "sh", "a b", ""]);
            let memory = compose(
                c"/bin/sh",
                c"/usr",
                &arguments,
                &texts(&["X=y", "PATH=/usr/bin:/bin"]),
                0o27,
                terminal,
                &filter,
            )
            .unwrap();
            let request = Request::map(memory.as_raw_fd()).unwrap();
            assert_eq!(request.terminal(), terminal);
            assert_eq!((request.directory(), request.umask()), (c"/usr", 0o27));
            assert_eq!(request.command(), (c"/bin/sh".to_owned(), arguments));
            assert_eq!(request.filter(), filter);
            let pid = process::start(&mut Stack::new(), &mut || {
                if process::change_directory(request.directory()).is_ok() {
                    request.execute();
                }
                process::exit(1)
            })
            .unwrap();
            assert_eq!(process::wait_for_end(pid), Ok(process::Change::Exited(code)), "{script}");
            request.unmap();
        }
        assert_eq!(Request::map(memory(b"short").unwrap().as_raw_fd()).unwrap_err(), Errno::EINVAL);
        assert_eq!(Request::map(memory(&[7; 80]).unwrap().as_raw_fd()).unwrap_err(), Errno::EINVAL);
    }
}
