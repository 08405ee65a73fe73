//! What holds for every text: property tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod cases;

use cases::{Mistake, VALID, all_mistakes, repair, show};
use fence_grammar::tree::{File, Quoting, Statement};
use fence_grammar::{Parsed, Span, SyntaxError, SyntaxErrorKind, parse, quote};
use proptest::prelude::*;
use proptest::sample::select;

/// Pieces that texts are made of: the language's own, and what goes wrong with it.
const PIECES: &[&str] = &[
    "allow",
    "deny",
    "never",
    "read",
    "write",
    "run",
    "connect",
    "tty",
    "env",
    "file",
    "secret",
    "set",
    "limit",
    "time",
    "include",
    "without",
    "let",
    "policy",
    "fence",
    "1",
    "tls",
    "strict",
    "upstream",
    "for",
    "on",
    "linux",
    "test",
    "given",
    "link",
    "host",
    "platform",
    "->",
    "=",
    "to",
    "as",
    "because",
    "by",
    "except",
    "best-effort",
    "cheaply",
    "$cwd",
    "/a",
    "**/.env",
    "\"a b\"",
    "\"",
    "\\",
    "\\u{",
    "{",
    "}",
    "{a,b}",
    ",",
    ",",
    "#",
    "\n",
    "\n",
    "\n  ",
    "\r\n",
    "\r",
    "\t",
    " ",
    " ",
    " ",
    "\u{feff}",
    "\u{200b}",
    "\u{a0}",
    "ä",
    "\u{1f600}",
    "x",
];

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        proptest::collection::vec(select(PIECES), 0..60).prop_map(|pieces| pieces.concat()),
        proptest::collection::vec(select(PIECES), 0..40).prop_map(|pieces| pieces.join(" ")),
    ]
}

/// The statements of the valid policies that may stand anywhere.
fn statements() -> Vec<String> {
    let mut all = Vec::new();
    for (_, text) in VALID {
        for statement in parse(text).file.statements {
            if !matches!(statement.node, Statement::Version(_)) {
                all.push(format!("{}\n", &text[statement.span.range()]));
            }
        }
    }
    all
}

fn valid_file() -> impl Strategy<Value = String> {
    proptest::collection::vec(select(statements()), 0..12).prop_map(|statements| statements.concat())
}

/// Everything that a tree says, without where.
fn meaning(file: &File) -> Vec<String> {
    file.statements.iter().map(|statement| without_places(&format!("{:?}", statement.node))).collect()
}

fn without_places(debug: &str) -> String {
    let mut out = String::new();
    let mut parts = debug.split("Span { start: ");
    out.push_str(parts.next().unwrap());
    for part in parts {
        out.push_str(part.split_once('}').unwrap().1);
    }
    out
}

/// What is told of a text, with places counted from an offset.
fn errors_from(parsed: &Parsed, offset: u32) -> Vec<(SyntaxErrorKind, u32, u32, String)> {
    parsed
        .errors
        .iter()
        .map(|e| (e.kind, e.span.start - offset, e.span.end - offset, e.message.clone()))
        .collect()
}

fn check_span(text: &str, span: Span) {
    assert!(span.start <= span.end, "{span:?}");
    assert!(text.get(span.range()).is_some(), "{span:?} is no place in {text:?}");
}

/// Every span in the debug form of a tree.
fn spans(debug: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    for part in debug.split("Span { start: ").skip(1) {
        let (start, rest) = part.split_once(", end: ").unwrap();
        let (end, _) = rest.split_once(" }").unwrap();
        spans.push(Span { start: start.parse().unwrap(), end: end.parse().unwrap() });
    }
    spans
}

/// Mistakes that mean the same wherever they stand: not those about what begins a policy.
fn movable(mistake: &Mistake) -> bool {
    let about_the_beginning = mistake.name.contains("version") || mistake.name == "byte-order mark";
    !about_the_beginning && mistake.name != "clause without a statement"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_and_every_span_lies_in_it(text in any_text()) {
        let parsed = parse(&text);
        for error in &parsed.errors {
            check_span(&text, error.span);
            if let Some((place, _)) = &error.repair {
                check_span(&text, *place);
            }
            prop_assert!(!error.message.contains('\n') && !error.message.ends_with('.'), "{}", error.message);
            prop_assert_ne!(&error.message, "this text cannot be read as a policy", "the grammar does not match");
        }
        for span in spans(&format!("{:?}", parsed.file)) {
            check_span(&text, span);
        }
        let starts: Vec<u32> = parsed.errors.iter().map(|error| error.span.start).collect();
        prop_assert!(starts.is_sorted());
    }

    #[test]
    fn a_text_without_errors_has_lost_nothing(text in any_text()) {
        let parsed = parse(&text);
        if parsed.errors.is_empty() {
            prop_assert_eq!(parsed.left_out, Default::default());
            // What stands outside of the statements is blank, or a comment.
            let mut done = 0;
            let mut between = String::new();
            for statement in &parsed.file.statements {
                let range = statement.span.range();
                between.push_str(&text[done..range.start]);
                between.push('\n');
                done = range.end;
            }
            between.push_str(&text[done..]);
            for line in between.lines() {
                let line = line.trim();
                prop_assert!(line.is_empty() || line.starts_with('#'), "{:?} is lost from {:?}", line, text);
            }
        }
    }

    #[test]
    fn two_files_say_together_what_each_says(first in valid_file(), second in valid_file()) {
        let both = parse(&format!("{first}{second}"));
        prop_assert!(both.errors.is_empty(), "{}", show(&format!("{first}{second}"), &both));
        let mut each = meaning(&parse(&first).file);
        each.extend(meaning(&parse(&second).file));
        prop_assert_eq!(meaning(&both.file), each);
    }

    #[test]
    fn mistakes_between_statements_cost_nothing_but_themselves(
        files in proptest::collection::vec(valid_file(), 9),
        mistakes in proptest::collection::vec(select(all_mistakes()), 1..8),
    ) {
        let mut text = String::from("tls strict\n");
        let any_unclosed = mistakes.iter().any(|mistake| mistake.name.contains("unclosed"));
        let mut expected_errors = Vec::new();
        let mut expected = meaning(&parse(&text).file);
        for (n, file) in files.iter().enumerate() {
            text.push_str(file);
            expected.extend(meaning(&parse(file).file));
            // A lone `}` behind a block that is not closed closes it.
            let closes = |mistake: &Mistake| any_unclosed && mistake.name.ends_with("nothing");
            if let Some(mistake) = mistakes.get(n).filter(|mistake| movable(mistake) && !closes(mistake)) {
                let offset = u32::try_from(text.len()).unwrap();
                text.push_str(&mistake.text);
                let alone = parse(&mistake.text);
                expected.extend(meaning(&alone.file));
                for (kind, start, end, message) in errors_from(&alone, 0) {
                    expected_errors.push((kind, start + offset, end + offset, message));
                }
                // A statement on the line of a mistake would be another mistake.
                text.push_str("tls strict\n");
                expected.push(meaning(&parse("tls strict").file).remove(0));
            }
        }
        let parsed = parse(&text);
        prop_assert_eq!(errors_from(&parsed, 0), expected_errors, "{}", show(&text, &parsed));
        prop_assert_eq!(meaning(&parsed.file), expected, "{}", show(&text, &parsed));
    }

    #[test]
    fn a_quoted_text_reads_back_the_same(value in any::<String>()) {
        let text = format!("let x = {}", quote(&value));
        let parsed = parse(&text);
        prop_assert!(parsed.errors.is_empty(), "{}", show(&text, &parsed));
        let [statement] = &parsed.file.statements[..] else { panic!("{parsed:?}") };
        let Statement::Let(found) = &statement.node else { panic!("{statement:?}") };
        prop_assert_eq!(&found.value.text, &value);
        prop_assert_eq!(found.value.quoting, Quoting::Quoted);
    }
}

#[test]
fn each_mistake_has_errors_of_its_own() {
    let mistakes = all_mistakes();
    assert!(mistakes.len() >= 60, "only {}", mistakes.len());
    for mistake in mistakes {
        let parsed = parse(&mistake.text);
        assert!(!parsed.errors.is_empty(), "{}", mistake.name);
        let allowed = match mistake.name.as_str() {
            "mistakes in two lines of a block" | "misspelt platform" | "misspelt effect and action" => 2,
            "two bad escapes" | "two missing commas" | "trailing comma before an unknown statement" => 2,
            _ => 1,
        };
        assert_eq!(parsed.errors.len(), allowed, "{}\n{}", mistake.name, show(&mistake.text, &parsed));
    }
}

#[test]
fn every_kind_of_mistake_has_a_case() {
    let mut seen: Vec<SyntaxErrorKind> = Vec::new();
    for mistake in all_mistakes() {
        seen.extend(parse(&mistake.text).errors.iter().map(|error| error.kind));
    }
    for kind in SyntaxErrorKind::ALL {
        // One needs a thousand others (`bounds.rs` has them); those of YAML and JSON are told where these are read.
        let elsewhere = [
            SyntaxErrorKind::TooManyErrors,
            SyntaxErrorKind::NotData,
            SyntaxErrorKind::ForeignFeature,
            SyntaxErrorKind::DuplicateKey,
            SyntaxErrorKind::UnknownKey,
            SyntaxErrorKind::WrongShape,
            SyntaxErrorKind::QuotesNeeded,
        ];
        assert!(seen.contains(kind) || elsewhere.contains(kind), "{kind:?}");
    }
}

#[test]
fn a_repair_mends_its_mistake() {
    for mistake in all_mistakes() {
        let parsed = parse(&mistake.text);
        for error in &parsed.errors {
            let Some((place, replacement)) = &error.repair else { continue };
            let repaired = repair(&mistake.text, *place, replacement);
            let after = parse(&repaired);
            let same = |e: &SyntaxError| e.kind == error.kind && e.span.start == error.span.start;
            assert!(!after.errors.iter().any(same), "{}\n{}", mistake.name, show(&repaired, &after));
        }
    }
}

#[test]
fn any_line_end_means_the_same() {
    for (name, text) in VALID {
        let unix = text.replace("\r\n", "\n");
        let dos = unix.replace('\n', "\r\n");
        assert_eq!(meaning(&parse(&unix).file), meaning(&parse(&dos).file), "{name}");
        let without_last = unix.trim_end_matches('\n');
        assert_eq!(meaning(&parse(&unix).file), meaning(&parse(without_last).file), "{name}");
    }
}
