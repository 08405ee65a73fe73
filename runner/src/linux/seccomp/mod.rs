//! From the refused system calls of a plan to a program for the kernel.
//!
//! The program is made here and not by `seccompiler`, which knows one error for a whole filter, while each refused
//! group states its own; several filters instead of one would each run on every call. It also has no range check for
//! numbers that no kernel knows yet.

mod aarch64;
mod assemble;
mod condition;
mod x86_64;

#[cfg(test)]
pub(super) mod interpreter;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use fence_compiler::plan::{CallRule, Condition};
use libc::sock_filter;
use thiserror::Error;

use super::sys::socket::HANDING_OVER;
use assemble::{Piece, allow, kill, load, notify, refuse, statement, test};

pub(super) use condition::holds;

/// The flags of `open` with which something is written or made.
pub(super) const WRITING: i32 = libc::O_WRONLY
    | libc::O_RDWR
    | libc::O_CREAT
    | libc::O_TRUNC
    | libc::O_APPEND
    | (libc::O_TMPFILE & !libc::O_DIRECTORY);

/// A processor that filters are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64, without x32.
    X86_64,
    /// 64-bit ARM, little-endian.
    Aarch64,
}

impl Architecture {
    /// The one that this program was built for.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Architecture = Architecture::X86_64;
    /// The one that this program was built for.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Architecture = Architecture::Aarch64;

    /// `AUDIT_ARCH_*`.
    pub(super) fn audit(self) -> u32 {
        match self {
            Architecture::X86_64 => 0xc000_003e,
            Architecture::Aarch64 => 0xc000_00b7,
        }
    }

    fn calls(self) -> &'static [(&'static str, u32)] {
        match self {
            Architecture::X86_64 => x86_64::CALLS,
            Architecture::Aarch64 => aarch64::CALLS,
        }
    }

    /// The names of all calls.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        self.calls().iter().map(|(name, _)| *name)
    }

    /// The number of a call.
    #[must_use]
    pub fn number(self, name: &str) -> Option<u32> {
        self.calls().iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
    }
}

/// Why no program can be made of a plan's calls.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FilterError {
    /// No architecture has this call.
    #[error("the plan refuses the system call `{0}`, which fence does not know")]
    UnknownCall(String),
    /// An error that fence does not know.
    #[error("the plan answers a system call with `{0}`, which is no error that fence knows")]
    UnknownErrno(String),
    /// An argument that no call has, or a width that none is read in.
    #[error("the plan asks for {width} bits of argument {argument} of a system call")]
    Argument {
        /// The argument.
        argument: u8,
        /// The width.
        width: u8,
    },
    /// The kernel takes 4,096 instructions.
    #[error("the filter of system calls has {0} instructions, and the kernel takes 4096")]
    TooLong(usize),
}

/// Makes the program for an architecture as bytes: what bubblewrap reads.
///
/// # Errors
///
/// Those of [`compile`].
pub fn bytes(rules: &[CallRule], architecture: Architecture) -> Result<Vec<u8>, FilterError> {
    let mut bytes = Vec::new();
    for sock_filter { code, jt, jf, k } in compile(rules, architecture)? {
        bytes.extend(code.to_ne_bytes());
        bytes.extend([jt, jf]);
        bytes.extend(k.to_ne_bytes());
    }
    Ok(bytes)
}

/// Makes the program for an architecture.
///
/// Another architecture's calls (`int 0x80`, 32-bit programs) end the process: nothing, not even an exit, can be
/// trusted there. x32 and numbers above the newest known call answer `ENOSYS`. A call that an architecture does not
/// have needs no rule there. What remains is a binary search over the ranges of numbers with the same rules, so that
/// a call without one costs about ten instructions.
///
/// # Errors
///
/// A plan that names calls, errors or arguments that do not exist.
pub fn compile(rules: &[CallRule], architecture: Architecture) -> Result<Vec<sock_filter>, FilterError> {
    compile_judged(rules, &[], architecture)
}

/// A call that waits for an answer from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Its name.
    pub call: &'static str,
    /// When it waits; else it is made.
    pub when: Condition,
}

/// Does the same, and lets calls that are judged elsewhere wait for their answer where no rule refuses them.
///
/// # Errors
///
/// Those of [`compile`].
pub fn compile_judged(
    rules: &[CallRule],
    judged: &[Judged],
    architecture: Architecture,
) -> Result<Vec<sock_filter>, FilterError> {
    let mut refused: BTreeMap<u32, Vec<(&[Condition], u16)>> = BTreeMap::new();
    let numbers: HashMap<&str, u32> = architecture.calls().iter().copied().collect();
    for rule in rules {
        let errno = errno(&rule.errno).ok_or_else(|| FilterError::UnknownErrno(rule.errno.clone()))?;
        for call in &rule.calls {
            match numbers.get(call.as_str()) {
                Some(number) => refused.entry(*number).or_default().push((&rule.when, errno)),
                None if known_elsewhere(call) => {}
                None => return Err(FilterError::UnknownCall(call.clone())),
            }
        }
    }
    let mut waiting: BTreeMap<u32, Vec<Condition>> = BTreeMap::new();
    for Judged { call, when } in judged {
        match numbers.get(call) {
            Some(number) => {
                waiting.entry(*number).or_default().push(when.clone());
                refused.entry(*number).or_default();
            }
            None if known_elsewhere(call) => {}
            None => return Err(FilterError::UnknownCall((*call).to_owned())),
        }
    }
    let newest = architecture.calls().iter().map(|(_, number)| *number).max().unwrap_or(0);
    let mut ranges: Vec<(u32, Vec<sock_filter>)> = vec![(0, vec![allow()])];
    for (number, rules) in refused {
        let waits = waiting.get(&number).map(Vec::as_slice).unwrap_or_default();
        begin(&mut ranges, number, body(&rules, waits)?);
        begin(&mut ranges, number + 1, vec![allow()]);
    }
    begin(&mut ranges, newest + 1, vec![refuse(libc::ENOSYS as u16)]);
    let mut program =
        vec![load(ARCHITECTURE), test(libc::BPF_JEQ, architecture.audit(), 1, 0), kill(), load(NUMBER)];
    program.extend(search(&ranges));
    if program.len() > 4096 {
        return Err(FilterError::TooLong(program.len()));
    }
    Ok(program)
}

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

fn known_elsewhere(call: &str) -> bool {
    [Architecture::X86_64, Architecture::Aarch64].iter().any(|other| other.number(call).is_some())
}

/// Refuses messages with the flag that the place where calls are answered is handed over with: nobody judges them.
pub(super) fn handed_over() -> [sock_filter; 6] {
    const FLAGS: u32 = 32;
    [
        load(NUMBER),
        test(libc::BPF_JEQ, libc::SYS_sendmsg as u32, 0, 3),
        load(FLAGS),
        test(libc::BPF_JSET, HANDING_OVER as u32, 0, 1),
        refuse(libc::EINVAL as u16),
        allow(),
    ]
}

/// Begins a range at a number, in the place of one that begins there, or as a part of the one before if both do the
/// same.
fn begin(ranges: &mut Vec<(u32, Vec<sock_filter>)>, number: u32, body: Vec<sock_filter>) {
    if ranges.last().is_some_and(|(first, _)| *first == number) {
        ranges.pop();
    }
    if ranges.last().is_none_or(|(_, last)| *last != body) {
        ranges.push((number, body));
    }
}

/// What happens to one call: each rule in turn, then whether it waits.
fn body(rules: &[(&[Condition], u16)], waits: &[Condition]) -> Result<Vec<sock_filter>, FilterError> {
    let mut piece = Piece::default();
    for (conditions, errno) in rules {
        condition::any(conditions, refuse(*errno), &mut piece)?;
    }
    match waits {
        [] => piece.add(allow()),
        [Condition::Always] => piece.add(notify()),
        waits => {
            condition::any(waits, notify(), &mut piece)?;
            piece.add(allow());
        }
    }
    piece.assemble()
}

/// A binary search for the range that the number in the accumulator is in.
fn search(ranges: &[(u32, Vec<sock_filter>)]) -> Vec<sock_filter> {
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let Some((first, body)) = above.first() else { return Vec::new() };
    if below.is_empty() {
        return body.clone();
    }
    let (below, above) = (search(below), search(above));
    let mut program = match u8::try_from(below.len()) {
        Ok(distance) => vec![test(libc::BPF_JGE, *first, distance, 0)],
        // Farther than a test can jump.
        Err(_) => vec![
            test(libc::BPF_JGE, *first, 0, 1),
            statement(libc::BPF_JMP | libc::BPF_JA, u32::try_from(below.len()).unwrap_or(u32::MAX)),
        ],
    };
    program.extend(below);
    program.extend(above);
    program
}

/// The number of an error.
pub(super) fn errno(name: &str) -> Option<u16> {
    let number = match name {
        "EPERM" => libc::EPERM,
        "ENOENT" => libc::ENOENT,
        "EACCES" => libc::EACCES,
        "EINVAL" => libc::EINVAL,
        "ENOTTY" => libc::ENOTTY,
        "ENOSYS" => libc::ENOSYS,
        "EOPNOTSUPP" | "ENOTSUP" => libc::EOPNOTSUPP,
        "EAFNOSUPPORT" => libc::EAFNOSUPPORT,
        "EPROTONOSUPPORT" => libc::EPROTONOSUPPORT,
        "ESOCKTNOSUPPORT" => libc::ESOCKTNOSUPPORT,
        "ENODEV" => libc::ENODEV,
        "ENOSPC" => libc::ENOSPC,
        _ => return None,
    };
    u16::try_from(number).ok()
}
