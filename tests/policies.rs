//! The built-in policies: they compile, their tests hold and decide by every rule, and what they accept to be enforced
//! more weakly is listed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::collections::BTreeSet;
use std::fmt::Write;

use fence_compiler::policy::{Acceptance, Effect, Policy, Rule, RuleId, Subject};
use fence_compiler::question::Reason;
use fence_compiler::resolve::{Request, Resolved, resolve};
use fence_compiler::source::{LoadError, Loader, Origin, Reference, Source, SourceId};
use fence_compiler::suite::{self, Held, Outcome};

/// The built-in policies, and nothing else.
struct BuiltIn;

impl Loader for BuiltIn {
    fn load(&self, reference: Reference<'_>, _: &Origin) -> Result<Source, LoadError> {
        match reference {
            Reference::Name(name) => Ok(source(name)),
            Reference::Path(_) => Err(LoadError::NoDirectory),
        }
    }
}

fn source(name: &str) -> Source {
    Source {
        origin: Origin::BuiltIn(name.to_owned()),
        name: format!("<built-in {name}>"),
        text: fence_policies::get(name).unwrap().to_owned(),
    }
}

fn resolved(name: &str) -> Resolved {
    resolve(&Request { mains: vec![source(name)], ..Request::default() }, &BuiltIn)
}

fn each(check: impl Fn(&str, &Resolved)) {
    for (name, _) in fence_policies::ALL {
        check(name, &resolved(name));
    }
}

#[test]
fn each_compiles_without_a_finding() {
    each(|name, resolved| assert!(resolved.diagnostics.is_empty(), "{name}: {:#?}", resolved.diagnostics));
}

#[test]
fn the_tests_of_each_hold() {
    each(|name, resolved| {
        let outcomes = suite::run(&resolved.policy);
        assert!(!outcomes.is_empty(), "{name}");
        for outcome in outcomes {
            assert_eq!(outcome.result, Held::Yes, "{name}: {outcome:#?}");
        }
    });
}

#[test]
fn the_tests_of_each_decide_by_every_rule() {
    each(|name, resolved| {
        let undecided: Vec<String> = suite::coverage(&resolved.policy)
            .into_iter()
            .map(|id| &resolved.policy.rules[id.0 as usize])
            .map(|rule| format!("line {}: {:?}", rule.written.line, rule.label))
            .collect();
        assert!(undecided.is_empty(), "{name}: {undecided:#?}");
    });
}

#[test]
fn a_rule_that_is_deleted_is_missed_by_a_test() {
    let mut unmissed = Vec::new();
    for (name, _) in fence_policies::ALL {
        let policy = resolved(name).policy;
        let outcomes = suite::run(&policy);
        for at in 0..policy.rules.len() {
            if policy.rules[at].written.source != SourceId(0) {
                continue;
            }
            let mut less = policy.clone();
            less.tests = lines_by(&policy, RuleId(at as u32), &outcomes);
            let rule = less.rules.remove(at);
            if suite::run(&less).iter().all(|outcome| outcome.result == Held::Yes) {
                unmissed.push(format!("{name}: line {}: {:?}", rule.written.line, rule.label));
            }
        }
    }
    assert!(unmissed.is_empty(), "{unmissed:#?}");
}

/// The tests with those lines alone that a rule has a part in deciding: without it no other line is answered differently.
fn lines_by(policy: &Policy, rule: RuleId, outcomes: &[Outcome]) -> Vec<fence_compiler::policy::Test> {
    let decides = |outcome: &Outcome| {
        outcome
            .decision
            .as_ref()
            .is_some_and(|decision| matches!(&decision.reason, Reason::Rules(rules) if rules.contains(&rule)))
    };
    let mut outcomes = outcomes.iter();
    let mut tests = Vec::new();
    for test in &policy.tests {
        let mut kept = BTreeSet::new();
        for _ in &test.platforms {
            for line in 0..test.expect.len() {
                if decides(outcomes.next().unwrap()) {
                    kept.insert(line);
                }
            }
        }
        let expect = kept.iter().map(|line| test.expect[*line].clone()).collect();
        tests.push(fence_compiler::policy::Test { expect, ..test.clone() });
    }
    assert!(outcomes.next().is_none());
    tests
}

#[test]
fn each_rule_has_a_label() {
    each(|name, resolved| {
        for rule in &resolved.policy.rules {
            assert!(rule.label.is_some(), "{name}: line {}", rule.written.line);
        }
    });
}

/// `without LABEL` would otherwise open something where somebody wants less.
#[test]
fn no_label_both_opens_and_closes() {
    each(|name, resolved| {
        let effects = |opens: bool| -> BTreeSet<&str> {
            let rules = resolved.policy.rules.iter().filter(|rule| (rule.effect == Effect::Allow) == opens);
            rules.filter_map(|rule| rule.label.as_deref()).collect()
        };
        let both: Vec<&str> = effects(true).intersection(&effects(false)).copied().collect();
        assert!(both.is_empty(), "{name}: {both:?}");
    });
}

#[test]
fn what_may_be_enforced_more_weakly_is_listed() {
    let mut list = String::new();
    for (name, _) in fence_policies::ALL {
        let policy = resolved(name).policy;
        for rule in own_rules(&policy) {
            let clause = match rule.acceptance {
                Acceptance::Exact => continue,
                Acceptance::BestEffort => "best-effort",
                Acceptance::Cheaply => "cheaply",
                Acceptance::BestEffortCheaply => "best-effort cheaply",
            };
            let label = rule.label.as_deref().unwrap_or("-");
            writeln!(list, "{name}: {label}: {clause}: {}", items(&rule.subject).join(", ")).unwrap();
        }
    }
    insta::assert_snapshot!(list);
}

/// The rules that stand in the policy's own text; those that it includes are listed with theirs.
fn own_rules(policy: &Policy) -> impl Iterator<Item = &Rule> {
    policy.rules.iter().filter(|rule| rule.written.source == SourceId(0))
}

/// The items as written, each once.
fn items(subject: &Subject) -> Vec<String> {
    let mut texts: Vec<String> = match subject {
        Subject::Path { items, .. } => items.iter().map(|item| item.text.clone()).collect(),
        Subject::Run { items, .. } => items.iter().map(|item| item.text.clone()).collect(),
        other => panic!("a rule of another kind accepts weaker enforcement: {other:?}"),
    };
    texts.dedup();
    texts
}
