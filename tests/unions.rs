//! Resolving: what includes, unions, `without` and orders of statements do, and do not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod texts;

use std::collections::BTreeSet;

use fence_compiler::diagnostic::Severity;
use fence_compiler::diagnostic::render::{Color, text};
use fence_compiler::policy::{LeftOutStatement, Policy, Subject};
use fence_compiler::resolve::{Request, Resolved, resolve};
use proptest::prelude::*;
use proptest::sample::subsequence;
use texts::{Texts, built_in, file, given, told};

fn clean(resolved: &Resolved) {
    let shown = text(&resolved.diagnostics, &resolved.sources, Color::Plain);
    assert!(resolved.diagnostics.is_empty(), "{shown}");
}

/// The rules as a set, without their places.
fn rules(policy: &Policy) -> BTreeSet<String> {
    let shown = |rule: &fence_compiler::policy::Rule| {
        let (items, except) = match &rule.subject {
            Subject::Path { actions, items, except } => (
                format!("{actions:?} {:?}", items.iter().map(|item| &item.pattern).collect::<Vec<_>>()),
                format!("{:?}", except.iter().map(|item| &item.pattern).collect::<Vec<_>>()),
            ),
            Subject::Connect { items, except } => (
                format!("{:?}", items.iter().map(|item| &item.pattern).collect::<Vec<_>>()),
                format!("{:?}", except.iter().map(|item| &item.pattern).collect::<Vec<_>>()),
            ),
            Subject::Run { items, except } => (
                format!("{:?}", items.iter().map(|item| &item.pattern).collect::<Vec<_>>()),
                format!("{:?}", except.iter().map(|item| &item.pattern).collect::<Vec<_>>()),
            ),
            other => {
                (format!("{other:?}").split("written").next().unwrap_or_default().to_owned(), String::new())
            }
        };
        format!(
            "{:?} {items} except {except} {:?} {:?} {:?}",
            rule.effect, rule.label, rule.platform, rule.acceptance
        )
    };
    policy.rules.iter().map(shown).collect()
}

/// The smallest limit of each kind.
fn limits(policy: &Policy) -> Vec<(String, u64)> {
    let mut least: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
    for limit in &policy.limits {
        let amount = least.entry(format!("{:?}", limit.kind)).or_insert(limit.amount);
        *amount = limit.amount.min(*amount);
    }
    least.into_iter().collect()
}

/// What was found, without places: code and message.
fn messages(resolved: &Resolved) -> BTreeSet<(&'static str, String)> {
    resolved.diagnostics.iter().map(|found| (found.code.name(), found.message.clone())).collect()
}

const STATEMENTS: [&str; 16] = [
    "let a = ~/a\nallow read $a/x",
    "allow read write $workspace, $tmp as work",
    "deny read **/.env except $workspace/example/.env cheaply",
    "never read write ~/.ssh as keys",
    "allow connect github.com:443",
    "deny connect 169.254.0.0/16",
    "allow run \"git status\"",
    "set env CI = \"1\"",
    "limit time 30m",
    "limit time 20m as short",
    "on linux {\n  limit memory 1GiB\n  allow device /dev/kvm\n}",
    "on macos {\n  allow mach-lookup com.apple.trustd.agent\n}",
    "secret env API_KEY to api.example.com",
    "include base",
    "include \"./team.fence\"",
    "tls strict",
];

/// Statements that are wrong together, whatever their order.
const WRONG: [&str; 6] = [
    "never read /srv/keys",
    "allow read /srv/keys/one",
    "set env CI = \"2\"",
    "allow connect localhost:3000",
    "allow listen 3000",
    "deny env CI",
];

const TEAM: (&str, &str) =
    ("team.fence", "include base without any-command because \"listed\"\nallow read /srv/team as team\n");

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_statements_changes_nothing(
        chosen in subsequence(STATEMENTS.to_vec(), 1..=16),
        wrong in subsequence(WRONG.to_vec(), 0..=6),
        shuffle in any::<prop::sample::Index>(),
    ) {
        let mut statements = chosen;
        statements.extend(wrong);
        let one = statements.join("\n");
        let by = shuffle.index(statements.len());
        statements.rotate_left(by);
        statements.reverse();
        let other = statements.join("\n");
        let one = Texts::new(&[("policy.fence", &one), TEAM]).resolve(&["policy.fence"]);
        let other = Texts::new(&[("policy.fence", &other), TEAM]).resolve(&["policy.fence"]);
        prop_assert_eq!(rules(&one.policy), rules(&other.policy));
        prop_assert_eq!(limits(&one.policy), limits(&other.policy));
        let codes = |resolved: &Resolved| -> Vec<&'static str> {
            let mut codes: Vec<&'static str> = told(resolved).into_iter().map(|(code, _)| code).collect();
            codes.sort_unstable();
            codes
        };
        prop_assert_eq!(codes(&one), codes(&other));
    }

    #[test]
    fn a_repeated_statement_changes_nothing(chosen in subsequence(STATEMENTS.to_vec(), 1..=16)) {
        let once = chosen.join("\n");
        let twice = format!("{once}\n{}", chosen.iter().filter(|s| !s.starts_with("let")).copied().collect::<Vec<_>>().join("\n"));
        let once = Texts::new(&[("policy.fence", &once), TEAM]).resolve(&["policy.fence"]);
        let twice = Texts::new(&[("policy.fence", &twice), TEAM]).resolve(&["policy.fence"]);
        prop_assert_eq!(rules(&once.policy), rules(&twice.policy));
        prop_assert_eq!(limits(&once.policy), limits(&twice.policy));
        prop_assert_eq!(messages(&once), messages(&twice));
    }

    #[test]
    fn an_include_is_a_union(
        one in subsequence(STATEMENTS.to_vec(), 1..=16),
        other in subsequence(STATEMENTS.to_vec(), 1..=16),
        wrong in subsequence(WRONG.to_vec(), 0..=6),
    ) {
        let (one, other, wrong) = (one.join("\n"), other.join("\n"), wrong.join("\n"));
        let files = [("a.fence", one.as_str()), ("b.fence", &other), ("c.fence", &wrong), TEAM,
            ("all.fence", "include \"./a.fence\"\ninclude \"./b.fence\"\ninclude \"./c.fence\""),
            ("llaa.fence", "include \"./c.fence\"\ninclude \"./b.fence\"\ninclude \"./a.fence\"\ninclude \"./b.fence\"")];
        let texts = Texts::new(&files);
        let union = texts.resolve(&["a.fence", "b.fence", "c.fence"]);
        for same in [texts.resolve(&["c.fence", "a.fence", "b.fence"]), texts.resolve(&["all.fence"]), texts.resolve(&["llaa.fence"])] {
            prop_assert_eq!(rules(&union.policy), rules(&same.policy));
            prop_assert_eq!(limits(&union.policy), limits(&same.policy));
            let codes = |resolved: &Resolved| -> BTreeSet<&'static str> {
                resolved.diagnostics.iter().filter(|found| found.severity == Severity::Error).map(|found| found.code.name()).collect()
            };
            prop_assert_eq!(codes(&union), codes(&same));
        }
    }
}

#[test]
fn each_text_is_loaded_once_and_has_its_hash() {
    let texts = Texts::new(&[
        ("a.fence", "include \"./b.fence\"\ninclude \"./c.fence\""),
        ("b.fence", "include \"./c.fence\""),
        ("c.fence", "allow read /c"),
    ]);
    let resolved = texts.resolve(&["a.fence", "b.fence"]);
    clean(&resolved);
    let names: Vec<&str> = resolved.policy.sources.iter().map(|source| source.name.as_str()).collect();
    assert_eq!(names, ["a.fence", "b.fence", "c.fence"]);
    assert_eq!(resolved.policy.rules.len(), 1);
    assert_eq!(
        resolved.policy.sources[2].sha256,
        "ed4ed5f66366d4222ce7adda7cbfb1000d467d3c3cbba9c50eea2cf2627f0ee0"
    );
}

#[test]
fn without_leaves_out_what_no_other_way_brings_in() {
    let files = [
        ("a.fence", "include \"./b.fence\" without x, y because \"not here\""),
        ("b.fence", "include \"./c.fence\"\nallow read /b as x\nlimit time 3s as y"),
        ("c.fence", "allow read /c as x\nset env A = b as y\nallow read /d"),
        ("both.fence", "include \"./a.fence\"\ninclude \"./c.fence\""),
    ];
    let texts = Texts::new(&files);
    let resolved = texts.resolve(&["a.fence"]);
    clean(&resolved);
    assert_eq!(resolved.policy.rules.len(), 1);
    assert!(resolved.policy.limits.is_empty() && resolved.policy.set.is_empty());
    let kinds: Vec<&str> = resolved
        .policy
        .left_out
        .iter()
        .map(|left| match left.statement {
            LeftOutStatement::Rule(_) => "rule",
            LeftOutStatement::Limit(_) => "limit",
            LeftOutStatement::Set { .. } => "set",
            LeftOutStatement::Secret(_) => "secret",
            LeftOutStatement::Include { .. } => "include",
        })
        .collect();
    assert_eq!(kinds, ["rule", "rule", "limit", "set"]);
    assert!(resolved.policy.left_out.iter().all(|left| left.because == "not here"));

    let resolved = texts.resolve(&["both.fence"]);
    assert_eq!(told(&resolved), [("E0308", 1), ("E0308", 1)]);
    assert_eq!(resolved.policy.rules.len(), 2, "`/c` comes in over `both`, `/b` is left out");
}

#[test]
fn an_include_can_be_left_out_by_its_label() {
    let texts = Texts::new(&[
        ("a.fence", "include \"./b.fence\" without more because \"enough\""),
        ("b.fence", "include \"./c.fence\" as more\nallow read /b"),
        ("c.fence", "allow read /c"),
    ]);
    let resolved = texts.resolve(&["a.fence"]);
    clean(&resolved);
    assert_eq!(resolved.policy.rules.len(), 1);
    assert!(matches!(resolved.policy.left_out[0].statement, LeftOutStatement::Include { .. }));
}

#[test]
fn an_include_that_brings_a_never_in_cannot_be_left_out() {
    let texts = Texts::new(&[
        ("a.fence", "include \"./b.fence\" without more because \"enough\""),
        ("b.fence", "include \"./c.fence\" as more\nallow read /b"),
        ("c.fence", "include \"./d.fence\"\nallow read /c"),
        ("d.fence", "on linux {\n  never read /d\n}"),
    ]);
    assert_eq!(told(&texts.resolve(&["a.fence"])), [("E0307", 1)]);
}

#[test]
fn what_holds_above_adds_only_what_never_rules_close() {
    let above =
        file("above.fence", "allow read /a\ndeny read /b\nnever read /c as c\nlimit time 1s\nset env A = b");
    let request =
        Request { mains: vec![given("allow read /d")], set: Vec::new(), above: vec![above.clone()] };
    let resolved = resolve(&request, &Texts::default());
    clean(&resolved);
    assert_eq!(resolved.policy.rules.len(), 2);
    assert_eq!(resolved.alone().rules, [resolved.policy.rules[0].clone()], "the tests of `/d` see no `/c`");
    assert!(resolved.policy.limits.is_empty() && resolved.policy.set.is_empty());
    let request = Request { mains: vec![given("allow read /c/x")], set: Vec::new(), above: vec![above] };
    assert_eq!(told(&resolve(&request, &Texts::default())), [("E0401", 1)]);
}

#[test]
fn a_rule_of_the_command_line_lifts_no_never() {
    let main = built_in("secrets", fence_policies::get("secrets").unwrap());
    for rule in ["allow read ~/.ssh/id_ed25519", "include secrets without ssh-keys because \"x\""] {
        let request = Request { mains: vec![main.clone(), given(rule)], set: Vec::new(), above: Vec::new() };
        let resolved = resolve(&request, &Texts::default());
        assert!(resolved.diagnostics.iter().any(|found| found.severity == Severity::Error), "{rule}");
    }
}

#[test]
fn a_set_changes_a_let_of_the_main_text_alone_and_is_kept() {
    let texts = Texts::new(&[
        ("a.fence", "include \"./b.fence\"\nlet x = ~/x\nallow read $x/y"),
        ("b.fence", "let x = ~/b\nallow read $x"),
    ]);
    let set = vec![("x".to_owned(), "$cwd/z".to_owned())];
    let request = Request { mains: vec![texts.source("a.fence")], set, above: Vec::new() };
    let resolved = resolve(&request, &texts);
    clean(&resolved);
    let shown = rules(&resolved.policy).into_iter().collect::<String>();
    assert!(shown.contains("Cwd") && shown.contains("\"b\""), "{shown}");
    assert_eq!(resolved.policy.changed[0].value, "$cwd/z");
}

#[test]
fn a_cycle_is_told_once_with_its_chain() {
    let texts = Texts::new(&[
        ("a.fence", "include \"./b.fence\"\nallow read /a"),
        ("b.fence", "include \"./c.fence\""),
        ("c.fence", "include \"./a.fence\""),
    ]);
    for main in ["a.fence", "b.fence", "c.fence"] {
        let resolved = texts.resolve(&[main]);
        assert_eq!(told(&resolved).len(), 1, "{main}");
        let message = &resolved.diagnostics[0].message;
        assert_eq!(
            message, "a policy includes itself: `a.fence` → `b.fence` → `c.fence` → `a.fence`",
            "{main}"
        );
    }
}

#[test]
fn findings_are_shown_as_text() {
    let policy = "fence 1\nallow read\t.env, $wrokspace/x because \"both\"\nnever read /srv/keys as keys\n\
        allow read /srv/keys/\"one\"\ninclude \"./team.fence\"\nallow read \"/srv/keys/a\\u{7}b\"\n\
        let unused = /x\nallow read /srv/\u{65}\u{301}\u{4e16}\u{754c}/[x\n";
    let long = format!("{policy}allow read /{}, x{}\n", "a/".repeat(300), "y".repeat(300));
    let texts =
        Texts::new(&[("policy.fence", &long), ("team.fence", "include bsae\nset env HTTP_PROXY = \"x\"\n")]);
    let resolved = texts.resolve(&["policy.fence"]);
    let shown = text(&resolved.diagnostics, &resolved.sources, Color::Plain);
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    assert!(shown.lines().all(|line| line.chars().count() < 160), "{shown}");
    let styled = text(&resolved.diagnostics, &resolved.sources, Color::Styled);
    assert!(styled.contains('\u{1b}'));
    insta::with_settings!({snapshot_path => "snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("findings", shown);
    });
}

#[test]
fn findings_are_shown_as_json() {
    let texts = Texts::new(&[("policy.fence", "deny read .env\nlet x = /a\nlet x = /b\nallow read $x\n")]);
    let resolved = texts.resolve(&["policy.fence"]);
    let json = fence_compiler::diagnostic::render::json(&resolved.diagnostics, &resolved.sources);
    insta::with_settings!({snapshot_path => "snapshots", prepend_module_to_snapshot => false}, {
        insta::assert_snapshot!("findings-json", serde_json::to_string_pretty(&json).unwrap());
    });
}

#[test]
fn a_large_policy_with_many_rules_is_resolved_in_bounded_time() {
    let mut policy = String::from("fence 1\n");
    for n in 0..5_000 {
        policy.push_str(&format!("never read /srv/n{n}/x, **/n{n}.key\nallow read /srv/a{n}/y\n"));
    }
    let resolved = Texts::new(&[("policy.fence", &policy)]).resolve(&["policy.fence"]);
    clean(&resolved);
    assert_eq!(resolved.policy.rules.len(), 10_000);
}
