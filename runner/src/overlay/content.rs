//! What files hold. A file can be far longer than what it holds: where it holds nothing, nothing is read or written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

/// Copies what a file holds to a new one, which is as long then.
///
/// # Errors
/// Something cannot be read or written.
pub(super) fn copy(from: &mut File, to: &mut File) -> io::Result<()> {
    let mut at = 0;
    while let Some(data) = next(from, at, Whence::SeekData)? {
        let end = next(from, data, Whence::SeekHole)?.unwrap_or(data);
        from.seek(SeekFrom::Start(data))?;
        to.seek(SeekFrom::Start(data))?;
        if io::copy(&mut from.take(end.saturating_sub(data)), to)? == 0 {
            break;
        }
        at = end;
    }
    to.set_len(from.metadata()?.len())
}

/// Whether two files of one length hold the same.
///
/// # Errors
/// One of them cannot be read.
pub(super) fn same(one: &mut File, other: &mut File) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut at = 0;
    loop {
        let (first, second) = (next(one, at, Whence::SeekData)?, next(other, at, Whence::SeekData)?);
        let Some(data) = [first, second].into_iter().flatten().min() else { return Ok(true) };
        one.seek(SeekFrom::Start(data))?;
        other.seek(SeekFrom::Start(data))?;
        let read = one.read(&mut left)?;
        if read == 0 {
            return Ok(other.read(&mut right)? == 0);
        }
        let right = right.get_mut(..read).unwrap_or_default();
        match other.read_exact(right) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            done => done?,
        }
        if left.get(..read) != Some(right) {
            return Ok(false);
        }
        at = data + read as u64;
    }
}

/// Where from a place on there is something, or nothing; `None` if that is not before the end.
fn next(file: &File, at: u64, whence: Whence) -> io::Result<Option<u64>> {
    match lseek(file, i64::try_from(at).map_err(io::Error::other)?, whence) {
        Err(Errno::ENXIO) => Ok(None),
        found => u64::try_from(found?).map(Some).map_err(io::Error::other),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn file(parts: &[(u64, &[u8])], length: u64) -> File {
        let mut file = tempfile::tempfile_in("/var/tmp").unwrap();
        for (at, bytes) in parts {
            file.seek(SeekFrom::Start(*at)).unwrap();
            file.write_all(bytes).unwrap();
        }
        file.set_len(length).unwrap();
        file
    }

    const GIGABYTE: u64 = 1 << 30;

    #[test]
    fn what_holds_nothing_is_neither_read_nor_written() {
        let dense = vec![7; 200_000];
        for (parts, length) in [
            (vec![], 0),
            (vec![], 900 * GIGABYTE),
            (vec![(0, &b"a"[..])], 1),
            (vec![(0, &b"a"[..]), (500 * GIGABYTE, &b"b"[..])], 900 * GIGABYTE),
            (vec![(5 * GIGABYTE + 17, &dense[..])], 5 * GIGABYTE + 17 + 200_000),
        ] {
            let mut from = file(&parts, length);
            let mut to = file(&[], 0);
            copy(&mut from, &mut to).unwrap();
            let found = to.metadata().unwrap();
            assert_eq!(found.len(), length);
            assert!(found.blocks() * 512 < 2_000_000, "{} blocks", found.blocks());
            assert!(same(&mut from, &mut to).unwrap());
        }
    }

    #[test]
    fn files_differ_wherever_they_do() {
        let long = 900 * GIGABYTE;
        let one = || file(&[(0, b"a"), (500 * GIGABYTE, b"b")], long);
        for (other, is_same) in [
            (one(), true),
            (file(&[(0, b"a")], long), false),
            (file(&[(0, b"a"), (500 * GIGABYTE, b"c")], long), false),
            (file(&[(0, b"a"), (500 * GIGABYTE, b"b"), (600 * GIGABYTE, b"c")], long), false),
            // Nothing and zeros are one.
            (file(&[(0, b"a"), (7 * GIGABYTE, &[0; 5000]), (500 * GIGABYTE, b"b")], long), true),
            (file(&[(0, b"a")], GIGABYTE), false),
        ] {
            let (mut left, mut right) = (one(), other);
            assert_eq!(same(&mut left, &mut right).unwrap(), is_same);
            assert_eq!(same(&mut right, &mut left).unwrap(), is_same);
        }
    }
}
