//! Single mistakes: each gives exactly its own finding at its own line, alone and beside others, in any policy.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod items;
mod texts;

use std::collections::BTreeSet;

use fence_compiler::diagnostic::render::{Color, text};
use fence_compiler::resolve::Resolved;
use proptest::prelude::*;
use proptest::sample::subsequence;
use texts::{Texts, told};

/// One mistake of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mistake {
    name: &'static str,
    code: &'static str,
    /// The line of the finding within the mistake, from 1.
    line: u32,
    text: &'static str,
}

fn table() -> Vec<Mistake> {
    let parts = include_str!("mistakes.txt").split("=== ").skip(1);
    parts
        .map(|part| {
            let (head, text) = part.split_once('\n').expect("a head line");
            let (name, place) = head.rsplit_once(", ").expect("a code");
            let (code, line) = place.split_once('@').expect("a line");
            Mistake { name, code, line: line.parse().expect("a number"), text }
        })
        .collect()
}

fn shown(resolved: &Resolved) -> String {
    text(&resolved.diagnostics, &resolved.sources, Color::Plain)
}

/// The offsets behind each statement of a policy, after its version and its name.
fn seams(policy: &str) -> Vec<usize> {
    let statements = fence_grammar::parse(policy).file.statements;
    let ends = statements.iter().skip(1).map(|statement| statement.span.end as usize);
    ends.map(|end| policy[end..].find('\n').map_or(policy.len(), |line| end + line + 1)).collect()
}

/// Puts mistakes behind statements; gives the text and each mistake's code and line.
fn spoil(policy: &str, mistakes: &[(usize, &Mistake)]) -> (String, Vec<(&'static str, u32)>) {
    let mut sorted = mistakes.to_vec();
    sorted.sort_by_key(|(at, _)| *at);
    let (mut out, mut expected, mut from) = (String::new(), Vec::new(), 0);
    for (at, mistake) in sorted {
        out.push_str(&policy[from..at]);
        from = at;
        let before = u32::try_from(out.matches('\n').count()).expect("few lines");
        expected.push((mistake.code, before + mistake.line));
        out.push_str(mistake.text);
    }
    out.push_str(&policy[from..]);
    expected.sort_by_key(|(code, line)| (*line, *code));
    (out, expected)
}

#[test]
fn the_table_is_large_and_every_mistake_stands_once() {
    let table = table();
    let names: BTreeSet<&str> = table.iter().map(|mistake| mistake.name).collect();
    assert!(table.len() >= 40, "{}", table.len());
    assert_eq!(names.len(), table.len());
}

#[test]
fn each_mistake_alone_gives_its_finding_and_no_other() {
    let mut wrong = Vec::new();
    for mistake in table() {
        let policy = format!("fence 1\npolicy one\n{}", mistake.text);
        let resolved = Texts::new(&[("policy.fence", &policy)]).resolve(&["policy.fence"]);
        if told(&resolved) != [(mistake.code, mistake.line + 2)] {
            wrong.push(format!("{}: {:?}\n{}", mistake.name, told(&resolved), shown(&resolved)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn built_in_policies_have_no_findings() {
    for (name, policy) in fence_policies::ALL {
        let resolved = Texts::new(&[("policy.fence", policy)]).resolve(&["policy.fence"]);
        assert!(resolved.diagnostics.is_empty(), "{name}: {}", shown(&resolved));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn several_mistakes_in_a_built_in_policy_give_exactly_their_findings(
        policy in 0..fence_policies::ALL.len(),
        mistakes in subsequence(table(), 2..=8).prop_shuffle(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 8),
    ) {
        let (name, policy) = fence_policies::ALL[policy];
        let seams = seams(policy);
        let placed: Vec<(usize, &Mistake)> =
            mistakes.iter().zip(&places).map(|(mistake, place)| (seams[place.index(seams.len())], mistake)).collect();
        let (spoilt, expected) = spoil(policy, &placed);
        let resolved = Texts::new(&[("policy.fence", &spoilt)]).resolve(&["policy.fence"]);
        let mut found = told(&resolved);
        found.sort_by_key(|(code, line)| (*line, *code));
        prop_assert_eq!(found, expected, "in {}:\n{}", name, shown(&resolved));
    }
}
