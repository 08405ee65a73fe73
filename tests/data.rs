//! Policies as YAML and JSON: what is wrong in them has its place, and what is right means what the text means.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]
#![allow(clippy::disallowed_methods)]

mod texts;

use std::fmt::Write as _;

use fence_compiler::diagnostic::render::{Color, text};
use fence_compiler::document::data::{MOST_BYTES, MOST_LEVELS, Notation, parse};
use fence_compiler::document::{Document, from_tree, schema};
use fence_compiler::resolve::{Request, resolve};
use fence_grammar::SyntaxErrorKind;
use proptest::prelude::*;
use serde_json::Value;
use texts::{Texts, file, told};

/// The cases of a file: a name and a text each.
fn cases(all: &'static str) -> Vec<(&'static str, &'static str)> {
    all.split("=== ").skip(1).map(|case| case.split_once('\n').unwrap()).collect()
}

fn mistakes() -> Vec<(&'static str, &'static str)> {
    cases(include_str!("data/mistakes.txt"))
}

#[test]
fn every_mistake_is_told_at_its_place() {
    let mut shown = String::new();
    for (name, written) in mistakes() {
        let main = file("policy.fence.yaml", written);
        let resolved = resolve(&Request { mains: vec![main], ..Request::default() }, &Texts::default());
        assert!(!resolved.diagnostics.is_empty(), "{name}");
        writeln!(shown, "=== {name}\n{}", text(&resolved.diagnostics, &resolved.sources, Color::Plain))
            .unwrap();
    }
    insta::with_settings!({snapshot_path => "snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("data-mistakes", shown);
    });
}

#[test]
fn a_repair_mends_its_mistake() {
    for (name, written) in mistakes() {
        for error in parse(written, Notation::Yaml).errors {
            let Some((place, by)) = &error.repair else { continue };
            let mut repaired = written.to_owned();
            repaired.replace_range(place.range(), by);
            let again = parse(&repaired, Notation::Yaml).errors;
            let same = again.iter().any(|e| e.kind == error.kind && e.span.start == error.span.start);
            assert!(!same, "{name}: {}\n{repaired}", error.message);
        }
    }
}

/// The statements of a policy, as data.
fn value(document: &Document) -> Value {
    serde_json::to_value(document).unwrap()
}

fn of_fence(text: &str) -> Document {
    let parsed = fence_grammar::parse(text);
    assert_eq!(parsed.errors, []);
    from_tree(parsed.file)
}

const EXAMPLE: &str = include_str!("data/example.fence");

#[test]
fn a_policy_is_the_same_in_every_form() {
    for (name, text) in fence_policies::ALL.iter().copied().chain([("example", EXAMPLE)]) {
        let document = of_fence(text);
        let json = serde_json::to_string_pretty(&document).unwrap();
        let yaml = serde_yaml::to_string(&document).unwrap();
        for (text, notation) in [(json, Notation::Json), (yaml, Notation::Yaml)] {
            let parsed = parse(&text, notation);
            assert_eq!(parsed.errors, [], "{name} as {notation:?}\n{text}");
            assert_eq!(value(&from_tree(parsed.file)), value(&document), "{name} as {notation:?}");
        }
    }
}

#[test]
fn every_item_has_the_place_where_it_stands() {
    let text =
        "rules:\n- {allow: [read, write], items: [\"/a b\", '/c', /d], except: /e, as: x, because: why}\n";
    let document = from_tree(parse(text, Notation::Yaml).file);
    let rule = &document.rules[0];
    let at = |span: fence_grammar::Span| &text[span.range()];
    assert_eq!(at(rule.effect.span), "allow");
    assert_eq!(rule.actions.iter().map(|action| at(action.span)).collect::<Vec<_>>(), ["read", "write"]);
    assert_eq!(rule.items.iter().map(|item| at(item.span)).collect::<Vec<_>>(), ["\"/a b\"", "'/c'", "/d"]);
    assert_eq!(at(rule.except[0].span), "/e");
    assert_eq!(at(rule.note.label.as_ref().unwrap().span), "x");
    assert_eq!(at(rule.span), text.split_once("- ").unwrap().1.trim_end());
}

#[test]
fn one_form_includes_another() {
    let texts = Texts::new(&[
        ("main.fence", "include \"./team.fence.yaml\" without shut because \"a test\"\n"),
        ("team.fence.yaml", "include: [./more.json, base]\nrules:\n  - {deny: read, items: /a, as: shut}\n"),
        ("more.json", "{\"rules\": [{\"allow\": \"read\", \"items\": \"relative\"}]}\n"),
    ]);
    let resolved = texts.resolve(&["main.fence"]);
    assert_eq!(told(&resolved), [("E0220", 1)]);
    assert_eq!(resolved.policy.left_out.len(), 1);
    assert!(resolved.policy.rules.iter().any(|rule| rule.label.as_deref() == Some("any-command")));
}

#[test]
fn a_bomb_is_refused_before_it_goes_off() {
    let kinds = |text: &str, notation| {
        parse(text, notation).errors.into_iter().map(|error| error.kind).collect::<Vec<_>>()
    };
    let mut laughs = String::from("a0: &a0 [x, x]\n");
    for n in 1..40 {
        writeln!(laughs, "a{n}: &a{n} [*a{}, *a{}]", n - 1, n - 1).unwrap();
    }
    assert!(kinds(&laughs, Notation::Yaml).contains(&SyntaxErrorKind::ForeignFeature));
    for (text, notation) in [
        ("[".repeat(100_000), Notation::Json),
        ("[".repeat(100_000), Notation::Yaml),
        ("- ".repeat(100_000), Notation::Yaml),
        ("? ".repeat(100_000), Notation::Yaml),
        ("{a: ".repeat(100_000), Notation::Yaml),
        ("x".repeat(MOST_BYTES + 1), Notation::Yaml),
        (format!("{}/a{}", "[".repeat(MOST_LEVELS + 1), "]".repeat(MOST_LEVELS + 1)), Notation::Yaml),
    ] {
        assert_eq!(kinds(&text, notation), [SyntaxErrorKind::NotData], "{:.20}", text);
    }
}

#[test]
fn mistakes_without_number_are_counted() {
    let many = format!("rules: [{}]\n", "{alow: read, items: /a}, ".repeat(3_000));
    let errors = parse(&many, Notation::Yaml).errors;
    assert_eq!(errors.len(), 1_001);
    assert!(errors.iter().any(|error| error.kind == SyntaxErrorKind::TooManyErrors));
}

#[test]
fn json_is_json_and_nothing_more() {
    for text in [
        "",
        "{a: 1}",
        "{'policy': 'a'}",
        "{\"policy\": \"a\",}",
        "# c\n{}",
        "{} {}",
        "{\"a\": 01}",
        "policy: a",
    ] {
        let kinds: Vec<_> = parse(text, Notation::Json).errors.into_iter().map(|error| error.kind).collect();
        assert_eq!(kinds, [SyntaxErrorKind::NotData], "{text:?}");
    }
    for text in [
        "{}",
        "{\n\t\"policy\": \"a\"\r\n}",
        "{\"description\": \"\\ud83d\\ude00\\/\\u202e\", \"policy\": \"a\"}",
    ] {
        assert_eq!(parse(text, Notation::Json).errors, [], "{text:?}");
    }
}

/// Every place in a value, counted.
fn places(value: &mut Value, visit: &mut impl FnMut(&mut Value)) {
    visit(value);
    match value {
        Value::Array(list) => list.iter_mut().for_each(|value| places(value, visit)),
        Value::Object(map) => map.values_mut().for_each(|value| places(value, visit)),
        _ => {}
    }
}

const REPLACEMENTS: [&str; 17] = [
    "null",
    "true",
    "1",
    "443",
    "70000",
    "1.5",
    "\"\"",
    "\"x\"",
    "\"read\"",
    "[]",
    "{}",
    "[\"/a\"]",
    "[[\"a\"]]",
    "{\"value\": \"3s\"}",
    "{\"allow\": \"read\", \"items\": \"/a\"}",
    "[\"x\", \"x\"]",
    "{\"a\": \"b\"}",
];

/// Every place of the example, replaced by everything.
#[test]
fn what_is_read_is_valid_by_the_schema_and_means_what_serde_reads() {
    let example = value(&of_fence(EXAMPLE));
    let mut all = 0;
    places(&mut example.clone(), &mut |_| all += 1);
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut wrong = Vec::new();
    for at in 0..all {
        for by in REPLACEMENTS {
            let mut changed = example.clone();
            let mut count = 0;
            places(&mut changed, &mut |value| {
                if count == at {
                    *value = serde_json::from_str(by).unwrap();
                }
                count += 1;
            });
            let text = serde_json::to_string_pretty(&changed).unwrap();
            let parsed = parse(&text, Notation::Json);
            let serde = serde_json::from_value::<Document>(changed.clone());
            let valid = validator.is_valid(&changed);
            if parsed.errors.is_empty() {
                if !valid {
                    let why: Vec<String> =
                        validator.iter_errors(&changed).map(|error| error.to_string()).collect();
                    wrong.push(format!("{at} {by}: read, but not valid: {why:?}"));
                }
                match serde {
                    Ok(serde) if value(&from_tree(parsed.file)) == value(&serde) => {}
                    Ok(_) => wrong.push(format!("{at} {by}: read otherwise than serde does")),
                    Err(error) => wrong.push(format!("{at} {by}: read, and serde does not: {error}")),
                }
            } else if valid && serde.is_ok() {
                // What only the reader judges: names, reasons, what must stand beside what.
                let judged = parsed.errors.iter().all(|error| {
                    matches!(
                        error.kind,
                        SyntaxErrorKind::InvalidName
                            | SyntaxErrorKind::MissingReason
                            | SyntaxErrorKind::MissingItem
                            | SyntaxErrorKind::RepeatedClause
                            | SyntaxErrorKind::MisplacedClause
                            | SyntaxErrorKind::UnknownVersion
                            | SyntaxErrorKind::IncompleteStatement
                    )
                });
                if !judged {
                    wrong.push(format!("{at} {by}: valid, but not read: {:?}", parsed.errors));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "[-a-z:*&!#{}\\[\\],\"' \n\t|>?%@`~0-9]{0,80}") {
        let parsed = parse(&text, Notation::Yaml);
        for error in parsed.errors {
            prop_assert!(text.get(error.span.range()).is_some(), "{:?} in {text:?}", error);
        }
    }
}
