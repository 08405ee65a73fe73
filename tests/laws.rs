//! The laws of the language, each as a property of every policy, world and question.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "laws/draw.rs"]
mod draw;

use std::collections::BTreeSet;

use draw::{EFFECTS, policy, question, rule, scope, with_rules, world};
use fence_compiler::bytes::AbsolutePath;
use fence_compiler::cover::{Covers, HostAsked, PathAsked, RequestAsked, SshAsked, StartAsked};
use fence_compiler::decide::decide;
use fence_compiler::index::Index;
use fence_compiler::narrowing::wider;
use fence_compiler::paths::PathRules;
use fence_compiler::pattern::{
    CommandPattern, ConnectPattern, DomainName, HostPattern, HttpPattern, NamePattern, PathPattern, Polarity,
    PortRange, SshPattern, Value,
};
use fence_compiler::policy::{Effect, Item, NameAction, PathAction, Policy, Rule, Subject};
use fence_compiler::question::{Decision, Platform, Question, Reason, Start, Verdict};
use fence_compiler::world::{Spelling, World};
use proptest::prelude::*;

/// The verdict and the rules that made it, whatever their numbers.
fn meaning(policy: &Policy, decision: &Decision) -> (Verdict, BTreeSet<String>) {
    let reasons = match &decision.reason {
        Reason::Rules(rules) => rules.iter().map(|id| format!("{:?}", policy.rules[id.0 as usize])).collect(),
        other => BTreeSet::from([format!("{other:?}")]),
    };
    (decision.verdict, reasons)
}

fn with(policy: &Policy, rule: Rule) -> Policy {
    let mut rules = policy.rules.clone();
    rules.push(rule);
    with_rules(rules)
}

fn excepts_reversed(mut rule: Rule) -> Rule {
    match &mut rule.subject {
        Subject::Path { items, except, .. } => reverse(items, except),
        Subject::Run { items, except } => reverse(items, except),
        Subject::Connect { items, except } => reverse(items, except),
        Subject::Http { items, except } => reverse(items, except),
        Subject::Listen { items, except } => reverse(items, except),
        Subject::Name { items, except, .. } => reverse(items, except),
        Subject::Ssh { items, except } => reverse(items, except),
        Subject::Tty => {}
    }
    rule
}

/// The rule with connections to any host or port in the place of some.
fn opened(mut rule: Rule, bits: u16) -> Rule {
    if let (Subject::Connect { items, .. }, Effect::Allow) = (&mut rule.subject, rule.effect) {
        for (item, number) in items.iter_mut().zip(0_u32..) {
            if bits >> (number % 4) & 1 == 0 {
                item.pattern.host = HostPattern::Any;
            }
            if bits >> (number % 4 + 4) & 1 == 0 {
                item.pattern.ports = None;
            }
        }
    }
    rule
}

/// The rule with some of its items and of what it leaves out.
fn trimmed(mut rule: Rule, bits: u16) -> Rule {
    match &mut rule.subject {
        Subject::Path { items, except, .. } => trim(items, except, bits),
        Subject::Run { items, except } => trim(items, except, bits),
        Subject::Connect { items, except } => trim(items, except, bits),
        Subject::Http { items, except } => trim(items, except, bits),
        Subject::Listen { items, except } => trim(items, except, bits),
        Subject::Name { items, except, .. } => trim(items, except, bits),
        Subject::Ssh { items, except } => trim(items, except, bits),
        Subject::Tty => {}
    }
    rule
}

fn trim<P>(items: &mut Vec<Item<P>>, except: &mut Vec<Item<P>>, bits: u16) {
    if bits >> 8 & 3 == 0 {
        items.truncate(1);
    }
    if bits >> 10 & 3 == 0 {
        except.truncate(except.len() / 2);
    }
}

fn reverse<P>(items: &mut [Item<P>], except: &mut [Item<P>]) {
    items.reverse();
    except.reverse();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_index_answers_as_the_reference_does(
        policy in policy(), world in world(), questions in prop::collection::vec(question(), 1..8),
    ) {
        let index = Index::new(&policy);
        let plain = World { links: Default::default(), platform: Platform::Linux, ..world.clone() };
        let empty = World { variables: Default::default(), ..plain.clone() };
        for question in &questions {
            for world in [&world, &plain, &empty] {
                prop_assert_eq!(index.decide(world, question), decide(&policy, world, question), "{:?}", question);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn rules_prepared_for_paths_answer_as_the_reference_does(
        policy in policy(), world in world(), questions in prop::collection::vec(question(), 1..8),
    ) {
        let world = World { platform: Platform::Linux, ..world };
        let rules = PathRules::new(&policy, &world, world.clone());
        let runs = policy.rules.iter().any(|rule| matches!(rule.subject, Subject::Run { .. }));
        for question in &questions {
            let Question::Path { action, path } = question else { continue };
            // Which programs are closed is asked of every way to a file there, and here of the one that was written.
            if *action == PathAction::Device || runs && *action == PathAction::Read {
                continue;
            }
            let Ok(found) = world.resolve(path, Spelling::Exact) else { continue };
            let answer = decide(&policy, &world, question);
            let prepared = rules.decide(*action, &found.object, &found.spellings);
            prop_assert_eq!((prepared.verdict, prepared.reason), (answer.verdict, answer.reason), "{:?}", question);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_and_repetition_of_rules_change_nothing(
        (policy, shuffled) in policy().prop_flat_map(|policy| {
            let rules = policy.rules.clone();
            (Just(policy), Just(rules).prop_shuffle())
        }),
        world in world(),
        question in question(),
    ) {
        let answer = meaning(&policy, &decide(&policy, &world, &question));
        let other = with_rules(shuffled.clone());
        prop_assert_eq!(&answer, &meaning(&other, &decide(&other, &world, &question)));
        let twice = with_rules(shuffled.iter().chain(&policy.rules).cloned().collect());
        prop_assert_eq!(&answer, &meaning(&twice, &decide(&twice, &world, &question)));
    }

    #[test]
    fn adding_a_deny_never_allows_more(
        policy in policy(), more in rule(&[Effect::Deny, Effect::Never]), world in world(), question in question(),
    ) {
        let before = decide(&policy, &world, &question);
        let after = decide(&with(&policy, more), &world, &question);
        prop_assert!(before.verdict == Verdict::Allowed || after.verdict == Verdict::Denied);
    }

    #[test]
    fn a_policy_that_is_told_to_be_no_wider_allows_nothing_more(
        policy in policy(),
        keep in prop::collection::vec(0..10_u8, 8),
        more in prop::collection::vec(rule(EFFECTS), 0..3),
        world in world(),
        questions in prop::collection::vec(question(), 1..8),
    ) {
        let least = |rule: &Rule| if rule.effect == Effect::Allow { 4 } else { 1 };
        let kept = policy.rules.iter().zip(keep.iter().cycle()).filter(|(rule, drawn)| **drawn >= least(rule));
        let next = with_rules(kept.map(|(rule, _)| rule.clone()).chain(more).collect());
        if wider(&policy, &next, world.platform).is_empty() {
            for question in &questions {
                let (now, then) = (decide(&policy, &world, question), decide(&next, &world, question));
                prop_assert!(now.verdict == Verdict::Allowed || then.verdict == Verdict::Denied, "{:?}", question);
            }
        }
    }

    #[test]
    fn what_is_left_of_rules_and_told_to_be_no_wider_allows_nothing_more(
        policy in policy(),
        bits in prop::collection::vec(any::<u16>(), 8),
        more in prop::collection::vec(rule(&[Effect::Deny]), 0..2),
        world in world(),
        questions in prop::collection::vec(question(), 64),
    ) {
        let drawn = || policy.rules.iter().zip(bits.iter().copied().cycle());
        let now = with_rules(drawn().map(|(rule, bits)| opened(rule.clone(), bits)).collect());
        let left = drawn().filter(|(_, bits)| bits % 5 != 0).map(|(rule, bits)| trimmed(rule.clone(), bits));
        let next = with_rules(left.chain(more).collect());
        if wider(&now, &next, world.platform).is_empty() {
            for question in &questions {
                let (before, after) = (decide(&now, &world, question), decide(&next, &world, question));
                prop_assert!(before.verdict == Verdict::Allowed || after.verdict == Verdict::Denied, "{:?}", question);
            }
        }
    }

    #[test]
    fn adding_an_allow_never_allows_less(
        policy in policy(), more in rule(&[Effect::Allow]), world in world(), question in question(),
    ) {
        // The first `allow http` about a host narrows what its `connect` allows: the one rule that adds a condition.
        prop_assume!(!matches!((&question, &more.subject), (Question::Http { .. }, Subject::Http { .. })));
        let before = decide(&policy, &world, &question);
        let after = decide(&with(&policy, more), &world, &question);
        prop_assert!(before.verdict == Verdict::Denied || after.verdict == Verdict::Allowed);
    }

    #[test]
    fn the_order_of_items_and_excepts_changes_nothing(policy in policy(), world in world(), question in question()) {
        let other = with_rules(policy.rules.iter().cloned().map(excepts_reversed).collect());
        let (one, two) = (decide(&policy, &world, &question), decide(&other, &world, &question));
        prop_assert_eq!((one.verdict, one.reason), (two.verdict, two.reason));
    }

    #[test]
    fn a_never_decides_as_a_deny(policy in policy(), world in world(), question in question()) {
        let denies = policy.rules.iter().cloned().map(|mut rule| {
            if rule.effect == Effect::Never {
                rule.effect = Effect::Deny;
            }
            rule
        });
        prop_assert_eq!(decide(&policy, &world, &question), decide(&with_rules(denies.collect()), &world, &question));
    }

    #[test]
    fn only_a_rule_that_says_so_decides(policy in policy(), world in world(), question in question()) {
        let decision = decide(&policy, &world, &question);
        if let Reason::Rules(rules) = &decision.reason {
            prop_assert!(!rules.is_empty() && rules.windows(2).all(|pair| pair[0] < pair[1]));
            for id in rules {
                let opens = policy.rules[id.0 as usize].effect == Effect::Allow;
                prop_assert_eq!(opens, decision.verdict == Verdict::Allowed);
            }
        }
    }

    #[test]
    fn what_a_path_opens_it_closes(text in draw::path_text(), path in draw::path(), world in world()) {
        let Ok(asked) = PathAsked::new(&world, &path) else { return Ok(()) };
        for pattern in PathPattern::parse(&text, &scope()).unwrap() {
            prop_assert!(!asked.covers(&pattern, Polarity::Opening) || asked.covers(&pattern, Polarity::Closing));
        }
    }

    #[test]
    fn what_a_command_opens_it_closes(text in draw::command_text(), start in draw::a_start(), world in world()) {
        let Ok(asked) = StartAsked::new(&world, &start) else { return Ok(()) };
        let pattern = CommandPattern::parse(&text, &scope()).unwrap();
        prop_assert!(!asked.covers(&pattern, Polarity::Opening) || asked.covers(&pattern, Polarity::Closing));
    }

    #[test]
    fn a_longer_command_is_closed_too(text in draw::command_text(), start in draw::a_start(), more in draw::word(), world in world()) {
        let pattern = CommandPattern::parse(&text, &scope()).unwrap();
        let mut longer = start.clone();
        longer.argv.push(more);
        if let (Ok(one), Ok(two)) = (StartAsked::new(&world, &start), StartAsked::new(&world, &longer)) {
            prop_assert!(!one.covers(&pattern, Polarity::Closing) || two.covers(&pattern, Polarity::Closing));
        }
    }

    #[test]
    fn what_a_host_opens_it_closes(text in draw::host_text(), to in draw::destination(), world in world()) {
        let asked = HostAsked { world: &world, name: to.name.as_ref(), address: to.address, port: to.port };
        let pattern = ConnectPattern::parse(&text, &scope()).unwrap();
        let opens = asked.needs().iter().any(|need| asked.opens(&pattern, *need));
        prop_assert!(!opens || asked.closes(&pattern));
        prop_assert!(!asked.is_meant(&pattern, Polarity::Opening) || asked.is_meant(&pattern, Polarity::Closing));
    }

    #[test]
    fn what_a_request_opens_it_closes(
        text in draw::request_text(), to in draw::destination(), path in draw::request_path(), world in world(),
    ) {
        let host = HostAsked { world: &world, name: to.name.as_ref(), address: to.address, port: to.port };
        let asked = RequestAsked::new(host, "GET", &path);
        let pattern = HttpPattern::parse(&text, &scope()).unwrap();
        prop_assert!(!asked.covers(&pattern, Polarity::Opening) || asked.covers(&pattern, Polarity::Closing));
    }

    #[test]
    fn what_an_ssh_opens_it_closes(
        text in draw::ssh_text(), to in draw::destination(), start in draw::a_start(), world in world(),
    ) {
        let host = HostAsked { world: &world, name: to.name.as_ref(), address: to.address, port: 22 };
        let Ok(command) = StartAsked::new(&world, &start) else { return Ok(()) };
        let asked = SshAsked { host, command: Some(command) };
        let pattern = SshPattern::parse(&text, &scope()).unwrap();
        prop_assert!(!asked.covers(&pattern, Polarity::Opening) || asked.covers(&pattern, Polarity::Closing));
    }

    #[test]
    fn braces_mean_their_alternatives(one in draw::path_text(), two in draw::path_text(), end in "[ab/]{0,3}") {
        let together = PathPattern::parse(&format!("{{{one},{two}}}/{end}"), &scope()).unwrap();
        let apart = [one, two].map(|text| PathPattern::parse(&format!("{text}/{end}"), &scope()).unwrap()).concat();
        prop_assert_eq!(together, apart);
    }

    #[test]
    fn doubled_slashes_dots_and_slashes_at_the_end_change_nothing(text in draw::path_text()) {
        let plain = PathPattern::parse(&text, &scope()).unwrap();
        for other in [text.replace('/', "//"), text.replace('/', "/./"), format!("{text}/"), format!("{text}/."), format!("{text}/**")] {
            prop_assert_eq!(&PathPattern::parse(&other, &scope()).unwrap(), &plain);
        }
    }

    #[test]
    fn a_pattern_covers_what_is_beneath(text in draw::path_text(), path in draw::path(), world in world()) {
        for pattern in PathPattern::parse(&text, &scope()).unwrap() {
            let Ok(ground) = pattern.ground(&world.variables) else { continue };
            if ground.matches_at_or_above(&path) {
                prop_assert!(ground.matches_at_or_above(&path.join(b"beneath")));
            }
        }
    }

    #[test]
    fn patterns_of_names_agree_with_globset(
        names in prop::collection::vec("[ab]|\\*|a\\*|\\?b?|\\*\\*|\\[ab\\]|\\[a-c\\]x|\\*b\\*", 1..5),
        path in prop::collection::vec("[abcx]{1,3}", 0..6),
    ) {
        let text = format!("/{}", names.join("/"));
        let trimmed = text.trim_end_matches("/**");
        prop_assume!(!trimmed.is_empty());
        let oracle = globset::GlobBuilder::new(trimmed)
            .literal_separator(true)
            .backslash_escape(false)
            .build()
            .unwrap()
            .compile_matcher();
        let path = AbsolutePath::new(format!("/{}", path.join("/")).as_bytes()).unwrap();
        let expected = std::iter::once(path.clone())
            .chain(path.ancestors())
            .filter(|above| !above.is_root())
            .any(|above| oracle.is_match(std::str::from_utf8(above.as_bytes()).unwrap()));
        let pattern = &PathPattern::parse(&text, &scope()).unwrap()[0];
        let ground = pattern.ground(&std::collections::BTreeMap::new()).unwrap();
        prop_assert_eq!(ground.matches_at_or_above(&path), expected, "{} {}", text, path);
    }

    #[test]
    fn every_pattern_is_read_again_from_what_it_prints(text in item_text()) {
        let scope = scope();
        for pattern in PathPattern::parse(&text, &scope).unwrap_or_default() {
            prop_assert_eq!(PathPattern::parse(&pattern.to_string(), &scope).unwrap(), vec![pattern]);
        }
        macro_rules! again {
            ($($kind:ident)*) => {$(
                if let Ok(pattern) = $kind::parse(&text, &scope) {
                    prop_assert_eq!($kind::parse(&pattern.to_string(), &scope), Ok(pattern));
                }
            )*};
        }
        again!(CommandPattern ConnectPattern HostPattern HttpPattern SshPattern NamePattern PortRange DomainName Value);
    }

    #[test]
    fn errors_lie_within_the_item(text in item_text()) {
        let scope = scope();
        let errors = [
            PathPattern::parse(&text, &scope).err(),
            CommandPattern::parse(&text, &scope).err(),
            ConnectPattern::parse(&text, &scope).err(),
            HttpPattern::parse(&text, &scope).err(),
            SshPattern::parse(&text, &scope).err(),
            NamePattern::parse(&text, &scope).err(),
            PortRange::parse(&text, &scope).err(),
            Value::parse(&text, &scope).err(),
        ];
        for error in errors.into_iter().flatten() {
            prop_assert!(text.get(error.range.clone()).is_some(), "{:?}", error);
            let shown = std::iter::once(&error.message).chain(&error.help);
            prop_assert!(shown.clone().all(|line| !line.contains(|c: char| c.is_control())), "{:?}", error);
            prop_assert!(!error.message.ends_with('.') || error.message.contains('`'), "{:?}", error);
        }
    }

    #[test]
    fn every_question_is_answered(
        rules in prop::collection::vec(rule(EFFECTS), 0..3),
        world in world(),
        bytes in prop::collection::vec(any::<u8>(), 0..12),
        words in prop::collection::vec(".{0,6}", 0..4),
        text in ".{0,8}",
    ) {
        let policy = with_rules(rules);
        let path = AbsolutePath::new(&[b"/", bytes.as_slice()].concat()).unwrap_or_else(AbsolutePath::root);
        let start = Start { asked: text.clone(), resolved: None, argv: words };
        let questions = [
            Question::Path { action: PathAction::Read, path: path.clone() },
            Question::Path { action: PathAction::Write, path },
            Question::Run(start),
            Question::Name { action: NameAction::Env, name: text },
        ];
        for question in questions {
            let decision = decide(&policy, &world, &question);
            prop_assert!(decision.reason != Reason::NothingAllows || decision.verdict == Verdict::Denied);
        }
    }
}

/// Text in which everything that has a meaning in some item is frequent.
fn item_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[/~$*?{},\\[\\]!^ab.:0-9'\" @%=\\\\-]{0,16}",
        "(GET |\\* )?[a-z.:/*\\[\\]0-9-]{0,14}",
        "[/][\\[\\]!^a-c' -]{0,10}",
        ".{0,10}",
        draw::path_text(),
        draw::command_text(),
        draw::host_text(),
    ]
}
