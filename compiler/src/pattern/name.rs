//! Patterns of plain names: environment variables, system calls, macOS services, programs.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::shown;
use super::{Glob, ItemError, Scope};
use crate::diagnostic::Code;

/// A pattern of names, `*` anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct NamePattern(pub Glob);

impl NamePattern {
    /// Reads a name in which `*`, `?` and classes are wildcards.
    ///
    /// # Errors
    /// What makes it no name.
    pub fn parse(text: &str, scope: &dyn Scope) -> Result<NamePattern, ItemError> {
        let error = |message: String| ItemError::new(Code::BadName, 0..text.len(), message);
        if text.is_empty() {
            return Err(error("a name cannot be empty".into()));
        }
        if text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/') {
            return Err(error(format!("`{}` is no name: a name holds no blank and no `/`", shown(text))));
        }
        if let (Some(open), Some(comma)) = (text.find('{'), text.find(','))
            && open < comma
        {
            return Err(error(format!(
                "braces in `{}` have no meaning: they are expanded in paths only",
                shown(text)
            ))
            .help("write one item for each alternative"));
        }
        Ok(NamePattern(Glob::parse_word(text, scope)?))
    }

    /// Whether the whole name matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.0.matches(name.as_bytes())
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::testing::scope;

    #[test]
    fn names_are_globs() {
        for (pattern, yes, no) in [
            ("LC_*", "LC_ALL", "LC"),
            ("*_TOKEN", "GH_TOKEN", "TOKENS"),
            ("$name", "git", "gitk"),
            ("a{b", "a{b", "ab"),
        ] {
            let parsed = NamePattern::parse(pattern, &scope()).unwrap();
            assert!(parsed.matches(yes) && !parsed.matches(no), "{pattern}");
            assert_eq!(NamePattern::parse(&parsed.to_string(), &scope()).unwrap(), parsed);
        }
        for text in ["", "a b", "a/b", "{a,b}", "$home", "$nothing", "a["] {
            assert!(NamePattern::parse(text, &scope()).is_err(), "{text}");
        }
    }
}
