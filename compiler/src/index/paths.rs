//! Patterns of paths, found by the path: a trie over their literal beginnings.

use std::collections::BTreeMap;

use super::names::{Names, push};
use crate::bytes::AbsolutePath;
use crate::pattern::{Component, PathPattern, Root, Variable, path_value};
use crate::policy::RuleId;
use crate::world::World;

/// Rules by patterns of paths, for worlds without links on a file system that tells letters apart.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths {
    /// Patterns from `/`, and from anywhere.
    root: Node,
    /// Patterns from a variable's value.
    variables: BTreeMap<Variable, Node>,
}

/// A place in the tree of literal beginnings.
#[derive(Clone, Debug, Default)]
struct Node {
    children: BTreeMap<Box<[u8]>, Node>,
    /// Rules whose pattern ends here: they cover everything beneath.
    here: Vec<RuleId>,
    /// Rules whose pattern goes on with a wildcard, by a name that must stand somewhere beneath.
    beneath: Option<Box<Names>>,
}

impl Paths {
    /// Adds a rule for what a pattern covers.
    pub(super) fn add(&mut self, pattern: &PathPattern, rule: RuleId) {
        let node = match &pattern.root {
            Root::Slash | Root::Anywhere => &mut self.root,
            Root::Variable(variable) => self.variables.entry(variable.clone()).or_default(),
        };
        let from = if pattern.root == Root::Anywhere { 0 } else { usize::MAX };
        node.add(&pattern.components, from, rule);
    }

    /// Adds every rule that may cover the path.
    pub(super) fn find(&self, world: &World, path: &AbsolutePath, found: &mut Vec<RuleId>) {
        self.root.find(path.as_bytes(), found);
        for (variable, node) in &self.variables {
            // A value is normalised as the pattern's is; one that begins no path covers nothing.
            let Ok(value) = path_value(variable, &world.variables) else { continue };
            if path.is_within(&value) {
                let below = path.as_bytes().get(value.as_bytes().len()..).unwrap_or_default();
                node.find(below, found);
            }
        }
    }
}

impl Node {
    /// `anywhere`: the pattern may begin at any depth, so no component is literal beginning.
    fn add(&mut self, components: &[Component], literal: usize, rule: RuleId) {
        let mut node = self;
        let mut rest = components;
        let mut left = literal;
        while left > 0
            && let Some((Component::Literal(name), after)) = rest.split_first()
        {
            node = node.children.entry(name.as_bytes().into()).or_default();
            rest = after;
            left -= 1;
        }
        if rest.is_empty() {
            return push(&mut node.here, rule);
        }
        let names = node.beneath.get_or_insert_default();
        let literal = rest.iter().rev().find_map(Component::as_literal);
        let glob = rest.iter().rev().find_map(|component| match component {
            Component::Glob(glob) => Some(glob),
            _ => None,
        });
        match (literal, glob) {
            (Some(name), _) => names.add_exact(name.as_bytes(), rule),
            (None, Some(glob)) => names.add(glob, rule),
            (None, None) => names.add_any(rule),
        }
    }

    fn find(&self, path: &[u8], found: &mut Vec<RuleId>) {
        let mut node = self;
        let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
        loop {
            found.extend(&node.here);
            if let Some(beneath) = &node.beneath {
                beneath.find_any(found);
                for name in names.clone() {
                    beneath.find(name, found);
                }
            }
            let Some(next) = names.next().and_then(|name| node.children.get(name)) else { return };
            node = next;
        }
    }
}
