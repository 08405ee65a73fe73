//! What the kernel makes of a file that it is asked to execute.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use nix::errno::Errno;

use super::place::Found;

/// How much of a file decides what it is, as in the kernel.
const HEAD: usize = 256;

/// A kind of program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// A text that begins with `#!`.
    Script {
        /// The program that is executed in its place.
        interpreter: Vec<u8>,
        /// What that is given before the script's name.
        argument: Option<Vec<u8>>,
    },
    /// A loader of programs: it runs the file that its arguments name.
    Loader,
    /// Anything else.
    Other,
}

impl Program {
    /// Whether a file is a loader by what it is, under any name.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn is_loader(found: &Found) -> Result<bool, Errno> {
        let (file, head) = beginning(found)?;
        Ok(is_loader(&file, &head) == Some(true))
    }

    /// Looks into a file.
    ///
    /// # Errors
    /// It cannot be read, so that nobody can say what it would do.
    pub(super) fn of(found: &Found) -> Result<Program, Errno> {
        let (file, head) = beginning(found)?;
        if head.starts_with(b"#!") {
            return Ok(script(&head).unwrap_or(Program::Other));
        }
        let named =
            found.path.as_ref().and_then(|path| path.name()).is_some_and(|name| name.starts_with(b"ld-"));
        Ok(if named || is_loader(&file, &head) == Some(true) { Program::Loader } else { Program::Other })
    }
}

/// A file, opened for reading, and how it begins.
fn beginning(found: &Found) -> Result<(File, Vec<u8>), Errno> {
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = options
        .open(format!("/proc/self/fd/{}", found.file.as_raw_fd()))
        .map_err(|error| error.raw_os_error().map_or(Errno::EACCES, Errno::from_raw))?;
    let mut head = vec![0; HEAD];
    let length = file.read_at(&mut head, 0).map_err(|_| Errno::EIO)?;
    head.truncate(length);
    Ok((file, head))
}

/// The first line of a script, read as the kernel does.
fn script(head: &[u8]) -> Option<Program> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let line = head.get(2..)?.split(|byte| matches!(byte, b'\n' | 0)).next()?;
    let start = line.iter().position(|byte| !is_blank(byte))?;
    let line = line.get(start..)?;
    let end = line.iter().position(is_blank).unwrap_or(line.len());
    let (interpreter, rest) = line.split_at(end);
    let rest: &[u8] = match rest.iter().position(|byte| !is_blank(byte)) {
        Some(start) => rest.get(start..)?,
        None => &[],
    };
    let length = rest.iter().rposition(|byte| !is_blank(byte)).map_or(0, |last| last + 1);
    let argument = rest.get(..length).filter(|argument| !argument.is_empty());
    Some(Program::Script { interpreter: interpreter.to_vec(), argument: argument.map(<[u8]>::to_vec) })
}

/// The program that the kernel loads beside an object and enters in its place, as the object names it.
///
/// # Errors
/// It cannot be read.
pub(super) fn loaded_with(found: &Found) -> Result<Option<Vec<u8>>, Errno> {
    const INTERPRETER: u32 = 3;
    const LONGEST: u64 = 4096;
    let (file, head) = beginning(found)?;
    let head = head.as_slice();
    let is_wide = match head {
        [0x7f, b'E', b'L', b'F', 1, ..] => false,
        [0x7f, b'E', b'L', b'F', 2, ..] => true,
        _ => return Ok(None),
    };
    let read = || {
        let narrow = |bytes: &[u8], at: usize| word(bytes, at).map(u64::from);
        let (offset, size, count) = match is_wide {
            true => (wide(head, 32)?, half(head, 54)?, half(head, 56)?),
            false => (narrow(head, 28)?, half(head, 42)?, half(head, 44)?),
        };
        let mut table = vec![0; usize::from(size) * usize::from(count)];
        file.read_exact_at(&mut table, offset).ok()?;
        let mut entries = table.chunks_exact(usize::from(size).max(32));
        let entry = entries.find(|entry| word(entry, 0) == Some(INTERPRETER))?;
        let (offset, length) = match is_wide {
            true => (wide(entry, 8)?, wide(entry, 32)?),
            false => (narrow(entry, 4)?, narrow(entry, 16)?),
        };
        let mut name = vec![0; usize::try_from(length.min(LONGEST)).ok()?];
        file.read_exact_at(&mut name, offset).ok()?;
        name.split(|byte| *byte == 0).next().map(<[u8]>::to_vec)
    };
    // What has no such entry, or one that leads out of the file, the kernel loads alone or not at all.
    Ok(read())
}

/// Whether an object of 64 bits is one that loads others: a shared object with a name of its own that needs no loader
/// itself, and can be entered.
fn is_loader(file: &File, head: &[u8]) -> Option<bool> {
    const SHARED: u16 = 3;
    const DYNAMIC: u32 = 2;
    const INTERPRETER: u32 = 3;
    const NAME: u64 = 14;
    if !head.starts_with(b"\x7fELF\x02\x01") || half(head, 16)? != SHARED || wide(head, 24)? == 0 {
        return Some(false);
    }
    let (offset, size, count) = (wide(head, 32)?, half(head, 54)?, half(head, 56)?);
    let mut table = vec![0; usize::from(size) * usize::from(count)];
    file.read_exact_at(&mut table, offset).ok()?;
    let mut dynamic = None;
    for entry in table.chunks_exact(usize::from(size).max(56)) {
        match word(entry, 0)? {
            INTERPRETER => return Some(false),
            DYNAMIC => dynamic = Some((wide(entry, 8)?, wide(entry, 32)?)),
            _ => {}
        }
    }
    let Some((offset, length)) = dynamic else { return Some(false) };
    let mut entries = vec![0; usize::try_from(length.min(1 << 16)).ok()?];
    file.read_exact_at(&mut entries, offset).ok()?;
    Some(entries.chunks_exact(16).any(|entry| wide(entry, 0) == Some(NAME)))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn wide(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// What a loader is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// To run this program, with these arguments, its name first.
    Runs(&'a [u8], Vec<Vec<u8>>),
    /// To tell something.
    Tells,
    /// What only some loader may know: this option.
    Unknown(&'a [u8]),
}

/// Reads the arguments of a loader: the options of glibc's and of musl's, which all begin with `--`. Whatever else stands
/// first is the program, `-x/rm` too.
pub(super) fn asked(argv: &[Vec<u8>]) -> Asked<'_> {
    const VALUED: [&[u8]; 7] = [
        b"--library-path",
        b"--inhibit-rpath",
        b"--glibc-hwcaps-prepend",
        b"--glibc-hwcaps-mask",
        b"--preload",
        b"--audit",
        b"--argv0",
    ];
    const PLAIN: [&[u8]; 3] = [b"--list", b"--verify", b"--inhibit-cache"];
    const TELLS: [&[u8]; 4] = [b"--help", b"--version", b"--list-tunables", b"--list-diagnostics"];
    const JOINED: [&[u8]; 2] = [b"--library-path=", b"--preload="];
    let mut at = 1;
    let mut called = None;
    while let Some(word) = argv.get(at).filter(|word| word.starts_with(b"--")) {
        at += 1;
        let option = word.as_slice();
        if option == b"--" {
            break;
        }
        if TELLS.contains(&option) {
            return Asked::Tells;
        }
        if let Some(name) = option.strip_prefix(b"--argv0=") {
            called = Some(name.to_vec());
        } else if VALUED.contains(&option) {
            if option == b"--argv0" {
                called = argv.get(at).cloned();
            }
            at += 1;
        } else if !PLAIN.contains(&option) && !JOINED.iter().any(|joined| option.starts_with(joined)) {
            return Asked::Unknown(option);
        }
    }
    let Some(program) = argv.get(at) else { return Asked::Tells };
    let first = called.unwrap_or_else(|| program.clone());
    Asked::Runs(program, [first].into_iter().chain(argv.iter().skip(at + 1).cloned()).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::place::know;
    use super::*;

    fn of(path: &str) -> Program {
        Program::of(&Found::of(know(path).unwrap(), BTreeMap::new()).unwrap()).unwrap()
    }

    #[test]
    fn the_first_line_of_a_script_is_read_as_the_kernel_does() {
        for (head, interpreter, argument) in [
            ("#!/bin/sh\n", "/bin/sh", None),
            ("#! \t/usr/bin/env  python3 -u \t\nx", "/usr/bin/env", Some("python3 -u")),
            ("#!/bin/sh", "/bin/sh", None),
            ("#!sh -e", "sh", Some("-e")),
        ] {
            let expected = Program::Script {
                interpreter: interpreter.into(),
                argument: argument.map(|text: &str| text.into()),
            };
            assert_eq!(script(head.as_bytes()), Some(expected), "{head:?}");
        }
        assert_eq!(script(b"#! \n/bin/sh"), None);
    }

    #[test]
    fn a_loader_is_told_from_programs_and_libraries_by_what_it_is() {
        let loader = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"]
            .into_iter()
            .find(|path| std::path::Path::new(path).exists());
        let Some(loader) = loader else { return };
        assert_eq!(of(loader), Program::Loader);
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("harmless");
        std::fs::copy(loader, &copy).unwrap();
        assert_eq!(of(copy.to_str().unwrap()), Program::Loader);
        assert_eq!(of("/bin/sh"), Program::Other);
        let shell = Found::of(know("/bin/sh").unwrap(), BTreeMap::new()).unwrap();
        let beside = loaded_with(&shell).unwrap().map(|name| String::from_utf8(name).unwrap());
        assert!(beside.is_some_and(|name| name.contains("/ld-")));
        assert_eq!(of(std::env::current_exe().unwrap().to_str().unwrap()), Program::Other);
    }

    #[test]
    fn what_a_loader_runs_is_found_in_its_arguments() {
        for (text, program, argv) in [
            ("ld.so /usr/bin/git push", "/usr/bin/git", "/usr/bin/git push"),
            ("ld.so --library-path /x --argv0 y git push", "git", "y push"),
            ("ld.so --argv0=y --list git", "git", "y"),
            ("ld.so -x/rm /usr/bin/true -rf x", "-x/rm", "-x/rm /usr/bin/true -rf x"),
            ("ld.so -- -x/rm y", "-x/rm", "-x/rm y"),
        ] {
            assert_eq!(asked(&words(text)), Asked::Runs(program.as_bytes(), words(argv)), "{text}");
        }
        assert_eq!(asked(&words("ld.so --version /bin/sh")), Asked::Tells);
        assert_eq!(asked(&words("ld.so --verify")), Asked::Tells);
        assert_eq!(asked(&words("ld.so --new /bin/sh")), Asked::Unknown(b"--new"));
    }

    fn words(text: &str) -> Vec<Vec<u8>> {
        text.split(' ').map(|word| word.into()).collect()
    }
}
