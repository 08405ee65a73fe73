//! Patterns of one name, found by the name.

use std::collections::{BTreeMap, BTreeSet};

use crate::pattern::{Glob, GlobPiece};
use crate::policy::RuleId;

/// Rules by a pattern of one name. What it gives back for a name is every rule whose pattern matches, and perhaps
/// others: it narrows down, it does not decide.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    exact: BTreeMap<Box<[u8]>, Vec<RuleId>>,
    /// By the text that the name ends with.
    ends: Affixes,
    /// By the text that it begins with.
    begins: Affixes,
    /// Those of which nothing is certain.
    any: Vec<RuleId>,
}

/// Rules by a text at one end of a name.
#[derive(Clone, Debug, Default)]
struct Affixes {
    texts: BTreeMap<Box<[u8]>, Vec<RuleId>>,
    /// The lengths that these texts have.
    lengths: BTreeSet<usize>,
}

impl Names {
    /// Adds a rule for exactly this name.
    pub(super) fn add_exact(&mut self, name: &[u8], rule: RuleId) {
        push(self.exact.entry(name.into()).or_default(), rule);
    }

    /// Adds a rule for every name.
    pub(super) fn add_any(&mut self, rule: RuleId) {
        push(&mut self.any, rule);
    }

    /// Adds a rule for the names that match.
    pub(super) fn add(&mut self, glob: &Glob, rule: RuleId) {
        if let Some(literal) = glob.as_literal() {
            return self.add_exact(literal.as_bytes(), rule);
        }
        match (glob.0.first(), glob.0.last()) {
            (_, Some(GlobPiece::Literal(text))) => self.ends.add(text.as_bytes(), rule),
            (Some(GlobPiece::Literal(text)), _) => self.begins.add(text.as_bytes(), rule),
            _ => self.add_any(rule),
        }
    }

    /// Adds every rule whose pattern may match this name.
    pub(super) fn find(&self, name: &[u8], found: &mut Vec<RuleId>) {
        found.extend(self.exact.get(name).into_iter().flatten());
        for length in &self.ends.lengths {
            let Some(end) = name.len().checked_sub(*length).and_then(|at| name.get(at..)) else { break };
            found.extend(self.ends.texts.get(end).into_iter().flatten());
        }
        for length in &self.begins.lengths {
            let Some(beginning) = name.get(..*length) else { break };
            found.extend(self.begins.texts.get(beginning).into_iter().flatten());
        }
    }

    /// Adds the rules that may match any name.
    pub(super) fn find_any(&self, found: &mut Vec<RuleId>) {
        found.extend(&self.any);
    }
}

impl Affixes {
    fn add(&mut self, text: &[u8], rule: RuleId) {
        self.lengths.insert(text.len());
        push(self.texts.entry(text.into()).or_default(), rule);
    }
}

/// Adds a rule that may be there already: rules come in their order.
pub(super) fn push(rules: &mut Vec<RuleId>, rule: RuleId) {
    if rules.last() != Some(&rule) {
        rules.push(rule);
    }
}
