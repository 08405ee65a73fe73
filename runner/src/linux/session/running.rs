//! The commands that run in a session: a table that is made before the clone, and never grows.

use std::os::fd::RawFd;

/// How many commands may run at once. Each keeps one descriptor open.
pub(crate) const MOST: usize = 512;

/// A command that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Its process.
    pub(super) pid: i32,
    /// Where whoever asked for it is told of it; -1 once everything is said.
    pub(super) channel: RawFd,
    /// When it was started, of the monotonic clock.
    pub(super) since: u64,
    index: u32,
    generation: u32,
}

impl Slot {
    /// What stands for it among the events: no other command ever has the same.
    pub(super) fn token(self) -> u64 {
        u64::from(self.index) | u64::from(self.generation) << 32
    }
}

/// The table.
pub(super) struct Running {
    slots: Vec<Option<Slot>>,
    count: usize,
    generation: u32,
}

impl Running {
    /// An empty one.
    pub(super) fn new() -> Running {
        Running { slots: vec![None; MOST], count: 0, generation: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.count == self.slots.len()
    }

    /// Adds a command; there is room.
    pub(super) fn add(&mut self, pid: i32, channel: RawFd, since: u64) -> Slot {
        // The greatest is left to what is no command.
        self.generation = self.generation.wrapping_add(1) & 0x7fff_ffff;
        let free = self.slots.iter().position(Option::is_none).unwrap_or(0);
        let index = u32::try_from(free).unwrap_or(0);
        let slot = Slot { pid, channel, since, index, generation: self.generation };
        if let Some(place) = self.slots.get_mut(free) {
            *place = Some(slot);
            self.count += 1;
        }
        slot
    }

    /// The command of an event, if it is still there and listened to.
    pub(super) fn find(&self, token: u64) -> Option<Slot> {
        let found = (*self.slots.get(token as u32 as usize)?)?;
        (found.token() == token && found.channel >= 0).then_some(found)
    }

    /// The command with this process.
    pub(super) fn of(&self, pid: i32) -> Option<Slot> {
        self.slots.iter().flatten().find(|slot| slot.pid == pid).copied()
    }

    /// Those that run, each as it was when it was asked for.
    pub(super) fn all(&self) -> [Option<Slot>; MOST] {
        let mut all = [None; MOST];
        for (to, from) in all.iter_mut().zip(&self.slots) {
            *to = *from;
        }
        all
    }

    /// Nobody is told of it any more.
    pub(super) fn silence(&mut self, slot: Slot) {
        if let Some(Some(place)) = self.slots.get_mut(slot.index as usize) {
            place.channel = -1;
        }
    }

    /// It has ended.
    pub(super) fn remove(&mut self, slot: Slot) {
        if let Some(place) = self.slots.get_mut(slot.index as usize)
            && place.take().is_some()
        {
            self.count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_found_until_it_has_ended() {
        let mut running = Running::new();
        let first = running.add(10, 4, 1);
        let second = running.add(11, 5, 2);
        assert_eq!(running.find(first.token()), Some(first));
        assert_eq!(running.of(11), Some(second));
        running.silence(first);
        assert_eq!(running.find(first.token()), None);
        assert_eq!(running.of(10).map(|slot| slot.channel), Some(-1));
        running.remove(first);
        let third = running.add(12, 6, 3);
        assert_eq!((running.find(first.token()), running.find(third.token())), (None, Some(third)));
        assert!(!running.is_empty());
        for pid in 0..510 {
            running.add(100 + pid, 7, 0);
        }
        assert!(running.is_full());
    }
}
