//! The canonical form: one for each meaning, comments kept, nothing changed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]
#![allow(clippy::disallowed_methods)]

use fence_compiler::document::{Form, Unconverted, convert, from_tree};
use fence_grammar::print::{WIDTH, comments};
use proptest::prelude::*;

const MESSY: &str = include_str!("format/messy.fence");
const YAML: &str = include_str!("format/comments.yaml");

fn to(text: &str, from: Form, form: Form) -> String {
    match convert(text, from, form) {
        Ok(converted) => converted.text,
        Err(why) => panic!("{why:?}\n{text}"),
    }
}

fn remarks(text: &str) -> Vec<String> {
    let mut found: Vec<String> = text
        .lines()
        .filter_map(|line| line.split_once('#').map(|(_, remark)| remark.trim_end().to_owned()))
        .collect();
    found.sort();
    found
}

/// What every policy's canonical forms hold to.
fn holds(name: &str, text: &str, from: Form) -> String {
    let fence = to(text, from, Form::Fence);
    assert_eq!(to(&fence, Form::Fence, Form::Fence), fence, "{name}: the form is not stable");
    let yaml = to(text, from, Form::Yaml);
    assert_eq!(to(&yaml, Form::Yaml, Form::Yaml), yaml, "{name}: the YAML is not stable");
    let back = to(&yaml, Form::Yaml, Form::Fence);
    let json = to(text, from, Form::Json);
    assert_eq!(to(&json, Form::Json, Form::Json), json, "{name}");
    for (text, form) in
        [(&fence, Form::Fence), (&yaml, Form::Yaml), (&back, Form::Fence), (&json, Form::Json)]
    {
        let meaning = |text: &str, form: Form| serde_json::to_value(from_tree(form.read(text).file)).unwrap();
        assert_eq!(meaning(text, form), meaning(&fence, Form::Fence), "{name} as {form:?}");
    }
    let texts = |text: &str| {
        let mut texts: Vec<String> = comments(text).into_iter().map(|comment| comment.text).collect();
        texts.sort();
        texts
    };
    assert_eq!(texts(&back), texts(&fence), "{name}: a comment is lost on the way over YAML");
    fence
}

#[test]
fn a_messy_text_has_one_form() {
    let fence = holds("messy", MESSY, Form::Fence);
    assert_eq!(remarks(&fence), remarks(MESSY));
    let all = [Form::Fence, Form::Yaml, Form::Json].map(|form| to(MESSY, Form::Fence, form)).join("----\n");
    insta::with_settings!({snapshot_path => "snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("format-text", all);
    });
}

#[test]
fn comments_go_from_yaml_to_text_and_back() {
    holds("comments", YAML, Form::Yaml);
    let fence = to(YAML, Form::Yaml, Form::Fence);
    let all =
        [fence.clone(), to(YAML, Form::Yaml, Form::Yaml), to(&fence, Form::Fence, Form::Yaml)].join("----\n");
    insta::with_settings!({snapshot_path => "snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("format-yaml", all);
    });
}

#[test]
fn every_known_policy_keeps_its_meaning_and_its_comments() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../grammar/tests/data/valid");
    let mut texts: Vec<(String, String)> =
        fence_policies::ALL.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        texts.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
    }
    for (name, text) in &texts {
        let fence = holds(name, text, Form::Fence);
        let texts = |text: &str| {
            let mut texts: Vec<String> = comments(text).into_iter().map(|comment| comment.text).collect();
            texts.sort();
            texts
        };
        assert_eq!(texts(&fence), texts(text), "{name}: a comment is lost");
    }
}

#[test]
fn what_has_mistakes_is_not_written_again() {
    let why = convert("alow read /a\nallow read /b\n", Form::Fence, Form::Fence).unwrap_err();
    assert!(matches!(why, Unconverted::Mistakes(errors) if errors.len() == 1));
    // Two variables of one name are no map.
    let twice = "let a = /x\nlet a = /y\n";
    assert_eq!(convert(twice, Form::Fence, Form::Yaml).unwrap_err(), Unconverted::Differs);
    assert_eq!(to(twice, Form::Fence, Form::Fence), twice);
}

#[test]
fn json_says_how_many_comments_it_cannot_hold() {
    assert_eq!(convert("# a\ntls strict # b\n", Form::Fence, Form::Json).unwrap().comments_lost, 2);
}

fn item() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("/usr/bin".to_owned()),
        Just("$workspace/x".to_owned()),
        Just("**/.env".to_owned()),
        Just("except".to_owned()),
        Just("read".to_owned()),
        Just("on".to_owned()),
        Just("~".to_owned()),
        Just("443".to_owned()),
        Just("=".to_owned()),
        "[ -~äλ\u{202e}\t\n]{1,12}",
        "[a-z/*.:#-]{1,60}",
    ]
}

fn note() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just(String::new()), 1 => "#[ a-z#\"{},]{0,20}"]
}

/// A statement, with comments where they may stand.
fn statement() -> impl Strategy<Value = String> {
    let items = prop::collection::vec((item(), note(), note()), 1..6);
    let rule = (
        prop_oneof![Just("allow read write"), Just("deny run"), Just("never read")],
        items,
        any::<[bool; 4]>(),
    )
        .prop_map(|(head, items, clauses)| {
            let mut text = head.to_owned();
            for (at, (item, behind, alone)) in items.iter().enumerate() {
                text.push(' ');
                text.push_str(&fence_grammar::quote(item));
                if at + 1 < items.len() {
                    text.push(',');
                    for comment in [behind, alone].into_iter().filter(|comment| !comment.is_empty()) {
                        text.push_str(&format!("  {comment}\n"));
                    }
                }
            }
            let (_, behind, alone) = &items[0];
            for (clause, given) in
                [" because \"it\\u{2028}is\"", " as a-b", " except \"/x y\", /z", " best-effort"]
                    .iter()
                    .zip(clauses)
            {
                if given {
                    for comment in [behind, alone].into_iter().filter(|comment| !comment.is_empty()) {
                        text.push_str(&format!("  {comment}\n"));
                    }
                    text.push_str(clause);
                }
            }
            text
        });
    let other = prop_oneof![
        Just("let a = \"/x y\"".to_owned()),
        Just("include base".to_owned()),
        Just("limit time 3s best-effort".to_owned()),
        Just("set env CI = \"yes\" as ci".to_owned()),
        Just("tls strict".to_owned()),
        Just("on linux {  # x\n\n allow tty\n # end\n}".to_owned()),
        Just("test \"x\" {\n given platform = linux # p\n\n # q\n deny read /a by x, y\n}".to_owned()),
    ];
    (note(), prop_oneof![3 => rule, 1 => other], note(), "\n{1,3}")
        .prop_map(|(above, statement, behind, end)| format!("{above}\n{statement} {behind}{end}"))
}

proptest! {
    #[test]
    fn any_policy_has_a_stable_form_that_keeps_everything(
        statements in prop::collection::vec(statement(), 0..6), last in note(),
    ) {
        let text = format!("{}{last}\n", statements.concat());
        let parsed = fence_grammar::parse(&text);
        prop_assume!(parsed.errors.is_empty());
        let fence = to(&text, Form::Fence, Form::Fence);
        prop_assert_eq!(&to(&fence, Form::Fence, Form::Fence), &fence);
        let texts = |text: &str| {
            let mut texts: Vec<String> = comments(text).into_iter().map(|comment| comment.text).collect();
            texts.sort();
            texts
        };
        prop_assert_eq!(texts(&fence), texts(&text));
        for line in fence.lines() {
            prop_assert!(line.chars().count() <= WIDTH + 40 || !line.contains(", "), "{line}");
        }
        // One `let` of a name is all that a map can hold.
        if text.matches("let a").count() < 2 {
            let yaml = to(&text, Form::Fence, Form::Yaml);
            prop_assert_eq!(&to(&yaml, Form::Yaml, Form::Yaml), &yaml);
            let back = to(&yaml, Form::Yaml, Form::Fence);
            prop_assert_eq!(texts(&back), texts(&text));
        }
    }
}
