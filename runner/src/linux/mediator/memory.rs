//! What a call's arguments point to, in the memory of the process that made it.

use std::collections::BTreeMap;

use nix::errno::Errno;

use crate::linux::sys::notice;

/// How much is read at once.
const PIECE: u64 = 16 * 1024;
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
        let start = address / PIECE * PIECE;
        if !self.pieces.contains_key(&start) {
            if self.pieces.len() >= KEPT {
                self.pieces.pop_first();
            }
            self.pieces.insert(start, read(self.thread, start, address)?);
        }
        let piece = self.pieces.get(&start).map(Vec::as_slice).unwrap_or_default();
        let rest = usize::try_from(address - start).ok().and_then(|skipped| piece.get(skipped..));
        rest.filter(|rest| !rest.is_empty()).ok_or(Errno::EFAULT)
    }
}

/// Reads the piece that begins at an address, at least up to another one in it. Of pages before that which cannot be read
/// it holds zeros.
fn read(thread: i32, start: u64, wanted: u64) -> Result<Vec<u8>, Errno> {
    const PAGE: u64 = 4096;
    let mut piece = vec![0; usize::try_from(PIECE).unwrap_or(0)];
    match notice::read_memory(thread, start, &mut piece) {
        Ok(read) if u64::try_from(read).unwrap_or(0) > wanted - start => {
            piece.truncate(read);
            return Ok(piece);
        }
        Err(errno) if errno != Errno::EFAULT => return Err(errno),
        _ => {}
    }
    let from = wanted / PAGE * PAGE;
    let skipped = usize::try_from(from - start).unwrap_or(0);
    let read = notice::read_memory(thread, from, piece.get_mut(skipped..).unwrap_or_default())?;
    piece.truncate(skipped + read);
    piece.iter_mut().take(skipped).for_each(|byte| *byte = 0);
    Ok(piece)
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
}
