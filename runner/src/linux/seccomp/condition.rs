//! Conditions on arguments, in the width that the kernel reads.

use fence_compiler::plan::Condition;

use super::FilterError;
use super::assemble::{Label, Piece, load, mask};

/// Ends with an answer if any of the conditions holds, else goes on.
pub(super) fn any(
    conditions: &[Condition],
    answer: libc::sock_filter,
    piece: &mut Piece,
) -> Result<(), FilterError> {
    let (holds, fails) = (piece.label(), piece.label());
    for condition in conditions {
        let next = piece.label();
        write(condition, holds, next, piece)?;
        piece.mark(next);
    }
    // Nothing held: what comes next is left out. A test is the only jump of classic BPF with two ends.
    piece.test(libc::BPF_JGE, 0, fails, fails);
    piece.mark(holds);
    piece.add(answer);
    piece.mark(fails);
    Ok(())
}

/// Whether a condition holds for the arguments of a call.
pub(in crate::linux) fn holds(condition: &Condition, arguments: &[u64; 6]) -> bool {
    let value = |argument: u8, width: u8| {
        let value = arguments.get(usize::from(argument)).copied().unwrap_or_default();
        Argument { number: argument, width }.cut(value)
    };
    match condition {
        Condition::Always => true,
        Condition::Equals { argument, width, mask, value: wanted } => {
            let cut = |bits| Argument { number: *argument, width: *width }.cut(bits);
            value(*argument, *width) & cut(*mask) == cut(*wanted)
        }
        Condition::AnyBit { argument, width, bits } => value(*argument, *width) & bits != 0,
        Condition::All(conditions) => conditions.iter().all(|condition| holds(condition, arguments)),
        Condition::NoneOf { argument, width, values } => {
            let cut = |bits: &u64| Argument { number: *argument, width: *width }.cut(*bits);
            !values.iter().any(|other| cut(other) == value(*argument, *width))
        }
    }
}

/// Goes to one label if the condition holds, to the other if not.
fn write(condition: &Condition, holds: Label, fails: Label, piece: &mut Piece) -> Result<(), FilterError> {
    match condition {
        Condition::Always => piece.test(libc::BPF_JGE, 0, holds, holds),
        Condition::Equals { argument, width, mask: bits, value } => {
            let argument = Argument::new(*argument, *width)?;
            let value = argument.cut(*value);
            argument.compare(argument.cut(*bits), value, holds, fails, piece);
        }
        Condition::AnyBit { argument, width, bits } => {
            let argument = Argument::new(*argument, *width)?;
            let bits = argument.cut(*bits);
            if argument.width == 64 {
                let next = piece.label();
                piece.add(load(argument.high()));
                piece.test(libc::BPF_JSET, high(bits), holds, next);
                piece.mark(next);
            }
            piece.add(load(argument.low()));
            piece.test(libc::BPF_JSET, low(bits), holds, fails);
        }
        Condition::All(conditions) => {
            for condition in conditions {
                let next = piece.label();
                write(condition, next, fails, piece)?;
                piece.mark(next);
            }
            piece.test(libc::BPF_JGE, 0, holds, holds);
        }
        Condition::NoneOf { argument, width, values } => {
            let argument = Argument::new(*argument, *width)?;
            let bits = argument.cut(u64::MAX);
            if *width != 64 {
                piece.add(load(argument.low()));
                keep(low(bits), piece);
            }
            for value in values.iter().map(|value| argument.cut(*value)) {
                let next = piece.label();
                if *width == 64 {
                    argument.compare(bits, value, fails, next, piece);
                } else {
                    piece.test(libc::BPF_JEQ, low(value), fails, next);
                }
                piece.mark(next);
            }
            piece.test(libc::BPF_JGE, 0, holds, holds);
        }
    }
    Ok(())
}

/// An argument and how much of it the kernel reads.
#[derive(Clone, Copy)]
struct Argument {
    number: u8,
    width: u8,
}

impl Argument {
    fn new(number: u8, width: u8) -> Result<Argument, FilterError> {
        if number < 6 && matches!(width, 16 | 32 | 64) {
            Ok(Argument { number, width })
        } else {
            Err(FilterError::Argument { argument: number, width })
        }
    }

    /// What remains of a value in this width.
    fn cut(self, value: u64) -> u64 {
        match self.width {
            16 => value & 0xffff,
            32 => value & 0xffff_ffff,
            _ => value,
        }
    }

    /// The offset of the low half in `struct seccomp_data`, on a little-endian machine.
    fn low(self) -> u32 {
        16 + 8 * u32::from(self.number)
    }

    fn high(self) -> u32 {
        self.low() + 4
    }

    /// Compares the bits of the mask with a value.
    fn compare(self, bits: u64, value: u64, holds: Label, fails: Label, piece: &mut Piece) {
        if value & !bits != 0 {
            // A bit that is masked out can never be set.
            piece.test(libc::BPF_JGE, 0, fails, fails);
            return;
        }
        if self.width == 64 {
            let next = piece.label();
            half(self.high(), high(bits), high(value), next, fails, piece);
            piece.mark(next);
        }
        half(self.low(), low(bits), low(value), holds, fails, piece);
    }
}

fn half(offset: u32, bits: u32, value: u32, holds: Label, fails: Label, piece: &mut Piece) {
    piece.add(load(offset));
    keep(bits, piece);
    piece.test(libc::BPF_JEQ, value, holds, fails);
}

fn keep(bits: u32, piece: &mut Piece) {
    if bits != u32::MAX {
        piece.add(mask(bits));
    }
}

fn low(value: u64) -> u32 {
    value as u32
}

fn high(value: u64) -> u32 {
    (value >> 32) as u32
}
