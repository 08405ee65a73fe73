//! Instructions, and jumps between them by name.

use std::collections::BTreeMap;

use libc::sock_filter;

use super::FilterError;

/// A place in a piece of program that a test may lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label(usize);

enum Line {
    Do(sock_filter),
    Test { kind: u32, with: u32, holds: Label, fails: Label },
    Mark(Label),
}

/// A piece of program while it is written.
#[derive(Default)]
pub(super) struct Piece {
    lines: Vec<Line>,
    labels: usize,
}

impl Piece {
    /// A new label; it must be marked once.
    pub(super) fn label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels)
    }

    /// Gives the place of what comes next a label.
    pub(super) fn mark(&mut self, label: Label) {
        self.lines.push(Line::Mark(label));
    }

    /// Adds an instruction that does not jump.
    pub(super) fn add(&mut self, instruction: sock_filter) {
        self.lines.push(Line::Do(instruction));
    }

    /// Compares the accumulator (`BPF_JEQ`, `BPF_JSET`), and goes on at one of two labels, both further on.
    pub(super) fn test(&mut self, kind: u32, with: u32, holds: Label, fails: Label) {
        self.lines.push(Line::Test { kind, with, holds, fails });
    }

    /// The instructions, with the distances in.
    pub(super) fn assemble(&self) -> Result<Vec<sock_filter>, FilterError> {
        let mut marks = BTreeMap::new();
        let mut length = 0;
        for line in &self.lines {
            match line {
                Line::Mark(label) => drop(marks.insert(*label, length)),
                Line::Do(_) | Line::Test { .. } => length += 1,
            }
        }
        let mut program: Vec<sock_filter> = Vec::with_capacity(length);
        for line in &self.lines {
            let next = program.len() + 1;
            let distance = |label: &Label| {
                let there = marks.get(label).and_then(|there| there.checked_sub(next));
                there.and_then(|distance| u8::try_from(distance).ok()).ok_or(FilterError::TooLong(length))
            };
            match line {
                Line::Mark(_) => {}
                Line::Do(instruction) => program.push(*instruction),
                Line::Test { kind, with, holds, fails } => {
                    program.push(test(*kind, *with, distance(holds)?, distance(fails)?));
                }
            }
        }
        Ok(program)
    }
}

/// An instruction that does not test.
pub(super) fn statement(code: u32, operand: u32) -> sock_filter {
    // INVARIANT: every code of classic BPF fits into 16 bits.
    sock_filter { code: code as u16, jt: 0, jf: 0, k: operand }
}

/// A test of the accumulator and how many instructions are left out if it holds and if not.
pub(super) fn test(kind: u32, with: u32, holds: u8, fails: u8) -> sock_filter {
    let code = libc::BPF_JMP | kind | libc::BPF_K;
    sock_filter { code: code as u16, jt: holds, jf: fails, k: with }
}

/// Loads a word of `struct seccomp_data`.
pub(super) fn load(offset: u32) -> sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

/// Keeps some bits of the accumulator.
pub(super) fn mask(bits: u32) -> sock_filter {
    statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, bits)
}

/// The call is made.
pub(super) fn allow() -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW)
}

/// The call waits for an answer.
pub(super) fn notify() -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF)
}

/// The call answers an error.
pub(super) fn refuse(errno: u16) -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | u32::from(errno))
}

/// The process ends.
pub(super) fn kill() -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_KILL_PROCESS)
}
