//! What a call's arguments point to, in the memory of the process that made it.

use std::collections::BTreeMap;

use nix::errno::Errno;

use crate::linux::sys::notice;

/// How much is read at once.
const PIECE: u64 = 16 * 1024;
/// What can be read, or not, as a whole.
const PAGE: u64 = 4096;
/// How many pieces are kept: arguments lie close together.
const KEPT: usize = 64;
/// The most that the arguments of a call may hold: more than the kernel takes.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// The most arguments.
const MOST_WORDS: u64 = 2 * 1024 * 1024;

/// The memory of a thread's process, read once: what is changed there afterwards is not seen.
pub(super) struct Memory {
    thread: i32,
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl Memory {
    /// The memory of a thread's process.
    pub(super) fn of(thread: i32) -> Memory {
        Memory { thread, pieces: BTreeMap::new() }
    }

    /// The text at an address, up to its NUL.
    pub(super) fn text(&mut self, address: u64, most: usize) -> Result<Vec<u8>, Errno> {
        let mut text = Vec::new();
        let mut at = address;
        loop {
            let piece = self.from(at)?;
            match piece.iter().position(|byte| *byte == 0) {
                Some(end) => text.extend_from_slice(piece.get(..end).unwrap_or_default()),
                None => text.extend_from_slice(piece),
            }
            if text.len() > most {
                return Err(Errno::E2BIG);
            }
            let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            if piece.contains(&0) {
                return Ok(text);
            }
            at = at.checked_add(length).ok_or(Errno::EFAULT)?;
        }
    }

    /// The texts that an array of addresses points to, up to its null; none at a null address.
    pub(super) fn texts(&mut self, address: u64) -> Result<Vec<Vec<u8>>, Errno> {
        let mut texts = Vec::new();
        let mut held = 0;
        if address == 0 {
            return Ok(texts);
        }
        for number in 0..MOST_WORDS {
            let at = number.checked_mul(8).and_then(|offset| address.checked_add(offset));
            let pointer = self.number(at.ok_or(Errno::EFAULT)?)?;
            if pointer == 0 {
                return Ok(texts);
            }
            let text = self.text(pointer, MOST_BYTES)?;
            held += text.len() + 1;
            if held > MOST_BYTES {
                return Err(Errno::E2BIG);
            }
            texts.push(text);
        }
        Err(Errno::E2BIG)
    }

    /// So many bytes at an address.
    pub(super) fn bytes(&mut self, address: u64, count: usize) -> Result<Vec<u8>, Errno> {
        let mut bytes = Vec::with_capacity(count);
        let mut at = address;
        while bytes.len() < count {
            let piece = self.from(at)?;
            let taken = piece.get(..count - bytes.len()).unwrap_or(piece);
            bytes.extend_from_slice(taken);
            let length = u64::try_from(taken.len()).unwrap_or(u64::MAX);
            at = at.checked_add(length).ok_or(Errno::EFAULT)?;
        }
        Ok(bytes)
    }

    /// The number of 64 bits at an address.
    pub(super) fn number(&mut self, address: u64) -> Result<u64, Errno> {
        let mut bytes = [0; 8];
        let mut at = address;
        let mut filled = 0;
        while filled < bytes.len() {
            let piece = self.from(at)?;
            let count = piece.len().min(bytes.len() - filled);
            for (to, from) in bytes.iter_mut().skip(filled).zip(piece) {
                *to = *from;
            }
            filled += count;
            at = at.checked_add(u64::try_from(count).unwrap_or(0)).ok_or(Errno::EFAULT)?;
        }
        Ok(u64::from_ne_bytes(bytes))
    }

    /// What is known from an address on; never empty.
    fn from(&mut self, address: u64) -> Result<&[u8], Errno> {
        if self.known(address).is_none() {
            if self.pieces.len() >= KEPT {
                self.pieces.pop_first();
            }
            let (start, piece) = self.read(address)?;
            self.pieces.insert(start, piece);
        }
        self.known(address).ok_or(Errno::EFAULT)
    }

    /// What of the pieces that were read lies from an address on.
    fn known(&self, address: u64) -> Option<&[u8]> {
        let (start, piece) = self.pieces.range(..=address).next_back()?;
        let skipped = usize::try_from(address - start).ok()?;
        piece.get(skipped..).filter(|rest| !rest.is_empty())
    }

    /// Reads a piece around an address that is not known, and nothing that is: where it begins, and its bytes. Of what
    /// lies before the address it leaves out what cannot be read.
    fn read(&self, address: u64) -> Result<(u64, Vec<u8>), Errno> {
        let first = address / PIECE * PIECE;
        let before = self.pieces.range(..address).next_back();
        let before = before.map_or(first, |(start, piece)| {
            start.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX)).max(first)
        });
        let behind = self.pieces.range(address..).next().map_or(u64::MAX, |(start, _)| *start);
        let behind = behind.min(first.saturating_add(PIECE));
        let mut failed = Errno::EFAULT;
        for start in [before, (address / PAGE * PAGE).max(before)] {
            let mut piece = vec![0; usize::try_from(behind - start).unwrap_or(0)];
            match notice::read_memory(self.thread, start, &mut piece) {
                Ok(read) if u64::try_from(read).unwrap_or(0) > address - start => {
                    piece.truncate(read);
                    return Ok((start, piece));
                }
                Ok(_) => {}
                Err(errno) => failed = errno,
            }
        }
        Err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_wherever_they_lie() {
        let own = i32::try_from(std::process::id()).unwrap();
        let words = [vec![b'a'; 3], vec![b'b'; 100_000], Vec::new(), b"end".to_vec()];
        let held: Vec<std::ffi::CString> =
            words.iter().map(|word| std::ffi::CString::new(word.clone()).unwrap()).collect();
        let pointers: Vec<u64> = held.iter().map(|word| word.as_ptr() as u64).chain([0]).collect();
        let mut memory = Memory::of(own);
        assert_eq!(memory.texts(pointers.as_ptr() as u64).unwrap(), words);
        assert_eq!(memory.texts(0).unwrap(), Vec::<Vec<u8>>::new());
        assert_eq!(memory.text(held[1].as_ptr() as u64, 10), Err(Errno::E2BIG));
        assert_eq!(memory.text(8, 10), Err(Errno::EFAULT));
    }

    /// Four pages that a piece covers, of which the first cannot be read.
    #[allow(unsafe_code)]
    fn pages() -> &'static mut [u8] {
        let size = usize::try_from(2 * PIECE).unwrap();
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: fresh memory, which is never given back; the page that is closed is not in what is returned.
        unsafe {
            let made =
                libc::mmap(std::ptr::null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            assert_ne!(made, libc::MAP_FAILED);
            let start = (made as u64).div_ceil(PIECE) * PIECE;
            assert_eq!(libc::mprotect(start as *mut libc::c_void, 4096, libc::PROT_NONE), 0);
            std::slice::from_raw_parts_mut((start + PAGE) as *mut u8, 3 * 4096)
        }
    }

    #[test]
    fn what_lies_before_in_a_piece_is_read_though_its_beginning_cannot_be() {
        let pages = pages();
        pages[..5].copy_from_slice(b"first");
        pages[4090..4100].copy_from_slice(b"in between");
        pages[8192..8196].copy_from_slice(b"last");
        let at = pages.as_ptr() as u64;
        let mut memory = Memory::of(i32::try_from(std::process::id()).unwrap());
        assert_eq!(memory.text(at + 8192, 100).unwrap(), b"last");
        assert_eq!(memory.text(at, 100).unwrap(), b"first");
        assert_eq!(memory.text(at + 4090, 100).unwrap(), b"in between");
        // What was read once is not read again.
        pages[4096..4100].copy_from_slice(b"....");
        pages[8192..8196].copy_from_slice(b"....");
        assert_eq!(memory.text(at + 4090, 100).unwrap(), b"in between");
        assert_eq!(memory.text(at + 8192, 100).unwrap(), b"last");
        assert_eq!(memory.text(at - 1, 100), Err(Errno::EFAULT));
    }
}
