//! Patterns of one name.

use crate::pattern::{Glob, GlobPiece};

/// A piece that stands for one character, or `*`.
#[derive(Clone, Copy)]
enum Atom<'a> {
    Character(char),
    One,
    Class(&'a GlobPiece),
    Star,
}

/// Whether every name that `inner` matches is surely matched by `outer`.
pub(super) fn is_within(inner: &Glob, outer: &Glob) -> bool {
    if let Some(text) = inner.as_literal() {
        return outer.matches(text.as_bytes());
    }
    if inner == outer {
        return true;
    }
    let (inner, outer) = (atoms(inner), atoms(outer));
    // reached[j]: the first i atoms of `inner` are matched by the first j of `outer`, whatever they stand for.
    let mut reached = vec![false; outer.len() + 1];
    start(&mut reached, &outer);
    for atom in &inner {
        let mut next = vec![false; outer.len() + 1];
        for (at, wanted) in outer.iter().enumerate() {
            if !reached.get(at).copied().unwrap_or(false) {
                continue;
            }
            let to = match (wanted, atom) {
                (Atom::Star, _) => at,
                (_, Atom::Star) => continue,
                (wanted, atom) if stands_within(*atom, *wanted) => at + 1,
                _ => continue,
            };
            if let Some(cell) = next.get_mut(to) {
                *cell = true;
            }
        }
        skip_stars(&mut next, &outer);
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

/// Whether surely no name is matched by both.
pub(super) fn are_apart(one: &Glob, other: &Glob) -> bool {
    match (one.as_literal(), other.as_literal()) {
        (Some(one), Some(other)) => one != other,
        (Some(text), None) => !other.matches(text.as_bytes()),
        (None, Some(text)) => !one.matches(text.as_bytes()),
        (None, None) => false,
    }
}

fn atoms(glob: &Glob) -> Vec<Atom<'_>> {
    let mut atoms = Vec::new();
    for piece in &glob.0 {
        match piece {
            GlobPiece::Literal(text) => atoms.extend(text.chars().map(Atom::Character)),
            GlobPiece::One => atoms.push(Atom::One),
            GlobPiece::Star => atoms.push(Atom::Star),
            class @ GlobPiece::Class { .. } => atoms.push(Atom::Class(class)),
        }
    }
    atoms
}

fn stands_within(inner: Atom<'_>, outer: Atom<'_>) -> bool {
    match (inner, outer) {
        (Atom::Star, _) | (_, Atom::Star) => false,
        (_, Atom::One) => true,
        (Atom::Character(one), Atom::Character(other)) => one == other,
        (Atom::Character(one), Atom::Class(GlobPiece::Class { negated, ranges })) => {
            *negated != ranges.iter().any(|(low, high)| (*low..=*high).contains(&one))
        }
        (Atom::Class(one), Atom::Class(other)) => one == other || class_within(one, other),
        _ => false,
    }
}

/// Whether each range of a class lies in a range of the other. Of ranges that only meet that is not seen.
fn class_within(inner: &GlobPiece, outer: &GlobPiece) -> bool {
    let (
        GlobPiece::Class { negated: false, ranges: inner },
        GlobPiece::Class { negated: false, ranges: outer },
    ) = (inner, outer)
    else {
        return false;
    };
    inner.iter().all(|(low, high)| outer.iter().any(|(from, to)| from <= low && high <= to))
}

fn start(reached: &mut [bool], outer: &[Atom<'_>]) {
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    skip_stars(reached, outer);
}

/// `*` matches nothing, too.
fn skip_stars(reached: &mut [bool], outer: &[Atom<'_>]) {
    for (at, atom) in outer.iter().enumerate() {
        if matches!(atom, Atom::Star)
            && reached.get(at).copied().unwrap_or(false)
            && let Some(next) = reached.get_mut(at + 1)
        {
            *next = true;
        }
    }
}
