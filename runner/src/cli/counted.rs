//! How often what was refused and allowed has been told, of a run or of one command of a session.

use std::collections::BTreeMap;

use crate::audit::{MOST, REPEATS};
use crate::proxy;

/// The counts of one.
#[derive(Debug, Default)]
pub(super) struct Counted {
    refused: BTreeMap<(&'static str, String), proxy::Refused>,
    allowed: BTreeMap<(&'static str, String), u64>,
    /// The refusals that there was no room for.
    pub(super) beyond: u64,
}

impl Counted {
    /// Counts a refusal; what would allow it, and how often it was counted.
    pub(super) fn refuse(
        &mut self,
        (action, item): (&'static str, &str),
        told: impl FnOnce() -> String,
        remedy: impl FnOnce() -> Option<String>,
    ) -> (u64, Option<String>) {
        let key = (action, item.to_owned());
        let kept = self.refused.len();
        match self.refused.get_mut(&key) {
            Some(known) => {
                known.times += 1;
                (known.times, known.remedy.clone())
            }
            None if kept < MOST => {
                let remedy = remedy();
                let first = proxy::Refused { told: told(), remedy: remedy.clone(), times: 1 };
                self.refused.insert(key, first);
                (1, remedy)
            }
            None => {
                self.beyond += 1;
                (self.beyond, remedy())
            }
        }
    }

    /// Counts something that is allowed; whether it is to be told.
    pub(super) fn allow(&mut self, (action, item): (&'static str, &str)) -> bool {
        let kept = self.allowed.len();
        match self.allowed.get_mut(&(action, item.to_owned())) {
            Some(times) => {
                *times += 1;
                *times <= REPEATS
            }
            None if kept < MOST => {
                self.allowed.insert((action, item.to_owned()), 1);
                true
            }
            None => false,
        }
    }

    /// The refusals, the most frequent first.
    pub(super) fn into_refused(self) -> Vec<proxy::Refused> {
        let mut refused: Vec<proxy::Refused> = self.refused.into_values().collect();
        refused.sort_by(|a, b| b.times.cmp(&a.times).then_with(|| a.told.cmp(&b.told)));
        refused
    }
}
