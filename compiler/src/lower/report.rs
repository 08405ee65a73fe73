//! What is found out about the enforcement of one rule, gathered item by item.

use std::collections::{BTreeMap, BTreeSet};

use crate::fidelity::{Enforced, Enforcement, Level, Mechanism};

/// What enforces one rule, and what it leaves open or closes beyond it.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    by: BTreeSet<Mechanism>,
    weaker: Remarks,
    stricter: Remarks,
    notes: Remarks,
    /// Whether all that is weaker is so because an item is a pattern of reading or writing.
    beyond_patterns: Option<Beyond>,
}

/// Marks that something is weaker for another reason than a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beyond;

/// Sentences with `{}` in place of the items that each is about.
#[derive(Clone, Debug, Default)]
struct Remarks(BTreeMap<&'static str, BTreeSet<String>>);

/// Whether something is weaker because an item is a pattern, which `cheaply` accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It is.
    Pattern,
    /// It is not.
    Mechanism,
}

impl Report {
    /// Something enforces it.
    pub(super) fn by(&mut self, mechanism: Mechanism) {
        self.by.insert(mechanism);
    }

    /// Something is left open.
    pub(super) fn weaker(&mut self, cause: Cause, sentence: &'static str, item: &str) {
        self.weaker.add(sentence, item);
        if cause == Cause::Mechanism {
            self.beyond_patterns = Some(Beyond);
        }
    }

    /// Something is closed beyond it.
    pub(super) fn stricter(&mut self, sentence: &'static str, item: &str) {
        self.stricter.add(sentence, item);
    }

    /// Something is worth knowing.
    pub(super) fn note(&mut self, sentence: &'static str, item: &str) {
        self.notes.add(sentence, item);
    }

    /// Whether something is left open for another reason than that an item is a pattern.
    pub(super) fn is_weaker_beyond_patterns(&self) -> bool {
        self.beyond_patterns.is_some()
    }

    /// How faithful it is.
    pub(super) fn level(&self) -> Level {
        if !self.weaker.0.is_empty() {
            Level::Weaker
        } else if !self.stricter.0.is_empty() {
            Level::Stricter
        } else {
            Level::Exact
        }
    }

    /// As a document keeps it.
    pub(super) fn into_enforcement(self, what: Enforced) -> Enforcement {
        let level = self.level();
        let nothing = if level == Level::Weaker { Mechanism::Nothing } else { Mechanism::Absence };
        let by = if self.by.is_empty() { vec![nothing] } else { self.by.into_iter().collect() };
        let mut why = self.weaker.sentences();
        why.extend(self.stricter.sentences());
        Enforcement { what, level, by, why, notes: self.notes.sentences() }
    }
}

impl Remarks {
    fn add(&mut self, sentence: &'static str, item: &str) {
        self.0.entry(sentence).or_default().insert(item.to_owned());
    }

    fn sentences(&self) -> Vec<String> {
        self.0.iter().map(|(sentence, items)| sentence.replace("{}", &list(items))).collect()
    }
}

/// The most items that one sentence names.
const MOST_NAMED: usize = 6;

fn list(items: &BTreeSet<String>) -> String {
    let mut named: Vec<String> = items.iter().take(MOST_NAMED).map(|item| format!("`{item}`")).collect();
    if let Some(more) = items.len().checked_sub(MOST_NAMED).filter(|more| *more > 0) {
        named.push(format!("{more} more"));
    }
    match named.pop() {
        Some(last) if named.is_empty() => last,
        Some(last) => format!("{} and {last}", named.join(", ")),
        None => String::new(),
    }
}
