//! Path patterns with their variables' values put in.

use std::collections::{BTreeMap, BTreeSet};

use super::glob::Case;
use super::{Component, PathPattern, Root, Variable};
use crate::bytes::AbsolutePath;

/// A path pattern of one machine: its literal beginning, and what follows from the first wildcard on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Grounded {
    /// The literal beginning.
    pub prefix: AbsolutePath,
    /// The rest: empty, or beginning with a wildcard.
    pub rest: Vec<Component>,
}

/// A variable has no value that a path can begin with.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NoValue {
    /// Which variable.
    pub variable: Variable,
    /// Why not.
    pub why: WhyNoValue,
}

/// Why a variable has no value that a path can begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WhyNoValue {
    /// It is not set, or empty.
    Unset,
    /// It is `/`, which counts as no value.
    Root,
    /// It is not an absolute path without `..`, or holds a line end.
    NotAPath,
}

impl PathPattern {
    /// Puts the values of variables in. `$workspace` without a value is `$git_root`, or else `$cwd`.
    ///
    /// # Errors
    /// The variable that has no value a path can begin with.
    pub fn ground(&self, values: &BTreeMap<Variable, Vec<u8>>) -> Result<Grounded, NoValue> {
        let root = match &self.root {
            Root::Slash | Root::Anywhere => AbsolutePath::root(),
            Root::Variable(variable) => path_value(variable, values)?,
        };
        if self.root == Root::Anywhere {
            let rest = std::iter::once(Component::AnyDepth).chain(self.components.iter().cloned());
            return Ok(Grounded { prefix: root, rest: rest.collect() });
        }
        let names = self.components.iter().map_while(Component::as_literal).map(str::as_bytes);
        let rest = self.components.iter().skip_while(|component| component.as_literal().is_some());
        let (prefix, rest) = (root.join_all(names), rest.cloned().collect());
        Ok(Grounded { prefix, rest })
    }
}

/// The value of a variable as a path.
///
/// # Errors
/// Why it has none.
pub fn path_value(
    variable: &Variable,
    values: &BTreeMap<Variable, Vec<u8>>,
) -> Result<AbsolutePath, NoValue> {
    let no = |why| NoValue { variable: variable.clone(), why };
    match variable.value(values) {
        None => Err(no(WhyNoValue::Unset)),
        Some(value) if value.contains(&b'\n') || value.contains(&b'\r') => Err(no(WhyNoValue::NotAPath)),
        Some(value) => match AbsolutePath::new(value) {
            Some(path) if path.is_root() => Err(no(WhyNoValue::Root)),
            Some(path) => Ok(path),
            None => Err(no(WhyNoValue::NotAPath)),
        },
    }
}

impl Grounded {
    /// Whether the pattern matches the path itself or a directory above it.
    #[must_use]
    pub fn matches_at_or_above(&self, path: &AbsolutePath) -> bool {
        self.matches_in(path, Case::Exact)
    }

    /// The same, classes taking characters in the given case.
    pub(crate) fn matches_in(&self, path: &AbsolutePath, case: Case) -> bool {
        path.is_within(&self.prefix)
            && matches_beginning(&self.rest, path.components().skip(self.prefix.components().count()), case)
    }
}

impl Grounded {
    /// How much of the pattern some names have taken: each of its beginnings that they match, by the number of its
    /// components, and that of all of them once they match at or above their end.
    pub(crate) fn progress<'a>(&self, names: impl Iterator<Item = &'a [u8]>) -> BTreeSet<usize> {
        let literal = self.prefix.components().map(Piece::Name);
        let pieces: Vec<Piece<'_>> = literal.chain(self.rest.iter().map(Piece::Component)).collect();
        let is_deep = |at: usize| matches!(pieces.get(at), Some(Piece::Component(Component::AnyDepth)));
        let add = |taken: &mut BTreeSet<usize>, mut at: usize| {
            taken.insert(at);
            // `**` may take no name.
            while is_deep(at) {
                at += 1;
                taken.insert(at);
            }
        };
        let mut taken = BTreeSet::new();
        add(&mut taken, 0);
        for name in names {
            let mut next = BTreeSet::new();
            for at in taken {
                match pieces.get(at) {
                    None => add(&mut next, at),
                    Some(piece) if piece.takes(name) => {
                        add(&mut next, if is_deep(at) { at } else { at + 1 });
                    }
                    Some(_) => {}
                }
            }
            taken = next;
        }
        taken
    }

    /// What every path has taken.
    pub(crate) fn anywhere(&self) -> BTreeSet<usize> {
        if self.prefix.is_root() && self.rest.first() == Some(&Component::AnyDepth) {
            self.progress(std::iter::empty())
        } else {
            BTreeSet::new()
        }
    }

    /// How many components it has, those of its literal beginning among them.
    pub(crate) fn length(&self) -> usize {
        self.prefix.components().count() + self.rest.len()
    }
}

/// A component, of the literal beginning or of the rest.
enum Piece<'a> {
    Name(&'a [u8]),
    Component(&'a Component),
}

impl Piece<'_> {
    fn takes(&self, name: &[u8]) -> bool {
        match self {
            Piece::Name(own) => *own == name,
            Piece::Component(Component::AnyDepth) => true,
            Piece::Component(Component::Literal(text)) => text.as_bytes() == name,
            Piece::Component(Component::Glob(glob)) => glob.matches_in(name, Case::Exact),
        }
    }
}

/// Whether the components match some beginning of these names.
pub(crate) fn matches_beginning<'a>(
    pattern: &[Component],
    mut names: impl Iterator<Item = &'a [u8]> + Clone,
    case: Case,
) -> bool {
    let mut at = 0;
    // What follows the last `**`, and the names that it may still take.
    let mut any_depth = None;
    loop {
        let Some(component) = pattern.get(at) else { return true };
        if *component == Component::AnyDepth {
            at += 1;
            any_depth = Some((at, names.clone()));
            continue;
        }
        // With fewer names left, none of the other ways leads further.
        let Some(name) = names.next() else { return false };
        let matches = match component {
            Component::AnyDepth => true,
            Component::Literal(text) => text.as_bytes() == name,
            Component::Glob(glob) => glob.matches_in(name, case),
        };
        if matches {
            at += 1;
            continue;
        }
        let Some((after, from)) = &mut any_depth else { return false };
        if from.next().is_none() {
            return false;
        }
        at = *after;
        names = from.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::testing::scope;

    fn values() -> BTreeMap<Variable, Vec<u8>> {
        BTreeMap::from([
            (Variable::Home, b"/home/user".to_vec()),
            (Variable::Cwd, b"/home/user/work/src".to_vec()),
            (Variable::GitRoot, b"/home/user/work".to_vec()),
            (Variable::Environment("ROOT".into()), b"/".to_vec()),
            (Variable::Environment("EMPTY".into()), b"".to_vec()),
            (Variable::Environment("UP".into()), b"/a/..".to_vec()),
        ])
    }

    #[test]
    fn patterns_cover_what_they_match_and_what_is_beneath() {
        for (pattern, yes, no) in [
            ("/", &["/", "/a"][..], &[][..]),
            ("/a/b", &["/a/b", "/a/b/c"], &["/a", "/a/bc", "/"]),
            ("**/.env", &["/.env", "/a/.env", "/a/b/.env/c"], &["/a/.envx", "/a"]),
            ("/a/**/b/*.c", &["/a/b/x.c", "/a/x/y/b/.c/z"], &["/a/b", "/b/x.c"]),
            ("/a/*", &["/a/b", "/a/b/c"], &["/a"]),
            ("~/x", &["/home/user/x"], &["/home/user"]),
            ("$workspace", &["/home/user/work", "/home/user/work/x"], &["/home/user"]),
        ] {
            let pattern = &PathPattern::parse(pattern, &scope()).unwrap()[0];
            let ground = pattern.ground(&values()).unwrap();
            assert!(!matches!(ground.rest.first(), Some(Component::Literal(_))));
            let path = |text: &str| AbsolutePath::new(text.as_bytes()).unwrap();
            for text in yes {
                assert!(ground.matches_at_or_above(&path(text)), "{pattern} {text}");
            }
            for text in no {
                assert!(!ground.matches_at_or_above(&path(text)), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn a_value_that_begins_no_path_is_none() {
        for (pattern, why) in [
            ("$tmp/x", WhyNoValue::Unset),
            ("$ROOT", WhyNoValue::Root),
            ("$EMPTY", WhyNoValue::Unset),
            ("$UP", WhyNoValue::NotAPath),
        ] {
            let pattern = &PathPattern::parse(pattern, &scope()).unwrap()[0];
            assert_eq!(pattern.ground(&values()).unwrap_err().why, why, "{pattern}");
        }
    }
}
