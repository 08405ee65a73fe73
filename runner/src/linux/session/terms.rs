//! What commands of a session are held by from some moment on: their filter, their limits, their time.
//!
//! It is laid out as words in memory outside, and put in place by the first process without allocating: the lists that it
//! goes into have had room for all there can be since before the clone.

use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

use nix::errno::Errno;

use crate::launch::Error;
use crate::linux::operation::{Operation, Step};
use crate::linux::sys::{self, request};

/// The most instructions that a filter has, as the kernel takes them.
pub(super) const MOST_INSTRUCTIONS: usize = 4096;
/// The most limits that each process has: one a resource.
pub(super) const MOST_LIMITS: usize = 16;

const WORD: usize = size_of::<u64>();
/// The words before the lists: the time in nanoseconds, how many limits, how many instructions.
const HEAD: usize = 3;
const MOST: usize = HEAD + 2 * MOST_LIMITS + MOST_INSTRUCTIONS + 1;
const NO_TIME: u64 = u64::MAX;

/// Lays out what these steps hold a command by.
pub(super) fn compose(steps: &[Step], time: Option<Duration>) -> Result<OwnedFd, Error> {
    let limits: Vec<(u32, u64)> = steps
        .iter()
        .filter_map(|step| match step.operation {
            Operation::Limit { resource, amount } => Some((resource, amount)),
            _ => None,
        })
        .collect();
    let program = steps.iter().find_map(|step| program(&step.operation)).map_or(&[][..], Vec::as_slice);
    if limits.len() > MOST_LIMITS || program.len() > MOST_INSTRUCTIONS {
        return Err(Error::Plan(
            "the policy needs a longer filter of system calls than the kernel takes".to_owned(),
        ));
    }
    let time = time.map_or(NO_TIME, |time| u64::try_from(time.as_nanos()).unwrap_or(NO_TIME - 1));
    let mut words = vec![time, limits.len() as u64, program.len() as u64];
    words.extend(limits.iter().flat_map(|(resource, amount)| [u64::from(*resource), *amount]));
    words.extend(program.iter().map(packed));
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    request::memory(&bytes).map_err(|errno| Error::Step {
        attempt: "laying out what commands are held by".to_owned(),
        reason: errno.desc().to_lowercase(),
        repair: "close what else uses memory".to_owned(),
        rules: Vec::new(),
    })
}

/// Gives the lists room for every terms there can be.
pub(super) fn make_room(steps: &mut Vec<Step>) {
    steps.reserve(MOST_LIMITS);
    for step in steps {
        if let Operation::Filter { program } | Operation::MediateAsked { program, .. } = &mut step.operation {
            program.reserve(MOST_INSTRUCTIONS);
        }
    }
}

/// Puts the terms that memory holds in the place of those among the steps; the time. Where starts are judged, they are
/// from then on judged through this channel. What cannot be read changes nothing.
pub(super) fn replace(
    steps: &mut Vec<Step>,
    memory: RawFd,
    judged: Option<RawFd>,
) -> Result<Option<Duration>, Errno> {
    let mut bytes = [0; MOST * WORD];
    let length = read(memory, &mut bytes)?;
    let word = |index: usize| -> Option<u64> {
        let bytes = bytes.get(..length)?.get(index * WORD..(index + 1) * WORD)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    };
    let count = |index, most| {
        word(index).and_then(|count| usize::try_from(count).ok()).filter(|count| *count <= most)
    };
    let (Some(time), Some(limits), Some(instructions)) =
        (word(0), count(1, MOST_LIMITS), count(2, MOST_INSTRUCTIONS))
    else {
        return Err(Errno::EINVAL);
    };
    let at = steps.iter().position(|step| program(&step.operation).is_some());
    let (Some(step), true) =
        (at.and_then(|at| steps.get_mut(at)), length == (HEAD + 2 * limits + instructions) * WORD)
    else {
        return Err(Errno::EINVAL);
    };
    let (Operation::Filter { program } | Operation::MediateAsked { program, .. }) = &mut step.operation
    else {
        return Err(Errno::EINVAL);
    };
    let mut program = std::mem::take(program);
    program.clear();
    program.extend((0..instructions).filter_map(|index| word(HEAD + 2 * limits + index)).map(unpacked));
    step.operation = match judged {
        Some(channel) => Operation::MediateAsked { program, channel },
        None => Operation::Filter { program },
    };
    steps.retain(|step| !matches!(step.operation, Operation::Limit { .. }));
    let started = steps.iter().position(|step| matches!(step.operation, Operation::StartAsked));
    for index in (0..limits).rev() {
        if let (Some(resource), Some(amount)) = (word(HEAD + 2 * index), word(HEAD + 2 * index + 1)) {
            let limit = Operation::Limit { resource: resource as u32, amount };
            steps.insert(started.map_or(0, |at| at + 1), limit.into());
        }
    }
    Ok((time != NO_TIME).then(|| Duration::from_nanos(time)))
}

/// Reads all that memory holds; how much.
fn read(memory: RawFd, bytes: &mut [u8]) -> Result<usize, Errno> {
    let mut length = 0;
    while let Some(room) = bytes.get_mut(length..).filter(|room| !room.is_empty()) {
        match sys::read(memory, room) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(length)
}

fn program(operation: &Operation) -> Option<&Vec<libc::sock_filter>> {
    match operation {
        Operation::Filter { program } | Operation::MediateAsked { program, .. } => Some(program),
        _ => None,
    }
}

fn packed(instruction: &libc::sock_filter) -> u64 {
    let libc::sock_filter { code, jt, jf, k } = *instruction;
    u64::from(code) | u64::from(jt) << 16 | u64::from(jf) << 24 | u64::from(k) << 32
}

fn unpacked(word: u64) -> libc::sock_filter {
    libc::sock_filter {
        code: word as u16,
        jt: (word >> 16) as u8,
        jf: (word >> 24) as u8,
        k: (word >> 32) as u32,
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    fn steps(program: Vec<libc::sock_filter>, limits: &[(u32, u64)]) -> Vec<Step> {
        let limits =
            limits.iter().map(|(resource, amount)| Operation::Limit { resource: *resource, amount: *amount });
        let before = [Operation::NewSession, Operation::StartAsked].into_iter();
        before
            .chain(limits)
            .chain([Operation::Filter { program }, Operation::ExecuteAsked])
            .map(Step::from)
            .collect()
    }

    fn told(steps: &[Step]) -> String {
        steps.iter().map(|step| format!("{:?}\n", step.operation)).collect()
    }

    #[test]
    fn terms_take_the_place_of_others_without_allocating() {
        let one = libc::sock_filter { code: 6, jt: 1, jf: 255, k: 0xdead_beef };
        let other = libc::sock_filter { code: 0x15, jt: 0, jf: 3, k: 7 };
        let next = steps(vec![other, one, other], &[(7, 64), (1, u64::MAX)]);
        let memory = compose(&next, Some(Duration::from_secs(3))).unwrap();
        let mut held = steps(vec![one], &[(7, 128)]);
        make_room(&mut held);
        let room = held.as_ptr();
        assert_eq!(replace(&mut held, memory.as_raw_fd(), None), Ok(Some(Duration::from_secs(3))));
        assert_eq!((told(&held), held.as_ptr()), (told(&next), room));
        let memory = compose(&steps(Vec::new(), &[]), None).unwrap();
        assert_eq!(replace(&mut held, memory.as_raw_fd(), Some(5)), Ok(None));
        assert!(told(&held).contains("channel: 5") && !told(&held).contains("Limit"));
    }

    #[test]
    fn what_cannot_be_read_changes_nothing() {
        let mut held = steps(Vec::new(), &[(7, 128)]);
        let before = told(&held);
        for bytes in [&[][..], &[0; 8], &[0; 25], &[1; 24]] {
            let memory = request::memory(bytes).unwrap();
            assert_eq!(replace(&mut held, memory.as_raw_fd(), None), Err(Errno::EINVAL));
            assert_eq!(told(&held), before);
        }
    }
}
