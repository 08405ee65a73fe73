//! The processors that a process may run on.

use std::mem;

/// A set of processors.
#[derive(Clone, Copy)]
pub(in crate::linux) struct Processors(libc::cpu_set_t);

impl std::fmt::Debug for Processors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Processors")
    }
}

impl Processors {
    /// Keeps this thread, and what it starts, on the processor that it runs on, and yields those it could run on
    /// before; `None`, and nothing is changed, where they are too many for a set (1,024).
    pub(in crate::linux) fn keep_to_one() -> Option<Processors> {
        // SAFETY: a set is plain integers, for which all zero is a value; the pointers are to live sets whose size is
        // told; 0 is this thread.
        unsafe {
            let mut before: libc::cpu_set_t = mem::zeroed();
            if libc::sched_getaffinity(0, size_of_val(&before), &raw mut before) != 0 {
                return None;
            }
            let processor = usize::try_from(libc::sched_getcpu()).ok()?;
            let mut one: libc::cpu_set_t = mem::zeroed();
            if processor >= 8 * size_of_val(&one) {
                return None;
            }
            libc::CPU_SET(processor, &mut one);
            (libc::sched_setaffinity(0, size_of_val(&one), &raw const one) == 0).then_some(Processors(before))
        }
    }

    /// Lets this thread run on all of these.
    pub(in crate::linux) fn restore(&self) {
        // SAFETY: the pointer is to a live set whose size is told; 0 is this thread.
        unsafe { libc::sched_setaffinity(0, size_of_val(&self.0), &raw const self.0) };
    }
}
