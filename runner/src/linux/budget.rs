//! The processor time of a sandbox: what its cgroup has counted is looked at when it can first be used up, and not before.

use std::os::fd::RawFd;

use nix::unistd::{SysconfVar, sysconf};

use super::sys;

/// The processor time that a sandbox may have. It makes system calls only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Where it is counted: `cpu.stat` of the cgroup.
    pub(super) statistics: RawFd,
    /// All of it, in microseconds.
    most: u64,
    /// How many processors there can be.
    processors: u64,
    /// Until when there must be some left, by the monotonic clock.
    lasts: u64,
}

/// It is not looked at more often: nanoseconds. What is used in this time beyond the limit is not refused.
const LEAST: u64 = 10_000_000;

impl Budget {
    /// So many milliseconds, of which none is used.
    pub(super) fn new(statistics: RawFd, milliseconds: u64) -> Budget {
        let processors = sysconf(SysconfVar::_NPROCESSORS_CONF).ok().flatten();
        let processors = processors.and_then(|count| u64::try_from(count).ok()).unwrap_or(1).max(1);
        Budget { statistics, most: milliseconds.saturating_mul(1000), processors, lasts: 0 }
    }

    /// When it has to be looked at again; nothing if it is used up. What cannot be read is used up.
    pub(super) fn due(&mut self, now: u64) -> Option<u64> {
        if now >= self.lasts {
            let lasts = self.left()?.saturating_mul(1000) / self.processors;
            self.lasts = now.saturating_add(lasts.max(LEAST));
        }
        Some(self.lasts)
    }

    /// Whether nothing is left.
    pub(super) fn is_used_up(&self) -> bool {
        self.left().is_none()
    }

    /// How many microseconds are left; nothing for none.
    fn left(&self) -> Option<u64> {
        let mut text = [0; 128];
        let length = sys::read_from_start(self.statistics, &mut text).ok()?;
        self.most.checked_sub(used(text.get(..length)?)?).filter(|left| *left > 0)
    }
}

/// The microseconds that are counted, which the kernel tells first.
fn used(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(b"usage_usec ")?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, _) = digits.split_at_checked(end).filter(|(digits, _)| !digits.is_empty())?;
    digits
        .iter()
        .try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn what_is_used_is_read_only_where_it_is_told() {
        for (text, expected) in [
            ("usage_usec 0\nuser_usec 0\n", Some(0)),
            ("usage_usec 1234567\nuser_usec 5\n", Some(1_234_567)),
            ("usage_usec 12", None),
            ("usage_usec \n", None),
            ("usage_usec 99999999999999999999999\n", None),
            ("user_usec 5\n", None),
            ("", None),
        ] {
            assert_eq!(used(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_budget_is_looked_at_when_all_processors_can_have_used_it_up() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"usage_usec 1000000\n").unwrap();
        let mut budget = Budget { processors: 4, ..Budget::new(file.as_raw_fd(), 9_000) };
        assert_eq!(budget.due(5), Some(2_000_000_005));
        assert_eq!(budget.due(2_000_000_004), Some(2_000_000_005));
        assert_eq!(budget.due(2_000_000_005), Some(4_000_000_005));
        let mut nearly = Budget { processors: 64, ..Budget::new(file.as_raw_fd(), 1_001) };
        assert_eq!(nearly.due(0), Some(LEAST));
        assert_eq!(Budget::new(file.as_raw_fd(), 1_000).due(1), None);
        assert_eq!(Budget::new(file.as_raw_fd(), 999).due(1), None);
        assert_eq!(Budget::new(-1, 9_000).due(1), None);
    }
}
