//! Patterns of paths, which cover what they match and everything beneath.

use super::glob;
use crate::pattern::{Component, Glob, PathPattern, Root, Variable};

/// Whether every path that `inner` covers is surely covered by `outer`.
pub(super) fn is_within(inner: &PathPattern, outer: &PathPattern) -> bool {
    let below = |components: &[Component]| {
        let mut all = vec![Component::AnyDepth];
        all.extend_from_slice(components);
        all
    };
    match (&inner.root, &outer.root) {
        // `/` covers everything: every variable's value is absolute.
        (_, Root::Slash) if outer.components.is_empty() => true,
        (Root::Anywhere, Root::Anywhere) => covers(&below(&outer.components), &below(&inner.components)),
        (_, Root::Anywhere) => covers(&below(&outer.components), &inner.components),
        (one, other) if one == other => covers(&outer.components, &inner.components),
        // The workspace is the repository's root, or else the directory itself, which lies in it.
        (Root::Variable(Variable::GitRoot), Root::Variable(Variable::Workspace)) => {
            covers(&outer.components, &inner.components)
        }
        (Root::Variable(Variable::Cwd), Root::Variable(Variable::Workspace)) => {
            covers(&outer.components, &below(&inner.components))
        }
        _ => false,
    }
}

/// Whether surely no path is covered by both.
pub(super) fn are_apart(one: &PathPattern, other: &PathPattern) -> bool {
    one.root == other.root && one.root != Root::Anywhere && cannot_meet(&one.components, &other.components)
}

/// Whether everything at or beneath `inner` is at or beneath what `outer` matches.
pub(super) fn covers(outer: &[Component], inner: &[Component]) -> bool {
    // reached[j]: the components of `inner` so far are matched by the first j of `outer`, whatever they stand for.
    let mut reached = vec![false; outer.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    skip_any_depth(&mut reached, outer);
    for component in inner {
        if reached.last().copied().unwrap_or(false) {
            return true;
        }
        let mut next = vec![false; outer.len() + 1];
        for (at, wanted) in outer.iter().enumerate() {
            if !reached.get(at).copied().unwrap_or(false) {
                continue;
            }
            let to = match (wanted, component) {
                (Component::AnyDepth, _) => at,
                (_, Component::AnyDepth) => continue,
                (wanted, component) if name_within(component, wanted) => at + 1,
                _ => continue,
            };
            if let Some(cell) = next.get_mut(to) {
                *cell = true;
            }
        }
        skip_any_depth(&mut next, outer);
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

/// Whether no path can be at or beneath both.
pub(super) fn cannot_meet(one: &[Component], other: &[Component]) -> bool {
    for pair in one.iter().zip(other) {
        match pair {
            (Component::AnyDepth, _) | (_, Component::AnyDepth) => return false,
            (one, other) if names_apart(one, other) => return true,
            _ => {}
        }
    }
    false
}

fn name_within(inner: &Component, outer: &Component) -> bool {
    match (inner, outer) {
        (Component::Literal(one), Component::Literal(other)) => one == other,
        (Component::Literal(text), Component::Glob(glob)) => glob.matches(text.as_bytes()),
        (Component::Glob(inner), Component::Glob(outer)) => glob::is_within(inner, outer),
        (Component::Glob(inner), Component::Literal(text)) => inner.as_literal() == Some(text),
        (Component::AnyDepth, _) | (_, Component::AnyDepth) => false,
    }
}

fn names_apart(one: &Component, other: &Component) -> bool {
    let glob = |component: &Component| match component {
        Component::Literal(text) => Some(Glob::literal(text)),
        Component::Glob(glob) => Some(glob.clone()),
        Component::AnyDepth => None,
    };
    matches!((glob(one), glob(other)), (Some(one), Some(other)) if glob::are_apart(&one, &other))
}

fn skip_any_depth(reached: &mut [bool], outer: &[Component]) {
    for (at, component) in outer.iter().enumerate() {
        if *component == Component::AnyDepth
            && reached.get(at).copied().unwrap_or(false)
            && let Some(next) = reached.get_mut(at + 1)
        {
            *next = true;
        }
    }
}
