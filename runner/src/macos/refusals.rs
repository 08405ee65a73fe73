//! What the system's log told of a run: the same again is told a few times, and of very many different ones not each.

use std::collections::BTreeMap;

use fence_compiler::policy::Policy;

use super::line::Denial;
use crate::audit::{MOST, REPEATS, Told};

/// The refusals of a run so far.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    times: BTreeMap<(String, String), u64>,
    /// How many were not kept apart.
    pub(super) beyond: u64,
}

impl Refusals {
    /// Counts one; what is to be told of it, if it is.
    pub(super) fn add(&mut self, denial: &Denial, policy: &Policy) -> Option<Told> {
        let key = (denial.operation.clone(), denial.target.clone());
        let kept = self.times.len();
        let times = match self.times.get_mut(&key) {
            Some(times) => {
                *times += 1;
                *times
            }
            None if kept < MOST => {
                self.times.insert(key, 1);
                1
            }
            None => {
                self.beyond += 1;
                self.beyond
            }
        };
        (times <= REPEATS).then(|| denial.told(policy))
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Tagged;
    use super::*;

    #[test]
    fn a_refusal_is_told_a_few_times_and_of_very_many_not_each() {
        let policy = crate::proxy::testing::policy("allow read /w");
        let denial = |target: String| Denial {
            program: "cat".into(),
            pid: 7,
            operation: "file-read-data".into(),
            target,
            by: Tagged::Nothing,
        };
        let mut refusals = Refusals::default();
        let told = (0..100).filter_map(|_| refusals.add(&denial("/x".into()), &policy)).count();
        assert_eq!(told as u64, REPEATS);
        let told = (0..2 * MOST).filter_map(|n| refusals.add(&denial(format!("/{n}")), &policy)).count();
        assert_eq!((told, refusals.beyond), (MOST - 1 + REPEATS as usize, MOST as u64 + 1));
        assert_eq!(refusals.times.len(), MOST);
    }
}
