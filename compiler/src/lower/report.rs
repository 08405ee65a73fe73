//! What is found out about the enforcement of one rule, gathered item by item.

use crate::fidelity::{Enforced, Enforcement, Level, Mechanism};

/// What enforces one rule, and what it leaves open or closes beyond it.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    /// Each once.
    by: Vec<Mechanism>,
    weaker: Remarks,
    stricter: Remarks,
    notes: Remarks,
    /// Whether all that is weaker is so because an item is a pattern of reading or writing.
    beyond_patterns: Option<Beyond>,
    /// Whether something is weaker for another reason than what the target is.
    beyond_target: Option<Beyond>,
}

/// Marks that something is weaker for another reason than a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Beyond;

/// Sentences with `{}` in place of an item that each is about, as they were found.
#[derive(Clone, Debug, Default)]
struct Remarks(Vec<(&'static str, String)>);

/// Whether something is weaker because an item is a pattern, which `cheaply` accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It is.
    Pattern,
    /// It is not.
    Mechanism,
    /// It is what the target is, for every policy: who chooses the target accepts it.
    Target,
}

impl Report {
    /// Something enforces it.
    pub(super) fn by(&mut self, mechanism: Mechanism) {
        if !self.by.contains(&mechanism) {
            self.by.push(mechanism);
        }
    }

    /// Something is left open.
    pub(super) fn weaker(&mut self, cause: Cause, sentence: &'static str, item: &str) {
        self.weaker.add(sentence, item);
        if cause != Cause::Pattern {
            self.beyond_patterns = Some(Beyond);
        }
        if cause != Cause::Target {
            self.beyond_target = Some(Beyond);
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

    /// Whether something is left open for another reason than what the target is.
    pub(super) fn is_weaker_beyond_target(&self) -> bool {
        self.beyond_target.is_some()
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
    pub(super) fn into_enforcement(mut self, what: Enforced) -> Enforcement {
        self.enforcement(what)
    }

    /// As a document keeps it; the report is put in order for that.
    pub(super) fn enforcement(&mut self, what: Enforced) -> Enforcement {
        let level = self.level();
        if self.by.is_empty() {
            self.by.push(if level == Level::Weaker { Mechanism::Nothing } else { Mechanism::Absence });
        }
        self.by.sort_unstable();
        let mut why = self.weaker.sentences();
        why.extend(self.stricter.sentences());
        Enforcement { what, level, by: self.by.clone(), why, notes: self.notes.sentences() }
    }
}

impl Remarks {
    fn add(&mut self, sentence: &'static str, item: &str) {
        // The same is often found for one action after the other.
        if self.0.last().is_none_or(|(last, of)| *last != sentence || of != item) {
            self.0.push((sentence, item.to_owned()));
        }
    }

    /// Each sentence once, with all its items.
    fn sentences(&mut self) -> Vec<String> {
        self.0.sort_unstable();
        self.0.dedup();
        self.0
            .chunk_by(|(one, _), (other, _)| one == other)
            .filter_map(|group| group.first().map(|(sentence, _)| with_items(sentence, group)))
            .collect()
    }
}

/// The most items that one sentence names.
const MOST_NAMED: usize = 6;

/// Puts the items of a group into their sentence.
fn with_items(sentence: &str, group: &[(&'static str, String)]) -> String {
    let mut items = String::new();
    let more = group.len().saturating_sub(MOST_NAMED);
    let named = group.len() - more;
    for (number, (_, item)) in group.iter().take(MOST_NAMED).enumerate() {
        let last = more == 0 && number + 1 == named;
        items.push_str(match number {
            0 => "`",
            _ if last => " and `",
            _ => ", `",
        });
        items.push_str(item);
        items.push('`');
    }
    if more > 0 {
        items.push_str(&format!(" and {more} more"));
    }
    sentence.replace("{}", &items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_told_once_with_its_items() {
        let told = |items: &[&str]| {
            let mut report = Report::default();
            items.iter().for_each(|item| report.note("about {}", item));
            report.into_enforcement(Enforced::Tls).notes
        };
        assert_eq!(told(&[]), [] as [&str; 0]);
        assert_eq!(told(&["a"]), ["about `a`"]);
        assert_eq!(told(&["b", "a", "b"]), ["about `a` and `b`"]);
        assert_eq!(told(&["c", "a", "b"]), ["about `a`, `b` and `c`"]);
        let eight = ["1", "2", "3", "4", "5", "6", "7", "8"];
        assert_eq!(told(&eight), ["about `1`, `2`, `3`, `4`, `5`, `6` and 2 more"]);
        let told_six = told(eight.get(..6).unwrap());
        assert_eq!(told_six, ["about `1`, `2`, `3`, `4`, `5` and `6`"]);
    }
}
