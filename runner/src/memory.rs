//! Where the memory of a short process comes from.
//!
//! `fence run` compiles a policy and starts a command within a few milliseconds, and gives everything back at once when
//! it ends. The system's allocator takes a third of the compiler's instructions for joining and splitting blocks that
//! are asked for again a moment later, and a page that is touched first costs as much as a thousand instructions. So
//! small blocks come from a room of a fixed size: a block that is given back waits for the next one of its size. When
//! the room is full, and for large blocks, it is the system's allocator, as it is without this.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

/// How much the room holds, bytes; what is not used costs nothing. A run under a built-in policy takes half of it.
const ROOM: usize = 2 << 20;

/// Blocks have a multiple of this many bytes.
const GRAIN: usize = 16;

/// Larger blocks are the system's: they are few, and it gives them back whole.
const LARGEST: usize = 1 << 10;

const CLASSES: usize = LARGEST / GRAIN + 1;

/// An allocator whose small blocks come from a room that is part of the program.
pub struct Memory {
    /// Whether somebody looks at the lists or the room. Nobody waits for it: who finds it taken goes to the system.
    taken: AtomicBool,
    lists: UnsafeCell<Lists>,
    room: Room,
}

#[repr(align(4096))]
struct Room(UnsafeCell<[u8; ROOM]>);

struct Lists {
    /// Where the part of the room begins that was never used.
    next: usize,
    /// The newest block of each size that was given back; each holds the address of the one before.
    free: [*mut u8; CLASSES],
}

// SAFETY: `lists` is only touched while `taken` is held; the room only through blocks, which do not overlap.
unsafe impl Sync for Memory {}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memory")
    }
}

impl Memory {
    /// An allocator that has given nothing.
    #[must_use]
    pub const fn new() -> Memory {
        Memory {
            taken: AtomicBool::new(false),
            lists: UnsafeCell::new(Lists { next: 0, free: [ptr::null_mut(); CLASSES] }),
            room: Room(UnsafeCell::new([0; ROOM])),
        }
    }

    fn base(&self) -> *mut u8 {
        self.room.0.get().cast()
    }

    /// Whether a block is part of the room.
    fn has(&self, block: *mut u8) -> bool {
        block.addr().wrapping_sub(self.base().addr()) < ROOM
    }

    /// Does something with the lists, unless somebody else does.
    fn with<R>(&self, what: impl FnOnce(&mut Lists) -> R) -> Option<R> {
        if self.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: whoever finds `taken` false has the lists alone until it is false again.
        let result = what(unsafe { &mut *self.lists.get() });
        self.taken.store(false, Ordering::Release);
        Some(result)
    }

    fn take(&self, layout: Layout) -> Option<*mut u8> {
        let class = class(layout)?;
        self.with(|lists| {
            let newest = lists.free.get_mut(class)?;
            if !newest.is_null() {
                let block = *newest;
                // SAFETY: a block in a list is free, at least a grain long, aligned, and holds such an address.
                *newest = unsafe { block.cast::<*mut u8>().read() };
                return Some(block);
            }
            let end = lists.next.checked_add(class.checked_mul(GRAIN)?)?;
            if end > ROOM {
                return None;
            }
            Some(self.base().wrapping_add(std::mem::replace(&mut lists.next, end)))
        })?
    }

    /// Takes a block of the room back. If another thread is at the lists just then, it is lost; the room is small.
    ///
    /// # Safety
    ///
    /// The block was handed out for this layout, and nobody uses it any more.
    unsafe fn give_back(&self, block: *mut u8, layout: Layout) {
        let Some(class) = class(layout) else { return };
        self.with(|lists| {
            if let Some(newest) = lists.free.get_mut(class) {
                // SAFETY: the block is at least a grain long and aligned; the caller gives it up.
                unsafe { block.cast::<*mut u8>().write(*newest) };
                *newest = block;
            }
        });
    }
}

/// How many grains a block has; `None` for one that the system gives.
fn class(layout: Layout) -> Option<usize> {
    (layout.size() <= LARGEST && layout.align() <= GRAIN).then(|| layout.size().max(1).div_ceil(GRAIN))
}

impl Default for Memory {
    fn default() -> Memory {
        Memory::new()
    }
}

// SAFETY: a block is either the system's, with its promises, or a part of the room that nobody else has, as long as its
// class, which is at least what was asked, and aligned to a grain, which is at least what was asked.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some(block) => block,
            // SAFETY: the caller's promises are passed on.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some(block) => {
                // SAFETY: the block is at least as long as the layout says, and nobody else has it.
                unsafe { ptr::write_bytes(block, 0, layout.size()) };
                block
            }
            // SAFETY: the caller's promises are passed on.
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if self.has(block) {
            // SAFETY: the caller's promises are these.
            unsafe { self.give_back(block, layout) };
        } else {
            // SAFETY: it is no part of the room, so it came from the system, with this layout.
            unsafe { System.dealloc(block, layout) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !self.has(block) {
            // SAFETY: it is no part of the room, so it came from the system, with this layout.
            return unsafe { System.realloc(block, layout, size) };
        }
        // SAFETY: the caller promises a size that is valid with this alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if class(wanted) == class(layout) {
            return block;
        }
        // SAFETY: the layout is valid, and its size is not zero.
        let moved = unsafe { self.alloc(wanted) };
        if !moved.is_null() {
            // SAFETY: both blocks are at least this long, a new one overlaps no other, and the old one is given up.
            unsafe {
                ptr::copy_nonoverlapping(block, moved, layout.size().min(size));
                self.give_back(block, layout);
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    /// A room of its own, which no test gives back.
    fn memory() -> &'static Memory {
        // SAFETY: all zero is an empty room: no block was taken, and no list has a block.
        unsafe {
            let memory = System.alloc_zeroed(Layout::new::<Memory>()).cast::<Memory>();
            &*memory
        }
    }

    #[test]
    fn blocks_are_aligned_and_do_not_overlap() {
        let memory = memory();
        let mut end = 0;
        for (size, align) in [(1, 1), (24, 8), (3, 2), (100, 16), (1024, 1), (7, 4), (16, 16)] {
            // SAFETY: the layouts are valid.
            let block = unsafe { memory.alloc(layout(size, align)) };
            assert_eq!(block.addr() % align, 0);
            assert!(memory.has(block) && block.addr() >= end);
            end = block.addr() + size;
        }
    }

    #[test]
    fn what_is_given_back_is_the_next_block_of_its_size_and_of_no_other() {
        let memory = memory();
        // SAFETY: each block is used within its layout, and given back with it.
        unsafe {
            let (one, two) = (memory.alloc(layout(20, 8)), memory.alloc(layout(20, 8)));
            memory.dealloc(one, layout(20, 8));
            memory.dealloc(two, layout(20, 8));
            assert!(![one, two].contains(&memory.alloc(layout(33, 8))));
            assert_eq!(memory.alloc(layout(32, 16)), two);
            assert_eq!(memory.alloc(layout(17, 1)), one);
        }
    }

    #[test]
    fn a_block_grows_in_place_within_its_size_and_is_copied_beyond() {
        let memory = memory();
        // SAFETY: each block is used within its layout, and given back with it.
        unsafe {
            let block = memory.alloc(layout(17, 8));
            block.write_bytes(7, 17);
            assert_eq!(memory.realloc(block, layout(17, 8), 32), block);
            let larger = memory.realloc(block, layout(32, 8), 64);
            assert_ne!(larger, block);
            let system = memory.realloc(larger, layout(64, 8), 5_000);
            assert!(memory.has(larger) && !memory.has(system));
            assert_eq!(std::slice::from_raw_parts(system, 17), [7; 17]);
            assert_eq!(memory.alloc(layout(64, 8)), larger);
            memory.dealloc(system, layout(5_000, 8));
        }
    }

    #[test]
    fn zeroes_are_zeroes_in_a_block_that_was_used() {
        let memory = memory();
        // SAFETY: each block is used within its layout, and given back with it.
        unsafe {
            let block = memory.alloc(layout(64, 8));
            block.write_bytes(1, 64);
            memory.dealloc(block, layout(64, 8));
            let again = memory.alloc_zeroed(layout(64, 8));
            assert_eq!(again, block);
            assert_eq!(std::slice::from_raw_parts(again, 64), [0; 64]);
        }
    }

    #[test]
    fn a_full_room_and_what_is_large_or_strictly_aligned_is_left_to_the_system() {
        let memory = memory();
        // SAFETY: each block is used within its layout, and given back with it.
        unsafe {
            for (size, align) in [(LARGEST + 1, 1), (8, 32), (4096, 4096)] {
                let block = memory.alloc(layout(size, align));
                assert!(!block.is_null() && !memory.has(block));
                memory.dealloc(block, layout(size, align));
            }
            for _ in 0..ROOM / LARGEST {
                assert!(memory.has(memory.alloc(layout(LARGEST, 8))));
            }
            let beyond = memory.alloc(layout(1, 1));
            assert!(!beyond.is_null() && !memory.has(beyond));
            memory.dealloc(beyond, layout(1, 1));
        }
    }

    #[test]
    fn threads_never_share_a_block() {
        let memory = memory();
        std::thread::scope(|scope| {
            for thread in 1..=4_u8 {
                scope.spawn(move || {
                    for round in 0..2_000_usize {
                        let layout = layout(1 + round * 7 % 300, 8);
                        // SAFETY: each block is used within its layout, and given back with it.
                        unsafe {
                            let block = memory.alloc(layout);
                            block.write_bytes(thread, layout.size());
                            std::thread::yield_now();
                            let bytes = std::slice::from_raw_parts(block, layout.size());
                            assert!(bytes.iter().all(|byte| *byte == thread));
                            memory.dealloc(block, layout);
                        }
                    }
                });
            }
        });
    }
}
