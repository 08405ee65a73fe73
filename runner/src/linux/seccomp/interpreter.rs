//! Classic BPF as the kernel's filters use it, for tests.

use libc::sock_filter;

/// What a filter sees of a call.
pub(in crate::linux) struct Call {
    pub(in crate::linux) number: u32,
    pub(in crate::linux) architecture: u32,
    pub(in crate::linux) arguments: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.architecture,
            16..64 if offset.is_multiple_of(4) => {
                let argument = self.arguments[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 }
            }
            _ => panic!("a load from {offset}"),
        }
    }
}

/// What a program answers, and after how many instructions.
pub(in crate::linux) fn evaluate(program: &[sock_filter], call: &Call) -> (u32, usize) {
    let (mut accumulator, mut at, mut steps) = (0_u32, 0_usize, 0);
    loop {
        let instruction = program[at];
        let (code, k) = (u32::from(instruction.code), instruction.k);
        at += 1;
        steps += 1;
        let mut jump = |holds: bool| at += usize::from(if holds { instruction.jt } else { instruction.jf });
        match code {
            0x20 => accumulator = call.word(k),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => jump(accumulator == k),
            0x25 => jump(accumulator > k),
            0x35 => jump(accumulator >= k),
            0x45 => jump(accumulator & k != 0),
            0x06 => return (k, steps),
            _ => panic!("instruction {code:#x}"),
        }
    }
}
