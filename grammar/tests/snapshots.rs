//! What valid policies say, and what is told of mistakes: snapshots of the cases in `tests/data`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod cases;

use cases::{MISTAKES, VALID, mistakes, show};
use fence_grammar::parse;

#[test]
fn valid_policies_become_these_trees() {
    for (name, text) in VALID {
        let parsed = parse(text);
        assert!(parsed.errors.is_empty(), "{name}:\n{}", show(text, &parsed));
        insta::assert_debug_snapshot!(format!("tree_{name}"), parsed.file);
    }
}

#[test]
fn mistakes_are_told_like_this() {
    for (subject, file) in MISTAKES {
        let mut out = String::new();
        for case in mistakes(file) {
            let parsed = parse(&case.text);
            out.push_str(&format!("=== {}\n{}", case.name, show(&case.text, &parsed)));
            if parsed.errors.is_empty() {
                out.push_str("NO ERROR\n");
            }
        }
        insta::assert_snapshot!(format!("mistakes_{subject}"), out);
    }
}
