//! The policies that come with fence, as text and as syntax trees.
//!
//! They are ordinary policies: `include base` reads the same text as `include "./base.fence"` would. Each
//! carries tests of its own, and every one of its rules is decided by at least one of them.
#![forbid(unsafe_code)]

use fence_grammar::tree::File;

/// Names a policy once: its text, and its tree as the build script wrote it down.
macro_rules! built_in {
    ($($name:literal,)*) => {
        /// Every built-in policy, by name: the name and the text. Sorted by name.
        pub const ALL: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../builtin/", $name, ".fence")))),*];

        const TREES: &[(&str, &[u8])] =
            &[$(($name, include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".tree")))),*];
    };
}

built_in! {
    "base",
    "default",
    "persistence",
    "secrets",
    "system-commands",
}

/// Returns the text of the built-in policy with this name.
///
/// `user` is none of them: it is the person's own policy, a file.
#[must_use]
pub fn get(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Returns the syntax tree of the built-in policy with this name: what parsing its text yields, in a tenth of
/// the time.
#[must_use]
pub fn tree(name: &str) -> Option<File> {
    let (_, bytes) = TREES.iter().find(|(known, _)| *known == name)?;
    postcard::from_bytes(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_each_stands_once() {
        let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
    }

    #[test]
    fn a_text_is_found_by_its_name_alone() {
        for (name, text) in ALL {
            assert_eq!(get(name), Some(*text));
        }
        for other in ["user", "", "Base", "base.fence", "nothing"] {
            assert_eq!(get(other), None, "{other}");
        }
    }

    #[test]
    fn a_tree_is_what_its_text_parses_to() {
        for (name, text) in ALL {
            assert_eq!(tree(name).as_ref(), Some(&fence_grammar::parse(text).file), "{name}");
        }
        assert_eq!(tree("nothing"), None);
    }

    #[test]
    fn each_text_begins_with_the_version_and_its_own_name() {
        for (name, text) in ALL {
            let mut statements = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
            assert_eq!(statements.next(), Some("fence 1"), "{name}");
            let header = statements.next().unwrap_or_default();
            assert!(header.starts_with(&format!("policy {name} \"")), "{name}: {header}");
        }
    }
}
