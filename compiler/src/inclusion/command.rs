//! Patterns of commands: an inner one is the whole of a command, an outer one a beginning.

use super::{Inclusion, glob};
use crate::cover::words_close;
use crate::pattern::{CommandPattern, Component, Glob, ProgramPattern, WordPattern};

/// Whether every command that `inner` opens is surely one that `outer` closes.
pub(super) fn is_within(inner: &CommandPattern, outer: &CommandPattern) -> bool {
    if !program_within(&inner.program, &outer.program) {
        return false;
    }
    // Words written out are the beginning of every command that they open: what they close is asked as of one.
    let literal = |word: &WordPattern| word.glob().as_literal().map(str::to_owned);
    if let Some(words) = inner.words.iter().map(literal).collect::<Option<Vec<String>>>() {
        return words_close(&outer.words, inner.program.name().as_slice(), &words);
    }
    let mut words = inner.words.iter();
    outer.words.iter().all(|wanted| match wanted {
        WordPattern::Positional(wanted) => {
            words.next().is_some_and(|word| glob::is_within(word.glob(), wanted))
        }
        WordPattern::Anywhere(wanted) => inner.words.iter().any(|word| glob::is_within(word.glob(), wanted)),
    })
}

/// Whether surely no command is covered by both.
pub(super) fn are_apart(one: &CommandPattern, other: &CommandPattern) -> bool {
    match (&one.program, &other.program) {
        (ProgramPattern::Name(one), ProgramPattern::Name(other)) if one.is_apart_from(other) => return true,
        (ProgramPattern::Name(a), ProgramPattern::Name(b)) if a == b => {}
        _ => return false,
    }
    let positional = |pattern: &CommandPattern| -> Option<Vec<Glob>> {
        pattern
            .words
            .iter()
            .map(|word| match word {
                WordPattern::Positional(glob) => Some(glob.clone()),
                WordPattern::Anywhere(_) => None,
            })
            .collect()
    };
    match (positional(one), positional(other)) {
        (Some(one), Some(other)) => one.iter().zip(&other).any(|(one, other)| glob::are_apart(one, other)),
        _ => false,
    }
}

fn program_within(inner: &ProgramPattern, outer: &ProgramPattern) -> bool {
    match (inner, outer) {
        (_, ProgramPattern::AnyCommand) => true,
        (ProgramPattern::Name(inner), ProgramPattern::Name(outer)) => inner.is_within(outer),
        (ProgramPattern::Path(inner), ProgramPattern::Path(outer)) => {
            inner.is_within(outer) && inner == outer
        }
        (ProgramPattern::Path(path), ProgramPattern::Name(name)) => match path.components.last() {
            Some(Component::Literal(last)) => name.matches(last),
            Some(Component::Glob(last)) => glob::is_within(last, &name.0),
            _ => false,
        },
        _ => false,
    }
}
