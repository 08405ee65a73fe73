//! Lines that another process writes, none of them longer than somebody is ready to keep.

use std::io::{BufRead, BufReader, Read};

/// The longest line that is read.
const LONGEST: usize = 256 * 1024;

/// The lines of a stream, without their ends; those that are too long are left out.
#[derive(Debug)]
pub(super) struct Lines<R>(BufReader<R>);

impl<R: Read> Lines<R> {
    pub(super) fn new(stream: R) -> Lines<R> {
        Lines(BufReader::new(stream))
    }

    /// Reads over the rest of a line; `None` at the end of the stream.
    fn skip(&mut self) -> Option<()> {
        loop {
            let there = self.0.fill_buf().ok()?;
            let (read, ended) = match there.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (there.len(), false),
            };
            if read == 0 {
                return None;
            }
            self.0.consume(read);
            if ended {
                return Some(());
            }
        }
    }
}

impl<R: Read> Iterator for Lines<R> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let mut line = Vec::new();
            let read = (&mut self.0).take(LONGEST as u64).read_until(b'\n', &mut line).ok()?;
            match line.last() {
                _ if read == 0 => return None,
                Some(b'\n') => {
                    line.pop();
                    return Some(line);
                }
                // The stream ended within a line, which is no whole one.
                _ if read < LONGEST => return None,
                _ => self.skip()?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_length_are_read_and_long_ones_left_out() {
        let long = "x".repeat(LONGEST);
        let just = "y".repeat(LONGEST - 1);
        let text = format!("a\n\n{long}\n{just}\n{long}{long}{long}\nb\nno end");
        let read: Vec<String> =
            Lines::new(text.as_bytes()).map(|line| String::from_utf8(line).unwrap()).collect();
        assert_eq!(read, ["a", "", &just, "b"]);
        assert_eq!(Lines::new(long.as_bytes()).next(), None);
        assert_eq!(Lines::new(&b""[..]).next(), None);
    }
}
