//! A scope with a few `let`s, for the tests of patterns.

use super::{BuiltInScope, Scope, Value};
use crate::source::SourceId;

pub(crate) struct Lets(Vec<(&'static str, &'static str)>);

pub(crate) fn scope() -> Lets {
    Lets(vec![
        ("state", "~/.local/state/agent"),
        ("odd", "/srv/*x"),
        ("name", "git"),
        ("db", "db.internal"),
        ("above", "/a/../b"),
    ])
}

impl Scope for Lets {
    fn lookup(&self, name: &str) -> Option<Value> {
        let built_in = BuiltInScope { source: SourceId(0) };
        match self.0.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Value::parse(text, &built_in).ok(),
            None => built_in.lookup(name),
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names = BuiltInScope { source: SourceId(0) }.names();
        names.extend(self.0.iter().map(|(name, _)| (*name).to_owned()));
        names
    }
}
