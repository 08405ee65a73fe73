//! Large and deep texts: the parser neither overflows nor loses count. Counts, not clocks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use fence_grammar::{SyntaxErrorKind, parse};

#[test]
fn three_thousand_rules_are_three_thousand_statements() {
    let mut text = String::new();
    for n in 0..3_000 {
        text.push_str(&format!(
            "allow read write $cwd/src/{n}, /opt/{n} except /opt/{n}/x as r{n} because \"reason {n}\"\n"
        ));
    }
    let parsed = parse(&text);
    assert_eq!(parsed.errors, []);
    assert_eq!(parsed.file.statements.len(), 3_000);
}

#[test]
fn a_mistake_in_each_line_is_told_up_to_the_limit() {
    let text = "alow read /a\nallow read /b\n".repeat(2_000);
    let parsed = parse(&text);
    assert_eq!(parsed.file.statements.len(), 2_000);
    assert_eq!(parsed.errors.len(), 1_001);
    let last = parsed.errors.last().unwrap();
    assert_eq!(last.kind, SyntaxErrorKind::TooManyErrors);
    assert_eq!(last.message, "1000 more mistakes follow");
}

#[test]
fn garbage_is_read_to_its_end() {
    let deep = 2_000;
    let garbage: &[&str] = &[
        "{",
        "}",
        "\"",
        "\"\"",
        "\\",
        "\"\\",
        "{{}",
        "}{",
        "on linux {\n",
        "on linux { ",
        "test \"x\" {\n  ",
        "a{",
        "{a",
        "a,",
        "a ",
        ",\n",
        ",,",
        ", ",
        "allow read /a,\n",
        "allow read /a ",
        "except ",
        "\nexcept x",
        "\n",
        "#",
        "a#",
        "as ",
        "because ",
        "\u{1}",
        "\u{200b}a",
        "x\"",
        "\n  ",
        " ",
        "=",
        "->",
        "{a,b}",
        "\t{\n",
        "\r",
    ];
    for piece in garbage {
        for head in ["", "allow read ", "test \"", "on linux {\n", "on linux {\n  test \"x\" {\n", "\""] {
            let text = format!("{head}{}", piece.repeat(deep / piece.len()));
            let parsed = parse(&text);
            assert!(parsed.errors.len() <= 1_001 + 51, "{head}{piece}");
            assert!(
                parsed.errors.iter().all(|error| error.message != "this text cannot be read as a policy"),
                "{head}{piece}"
            );
        }
    }
}
